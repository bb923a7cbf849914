//! The servers that `enable` knows by name, their units, and the ones that it refuses.

use super::root::Root;
use super::unit::Unit;
use crate::overlay_check;
use std::path::Path;

/// A server that needs more than variables, or any other service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Nginx,
    Dovecot,
    Postfix,
    /// HAProxy, Apache, and each service that is not known.
    Other,
}

/// A name that is known, and its units: the first that exists counts.
struct Server {
    names: &'static [&'static str],
    kind: Kind,
    units: &'static [&'static str],
}

const SERVERS: [Server; 5] = [
    Server { names: &["nginx"], kind: Kind::Nginx, units: &["nginx.service"] },
    Server { names: &["haproxy"], kind: Kind::Other, units: &["haproxy.service"] },
    Server {
        names: &["apache", "apache2", "httpd"],
        kind: Kind::Other,
        units: &["apache2.service", "httpd.service"],
    },
    Server { names: &["dovecot"], kind: Kind::Dovecot, units: &["dovecot.service"] },
    // Debian 12's postfix.service starts nothing itself: each instance has a unit, `-` is the first.
    Server {
        names: &["postfix"],
        kind: Kind::Postfix,
        units: &["postfix.service", "postfix@-.service"],
    },
];

/// Services that gain nothing, with the reason; README's table of servers has the measurements.
const NO_GAIN: [(&str, &str); 6] = [
    ("postgresql", "it turns resumption off on purpose"),
    ("postgres", "it turns resumption off on purpose"),
    ("kamailio", "it keeps OpenSSL's objects in memory that its processes share"),
    ("opensips", "it keeps OpenSSL's objects in memory that its processes share"),
    // Debian's name of Exim.
    ("exim4", "Debian's Exim is built with GnuTLS, and not with OpenSSL"),
    ("freeradius", "it keeps data with a session that cannot travel"),
];

/// Programs that set their certificates for each connection: a namespace has to tell services apart.
pub(super) const NEED_NAMESPACE: [&str; 1] = ["lighttpd"];

/// The server or unit that the operator named.
#[derive(Debug)]
pub(super) struct Target {
    /// The name that `enable` and `disable` take for it.
    pub(super) word: String,
    /// The name of its store, key file and so on.
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The name of its unit.
    pub(super) unit: String,
    /// The name for `systemctl restart`.
    pub(super) restart: String,
}

impl Target {
    /// Finds a server by its name, or a unit.
    pub(super) fn find(root: &Root, word: &str) -> Result<Target, String> {
        let word = word.strip_suffix(".service").unwrap_or(word);
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.@:\\".contains(c);
        if word.is_empty() || word.starts_with('.') || !word.chars().all(fits) {
            return Err(format!("'{word}' is not the name of a service"));
        }
        let main = Unit::main_name(root, &format!("{word}.service"));
        let word = main.as_deref().and_then(|name| name.strip_suffix(".service")).unwrap_or(word);
        let base = word.split('@').next().unwrap_or(word);
        let server = SERVERS.iter().find(|server| server.names.contains(&base));
        let Some(server) = server else {
            return Ok(Target {
                word: word.to_owned(),
                name: crate::store_folder::name_of(Path::new(word)),
                kind: Kind::Other,
                unit: format!("{word}.service"),
                restart: word.to_owned(),
            });
        };
        // Another instance of a known server is its own unit, with the same needs.
        let is_instance = base != word;
        let own = format!("{word}.service");
        let exists = |unit: &&&str| Unit::read(root, unit).is_some_and(|unit| unit.is_server());
        let first = server.units.first().copied().unwrap_or_default();
        let unit = match is_instance {
            true => own,
            false => (*server.units.iter().find(exists).unwrap_or(&first)).to_owned(),
        };
        let name = server.names.first().copied().unwrap_or(base);
        let restart = match (is_instance, unit.as_str()) {
            (true, _) => word.to_owned(),
            (false, "postfix@-.service") => "postfix".to_owned(),
            (false, unit) => unit.trim_end_matches(".service").to_owned(),
        };
        let (word, name) = match is_instance {
            true => (word, crate::store_folder::name_of(Path::new(word))),
            false => (name, name.to_owned()),
        };
        Ok(Target { word: word.to_owned(), name, kind: server.kind, unit, restart })
    }
}

/// The reason why a service of this name, or a program, is not given a store.
pub(super) fn refusal(word: &str, program: Option<&Path>) -> Option<String> {
    let word = word.strip_suffix(".service").unwrap_or(word);
    let base = word.split('@').next().unwrap_or(word);
    let names = [Some(Path::new(base)), program];
    if let Some(refusal) = names.iter().flatten().find_map(|p| overlay_check::may_share(p).err()) {
        return Some(format!("{word} {refusal}"));
    }
    let names = names.iter().flatten().filter_map(|path| path.file_name()?.to_str());
    let fits = |name: &str| NO_GAIN.iter().find(|(server, _)| *server == name);
    let (_, why) = names.filter_map(fits).next()?;
    Some(format!("{word} has nothing to gain from sesscache: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_must_not_share_is_refused() {
        for (word, program) in
            [("vsftpd", None), ("ftp", Some("/usr/sbin/vsftpd")), ("vsftpd@a.service", None)]
        {
            let why = refusal(word, program.map(Path::new)).unwrap_or_default();
            assert!(why.contains("must not share sessions"), "{word}: {why}");
        }
        assert!(refusal("postgresql@15-main", None).is_some_and(|why| why.contains("nothing")));
        assert!(refusal("exim4.service", None).is_some_and(|why| why.contains("GnuTLS")));
        assert_eq!(refusal("nginx", Some(Path::new("/usr/sbin/nginx"))), None);
    }
}

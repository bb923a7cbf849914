//! Servers with ticket keys of their own that end with them, so that the key file's are worth more.
//!
//! HAProxy and Apache are not among them: they have keys of their own only if somebody gave them.

mod given;
mod nginx;

use crate::nginx::Configuration;
use crate::program;
use crate::start::{Advice, Start};

/// The variable that puts the key file's keys first.
pub(crate) const VARIABLE: &str = "SESSCACHE_TICKETS";
/// Its value: the key file's keys seal, and the server's own still open what they sealed.
pub(crate) const OVERRIDE: &str = "override";

/// A server that makes ticket keys.
struct Server {
    /// Its file name.
    name: &'static str,
    /// The end of "because its ticket keys".
    fate: &'static str,
    /// Whether it makes them this time.
    keys: fn(&Start) -> Keys,
}

/// Seen in Debian 12 and 13. The door of nginx, h2o and Node is SSL_CTX_callback_ctrl(), that of the
/// others SSL_CTX_set_tlsext_ticket_key_evp_cb(). All but nginx, nghttpx and ProFTPD answer 1 in
/// TLS 1.3.
const SERVERS: [Server; 8] = [
    Server { name: "nginx", fate: "end with its zone of sessions", keys: nginx::keys },
    Server { name: "lighttpd", fate: "end at each reload", keys: given::of_lighttpd },
    // tlsmgr has them in memory, and there is no setting for a file.
    Server { name: "postfix", fate: "end at each reload", keys: |_| Keys::Made },
    // mod_tls has them in memory, too; TLSSessionTicketKeys sets only their number and age.
    Server { name: "proftpd", fate: "end at each reload", keys: |_| Keys::Made },
    Server { name: "nghttpx", fate: "end at each reload", keys: given::of_nghttpx },
    Server { name: "h2o", fate: "end with its process", keys: given::of_h2o },
    // Each context draws some. A program may set others, which cannot be seen from here.
    Server { name: "node", fate: "end with its process", keys: |_| Keys::Made },
    Server { name: "nodejs", fate: "end with its process", keys: |_| Keys::Made },
];

/// Where a server's ticket keys come from.
#[derive(Debug, PartialEq, Eq)]
enum Keys {
    /// The server makes them.
    Made,
    /// The operator gives them, by this setting.
    Given(String),
    /// The server has none of its own.
    None,
    /// That is not known, for this reason.
    Unknown(String),
}

/// The advice for a command; `None` for a program without ticket keys of its own.
pub(crate) fn advise(start: &Start) -> Option<Advice> {
    let names = SERVERS.iter().map(|server| server.name);
    let name = program::known(names, [start.program, start.runs])?;
    let server = SERVERS.iter().find(|server| server.name == name)?;
    server.advice((server.keys)(start))
}

/// The advice for an nginx with this configuration.
pub(crate) fn advise_nginx(configuration: &Configuration) -> Option<Advice> {
    let server = SERVERS.iter().find(|server| server.name == "nginx")?;
    server.advice(nginx::of(configuration))
}

/// The advice for Postfix.
pub(crate) fn advise_postfix() -> Option<Advice> {
    let server = SERVERS.iter().find(|server| server.name == "postfix")?;
    server.advice(Keys::Made)
}

impl Server {
    fn advice(&self, keys: Keys) -> Option<Advice> {
        let name = self.name;
        match keys {
            Keys::Made => Some(Advice::Set(format!("{name}'s own ticket keys {}", self.fate))),
            Keys::Given(setting) => {
                Some(Advice::Leave(format!("{name} was given keys by {setting}")))
            }
            Keys::Unknown(why) => {
                Some(Advice::Leave(format!("it is not known whether {name} was given keys: {why}")))
            }
            Keys::None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::path::Path;

    /// The advice for a program of this name, which does not exist.
    fn advice(name: &str, runs: &str, arguments: &[&str]) -> Option<Advice> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let (program, runs) = (Path::new(name), Path::new(runs));
        advise(&Start { program, runs, arguments: &arguments })
    }

    fn ours(reason: &str) -> Option<Advice> {
        Some(Advice::Set(reason.to_owned()))
    }

    #[test]
    fn servers_are_known_by_their_file_names() {
        assert_eq!(
            advice("/usr/sbin/postfix", "/usr/sbin/postfix", &[]),
            ours("postfix's own ticket keys end at each reload")
        );
        assert_eq!(
            advice("/usr/sbin/proftpd", "/usr/sbin/proftpd", &[]),
            ours("proftpd's own ticket keys end at each reload")
        );
        for (command, runs) in [("/x/node", "/x/node"), ("/x/app.js", "/x/node"), ("node20", "")] {
            assert_eq!(
                advice(command, runs, &[]),
                ours("node's own ticket keys end with its process")
            );
        }
        for other in ["haproxy", "apache2", "node-gyp", "postfix-script", "nginx-debug", ""] {
            assert_eq!(advice(other, other, &[]), None, "{other}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_left_alone() {
        for (name, runs) in [("/x/nginx", "/x/nginx"), ("/x/nginx", "/bin/sh"), ("lighttpd", "sh")]
        {
            let found = advice(name, runs, &[]);
            assert!(matches!(found, Some(Advice::Leave(_))), "{name}: {found:?}");
        }
    }
}

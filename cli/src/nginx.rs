//! What `sesscache run` does for nginx, so that the library stays through an upgrade of the binary,
//! and so that an nginx that keeps no sessions does not go unnoticed.

mod configuration;

pub(crate) use configuration::{Configuration, VALUED};

use crate::program;
use crate::start::{Start, place_of};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The setting without which nginx keeps no session by its id.
const CACHE: &str = "ssl_session_cache";
/// Its values that keep none.
const NO_CACHE: [&str; 2] = ["none", "off"];

/// Whether a command is nginx itself. A script of that name may do anything with its words.
pub(crate) fn is_started(start: &Start) -> bool {
    start.is_binary()
        && program::known(["nginx"].into_iter(), [start.program, start.runs]).is_some()
}

/// Lets a new binary (USR2) have the library and its settings: nginx starts it by the first word,
/// which must be a path, and hands down only the variables that an `env` line names.
pub(crate) fn keep_through_upgrade<'a>(
    words: &mut Vec<OsString>,
    program: &Path,
    variables: impl Iterator<Item = &'a OsStr>,
) {
    let mut lines = Vec::new();
    for name in variables.filter(|name| is_ours(name)) {
        lines.extend_from_slice(b"env ");
        lines.extend_from_slice(name.as_bytes());
        lines.extend_from_slice(b"; ");
    }
    let Some((command, arguments)) = words.split_first_mut() else { return };
    if let Ok(path) = std::path::absolute(program) {
        *command = path.into();
    }
    // The lines go before those of the command, whose mistakes nginx then tells as ever.
    let place = place_of(arguments, b'g', VALUED);
    let value = place.and_then(|place| Some((arguments.get_mut(place.word)?, place.before)));
    match value {
        Some((word, before)) => {
            let mut bytes = std::mem::take(word).into_vec();
            bytes.splice(before..before, lines);
            *word = OsString::from_vec(bytes);
        }
        None => {
            words.splice(1..1, ["-g".into(), OsString::from_vec(lines)]);
        }
    }
}

/// Whether the library needs this variable.
fn is_ours(name: &OsStr) -> bool {
    // A name that nginx would take for two words, or for more than a name, is not one of ours.
    let is_word = |c: &u8| c.is_ascii_alphanumeric() || *c == b'_';
    let name = name.as_bytes();
    name == b"LD_PRELOAD" || (name.starts_with(b"SESSCACHE_") && name.iter().all(is_word))
}

/// The line about an nginx that serves TLS and keeps no sessions by id, which is its default.
pub(crate) fn without_cache(start: &Start) -> Option<String> {
    without_cache_in(&Configuration::of(start).ok()?)
}

/// The same of a configuration.
pub(crate) fn without_cache_in(configuration: &Configuration) -> Option<String> {
    let has = |is_it: fn(&str, &str) -> bool| configuration.first_with(is_it).ok();
    let serves_tls = has(|name, _| name == "ssl_certificate")?.is_some();
    let keeps = has(|name, value| name == CACHE && !NO_CACHE.contains(&value))?.is_some();
    (serves_tls && !keeps).then(|| {
        format!(
            "nginx keeps no sessions by id, so only stateless tickets resume: {} sets no {CACHE}, \
             as {CACHE} shared:SSL:10m",
            configuration.main.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "env LD_PRELOAD; env SESSCACHE_STORE; ";

    /// The words of a command that is kept through an upgrade.
    fn kept(words: &[&str]) -> Vec<OsString> {
        let mut words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let names = ["PATH", "LD_PRELOAD", "SESSCACHE_STORE", "SESSCACHE_x;y"].map(OsStr::new);
        keep_through_upgrade(&mut words, Path::new("/usr/sbin/nginx"), names.into_iter());
        words
    }

    #[test]
    fn variables_are_handed_down() {
        assert_eq!(kept(&["nginx"]), ["/usr/sbin/nginx", "-g", LINES]);
        assert_eq!(kept(&["nginx", "-t"]), ["/usr/sbin/nginx", "-g", LINES, "-t"]);
    }

    #[test]
    fn lines_of_the_command_stay() {
        let with = |value: &str| OsString::from(format!("{LINES}{value}"));
        assert_eq!(kept(&["x", "-g", "daemon off;"])[2], with("daemon off;"));
        assert_eq!(kept(&["x", "-g", "a", "-qg", "b"])[2..], ["a".into(), "-qg".into(), with("b")]);
        assert_eq!(kept(&["x", "-gdaemon off;"])[1], *format!("-g{LINES}daemon off;"));
        assert_eq!(kept(&["x", "-c", "-g"])[1..], ["-g", LINES, "-c", "-g"]);
    }
}

//! Servers with ticket keys of their own that end with them, so that the key file's are worth more.
//!
//! HAProxy and Apache are not among them: they have keys of their own only if somebody gave them.

mod given;
mod nginx;

use crate::program;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

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
/// others SSL_CTX_set_tlsext_ticket_key_evp_cb(). All but nginx and nghttpx answer 1 in TLS 1.3.
const SERVERS: [Server; 7] = [
    Server { name: "nginx", fate: "end with its zone of sessions", keys: nginx::keys },
    Server { name: "lighttpd", fate: "end at each reload", keys: given::of_lighttpd },
    // tlsmgr has them in memory, and there is no setting for a file.
    Server { name: "postfix", fate: "end at each reload", keys: |_| Keys::Made },
    Server { name: "nghttpx", fate: "end at each reload", keys: given::of_nghttpx },
    Server { name: "h2o", fate: "end with its process", keys: given::of_h2o },
    // Each context draws some. A program may set others, which cannot be seen from here.
    Server { name: "node", fate: "end with its process", keys: |_| Keys::Made },
    Server { name: "nodejs", fate: "end with its process", keys: |_| Keys::Made },
];

/// A command that is about to be started.
pub(crate) struct Start<'a> {
    /// The file of the command.
    pub(crate) program: &'a Path,
    /// What runs in the end: the same, or a script's interpreter.
    pub(crate) runs: &'a Path,
    /// The words behind the command.
    pub(crate) arguments: &'a [OsString],
}

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

/// What to do about the ticket keys of a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    /// Ours first, with the reason.
    Override(String),
    /// Leave them alone, with the reason.
    Leave(String),
}

/// The advice for a command; `None` for a program without ticket keys of its own.
pub(crate) fn advise(start: &Start) -> Option<Advice> {
    let names = SERVERS.iter().map(|server| server.name);
    let name = program::known(names, [start.program, start.runs])?;
    let server = SERVERS.iter().find(|server| server.name == name)?;
    match (server.keys)(start) {
        Keys::Made => Some(Advice::Override(format!("{name}'s own ticket keys {}", server.fate))),
        Keys::Given(setting) => Some(Advice::Leave(format!("{name} was given keys by {setting}"))),
        Keys::Unknown(why) => {
            Some(Advice::Leave(format!("it is not known whether {name} was given keys: {why}")))
        }
        Keys::None => None,
    }
}

impl Start<'_> {
    /// The value of a one-letter option as getopt(3) finds it: the last one. `valued` are the
    /// letters of the options that have one.
    fn option(&self, letter: u8, valued: &[u8]) -> Option<&OsStr> {
        let mut words = self.arguments.iter().map(OsString::as_os_str);
        let mut found = None;
        while let Some(word) = words.next() {
            let Some(mut letters) = word.as_bytes().strip_prefix(b"-") else { continue };
            if letters.starts_with(b"-") {
                continue;
            }
            while let Some((first, rest)) = letters.split_first() {
                letters = rest;
                if valued.contains(first) {
                    let value =
                        if rest.is_empty() { words.next() } else { Some(OsStr::from_bytes(rest)) };
                    found = if *first == letter { value } else { found };
                    break;
                }
            }
        }
        found
    }

    /// The values of a long option, which has one: `--NAME VALUE` or `--NAME=VALUE`.
    fn long_options<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a OsStr> {
        let following = self.arguments.iter().skip(1);
        let following = following.map(Some).chain(std::iter::repeat(None));
        self.arguments.iter().zip(following).filter_map(move |(word, next)| {
            let rest = word.as_bytes().strip_prefix(name.as_bytes())?;
            match rest.split_first() {
                None => next.map(OsString::as_os_str),
                Some((b'=', value)) => Some(OsStr::from_bytes(value)),
                Some(_) => None,
            }
        })
    }

    /// Whether the command is the server itself. A script of that name may do anything.
    fn is_binary(&self) -> bool {
        self.program == self.runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The advice for a program of this name, which does not exist.
    fn advice(name: &str, runs: &str, arguments: &[&str]) -> Option<Advice> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let (program, runs) = (Path::new(name), Path::new(runs));
        advise(&Start { program, runs, arguments: &arguments })
    }

    fn ours(reason: &str) -> Option<Advice> {
        Some(Advice::Override(reason.to_owned()))
    }

    #[test]
    fn servers_are_known_by_their_file_names() {
        assert_eq!(
            advice("/usr/sbin/postfix", "/usr/sbin/postfix", &[]),
            ours("postfix's own ticket keys end at each reload")
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

    #[test]
    fn options_are_found_as_getopt_finds_them() {
        let option = |words: &[&str], letter| {
            let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
            let (program, runs) = (Path::new("x"), Path::new("x"));
            let start = Start { program, runs, arguments: &arguments };
            start.option(letter, b"cpg").map(OsStr::to_owned)
        };
        assert_eq!(option(&["-c", "a"], b'c'), Some("a".into()));
        assert_eq!(option(&["-tca"], b'c'), Some("a".into()));
        assert_eq!(option(&["-tc", "a", "-p/x"], b'p'), Some("/x".into()));
        assert_eq!(option(&["-c", "a", "-c", "b"], b'c'), Some("b".into()));
        assert_eq!(option(&["-g", "-c", "x"], b'c'), None);
        assert_eq!(option(&["-c"], b'c'), None);
        assert_eq!(option(&["--conf", "x"], b'c'), None);
    }

    #[test]
    fn long_options_have_their_value_in_one_word_or_two() {
        let arguments: Vec<OsString> =
            ["--conf=a", "--conf", "b", "--confer=c", "--conf"].map(OsString::from).into();
        let (program, runs) = (Path::new("x"), Path::new("x"));
        let start = Start { program, runs, arguments: &arguments };
        assert_eq!(start.long_options("--conf").collect::<Vec<_>>(), ["a", "b"]);
    }
}

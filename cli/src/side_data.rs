//! Servers that keep data of their own with sessions, and whether they can do without it.
//!
//! The library has no session of such a program shared, because the data cannot travel.

use crate::program;
use crate::start::{Advice, Start};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The variable that shares all the same.
pub(crate) const VARIABLE: &str = "SESSCACHE_EX_DATA";
/// Its value.
pub(crate) const SHARE: &str = "share";

/// Of the servers of Debian 12 and 13 that were tried, stunnel alone keeps data with sessions.
const STUNNEL: [&str; 2] = ["stunnel", "stunnel4"];
/// The file that stunnel reads if none is named.
const CONFIGURATION: &str = "/etc/stunnel/stunnel.conf";
/// With this setting it asks the data of a session whether it verified the client.
const REDIRECT: &str = "redirect";

/// The advice for a command; `None` for a program that is not known to keep data with sessions.
pub(crate) fn advise(start: &Start) -> Option<Advice> {
    let name = program::known(STUNNEL.into_iter(), [start.program, start.runs])?;
    if !start.is_binary() {
        return Some(Advice::Leave(format!("{name} is started by a script")));
    }
    let file = match start.arguments.first().map(PathBuf::from) {
        None => PathBuf::from(CONFIGURATION),
        Some(option) if option.as_os_str().as_encoded_bytes().starts_with(b"-") => {
            return Some(Advice::Leave(format!("{name}'s configuration is no file")));
        }
        Some(file) => file,
    };
    Some(match has_setting(&file, REDIRECT) {
        Ok(false) => {
            Advice::Set(format!("{name} without `{REDIRECT}` asks for no data of its own"))
        }
        Ok(true) => Advice::Leave(format!("{name} with `{REDIRECT}` trusts its data in a session")),
        Err((file, error)) => Advice::Leave(format!("{}: {error}", file.display())),
    })
}

/// Whether a file, or one of a folder that it includes, has this setting. Else the file that cannot
/// be read.
fn has_setting(file: &Path, setting: &str) -> Result<bool, (PathBuf, io::Error)> {
    let text = fs::read(file).map_err(|error| (file.to_owned(), error))?;
    let text = String::from_utf8_lossy(&text);
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        match name.trim() {
            name if name.eq_ignore_ascii_case(setting) => return Ok(true),
            name if name.eq_ignore_ascii_case("include") => {
                let folder = Path::new(value.trim());
                let files = fs::read_dir(folder).map_err(|error| (folder.to_owned(), error))?;
                for entry in files {
                    let path = entry.map_err(|error| (folder.to_owned(), error))?.path();
                    // stunnel reads regular files there, and an include in them is an error.
                    if path.is_file() && has_setting(&path, setting)? {
                        return Ok(true);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn advice(program: &str, runs: &str, arguments: &[&Path]) -> Option<Advice> {
        let arguments: Vec<OsString> = arguments.iter().map(|word| word.into()).collect();
        let (program, runs) = (Path::new(program), Path::new(runs));
        advise(&Start { program, runs, arguments: &arguments })
    }

    fn shares(configuration: &Path) -> bool {
        matches!(advice("/x/stunnel4", "/x/stunnel4", &[configuration]), Some(Advice::Set(_)))
    }

    #[test]
    fn stunnel_shares_unless_it_redirects() {
        let folder = std::env::temp_dir().join(format!("sesscache-side-{}", std::process::id()));
        let included = folder.join("conf.d");
        fs::create_dir_all(&included).unwrap();
        let (main, part) = (folder.join("stunnel.conf"), included.join("part.conf"));
        fs::write(&main, "; redirect = 1\n[https]\naccept = 1\n").unwrap();
        assert!(shares(&main));
        fs::write(&main, "[https]\n Redirect=127.0.0.1:80\n").unwrap();
        assert!(!shares(&main));
        fs::write(&main, format!("include = {}\n", included.display())).unwrap();
        assert!(shares(&main), "an empty folder");
        fs::write(&part, "[https]\naccept = 1\n").unwrap();
        assert!(shares(&main));
        fs::write(&part, "[https]\nredirect = 1\n").unwrap();
        assert!(!shares(&main));
        fs::remove_dir_all(&included).unwrap();
        assert!(!shares(&main), "what cannot be read");
        assert!(!shares(&folder.join("gone")));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_cannot_be_asked_is_left_alone() {
        for (runs, word) in [("/x/stunnel", "-fd"), ("/bin/sh", "/x/stunnel.conf")] {
            let found = advice("/x/stunnel", runs, &[Path::new(word)]);
            assert!(matches!(found, Some(Advice::Leave(_))), "{runs} {word}: {found:?}");
        }
        assert_eq!(advice("/x/nginx", "/x/nginx", &[]), None);
    }
}

//! Whether lighttpd, nghttpx and h2o were given ticket keys, as their configurations say.

use super::Keys;
use crate::start::Start;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// lighttpd prints its configuration when asked, with all that is included.
pub(super) fn of_lighttpd(start: &Start) -> Keys {
    const SETTING: &str = "ssl.stek-file";
    const VALUED: &[u8] = b"fmi";
    if !start.is_binary() {
        return Keys::Unknown("it is started by a script".to_owned());
    }
    let mut command = Command::new(start.program);
    command.arg("-p").stdin(Stdio::null());
    for (option, letter) in [("-f", b'f'), ("-m", b'm')] {
        if let Some(value) = start.option(letter, VALUED) {
            command.arg(option).arg(value);
        }
    }
    let printed = match command.output() {
        Ok(printed) if printed.status.success() => printed.stdout,
        _ => return Keys::Unknown("it does not print its configuration".to_owned()),
    };
    let text = String::from_utf8_lossy(&printed);
    match text.lines().any(|line| line.trim_start().starts_with(SETTING)) {
        true => Keys::Given(SETTING.to_owned()),
        false => Keys::Made,
    }
}

/// nghttpx has options, and the same as lines of its configuration.
pub(super) fn of_nghttpx(start: &Start) -> Keys {
    const SETTINGS: [&str; 2] = ["tls-ticket-key-file", "tls-ticket-key-memcached"];
    const CONFIGURATION: &str = "/etc/nghttpx/nghttpx.conf";
    const MOST_FILES: usize = 1000;
    for setting in SETTINGS {
        let option = format!("--{setting}");
        if start.long_options(&option).next().is_some() {
            return Keys::Given(option);
        }
    }
    let named = start.long_options("--conf").last();
    let mut files = vec![named.map_or(PathBuf::from(CONFIGURATION), PathBuf::from)];
    for read in 0.. {
        let Some(file) = files.get(read).filter(|_| read < MOST_FILES) else { break };
        let text = match lines(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Keys::Unknown(format!("{}: {error}", file.display())),
        };
        for (name, value) in text.iter().filter_map(|line| line.split_once('=')) {
            match name.trim_end() {
                "include" => files.push(PathBuf::from(value)),
                name if SETTINGS.contains(&name) => return Keys::Given(name.to_owned()),
                _ => {}
            }
        }
    }
    Keys::Made
}

/// h2o keeps ticket keys in memory, unless its configuration names another store for them.
pub(super) fn of_h2o(start: &Start) -> Keys {
    const SETTING: &str = "ticket-store";
    let file = start.long_options("--conf").last().or_else(|| start.option(b'c', b"cm"));
    let Some(file) = file.map(Path::new) else {
        return Keys::Unknown("no option names its configuration".to_owned());
    };
    let text = match lines(file) {
        Ok(text) => text,
        Err(error) => return Keys::Unknown(format!("{}: {error}", file.display())),
    };
    if text.iter().any(|line| line.contains(SETTING) && !line.contains("internal")) {
        return Keys::Given(SETTING.to_owned());
    }
    match text.iter().any(|line| line.contains("!file")) {
        true => Keys::Unknown("its configuration includes files".to_owned()),
        false => Keys::Made,
    }
}

/// The lines of a file that are neither empty nor comments.
fn lines(file: &Path) -> io::Result<Vec<String>> {
    let text = fs::read(file)?;
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().map(str::trim);
    Ok(lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    /// Of a server with this configuration, and these options behind the one that names it.
    fn keys(of: fn(&Start) -> Keys, text: &str, options: &[&str]) -> Keys {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("sesscache-given-{}-{number}", std::process::id());
        let file = std::env::temp_dir().join(name);
        fs::write(&file, text).unwrap();
        let mut arguments = vec![OsString::from("--conf"), file.clone().into()];
        arguments.extend(options.iter().map(OsString::from));
        let (program, runs) = (Path::new("x"), Path::new("x"));
        let found = of(&Start { program, runs, arguments: &arguments });
        fs::remove_file(&file).unwrap();
        found
    }

    #[test]
    fn nghttpx_has_options_and_lines() {
        let given = |name: &str| Keys::Given(name.to_owned());
        assert_eq!(keys(of_nghttpx, "workers=2\n# tls-ticket-key-file=x\n", &[]), Keys::Made);
        assert_eq!(keys(of_nghttpx, "tls-ticket-key-cipher=x\n", &[]), Keys::Made);
        assert_eq!(keys(of_nghttpx, "tls-ticket-key-file=/x\n", &[]), given("tls-ticket-key-file"));
        assert_eq!(
            keys(of_nghttpx, "", &["--tls-ticket-key-memcached=h,1"]),
            given("--tls-ticket-key-memcached")
        );
        assert_eq!(keys(of_nghttpx, "include=/nowhere\n", &[]), Keys::Made);
        assert!(matches!(keys(of_nghttpx, "", &["--conf=/"]), Keys::Unknown(_)));
    }

    #[test]
    fn h2o_has_a_store_of_tickets() {
        assert_eq!(keys(of_h2o, "listen:\n  port: 443\n", &[]), Keys::Made);
        assert_eq!(keys(of_h2o, "  ticket-store: internal\n", &[]), Keys::Made);
        let file = "ssl-session-resumption:\n  mode: ticket\n  ticket-store: file\n";
        assert_eq!(keys(of_h2o, file, &[]), Keys::Given("ticket-store".to_owned()));
        assert!(matches!(keys(of_h2o, "hosts: !file x\n", &[]), Keys::Unknown(_)));
    }
}

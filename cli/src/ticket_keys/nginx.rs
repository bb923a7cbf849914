//! Asks nginx's build and configuration for ticket keys. Nothing of nginx's is made or opened for
//! writing, as `nginx -T` would do.

use super::{Keys, Start};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

/// Since this version nginx makes ticket keys in a shared zone of sessions.
const MAKES_KEYS: [u32; 3] = [1, 23, 2];
/// The setting that gives it keys.
const SETTING: &str = "ssl_session_ticket_key";
/// Its options with a value.
const VALUED: &[u8] = b"cpges";
/// More files than any configuration has.
const MOST_FILES: usize = 20_000;

/// Where the keys of an nginx come from.
pub(super) fn keys(start: &Start) -> Keys {
    if !start.is_binary() {
        return Keys::Unknown("it is started by a script".to_owned());
    }
    let Some(build) = Build::ask(start.program) else {
        return Keys::Unknown("it does not tell its version".to_owned());
    };
    if build.version.as_slice() < MAKES_KEYS.as_slice() {
        return Keys::None;
    }
    let prefix = start.option(b'p', VALUED).map_or(build.prefix, PathBuf::from);
    let configuration = start.option(b'c', VALUED).map_or(build.configuration, PathBuf::from);
    match file_with_keys(&prefix.join(configuration)) {
        Ok(Some(file)) => Keys::Given(format!("{SETTING} in {}", file.display())),
        Ok(None) => Keys::Made,
        Err((file, error)) => Keys::Unknown(format!("{}: {error}", file.display())),
    }
}

/// What an nginx was built with.
#[derive(Debug, PartialEq, Eq)]
struct Build {
    version: Vec<u32>,
    prefix: PathBuf,
    configuration: PathBuf,
}

impl Build {
    fn ask(program: &Path) -> Option<Build> {
        let said = Command::new(program).arg("-V").stdin(Stdio::null()).output().ok()?;
        Build::parse(&String::from_utf8_lossy(&said.stderr))
    }

    /// From "nginx version: nginx/1.26.3 (Ubuntu)" and "configure arguments: --prefix=...".
    fn parse(text: &str) -> Option<Build> {
        let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
        let version = line("nginx version: ")?.split_once('/')?.1;
        let version = version.split(|c: char| c != '.' && !c.is_ascii_digit()).next()?;
        let arguments = line("configure arguments:").unwrap_or_default();
        let path = |name: &str, default: &str| {
            let found = arguments.split_whitespace().find_map(|word| word.strip_prefix(name));
            PathBuf::from(found.unwrap_or(default))
        };
        Some(Build {
            version: version.split('.').map_while(|part| part.parse().ok()).collect(),
            prefix: path("--prefix=", "/usr/local/nginx"),
            configuration: path("--conf-path=", "conf/nginx.conf"),
        })
    }
}

/// The first of a configuration's files that gives keys.
fn file_with_keys(main: &Path) -> Result<Option<PathBuf>, (PathBuf, io::Error)> {
    let folder = main.parent().unwrap_or(main);
    let (mut seen, mut ahead) = (HashSet::new(), vec![main.to_owned()]);
    while let Some(file) = ahead.pop() {
        if !seen.insert(file.clone()) {
            continue;
        }
        if seen.len() > MOST_FILES {
            return Err((file, io::Error::other("too many files")));
        }
        let text = fs::read(&file).map_err(|error| (file.clone(), error))?;
        let text = String::from_utf8_lossy(&text);
        if words(&text).any(|word| word == SETTING) {
            return Ok(Some(file));
        }
        let patterns = words(&text).zip(words(&text).skip(1));
        for (_, pattern) in patterns.filter(|(word, _)| *word == "include") {
            ahead.extend(expand(&folder.join(pattern)));
        }
    }
    Ok(None)
}

/// The words of a configuration, without comments and quotes.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let ends = |c: char| c.is_whitespace() || ";{}".contains(c);
    text.lines().flat_map(move |line| {
        let mut before = ' ';
        let comment = line.find(|c| ends(std::mem::replace(&mut before, c)) && c == '#');
        let line = comment.and_then(|at| line.get(..at)).unwrap_or(line);
        line.split(move |c| ends(c) || c == '"' || c == '\'').filter(|word| !word.is_empty())
    })
}

/// The files that a pattern of glob(7) names.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        found = match component {
            Component::Normal(name) if name.as_bytes().iter().any(|c| b"*?[".contains(c)) => {
                found.iter().flat_map(|folder| matching(folder, name)).collect()
            }
            other => found.into_iter().map(|folder| folder.join(other)).collect(),
        };
    }
    found.retain(|file| file.is_file());
    found
}

/// The files of a folder that a pattern names.
fn matching(folder: &Path, pattern: &OsStr) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name());
    let names = names.filter(|name| {
        let (name, pattern) = (name.as_bytes(), pattern.as_bytes());
        name.starts_with(b".") == pattern.starts_with(b".") && matches(pattern, name)
    });
    names.map(|name| folder.join(name)).collect()
}

/// Whether a name fits a pattern. A class of characters fits each one: a file too many is read.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return name.is_empty() };
    let behind = name.get(1..);
    match first {
        b'*' => matches(rest, name) || behind.is_some_and(|behind| matches(pattern, behind)),
        b'?' => behind.is_some_and(|behind| matches(rest, behind)),
        b'[' => {
            let end = rest.iter().skip(1).position(|c| *c == b']').map_or(0, |end| end + 2);
            let rest = rest.get(end..).unwrap_or_default();
            behind.is_some_and(|behind| matches(rest, behind))
        }
        _ => name.first() == Some(first) && behind.is_some_and(|behind| matches(rest, behind)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_is_read() {
        let build = Build::parse(
            "nginx version: openresty/1.25.3.1 (x)\nbuilt by gcc\n\
             configure arguments: --with-cc-opt='-g -O2' --prefix=/p --conf-path=/etc/n.conf\n",
        );
        let (prefix, configuration) = ("/p".into(), "/etc/n.conf".into());
        assert_eq!(build, Some(Build { version: vec![1, 25, 3, 1], prefix, configuration }));
        let plain = Build::parse("nginx version: nginx/1.22.1\n").unwrap();
        assert!(plain.version.as_slice() < MAKES_KEYS.as_slice());
        assert_eq!(
            plain.prefix.join(plain.configuration),
            Path::new("/usr/local/nginx/conf/nginx.conf")
        );
        assert_eq!(Build::parse("Usage: nginx\n"), None);
    }

    #[test]
    fn comments_and_quotes_are_no_words() {
        let text = "http{include 'a b';#include c;\n include \"d\"; x y#z; # e\n}";
        let found: Vec<&str> = words(text).collect();
        assert_eq!(found, ["http", "include", "a", "b", "include", "d", "x", "y#z"]);
    }

    #[test]
    fn names_fit_patterns() {
        let fits = |pattern: &str, name: &str| matches(pattern.as_bytes(), name.as_bytes());
        for (pattern, name) in
            [("*.conf", "a.conf"), ("*", ""), ("a?c*", "abc"), ("[!a-c]x*", "dx")]
        {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*.conf", "a.con"), ("?", ""), ("a", "ab"), ("[ab]", ""), ("", "a")]
        {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn keys_are_found_in_included_files() {
        let folder = std::env::temp_dir().join(format!("sesscache-nginx-{}", std::process::id()));
        fs::create_dir_all(folder.join("sites/a")).unwrap();
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        let main = folder.join("nginx.conf");
        write("nginx.conf", "http { include sites/*/*.conf; include nginx.conf; include none; }");
        write("sites/a/one.conf", "# ssl_session_ticket_key k;\nssl_session_tickets on;");
        assert_eq!(file_with_keys(&main).unwrap(), None);
        write("sites/a/two.conf", "server {\n\tssl_session_ticket_key\tk;\n}");
        assert_eq!(file_with_keys(&main).unwrap(), Some(folder.join("sites/a/two.conf")));
        let (missing, _) = file_with_keys(&folder.join("none")).unwrap_err();
        assert_eq!(missing, folder.join("none"));
        fs::remove_dir_all(&folder).unwrap();
    }
}

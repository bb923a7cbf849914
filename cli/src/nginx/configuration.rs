//! nginx's configuration, with all that it includes. Nothing of nginx's is made or opened for
//! writing, as `nginx -T` would do.

use crate::start::Start;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

/// Its options with a value.
pub(crate) const VALUED: &[u8] = b"cpges";
/// More files than any configuration has.
const MOST_FILES: usize = 20_000;

/// The configuration that an nginx is about to read.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// The version of the program.
    pub(crate) version: Vec<u32>,
    /// The file that it begins with.
    pub(crate) main: PathBuf,
    /// The root of the file system to which its paths belong.
    root: PathBuf,
}

/// A file of the configuration that cannot be read, and why.
#[derive(Debug)]
pub(crate) struct Unreadable(PathBuf, io::Error);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.display(), self.1)
    }
}

impl Configuration {
    /// Asks the program where it is; the error says why that is not known.
    pub(crate) fn of(start: &Start) -> Result<Configuration, &'static str> {
        if !start.is_binary() {
            return Err("it is started by a script");
        }
        let build = Build::ask(start.program).ok_or("it does not tell its version")?;
        let prefix = start.option(b'p', VALUED).map_or(build.prefix, PathBuf::from);
        let main = start.option(b'c', VALUED).map_or(build.configuration, PathBuf::from);
        let (main, root) = (prefix.join(main), PathBuf::from("/"));
        Ok(Configuration { version: build.version, main, root })
    }

    /// The configuration that begins with this file of another root. No program is asked for its version.
    pub(crate) fn inside(main: PathBuf, root: PathBuf) -> Configuration {
        let main = root.join(main.strip_prefix("/").unwrap_or(&main));
        Configuration { version: Vec::new(), main, root }
    }

    /// The first of its files that has such a setting: its name, and the word behind it.
    pub(crate) fn first_with(
        &self,
        is_it: impl Fn(&str, &str) -> bool,
    ) -> Result<Option<PathBuf>, Unreadable> {
        let folder = self.main.parent().unwrap_or(&self.main);
        let (mut seen, mut ahead) = (HashSet::new(), vec![self.main.clone()]);
        while let Some(file) = ahead.pop() {
            if !seen.insert(file.clone()) {
                continue;
            }
            if seen.len() > MOST_FILES {
                return Err(Unreadable(file, io::Error::other("too many files")));
            }
            let text = fs::read(&file).map_err(|error| Unreadable(file.clone(), error))?;
            let text = String::from_utf8_lossy(&text);
            let pairs = || words(&text).zip(words(&text).skip(1));
            if pairs().any(|(name, value)| is_it(name, value)) {
                return Ok(Some(file));
            }
            for (_, pattern) in pairs().filter(|(word, _)| *word == "include") {
                ahead.extend(expand(&match pattern.strip_prefix('/') {
                    Some(pattern) => self.root.join(pattern),
                    None => folder.join(pattern),
                }));
            }
        }
        Ok(None)
    }
}

/// The settings that an nginx was built with.
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
        assert_eq!(plain.version, [1, 22, 1]);
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
    fn settings_are_found_in_included_files() {
        let folder = std::env::temp_dir().join(format!("sesscache-nginx-{}", std::process::id()));
        fs::create_dir_all(folder.join("sites/a")).unwrap();
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        let of = |name: &str| Configuration::inside(folder.join(name), "/".into());
        let first = || of("nginx.conf").first_with(|name, value| (name, value) == ("wanted", "k"));
        write("nginx.conf", "http { include sites/*/*.conf; include nginx.conf; include none; }");
        write("sites/a/one.conf", "# wanted k;\nwanted on;");
        assert_eq!(first().unwrap(), None);
        write("sites/a/two.conf", "server {\n\twanted\tk;\n}");
        assert_eq!(first().unwrap(), Some(folder.join("sites/a/two.conf")));
        write("nginx.conf", "http { include /sites/a/*.conf; }");
        let inside = Configuration::inside("/nginx.conf".into(), folder.clone());
        let found = inside.first_with(|name, value| (name, value) == ("wanted", "k"));
        assert_eq!(found.unwrap(), Some(folder.join("sites/a/two.conf")));
        let missing = of("none").first_with(|_, _| true).unwrap_err();
        assert!(missing.to_string().starts_with(&folder.join("none").display().to_string()));
        fs::remove_dir_all(&folder).unwrap();
    }
}

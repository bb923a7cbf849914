//! A command that is about to be started, the options among its words, and advice about it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A command that is about to be started.
pub(crate) struct Start<'a> {
    /// The file of the command.
    pub(crate) program: &'a Path,
    /// The program that runs in the end: the same, or a script's interpreter.
    pub(crate) runs: &'a Path,
    /// The words behind the command.
    pub(crate) arguments: &'a [OsString],
}

/// Advice about a variable for a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    /// Set it, with the reason.
    Set(String),
    /// Leave it to the library, with the reason.
    Leave(String),
}

/// Where the value of an option is: its word, and how many bytes of the word are before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) word: usize,
    pub(crate) before: usize,
}

impl Start<'_> {
    /// The value of a one-letter option as getopt(3) finds it: the last one. `valued` are the
    /// letters of the options that have one.
    pub(crate) fn option(&self, letter: u8, valued: &[u8]) -> Option<&OsStr> {
        let place = place_of(self.arguments, letter, valued)?;
        let word = self.arguments.get(place.word)?.as_bytes();
        word.get(place.before..).map(OsStr::from_bytes)
    }

    /// The values of a long option, which has one: `--NAME VALUE` or `--NAME=VALUE`.
    pub(crate) fn long_options<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a OsStr> {
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

    /// The command's file for a message, and its interpreter if it is a script.
    pub(crate) fn shown(&self) -> String {
        match self.is_binary() {
            true => self.program.display().to_string(),
            false => format!("{}: its interpreter {}", self.program.display(), self.runs.display()),
        }
    }

    /// Whether the command is a shell's script, which starts other programs.
    pub(crate) fn is_of_a_shell(&self) -> bool {
        const SHELLS: [&str; 5] = ["sh", "dash", "bash", "ksh", "zsh"];
        let name = self.runs.file_name().and_then(OsStr::to_str).unwrap_or_default();
        !self.is_binary() && SHELLS.contains(&name)
    }

    /// Whether the command is the server itself. A script of that name may do anything.
    pub(crate) fn is_binary(&self) -> bool {
        self.program == self.runs
    }
}

/// The place of the value that [`Start::option`] finds.
pub(crate) fn place_of(arguments: &[OsString], letter: u8, valued: &[u8]) -> Option<Place> {
    let mut words = arguments.iter().enumerate();
    let mut found = None;
    while let Some((word, text)) = words.next() {
        let text = text.as_bytes();
        if !text.starts_with(b"-") || text.starts_with(b"--") {
            continue;
        }
        let Some(at) = text.iter().skip(1).position(|first| valued.contains(first)) else {
            continue;
        };
        let (is_it, before) = (text.get(at + 1) == Some(&letter), at + 2);
        let place = match text.len() {
            length if length > before => Some(Place { word, before }),
            _ => words.next().map(|(word, _)| Place { word, before: 0 }),
        };
        found = if is_it { place } else { found };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

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

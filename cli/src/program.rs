//! Finds the file of a command in PATH, and the interpreter if it is a script.

use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{env, fmt};

/// The longest chain of scripts that run each other: as many as Linux allows, and the program.
const MOST_INTERPRETERS: usize = 5;
/// The part of a script's first line that Linux reads.
const FIRST_LINE_BYTES: u64 = 256;
/// The search path if there is no PATH, as in execvp(3).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The reasons why a command cannot be started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FindError {
    /// The command is in no folder of the path.
    Missing,
    /// The command exists and cannot be executed, for this reason.
    NotExecutable(&'static str),
}

impl fmt::Display for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FindError::Missing => write!(f, "not found"),
            FindError::NotExecutable(why) => write!(f, "{why}"),
        }
    }
}

/// The file that a shell would start for a command.
pub(crate) fn find(command: &OsStr) -> Result<PathBuf, FindError> {
    find_in(command, env::var_os("PATH").as_deref().unwrap_or(OsStr::new(DEFAULT_PATH)))
}

fn find_in(command: &OsStr, path: &OsStr) -> Result<PathBuf, FindError> {
    if command.is_empty() {
        return Err(FindError::Missing);
    }
    if command.as_bytes().contains(&b'/') {
        return executable(Path::new(command).to_owned());
    }
    let mut missing = FindError::Missing;
    for folder in env::split_paths(path) {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
        match executable(folder.join(command)) {
            Err(FindError::Missing) => {}
            Err(error) => missing = error,
            found => return found,
        }
    }
    Err(missing)
}

fn executable(path: PathBuf) -> Result<PathBuf, FindError> {
    match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(FindError::NotExecutable("permission denied"))
        }
        Err(_) => Err(FindError::Missing),
        Ok(metadata) if metadata.is_dir() => Err(FindError::NotExecutable("is a folder")),
        Ok(_) => match accessat(CWD, &path, Access::EXEC_OK, AtFlags::EACCESS) {
            Ok(()) => Ok(path),
            Err(_) => Err(FindError::NotExecutable("permission denied")),
        },
    }
}

/// The program that runs in the end: the file, or the interpreter if it is a script.
pub(crate) fn interpreter(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..MOST_INTERPRETERS {
        // A file that cannot be read counts as a program.
        let Ok(Some(line)) = first_line(&path) else { break };
        let Some(next) = named_in(&line) else { break };
        path = next;
    }
    path
}

/// The first of the names that one of these files has: the command, and the interpreter of a script.
/// A file has the name of the file behind a link, too.
pub(crate) fn known(
    names: impl Iterator<Item = &'static str> + Clone,
    files: [&Path; 2],
) -> Option<&'static str> {
    let known = |file: &Path| names.clone().find(|name| is_named(file, name));
    let real = |file: &Path| file.canonicalize().unwrap_or_default();
    files.into_iter().find_map(|file| known(file).or_else(|| known(&real(file))))
}

/// Whether a file has this name, perhaps with a version behind it (`ruby3.3`).
fn is_named(file: &Path, name: &str) -> bool {
    let rest = file.file_name().and_then(OsStr::to_str).and_then(|file| file.strip_prefix(name));
    rest.is_some_and(|rest| rest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-')))
}

/// The first line of a text file, as far as the kernel reads it; `None` if the file is not text.
fn first_line(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut start = Vec::new();
    File::open(path)?.take(FIRST_LINE_BYTES).read_to_end(&mut start)?;
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok((!line.contains(&0)).then(|| line.to_vec()))
}

/// The interpreter in a first line. If that is env(1), the command that env runs.
fn named_in(line: &[u8]) -> Option<PathBuf> {
    let Some(line) = line.strip_prefix(b"#!") else {
        // The shell runs text without an interpreter; execvp and shells see to that.
        return Some(PathBuf::from("/bin/sh"));
    };
    let mut words = line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let interpreter = Path::new(OsStr::from_bytes(words.next()?));
    if interpreter.file_name() != Some(OsStr::new("env")) {
        return Some(interpreter.to_owned());
    }
    let command = words.find(|word| !word.starts_with(b"-") && !word.contains(&b'='))?;
    find(OsStr::from_bytes(command)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_as_a_shell_finds_them() {
        let find = |command: &str, path: &str| find_in(command.as_ref(), path.as_ref());
        assert_eq!(find("sh", "/nowhere:/bin"), Ok("/bin/sh".into()));
        assert_eq!(find("/bin/sh", ""), Ok("/bin/sh".into()));
        assert_eq!(find("sh", "/nowhere"), Err(FindError::Missing));
        assert_eq!(find("", "/bin"), Err(FindError::Missing));
        assert_eq!(find("passwd", "/etc"), Err(FindError::NotExecutable("permission denied")));
        assert_eq!(find("/etc", ""), Err(FindError::NotExecutable("is a folder")));
    }

    #[test]
    fn first_lines_name_the_interpreter() {
        let named = |line: &str| named_in(line.as_bytes());
        assert_eq!(named("#!/bin/bash"), Some("/bin/bash".into()));
        assert_eq!(named("#! /usr/bin/perl -w"), Some("/usr/bin/perl".into()));
        assert_eq!(named("#!/usr/bin/env -S A=b sh -e"), find("sh".as_ref()).ok());
        assert_eq!(named("#!/usr/bin/env"), None);
        assert_eq!(named("echo"), Some("/bin/sh".into()));
        assert_eq!(named("#!"), None);
    }

    #[test]
    fn a_binary_is_its_own_interpreter() {
        assert_eq!(interpreter(Path::new("/bin/sh")), Path::new("/bin/sh"));
    }
}

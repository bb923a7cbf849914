//! Whether a program can be overlaid, and why not.
//!
//! The program's own loader lists the libraries that it will load (`ld.so --list`, as ldd does).
//! The loader maps everything and runs nothing. So the answer is right for any search path and
//! machine.

use crate::elf::{self, Elf, ElfError};
use rustix::fs::getxattr;
use rustix::process::{getgid, getuid};
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{fmt, io};

/// The supported versions of libssl, by the end of the file's name.
const SUPPORTED: [&str; 2] = ["3", "4"];

/// Programs that take a resumed session as proof of the same client, so sharing would let others
/// in.
const MUST_NOT_SHARE: [(&str, &str); 1] = [(
    "vsftpd",
    "its require_ssl_reuse takes any resumed session for the client's own, so with a store \
     anybody's would pass",
)];

/// The reasons why a program cannot be overlaid, or must not be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The program is in [`MUST_NOT_SHARE`].
    MustNotShare(&'static str),
    /// The program gets rights that its caller lacks, so the loader ignores LD_PRELOAD.
    Privileged(&'static str),
    /// The program has no loader.
    Static,
    /// The program defines OpenSSL's functions itself.
    BringsOpenssl,
    /// The loader does not preload the library, with the loader's reason.
    NotPreloaded(PathBuf, String),
    /// The program's libssl is of an unsupported version.
    OtherLibssl(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::MustNotShare(why) => write!(f, "must not share sessions: {why}"),
            Refusal::Privileged(how) => {
                write!(f, "cannot be overlaid: it {how}, so the loader ignores LD_PRELOAD")
            }
            Refusal::Static => write!(f, "cannot be overlaid: it is static"),
            Refusal::BringsOpenssl => {
                write!(f, "cannot be overlaid: it has an OpenSSL of its own built in")
            }
            Refusal::NotPreloaded(library, words) => write!(
                f,
                "cannot be overlaid: the loader does not take {} ({words}); see --library",
                library.display()
            ),
            Refusal::OtherLibssl(name) => {
                write!(f, "cannot be overlaid: it uses {name}, and not OpenSSL 3 or 4")
            }
        }
    }
}

/// The reasons why the library may be useless in a program.
#[derive(Debug)]
pub(crate) enum Warning {
    /// Neither the program nor its libraries need libssl.
    NoLibssl,
    /// The program cannot be read.
    Unreadable(io::Error),
    /// Its loader cannot be started.
    LoaderFailed(io::Error),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::NoLibssl => {
                write!(
                    f,
                    "does not use libssl itself; only if a module does will sessions be shared"
                )
            }
            Warning::Unreadable(error) => {
                write!(f, "was not checked, as it cannot be read: {error}")
            }
            Warning::LoaderFailed(error) => {
                write!(f, "was not checked, as its loader fails: {error}")
            }
        }
    }
}

/// Refuses a program by its name.
pub(crate) fn may_share(program: &Path) -> Result<(), Refusal> {
    let name = program.file_name();
    match MUST_NOT_SHARE.iter().find(|(server, _)| name == Some(OsStr::new(server))) {
        Some((_, why)) => Err(Refusal::MustNotShare(why)),
        None => Ok(()),
    }
}

/// Examines a program that is to be started with the library in LD_PRELOAD of `environment`.
pub(crate) fn examine(
    program: &Path,
    library: &Path,
    environment: &[(OsString, OsString)],
) -> Result<Option<Warning>, Refusal> {
    let metadata = match program.metadata() {
        Ok(metadata) => metadata,
        Err(error) => return Ok(Some(Warning::Unreadable(error))),
    };
    let owner = (metadata.uid(), metadata.gid());
    let caller = (getuid().as_raw(), getgid().as_raw());
    let capable = getxattr(program, "security.capability", &mut [0; 64]).is_ok();
    if let Some(how) = raised_rights(metadata.mode(), owner, capable, caller) {
        return Err(Refusal::Privileged(how));
    }
    let loader = match elf::read(program) {
        Ok(Elf { brings_openssl: true, .. }) => return Err(Refusal::BringsOpenssl),
        Ok(Elf { loader: None, .. }) => return Err(Refusal::Static),
        Ok(Elf { loader: Some(loader), .. }) => loader,
        // The file is neither ELF nor a script: the kernel may know another format.
        Err(ElfError::NotElf) => return Ok(Some(Warning::NoLibssl)),
        Err(ElfError::File(error)) => return Ok(Some(Warning::Unreadable(error))),
    };
    let list = Command::new(loader)
        .arg("--list")
        .arg(program)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .output();
    match list {
        Ok(list) => judge_list(&list, library),
        Err(error) => Ok(Some(Warning::LoaderFailed(error))),
    }
}

/// The way in which a program gets rights that its caller lacks. The kernel then tells the loader,
/// which ignores LD_PRELOAD. A set-user-ID program of the same user does not count.
fn raised_rights(
    mode: u32,
    (owner, owning_group): (u32, u32),
    capable: bool,
    (user, group): (u32, u32),
) -> Option<&'static str> {
    if mode & 0o4000 != 0 && owner != user {
        return Some("is set-user-ID");
    }
    // Without the group's right to execute, the bit has another meaning.
    if mode & 0o2010 == 0o2010 && owning_group != group {
        return Some("is set-group-ID");
    }
    (capable && user != 0).then_some("has file capabilities")
}

/// The verdict on the loader's list of libraries.
fn judge_list(list: &Output, library: &Path) -> Result<Option<Warning>, Refusal> {
    let list_text = String::from_utf8_lossy(&list.stdout);
    let names: Vec<&str> = names(&list_text).collect();
    let library_name = library.to_string_lossy();
    if !names.contains(&library_name.as_ref()) {
        let words = reason(&String::from_utf8_lossy(&list.stderr));
        return Err(Refusal::NotPreloaded(library.to_owned(), words));
    }
    let versions = || names.iter().filter_map(|name| name.strip_prefix("libssl.so."));
    if versions().any(|version| SUPPORTED.contains(&version)) {
        return Ok(None);
    }
    match versions().next() {
        Some(version) => Err(Refusal::OtherLibssl(format!("libssl.so.{version}"))),
        None => Ok(Some(Warning::NoLibssl)),
    }
}

/// The reason in a loader's error, which glibc puts in parentheses.
fn reason(words: &str) -> String {
    let line = words.lines().find(|line| !line.trim().is_empty()).unwrap_or("it does not say why");
    let inner = line.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')'));
    inner.map_or(line, |(inner, _)| inner).trim().to_owned()
}

/// The names of the libraries in a list: `\tNAME => PATH (ADDRESS)` or `\tPATH (ADDRESS)`.
fn names(list: &str) -> impl Iterator<Item = &str> {
    list.lines().map(|line| {
        let line = line.trim();
        let name = line.split_once(" => ").map_or(line, |(name, _)| name);
        name.rsplit_once(" (0x").map_or(name, |(name, _)| name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn judged(stdout: &str, stderr: &str) -> Result<Option<Warning>, Refusal> {
        let status = ExitStatus::from_raw(0);
        let list = Output { status, stdout: stdout.into(), stderr: stderr.into() };
        judge_list(&list, Path::new("/lib/libsesscache.so.0"))
    }

    const OURS: &str = "\tlinux-vdso.so.1 (0x00007ffd)\n\t/lib/libsesscache.so.0 (0x00007f01)\n";

    #[test]
    fn the_loaders_list_tells() {
        let with = |more: &str| judged(&(OURS.to_owned() + more), "");
        assert!(matches!(with("\tlibssl.so.3 => /lib/libssl.so.3 (0x1)\n"), Ok(None)));
        assert!(matches!(with("\tlibssl.so.4 => not found\n"), Ok(None)));
        assert!(matches!(
            with("\tlibc.so.6 => /lib/libc.so.6 (0x1)\n"),
            Ok(Some(Warning::NoLibssl))
        ));
        assert_eq!(
            with("\tlibssl.so.1.1 => /lib/libssl.so.1.1 (0x1)\n").unwrap_err(),
            Refusal::OtherLibssl("libssl.so.1.1".into())
        );
    }

    #[test]
    fn a_library_that_is_not_taken_is_told_in_the_loaders_words() {
        let refusal = judged("\tlibssl.so.3 => /lib/libssl.so.3 (0x1)\n", "\nno room\n");
        assert_eq!(
            refusal.unwrap_err(),
            Refusal::NotPreloaded("/lib/libsesscache.so.0".into(), "no room".into())
        );
        assert_eq!(
            reason("ERROR: 'x' cannot be preloaded (wrong class): ignored.\n"),
            "wrong class"
        );
    }

    #[test]
    fn rights_that_the_caller_lacks() {
        assert_eq!(raised_rights(0o100_755, (0, 0), false, (7, 7)), None);
        assert_eq!(raised_rights(0o104_755, (0, 0), false, (7, 7)), Some("is set-user-ID"));
        assert_eq!(raised_rights(0o104_755, (7, 0), false, (7, 7)), None);
        assert_eq!(raised_rights(0o102_755, (0, 0), false, (7, 7)), Some("is set-group-ID"));
        assert_eq!(raised_rights(0o102_745, (0, 0), false, (7, 7)), None);
        assert_eq!(raised_rights(0o100_755, (0, 0), true, (7, 7)), Some("has file capabilities"));
        assert_eq!(raised_rights(0o100_755, (0, 0), true, (0, 0)), None);
    }

    #[test]
    fn vsftpd_must_not_share() {
        assert!(may_share(Path::new("/usr/sbin/vsftpd")).is_err());
        assert!(may_share(Path::new("/usr/sbin/nginx")).is_ok());
    }
}

//! Whether a program can be overlaid, and why not.
//!
//! The program's own loader lists the libraries that it will load (`ld.so --list`, as ldd does).
//! The loader maps everything and runs nothing. So the answer is right for any search path and
//! machine.

use crate::elf::{self, Elf, ElfError};
use rustix::fs::getxattr;
use rustix::process::{getgid, getuid};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{fmt, fs, io};

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
    /// The program's libssl is of an unsupported version, or of another make.
    OtherLibssl(String),
    /// The program's loader is musl's, and the library is made for glibc.
    Musl,
    /// The program is Go's, whose TLS is its own, and uses no libssl.
    Go,
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
            Refusal::Musl => write!(
                f,
                "cannot be overlaid: its loader is musl's, and the library is made for glibc"
            ),
            Refusal::Go => {
                write!(f, "cannot be overlaid: it is written in Go, whose TLS is not OpenSSL's")
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
    let (loader, is_go) = match elf::read(program) {
        Ok(Elf { brings_openssl: true, .. }) => return Err(Refusal::BringsOpenssl),
        Ok(Elf { loader: None, .. }) => return Err(Refusal::Static),
        Ok(Elf { loader: Some(loader), is_go, .. }) => (loader, is_go),
        // The file is neither ELF nor a script: the kernel may know another format.
        Err(ElfError::NotElf) => return Ok(Some(Warning::NoLibssl)),
        Err(ElfError::File(error)) => return Ok(Some(Warning::Unreadable(error))),
    };
    if is_musl(&loader) && is_for_glibc(library) {
        return Err(Refusal::Musl);
    }
    // $ORIGIN is where the file behind a link is.
    let file = program.canonicalize().unwrap_or_else(|_| program.to_owned());
    let list = Command::new(loader)
        .arg("--list")
        .arg(file)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .output();
    let list = match list {
        Ok(list) => list,
        Err(error) => return Ok(Some(Warning::LoaderFailed(error))),
    };
    let preloaded = environment.iter().find(|(name, _)| name == "LD_PRELOAD");
    match judge_list(&list, library, preloaded.map_or(OsStr::new(""), |(_, value)| value))? {
        Some(Warning::NoLibssl) if is_go => Err(Refusal::Go),
        warning => Ok(warning),
    }
}

/// Whether a loader is musl's, which can load nothing that is made for glibc.
fn is_musl(loader: &Path) -> bool {
    loader.file_name().is_some_and(|name| name.as_bytes().starts_with(b"ld-musl-"))
}

/// Whether a library is made for glibc.
fn is_for_glibc(library: &Path) -> bool {
    elf::read(library).is_ok_and(|elf| elf.needed.iter().any(|name| name == "libc.so.6"))
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

/// The verdict on the loader's list of libraries. `preloaded` is LD_PRELOAD, which may name wrappers
/// of somebody else's.
fn judge_list(
    list: &Output,
    library: &Path,
    preloaded: &OsStr,
) -> Result<Option<Warning>, Refusal> {
    let list_text = String::from_utf8_lossy(&list.stdout);
    let listed: Vec<Listed> = listed(&list_text).collect();
    let library_name = library.to_string_lossy();
    if !listed.iter().any(|listed| listed.name == library_name) {
        let words = reason(&String::from_utf8_lossy(&list.stderr));
        return Err(Refusal::NotPreloaded(library.to_owned(), words));
    }
    let version = |listed: &Listed| version_of_libssl(listed.name).map(str::to_owned);
    let mut versions = listed.iter().filter_map(version);
    if versions.clone().any(|version| SUPPORTED.contains(&version.as_str())) {
        return Ok(None);
    }
    if let Some(version) = versions.next() {
        let dot = if version.is_empty() { "" } else { "." };
        return Err(Refusal::OtherLibssl(format!("libssl.so{dot}{version}")));
    }
    let preloaded = preloaded.to_string_lossy();
    let is_preloaded = |listed: &Listed| preloaded.split([':', ' ']).any(|p| p == listed.name);
    match listed.iter().filter(|listed| !is_preloaded(listed)).find(|listed| listed.is_foreign()) {
        Some(foreign) => Err(Refusal::OtherLibssl(file_name(foreign.name).to_owned())),
        None => Ok(Some(Warning::NoLibssl)),
    }
}

/// The version in the name of a libssl, which is empty for `libssl.so`.
fn version_of_libssl(name: &str) -> Option<&str> {
    let rest = file_name(name).strip_prefix("libssl.so")?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// The reason in a loader's error, which glibc puts in parentheses.
fn reason(words: &str) -> String {
    let line = words.lines().find(|line| !line.trim().is_empty()).unwrap_or("it does not say why");
    let inner = line.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')'));
    inner.map_or(line, |(inner, _)| inner).trim().to_owned()
}

/// A library in a loader's list.
struct Listed<'a> {
    /// Its name, as who needs it has it: often a path.
    name: &'a str,
    /// Its file.
    path: &'a Path,
}

impl Listed<'_> {
    /// Whether it has OpenSSL's functions and is not OpenSSL 3 or 4 under another name, whose
    /// symbols have versions.
    fn is_foreign(&self) -> bool {
        const VERSIONS: [&[u8]; 2] = [b"OPENSSL_3.0.0\0", b"OPENSSL_4.0.0\0"];
        let Ok(bytes) = fs::read(self.path) else { return false };
        let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        elf::parse(&bytes).is_ok_and(|elf| elf.exports_openssl)
            && !VERSIONS.iter().any(|version| has(version))
    }
}

/// The libraries in a list: `\tNAME => PATH (ADDRESS)` or `\tPATH (ADDRESS)`.
fn listed(list: &str) -> impl Iterator<Item = Listed<'_>> {
    list.lines().map(|line| {
        let line = line.trim();
        let line = line.rsplit_once(" (0x").map_or(line, |(line, _)| line);
        let (name, path) = line.split_once(" => ").unwrap_or((line, line));
        Listed { name, path: Path::new(path) }
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
        judge_list(&list, Path::new("/lib/libsesscache.so.0"), OsStr::new("/lib/libsesscache.so.0"))
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
        for name in ["libssl.so", "/x/libssl.so"] {
            let of_no_version = with(&format!("\t{name} => /x/libssl.so (0x1)\n")).unwrap_err();
            assert_eq!(of_no_version, Refusal::OtherLibssl("libssl.so".into()));
        }
        assert!(matches!(with("\tlibssl3.so => /none (0x1)\n"), Ok(Some(Warning::NoLibssl))));
        assert!(matches!(with("\t/x/libssl.so.3 (0x1)\n"), Ok(None)));
    }

    #[test]
    fn the_c_library_tells_whether_a_loader_fits() {
        assert!(is_musl(Path::new("/lib/ld-musl-x86_64.so.1")));
        assert!(!is_musl(Path::new("/lib64/ld-linux-x86-64.so.2")));
        assert!(!is_for_glibc(Path::new("/etc/passwd")));
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

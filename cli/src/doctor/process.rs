//! Facts about a running process, from /proc: its libraries, its shared files, its environment.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// A file that a process has mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapped {
    pub(super) path: PathBuf,
    /// Whether the file was removed or replaced since.
    pub(super) is_gone: bool,
}

/// A process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) parent: u32,
    /// Its effective user.
    pub(super) user: u32,
    /// Whether its root folder or its mounts are others than ours, as in a container.
    pub(super) is_elsewhere: bool,
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) libssl: Vec<Mapped>,
    /// Our library.
    pub(super) library: Option<Mapped>,
    /// Files that it shares with other processes, which it may write to.
    pub(super) shared: Vec<Mapped>,
    /// The environment that it was started with; empty if it has overwritten that, as nginx does.
    pub(super) environment: Vec<(OsString, OsString)>,
}

impl Process {
    /// The process of this id. An error if there is none, or if it is not ours to look at.
    pub(super) fn read(pid: u32) -> io::Result<Process> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let status = fs::read_to_string(folder.join("status"))?;
        let field = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or("")
        };
        let maps = parse_maps(&fs::read(folder.join("maps"))?);
        let named = |start: &'static str| {
            let mut found: Vec<Mapped> = Vec::new();
            for (_, _, file) in &maps {
                let name = file.path.file_name().unwrap_or_default().as_bytes();
                if name.starts_with(start.as_bytes()) && !found.contains(file) {
                    found.push(file.clone());
                }
            }
            found
        };
        let mut shared: Vec<Mapped> = Vec::new();
        for (_, inode, file) in maps.iter().filter(|(is_shared, ..)| *is_shared) {
            let file = in_place(file, *inode, &folder.join("root"));
            if !file.path.starts_with("/dev") && !shared.contains(&file) {
                shared.push(file);
            }
        }
        Ok(Process {
            pid,
            parent: field("PPid:").parse().unwrap_or(0),
            user: field("Uid:").split('\t').nth(1).and_then(|id| id.parse().ok()).unwrap_or(0),
            is_elsewhere: ["root", "ns/mnt"].iter().any(|link| {
                fs::read_link(folder.join(link)).ok()
                    != fs::read_link(Path::new("/proc/self").join(link)).ok()
            }),
            name: field("Name:").to_owned(),
            program: fs::read_link(folder.join("exe"))?,
            libssl: named("libssl.so"),
            library: named("libsesscache.so").into_iter().next(),
            shared,
            environment: parse_environment(&fs::read(folder.join("environ"))?),
        })
    }

    /// The value of a variable that is set and not empty.
    pub(super) fn variable(&self, name: &str) -> Option<&OsStr> {
        let set = self.environment.iter().find(|(known, _)| known == name);
        set.map(|(_, value)| value.as_os_str()).filter(|value| !value.is_empty())
    }

    /// A path of the process, whose root may be another one.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid));
        root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// The ids of all processes.
pub(super) fn all() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut pids: Vec<u32> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

/// The present name of a shared file. A store's maker knows it as PATH.HEX.new, a name that is gone
/// once the store is complete: the inode tells whether PATH is still the same.
fn in_place(file: &Mapped, inode: u64, root: &Path) -> Mapped {
    let text = file.path.as_os_str().as_bytes();
    let made = text.strip_suffix(b".new").filter(|_| file.is_gone);
    let named = made.and_then(|rest| rest.rsplitn(2, |byte| *byte == b'.').nth(1));
    let path = named.map_or_else(|| file.path.clone(), |name| OsStr::from_bytes(name).into());
    let there = fs::metadata(root.join(path.strip_prefix("/").unwrap_or(&path)));
    let is_same = there.is_ok_and(|there| there.ino() == inode);
    Mapped { is_gone: file.is_gone && !is_same, path }
}

/// The files of proc_pid_maps(5): whether each is shared and writable, and its inode.
fn parse_maps(text: &[u8]) -> Vec<(bool, u64, Mapped)> {
    const GONE: &[u8] = b" (deleted)";
    let lines = text.split(|byte| *byte == b'\n');
    let files = lines.filter_map(|line| {
        let start = line.iter().position(|byte| *byte == b'/')?;
        let (fields, path) = line.split_at_checked(start)?;
        let mut fields = fields.split(|byte| *byte == b' ').skip(1);
        let permissions = fields.next()?;
        let inode = std::str::from_utf8(fields.nth(2)?).ok()?.parse().ok()?;
        let kept = path.strip_suffix(GONE);
        let path = PathBuf::from(OsStr::from_bytes(kept.unwrap_or(path)));
        let file = Mapped { path, is_gone: kept.is_some() };
        Some((permissions == b"rw-s", inode, file))
    });
    files.collect()
}

fn parse_environment(text: &[u8]) -> Vec<(OsString, OsString)> {
    let variables = text.split(|byte| *byte == 0).filter_map(|variable| {
        let at = variable.iter().position(|byte| *byte == b'=')?;
        let (name, value) = variable.split_at_checked(at)?;
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        (at > 0 && name.iter().all(is_name)).then(|| {
            let value = value.get(1..).unwrap_or_default();
            (OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec()))
        })
    });
    variables.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_name_files() {
        let text = b"7f00-7f01 r-xp 00000000 08:01 17  /usr/lib/libssl.so.3\n\
                     7f01-7f02 rw-s 00000000 00:19 18  /run/a b (deleted)\n\
                     7f02-7f03 rw-p 00000000 00:00 0 \n7ffd-7ffe rw-p 00000000 00:00 0  [stack]\n";
        let file = |path: &str, is_gone| Mapped { path: path.into(), is_gone };
        let found =
            [(false, 17, file("/usr/lib/libssl.so.3", false)), (true, 18, file("/run/a b", true))];
        assert_eq!(parse_maps(text), found);
        assert_eq!(parse_maps(b""), []);
    }

    #[test]
    fn a_stores_maker_has_it_by_another_name() {
        let folder = std::env::temp_dir().join(format!("sesscache-maps-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let store = folder.join("web");
        fs::write(&store, "").unwrap();
        let inode = fs::metadata(&store).unwrap().ino();
        let made = Mapped { path: folder.join("web.00ff.new"), is_gone: true };
        let found = |inode| in_place(&made, inode, Path::new("/"));
        assert_eq!(found(inode), Mapped { path: store.clone(), is_gone: false });
        assert_eq!(found(inode + 1), Mapped { path: store, is_gone: true });
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_title_over_the_environment_is_no_variable() {
        assert_eq!(parse_environment(b"nginx: worker process\0\0\0 a=b\0"), []);
        assert_eq!(parse_environment(b"A=b=c\0B=\0").len(), 2);
    }

    #[test]
    fn this_process_is_seen() {
        let own = Process::read(std::process::id()).unwrap();
        assert!(own.library.is_none() && own.program.is_absolute() && own.parent > 0);
        assert_eq!(
            (own.user, own.is_elsewhere),
            (fs::metadata("/proc/self").unwrap().uid(), false)
        );
        assert!(all().contains(&own.pid));
        assert!(own.path(Path::new("/proc/self")).exists());
        assert!(Process::read(u32::MAX).is_err());
    }
}

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
    /// The path by which we reach it, if it is not gone.
    pub(super) reached: PathBuf,
}

/// A process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) parent: u32,
    /// Its control group, as systemd names it.
    pub(super) group: String,
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
        let parent = field("PPid:").parse().unwrap_or(0);
        // A server may have changed its root since it mapped a file.
        let roots = [folder.join("root"), "/".into(), format!("/proc/{parent}/root").into()];
        Ok(Process {
            pid,
            parent,
            group: parse_group(&fs::read_to_string(folder.join("cgroup")).unwrap_or_default()),
            user: field("Uid:").split('\t').nth(1).and_then(|id| id.parse().ok()).unwrap_or(0),
            is_elsewhere: ["root", "ns/mnt"].iter().any(|link| {
                fs::read_link(folder.join(link)).ok()
                    != fs::read_link(Path::new("/proc/self").join(link)).ok()
            }),
            name: field("Name:").to_owned(),
            program: fs::read_link(folder.join("exe"))?,
            libssl: named("libssl.so"),
            library: named("libsesscache.so").into_iter().next(),
            shared: shared_files(&maps, &roots),
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
        below(Path::new(&format!("/proc/{}/root", self.pid)), path)
    }

    /// Whether it sees the same file at a path as we do.
    pub(super) fn sees_as_we_do(&self, path: &Path) -> bool {
        let identity = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
        !self.is_elsewhere
            || identity(path).is_some_and(|ours| identity(&self.path(path)) == Some(ours))
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

/// A path in another root.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The present name of a shared file. A store's maker knows it as PATH.HEX.new, a name that is gone
/// once the store is complete: the inode tells whether PATH is still the same, and in which root.
fn in_place(file: &Mapped, inode: u64, roots: &[PathBuf]) -> Mapped {
    let text = file.path.as_os_str().as_bytes();
    let made = text.strip_suffix(b".new").filter(|_| file.is_gone);
    let named = made.and_then(|rest| rest.rsplitn(2, |byte| *byte == b'.').nth(1));
    let path = named.map_or_else(|| file.path.clone(), |name| OsStr::from_bytes(name).into());
    let places = roots.iter().map(|root| below(root, &path));
    let is_same = |place: &PathBuf| fs::metadata(place).is_ok_and(|there| there.ino() == inode);
    let found = places.into_iter().find(is_same);
    Mapped {
        is_gone: file.is_gone && found.is_none(),
        reached: found.unwrap_or(path.clone()),
        path,
    }
}

/// The files that are mapped shared and writable, each once, where they are found.
fn shared_files(maps: &[(bool, u64, Mapped)], roots: &[PathBuf]) -> Vec<Mapped> {
    let mut shared: Vec<Mapped> = Vec::new();
    for (_, inode, file) in maps.iter().filter(|(is_shared, ..)| *is_shared) {
        let file = in_place(file, *inode, roots);
        if !file.path.starts_with("/dev") && !shared.contains(&file) {
            shared.push(file);
        }
    }
    shared
}

/// The control group of proc_pid_cgroup(5) that is systemd's.
fn parse_group(text: &str) -> String {
    let groups = text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let mut own = groups.filter(|(controllers, _)| matches!(*controllers, "" | "name=systemd"));
    own.next_back().map(|(_, group)| group.to_owned()).unwrap_or_default()
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
        let file = Mapped { reached: path.clone(), path, is_gone: kept.is_some() };
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
        let file =
            |path: &str, is_gone| Mapped { path: path.into(), is_gone, reached: path.into() };
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
        let path = folder.join("web.00ff.new");
        let made = Mapped { reached: path.clone(), path, is_gone: true };
        let found = |inode| in_place(&made, inode, &[folder.join("other"), "/".into()]);
        let as_store = |is_gone| Mapped { path: store.clone(), is_gone, reached: store.clone() };
        assert_eq!(found(inode), as_store(false));
        assert_eq!(found(inode + 1), as_store(true));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_group_is_systemds() {
        assert_eq!(parse_group("0::/system.slice/nginx.service\n"), "/system.slice/nginx.service");
        let both = "2:cpu:/x\n1:name=systemd:/system.slice/a.service\n0::/\n";
        assert_eq!(parse_group(both), "/");
        assert_eq!(
            parse_group("1:name=systemd:/system.slice/a.service\n"),
            "/system.slice/a.service"
        );
        assert_eq!(parse_group(""), "");
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

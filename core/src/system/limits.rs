//! The memory and the room on a file system that a process may take at most.
//!
//! The limits of control groups, of both versions, are read from /proc and /sys. Where these are
//! hidden, only the machine's memory counts. No locks.

use std::fs::{self, File};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// The memory that this process may use at most: the machine's, or less by a control group.
pub fn memory_limit() -> u64 {
    // SAFETY: asks for a number.
    let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
    // SAFETY: as above.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let all = u64::try_from(pages).ok().zip(u64::try_from(page).ok());
    let all = all.and_then(|(pages, page)| pages.checked_mul(page)).unwrap_or(u64::MAX);
    all.min(group_limit(Path::new("/")))
}

/// The largest file that this process may write.
pub fn file_size_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a place for the limit.
    let told = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) } == 0;
    if told && limit.rlim_cur != libc::RLIM_INFINITY { limit.rlim_cur } else { u64::MAX }
}

/// The room that is free on a file's file system. A tmpfs without a limit does not tell.
pub fn free_beside(file: &File) -> u64 {
    let mut about = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: an open descriptor and a place for what is asked.
    if unsafe { libc::fstatvfs(file.as_raw_fd(), about.as_mut_ptr()) } != 0 {
        return u64::MAX;
    }
    // SAFETY: filled, see above.
    let about = unsafe { about.assume_init() };
    if about.f_blocks == 0 { u64::MAX } else { about.f_bavail.saturating_mul(about.f_frsize) }
}

/// Whether a file lies in memory, which counts for the control group of its first user.
pub fn is_in_memory(file: &File) -> bool {
    // linux/magic.h.
    const TMPFS: u32 = 0x0102_1994;
    const RAMFS: u32 = 0x8584_58F6;
    let mut about = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: an open descriptor and a place for what is asked.
    if unsafe { libc::fstatfs(file.as_raw_fd(), about.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: filled, see above.
    let kind = unsafe { about.assume_init() }.f_type;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "32-bit magic")]
    let kind = kind as u32;
    matches!(kind, TMPFS | RAMFS)
}

/// The least limit of memory of this process's control groups and of those around them. `root` is
/// where /proc and /sys are found.
fn group_limit(root: &Path) -> u64 {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let (groups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    let limits = mounts.lines().filter_map(Mount::parse).filter_map(|mount| {
        let group = groups.lines().find_map(|line| mount.group(line))?;
        Some(mount.limit(root, Path::new(group)))
    });
    limits.min().unwrap_or(u64::MAX)
}

/// A mounted hierarchy of control groups that limits memory.
struct Mount<'a> {
    /// The group that is seen at its top.
    top: &'a Path,
    place: &'a Path,
    is_unified: bool,
}

impl<'a> Mount<'a> {
    /// Reads a line of mountinfo (proc_pid_mountinfo(5)).
    fn parse(line: &'a str) -> Option<Mount<'a>> {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (top, place) = (place.next()?, place.next()?);
        let mut kind = kind.split(' ');
        let (name, options) = (kind.next()?, kind.nth(1)?);
        let is_unified = name == "cgroup2";
        let limits =
            is_unified || name == "cgroup" && options.split(',').any(|one| one == "memory");
        limits.then_some(Mount { top: Path::new(top), place: Path::new(place), is_unified })
    }

    /// The group that a line of /proc/self/cgroup names, if it is about this hierarchy.
    fn group<'l>(&self, line: &'l str) -> Option<&'l str> {
        let (_, rest) = line.split_once(':')?;
        let (controllers, group) = rest.split_once(':')?;
        let is_this = match self.is_unified {
            true => controllers.is_empty(),
            false => controllers.split(',').any(|one| one == "memory"),
        };
        is_this.then_some(group)
    }

    /// The least limit of a group and of those around it. A container sees its own group at the top.
    fn limit(&self, root: &Path, group: &Path) -> u64 {
        let below = group.strip_prefix(self.top).unwrap_or(Path::new(""));
        let top = root.join(self.place.strip_prefix("/").unwrap_or(self.place));
        let names: &[&str] = match self.is_unified {
            true => &["memory.max", "memory.high"],
            false => &["memory.limit_in_bytes"],
        };
        let limit = |file: PathBuf| fs::read_to_string(file).ok()?.trim().parse().ok();
        let limits = below.ancestors().flat_map(|group| {
            let group = top.join(group);
            names.iter().filter_map(move |name| limit(group.join(name)))
        });
        limits.min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of files, as /proc and /sys show them.
    fn tree(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root = std::env::temp_dir().join(format!("sesscache-{name}-{}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn limit(name: &str, files: &[(&str, &str)]) -> u64 {
        let root = tree(name, files);
        let limit = group_limit(&root);
        fs::remove_dir_all(root).unwrap();
        limit
    }

    const UNIFIED: &str = "29 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_least_limit_of_the_groups_around_counts() {
        let files = [
            ("proc/self/cgroup", "0::/web.slice/nginx.service\n"),
            ("proc/self/mountinfo", UNIFIED),
            ("sys/fs/cgroup/web.slice/nginx.service/memory.max", "max\n"),
            ("sys/fs/cgroup/web.slice/nginx.service/memory.high", "700\n"),
            ("sys/fs/cgroup/web.slice/memory.max", "500\n"),
            ("sys/fs/cgroup/other/memory.max", "5\n"),
        ];
        assert_eq!(limit("unified", &files), 500);
        assert_eq!(limit("unified-high", &files[..4]), 700);
        assert_eq!(limit("unified-none", &files[..3]), u64::MAX);
    }

    #[test]
    fn the_first_version_limits_memory_in_a_hierarchy_of_its_own() {
        let mounts = "30 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      31 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let files = [
            ("proc/self/cgroup", "4:memory:/a/b\n3:cpu:/c\n0::/\n"),
            ("proc/self/mountinfo", mounts),
            ("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "300\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/cpu/c/memory.limit_in_bytes", "3\n"),
        ];
        assert_eq!(limit("first", &files), 300);
    }

    #[test]
    fn a_container_sees_its_group_at_the_top() {
        let mounts = "31 23 0:28 /docker/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let files = [
            ("proc/self/mountinfo", mounts),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "300\n"),
            ("proc/self/cgroup", "4:memory:/docker/1\n"),
        ];
        assert_eq!(limit("container", &files), 300);
        let hidden = [files[0], files[1], ("proc/self/cgroup", "4:memory:/\n")];
        assert_eq!(limit("container-hidden", &hidden), 300);
    }

    #[test]
    fn what_cannot_be_read_limits_nothing() {
        assert_eq!(limit("nothing", &[("proc/self/stat", "")]), u64::MAX);
        let strange = [
            ("proc/self/cgroup", "0:\n:::\nx\n"),
            ("proc/self/mountinfo", "- cgroup2\n1 2 3 - cgroup2 x y\n \n"),
        ];
        assert_eq!(limit("strange", &strange), u64::MAX);
    }

    #[test]
    fn this_machine_tells() {
        assert!(memory_limit() > 0 && file_size_limit() > 0);
        let file = File::open("/proc/self/exe").unwrap();
        assert!(free_beside(&file) > 0);
    }
}

//! The root of a file system: the host's, or one in a folder (`--root`), where links stay inside.
//!
//! Paths of units and servers are those inside the root. A path that was resolved is the caller's.

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A root, and the user to whom its files belong.
#[derive(Debug)]
pub(super) struct Root {
    /// The folder, or `None` for the host's own root.
    folder: Option<PathBuf>,
    handle: File,
}

impl Root {
    /// The root in a folder; without one, the host's.
    pub(super) fn open(folder: Option<&Path>) -> io::Result<Root> {
        let folder = folder.map(Path::canonicalize).transpose()?;
        let folder = folder.filter(|folder| folder != Path::new("/"));
        let handle = File::open(folder.as_deref().unwrap_or(Path::new("/")))?;
        if !handle.metadata()?.is_dir() {
            return Err(Errno::NOTDIR.into());
        }
        Ok(Root { folder, handle })
    }

    /// Whether it is the root of this process.
    pub(super) fn is_host(&self) -> bool {
        self.folder.is_none()
    }

    /// The caller's path of a path inside, for messages.
    pub(super) fn shown(&self, inside: &Path) -> PathBuf {
        match &self.folder {
            Some(folder) => folder.join(inside.strip_prefix("/").unwrap_or(inside)),
            None => inside.to_owned(),
        }
    }

    /// The caller's path of a file that exists, its links resolved inside the root.
    pub(super) fn find(&self, inside: &Path) -> io::Result<PathBuf> {
        self.look(inside, OFlags::empty())
    }

    /// The same, but the file itself may be a link, which is not followed.
    pub(super) fn find_link(&self, inside: &Path) -> io::Result<PathBuf> {
        self.look(inside, OFlags::NOFOLLOW)
    }

    fn look(&self, inside: &Path, flags: OFlags) -> io::Result<PathBuf> {
        let how = OFlags::PATH | OFlags::CLOEXEC | flags;
        let inside = Path::new("/").join(inside);
        let found: OwnedFd =
            openat2(&self.handle, &inside, how, Mode::empty(), ResolveFlags::IN_ROOT)?;
        std::fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()))
    }

    /// The caller's path of a file that is to be made in a folder that exists.
    pub(super) fn place(&self, inside: &Path) -> io::Result<PathBuf> {
        let (Some(folder), Some(name)) = (inside.parent(), inside.file_name()) else {
            return Err(io::Error::other("not a file's name"));
        };
        Ok(self.find(folder)?.join(name))
    }

    /// The text of a file; bytes that are no UTF-8 are replaced.
    pub(super) fn text(&self, inside: &Path) -> io::Result<String> {
        let bytes = std::fs::read(self.find(inside)?)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The number of a user: a number, or a name in the root's list of users.
    pub(super) fn user(&self, name: &str) -> Option<u32> {
        if let Ok(number) = name.parse() {
            return Some(number);
        }
        let users = self.text(Path::new("/etc/passwd")).ok()?;
        let mut lines = users.lines().map(|line| line.split(':'));
        lines
            .find_map(|mut fields| (fields.next()? == name).then(|| fields.nth(1)?.parse().ok()))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_inside() {
        let folder = std::env::temp_dir().join(format!("sesscache-root-{}", std::process::id()));
        fs::create_dir_all(folder.join("etc")).unwrap();
        fs::create_dir_all(folder.join("usr/lib")).unwrap();
        fs::write(folder.join("usr/lib/file"), "inside").unwrap();
        fs::write(folder.join("etc/passwd"), "root:x:0:0::/:\nweb:x:33:34::/:\n").unwrap();
        symlink("/usr/lib/file", folder.join("etc/absolute")).unwrap();
        symlink("../../../../usr/lib", folder.join("lib")).unwrap();
        let root = Root::open(Some(&folder)).unwrap();
        assert_eq!(root.text(Path::new("/etc/absolute")).unwrap(), "inside");
        assert_eq!(root.text(Path::new("/lib/file")).unwrap(), "inside");
        let place = root.place(Path::new("/lib/new")).unwrap();
        assert_eq!(place, folder.canonicalize().unwrap().join("usr/lib/new"));
        assert!(root.find(Path::new("/proc/self")).is_err());
        assert_eq!(root.user("web"), Some(33));
        assert_eq!(root.user("7"), Some(7));
        assert_eq!(root.user("nobody-knows"), None);
        assert!(!root.is_host());
        assert!(Root::open(Some(&folder.join("etc/passwd"))).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_hosts_root_needs_no_folder() {
        assert!(Root::open(None).unwrap().is_host());
        assert!(Root::open(Some(Path::new("/"))).unwrap().is_host());
    }
}

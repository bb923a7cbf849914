//! The way to a key file: its folders and links, as strictly as ssh's StrictModes sees them.
//!
//! A secret of a container is reached by links (`key` to `..data/key`, `..data` to a folder). A link is
//! as good as the folder that it is in. So each folder on the way, with those that hold links, belongs
//! to root or to the user, and nobody else may write to it. In a sticky folder, as /tmp is, others
//! may, but not replace what is root's or the user's. No memory is asked for without a way to say so.
//! No locks.

use super::KeyFileError;
use crate::system::files::read_link;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{env, mem};

/// The most links on a way, as Linux has it.
const MOST_LINKS: usize = 40;
/// The longest path (`PATH_MAX`).
const MOST_BYTES: usize = 4096;
/// The permission of group and others to write.
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// The file itself that a path leads to, which has no link on its way. Somebody whom `user` does not
/// trust cannot put another in its place.
pub(super) fn resolve(path: &Path, user: u32) -> Result<PathBuf, KeyFileError> {
    let mut way = Way::to(path)?;
    while let Some(name) = way.next_name()? {
        match name.as_os_str().as_bytes() {
            b"" | b"." => continue,
            b".." => {
                way.here.pop();
                continue;
            }
            _ => {}
        }
        let folder = look(&way.here)?;
        check_folder(&way.here, &folder, user)?;
        way.here.push(&name);
        let entry = look(&way.here)?;
        let is_fixed = folder.mode() & OTHERS_WRITE == 0 || is_trusted(&entry, user);
        if !is_fixed {
            return Err(KeyFileError::Folder(parent(&way.here)));
        }
        if entry.is_symlink() {
            way.follow()?;
        }
    }
    Ok(way.here)
}

fn look(path: &Path) -> Result<Metadata, KeyFileError> {
    Ok(fs::symlink_metadata(path)?)
}

fn is_trusted(found: &Metadata, user: u32) -> bool {
    found.uid() == 0 || found.uid() == user
}

fn check_folder(path: &Path, folder: &Metadata, user: u32) -> Result<(), KeyFileError> {
    let is_closed = folder.mode() & OTHERS_WRITE == 0 || folder.mode() & STICKY != 0;
    // A file in the place of a folder is for the kernel to refuse.
    if folder.is_dir() && !(is_trusted(folder, user) && is_closed) {
        return Err(KeyFileError::Folder(path.to_owned()));
    }
    Ok(())
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

/// A way that is walked.
struct Way {
    /// Where it has come to, without links.
    here: PathBuf,
    /// The names that are to come, and how far they are walked.
    names: Vec<u8>,
    walked: usize,
    links: usize,
}

impl Way {
    fn to(path: &Path) -> Result<Way, KeyFileError> {
        let mut way = Way { here: PathBuf::new(), names: Vec::new(), walked: 0, links: MOST_LINKS };
        way.here.try_reserve(2 * MOST_BYTES).map_err(|_| KeyFileError::NoMemory)?;
        way.here.push("/");
        let start = if path.is_absolute() { PathBuf::new() } else { env::current_dir()? };
        let parts = [start.as_os_str().as_bytes(), b"/", path.as_os_str().as_bytes()];
        let length = parts.iter().map(|part| part.len()).sum();
        way.names.try_reserve(length).map_err(|_| KeyFileError::NoMemory)?;
        parts.iter().for_each(|part| way.names.extend_from_slice(part));
        Ok(way)
    }

    /// The next name; `None` at the end.
    fn next_name(&mut self) -> Result<Option<PathBuf>, KeyFileError> {
        let rest = self.names.get(self.walked..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let name = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
        self.walked += name.len() + 1;
        if self.here.as_os_str().len() + name.len() >= MOST_BYTES {
            return Err(KeyFileError::Unreadable(libc::ENAMETOOLONG));
        }
        let mut copied = PathBuf::new();
        copied.try_reserve(name.len()).map_err(|_| KeyFileError::NoMemory)?;
        copied.push(OsStr::from_bytes(name));
        Ok(Some(copied))
    }

    /// Goes on where the link leads to that it has come to.
    fn follow(&mut self) -> Result<(), KeyFileError> {
        self.links = self.links.checked_sub(1).ok_or(KeyFileError::Links)?;
        let mut target = [0; MOST_BYTES];
        let length = read_link(&self.here, &mut target)?;
        let target = target.get(..length).unwrap_or_default();
        self.here.pop();
        if target.starts_with(b"/") {
            self.here.push("/");
        }
        let before = mem::take(&mut self.names);
        let rest = before.get(self.walked..).unwrap_or_default();
        let length = target.len() + 1 + rest.len();
        self.names.try_reserve(length).map_err(|_| KeyFileError::NoMemory)?;
        self.names.extend_from_slice(target);
        self.names.push(b'/');
        self.names.extend_from_slice(rest);
        self.walked = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Folder;
    use super::*;
    use crate::system::process::effective_user;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// A secret as Kubernetes mounts one: `key` -> `..data/key`, `..data` -> `..2026`.
    fn secret(name: &str) -> Folder {
        let folder = Folder::new(name);
        fs::create_dir(folder.0.join("..2026")).unwrap();
        fs::write(folder.0.join("..2026/key"), "").unwrap();
        symlink("..2026", folder.0.join("..data")).unwrap();
        symlink("..data/key", folder.0.join("key")).unwrap();
        folder
    }

    fn found(path: &Path) -> Result<PathBuf, KeyFileError> {
        resolve(path, effective_user())
    }

    #[test]
    fn links_are_followed() {
        let folder = secret("way");
        let file = folder.0.join("..2026/key").canonicalize().unwrap();
        let further = folder.0.join("further");
        symlink(folder.0.join("key"), &further).unwrap();
        let odd = folder.0.join("..data/.././/..2026/./key");
        for path in [&folder.0.join("key"), &further, &folder.0.join("..data/key"), &odd, &file] {
            assert_eq!(found(path).as_ref(), Ok(&file), "{}", path.display());
        }
        assert_eq!(found(&folder.0.join("none")), Err(KeyFileError::Missing));
        symlink("none", folder.0.join("dangling")).unwrap();
        assert_eq!(found(&folder.0.join("dangling")), Err(KeyFileError::Missing));
        let beyond = found(&folder.0.join("key/beyond"));
        assert_eq!(beyond, Err(KeyFileError::Unreadable(libc::ENOTDIR)));
    }

    #[test]
    fn a_circle_of_links_ends() {
        let folder = Folder::new("circle");
        symlink("b", folder.0.join("a")).unwrap();
        symlink("a", folder.0.join("b")).unwrap();
        assert_eq!(found(&folder.0.join("a")), Err(KeyFileError::Links));
    }

    #[test]
    fn folders_that_others_may_write_to_are_refused() {
        let folder = secret("open");
        let other = Folder::new("trusted");
        let link = other.0.join("link");
        symlink(folder.0.join("key"), &link).unwrap();
        for (part, bits) in [("", 0o777), ("", 0o775), ("..2026", 0o757), ("..2026", 0o770)] {
            let open = folder.0.join(part);
            mode(&open, bits);
            let open = open.canonicalize().unwrap();
            for path in [&folder.0.join("key"), &link] {
                assert_eq!(found(path), Err(KeyFileError::Folder(open.clone())), "{bits:o}");
            }
            mode(&open, 0o755);
            assert!(found(&link).is_ok());
        }
        mode(&folder.0, 0o1777);
        assert!(found(&link).is_ok(), "sticky, and all in it is the user's");
    }

    #[test]
    fn folders_and_links_of_strangers_are_refused() {
        let folder = secret("strange");
        if effective_user() != 0 {
            return;
        }
        let stranger = |path: &str| {
            let path = folder.0.join(path);
            std::os::unix::fs::lchown(path, Some(33), None).unwrap();
        };
        let here = folder.0.canonicalize().unwrap();
        stranger("..2026");
        assert_eq!(found(&folder.0.join("key")), Err(KeyFileError::Folder(here.join("..2026"))));
        assert!(resolve(&folder.0.join("key"), 33).is_ok());
        std::os::unix::fs::lchown(folder.0.join("..2026"), Some(0), None).unwrap();
        // Where nobody else can make one, a link may be anybody's.
        stranger("key");
        assert!(found(&folder.0.join("key")).is_ok());
        mode(&folder.0, 0o1777);
        assert_eq!(found(&folder.0.join("key")), Err(KeyFileError::Folder(here)));
    }
}

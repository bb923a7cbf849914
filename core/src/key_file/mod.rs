//! The key file: secrets as lines of hex digits, newest first.
//!
//! A key is *plain* and stays as it is, or it is the state of a *ratchet* in an epoch: `epoch` has the
//! steps.
//!
//! ```text
//!   text    a key a line
//!   error   the reasons not to use a file
//!   way     the folders and links that lead to a file
//!   readers who may read it
//!   epoch   epochs, and how a state follows from the one before
//! ```
//!
//! A file that other users could read or change is refused. Secrets are wiped when dropped, and
//! neither printed nor put into an error. No locks.

pub mod epoch;
mod error;
mod readers;
mod text;
mod way;

use crate::system::process::effective_user;
use epoch::Epoch;
pub use error::KeyFileError;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::{fmt, fs};
pub use text::parse;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a secret.
pub const KEY_BYTES: usize = 32;
/// The most keys in a file.
pub const MAX_KEYS: usize = 16;
/// The most bytes of a file.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// A secret, from which keys are derived.
pub struct Secret([u8; KEY_BYTES]);

impl Secret {
    /// A secret of these bytes, which must not be guessable. The caller wipes its own copy.
    pub const fn new(bytes: [u8; KEY_BYTES]) -> Secret {
        Secret(bytes)
    }

    /// The bytes, to derive keys from.
    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The bytes, to be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8; KEY_BYTES] {
        &mut self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A key of a file.
#[derive(Debug)]
pub struct FileKey {
    /// The key itself, or the state of its ratchet.
    pub secret: Secret,
    /// The epoch of the state; `None` for a plain key.
    pub epoch: Option<Epoch>,
}

impl FileKey {
    /// A plain key of zeroes, to be filled where it stays.
    pub const fn empty() -> FileKey {
        FileKey { secret: Secret::new([0; KEY_BYTES]), epoch: None }
    }

    /// Makes this key the same as another.
    pub fn copy(&mut self, other: &FileKey) {
        self.secret.0.copy_from_slice(&other.secret.0);
        self.epoch = other.epoch;
    }
}

/// The file and its state, by which a change is noticed without reading it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileVersion {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds of the last change of the text.
    modified: (i64, i64),
    /// The same of the last change of owner or permissions, too: a chmod mends a refused file.
    changed: (i64, i64),
}

impl FileVersion {
    fn of(metadata: &Metadata) -> FileVersion {
        FileVersion {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The file's present version; `None` if there is no file. A link that leads to another file gives
/// another version.
pub fn version(path: &Path) -> Option<FileVersion> {
    fs::metadata(path).ok().map(|metadata| FileVersion::of(&metadata))
}

/// The file itself that a path with links leads to, by a way that only root and this user can change.
///
/// # Errors
/// The way is open to others, or leads to nothing.
pub fn resolve(path: &Path) -> Result<PathBuf, KeyFileError> {
    way::resolve(path, effective_user())
}

/// The keys in the file, newest first, and the version they were read from.
pub fn read(path: &Path) -> Result<(Vec<FileKey>, FileVersion), KeyFileError> {
    let result = read_once(path);
    // A link may have been led elsewhere meanwhile, and the old file removed.
    let is_swapped = result.as_ref().err() == Some(&KeyFileError::Missing) && path.exists();
    if is_swapped { read_once(path) } else { result }
}

fn read_once(path: &Path) -> Result<(Vec<FileKey>, FileVersion), KeyFileError> {
    let user = effective_user();
    let path = way::resolve(path, user)?;
    // Non-blocking, because a pipe of that name must not hang the server.
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(KeyFileError::NotAFile);
    }
    check(metadata.uid(), metadata.size(), user)?;
    readers::check(&file, &metadata, user)?;
    let text = contents(&mut file, metadata.size())?;
    Ok((parse(&text)?, FileVersion::of(&metadata)))
}

/// Whether a file of this owner and size can be trusted by `user`.
fn check(owner: u32, size: u64, user: u32) -> Result<(), KeyFileError> {
    if owner != 0 && owner != user {
        return Err(KeyFileError::Owner(owner));
    }
    if size > MAX_FILE_BYTES {
        return Err(KeyFileError::TooLong);
    }
    Ok(())
}

/// The whole file, in a buffer that is never moved, because a reallocation would leave secrets
/// behind.
fn contents(file: &mut File, size: u64) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let size = usize::try_from(size).map_err(|_| KeyFileError::TooLong)?;
    let mut text = Zeroizing::new(Vec::new());
    text.try_reserve_exact(size + 1).map_err(|_| KeyFileError::NoMemory)?;
    text.resize(size + 1, 0);
    let mut filled = 0;
    while let Some(room) = text.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read(room) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    if filled > size {
        return Err(KeyFileError::Changing);
    }
    text.truncate(filled);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process;

    /// A folder for one test, taken away at its end.
    pub(super) struct Folder(pub(super) PathBuf);

    impl Folder {
        pub(super) fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("sesscache-{name}-{}", process::id()));
            fs::create_dir(&path).unwrap();
            Folder(path)
        }

        fn file(&self, text: &[u8], mode: u32) -> PathBuf {
            let path = self.0.join("key");
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn line(byte: u8) -> String {
        format!("{byte:02x}").repeat(KEY_BYTES)
    }

    /// The first byte of each key.
    fn firsts(keys: &[FileKey]) -> Vec<u8> {
        keys.iter().map(|key| key.secret.0[0]).collect()
    }

    #[test]
    fn a_file_is_read_and_its_change_seen() {
        let folder = Folder::new("read");
        let path = folder.file(line(7).as_bytes(), 0o600);
        let (secrets, seen) = read(&path).unwrap();
        assert_eq!(firsts(&secrets), [7]);
        assert_eq!(version(&path), Some(seen.clone()));
        let other = folder.0.join("other");
        fs::write(&other, line(8)).unwrap();
        fs::set_permissions(&other, Permissions::from_mode(0o400)).unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(version(&path), Some(seen));
        let (_, seen) = read(&path).unwrap();
        let link = folder.0.join("link");
        symlink(&path, &link).unwrap();
        assert_eq!(version(&link), Some(seen.clone()));
        fs::write(&other, line(9)).unwrap();
        fs::remove_file(&link).unwrap();
        symlink(&other, &link).unwrap();
        assert_ne!(version(&link), Some(seen), "the link was swapped");
        fs::remove_file(&path).unwrap();
        assert_eq!((version(&path), read(&path).err()), (None, Some(KeyFileError::Missing)));
    }

    #[test]
    fn permissions_of_others_are_refused() {
        let folder = Folder::new("mode");
        for mode in [0o644, 0o660, 0o620, 0o610, 0o604, 0o602, 0o601] {
            let refused = read(&folder.file(line(1).as_bytes(), mode)).err();
            assert_eq!(refused, Some(KeyFileError::Permissions(0o100_000 | mode)));
        }
        assert!(read(&folder.file(line(1).as_bytes(), 0o600)).is_ok());
        assert!(read(&folder.file(line(1).as_bytes(), 0o400)).is_ok());
        let path = folder.file(line(1).as_bytes(), 0o440);
        assert!(read(&path).is_ok(), "the group is the process's own");
        if effective_user() == 0 {
            std::os::unix::fs::chown(&path, None, Some(12)).unwrap();
            assert_eq!(read(&path).err(), Some(KeyFileError::Group(0o100_440, 12)));
        }
    }

    #[test]
    fn only_a_regular_file() {
        let folder = Folder::new("kind");
        let path = folder.file(line(1).as_bytes(), 0o600);
        let link = folder.0.join("link");
        symlink(&path, &link).unwrap();
        assert_eq!(read(&link).map(|(keys, _)| firsts(&keys)), Ok(vec![1]));
        symlink(&folder.0, folder.0.join("other")).unwrap();
        assert_eq!(read(&folder.0.join("other")).err(), Some(KeyFileError::NotAFile));
        assert_eq!(read(&folder.0).err(), Some(KeyFileError::NotAFile));
        let socket = folder.0.join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(read(&socket).err(), Some(KeyFileError::NotAFile));
        assert_eq!(read(Path::new("/dev/null")).err(), Some(KeyFileError::NotAFile));
        assert_eq!(
            KeyFileError::from(io::Error::from_raw_os_error(libc::EACCES)),
            KeyFileError::Forbidden
        );
        assert_eq!(read(&path.join("x")).err(), Some(KeyFileError::Unreadable(libc::ENOTDIR)));
    }

    #[test]
    fn a_file_may_have_64_kib() {
        let folder = Folder::new("size");
        let longest = usize::try_from(MAX_FILE_BYTES).unwrap();
        let mut text = format!("{}\n#", line(9)).into_bytes();
        text.resize(longest, b'x');
        assert!(read(&folder.file(&text, 0o600)).is_ok());
        text.push(b'x');
        assert_eq!(read(&folder.file(&text, 0o600)).err(), Some(KeyFileError::TooLong));
    }

    #[test]
    fn the_owner_is_root_or_the_user() {
        let check = |owner, user| check(owner, 65, user);
        for (owner, user) in [(0, 33), (33, 33), (0, 0)] {
            assert_eq!(check(owner, user), Ok(()));
        }
        assert_eq!(check(34, 33), Err(KeyFileError::Owner(34)));
        assert_eq!(check(33, 0), Err(KeyFileError::Owner(33)));
    }

    #[test]
    fn no_message_shows_a_secret() {
        assert_eq!(format!("{:?}", Secret([0xab; KEY_BYTES])), "Secret");
        assert_eq!(KeyFileError::Line(3).to_string(), "line 3 is not a key of 64 hex digits");
        assert_eq!(
            KeyFileError::Permissions(0o100_644).to_string(),
            "is open to other users (mode 0644); chmod 600, or mount the secret with mode 0400 or 0440"
        );
    }
}

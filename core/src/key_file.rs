//! The key file: secrets as lines of hex digits, newest first.
//!
//! A file that other users could read or change is refused. Secrets are wiped when dropped, and
//! neither printed nor put into an error. No locks.

use crate::system::process::effective_user;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::{fmt, fs};
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a secret.
pub const KEY_BYTES: usize = 32;
/// The most keys in a file.
pub const MAX_KEYS: usize = 16;
/// The most bytes of a file.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// The permissions that group and others must not have.
const OF_OTHERS: u32 = 0o077;

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

/// Why a key file is not used. Its text continues a sentence that begins with the file's name: "…
/// is a symbolic link; …".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFileError {
    /// There is no such file.
    Missing,
    /// The path ends at a symbolic link.
    SymbolicLink,
    /// A directory, device, pipe or socket.
    NotAFile,
    /// It belongs to this user, which is neither root nor the process's.
    Owner(u32),
    /// Group or others have some of these permissions.
    Permissions(u32),
    /// It is longer than a key file can be.
    TooLong,
    /// It became longer while it was read.
    Changing,
    /// This process has no right to read it.
    Forbidden,
    /// The system cannot read it: errno.
    Unreadable(i32),
    /// This line, counted from 1, is not a key.
    Line(usize),
    /// It has more than [`MAX_KEYS`] keys.
    TooManyKeys,
    /// It has no key.
    NoKey,
    /// There is no memory to read it into.
    NoMemory,
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Missing => f.write_str("does not exist; make it with `sesscache keygen`"),
            Self::SymbolicLink => f.write_str("is a symbolic link; name the file it points to"),
            Self::NotAFile => f.write_str("is not a regular file; name one"),
            Self::Owner(user) => {
                write!(f, "belongs to user {user}; chown it to root or to the server's user")
            }
            Self::Permissions(mode) => {
                write!(f, "is open to other users (mode {:04o}); chmod 600", mode & 0o7777)
            }
            Self::TooLong => {
                write!(f, "is longer than {MAX_FILE_BYTES} bytes; keep only lines of keys")
            }
            Self::Changing => f.write_str("changed while it was read; replace it by a rename"),
            Self::Forbidden => {
                f.write_str("may not be read by this process; chown it to the server's user")
            }
            Self::Unreadable(errno) => {
                write!(f, "cannot be read: {}", io::Error::from_raw_os_error(errno))
            }
            Self::Line(number) => {
                write!(f, "line {number} is not a key of {} hex digits", 2 * KEY_BYTES)
            }
            Self::TooManyKeys => {
                write!(f, "holds more than {MAX_KEYS} keys; take out the oldest, at its end")
            }
            Self::NoKey => f.write_str("holds no key; make one with `sesscache keygen`"),
            Self::NoMemory => f.write_str("cannot be read: out of memory"),
        }
    }
}

impl std::error::Error for KeyFileError {}

impl From<io::Error> for KeyFileError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOENT) => Self::Missing,
            // The answer to O_NOFOLLOW. A loop further up in the path gives the same.
            Some(libc::ELOOP) => Self::SymbolicLink,
            Some(libc::EACCES | libc::EPERM) => Self::Forbidden,
            // A socket cannot be opened.
            Some(libc::ENXIO) => Self::NotAFile,
            Some(errno) => Self::Unreadable(errno),
            None => Self::Unreadable(libc::EIO),
        }
    }
}

/// The file's present version; `None` if there is no file.
pub fn version(path: &Path) -> Option<FileVersion> {
    fs::symlink_metadata(path).ok().map(|metadata| FileVersion::of(&metadata))
}

/// The secrets in the file, newest first, and the version they were read from.
pub fn read(path: &Path) -> Result<(Vec<Secret>, FileVersion), KeyFileError> {
    // Non-blocking, because a pipe of that name must not hang the server.
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(KeyFileError::NotAFile);
    }
    check(metadata.uid(), metadata.mode(), metadata.size(), effective_user())?;
    let text = contents(&mut file, metadata.size())?;
    Ok((parse(&text)?, FileVersion::of(&metadata)))
}

/// Whether a file of this owner, mode and size can be trusted by `user`.
fn check(owner: u32, mode: u32, size: u64, user: u32) -> Result<(), KeyFileError> {
    if owner != 0 && owner != user {
        return Err(KeyFileError::Owner(owner));
    }
    if mode & OF_OTHERS != 0 {
        return Err(KeyFileError::Permissions(mode));
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

/// The secrets in the text of a key file, newest first.
pub fn parse(text: &[u8]) -> Result<Vec<Secret>, KeyFileError> {
    let mut secrets = Vec::new();
    // Reserved at once, for the same reason as in `contents`.
    secrets.try_reserve_exact(MAX_KEYS).map_err(|_| KeyFileError::NoMemory)?;
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        if secrets.len() == MAX_KEYS {
            return Err(KeyFileError::TooManyKeys);
        }
        secrets.push(Secret([0; KEY_BYTES]));
        let digits = line.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        secrets
            .last_mut()
            .and_then(|secret| unhex(digits, &mut secret.0))
            .ok_or(KeyFileError::Line(index + 1))?;
    }
    if secrets.is_empty() { Err(KeyFileError::NoKey) } else { Ok(secrets) }
}

/// Fills `out` from exactly as many pairs of hex digits.
fn unhex(digits: &[u8], out: &mut [u8; KEY_BYTES]) -> Option<()> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    if pairs.len() != out.len() {
        return None;
    }
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(())
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;
    use std::process;

    /// A folder for one test, taken away at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
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

    /// The first byte of each secret.
    fn firsts(secrets: &[Secret]) -> Vec<u8> {
        secrets.iter().map(|secret| secret.0[0]).collect()
    }

    fn parsed(text: &str) -> Result<Vec<u8>, KeyFileError> {
        parse(text.as_bytes()).map(|secrets| firsts(&secrets))
    }

    #[test]
    fn a_key_is_64_hex_digits_of_either_case() {
        let text = format!("{}{}", "0123456789abcdef".repeat(2), "0123456789ABCDEF".repeat(2));
        let secrets = parse(text.as_bytes()).unwrap();
        let expected = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef].repeat(4);
        assert!(matches!(secrets.as_slice(), [one] if one.0 == *expected));
    }

    #[test]
    fn order_comments_blank_lines_and_crlf() {
        let (a, b, c) = (line(0xa1), line(0xb2), line(0xc3));
        let text = format!("# mine\r\n\r\n{a} 2026-11-25\r\n \t\n{b}\tolder # {c}\n#{c}\n{c}");
        assert_eq!(parsed(&text), Ok(vec![0xa1, 0xb2, 0xc3]));
    }

    #[test]
    fn junk_is_named_by_its_line() {
        let good = line(1);
        let long = format!("{good}0");
        let glued = format!("{good}#");
        for junk in [&good[1..], &good[2..], &long, &glued, &good.replacen('0', "g", 1), "\u{e9}"] {
            assert_eq!(parsed(&format!("# one\n{good}\n{junk}\n")), Err(KeyFileError::Line(3)));
        }
        assert_eq!(parsed(&format!("\u{feff}{good}")), Err(KeyFileError::Line(1)));
    }

    #[test]
    fn from_one_to_sixteen_keys() {
        assert_eq!(parsed(""), Err(KeyFileError::NoKey));
        assert_eq!(parsed("# nothing\n\n"), Err(KeyFileError::NoKey));
        let lines = format!("{}\n", line(5)).repeat(MAX_KEYS);
        assert_eq!(parsed(&lines), Ok(vec![5; MAX_KEYS]));
        assert_eq!(parsed(&(lines + &line(6))), Err(KeyFileError::TooManyKeys));
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
        fs::rename(&other, &path).unwrap();
        assert_ne!(version(&path), Some(seen));
        fs::remove_file(&path).unwrap();
        assert_eq!((version(&path), read(&path).err()), (None, Some(KeyFileError::Missing)));
    }

    #[test]
    fn permissions_of_others_are_refused() {
        let folder = Folder::new("mode");
        for mode in [0o640, 0o620, 0o610, 0o604, 0o602, 0o601] {
            let refused = read(&folder.file(line(1).as_bytes(), mode)).err();
            assert_eq!(refused, Some(KeyFileError::Permissions(0o100_000 | mode)));
        }
        assert!(read(&folder.file(line(1).as_bytes(), 0o600)).is_ok());
        assert!(read(&folder.file(line(1).as_bytes(), 0o400)).is_ok());
    }

    #[test]
    fn only_a_regular_file_by_its_own_name() {
        let folder = Folder::new("kind");
        let path = folder.file(line(1).as_bytes(), 0o600);
        let link = folder.0.join("link");
        symlink(&path, &link).unwrap();
        assert_eq!(read(&link).err(), Some(KeyFileError::SymbolicLink));
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
        let check = |owner, user| check(owner, 0o100_600, 65, user);
        assert_eq!([check(0, 33), check(33, 33), check(0, 0)], [Ok(()); 3]);
        assert_eq!(check(34, 33), Err(KeyFileError::Owner(34)));
        assert_eq!(check(33, 0), Err(KeyFileError::Owner(33)));
    }

    #[test]
    fn no_message_shows_a_secret() {
        assert_eq!(format!("{:?}", Secret([0xab; KEY_BYTES])), "Secret");
        assert_eq!(KeyFileError::Line(3).to_string(), "line 3 is not a key of 64 hex digits");
        assert_eq!(
            KeyFileError::Permissions(0o100_644).to_string(),
            "is open to other users (mode 0644); chmod 600"
        );
    }
}

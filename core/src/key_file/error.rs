//! The reasons not to use a key file, in words for its operator. They tell no secret.

use super::{KEY_BYTES, MAX_FILE_BYTES, MAX_KEYS};
use std::{fmt, io};

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

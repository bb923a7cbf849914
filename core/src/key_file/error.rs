//! The reasons not to use a key file, in words for its operator. They tell no secret.

use super::{KEY_BYTES, MAX_FILE_BYTES, MAX_KEYS};
use crate::system::words::Words;
use std::path::PathBuf;
use std::{fmt, io};

/// Why a key file is not used. Its text continues a sentence that begins with the file's name: "…
/// is a symbolic link; …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFileError {
    /// There is no such file.
    Missing,
    /// More links lead to it than a path may have: a circle.
    Links,
    /// Somebody whom the process does not trust may change this folder, which leads to it.
    Folder(PathBuf),
    /// A directory, device, pipe or socket.
    NotAFile,
    /// It belongs to this user, which is neither root nor the process's.
    Owner(u32),
    /// Others may read it, or the group may write to it.
    Permissions(u32),
    /// By these permissions or by a list of users (acl(5)) somebody may read it who is not of the
    /// process's groups; the file's group.
    Group(u32, u32),
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
            Self::Links => f.write_str("is a circle of links; name a file"),
            Self::NotAFile => f.write_str("is not a regular file; name one"),
            Self::Owner(_) | Self::Folder(_) | Self::Permissions(_) | Self::Group(..) => {
                self.tell_access(f)
            }
            Self::TooLong => {
                write!(f, "is longer than {MAX_FILE_BYTES} bytes; keep only lines of keys")
            }
            Self::Changing => f.write_str("changed while it was read; replace it by a rename"),
            Self::Forbidden => {
                f.write_str("may not be read by this process; chown it to the server's user")
            }
            Self::Unreadable(errno) => {
                let error = io::Error::from_raw_os_error(errno);
                write!(f, "cannot be read: {}", Words(&error))
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

impl KeyFileError {
    /// Who may read or replace the file that is not to.
    fn tell_access(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Folder(ref folder) => write!(
                f,
                "can be replaced by other users, through {}; chown it to root or to the server's \
                 user, and chmod go-w",
                folder.display()
            ),
            Self::Owner(user) => {
                write!(f, "belongs to user {user}; chown it to root or to the server's user")
            }
            Self::Permissions(mode) => {
                write!(
                    f,
                    "is open to other users (mode {:04o}); chmod 600, or mount the secret with mode \
                     0400 or 0440",
                    mode & 0o7777
                )
            }
            Self::Group(mode, group) => write!(
                f,
                "may be read by group {group} or by a list of users (mode {:04o}); chmod 600, or \
                 chgrp it to a group of the server's",
                mode & 0o7777
            ),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for KeyFileError {}

impl From<io::Error> for KeyFileError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOENT) => Self::Missing,
            Some(libc::ELOOP) => Self::Links,
            Some(libc::EACCES | libc::EPERM) => Self::Forbidden,
            // A socket cannot be opened.
            Some(libc::ENXIO) => Self::NotAFile,
            Some(errno) => Self::Unreadable(errno),
            None => Self::Unreadable(libc::EIO),
        }
    }
}

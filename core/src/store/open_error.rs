//! The reasons why a store cannot be opened, in words for its operator.

use crate::system::words::Words;
use std::fmt;
use std::io;

/// Why a store could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The system refuses: the attempt, and the reason.
    System(&'static str, io::Error),
    /// The path is a symbolic link.
    Link,
    /// The path is not a regular file.
    NotAFile,
    /// The file belongs to another user than this process runs as.
    Owner,
    /// Users other than the owner may read or write it.
    Mode,
    /// Other users may put files into its folder.
    Folder,
    /// Its folder is missing, and is not one that is made for it.
    NoFolder,
    /// It lies on a network file system, where memory is not shared.
    Network,
    /// It does not begin as a store does.
    NotAStore,
    /// It is a store of another version.
    Version,
    /// It is a store of another machine, or of another size than it says.
    Layout,
    /// There is no room for the least store.
    NoRoom,
    /// It is a store of another size than the URL asks for.
    Size {
        /// The file's.
        is: u64,
        /// The URL's.
        asked: u64,
    },
}

impl OpenError {
    /// The reason and the mend, if both are the same for every file.
    fn fixed(&self) -> Option<&'static str> {
        Some(match self {
            OpenError::System(..) | OpenError::Size { .. } => return None,
            OpenError::Link => "it is a symbolic link; name the file itself",
            OpenError::NotAFile => "it is not a regular file; name another path",
            OpenError::Owner => {
                "it belongs to another user; start as its owner, or remove it and reload its servers"
            }
            OpenError::Mode => {
                "others may read or write it; chmod 600, or remove it and reload its servers"
            }
            OpenError::Folder => {
                "others may write to its folder; use one that only the owner may write to"
            }
            OpenError::NoFolder => {
                "its folder does not exist; make it, with mode 700, or mend the path"
            }
            OpenError::Network => "it is on a network file system; use /run or /dev/shm",
            OpenError::NotAStore => "it is not a store of sesscache; name another path",
            OpenError::Version => {
                "it is a store of another version of sesscache; restart those of its servers that \
                 run another version"
            }
            OpenError::Layout => {
                "it is damaged, or of another machine; remove it and reload its servers"
            }
            OpenError::NoRoom => {
                "there is no room for a store, which has 1 MiB at least; free some, or raise the \
                 limit of memory or of the size of files"
            }
        })
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::System("cannot open it", error)
                if error.kind() == io::ErrorKind::NotFound =>
            {
                f.write_str("it does not exist; its server makes it when it starts")
            }
            OpenError::System(what, error) => write!(f, "{what}: {}", Words(error)),
            OpenError::Size { is, asked } => write!(
                f,
                "it has {is} bytes and size={asked} is asked for; leave size out, or remove it and \
                 reload its servers"
            ),
            other => f.write_str(other.fixed().unwrap_or_default()),
        }
    }
}

impl std::error::Error for OpenError {}

pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    move |error| OpenError::System(what, error)
}

//! `sesscache keygen`: makes key files and gives them new keys.
//!
//! A key file appears whole or not at all: it is written under another name in the same folder,
//! which is locked meanwhile. Key material is never shown, and wiped from memory.

use crate::arguments::Keygen;
use crate::key_text::{HEADER, key_line, with_new_key};
use crate::output;
use rustix::fs::{FlockOperation, OFlags, flock};
use sesscache::seal::key_file::{self, KeyFileError, MAX_KEYS};
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf, absolute};
use zeroize::Zeroizing;

/// Why there is no new key.
#[derive(Debug)]
pub(crate) enum KeygenError {
    /// The path does not end in a file's name.
    Name(PathBuf),
    /// A new key file would overwrite something.
    Exists(PathBuf),
    /// There is no file to rotate.
    Missing(PathBuf),
    /// The file to rotate is not a key file, or not safe.
    Unusable(PathBuf, KeyFileError),
    /// The kernel has no random bytes.
    Random(getrandom::Error),
    /// A file could not be read or written.
    File(PathBuf, io::Error),
    /// The key is there; only this could not be said.
    Output(io::Error),
}

impl fmt::Display for KeygenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeygenError::Name(path) => write!(f, "{}: not a file's name", path.display()),
            KeygenError::Exists(path) => write!(
                f,
                "{} exists and is not overwritten; --rotate gives a key file a new key",
                path.display()
            ),
            KeygenError::Missing(path) => {
                write!(f, "{} does not exist; without --rotate, keygen makes it", path.display())
            }
            KeygenError::Unusable(path, error) => write!(f, "{} {error}", path.display()),
            KeygenError::Random(error) => write!(f, "no random bytes: {error}"),
            KeygenError::File(path, error) => write!(f, "{}: {error}", path.display()),
            KeygenError::Output(error) => write!(f, "stdout: {error}"),
        }
    }
}

/// `sesscache keygen [--rotate] FILE`.
pub(crate) fn keygen(options: &Keygen) -> Result<(), KeygenError> {
    let file = &options.file;
    let shown = absolute(file).unwrap_or_else(|_| file.clone());
    let line = if options.rotate {
        let keys = rotate(file)?;
        format!(
            "{} has a new key, the first of {keys}; next: reload the servers that use it",
            shown.display()
        )
    } else {
        create(file)?;
        format!("wrote {0}; next: sesscache run --key-file {0} -- SERVER", shown.display())
    };
    output::print(&line).map_err(KeygenError::Output)
}

/// Makes a key file with one key.
pub(crate) fn create(path: &Path) -> Result<(), KeygenError> {
    let folder = Folder::lock(path)?;
    let (text, ..) = with_new_key(HEADER.as_bytes(), &key_line().map_err(KeygenError::Random)?);
    let new = folder.write(&text, None)?;
    // A link, unlike a rename, replaces nothing.
    let linked = fs::hard_link(new, path);
    drop(fs::remove_file(new));
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(KeygenError::Exists(path.to_owned()))
        }
        Err(error) => Err(KeygenError::File(path.to_owned(), error)),
        Ok(()) => folder.sync(),
    }
}

/// Gives a key file a new first key; how many it has now.
fn rotate(path: &Path) -> Result<usize, KeygenError> {
    let folder = Folder::lock(path)?;
    let (old, owner) = read(path)?;
    let (text, keys, dropped) = with_new_key(&old, &key_line().map_err(KeygenError::Random)?);
    let new = folder.write(&text, Some(&owner))?;
    if let Err(error) = fs::rename(new, path) {
        drop(fs::remove_file(new));
        return Err(KeygenError::File(path.to_owned(), error));
    }
    folder.sync()?;
    if dropped > 0 {
        output::say(&format!(
            "dropped the oldest of {} keys, and what only it opens: a file holds {MAX_KEYS}",
            keys + dropped
        ));
    }
    Ok(keys)
}

/// The text of a key file, if it is one that can be used, and whose it is.
fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, Metadata), KeygenError> {
    let unusable = |error| KeygenError::Unusable(path.to_owned(), error);
    let (_, version) = key_file::read(path).map_err(|error| match error {
        KeyFileError::Missing => KeygenError::Missing(path.to_owned()),
        error => unusable(error),
    })?;
    let failed = |error| KeygenError::File(path.to_owned(), error);
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut file = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let size = usize::try_from(metadata.len()).map_err(|_| unusable(KeyFileError::TooLong))?;
    // A buffer that never grows: growing leaves copies behind.
    let mut text = Zeroizing::new(vec![0; size]);
    file.read_exact(&mut text).map_err(failed)?;
    match key_file::version(path) {
        Some(now) if now == version => Ok((text, metadata)),
        _ => Err(unusable(KeyFileError::Changing)),
    }
}

/// The folder of a key file, locked against other runs of this command.
struct Folder {
    handle: File,
    /// Where a key file is written before it gets its name.
    new: PathBuf,
}

impl Folder {
    fn lock(path: &Path) -> Result<Folder, KeygenError> {
        let name = path.file_name().ok_or_else(|| KeygenError::Name(path.to_owned()))?;
        let folder = match path.parent() {
            Some(folder) if folder != OsStr::new("") => folder,
            _ => Path::new("."),
        };
        let handle = File::open(folder).map_err(|e| KeygenError::File(folder.to_owned(), e))?;
        // Not every file system can lock a folder; there, two rotations at once may lose a key.
        let _ = flock(&handle, FlockOperation::LockExclusive);
        let mut new = OsStr::new(".").to_owned();
        new.push(name);
        new.push(".new");
        Ok(Folder { handle, new: folder.join(new) })
    }

    /// Writes a file beside the one to come, with the owner and mode of `like`; its path.
    fn write(&self, text: &[u8], like: Option<&Metadata>) -> Result<&Path, KeygenError> {
        // What is there under the lock is left of a run that was killed.
        drop(fs::remove_file(&self.new));
        self.fill(text, like).map_err(|error| {
            drop(fs::remove_file(&self.new));
            KeygenError::File(self.new.clone(), error)
        })?;
        Ok(&self.new)
    }

    fn fill(&self, text: &[u8], like: Option<&Metadata>) -> io::Result<()> {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&self.new)?;
        let made = file.metadata()?;
        if let Some(like) = like
            && (like.uid(), like.gid()) != (made.uid(), made.gid())
        {
            fchown(&file, Some(like.uid()), Some(like.gid()))?;
        }
        // The umask may have taken bits away.
        let mode = like.map_or(0o600, |like| like.mode() & 0o7777);
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text)?;
        file.sync_all()
    }

    fn sync(&self) -> Result<(), KeygenError> {
        self.handle.sync_all().map_err(|e| KeygenError::File(self.new.clone(), e))
    }
}

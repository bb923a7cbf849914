//! `sesscache keygen`: makes key files and changes their keys.
//!
//! A key file appears whole or not at all. It is written under another name in the same folder,
//! which is locked meanwhile, and checked as a server would. Key material is never shown, and is
//! wiped from memory.

use crate::arguments::Keygen;
use crate::key_text::{self, DropsNext, HEADER, NoNext, key_line};
use crate::output;
use rustix::fs::{FlockOperation, OFlags, flock};
use sesscache_core::key_file::{self, KeyFileError, MAX_KEYS};
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf, absolute};
use zeroize::Zeroizing;

/// The step that follows a change in a fleet.
const COPY: &str = "next: copy the file to all hosts and reload their servers";

/// The reasons why a key file was not made or changed.
#[derive(Debug)]
pub(crate) enum KeygenError {
    /// The path does not end in a file's name.
    Name(PathBuf),
    /// A new key file would overwrite something.
    Exists(PathBuf),
    /// There is no file to change.
    Missing(PathBuf),
    /// The file is not a usable key file, or would be too long.
    Unusable(PathBuf, KeyFileError),
    /// The file holds as many keys as it may.
    Full(PathBuf),
    /// A key is marked `next` already.
    HasNext(PathBuf),
    /// No key is marked `next`.
    NoNext(PathBuf),
    /// The key marked `next` would be dropped.
    DropsNext(PathBuf),
    /// The kernel gives no random bytes.
    Random(getrandom::Error),
    /// A file could not be read or written.
    File(PathBuf, io::Error),
    /// The file was changed, but the line about it could not be written.
    Output(io::Error),
}

impl fmt::Display for KeygenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeygenError::Name(path) => write!(f, "{}: not a file's name", path.display()),
            KeygenError::Exists(path) => write!(
                f,
                "{} exists and is not overwritten; --rotate or --next gives it a new key",
                path.display()
            ),
            KeygenError::Missing(path) => {
                write!(f, "{} does not exist; without an option, keygen makes it", path.display())
            }
            KeygenError::Unusable(path, error) => write!(f, "{} {error}", path.display()),
            KeygenError::Full(path) => write!(
                f,
                "{} holds {MAX_KEYS} keys, as many as it may; --keep drops the oldest",
                path.display()
            ),
            KeygenError::HasNext(path) => {
                write!(f, "{} has a next key already; --promote makes it the first", path.display())
            }
            KeygenError::NoNext(path) => {
                write!(f, "{} has no key that is marked `next`; --next adds one", path.display())
            }
            KeygenError::DropsNext(path) => write!(
                f,
                "{} would lose its next key; --promote makes it the first, or keep more",
                path.display()
            ),
            KeygenError::Random(error) => write!(f, "no random bytes: {error}"),
            KeygenError::File(path, error) => write!(f, "{}: {error}", path.display()),
            KeygenError::Output(error) => write!(f, "stdout: {error}"),
        }
    }
}

/// Runs `sesscache keygen [--rotate | --next | --promote | --keep N] FILE`.
pub(crate) fn keygen(options: &Keygen) -> Result<(), KeygenError> {
    let file = &options.file;
    let path = absolute(file).unwrap_or_else(|_| file.clone());
    let shown = path.display();
    let line = if options.rotate {
        let keys = rotate(file)?;
        format!("{shown} has a new key, the first of {keys}; next: reload the servers that use it")
    } else if options.next {
        let keys = add_next(file)?;
        format!("{shown} has a new key, the second of {keys}: it opens, and seals later; {COPY}")
    } else if options.promote {
        let keys = promote(file)?;
        format!("{shown} has its next key as the first of {keys}: it seals; {COPY}")
    } else if let Some(keep) = options.keep {
        match drop_oldest(file, keep.into())? {
            (keys, 0) => format!("{shown} is as it was: of {keys} there is none to drop"),
            (keys, dropped) => {
                format!("{shown} keeps {keys}, without the oldest {dropped}; {COPY}")
            }
        }
    } else {
        create(file)?;
        format!("wrote {shown}; next: sesscache run --key-file {shown} -- SERVER")
    };
    output::print(&line).map_err(KeygenError::Output)
}

/// Makes a key file with one key.
pub(crate) fn create(path: &Path) -> Result<(), KeygenError> {
    let folder = LockedFolder::lock(path)?;
    let line = key_line(false).map_err(KeygenError::Random)?;
    let (text, _) = key_text::with_first(HEADER.as_bytes(), &line);
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

/// Gives a key file a new first key. Returns the number of keys.
fn rotate(path: &Path) -> Result<usize, KeygenError> {
    let file = KeyFile::lock(path)?;
    file.has_no_next()?;
    let line = key_line(false).map_err(KeygenError::Random)?;
    let (text, dropped) = key_text::with_first(&file.text, &line);
    let keys = file.replace(&text)?;
    if dropped > 0 {
        output::say(&format!(
            "dropped the oldest of {} keys, and what only it opens: a file holds {MAX_KEYS}",
            keys + dropped
        ));
    }
    Ok(keys)
}

/// Gives a key file a new second key, marked `next`. Returns the number of keys.
fn add_next(path: &Path) -> Result<usize, KeygenError> {
    let file = KeyFile::lock(path)?;
    file.has_no_next()?;
    if file.keys >= MAX_KEYS {
        return Err(KeygenError::Full(path.to_owned()));
    }
    let line = key_line(true).map_err(KeygenError::Random)?;
    file.replace(&key_text::with_second(&file.text, &line))
}

/// Makes the marked key of a key file the first. Returns the number of keys.
fn promote(path: &Path) -> Result<usize, KeygenError> {
    let file = KeyFile::lock(path)?;
    match key_text::promoted(&file.text) {
        Err(NoNext) => Err(KeygenError::NoNext(path.to_owned())),
        Ok(text) => file.replace(&text),
    }
}

/// Drops the last keys of a key file, those beyond `keep`. Returns how many stay and how many went.
fn drop_oldest(path: &Path, keep: usize) -> Result<(usize, usize), KeygenError> {
    let file = KeyFile::lock(path)?;
    match key_text::with_only(&file.text, keep) {
        Err(DropsNext) => Err(KeygenError::DropsNext(path.to_owned())),
        Ok((_, 0)) => Ok((file.keys, 0)),
        Ok((text, dropped)) => Ok((file.replace(&text)?, dropped)),
    }
}

/// A usable key file that no other run of this command changes meanwhile.
struct KeyFile<'a> {
    path: &'a Path,
    folder: LockedFolder,
    text: Zeroizing<Vec<u8>>,
    /// The number of keys in it.
    keys: usize,
    /// The owner and mode.
    metadata: Metadata,
}

impl KeyFile<'_> {
    fn lock(path: &Path) -> Result<KeyFile<'_>, KeygenError> {
        let folder = LockedFolder::lock(path)?;
        let (text, keys, metadata) = read(path)?;
        Ok(KeyFile { path, folder, text, keys, metadata })
    }

    fn has_no_next(&self) -> Result<(), KeygenError> {
        if key_text::has_next(&self.text) {
            return Err(KeygenError::HasNext(self.path.to_owned()));
        }
        Ok(())
    }

    /// Puts a file with this text in place, if servers will take it. Returns the number of keys.
    fn replace(&self, text: &[u8]) -> Result<usize, KeygenError> {
        let new = self.folder.write(text, Some(&self.metadata))?;
        let replaced = match key_file::read(new) {
            Ok((keys, _)) => fs::rename(new, self.path)
                .map(|()| keys.len())
                .map_err(|error| KeygenError::File(self.path.to_owned(), error)),
            Err(error) => Err(KeygenError::Unusable(self.path.to_owned(), error)),
        };
        if replaced.is_err() {
            drop(fs::remove_file(new));
            return replaced;
        }
        self.folder.sync()?;
        replaced
    }
}

/// The text of a usable key file, the number of its keys, and its owner and mode.
fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, usize, Metadata), KeygenError> {
    let unusable = |error| KeygenError::Unusable(path.to_owned(), error);
    let (keys, version) = key_file::read(path).map_err(|error| match error {
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
    // The buffer never grows, because growing leaves copies behind.
    let mut text = Zeroizing::new(vec![0; size]);
    file.read_exact(&mut text).map_err(failed)?;
    match key_file::version(path) {
        Some(now) if now == version => Ok((text, keys.len(), metadata)),
        _ => Err(unusable(KeyFileError::Changing)),
    }
}

/// The folder of a key file, locked against other runs of this command.
struct LockedFolder {
    handle: File,
    /// The path at which a key file is written before it gets its name.
    new: PathBuf,
}

impl LockedFolder {
    fn lock(path: &Path) -> Result<LockedFolder, KeygenError> {
        let name = path.file_name().ok_or_else(|| KeygenError::Name(path.to_owned()))?;
        let folder = match path.parent() {
            Some(folder) if folder != OsStr::new("") => folder,
            _ => Path::new("."),
        };
        let handle = File::open(folder).map_err(|e| KeygenError::File(folder.to_owned(), e))?;
        // Not every file system can lock a folder. On such a one, two rotations at once may lose a
        // key.
        let _ = flock(&handle, FlockOperation::LockExclusive);
        let mut new = OsStr::new(".").to_owned();
        new.push(name);
        new.push(".new");
        Ok(LockedFolder { handle, new: folder.join(new) })
    }

    /// Writes the new file, with the owner and mode of `like`. Returns its path.
    fn write(&self, text: &[u8], like: Option<&Metadata>) -> Result<&Path, KeygenError> {
        // A file that exists under the lock was left by a run that was killed.
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

//! A key file that is made or changed, and the reasons against it.
//!
//! A key file appears whole or not at all. It is written under another name in the same folder,
//! which is locked meanwhile, and checked as a server would.

use crate::key_text;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use sesscache_core::key_file::{self, KeyFileError, MAX_KEYS};
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// The reasons why a key file was not made or changed.
#[derive(Debug)]
pub(crate) enum KeyChangeError {
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
    /// By the clock the file is so many days behind.
    Jump(PathBuf, u32),
    /// SESSCACHE_MAX_LIFETIME is no time.
    Lifetime(String),
    /// The kernel gives no random bytes.
    Random(getrandom::Error),
    /// A file could not be read or written.
    File(PathBuf, io::Error),
    /// The file was changed, but the line about it could not be written.
    Output(io::Error),
}

impl fmt::Display for KeyChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyChangeError::Name(path) => write!(f, "{}: not a file's name", path.display()),
            KeyChangeError::Exists(path) => write!(
                f,
                "{} exists and is not overwritten; --rotate or --next gives it a new key",
                path.display()
            ),
            KeyChangeError::Missing(path) => {
                write!(f, "{} does not exist; without an option, keygen makes it", path.display())
            }
            KeyChangeError::Unusable(path, error) => write!(f, "{} {error}", path.display()),
            KeyChangeError::Full(path) => write!(
                f,
                "{} holds {MAX_KEYS} keys, as many as it may; --keep drops the oldest",
                path.display()
            ),
            KeyChangeError::HasNext(path) => {
                write!(f, "{} has a next key already; --promote makes it the first", path.display())
            }
            KeyChangeError::NoNext(path) => {
                write!(f, "{} has no key that is marked `next`; --next adds one", path.display())
            }
            KeyChangeError::DropsNext(path) => write!(
                f,
                "{} would lose its next key; --promote makes it the first, or keep more",
                path.display()
            ),
            KeyChangeError::Jump(path, days) => write!(
                f,
                "{} is {days} days behind the clock; if the clock is right, use --force",
                path.display()
            ),
            KeyChangeError::Lifetime(text) => {
                write!(f, "SESSCACHE_MAX_LIFETIME={text} is not a number of seconds")
            }
            KeyChangeError::Random(error) => write!(f, "no random bytes: {error}"),
            KeyChangeError::File(path, error) => write_file(f, &path.display(), error),
            KeyChangeError::Output(error) => write!(f, "stdout: {error}"),
        }
    }
}

fn write_file(
    f: &mut fmt::Formatter<'_>,
    path: &dyn fmt::Display,
    error: &io::Error,
) -> fmt::Result {
    match error.kind() {
        io::ErrorKind::NotFound => {
            write!(f, "{path}: No such file or folder; make it: install -d -m 711 {path}")
        }
        _ => write!(f, "{path}: {error}"),
    }
}

/// A usable key file that no other run of this command changes meanwhile.
pub(crate) struct KeyFile {
    /// The file itself, which a link may have led to.
    path: PathBuf,
    folder: LockedFolder,
    pub(crate) text: Zeroizing<Vec<u8>>,
    /// The number of keys in it.
    pub(crate) keys: usize,
    /// The owner and mode.
    metadata: Metadata,
}

impl KeyFile {
    pub(crate) fn lock(path: &Path) -> Result<KeyFile, KeyChangeError> {
        let path = key_file::resolve(path).map_err(|error| refusal(path, error))?;
        let folder = LockedFolder::lock(&path)?;
        let (text, keys, metadata) = read(&path)?;
        Ok(KeyFile { path, folder, text, keys, metadata })
    }

    pub(crate) fn has_no_next(&self) -> Result<(), KeyChangeError> {
        if key_text::has_next(&self.text) {
            return Err(KeyChangeError::HasNext(self.path.clone()));
        }
        Ok(())
    }

    /// Puts a file with this text in place, if servers will take it. Returns the number of keys.
    pub(crate) fn replace(&self, text: &[u8]) -> Result<usize, KeyChangeError> {
        let new = self.folder.write(text, Some(&self.metadata))?;
        let replaced = match key_file::read(new) {
            Ok((keys, _)) => fs::rename(new, &self.path)
                .map(|()| keys.len())
                .map_err(|error| KeyChangeError::File(self.path.clone(), error)),
            Err(error) => Err(KeyChangeError::Unusable(self.path.clone(), error)),
        };
        if replaced.is_err() {
            drop(fs::remove_file(new));
            return replaced;
        }
        self.folder.sync()?;
        replaced
    }
}

/// The reason why a key file is not changed that cannot be used.
fn refusal(path: &Path, error: KeyFileError) -> KeyChangeError {
    match error {
        KeyFileError::Missing => KeyChangeError::Missing(path.to_owned()),
        error => KeyChangeError::Unusable(path.to_owned(), error),
    }
}

/// The text of a usable key file, the number of its keys, and its owner and mode.
fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, usize, Metadata), KeyChangeError> {
    let unusable = |error| KeyChangeError::Unusable(path.to_owned(), error);
    let (keys, version) = key_file::read(path).map_err(|error| refusal(path, error))?;
    let failed = |error| KeyChangeError::File(path.to_owned(), error);
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
pub(crate) struct LockedFolder {
    handle: File,
    /// The path at which a key file is written before it gets its name.
    new: PathBuf,
}

/// How long a run waits for another one, which takes milliseconds.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// Locks a folder. True if another process holds the lock and does not give it back.
fn is_held_by_another(folder: &File) -> bool {
    let began = Instant::now();
    loop {
        match flock(folder, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if began.elapsed() < LONGEST_WAIT => {
                thread::sleep(Duration::from_millis(20));
            }
            locked => return locked == Err(Errno::WOULDBLOCK),
        }
    }
}

impl LockedFolder {
    pub(crate) fn lock(path: &Path) -> Result<LockedFolder, KeyChangeError> {
        let name = path.file_name().ok_or_else(|| KeyChangeError::Name(path.to_owned()))?;
        let folder = match path.parent() {
            Some(folder) if folder != OsStr::new("") => folder,
            _ => Path::new("."),
        };
        let handle = File::open(folder).map_err(|e| KeyChangeError::File(folder.to_owned(), e))?;
        // Not every file system can lock a folder. On such a one, two rotations at once may lose a
        // key.
        if is_held_by_another(&handle) {
            // Whoever may read the folder can hold its lock.
            let error = io::Error::other("another process has locked the folder; `fuser` names it");
            return Err(KeyChangeError::File(folder.to_owned(), error));
        }
        let mut new = OsStr::new(".").to_owned();
        new.push(name);
        new.push(".new");
        Ok(LockedFolder { handle, new: folder.join(new) })
    }

    /// Writes the new file, with the owner and mode of `like`. Returns its path.
    pub(crate) fn write(
        &self,
        text: &[u8],
        like: Option<&Metadata>,
    ) -> Result<&Path, KeyChangeError> {
        // A file that exists under the lock was left by a run that was killed.
        drop(fs::remove_file(&self.new));
        self.fill(text, like).map_err(|error| {
            drop(fs::remove_file(&self.new));
            KeyChangeError::File(self.new.clone(), error)
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

    pub(crate) fn sync(&self) -> Result<(), KeyChangeError> {
        self.handle.sync_all().map_err(|e| KeyChangeError::File(self.new.clone(), e))
    }
}

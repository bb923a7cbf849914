//! A store and the right to be its only agent: a lock on its file, which ends with the process.

use rustix::fs::{FlockOperation, OFlags, flock};
use sd_notify::NotifyState;
use sesscache_core::store::{Medium, OpenError, Store};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// The reasons why there is no store to follow.
#[derive(Debug)]
pub(crate) enum ClaimError {
    /// The store cannot be opened.
    Store(PathBuf, OpenError),
    /// Another agent follows the store.
    Taken(PathBuf),
    /// The file cannot be locked, or was replaced meanwhile.
    File(PathBuf, io::Error),
}

impl ClaimError {
    /// Whether the file does not exist: the server that makes it was not started yet.
    pub(crate) fn is_missing(&self) -> bool {
        let error = match self {
            ClaimError::Store(_, OpenError::System(_, error)) | ClaimError::File(_, error) => error,
            _ => return false,
        };
        error.kind() == io::ErrorKind::NotFound
    }
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClaimError::Store(path, error) => write!(f, "{}: {error}", path.display()),
            ClaimError::Taken(path) => write!(f, "{} has an agent already", path.display()),
            ClaimError::File(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

/// A store that no other agent follows.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) store: Arc<Store>,
    path: PathBuf,
    /// The device and inode of the file.
    file: (u64, u64),
    /// This handle holds the lock.
    _lock: File,
}

impl Claim {
    /// Opens the store, then locks its file.
    pub(crate) fn make(path: &Path) -> Result<Claim, ClaimError> {
        let failed = |error| ClaimError::File(path.to_owned(), error);
        let unusable = |error| ClaimError::Store(path.to_owned(), error);
        let store = Store::open_existing(path).map_err(unusable)?;
        // It may have been made by a process that was no server.
        store.take_room(&Medium::File(path.to_owned())).map_err(unusable)?;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let lock = File::options()
            .read(true)
            .write(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path)
            .map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(ClaimError::Taken(path.to_owned())),
            Err(error) => return Err(failed(error.into())),
        }
        let metadata = lock.metadata().map_err(failed)?;
        let file = (metadata.dev(), metadata.ino());
        Ok(Claim { store: Arc::new(store), path: path.to_owned(), file, _lock: lock })
    }

    /// Whether the path names another file now, or none. Servers then no longer use this store.
    pub(crate) fn is_replaced(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .map_or(true, |metadata| (metadata.dev(), metadata.ino()) != self.file)
    }
}

/// How often to look for a missing store, and whether the present one was replaced.
pub(crate) const LOOK: Duration = Duration::from_millis(500);

/// Waits until a server has made the store, and opens it.
///
/// # Errors
/// Any other reason for which it cannot be opened.
pub(crate) async fn wait<T>(
    path: &Path,
    open: impl Fn(&Path) -> Result<T, ClaimError>,
) -> Result<T, ClaimError> {
    let mut is_said = false;
    loop {
        match open(path) {
            Err(error) if error.is_missing() => {
                if !std::mem::replace(&mut is_said, true) {
                    tracing::info!("waiting for {}, which a server makes", path.display());
                    let status = NotifyState::Status("waiting for the store");
                    let _ = sd_notify::notify(&[NotifyState::Ready, status]);
                }
            }
            result => return result,
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sesscache_core::store::StoreUrl;

    #[test]
    fn a_store_has_one_agent() {
        let folder = std::env::temp_dir().join(format!("sesscache-claim-{}", std::process::id()));
        let path = folder.join("store");
        fs::create_dir(&folder).unwrap();
        assert!(Claim::make(&path).unwrap_err().is_missing());
        let url = StoreUrl::parse(&format!("file:{}?size=1MiB", path.display())).unwrap();
        Store::open(&url).unwrap();
        let claim = Claim::make(&path).unwrap();
        assert!(matches!(Claim::make(&path), Err(ClaimError::Taken(_))));
        assert!(!claim.is_replaced());
        drop(claim);
        let claim = Claim::make(&path).unwrap();
        fs::rename(&path, folder.join("old")).unwrap();
        assert!(claim.is_replaced());
        Store::open(&url).unwrap();
        assert!(claim.is_replaced());
        fs::remove_dir_all(&folder).unwrap();
    }
}

//! The stores of this process, and the keys for them.
//!
//! The store of SESSCACHE_STORE is mapped, and its key file read, when the library is loaded: later
//! the process may be in a chroot or another user's. What went wrong is said when the first
//! SSL_CTX is made, because most processes that a preload gets into never make one. A store, once
//! open, stays: contexts refer to it.
//!
//! Locks: the list of stores, and each store's keys while something is sealed or opened. Nobody waits
//! for the keys: a fork may have left that lock held for ever.

use crate::config::{Config, config};
use crate::log::Once;
use crate::openssl::next::Next;
use crate::openssl::process::random_bytes;
use crate::seal::Keys;
use crate::seal::key_file::{self, FileVersion, KEY_BYTES, KeyFileError, Secret};
use crate::store::{OpenError, Place, Store, StoreUrl, UrlError};
use once_cell::sync::OnceCell;
use parking_lot::{Mutex, RwLock};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use zeroize::Zeroizing;

/// A store and the keys to what is in it.
#[derive(Debug)]
pub struct HostStore {
    /// The sealed records.
    pub store: Store,
    url: StoreUrl,
    /// `None`: a random key that only this process and those it forks have.
    key_file: Option<PathBuf>,
    keys: RwLock<KeyState>,
}

#[derive(Debug, Default)]
struct KeyState {
    /// As last read.
    version: Option<FileVersion>,
    /// Read, and not yet derived from: libcrypto may come into the process later.
    secrets: Vec<Secret>,
    keys: Option<Keys>,
}

/// Why a store cannot be used.
#[derive(Debug)]
pub enum HostError {
    /// The URL is wrong.
    Url(UrlError),
    /// The store cannot be opened.
    Open(OpenError),
    /// A file without keys: who could open what is in it?
    NoKeyFile,
    /// A reload may happen in another folder.
    KeyFilePath(PathBuf),
    /// The key file cannot be used.
    KeyFile(PathBuf, KeyFileError),
    /// No memory to remember it.
    NoMemory,
    /// No randomness for a key.
    NoRandom,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostError::Url(error) => write!(f, "{error}"),
            HostError::Open(error) => write!(f, "{error}"),
            HostError::NoKeyFile => write!(
                f,
                "a file: store needs SESSCACHE_KEY_FILE (make one with: sesscache keygen FILE)"
            ),
            HostError::KeyFilePath(path) => {
                write!(f, "SESSCACHE_KEY_FILE={} is not a path from /", path.display())
            }
            HostError::KeyFile(path, error) => write!(f, "key file {}: {error}", path.display()),
            HostError::NoMemory => write!(f, "out of memory"),
            HostError::NoRandom => write!(f, "the system gives no random bytes for a key"),
        }
    }
}

impl HostStore {
    fn open(url: StoreUrl, config: &Config) -> Result<HostStore, HostError> {
        let key_file = url.key_file.clone().or_else(|| config.key_file.clone());
        let secrets = match (&key_file, &url.place) {
            (Some(path), _) if !path.is_absolute() => {
                return Err(HostError::KeyFilePath(path.clone()));
            }
            (Some(path), _) => read_keys(path)?,
            (None, Place::Memory) => (vec![random_secret()?], None),
            (None, Place::File(_)) => return Err(HostError::NoKeyFile),
        };
        let store = Store::open(&url).map_err(HostError::Open)?;
        let keys = KeyState { version: secrets.1, secrets: secrets.0, keys: None };
        Ok(HostStore { store, url, key_file, keys: RwLock::new(keys) })
    }

    /// Reads the key file again if it has changed, as when a server reloads. One that cannot be
    /// read any more (a chroot, another user) leaves the keys as they are.
    pub fn refresh(&self, next: &Next) {
        static SAID: Once = Once::new();
        let Some(mut state) = self.keys.try_write() else { return };
        if let Some(path) = &self.key_file
            && let version @ Some(_) = key_file::version(path)
            && version != state.version
        {
            match read_keys(path) {
                Ok((secrets, version)) => (state.secrets, state.version) = (secrets, version),
                Err(error @ HostError::KeyFile(..)) => {
                    SAID.say(format_args!("{error}; the keys read before are used"))
                }
                Err(_) => {}
            }
        }
        if !state.secrets.is_empty() {
            match Keys::derive(next, &state.secrets) {
                Some(keys) => {
                    state.keys = Some(keys);
                    state.secrets.clear();
                }
                None => SAID.say(
                    "this libcrypto has no AES-256-GCM or no memory for keys: no session is shared",
                ),
            }
        }
    }

    /// What `use_them` makes of the keys; `None` if there are none, or they are being changed.
    pub fn with_keys<T>(&self, use_them: impl FnOnce(&Keys) -> Option<T>) -> Option<T> {
        use_them(self.keys.try_read()?.keys.as_ref()?)
    }
}

type Read = (Vec<Secret>, Option<FileVersion>);

fn read_keys(path: &Path) -> Result<Read, HostError> {
    key_file::read(path)
        .map(|(secrets, version)| (secrets, Some(version)))
        .map_err(|error| HostError::KeyFile(path.to_owned(), error))
}

fn random_secret() -> Result<Secret, HostError> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    if random_bytes(bytes.as_mut_slice()) {
        Ok(Secret::new(*bytes))
    } else {
        Err(HostError::NoRandom)
    }
}

/// The store of SESSCACHE_STORE, or why there is none.
static CONFIGURED: OnceCell<Result<&'static HostStore, HostError>> = OnceCell::new();

/// All stores: of a URL there is one.
static STORES: Mutex<Vec<&'static HostStore>> = Mutex::new(Vec::new());

/// Whether there are any: most processes have none, and pay nothing.
static IS_USED: AtomicBool = AtomicBool::new(false);

/// Maps the store of the configuration, if there is one. Called when the library is loaded.
pub fn load() {
    if let Some(url) = &config().store {
        CONFIGURED.get_or_init(|| find_or_open(url.clone()));
    }
}

/// Whether any store is in use, or may be.
pub fn is_used() -> bool {
    IS_USED.load(Relaxed)
}

/// The store that new contexts use; says what is wrong, if something is.
pub fn configured() -> Option<&'static HostStore> {
    static SAID: Once = Once::new();
    match CONFIGURED.get()? {
        Ok(store) => Some(store),
        Err(error) => {
            match config().store.as_ref().map(|url| &url.place) {
                Some(Place::File(path)) => {
                    SAID.say(format_args!("no session is shared: {}: {error}", path.display()));
                }
                _ => SAID.say(format_args!("no session is shared: {error}")),
            }
            None
        }
    }
}

/// The store of this URL, opened now if no context uses it yet.
///
/// # Errors
/// [`HostError`].
pub fn attach(url: &str) -> Result<&'static HostStore, HostError> {
    find_or_open(StoreUrl::parse(url).map_err(HostError::Url)?)
}

fn find_or_open(url: StoreUrl) -> Result<&'static HostStore, HostError> {
    let mut stores = STORES.lock();
    if let Some(store) = stores.iter().find(|store| store.url == url) {
        return Ok(store);
    }
    stores.try_reserve(1).map_err(|_| HostError::NoMemory)?;
    let mut place = Vec::new();
    place.try_reserve_exact(1).map_err(|_| HostError::NoMemory)?;
    place.push(HostStore::open(url, config())?);
    // Never unmapped: a context may use it until the process ends.
    let store: &'static HostStore = place.leak().first().ok_or(HostError::NoMemory)?;
    stores.push(store);
    IS_USED.store(true, Relaxed);
    Ok(store)
}

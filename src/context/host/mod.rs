//! The stores of this process, and the keys for them.
//!
//! The store of SESSCACHE_STORE is mapped, and its key file read, when the library is loaded: later
//! the process may be in a chroot or another user's. A failure is logged when the first SSL_CTX is
//! made, because most processes that a preload gets into never make one. A store, once
//! open, stays: contexts refer to it.
//!
//! Locks: the list of stores, for the length of a look, or of an opening.

pub(super) mod keys;
pub(super) mod record;

use crate::config::{TicketMode, config};
use crate::log::Once;
use crate::openssl::table::Libssl;
use keys::{KeyRing, KeyRingError};
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use sesscache_core::store::{LEAST_SIZE, Medium, OpenError, Store, StoreUrl, Tally, UrlError};
use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A store and the keys to its records.
#[derive(Debug)]
pub struct HostStore {
    /// The sealed records.
    pub store: Store,
    url: StoreUrl,
    /// The keys that seal them.
    keys: &'static KeyRing,
}

/// Why a store cannot be used.
#[derive(Debug)]
pub enum HostError {
    /// The URL is wrong.
    Url(UrlError),
    /// The store cannot be opened.
    Open(OpenError),
    /// A `file:` store without a key file, which nobody else could open.
    NoKeyFile,
    /// There are no keys.
    Keys(KeyRingError),
    /// No memory to remember it.
    NoMemory,
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
            HostError::Keys(error) => write!(f, "{error}"),
            HostError::NoMemory => write!(f, "out of memory"),
        }
    }
}

impl HostStore {
    fn open(url: StoreUrl) -> Result<HostStore, HostError> {
        let own = match (&url.key_file, &config().key_file, &url.medium) {
            (Some(path), ..) => Some(KeyRing::of_file(path.clone()).map_err(HostError::Keys)?),
            (None, Some(_), _) => None,
            (None, None, Medium::Memory) => Some(KeyRing::random().map_err(HostError::Keys)?),
            (None, None, Medium::File(_)) => return Err(HostError::NoKeyFile),
        };
        if own.is_none() {
            configured_keys().map_err(HostError::Keys)?;
        }
        let store = Store::open(&url).map_err(HostError::Open)?;
        // Only now, when nothing can fail: a kept value is never freed.
        let keys = match own {
            Some(own) => leak(own)?,
            None => configured_keys().map_err(HostError::Keys)?,
        };
        Ok(HostStore { store, url, keys })
    }
}

impl HostStore {
    /// Reads the key file again if it has changed, and notes in the store of what kind its keys are.
    fn refresh_keys(&self, libssl: &'static Libssl) {
        self.keys.refresh(libssl);
        if let Some(kind) = self.keys.kind() {
            self.store.set_key_kind(kind);
        }
    }
}

/// The host store of a context.
#[derive(Debug)]
pub(super) struct ContextStore {
    /// The store of SESSCACHE_STORE.
    configured: Option<&'static HostStore>,
    /// The store that the application attached, which goes before that.
    attached: OnceCell<&'static HostStore>,
}

impl ContextStore {
    /// The store of the configuration, for a context that has just been made.
    pub(super) fn new(libssl: &'static Libssl) -> ContextStore {
        let configured = configured_store().inspect(|store| store.refresh_keys(libssl));
        ContextStore { configured, attached: OnceCell::new() }
    }

    /// The store, if there is one.
    #[inline]
    pub(super) fn get(&self) -> Option<&'static HostStore> {
        self.attached.get().copied().or(self.configured)
    }

    /// Uses this store from now on; false if another one was attached before.
    pub(super) fn attach(&self, libssl: &'static Libssl, store: &'static HostStore) -> bool {
        store.refresh_keys(libssl);
        ptr::eq(*self.attached.get_or_init(|| store), store)
    }
}

/// Keeps a value until the process ends: contexts refer to it.
fn leak<T>(value: T) -> Result<&'static T, HostError> {
    let mut place = Vec::new();
    place.try_reserve_exact(1).map_err(|_| HostError::NoMemory)?;
    place.push(value);
    place.leak().first().ok_or(HostError::NoMemory)
}

/// The keys of SESSCACHE_KEY_FILE, or why there are none.
static KEYS: OnceCell<Result<KeyRing, KeyRingError>> = OnceCell::new();

fn configured_keys() -> Result<&'static KeyRing, KeyRingError> {
    let path = config().key_file.clone().unwrap_or_default();
    KEYS.get_or_init(|| KeyRing::of_file(path)).as_ref().map_err(KeyRingError::clone)
}

/// The keys that tickets are sealed with, if they are to be ours. Logs a failure once.
pub(super) fn ticket_keys(libssl: &'static Libssl) -> Option<&'static KeyRing> {
    static SAID: Once = Once::new();
    if !config().tickets.is_some_and(TicketMode::needs_key_file) || config().key_file.is_none() {
        return None;
    }
    match configured_keys() {
        Ok(keys) => {
            keys.refresh(libssl);
            Some(keys)
        }
        Err(error) => {
            SAID.say(format_args!("tickets are not shared: {error}"));
            None
        }
    }
}

/// Permits for early data of a process that has keys and no store.
static PERMITS: OnceCell<Store> = OnceCell::new();

/// Room for some 20,000 permits.
const PERMITS_SIZE: usize = LEAST_SIZE;

/// The process's own permits, which processes share that are forked later. `None` if there was no
/// memory for them.
pub(super) fn permits() -> Option<&'static Store> {
    PERMITS.get()
}

/// Makes room for the process's own permits, unless there is some. Called for each SSL_CTX, because
/// a sandbox may forbid it later.
pub(super) fn make_permits() {
    if PERMITS.get().is_some() {
        return;
    }
    let (size, key_file) = (Some(PERMITS_SIZE), None);
    let url = StoreUrl { medium: Medium::Memory, size, key_file };
    if let Ok(store) = Store::open(&url) {
        // Not while it is opened: a fork in between would leave the child waiting. The first of several
        // threads wins.
        let _ = PERMITS.set(store);
    }
}

/// The store of SESSCACHE_STORE, or why there is none.
static CONFIGURED: OnceCell<Result<&'static HostStore, HostError>> = OnceCell::new();

/// All stores: of a URL there is one.
static STORES: Mutex<Vec<&'static HostStore>> = Mutex::new(Vec::new());

/// Whether there are any: most processes have none, and pay nothing.
static IS_USED: AtomicBool = AtomicBool::new(false);

/// Maps the store of the configuration and reads its key file, if there are any. Called when the
/// library is loaded.
pub fn load() {
    if config().key_file.is_some() {
        // A failure is remembered there.
        let _ = configured_keys();
    }
    if let Some(url) = &config().store {
        CONFIGURED.get_or_init(|| find_or_open(url.clone()));
    }
}

/// Whether any store is in use, or may be.
pub fn is_used() -> bool {
    IS_USED.load(Relaxed)
}

/// The store that new contexts use. Logs a failure once.
fn configured_store() -> Option<&'static HostStore> {
    static SAID: Once = Once::new();
    match CONFIGURED.get()? {
        Ok(store) => Some(store),
        Err(error) => {
            match config().store.as_ref().map(|url| &url.medium) {
                Some(Medium::File(path)) => {
                    SAID.say(format_args!("no session is shared: {}: {error}", path.display()));
                }
                _ => SAID.say(format_args!("no session is shared: {error}")),
            }
            None
        }
    }
}

/// A context works as stock, because other processes use its memory. Counts it in the store of the
/// configuration, and logs it once.
pub fn note_shared_memory() {
    static SAID: Once = Once::new();
    SAID.say(
        "this program keeps SSL_CTX objects in memory that its processes share: OpenSSL's own session \
         cache is in use, and no session is shared",
    );
    if let Some(Ok(store)) = CONFIGURED.get() {
        store.store.tally(Tally::SharedMemory);
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
    // Never unmapped: a context may use it until the process ends.
    let store = leak(HostStore::open(url)?)?;
    stores.push(store);
    IS_USED.store(true, Relaxed);
    Ok(store)
}

//! The stores of this process, and the keys for them.
//!
//! The store of SESSCACHE_STORE is mapped, and its key file read, when the library is loaded: later
//! the process may be in a chroot or another user's. Its room is taken when the first SSL_CTX of a
//! server is made, because most processes that a preload gets into never make one. A failure is logged
//! then, too. Each new SSL_CTX of a server tries again what failed, and takes the file that is in the
//! place of a removed one (`renewal`). A context keeps its store. The last one that leaves a removed
//! store lets go of its memory.
//!
//! Locks: the list of stores, for the length of a look, or of an opening.

pub(super) mod keys;
mod least_used;
pub(super) mod packing;
pub(super) mod record;
mod renewal;
mod templates;

use crate::config::{TicketMode, config};
use crate::log::{self, Once, say};
use crate::openssl::algorithms;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::handle::Ctx;
use crate::openssl::identity::{Server, short_hash};
use crate::openssl::table::Libssl;
use keys::{KeyRing, KeyRingError};
use once_cell::sync::OnceCell;
use renewal::Name;
use sesscache_core::store::{
    Begun, LEAST_SIZE, Medium, OpenError, OtherVersion, Service, Sharing, Store, StoreUrl, Tally,
    UrlError,
};
use std::fmt;
use std::ptr;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

pub(super) use renewal::{configured_keys, each_store};

/// A store and the keys to its records.
#[derive(Debug)]
pub struct HostStore {
    /// The sealed records.
    pub store: Store,
    url: StoreUrl,
    /// The keys that seal them.
    keys: &'static KeyRing,
    /// Of the keys whose ids the store was told last.
    told_keys: AtomicU64,
    /// The contexts that use it.
    users: AtomicUsize,
    /// False; true once another store has taken its place, so that no new context uses it.
    is_replaced: AtomicBool,
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
    /// Opens a store; `before` is the one of this URL that it replaces, if there is any.
    fn open(url: StoreUrl, before: Option<&HostStore>) -> Result<HostStore, HostError> {
        let own = match (before, &url.key_file, &config().key_file, &url.medium) {
            (Some(_), ..) => None,
            (None, Some(path), ..) => {
                Some(KeyRing::of_file(path.clone()).map_err(HostError::Keys)?)
            }
            (None, None, Some(_), _) => None,
            (None, None, None, Medium::Memory) => Some(KeyRing::random().map_err(HostError::Keys)?),
            (None, None, None, Medium::File(_)) => return Err(HostError::NoKeyFile),
        };
        if own.is_none() && before.is_none() {
            configured_keys().map_err(HostError::Keys)?;
        }
        let key_file = url.key_file.clone().or_else(|| config().key_file.clone());
        let asked = StoreUrl { key_file, ..url.clone() };
        // A process that has a store does not take turns with servers of another version.
        let other = before.map_or(OtherVersion::Replace, |_| OtherVersion::Refuse);
        let store = Store::map(&asked, other).map_err(HostError::Open)?;
        // Only now, when nothing can fail: a kept value is never freed.
        let keys = match (before, own) {
            (Some(before), _) => before.keys,
            (None, Some(own)) => leak(own)?,
            (None, None) => configured_keys().map_err(HostError::Keys)?,
        };
        let (users, is_replaced) = (AtomicUsize::new(0), AtomicBool::new(false));
        let told_keys = AtomicU64::new(u64::MAX);
        Ok(HostStore { store, url, keys, told_keys, users, is_replaced })
    }

    /// Takes the store's room, before the first context uses it. Says so if the store is not as large
    /// as it was to be, or in the place of another one.
    fn begin(&self) -> Result<(), HostError> {
        let begun = self.store.take_room(&self.url.medium).map_err(HostError::Open)?;
        let Some(Begun { bytes, asked, is_in_place_of_other }) = begun else { return Ok(()) };
        let name = Name(&self.url);
        if bytes < asked {
            let (has, asked) = (bytes >> 20, asked >> 20);
            say(format_args!("{name} has {has} MiB and not {asked}: there is no room for more"));
        }
        if is_in_place_of_other {
            say(format_args!(
                "{name} was a store of another version of sesscache, and a new one is in its place: \
                 what was started before keeps the old one"
            ));
        }
        Ok(())
    }

    /// Another store has taken its place.
    fn retire(&self) {
        self.is_replaced.store(true, SeqCst);
        self.let_go_if_unused();
    }

    fn let_go_if_unused(&self) {
        if self.is_replaced.load(SeqCst) && self.users.load(SeqCst) == 0 {
            // A context that is made at this moment and still got this one finds it empty.
            self.store.let_go();
        }
    }
}

impl HostStore {
    /// Reads the key file again if it has changed, and notes in the store of what kind its keys are.
    fn refresh_keys(&self, libssl: &'static Libssl) {
        self.keys.refresh(libssl);
        if let Some(kind) = self.keys.kind() {
            self.store.set_key_kind(kind);
        }
        self.tell_keys();
    }

    /// Tells the store the ids of the keys, for other hosts, unless it was told these. Costs a
    /// comparison then.
    #[inline]
    fn tell_keys(&self) {
        let generation = self.keys.generation();
        if self.told_keys.load(Relaxed) != generation {
            self.told_keys.store(generation, Relaxed);
            self.keys.with_ids(|epoch, ids| self.store.note_keys(epoch, ids));
        }
    }

    /// Tells the store of a server that shares its sessions there, for other hosts.
    #[cold]
    pub(super) fn tell_service(&self, libssl: &'static Libssl, server: &Server) {
        let _errors = KeepErrors::new(libssl);
        let namespace = short_hash(libssl, config().namespace.as_bytes());
        if let (Some(namespace), Some(names)) = (namespace, server.names) {
            self.store.note_service(Service { namespace, names });
        }
    }
}

/// A context's use of a store.
#[derive(Debug)]
struct StoreUse(&'static HostStore);

impl StoreUse {
    fn new(libssl: &'static Libssl, store: &'static HostStore) -> StoreUse {
        store.users.fetch_add(1, SeqCst);
        store.refresh_keys(libssl);
        if store.store.note_record_format() {
            say(format_args!(
                "{} was last used by another version of sesscache: neither resumes sessions of the \
                 other; restart those of its servers that run the other version",
                Name(&store.url)
            ));
        }
        StoreUse(store)
    }
}

impl Drop for StoreUse {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, SeqCst);
        self.0.let_go_if_unused();
    }
}

/// The host store of a context.
#[derive(Debug)]
pub(super) struct ContextStore {
    /// The store of SESSCACHE_STORE.
    configured: Option<StoreUse>,
    /// The store that the application attached, which goes before that.
    attached: OnceCell<StoreUse>,
}

impl ContextStore {
    /// The store of the configuration, for a context that has just been made. A client has none.
    pub(super) fn new(ctx: Ctx<'_>) -> ContextStore {
        let store = (!ctx.is_client()).then(renewal::configured_store).flatten();
        let configured = store.map(|store| StoreUse::new(ctx.libssl(), store));
        ContextStore { configured, attached: OnceCell::new() }
    }

    /// The store, if there is one.
    #[inline]
    pub(super) fn get(&self) -> Option<&'static HostStore> {
        self.attached.get().or(self.configured.as_ref()).map(|one| one.0)
    }

    /// Uses this store from now on; false if another one was attached before.
    pub(super) fn attach(&self, libssl: &'static Libssl, store: &'static HostStore) -> bool {
        let attached = self.attached.get_or_init(|| StoreUse::new(libssl, store)).0;
        ptr::eq(attached, store) || attached.url == store.url
    }
}

/// Keeps a value until the process ends: contexts refer to it.
fn leak<T>(value: T) -> Result<&'static T, HostError> {
    let mut place = Vec::new();
    place.try_reserve_exact(1).map_err(|_| HostError::NoMemory)?;
    place.push(value);
    place.leak().first().ok_or(HostError::NoMemory)
}

/// The keys that tickets are sealed with, if they are to be ours. Logs a failure once.
pub(super) fn ticket_keys(libssl: &'static Libssl) -> Option<&'static KeyRing> {
    if !config().tickets.is_some_and(TicketMode::needs_key_file) || config().key_file.is_none() {
        return None;
    }
    match configured_keys() {
        Ok(keys) => {
            keys.refresh(libssl);
            // With keys that it cannot use, a handshake would fail.
            algorithms::probe(libssl).is_ok().then_some(keys)
        }
        Err(error) => {
            say(format_args!("tickets are not shared: {error}"));
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
    let sharing = Sharing::Owner;
    let url = StoreUrl { medium: Medium::Memory, size, key_file, sharing };
    if let Ok(store) = Store::open(&url) {
        // Not while it is opened: a fork in between would leave the child waiting. The first of several
        // threads wins.
        let _ = PERMITS.set(store);
    }
}

/// Whether there are any stores: most processes have none, and pay nothing.
static IS_USED: AtomicBool = AtomicBool::new(false);

/// Maps the store of the configuration and reads its key file, if there are any. Called when the
/// library is loaded.
pub fn load() {
    renewal::load();
}

/// Whether any store is in use, or may be.
pub fn is_used() -> bool {
    IS_USED.load(Relaxed)
}

/// A context works as stock, because other processes use its memory. Counts it in the store of the
/// configuration, and logs it once. Only servers of several processes allocate there, also those that
/// use a method which is for clients as well.
pub fn note_shared_memory() {
    static SAID: Once = Once::new();
    log::note_serving();
    SAID.say(
        "this program keeps SSL_CTX objects in memory that its processes share: OpenSSL's own session \
         cache is in use, and no session is shared",
    );
    if let Some(store) = renewal::last_store() {
        store.store.tally(Tally::SharedMemory);
    }
}

/// The store of this URL, opened now if no context uses it yet.
///
/// # Errors
/// [`HostError`].
pub fn attach(url: &str) -> Result<&'static HostStore, HostError> {
    renewal::find_or_open(&StoreUrl::parse(url).map_err(HostError::Url)?)
}

//! Tries again what failed, and takes the file that is in the place of a removed store.
//!
//! A reload makes new contexts. So each new context looks whether its store is in place, and whether a
//! missing one can be had by now. An operator who has mended what a line of the log named needs no
//! restart then.
//!
//! Nothing is tried after the process has changed its user or its root, where a path names another
//! file. After a slow failure nothing is tried for a while.
//!
//! Locks: the list of stores, for the length of a look, or of an opening. A new context waits a moment
//! for it at most.

use super::keys::{KeyRing, KeyRingError};
use super::{HostError, HostStore, IS_USED, leak};
use crate::config::config;
use crate::log::say;
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use sesscache_core::slots::Slots;
use sesscache_core::store::{Medium, StoreUrl};
use sesscache_core::system::process::effective_user;
use std::fmt;
use std::fs;
use std::hint::black_box;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// What gives a path its meaning.
#[derive(Debug, PartialEq, Eq)]
struct Standpoint {
    user: u32,
    /// The device and inode of /, if it can be seen.
    root: Option<(u64, u64)>,
}

impl Standpoint {
    fn now() -> Standpoint {
        let root = fs::metadata("/").ok().map(|root| (root.dev(), root.ino()));
        Standpoint { user: effective_user(), root }
    }
}

/// The standpoint of the process when it first looked for a key file or a store.
fn first_standpoint() -> &'static Standpoint {
    static FIRST: OnceCell<Standpoint> = OnceCell::new();
    FIRST.get_or_init(Standpoint::now)
}

fn is_where_it_was() -> bool {
    *first_standpoint() == Standpoint::now()
}

/// The keys of SESSCACHE_KEY_FILE.
static KEYS: OnceCell<KeyRing> = OnceCell::new();

/// Why there were none at first.
static NO_KEYS: OnceCell<KeyRingError> = OnceCell::new();

/// The keys of SESSCACHE_KEY_FILE, or why there are none.
pub(in crate::context) fn configured_keys() -> Result<&'static KeyRing, KeyRingError> {
    if let Some(keys) = KEYS.get() {
        return Ok(keys);
    }
    match NO_KEYS.get() {
        Some(error) if !is_where_it_was() || !has_memory() => return Err(error.clone()),
        _ => {}
    }
    let read = KeyRing::of_file(config().key_file.clone().unwrap_or_default());
    let keys = read.inspect_err(|error| {
        let _ = NO_KEYS.set(error.clone());
    })?;
    // Not while the file is read: a fork in between would leave the child waiting. The first of
    // several threads wins.
    Ok(KEYS.get_or_init(|| keys))
}

/// Whether there is memory for what a try needs: a lack of it in the middle would end the process.
fn has_memory() -> bool {
    const ENOUGH: usize = 256 << 10;
    let mut memory = Vec::<u8>::new();
    let is_there = memory.try_reserve_exact(ENOUGH).is_ok();
    // Else the compiler leaves the reservation out.
    black_box(&memory);
    is_there
}

/// The longest wait for another thread that opens a store. After a fork at such a moment, the
/// child waits in vain.
const PATIENCE: Duration = Duration::from_millis(100);

/// All stores: of a URL there is one that new contexts use.
static STORES: Mutex<Stores> =
    Mutex::new(Stores { list: Vec::new(), replaced: Vec::new(), next_try: None });

struct Stores {
    list: Vec<&'static HostStore>,
    /// Those that were replaced. Contexts may use them until the process ends, so they are kept, where a
    /// checker of leaks finds them.
    replaced: Vec<&'static HostStore>,
    /// Nothing is tried again before.
    next_try: Option<Instant>,
}

/// The store of SESSCACHE_STORE as a new context last found it.
static CONFIGURED: OnceCell<Slots<Option<&'static HostStore>>> = OnceCell::new();

/// Why there was none when the library was loaded.
static NO_STORE: OnceCell<HostError> = OnceCell::new();

/// Whether a line said why there is no store.
static IS_SAID: AtomicBool = AtomicBool::new(false);

/// Reads the key file of the configuration and maps its store, if there are any.
pub(super) fn load() {
    if config().key_file.is_some() || config().store.is_some() {
        first_standpoint();
    }
    if config().key_file.is_some() {
        // A failure is remembered there.
        let _ = configured_keys();
    }
    if let Some(url) = &config().store {
        let found = STORES.lock().current(url);
        let store = found.map_err(|error| NO_STORE.set(error)).ok();
        CONFIGURED.get_or_init(|| Slots::new(store));
    }
}

/// The store of this URL, opened now if no context uses it yet.
pub(super) fn find_or_open(url: &StoreUrl) -> Result<&'static HostStore, HostError> {
    first_standpoint();
    let mut stores = STORES.lock();
    stores.current(url).and_then(|store| store.begin().map(|()| store))
}

/// Calls `look` with each store, also those that others have replaced.
pub(in crate::context) fn each_store(look: impl FnMut(&'static HostStore)) {
    let Some(stores) = STORES.try_lock_for(PATIENCE) else { return };
    stores.list.iter().chain(&stores.replaced).copied().for_each(look);
}

/// The store of SESSCACHE_STORE as a new context last found it.
pub(super) fn last_store() -> Option<&'static HostStore> {
    CONFIGURED.get()?.using(|store| *store).ok().flatten()
}

/// The store of SESSCACHE_STORE for a new context. Says why there is none.
pub(super) fn configured_store() -> Option<&'static HostStore> {
    let (url, configured) = config().store.as_ref().zip(CONFIGURED.get())?;
    let last = last_store();
    let Some(mut stores) = STORES.try_lock_for(PATIENCE) else { return last };
    if last.is_none() && !stores.may_try() {
        NO_STORE.get().inspect(|error| say_failure(url, error));
        return None;
    }
    let found = stores.current(url).and_then(|store| store.begin().map(|()| store));
    let found = found.inspect_err(|error| say_failure(url, error)).ok()?;
    if last.is_none() && IS_SAID.load(Relaxed) {
        say(format_args!("sessions are shared from now on: {}", Name(url)));
    }
    configured.update(|| Some(Some(found)));
    Some(found)
}

fn say_failure(url: &StoreUrl, error: &HostError) {
    IS_SAID.store(true, Relaxed);
    match url.medium {
        Medium::File(_) => say(format_args!("no session is shared: {}: {error}", Name(url))),
        Medium::Memory => say(format_args!("no session is shared: {error}")),
    }
}

/// A store's path.
pub(super) struct Name<'a>(pub(super) &'a StoreUrl);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.medium {
            Medium::File(path) => write!(f, "{}", path.display()),
            Medium::Memory => f.write_str("shm:"),
        }
    }
}

impl Stores {
    /// The store of this URL that new contexts use.
    fn current(&mut self, url: &StoreUrl) -> Result<&'static HostStore, HostError> {
        let place = self.list.iter().position(|store| store.url == *url);
        if let Some(place) = place
            && let Some(known) = self.list.get(place).copied()
        {
            let new = self.replacement(known);
            if let Some((new, kept)) = new.zip(self.list.get_mut(place)) {
                *kept = new;
                known.retire();
                self.replaced.push(known);
            }
            return Ok(new.unwrap_or(known));
        }
        self.list.try_reserve(1).map_err(|_| HostError::NoMemory)?;
        let store = self.open(url, None)?;
        self.list.push(store);
        IS_USED.store(true, Relaxed);
        Ok(store)
    }

    fn may_try(&self) -> bool {
        let is_due = self.next_try.is_none_or(|next| Instant::now() >= next);
        is_due && is_where_it_was() && has_memory()
    }

    fn open(
        &mut self,
        url: &StoreUrl,
        before: Option<&HostStore>,
    ) -> Result<&'static HostStore, HostError> {
        /// A failure that takes longer is slow: a lock that is held, or a slow disk.
        const SLOW: Duration = Duration::from_millis(100);
        /// Slow failures may take so small a part of the time.
        const PART: u32 = 20;
        let began = Instant::now();
        // Never freed: a context may use it until the process ends.
        let result = HostStore::open(url.clone(), before).and_then(leak);
        let took = began.elapsed();
        self.next_try = (result.is_err() && took > SLOW).then(|| Instant::now() + PART * took);
        result
    }

    /// The store that takes the place of this one, if its file was removed or replaced.
    fn replacement(&mut self, known: &HostStore) -> Option<&'static HostStore> {
        let url = &known.url;
        if known.store.is_in_place(&url.medium) || !self.may_try() {
            return None;
        }
        self.replaced.try_reserve(1).ok()?;
        let opened = self.open(url, Some(known)).inspect_err(|error| {
            say(format_args!(
                "{} was removed or replaced, and its old memory stays in use: {error}",
                Name(url)
            ));
        });
        let new = opened.ok()?;
        say(format_args!(
            "{} was removed or replaced: what was loaded before keeps the old store, and shares \
             nothing with the new one",
            Name(url)
        ));
        Some(new)
    }
}

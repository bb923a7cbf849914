//! One [`State`] per SSL_CTX: what the application set, and the cache it believes OpenSSL to keep.
//!
//! Holds the rules of the contract (`session`, `lookup`, `sharing`) and the settings and counters
//! they depend on. Safe code: C is behind the `openssl` layer. Settings are atomics, read when the
//! event happens; the one mutex guards the list for SSL_CTX_sessions() and no callback runs under it.

mod census;
pub mod host;
mod keys;
mod lookup;
mod names;
mod session;
mod sharing;
mod tickets;

use crate::config::{NewCbZero, config};
use crate::openssl::callback::Slot;
use crate::openssl::constants::SSL_CTRL_GET_SESS_CACHE_MODE;
use crate::openssl::handle::{Ctx, Session};
use crate::openssl::identity::Identity;
use crate::openssl::lhash::SessionTable;
use crate::openssl::next::{GenerateCb, GetCb, Lhash, NewCb, Next, RemoveCb};
use census::Counted;
use host::HostStore;
use libc::c_long;
use names::Names;
use once_cell::sync::OnceCell;
use openssl_sys::{
    SSL_CTRL_GET_SESS_CACHE_SIZE, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_CTRL_SET_SESS_CACHE_SIZE,
    SSL_SESS_CACHE_BOTH, SSL_SESS_CACHE_NO_AUTO_CLEAR, SSL_SESS_CACHE_NO_INTERNAL,
};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use sesscache_core::cache::Cache;
use std::hint::spin_loop;
use std::ptr;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use tickets::Tickets;

pub use names::Current;
pub use session::{is_in_stock, lifetime_shortened, while_closing};

/// What we keep for one SSL_CTX.
#[derive(Debug)]
pub struct State {
    cache: Cache<Session>,
    /// The application's SSL_SESS_CACHE_… bits; stock has some of them, see [`State::set_mode`].
    mode: AtomicU32,
    /// The application's new_session_cb.
    pub new_cb: Slot<NewCb>,
    /// The application's remove_session_cb.
    pub remove_cb: Slot<RemoveCb>,
    /// The application's get_session_cb.
    pub get_cb: Slot<GetCb>,
    /// The application's session id generator, the last that was not NULL.
    pub generate_cb: Slot<GenerateCb>,
    new_cb_zero: NewCbZero,
    /// Lookups that found nothing in the internal cache; wraps as stock's int does.
    misses: AtomicU32,
    /// Sessions that get_cb provided.
    cb_hits: AtomicU32,
    /// Sessions evicted because the cache was full.
    cache_full: AtomicU32,
    /// Set when our own code panicked: from then on nothing is cached here.
    broken: AtomicBool,
    /// [`session::lifetime_shortened`] calls that the last walk over the cache has seen.
    shortened_seen: AtomicU64,
    table: Mutex<Option<SessionTable>>,
    /// The host store of the configuration.
    configured: Option<&'static HostStore>,
    /// The host store that the application attached, which goes before that.
    attached: OnceCell<&'static HostStore>,
    /// The keys of stateless tickets, if they follow from the key file.
    tickets: Option<Tickets>,
    /// The application has set its own.
    tickets_given_up: AtomicBool,
    /// Who the server is: asked for without waiting, see `sharing`.
    identity: RwLock<Option<Identity>>,
    names: Names,
    counted: Counted,
}

impl State {
    /// The state of a context that has just been made: stock's defaults, nothing cached.
    pub fn new(next: &Next, ctx: Ctx<'_>) -> State {
        let mode = ctx.stock_ctrl(next, SSL_CTRL_GET_SESS_CACHE_MODE, 0);
        let size = ctx.stock_ctrl(next, SSL_CTRL_GET_SESS_CACHE_SIZE, 0);
        State {
            cache: Cache::new(usize::try_from(size).unwrap_or(0), config().cpus),
            mode: AtomicU32::new(bits(mode)),
            new_cb: Slot::new(),
            remove_cb: Slot::new(),
            get_cb: Slot::new(),
            generate_cb: Slot::new(),
            new_cb_zero: config().new_cb_zero,
            misses: AtomicU32::new(0),
            cb_hits: AtomicU32::new(0),
            cache_full: AtomicU32::new(0),
            broken: AtomicBool::new(false),
            shortened_seen: AtomicU64::new(session::shortened()),
            table: Mutex::new(None),
            configured: host::configured().inspect(|store| store.keys.refresh(next)),
            tickets: host::ticket_keys(next).and_then(Tickets::new),
            tickets_given_up: AtomicBool::new(false),
            attached: OnceCell::new(),
            identity: RwLock::new(None),
            names: Names::default(),
            counted: Counted::new(!ctx.is_client(next)),
        }
    }

    /// The host store, if there is one.
    #[inline]
    pub fn host(&self) -> Option<&'static HostStore> {
        self.attached.get().copied().or(self.configured)
    }

    /// Uses this host store; false if another one was attached before.
    pub fn attach(&self, next: &Next, store: &'static HostStore) -> bool {
        store.keys.refresh(next);
        ptr::eq(*self.attached.get_or_init(|| store), store)
    }

    /// Makes stock tell us everything and cache nothing: its mode, and no limit on the sessions
    /// that are planted there for a moment. Takes over what stock has set already.
    pub fn adopt(&self, next: &Next, ctx: Ctx<'_>) {
        self.apply_mode(next, ctx);
        ctx.stock_ctrl(next, SSL_CTRL_SET_SESS_CACHE_SIZE, 0);
        // A configuration file of OpenSSL may have set it.
        self.note_verify_mode(next, ctx);
    }

    /// The cache, unless our code has failed in this context.
    fn cache(&self) -> Option<&Cache<Session>> {
        (!self.is_broken()).then_some(&self.cache)
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    /// Gives up caching in this context, after a panic.
    pub fn give_up(&self) {
        self.broken.store(true, Relaxed);
    }

    /// The application's mode bits.
    #[inline]
    pub fn mode(&self) -> c_long {
        c_long::from(self.mode.load(Relaxed))
    }

    fn has(&self, bits: c_long) -> bool {
        self.mode() & bits != 0
    }

    /// SSL_CTX_set_session_cache_mode(3): returns the mode before.
    pub fn set_mode(&self, next: &Next, ctx: Ctx<'_>, mode: c_long) -> c_long {
        let before = self.mode.swap(bits(mode), AcqRel);
        self.apply_mode(next, ctx);
        c_long::from(before)
    }

    /// Gives stock the application's sides (they decide whether ids are issued and our new hook is
    /// called) and nothing to cache. Goes on until stock has the mode that is set last, if several
    /// threads set one.
    fn apply_mode(&self, next: &Next, ctx: Ctx<'_>) {
        loop {
            let mode = c_long::from(self.mode.load(Acquire));
            let ours = SSL_SESS_CACHE_NO_INTERNAL | SSL_SESS_CACHE_NO_AUTO_CLEAR;
            let stock = mode & SSL_SESS_CACHE_BOTH | ours;
            ctx.stock_ctrl(next, SSL_CTRL_SET_SESS_CACHE_MODE, stock);
            if c_long::from(self.mode.load(Acquire)) == mode {
                return;
            }
        }
    }

    /// SSL_CTX_sess_get_cache_size(3).
    pub fn cache_size(&self) -> c_long {
        long(self.cache.capacity())
    }

    /// SSL_CTX_sess_set_cache_size(3): returns the size before; a negative one is ignored.
    pub fn set_cache_size(&self, size: c_long) -> c_long {
        usize::try_from(size).map_or(0, |size| long(self.cache.set_capacity(size)))
    }

    /// SSL_CTX_sess_number(3).
    pub fn number(&self) -> c_long {
        long(self.cache.len())
    }

    /// SSL_CTX_sess_misses(3) of a server; stock counts those of a client.
    pub fn misses(&self) -> c_long {
        int(&self.misses)
    }

    /// SSL_CTX_sess_cb_hits(3).
    pub fn cb_hits(&self) -> c_long {
        int(&self.cb_hits)
    }

    /// SSL_CTX_sess_cache_full(3).
    pub fn cache_full(&self) -> c_long {
        int(&self.cache_full)
    }

    /// SSL_CTX_sessions(3): a table of what is cached now; `None` without memory. It is good until
    /// the next call or until the context goes.
    pub fn sessions(&self) -> Option<*mut Lhash> {
        let cached = self.cache().map(Cache::snapshot).unwrap_or_default();
        let mut table = self.table.lock();
        if table.is_none() {
            *table = SessionTable::new();
        }
        let listed = table.as_mut()?;
        let before = listed.fill(cached);
        let lhash = listed.as_ptr();
        drop(table);
        drop(before);
        Some(lhash)
    }
}

/// Reads what is locked for the length of a copy only. Not for ever: a fork may have left the lock
/// held.
fn read_soon<T>(lock: &RwLock<T>) -> Option<RwLockReadGuard<'_, T>> {
    const TRIES: u32 = 10_000;
    (0..TRIES).find_map(|_| {
        spin_loop();
        lock.try_read()
    })
}

/// Mode bits as stock keeps them (uint32_t).
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as stock does")]
fn bits(mode: c_long) -> u32 {
    mode as u32
}

fn long(count: usize) -> c_long {
    c_long::try_from(count).unwrap_or(c_long::MAX)
}

/// A counter as SSL_CTX_ctrl returns it: an int.
fn int(counter: &AtomicU32) -> c_long {
    c_long::from(counter.load(Relaxed).cast_signed())
}

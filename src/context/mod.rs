//! A [`State`] per SSL_CTX: the application's settings, and the cache that it believes OpenSSL
//! keeps.
//!
//! Holds the settings and counters on which the rules of the contract depend; the rules are in
//! `life`, `lookup`, `verdict`, `admission`, `sharing` and `tickets`. Safe code: C is behind the `openssl` layer.
//! Settings are atomics, read when the event happens. No callback runs under a lock.

mod admission;
mod application;
mod beginning;
mod early_data;
mod ending;
mod event;
pub mod host;
mod keyed;
mod life;
mod lock;
mod lookup;
mod notes;
mod origin;
mod policy;
mod renewal;
mod resting;
mod returning;
mod sharing;
mod thread;
mod tickets;
mod verdict;
mod verified;

use crate::config::{NewCbZero, TicketMode, config};
use crate::openssl::boxed;
use crate::openssl::callback::Callback;
use crate::openssl::constants::SSL_CTRL_GET_SESS_CACHE_MODE;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::failed::Failed;
use crate::openssl::generator::Generator;
use crate::openssl::handle::Ctx;
use crate::openssl::kept::{Form, Kept};
use crate::openssl::lhash::SessionTable;
use crate::openssl::table::Libssl;
use crate::openssl::types::{GenerateCb, GetCb, Lhash, NewCb, RemoveCb};
use host::{ContextStore, HostStore};
use libc::c_long;
use openssl_sys::{
    SSL_CTRL_GET_SESS_CACHE_SIZE, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_CTRL_SET_SESS_CACHE_SIZE,
    SSL_SESS_CACHE_BOTH, SSL_SESS_CACHE_NO_AUTO_CLEAR, SSL_SESS_CACHE_NO_INTERNAL,
    SSL_SESS_CACHE_OFF,
};
use resting::HotSet;
use sesscache_core::cache::Cache;
use sesscache_core::store::Tally;
use sesscache_core::system::process::random_bytes;
use sesscache_core::system::seed;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Mutex, PoisonError};
use tickets::TicketKeys;
use verified::Verified;

pub use application::{Application, IdContext, OwnIdContext, OwnTicketKeys, SharedKeys};
pub use beginning::Begun;
pub use ending::lifetime_changed;
pub use event::{Current, Event, Facts};
pub use life::while_closing;
pub use lookup::Reply;
pub use notes::{let_go as let_notes_go, take_indexes as take_note_indexes};
pub use policy::VirtualHost;
pub use renewal::PendingRenewal;
pub use thread::{forget_servername, in_servername, is_in_stock, is_making, while_making};
pub use tickets::TicketVerdict;

/// Our state of an SSL_CTX.
#[derive(Debug)]
pub struct State {
    cache: Cache<Kept>,
    /// The application's SSL_SESS_CACHE_… bits; stock has some of them, see [`State::set_mode`].
    mode: AtomicU32,
    /// The application's new_session_cb.
    new_cb: Callback<NewCb>,
    /// The application's remove_session_cb.
    remove_cb: Callback<RemoveCb>,
    /// The application's get_session_cb.
    get_cb: Callback<GetCb>,
    /// The application's session id generator, the last that was not NULL.
    generate_cb: Callback<GenerateCb>,
    new_cb_zero: NewCbZero,
    /// Lookups that found nothing in the internal cache; wraps as stock's int does.
    misses: AtomicU32,
    /// Sessions that get_cb provided.
    cb_hits: AtomicU32,
    /// Sessions evicted because the cache was full.
    cache_full: AtomicU32,
    /// Set when our own code panicked: from then on nothing is cached here.
    broken: AtomicBool,
    /// False; true once the application has looked into the cache, or added a session itself.
    is_known: AtomicBool,
    /// [`lifetime_shortened`] calls that the last walk over the cache has seen.
    shortened_seen: AtomicU32,
    /// The table that SSL_CTX_sessions(3) returned last.
    table: Mutex<Option<Box<SessionTable>>>,
    store: ContextStore,
    /// The start of the namespace of which the store was told; 0 before.
    told_server: AtomicU64,
    /// The keys of stateless tickets, if they follow from the key file.
    tickets: Option<Box<TicketKeys>>,
    virtual_host: VirtualHost,
    application: Application,
    /// Names the sessions in the store that this context has made, and has not flushed.
    record_number: AtomicU64,
    /// The era of the last flush of ours: what is cached came later.
    flushed_era: AtomicU64,
    /// Clients whose certificates were verified a moment ago.
    verified: Verified,
    /// Which sessions of the cache are live.
    hot: HotSet,
}

impl State {
    /// The state of a context that has just been made: stock's defaults, nothing cached.
    pub fn new(ctx: Ctx<'_>) -> State {
        let mode = ctx.stock_ctrl(SSL_CTRL_GET_SESS_CACHE_MODE, 0);
        let size = ctx.stock_ctrl(SSL_CTRL_GET_SESS_CACHE_SIZE, 0);
        // From here on, nothing that a handshake needs asks the kernel for randomness.
        seed::draw();
        let number = random_number();
        let store = ContextStore::new(ctx);
        let tickets =
            host::ticket_keys(ctx.libssl()).and_then(TicketKeys::new).and_then(boxed::try_new);
        if tickets.is_some() && store.get().is_none() && !ctx.is_client() {
            host::make_permits();
        }
        State {
            cache: Cache::new(usize::try_from(size).unwrap_or(0), config().cpus),
            mode: AtomicU32::new(bits(mode)),
            new_cb: Callback::new(),
            remove_cb: Callback::new(),
            get_cb: Callback::new(),
            generate_cb: Callback::new(),
            new_cb_zero: config().new_cb_zero,
            misses: AtomicU32::new(0),
            cb_hits: AtomicU32::new(0),
            cache_full: AtomicU32::new(0),
            broken: AtomicBool::new(false),
            is_known: AtomicBool::new(false),
            shortened_seen: AtomicU32::new(life::shortened()),
            table: Mutex::new(None),
            store,
            told_server: AtomicU64::new(0),
            tickets,
            virtual_host: VirtualHost::new(ctx, number),
            application: Application::default(),
            record_number: AtomicU64::new(number),
            flushed_era: AtomicU64::new(0),
            verified: Verified::default(),
            hot: HotSet::default(),
        }
    }

    /// The settings of the application that libssl does not tell.
    #[inline]
    pub fn application(&self) -> &Application {
        &self.application
    }

    /// Where the application's new_session_cb is kept.
    pub fn new_cb(&self) -> &Callback<NewCb> {
        &self.new_cb
    }

    /// Where the application's remove_session_cb is kept.
    pub fn remove_cb(&self) -> &Callback<RemoveCb> {
        &self.remove_cb
    }

    /// Where the application's get_session_cb is kept.
    pub fn get_cb(&self) -> &Callback<GetCb> {
        &self.get_cb
    }

    /// Where the application's session id generator is kept, the last that was not NULL.
    pub fn generate_cb(&self) -> &Callback<GenerateCb> {
        &self.generate_cb
    }

    /// The context as a virtual host.
    #[inline]
    pub fn virtual_host(&self) -> &VirtualHost {
        &self.virtual_host
    }

    /// The host store, if there is one.
    #[inline]
    pub fn host_store(&self) -> Option<&'static HostStore> {
        self.store.get()
    }

    /// Whether other processes may resume what this context makes.
    pub fn may_share(&self) -> bool {
        self.host_store().is_some() || self.tickets.is_some()
    }

    /// Uses this host store; false if another one was attached before.
    pub fn attach(&self, ctx: Ctx<'_>, store: &'static HostStore) -> bool {
        self.store.attach(ctx.libssl(), store)
    }

    /// Whether tickets are sealed with our keys.
    pub fn shares_tickets(&self) -> bool {
        self.tickets.as_ref().is_some_and(|keys| keys.are_in_use())
    }

    /// Whether our keys are used also where the application has some of its own, which then open what
    /// they have sealed.
    pub fn overrides_tickets(&self) -> bool {
        self.tickets.is_some() && config().tickets == Some(TicketMode::Override)
    }

    /// The application has ticket keys of its own; true if ours were used before, and are no more.
    pub fn give_up_tickets(&self) -> bool {
        if self.overrides_tickets() || !self.tickets.as_ref().is_some_and(|keys| keys.give_up()) {
            return false;
        }
        if let Some(host) = self.host_store() {
            host.store.tally(Tally::ApplicationTicketKeys);
        }
        true
    }

    /// Makes stock tell us everything and cache nothing: its mode, and no limit on the sessions
    /// that are planted there for a moment. Takes over stock's settings of now.
    pub fn adopt(&self, ctx: Ctx<'_>) {
        self.apply_mode(ctx);
        ctx.stock_ctrl(SSL_CTRL_SET_SESS_CACHE_SIZE, 0);
        // A configuration file of OpenSSL may have set it.
        self.virtual_host.note_verify_mode(ctx);
    }

    fn flushed_era(&self) -> u64 {
        self.flushed_era.load(Relaxed)
    }

    fn record_number(&self) -> u64 {
        self.record_number.load(Relaxed)
    }

    /// The application has flushed sessions before their end. Those in the store are from now on as
    /// if another context had made them.
    fn renew_record_number(&self, libssl: &'static Libssl) {
        let _errors = KeepErrors::new(libssl);
        let mut number = [0; 8];
        // libcrypto's generator, as in a handshake: a sandbox may forbid the system's by now.
        let drawn = self.generator(libssl).fill(&mut number);
        let number = drawn.map_or(0, |()| u64::from_ne_bytes(number));
        self.record_number.store(number, Relaxed);
    }

    /// The generator that handshakes of this context draw from.
    pub fn generator(&self, libssl: &'static Libssl) -> Generator {
        Generator::new(libssl, self.application.library_context())
    }

    /// The cache, unless our code has failed in this context.
    fn cache(&self) -> Option<&Cache<Kept>> {
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
    pub fn set_mode(&self, ctx: Ctx<'_>, mode: c_long) -> c_long {
        let before = self.mode.swap(bits(mode), AcqRel);
        self.apply_mode(ctx);
        c_long::from(before)
    }

    /// Sets the application's remove_session_cb, which gets an object for each session that leaves.
    pub fn set_remove_cb(&self, libssl: &'static Libssl, remove_cb: Option<RemoveCb>) {
        self.remove_cb.set(remove_cb);
        if remove_cb.is_some() {
            self.wake_all(libssl);
        }
    }

    /// Sets the application's get_session_cb.
    pub fn set_get_cb(&self, ctx: Ctx<'_>, get_cb: Option<GetCb>) {
        self.get_cb.set(get_cb);
        self.follow_off(ctx);
    }

    /// Gives stock the application's sides (they decide whether ids are issued and our new hook is
    /// called) and nothing to cache. Goes on until stock has the mode that is set last, if several
    /// threads set one.
    fn apply_mode(&self, ctx: Ctx<'_>) {
        loop {
            let mode = c_long::from(self.mode.load(Acquire));
            ctx.stock_ctrl(SSL_CTRL_SET_SESS_CACHE_MODE, self.stock_mode(mode));
            if c_long::from(self.mode.load(Acquire)) == mode {
                return;
            }
        }
    }

    /// The mode that stock gets for one of the application's. OFF stays OFF where our get hook has
    /// nothing that stock would cache: libssl after 4.0 compares the mode with OFF, and issues no
    /// ticket then if the application wants none (SSL_OP_NO_TICKET, openssl e5a18924e261).
    fn stock_mode(&self, mode: c_long) -> c_long {
        let finds_nothing = self.get_cb.get().is_none() && self.cache.is_empty();
        if mode == SSL_SESS_CACHE_OFF && finds_nothing {
            return SSL_SESS_CACHE_OFF;
        }
        mode & SSL_SESS_CACHE_BOTH | SSL_SESS_CACHE_NO_INTERNAL | SSL_SESS_CACHE_NO_AUTO_CLEAR
    }

    /// With OFF the get hook has something new, or nothing any more.
    fn follow_off(&self, ctx: Ctx<'_>) {
        if self.mode() == SSL_SESS_CACHE_OFF {
            self.apply_mode(ctx);
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

    /// SSL_CTX_sessions(3): a table of the sessions that are cached now. It is good until the next
    /// call or until the context goes.
    pub fn sessions(&self, libssl: &'static Libssl) -> Result<*mut Lhash, Failed> {
        self.note_known();
        self.wake_all(libssl);
        let is_live = |kept: &Kept| !kept.is_packed();
        let cached = self.cache().map(|cache| cache.snapshot(is_live)).unwrap_or_default();
        let live = |(_, kept): (_, Kept)| match kept.into_form() {
            Form::Live(session) => Some(session),
            Form::Packed(_) => None,
        };
        let cached = cached.into_iter().filter_map(live).collect();
        // std's lock, for the reason that `core::sync` gives.
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.is_none() {
            *table = boxed::try_new(SessionTable::new()?);
        }
        let listed = table.as_mut().ok_or(Failed::NoMemory)?;
        let before = listed.fill(cached);
        let lhash = listed.as_ptr();
        drop(table);
        drop(before);
        Ok(lhash)
    }
}

/// Mode bits as stock keeps them (uint32_t).
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as stock does")]
fn bits(mode: c_long) -> u32 {
    mode as u32
}

/// 0 without randomness.
fn random_number() -> u64 {
    let mut number = [0; 8];
    if random_bytes(&mut number) { u64::from_ne_bytes(number) } else { 0 }
}

fn long(count: usize) -> c_long {
    c_long::try_from(count).unwrap_or(c_long::MAX)
}

/// A counter as SSL_CTX_ctrl returns it: an int.
fn int(counter: &AtomicU32) -> c_long {
    c_long::from(counter.load(Relaxed).cast_signed())
}

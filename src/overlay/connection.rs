//! Facts about a connection that OpenSSL does not tell, attached to it in an ex_data slot.
//!
//! A connection has nothing attached if it is never switched to another context, has no session id
//! generator, id context, rules for certificates or callback for shared keys or early data of its own,
//! no shared key is told on it, and it does not resume by a ticket of TLS 1.2. No locks here.

use super::guard::guard;
use crate::context::{OwnIdContext, PendingRenewal, SharedKeys};
use crate::openssl::callback::Callback;
use crate::openssl::early_data::EarlyDataCallbacks;
use crate::openssl::ex_data::{self, CLASS_SSL, Index};
use crate::openssl::handle::{Ctx, Ssl};
use crate::openssl::memory;
use crate::openssl::table::Libssl;
use crate::openssl::types::{GenerateCb, SessionSecretCb};
use libc::{c_int, c_long, c_void};
use openssl_sys::{CRYPTO_EX_DATA, SSL_CTX};
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicPtr};

/// Where a connection's [`Connection`] is, if it needs one.
static SSL_INDEX: Index = Index::new();

/// The facts about one connection.
#[derive(Debug)]
pub struct Connection {
    /// The context it started with, set when it is switched to another (no public getter returns
    /// it). The connection holds a reference to it as long as it lives. NULL: not switched.
    session_ctx: AtomicPtr<SSL_CTX>,
    /// Whether a ClientHello callback has switched it.
    was_switched: AtomicBool,
    /// The application's SSL_set_generate_session_id(3).
    generate_cb: Callback<GenerateCb>,
    /// SSL_set_session_id_context(3).
    id_context: OwnIdContext,
    /// Whether the application has set rules for certificates on the connection, or has a pointer to
    /// them: SSL_set_purpose(3), SSL_set1_param(3). From then on, until it goes.
    has_own_rules: AtomicBool,
    /// The application's callbacks for shared keys.
    shared_keys: SharedKeys,
    /// The application's SSL_set_session_secret_cb.
    session_secret_cb: Callback<SessionSecretCb>,
    /// Whether one of these, or of its context's, has told a key.
    used_shared_key: AtomicBool,
    /// A ticket of TLS 1.2 that is about to be replaced.
    pending_renewal: PendingRenewal,
    /// SSL_set_allow_early_data_cb(3).
    early_data: EarlyDataCallbacks,
}

impl Connection {
    fn new() -> Connection {
        Connection {
            session_ctx: AtomicPtr::new(ptr::null_mut()),
            was_switched: AtomicBool::new(false),
            generate_cb: Callback::new(),
            id_context: OwnIdContext::default(),
            has_own_rules: AtomicBool::new(false),
            shared_keys: SharedKeys::default(),
            session_secret_cb: Callback::new(),
            used_shared_key: AtomicBool::new(false),
            pending_renewal: PendingRenewal::default(),
            early_data: EarlyDataCallbacks::default(),
        }
    }

    /// The context whose cache counts.
    pub(super) fn session_ctx<'a>(&self, ssl: Ssl<'a>) -> Option<Ctx<'a>> {
        // SAFETY: NULL or a context that lives as long as the connection.
        unsafe { Ctx::borrow(ssl.libssl(), self.session_ctx.load(Relaxed)) }.or_else(|| ssl.ctx())
    }

    /// Notes the context that the connection started with, unless it was noted before.
    pub(super) fn note_start(&self, ctx: Ctx<'_>) {
        if self.session_ctx.load(Relaxed).is_null() {
            self.session_ctx.store(ctx.as_ptr(), Relaxed);
        }
    }

    /// Whether a ClientHello callback has switched it.
    pub(super) fn was_switched(&self) -> bool {
        self.was_switched.load(Relaxed)
    }

    /// Sets whether a ClientHello callback has switched it.
    pub(super) fn set_was_switched(&self, was_switched: bool) {
        self.was_switched.store(was_switched, Relaxed);
    }

    /// Where the application's generator of session ids is kept.
    pub(super) fn generate_cb(&self) -> &Callback<GenerateCb> {
        &self.generate_cb
    }

    /// The connection's own session id context.
    pub(super) fn id_context(&self) -> &OwnIdContext {
        &self.id_context
    }

    /// Where the application's own callbacks for shared keys are kept.
    pub(super) fn shared_keys(&self) -> &SharedKeys {
        &self.shared_keys
    }

    /// Where the application's callback that knows a session's secret is kept.
    pub(super) fn session_secret_cb(&self) -> &Callback<SessionSecretCb> {
        &self.session_secret_cb
    }

    /// Whether the application has told a shared key since the last SSL_clear(3).
    pub(super) fn used_shared_key(&self) -> bool {
        self.used_shared_key.load(Relaxed)
    }

    /// Where the application's own callback that allows early data is kept.
    pub(super) fn early_data(&self) -> &EarlyDataCallbacks {
        &self.early_data
    }

    /// Where the trailer of a ticket is kept that is about to be replaced.
    pub(super) fn pending_renewal(&self) -> &PendingRenewal {
        &self.pending_renewal
    }

    /// Sets whether the application has told a shared key.
    pub(super) fn set_used_shared_key(&self, used: bool) {
        self.used_shared_key.store(used, Relaxed);
    }
}

/// The facts attached to a connection; `None` if it has none.
#[inline]
pub(super) fn of(ssl: Ssl<'_>) -> Option<&Connection> {
    let connection = ex_data::of_ssl::<Connection>(ssl, SSL_INDEX.get()?)?;
    // SAFETY: the slot holds what `attach` put there until the connection goes.
    Some(unsafe { connection.as_ref() })
}

/// The facts attached to a connection, attached now if it has none. `None` without memory, and
/// where connections are not ours to attach to, or other processes use their memory.
pub(super) fn attach(ssl: Ssl<'_>) -> Option<&Connection> {
    if let Some(connection) = of(ssl) {
        return Some(connection);
    }
    if !ssl.libssl().is_supported || memory::may_be_shared(ssl.libssl()) {
        return None;
    }
    let index = take_index(ssl.libssl())?;
    let made = ex_data::try_box(Connection::new())?;
    if ex_data::set_of_ssl(ssl, index, made.as_ptr()) {
        return of(ssl);
    }
    // SAFETY: made above and given to nobody.
    unsafe { ex_data::free_box(made) };
    None
}

/// Whether some connection has rules of its own, and no memory to note it: then each may.
static SOME_HAVE_OWN_RULES: AtomicBool = AtomicBool::new(false);

/// Notes that a connection's rules for certificates may be any from now on.
pub(super) fn note_own_rules(ssl: Ssl<'_>) {
    let noted = attach(ssl).map_or(&SOME_HAVE_OWN_RULES, |connection| &connection.has_own_rules);
    noted.store(true, Relaxed);
}

/// Whether the rules of the connection to which this is attached may be any.
#[inline]
pub(super) fn has_own_rules(attached: Option<&Connection>) -> bool {
    attached.is_some_and(|attached| attached.has_own_rules.load(Relaxed))
        || SOME_HAVE_OWN_RULES.load(Relaxed)
}

/// Takes our index on SSL, if it was not taken; see `lifecycle::CRYPTO_get_ex_new_index`.
pub(super) fn take_index(libssl: &'static Libssl) -> Option<c_int> {
    SSL_INDEX.take(libssl, CLASS_SSL, Some(duplicate), free)
}

unsafe extern "C-unwind" fn free(
    _ssl: *mut c_void,
    connection: *mut c_void,
    _ad: *mut CRYPTO_EX_DATA,
    _index: c_int,
    _argl: c_long,
    _argp: *mut c_void,
) {
    if let Some(connection) = NonNull::new(connection.cast::<Connection>()) {
        // SAFETY: made by `attach`; OpenSSL calls this once for a connection.
        guard((), || unsafe { ex_data::free_box(connection) });
    }
}

/// SSL_dup(3) makes a connection that starts with the context its original has now, and copies the
/// stock generator, which is our wrapper, the session id context and the rules for certificates. So
/// facts about these are carried over, and nothing else: the callbacks for shared keys are those of
/// the context.
unsafe extern "C" fn duplicate(
    to: *mut CRYPTO_EX_DATA,
    _from: *const CRYPTO_EX_DATA,
    from_d: *mut *mut c_void,
    index: c_int,
    _argl: c_long,
    _argp: *mut c_void,
) -> c_int {
    guard(0, || {
        // SAFETY: CRYPTO_dup_ex_data passes the address of its copy of the slot's value.
        let Some(slot) = (unsafe { from_d.as_mut() }) else { return 0 };
        let original = NonNull::new(slot.cast::<Connection>());
        // SAFETY: the new connection's data, and our index. Debian's SSL_dup has called our
        // SSL_set_session_id_context, which may have attached something.
        let attached = unsafe { ex_data::of_data::<Connection>(to, index) };
        *slot = attached.map_or(ptr::null_mut(), |attached| attached.as_ptr().cast());
        let Some(original) = original else { return 1 };
        // SAFETY: the original's value, made by `attach`.
        let original = unsafe { original.as_ref() };
        let (generate_cb, id_context) = (original.generate_cb.get(), original.id_context.get());
        let has_own_rules = original.has_own_rules.load(Relaxed);
        if generate_cb.is_some() || id_context.is_some() || has_own_rules {
            let made = attached.or_else(|| ex_data::try_box(Connection::new()));
            let Some(made) = made else { return 0 };
            // SAFETY: made above or by `attach`.
            let copy = unsafe { made.as_ref() };
            copy.generate_cb.set(generate_cb);
            copy.id_context.set(id_context);
            copy.has_own_rules.store(has_own_rules, Relaxed);
            *slot = made.as_ptr().cast();
        }
        1
    })
}

//! Contexts and connections: what is attached to them, when, and how it goes.

use super::guard::guard;
use super::{hooks, state, tickets};
use crate::context::State;
use crate::openssl::callback::Slot;
use crate::openssl::codec::take_mark_index;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::ex_data::{self, CLASS_SSL, CLASS_SSL_CTX, Index};
use crate::openssl::handle::{Ctx, Ssl};
use crate::openssl::next::{GenerateCb, Next, next, stock_get_ex_new_index};
use crate::openssl::other::next_of_method;
use libc::{c_char, c_int, c_long, c_void};
use openssl_sys::{
    CRYPTO_EX_DATA, CRYPTO_EX_dup, CRYPTO_EX_free, CRYPTO_EX_new, SSL_CTX, SSL_METHOD,
};
use sesscache_core::system::errno::KeepErrno;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicPtr};

/// Where a context's [`State`] is.
pub(super) static CTX_INDEX: Index = Index::new();
/// Where a connection's [`Connection`] is, if it needs one.
static SSL_INDEX: Index = Index::new();

/// What we know of a connection that OpenSSL does not tell.
#[derive(Debug)]
pub(super) struct Connection {
    /// The context it started with, set when it is switched to another (no public getter returns
    /// it). The connection holds a reference to it as long as it lives. NULL: not switched.
    pub(super) session_ctx: AtomicPtr<SSL_CTX>,
    /// A ClientHello callback switched it.
    pub(super) was_switched: AtomicBool,
    /// The application's SSL_set_generate_session_id(3).
    pub(super) generate_cb: Slot<GenerateCb>,
}

impl Connection {
    fn new() -> Connection {
        Connection {
            session_ctx: AtomicPtr::new(ptr::null_mut()),
            was_switched: AtomicBool::new(false),
            generate_cb: Slot::new(),
        }
    }

    /// The context whose cache counts.
    pub(super) fn session_ctx<'a>(&self, next: &Next, ssl: Ssl<'a>) -> Option<Ctx<'a>> {
        // SAFETY: NULL or a context that lives as long as the connection.
        unsafe { Ctx::borrow(self.session_ctx.load(Relaxed)) }.or_else(|| ssl.ctx(next))
    }
}

/// What is attached to a connection.
#[inline]
pub(super) fn connection<'a>(next: &Next, ssl: Ssl<'a>) -> Option<&'a Connection> {
    let connection = ex_data::of_ssl::<Connection>(next, ssl, SSL_INDEX.get()?)?;
    // SAFETY: the slot holds what `connection_or_new` put there until the connection goes.
    Some(unsafe { connection.as_ref() })
}

/// What is attached to a connection, attached now if nothing was; `None` without memory,
/// and where connections are not ours to attach to.
pub(super) fn connection_or_new<'a>(next: &Next, ssl: Ssl<'a>) -> Option<&'a Connection> {
    if let Some(connection) = connection(next, ssl) {
        return Some(connection);
    }
    if !next.is_supported {
        return None;
    }
    let index = SSL_INDEX.take(next, CLASS_SSL, Some(dup_connection), free_connection)?;
    let made = ex_data::try_box(Connection::new())?;
    if ex_data::set_of_ssl(next, ssl, index, made.as_ptr()) {
        return connection(next, ssl);
    }
    // SAFETY: made above and given to nobody.
    unsafe { ex_data::free_box(made) };
    None
}

unsafe extern "C" fn free_connection(
    _ssl: *mut c_void,
    connection: *mut c_void,
    _ad: *mut CRYPTO_EX_DATA,
    _index: c_int,
    _argl: c_long,
    _argp: *mut c_void,
) {
    if let Some(connection) = NonNull::new(connection.cast::<Connection>()) {
        // SAFETY: made by `connection_or_new`; OpenSSL calls this once for a connection.
        unsafe { ex_data::free_box(connection) };
    }
}

/// SSL_dup(3) makes a connection that starts with the context its original has now, and copies the
/// stock generator, which is our wrapper: only the application's generator is carried over.
unsafe extern "C" fn dup_connection(
    _to: *mut CRYPTO_EX_DATA,
    _from: *const CRYPTO_EX_DATA,
    from_d: *mut *mut c_void,
    _index: c_int,
    _argl: c_long,
    _argp: *mut c_void,
) -> c_int {
    guard(0, || {
        // SAFETY: CRYPTO_dup_ex_data passes the address of its copy of the slot's value.
        let Some(slot) = (unsafe { from_d.as_mut() }) else { return 0 };
        let Some(original) = NonNull::new(slot.cast::<Connection>()) else { return 1 };
        // SAFETY: the original's value, made by `connection_or_new`.
        let generate_cb = unsafe { original.as_ref() }.generate_cb.get();
        *slot = ptr::null_mut();
        if generate_cb.is_some() {
            let Some(copy) = ex_data::try_box(Connection::new()) else { return 0 };
            // SAFETY: made above.
            unsafe { copy.as_ref() }.generate_cb.set(generate_cb);
            *slot = copy.as_ptr().cast();
        }
        1
    })
}

/// Makes the cache of a new context ours. Does nothing if it is already (Debian's SSL_CTX_new
/// calls our SSL_CTX_new_ex), or without memory: the context then works as stock.
fn attach(next: &Next, ctx: *mut SSL_CTX) {
    // SAFETY: NULL or the context just made.
    let Some(ctx) = (unsafe { Ctx::borrow(ctx) }) else { return };
    if !next.is_supported || state(next, ctx).is_some() {
        return;
    }
    // What fails in here, for want of memory or of the key file, must not show.
    let _errno = KeepErrno::new();
    let _errors = KeepErrors::new(next);
    let attached = take_index(next).and_then(|index| {
        let made = ex_data::try_box(State::new(next, ctx))?;
        if ex_data::set_of_ctx(next, ctx, index, made.as_ptr()) {
            return state(next, ctx);
        }
        // SAFETY: made above and given to nobody.
        unsafe { ex_data::free_box(made) };
        None
    });
    if let Some(state) = attached {
        hooks::register(next, ctx);
        state.adopt(next, ctx);
        tickets::register(next, ctx, state);
    }
}

fn take_index(next: &Next) -> Option<c_int> {
    CTX_INDEX.take(next, CLASS_SSL_CTX, None, free_state)
}

/// The SSL_CTX goes. Ours runs before the application's free functions, see [`take_index`].
unsafe extern "C" fn free_state(
    ctx: *mut c_void,
    value: *mut c_void,
    _ad: *mut CRYPTO_EX_DATA,
    index: c_int,
    _argl: c_long,
    _argp: *mut c_void,
) {
    let Some(made) = NonNull::new(value.cast::<State>()) else { return };
    guard((), || {
        // SAFETY: the context whose ex_data OpenSSL is freeing: all but its sessions is still there.
        let (Some(next), Some(ctx)) = (next(), unsafe { Ctx::borrow(ctx.cast()) }) else { return };
        // SAFETY: made by `attach`, freed below.
        unsafe { made.as_ref() }.close(next, ctx);
        ex_data::set_of_ctx::<State>(next, ctx, index, ptr::null_mut());
    });
    // SAFETY: made by `attach`; OpenSSL calls this once for a context, which nobody uses any more.
    guard((), || unsafe { ex_data::free_box(made) });
}

/// Creates a context, with our cache behind it; see SSL_CTX_new(3).
///
/// # Safety
/// `meth` is a method as OpenSSL's TLS_method(3) and its like return it, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_CTX_new(meth: *const SSL_METHOD) -> *mut SSL_CTX {
    guard(ptr::null_mut(), || {
        let Some(next) = next_of_method(meth) else { return ptr::null_mut() };
        // SAFETY: the caller's promise.
        let ctx = unsafe { (next.SSL_CTX_new)(meth) };
        attach(next, ctx);
        ctx
    })
}

/// Creates a context in a library context, with our cache behind it; see SSL_CTX_new_ex(3).
///
/// # Safety
/// As SSL_CTX_new_ex(3): `libctx`, `propq` and `meth` are valid or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_CTX_new_ex(
    libctx: *mut c_void,
    propq: *const c_char,
    meth: *const SSL_METHOD,
) -> *mut SSL_CTX {
    guard(ptr::null_mut(), || {
        let Some(next) = next_of_method(meth) else { return ptr::null_mut() };
        let Some(stock) = next.SSL_CTX_new_ex else { return ptr::null_mut() };
        // SAFETY: the caller's promise.
        let ctx = unsafe { stock(libctx, propq, meth) };
        attach(next, ctx);
        ctx
    })
}

/// Takes an ex_data index; see CRYPTO_get_ex_new_index(3). Before the program's first index of a
/// class, ours is taken.
///
/// On SSL_CTX, because free functions run in the order of indexes. On SSL and SSL_SESSION, because
/// OpenSSL, when it duplicates one, calls the application's dup function for every index below the
/// highest that is set, with NULL where nothing is: stunnel does not expect that.
///
/// # Safety
/// As CRYPTO_get_ex_new_index(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn CRYPTO_get_ex_new_index(
    class_index: c_int,
    argl: c_long,
    argp: *mut c_void,
    new_func: Option<CRYPTO_EX_new>,
    dup_func: Option<CRYPTO_EX_dup>,
    free_func: Option<CRYPTO_EX_free>,
) -> c_int {
    guard(-1, || {
        take_first(class_index);
        let Some(stock) = stock_get_ex_new_index(class_index) else { return -1 };
        // SAFETY: the caller's promise.
        unsafe { stock(class_index, argl, argp, new_func, dup_func, free_func) }
    })
}

fn take_first(class: c_int) {
    static TAKEN: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];
    // Ours comes here too, on Debian and on other systems: by then it is noted.
    let place = usize::try_from(class).ok().and_then(|class| TAKEN.get(class));
    if let Some(taken) = place
        && !taken.load(Relaxed)
        && let Some(next) = next().filter(|next| next.is_supported)
        && !taken.swap(true, Relaxed)
    {
        match class {
            CLASS_SSL => SSL_INDEX.take(next, CLASS_SSL, Some(dup_connection), free_connection),
            CLASS_SSL_CTX => take_index(next),
            _ => take_mark_index(next),
        };
    }
}

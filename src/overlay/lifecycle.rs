//! Contexts: how our state is attached to a new one, and how it goes. And the indexes of ex_data.

use super::caller::caller;
use super::guard::guard;
use super::{connection, early_data, hooks, state, tickets};
use crate::context::{State, host, is_making, take_note_indexes, while_making};
use crate::log::{self, Once};
use crate::openssl::algorithms;
use crate::openssl::callers::is_called_by_libssl;
use crate::openssl::codec::take_mark_index;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::ex_data::{self, CLASS_SSL, CLASS_SSL_CTX, CLASS_SSL_SESSION, Index};
use crate::openssl::handle::Ctx;
use crate::openssl::libssl::{libssl, libssl_of_caller, libssl_of_method, stock_get_ex_new_index};
use crate::openssl::memory;
use crate::openssl::side_data;
use crate::openssl::table::Libssl;
use libc::{c_char, c_int, c_long, c_void};
use openssl_sys::{
    CRYPTO_EX_DATA, CRYPTO_EX_dup, CRYPTO_EX_free, CRYPTO_EX_new, SSL_CTX, SSL_METHOD,
};
use sesscache_core::system::errno::KeepErrno;
use sesscache_core::system::thread::HoldCancel;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// Where a context's [`State`] is.
pub(super) static CTX_INDEX: Index = Index::new();
/// Makes the cache of a new context ours, which was made in `library_context`. Does nothing if it is
/// already (Debian's SSL_CTX_new calls our SSL_CTX_new_ex), without memory, or where other processes
/// use the context's memory: the context then works as stock.
fn attach(libssl: &'static Libssl, ctx: *mut SSL_CTX, library_context: *mut c_void) {
    // SAFETY: NULL or the context just made.
    let Some(ctx) = (unsafe { Ctx::borrow(libssl, ctx) }) else { return };
    // SAFETY: the context just made.
    let is_libssls = unsafe { libssl.made(ctx.as_ptr()) };
    if !libssl.is_supported || !is_libssls || state(ctx).is_some() {
        return;
    }
    // A failure in here, for want of memory or of the key file, must not show. And the key file's
    // system calls are points at which a thread could be cancelled.
    let _errno = KeepErrno::new();
    let _cancel = HoldCancel::new();
    let _errors = KeepErrors::new(libssl);
    algorithms::note_library_context(library_context);
    if memory::is_shared(ctx) {
        if !is_making() {
            host::note_shared_memory();
        }
        return;
    }
    let attached = take_index(libssl).and_then(|index| {
        let made = ex_data::try_box(State::new(ctx))?;
        if ex_data::set_of_ctx(ctx, index, made.as_ptr()) {
            return state(ctx);
        }
        // SAFETY: made above and given to nobody.
        unsafe { ex_data::free_box(made) };
        None
    });
    if let Some(state) = attached {
        state.application().note_library_context(library_context);
        hooks::register(ctx);
        state.adopt(ctx);
        tickets::register(ctx, state);
        early_data::register(ctx, state);
    }
}

/// Whether the program, with its call of libssl's SSL_CTX_new, has got past us. It sets up the context
/// in the same way, of which we learn little: the context stays OpenSSL's as a whole.
fn is_past_us(libssl: &'static Libssl) -> bool {
    if !libssl.is_supported || is_making() {
        return false;
    }
    let _errno = KeepErrno::new();
    let (ours, libssl) = (SSL_CTX_new_ex as *const () as usize, libssl.SSL_CTX_new as usize);
    caller().is_some_and(|caller| is_called_by_libssl(c"SSL_CTX_new_ex", ours, libssl, caller))
}

#[cold]
fn say_past_us() {
    static SAID: Once = Once::new();
    SAID.say(
        "this program calls libssl past this library (by a handle of dlopen, or from a module of \
         RTLD_DEEPBIND): such contexts have OpenSSL's own session cache",
    );
}

/// A context was made, which is the time for lines to the operator. A method that is for clients and
/// servers tells nothing of this process.
fn speak(libssl: &'static Libssl, method: *const SSL_METHOD) {
    if libssl.is_server_method(method) {
        log::note_serving();
    }
    log::write_held();
}

fn take_index(libssl: &'static Libssl) -> Option<c_int> {
    CTX_INDEX.take(libssl, CLASS_SSL_CTX, None, free_state)
}

/// The SSL_CTX goes. Ours runs before the application's free functions, see [`take_index`].
unsafe extern "C-unwind" fn free_state(
    ctx: *mut c_void,
    value: *mut c_void,
    _ad: *mut CRYPTO_EX_DATA,
    index: c_int,
    _argl: c_long,
    _argp: *mut c_void,
) {
    let Some(made) = NonNull::new(value.cast::<State>()) else { return };
    guard((), || {
        let Some(libssl) = libssl() else { return };
        // SAFETY: the context whose ex_data OpenSSL is freeing: all but its sessions is still
        // there.
        let Some(ctx) = (unsafe { Ctx::borrow(libssl, ctx.cast()) }) else { return };
        // SAFETY: made by `attach`, freed below.
        unsafe { made.as_ref() }.close(ctx);
        ex_data::set_of_ctx::<State>(ctx, index, ptr::null_mut());
    });
    // SAFETY: made by `attach`; OpenSSL calls this once for a context, which nobody uses any more.
    guard((), || unsafe { ex_data::free_box(made) });
}

/// Creates a context, with our cache behind it; see SSL_CTX_new(3).
///
/// # Safety
/// `meth` is a method as OpenSSL's TLS_method(3) and its like return it, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_new(meth: *const SSL_METHOD) -> *mut SSL_CTX {
    guard(ptr::null_mut(), || {
        let Some(libssl) = libssl_of_method(meth) else { return ptr::null_mut() };
        // SAFETY: the method that the caller passed.
        let ctx = while_making(|| unsafe { (libssl.onward().SSL_CTX_new)(meth) });
        attach(libssl, ctx, ptr::null_mut());
        speak(libssl, meth);
        ctx
    })
}

/// Creates a context in a library context, with our cache behind it; see SSL_CTX_new_ex(3).
///
/// # Safety
/// As SSL_CTX_new_ex(3): `libctx`, `propq` and `meth` are valid or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_new_ex(
    libctx: *mut c_void,
    propq: *const c_char,
    meth: *const SSL_METHOD,
) -> *mut SSL_CTX {
    guard(ptr::null_mut(), || {
        let Some(libssl) = libssl_of_method(meth) else { return ptr::null_mut() };
        let Some(stock) = libssl.onward().SSL_CTX_new_ex else { return ptr::null_mut() };
        // SAFETY: the caller's own arguments.
        let ctx = unsafe { stock(libctx, propq, meth) };
        // Stock's SSL_CTX_new passes nothing but the method.
        if libctx.is_null() && propq.is_null() && is_past_us(libssl) {
            say_past_us();
        } else {
            attach(libssl, ctx, libctx);
        }
        speak(libssl, meth);
        ctx
    })
}

/// Takes an ex_data index; see CRYPTO_get_ex_new_index(3). Before the program's first index of a
/// class, ours is taken.
///
/// On SSL_CTX, because free functions run in the order of indexes. On SSL and SSL_SESSION, because
/// OpenSSL, when it duplicates one, calls the application's dup function for every index below the
/// highest that is set, with NULL where nothing is: stunnel does not expect that. In memory that
/// other processes use we need none, and OpenSSL would keep ours there.
///
/// # Safety
/// As CRYPTO_get_ex_new_index(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn CRYPTO_get_ex_new_index(
    class_index: c_int,
    argl: c_long,
    argp: *mut c_void,
    new_func: Option<CRYPTO_EX_new>,
    dup_func: Option<CRYPTO_EX_dup>,
    free_func: Option<CRYPTO_EX_free>,
) -> c_int {
    guard(-1, || {
        let caller = caller();
        take_first(class_index, caller);
        let Some(stock) = stock_get_ex_new_index(caller) else { return -1 };
        // SAFETY: the caller's own arguments.
        let index = unsafe { stock(class_index, argl, argp, new_func, dup_func, free_func) };
        if class_index == CLASS_SSL_SESSION && index >= 0 {
            side_data::note_index(new_func, dup_func, free_func);
        }
        index
    })
}

fn take_first(class: c_int, caller: Option<usize>) {
    static TAKEN: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];
    // Ours comes here too, on Debian and on other systems: by then it is noted.
    let place = usize::try_from(class).ok().and_then(|class| TAKEN.get(class));
    if let Some(taken) = place
        && !taken.load(Relaxed)
        && let Some(libssl) = libssl_of_caller(caller).filter(|libssl| libssl.is_supported)
        && !memory::is_shared_from_now_on(libssl)
        && !taken.swap(true, Relaxed)
    {
        match class {
            CLASS_SSL => connection::take_index(libssl).and(take_note_indexes(libssl)),
            CLASS_SSL_CTX => take_index(libssl),
            _ => take_mark_index(libssl),
        };
    }
}

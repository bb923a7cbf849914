//! The libssl of this process: its table, filled at first use.
//!
//! A failed attempt is not remembered, because libssl may be loaded later. `other` has tables for
//! each libssl that a module brought beside it. No locks of ours.

use super::library::{Library, after_us, object_of};
use super::objects::extent_of;
use super::other;
use super::scope::reached_from;
use super::table::Libssl;
use super::types::GetExNewIndex;
use libc::c_void;
use once_cell::sync::OnceCell;
use openssl_sys::{SSL_METHOD, SSL_SESSION};
use sesscache_core::system::errno::KeepErrno;
use std::cell::Cell;
use std::ffi::CStr;
use std::mem::transmute_copy;
use std::ops::Range;
use std::ptr::NonNull;

static LIBSSL: OnceCell<Libssl> = OnceCell::new();
/// Where it is mapped, once a method has come from there.
static EXTENT: OnceCell<Range<usize>> = OnceCell::new();

/// The stock functions; `None` while no libssl is known.
#[inline]
pub fn libssl() -> Option<&'static Libssl> {
    LIBSSL.get().or_else(|| fill(0))
}

/// The same, where it is to be chosen now: `address` lies in a libssl that is used.
pub fn libssl_used(address: usize) -> Option<&'static Libssl> {
    LIBSSL.get().or_else(|| fill(address))
}

/// The libssl that the calls of the object at `caller` reach, if it is the system's or the one of all.
pub fn libssl_of_caller(caller: Option<usize>) -> Option<&'static Libssl> {
    if let Some(known) = LIBSSL.get() {
        return Some(known);
    }
    let _errno = KeepErrno::new();
    let used = caller.and_then(|caller| reached_from(caller, c"SSL_CTX_new"));
    libssl_used(used.map_or(0, |used| used.as_ptr() as usize))
}

/// The functions of the libssl that made a session. `caller` tells from where the call comes that is
/// about it.
///
/// # Safety
/// `session` is a valid SSL_SESSION, or NULL.
pub unsafe fn libssl_of_session(
    session: *const SSL_SESSION,
    caller: impl FnOnce() -> Option<usize>,
) -> Option<&'static Libssl> {
    if !other::are_there() {
        return libssl();
    }
    let ours = LIBSSL.get();
    // SAFETY: the caller's promise.
    unsafe { other::of_session(session, ours) }
        .or_else(|| {
            let called = reached_from(caller()?, c"SSL_SESSION_set_time")?;
            other::table_at(called.as_ptr() as usize)
        })
        .or_else(libssl)
}

/// The functions of the libssl that a context or a connection comes from.
///
/// # Safety
/// `object` is a valid SSL_CTX or SSL, or NULL.
#[inline]
pub unsafe fn libssl_of<T>(object: *const T) -> Option<&'static Libssl> {
    // SAFETY: the caller's promise.
    unsafe { other::of_object(object) }.or_else(libssl)
}

impl Libssl {
    /// Whether contexts of this method are for servers alone.
    pub fn is_server_method(&self, method: *const SSL_METHOD) -> bool {
        let methods =
            [self.TLS_server_method, self.DTLS_server_method, self.OSSL_QUIC_server_method];
        // SAFETY: these take nothing and return a constant.
        methods.into_iter().flatten().any(|of_servers| unsafe { of_servers() } == method)
    }
}

/// The functions of the libssl that `method` comes from: TLS_method(3) and its like.
pub fn libssl_of_method(method: *const SSL_METHOD) -> Option<&'static Libssl> {
    let address = method as usize;
    let known = LIBSSL.get().filter(|_| EXTENT.get().is_some_and(|own| own.contains(&address)));
    known.or_else(|| other::table_at(address)).or_else(|| {
        let ours = libssl_used(address);
        let Some((object, _)) = object_of(address) else { return ours };
        let is_ours =
            |libssl: &&'static Libssl| libssl.base.is_none_or(|ours| ours == object as usize);
        let ours = ours.filter(is_ours);
        // It asks the linker to look through a table of symbols, so not for each context.
        if ours.is_some_and(|ours| ours.base.is_some())
            && let Some(extent) = extent_of(address)
        {
            let _ = EXTENT.set(extent);
        }
        ours.or_else(|| other::note(method))
    })
}

#[cold]
fn fill(used: usize) -> Option<&'static Libssl> {
    // Where there is none, files are looked for.
    let _errno = KeepErrno::new();
    // The dynamic linker's lock is taken in here: not inside the cell, for which another thread may
    // wait that holds this lock (a plugin's constructor that calls us).
    let first = Library::libssl();
    let used = Library::system_libssl(used)
        .filter(|used| first.as_ref().is_none_or(|first| first.base() != used.base()));
    let is_first = used.is_none();
    let Some(library) = used.or(first) else { return other::first() };
    let mut filled = Libssl::fill(&library);
    // Another libssl that is found by name is no wrapper of it.
    filled.wrapped = if is_first { wrapped(&library) } else { None };
    Some(LIBSSL.get_or_init(|| filled))
}

/// The functions that an application's call goes on to without us, where that is not libssl: wrappers
/// of others (a tracer, a policy) that come after us in the order of search.
fn wrapped(library: &Library) -> Option<&'static Libssl> {
    static WRAPPED: OnceCell<Libssl> = OnceCell::new();
    let is_wrapped = Cell::new(false);
    let filled = Libssl::fill_by(library, |name| {
        let own = library.find(name)?;
        let next = CStr::from_bytes_until_nul(name.as_bytes()).ok().and_then(after_us);
        // Of libcrypto there may be another, and we overlay one function of it.
        let next = next.filter(|next| *next != own && name.starts_with("SSL_"));
        let Some(wrapper) = next.filter(|next| !Library::is_copy_of_us(*next)) else {
            return Some(own);
        };
        is_wrapped.set(true);
        Some(wrapper)
    });
    is_wrapped.get().then(|| WRAPPED.get_or_init(|| filled))
}

/// The `CRYPTO_get_ex_new_index` that a call from the object at `caller` reaches without us, also in a
/// process with libcrypto alone.
pub fn stock_get_ex_new_index(caller: Option<usize>) -> Option<GetExNewIndex> {
    let _errno = KeepErrno::new();
    let index = c"CRYPTO_get_ex_new_index";
    // A library that is linked with us, too, finds ours first among its own.
    let beside = |found| Library::with(found)?.find("CRYPTO_get_ex_new_index\0");
    let found = caller
        .and_then(|caller| {
            let reached = reached_from(caller, index);
            reached.or_else(|| beside(reached_from(caller, c"CRYPTO_set_ex_data")?))
        })
        .or_else(|| after_us(index).filter(|next| !Library::is_copy_of_us(*next)))
        .or_else(|| beside(after_us(c"CRYPTO_set_ex_data")?));
    let known = || LIBSSL.get().or_else(other::first).map(|known| known.CRYPTO_get_ex_new_index);
    let local = || {
        let files = [c"libcrypto.so.3", c"libcrypto.so.4"].into_iter().find_map(Library::loaded);
        files?.find("CRYPTO_get_ex_new_index\0")
    };
    // SAFETY: libcrypto's function of this name has had this signature since 1.1.0.
    let function = |found| unsafe { transmute_copy::<NonNull<c_void>, GetExNewIndex>(&found) };
    found.map(function).or_else(known).or_else(|| local().map(function))
}

/// The stock functions for a unit test, which is linked with no OpenSSL: it brings one in.
#[cfg(test)]
pub(crate) fn libssl_in_test() -> &'static Libssl {
    let loaded = [c"libssl.so.3", c"libssl.so.4"].into_iter().any(|name| {
        // SAFETY: a valid C string; libssl's constructors may run at any time.
        !unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) }.is_null()
    });
    assert!(loaded, "the test wants OpenSSL's shared libraries on this machine");
    libssl().expect("the libssl just loaded")
}

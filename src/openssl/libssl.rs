//! The libssl of this process: its table, filled at first use.
//!
//! A failed attempt is not remembered, because libssl may be loaded later. `other` has tables for
//! each libssl that a module brought beside it. No locks of ours.

use super::library::{Library, after_us, object_of};
use super::other;
use super::table::Libssl;
use super::types::GetExNewIndex;
use crate::log::Once;
use libc::c_int;
use once_cell::sync::OnceCell;
use openssl_sys::SSL_METHOD;
use sesscache_core::system::errno::KeepErrno;
use std::cell::Cell;
use std::ffi::CStr;
use std::mem::transmute_copy;

static LIBSSL: OnceCell<Libssl> = OnceCell::new();

/// The stock functions; `None` while no libssl is known.
#[inline]
pub fn libssl() -> Option<&'static Libssl> {
    LIBSSL.get().or_else(fill)
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
    other::table_at(address).or_else(|| {
        let ours = libssl();
        let Some((object, _)) = object_of(address) else { return ours };
        let is_ours =
            |libssl: &&'static Libssl| libssl.base.is_none_or(|ours| ours == object as usize);
        ours.filter(is_ours).or_else(|| other::note(method))
    })
}

#[cold]
fn fill() -> Option<&'static Libssl> {
    // Where there is none, files are looked for.
    let _errno = KeepErrno::new();
    // The dynamic linker's lock is taken in here: not inside the cell, for which another thread may
    // wait that holds this lock (a plugin's constructor that calls us).
    let Some(library) = Library::libssl() else { return other::first() };
    let mut filled = Libssl::fill(&library);
    filled.wrapped = wrapped(&library);
    // Where the program's indexes come from another libcrypto, ours would be the same numbers.
    let is_ours = |from: &GetExNewIndex| {
        *from as usize == filled.CRYPTO_get_ex_new_index as usize || is_wrapper(*from as usize)
    };
    if !INDEXES.iter().take(OUR_CLASSES).filter_map(OnceCell::get).all(is_ours) {
        static SAID: Once = Once::new();
        SAID.say("this program uses two libcrypto libraries at once: no session cache is replaced");
        filled.is_supported = false;
    }
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

/// Whether a function for indexes is in no libcrypto, but in what comes before one.
fn is_wrapper(function: usize) -> bool {
    let library = object_of(function).and_then(|(base, path)| Some((base, Library::loaded(path)?)));
    library.is_some_and(|(base, library)| {
        let indexed = library.find("CRYPTO_set_ex_data\0");
        let indexed = indexed.and_then(|indexed| object_of(indexed.as_ptr() as usize));
        indexed.is_none_or(|(libcrypto, _)| libcrypto != base)
    })
}

/// Classes of ex_data: `CRYPTO_EX_INDEX__COUNT` is 17 or 18.
const CLASSES: usize = 32;
/// SSL, SSL_CTX and SSL_SESSION are the first, see `ex_data`.
const OUR_CLASSES: usize = 3;
/// Where the program's ex_data indexes of each class come from: from one libcrypto for as long as
/// it runs, so that no two are the same.
static INDEXES: [OnceCell<GetExNewIndex>; CLASSES] = [const { OnceCell::new() }; CLASSES];

/// The stock `CRYPTO_get_ex_new_index` for this class, also in a process with libcrypto alone.
pub fn stock_get_ex_new_index(class: c_int) -> Option<GetExNewIndex> {
    let known = INDEXES.get(usize::try_from(class).unwrap_or(CLASSES));
    if let Some(known) = known.and_then(OnceCell::get) {
        return Some(*known);
    }
    // Not inside the cell, see `fill`.
    let found = after_us(c"CRYPTO_get_ex_new_index")
        .filter(|next| !Library::is_copy_of_us(*next))
        .or_else(|| {
            Library::with(after_us(c"CRYPTO_set_ex_data")?)?.find("CRYPTO_get_ex_new_index\0")
        })
        .or_else(|| Library::loaded(c"libcrypto.so.3")?.find("CRYPTO_get_ex_new_index\0"));
    let found = match found {
        // SAFETY: libcrypto's function of this name has had this signature since 1.1.0.
        Some(found) => unsafe { transmute_copy(&found) },
        None => LIBSSL.get().or_else(other::first)?.CRYPTO_get_ex_new_index,
    };
    Some(known.map_or(found, |known| *known.get_or_init(|| found)))
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

//! Libraries beside the libssl that is overlaid: a module brought its own, of another name, for
//! itself (RTLD_LOCAL), as Python's binary wheels do.
//!
//! We are before it in the order of search, so that the calls of its users come to us, with objects
//! of another layout. Each such library gets a table, in which calls are passed on to it. Whose an
//! object is, its first words tell: one of them is the SSL_METHOD of the connection or context (in
//! a context the first or second; in a connection the second or, from OpenSSL 3.2 on, third), which
//! lies in the library that made the object; none of the others points into a libssl. What tells
//! nothing is taken for one of ours. A program with one libssl pays a look at a flag. No locks of
//! ours.

use super::library::{Library, object_of};
use super::objects::extent_of;
use super::table::Libssl;
use crate::log;
use once_cell::sync::OnceCell;
use openssl_sys::{SSL_CTX, SSL_METHOD, SSL_SESSION};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};

/// How many there may be.
const MOST: usize = 8;
/// How many words of an object are looked at: 32 bytes, which the smallest of them has.
const WORDS: usize = 4;

struct Other {
    /// Where it is mapped.
    extent: Range<usize>,
    libssl: Libssl,
}

static OTHERS: [OnceCell<Other>; MOST] = [const { OnceCell::new() }; MOST];
/// Whether there is any; set before the first object of one is seen.
static ARE_THERE: AtomicBool = AtomicBool::new(false);

/// The table for a context or a connection of another libssl.
///
/// # Safety
/// `object` is a valid SSL_CTX or SSL, or NULL.
#[inline]
pub(super) unsafe fn of_object<T>(object: *const T) -> Option<&'static Libssl> {
    if ARE_THERE.load(Relaxed) {
        // SAFETY: the caller's promise.
        unsafe { look_into(object.cast()) }
    } else {
        None
    }
}

/// # Safety
/// As [`of_object`].
#[cold]
unsafe fn look_into(object: *const AtomicUsize) -> Option<&'static Libssl> {
    let object = NonNull::new(object.cast_mut())?;
    (0..WORDS).find_map(|place| {
        // SAFETY: inside of the object, see `WORDS`.
        let word = unsafe { object.add(place) };
        // SAFETY: initialised and aligned: libssl allocates these objects zeroed. Who passes one
        // changes it in no other thread, but for a reference count, which is an atomic.
        table_at(unsafe { word.as_ref() }.load(Relaxed))
    })
}

impl Libssl {
    /// Whether a context that a wrapper of SSL_CTX_new returned is this library's: one of its first
    /// words is its method.
    ///
    /// # Safety
    /// `ctx` is a valid SSL_CTX.
    pub unsafe fn made(&self, ctx: *const SSL_CTX) -> bool {
        if self.wrapped.is_none() {
            return true;
        }
        // SAFETY: as in `look_into`; nobody else knows the context yet.
        let words = unsafe { ctx.cast::<[usize; WORDS]>().read() };
        let is_ours =
            |word| object_of(word).is_some_and(|(base, _)| self.base == Some(base as usize));
        words.into_iter().any(is_ours)
    }
}

/// The table of the library that `address` lies in.
pub(super) fn table_at(address: usize) -> Option<&'static Libssl> {
    let mut others = OTHERS.iter().map_while(OnceCell::get);
    others.find(|other| other.extent.contains(&address)).map(|other| &other.libssl)
}

/// Whether there is any.
#[inline]
pub(super) fn are_there() -> bool {
    ARE_THERE.load(Relaxed)
}

/// The table of the library that made a session: its cipher lies in it. `None` if that does not tell,
/// because the session has no cipher yet, or if a library of another layout is there. `first` is asked
/// first.
///
/// # Safety
/// `session` is a valid SSL_SESSION, or NULL.
pub(super) unsafe fn of_session(
    session: *const SSL_SESSION,
    first: Option<&'static Libssl>,
) -> Option<&'static Libssl> {
    if session.is_null() {
        return None;
    }
    let tables = || {
        let others = OTHERS.iter().map_while(OnceCell::get).map(|other| &other.libssl);
        first.into_iter().chain(others)
    };
    // Sessions of OpenSSL 1.1 are smaller: where there may be some, the others do not look.
    let is_old = |libssl: &Libssl| libssl.SSL_CTX_new_ex.is_none();
    let some_are_old = tables().any(is_old);
    tables().filter(|libssl| is_old(libssl) == some_are_old).find(|libssl| {
        // SAFETY: a valid session, of this library or of another. Of another it reads some word: from
        // 3.0 on all have the cipher behind some 760 bytes, and are larger than 900.
        let cipher = libssl.SSL_SESSION_get0_cipher.map(|get| unsafe { get(session) });
        let own = extent_of(libssl.SSL_CTX_new as usize);
        cipher.zip(own).is_some_and(|(cipher, own)| own.contains(&(cipher as usize)))
    })
}

/// The first of them, for questions when there is no other libssl.
pub(super) fn first() -> Option<&'static Libssl> {
    OTHERS.first()?.get().map(|other| &other.libssl)
}

/// Makes a table for the library of `method`.
pub(super) fn note(method: *const SSL_METHOD) -> Option<&'static Libssl> {
    let library = Library::of_method(method)?;
    library.find("SSL_CTX_new\0")?;
    let extent = extent_of(method as usize)?;
    let mut made = Some(Other { extent, libssl: Libssl::passing_on(&library) });
    for place in &OTHERS {
        // Before the first object of it is known to anyone.
        ARE_THERE.store(true, Relaxed);
        match place.set(made.take()?) {
            Ok(()) => say(method),
            Err(other) => made = Some(other),
        }
        if let Some(libssl) = table_at(method as usize) {
            return Some(libssl);
        }
    }
    None
}

fn say(method: *const SSL_METHOD) {
    let Some((_, path)) = object_of(method as usize) else { return };
    log::say(format_args!(
        "this program has a libssl of its own, {}: its calls are passed on, and its session caches \
         are not replaced",
        path.to_string_lossy()
    ));
}

//! Shared libraries in the process, and the functions in them, by the dynamic linker.
//!
//! Nothing is loaded here: a library is found if the program or a module of it brought it in. No
//! locks of ours.

use libc::{c_uint, c_void};
use openssl_sys::SSL_METHOD;
use std::ffi::CStr;
use std::mem::{MaybeUninit, transmute_copy};
use std::ptr::NonNull;

/// A libssl and, behind it, the libcrypto it was linked with.
#[derive(Debug)]
pub struct Library(NonNull<c_void>);

impl Library {
    /// The libssl that our callers' calls would go to without us: the one after us in the order of
    /// search, behind wrappers, else the one that a module brought in with RTLD_LOCAL, as in Python
    /// and Perl.
    pub(super) fn libssl() -> Option<Library> {
        let first = after_us(c"SSL_CTX_new").and_then(Library::with);
        first.as_ref().and_then(Library::behind).or_else(Library::local_libssl).or(first)
    }

    fn local_libssl() -> Option<Library> {
        [c"libssl.so.3", c"libssl.so.4", c"libssl.so.1.1"].into_iter().find_map(Library::loaded)
    }

    /// The system's libssl in which `address` lies; `None` if a library of another name has it, as
    /// wheels of Python bring theirs.
    pub(super) fn system_libssl(address: usize) -> Option<Library> {
        let (_, path) = object_of(address)?;
        let name = path.to_bytes().rsplit(|byte| *byte == b'/').next()?;
        if name.starts_with(b"libssl.so.") { Library::loaded(path) } else { None }
    }

    /// The library that a function lies in.
    pub(super) fn with(function: NonNull<c_void>) -> Option<Library> {
        Library::loaded(object_of(function.as_ptr() as usize)?.1)
    }

    /// The libssl behind a library that has SSL_CTX_new: itself, or if that is a wrapper, the one in
    /// which the method of a context lies. `None` if none of it is known.
    fn behind(&self) -> Option<Library> {
        // A wrapper has no use for ex_data, and no library of OpenSSL's functions is without it.
        let is_whole = self.defines(c"SSL_CTX_get_ex_data");
        let method = self.find("TLS_method\0");
        let method = method.or_else(|| after_us(c"TLS_method").filter(|_| !is_whole));
        let behind = method.and_then(|method| {
            // SAFETY: const SSL_METHOD *TLS_method(void), in every OpenSSL since 1.1.0.
            let method: unsafe extern "C-unwind" fn() -> *const SSL_METHOD =
                unsafe { transmute_copy(&method) };
            // SAFETY: it takes nothing and returns a constant.
            Library::of_method(unsafe { method() })
        });
        behind.or_else(|| Library::with(self.find("SSL_CTX_new\0")?).filter(|_| is_whole))
    }

    /// Whether the library has this function itself, and not a library that it needs.
    fn defines(&self, name: &CStr) -> bool {
        let base = |function: NonNull<c_void>| object_of(function.as_ptr() as usize);
        let own = self.base();
        search(self.0.as_ptr(), name)
            .and_then(base)
            .is_some_and(|(base, _)| own == Some(base as usize))
    }

    /// Whether a function lies in another copy of this library, which does our work, or leaves it
    /// to us.
    pub(super) fn is_copy_of_us(function: NonNull<c_void>) -> bool {
        Library::with(function).is_some_and(|library| library.defines(c"sesscache_version"))
    }

    /// The library that a method lies in, which made it: TLS_method() and its like.
    pub fn of_method(method: *const SSL_METHOD) -> Option<Library> {
        Library::loaded(object_of(method as usize)?.1)
    }

    /// A library that is in the process already. It is kept there: our hooks are known to it.
    pub(super) fn loaded(path: &CStr) -> Option<Library> {
        // SAFETY: a valid C string; RTLD_NOLOAD runs no code of the library.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        if handle.is_null() {
            forget_dlerror();
        }
        NonNull::new(handle).map(Library)
    }

    /// Where it is mapped.
    pub(super) fn base(&self) -> Option<usize> {
        let function = self.find("SSL_CTX_new\0")?;
        Some(object_of(function.as_ptr() as usize)?.0 as usize)
    }

    /// The function of this name, which ends with NUL.
    pub fn find(&self, name: &str) -> Option<NonNull<c_void>> {
        search(self.0.as_ptr(), CStr::from_bytes_until_nul(name.as_bytes()).ok()?)
    }

    pub(super) fn is_openssl_3_or_4(&self) -> bool {
        let Some(found) = self.find("OPENSSL_version_major\0") else { return false };
        // SAFETY: unsigned int OPENSSL_version_major(void), in every OpenSSL since 3.0.
        let major: unsafe extern "C-unwind" fn() -> c_uint = unsafe { transmute_copy(&found) };
        // SAFETY: it takes nothing and reads a constant.
        let major = unsafe { major() };
        (3..=4).contains(&major)
    }
}

/// The definition of `name` that comes after ours in the order of search.
pub fn after_us(name: &CStr) -> Option<NonNull<c_void>> {
    search(libc::RTLD_NEXT, name)
}

/// The definition of `name` that the program's calls go to.
pub fn first_in_search(name: &CStr) -> Option<NonNull<c_void>> {
    search(libc::RTLD_DEFAULT, name)
}

fn search(scope: *mut c_void, name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: one of dlsym's own scopes or a handle from dlopen, and a valid C string.
    let found = NonNull::new(unsafe { libc::dlsym(scope, name.as_ptr()) });
    if found.is_none() {
        forget_dlerror();
    }
    found
}

/// Takes the message of a failed question of ours away: the program's next dlerror() is not to
/// report it.
pub(super) fn forget_dlerror() {
    // SAFETY: it takes nothing; the message it returns is not used.
    unsafe { libc::dlerror() };
}

/// Where the object is mapped that `address` lies in, and its path.
pub fn object_of(address: usize) -> Option<(*mut c_void, &'static CStr)> {
    let mut info = MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: dladdr takes any address and fills the struct when it returns non-zero.
    if unsafe { libc::dladdr(address as *const c_void, info.as_mut_ptr()) } == 0 {
        return None;
    }
    // SAFETY: filled, see above.
    let info = unsafe { info.assume_init() };
    if info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: a C string that lives as long as the object is loaded; we ask about objects that
    // stay (the program, ourselves, a pinned libssl).
    Some((info.dli_fbase, unsafe { CStr::from_ptr(info.dli_fname) }))
}

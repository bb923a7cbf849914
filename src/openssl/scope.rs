//! The functions that an object's calls reach without us.
//!
//! Two lines of OpenSSL, or two copies of one, may be in a process. An object's call goes to the
//! definition that the linker finds first, of the version that the object was linked with: in the global
//! scope, then in the object's own (its libraries, if a module was loaded with RTLD_LOCAL). No locks of
//! ours.

use super::library::{Library, object_of};
use super::objects::{Object, find_object};
use libc::c_void;
use std::ffi::CStr;
use std::ptr::NonNull;

/// The definition that a call of `name` from the object in which `caller` lies reaches without us. `None`
/// if it is not known.
pub(super) fn reached_from(caller: usize, name: &CStr) -> Option<NonNull<c_void>> {
    let (_, path) = object_of(caller)?;
    let version = find_object(caller, |object| object.version(name)).flatten();
    let ours = object_of(reached_from as *const () as usize)?.0;
    let is_ours = |found: &NonNull<c_void>| {
        object_of(found.as_ptr() as usize).is_some_and(|(base, _)| base == ours)
    };
    // dlvsym(3) passes over a definition without a version, as wrappers of others have it.
    let wrapper = search(libc::RTLD_NEXT, name, None).filter(|first| is_wrapper(*first));
    let next = wrapper.or_else(|| search(libc::RTLD_NEXT, name, version));
    next.filter(|next| !Library::is_copy_of_us(*next)).or_else(|| {
        // SAFETY: a valid C string; RTLD_NOLOAD runs no code of the library.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        let handle = NonNull::new(handle)?;
        let found = search(handle.as_ptr(), name, version);
        // SAFETY: the handle from above. It is not kept: the module may go.
        unsafe { libc::dlclose(handle.as_ptr()) };
        found.filter(|found| !is_ours(found))
    })
}

/// Whether a function lies in no library of OpenSSL's, but in what comes before one.
fn is_wrapper(function: NonNull<c_void>) -> bool {
    let place = |function: NonNull<c_void>| Some(object_of(function.as_ptr() as usize)?.0);
    let own = place(function);
    Library::with(function).is_some_and(|library| {
        let names = ["CRYPTO_get_ex_data\0", "SSL_CTX_get_ex_data\0"];
        !names.into_iter().any(|name| library.find(name).and_then(place) == own)
    })
}

/// The library in which the calls of the object at `address` end, by one of these names.
pub(super) fn library_reached(address: usize, names: &[&'static CStr]) -> Option<Library> {
    names.iter().find_map(|name| {
        // Where the linker has been there already, it is known.
        let target = |object: &Object<'_>| object.target(name).filter(|to| !object.contains(*to));
        let bound = find_object(address, target).flatten();
        let bound = bound.and_then(|bound| NonNull::new(bound as *mut c_void));
        Library::with(bound.or_else(|| reached_from(address, name))?)
    })
}

fn search(scope: *mut c_void, name: &CStr, version: Option<&CStr>) -> Option<NonNull<c_void>> {
    let found = match version {
        // SAFETY: one of dlsym's own scopes or a handle from dlopen, and valid C strings.
        Some(version) => unsafe { libc::dlvsym(scope, name.as_ptr(), version.as_ptr()) },
        // SAFETY: as above.
        None => unsafe { libc::dlsym(scope, name.as_ptr()) },
    };
    if found.is_null() {
        super::library::forget_dlerror();
    }
    NonNull::new(found)
}

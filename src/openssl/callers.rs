//! The caller of an overlaid function: a program by its name, or libssl itself.
//!
//! Debian's libssl calls its own functions by the linker, so that a call of libssl's SSL_CTX_new, by a
//! handle of dlopen(3) or from a module of RTLD_DEEPBIND, reaches our SSL_CTX_new_ex. The first jumps to
//! the second: the call seems to come from the program. But a program that calls by name has that name
//! among the symbols for which the linker puts addresses there. No locks of ours.

use super::library::{first_in_search, object_of};
use super::objects::any_object;
use std::ffi::CStr;

/// Whether libssl has called `function` of ours by its name, for a program that had called another
/// function of libssl's past us. `libssl` is an address in libssl, `caller` one in what called us, as
/// the stack has it.
pub fn is_called_by_libssl(name: &CStr, function: usize, libssl: usize, caller: usize) -> bool {
    let first = first_in_search(name).map_or(function, |first| first.as_ptr() as usize);
    let targets = [function, first];
    // Not if it is linked with -Bsymbolic, as upstream does.
    let calls_us =
        any_object(&mut |object| object.contains(libssl) && object.calls(name, &targets));
    if !calls_us {
        return false;
    }
    // A wrapper before us calls us by an address. Then any call by name may be behind it.
    let place = |address| object_of(address).map(|(base, _)| base);
    let is_wrapped = first != function && place(first) == place(caller);
    !any_object(&mut |object| {
        !object.contains(libssl)
            && (is_wrapped || object.contains(caller))
            && object.calls(name, &targets)
    })
}

//! From where an exported function was called.

use crate::openssl::objects::extent_of;
use libc::{c_int, c_void};
use std::ops::Range;
use unwinder::{_Unwind_Backtrace, _Unwind_GetIP};

/// The unwinder's functions (Itanium C++ ABI, Exception Handling).
///
/// cbindgen:ignore
mod unwinder {
    use super::{c_int, c_void};

    unsafe extern "C" {
        pub(super) fn _Unwind_Backtrace(
            look: unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int,
            data: *mut c_void,
        ) -> c_int;
        pub(super) fn _Unwind_GetIP(context: *mut c_void) -> usize;
    }
}

/// Answers of a look at a frame.
const GO_ON: c_int = 0;
const STOP: c_int = 5;

struct Search {
    ours: Range<usize>,
    found: Option<usize>,
}

/// The address to which the exported function returns that runs on this thread: the first on the stack
/// that is not in this library. The unwinder needs to know no frames but ours for that.
pub(super) fn caller() -> Option<usize> {
    unsafe extern "C" fn look(context: *mut c_void, data: *mut c_void) -> c_int {
        // SAFETY: what was passed to the unwinder below.
        let Some(search) = (unsafe { data.cast::<Search>().as_mut() }) else { return STOP };
        // SAFETY: the unwinder's description of a frame.
        let address = unsafe { _Unwind_GetIP(context) };
        if search.ours.contains(&address) {
            return GO_ON;
        }
        search.found = Some(address);
        STOP
    }
    let ours = extent_of(caller as *const () as usize)?;
    let mut search = Search { ours, found: None };
    // SAFETY: a function of the right type, and its argument.
    unsafe { _Unwind_Backtrace(look, (&raw mut search).cast()) };
    search.found
}

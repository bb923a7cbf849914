//! OpenSSL's failures.

use libc::c_int;
use std::ffi::CStr;
use std::fmt;

/// Why OpenSSL has not done what it was asked to. Its error queue may say more, and is the caller's
/// to put back (`error_queue::KeepErrors`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// This OpenSSL lacks the function.
    Missing,
    /// There is no memory.
    NoMemory,
    /// libcrypto's default provider cannot be loaded.
    NoProvider,
    /// libcrypto's default provider lacks this algorithm.
    NoAlgorithm(&'static CStr),
    /// The function has failed: no memory, no such algorithm, a wrong length.
    Refused,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failed::Missing => "this OpenSSL lacks a function",
            Failed::NoMemory => "out of memory",
            Failed::NoProvider => "libcrypto's default provider cannot be loaded",
            Failed::NoAlgorithm(name) => {
                let name = name.to_string_lossy();
                return write!(f, "libcrypto's default provider has no {name}");
            }
            Failed::Refused => "OpenSSL has failed",
        })
    }
}

impl std::error::Error for Failed {}

/// The result of a function that returns 1 for success.
#[inline]
pub(super) fn succeeded(returned: c_int) -> Result<(), Failed> {
    if returned == 1 { Ok(()) } else { Err(Failed::Refused) }
}

/// A function of the table that this OpenSSL may lack.
#[inline]
pub(super) fn present<T>(function: Option<T>) -> Result<T, Failed> {
    function.ok_or(Failed::Missing)
}

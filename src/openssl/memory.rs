//! Whether OpenSSL's objects lie in memory that other processes use.
//!
//! A program may give OpenSSL an allocator of its own (CRYPTO_set_mem_functions(3)). Kamailio's and
//! OpenSIPS' allocates in memory that all processes of the server share. One process makes an
//! SSL_CTX there and another one uses it, to which a pointer to our memory means nothing. So nothing
//! of ours is attached to such an object. An allocator of private memory, as in BIND and MySQL, is
//! no obstacle.
//!
//! No lock. Nothing here touches an object of OpenSSL's.

use super::handle::Ctx;
use super::table::Libssl;
use libc::c_void;
use sesscache_core::system::memory;
use std::ptr;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Knowledge of the memory of OpenSSL's objects:
///
/// | value | means | goes to |
/// |---|---|---|
/// | `UNKNOWN` | no object was seen yet | each of the others |
/// | `DEFAULT` | OpenSSL's own allocator, which OpenSSL keeps once it has allocated | - |
/// | `PRIVATE` | the program's allocator; what it has allocated so far was private | `SHARED` |
/// | `SHARED` | the program's allocator; some of it is shared, or the system did not tell at first | - |
static MEMORY: AtomicU8 = AtomicU8::new(UNKNOWN);

const UNKNOWN: u8 = 0;
const DEFAULT: u8 = 1;
const PRIVATE: u8 = 2;
const SHARED: u8 = 3;

/// Whether a context that has just been made lies in memory that other processes use. With an
/// allocator of the program's it reads a file, and only then.
pub fn is_shared(ctx: Ctx<'_>) -> bool {
    note(ctx.libssl(), ctx.as_ptr() as usize)
}

/// Whether what OpenSSL would allocate now may be such memory. It reads no file.
pub fn may_be_shared(libssl: &Libssl) -> bool {
    match MEMORY.load(Relaxed) {
        UNKNOWN => has_own_allocator(libssl),
        known => known == SHARED,
    }
}

/// The same, where a file may be read.
pub fn is_shared_from_now_on(libssl: &Libssl) -> bool {
    if MEMORY.load(Relaxed) != UNKNOWN || !has_own_allocator(libssl) {
        return may_be_shared(libssl);
    }
    let (Some(allocate), Some(free)) = (libssl.CRYPTO_malloc, libssl.CRYPTO_free) else {
        return true;
    };
    // SAFETY: any size may be asked for, with no name of a file.
    let block = unsafe { allocate(1, ptr::null(), 0) };
    let is_shared = note(libssl, block as usize);
    // SAFETY: allocated above, or NULL.
    unsafe { free(block, ptr::null(), 0) };
    is_shared
}

/// Notes where the object at `address` lies.
fn note(libssl: &Libssl, address: usize) -> bool {
    let known = MEMORY.load(Relaxed);
    match known {
        DEFAULT => return false,
        SHARED => return true,
        _ => {}
    }
    let seen = match has_own_allocator(libssl).then(|| memory::is_shared(address)) {
        None => DEFAULT,
        Some(Some(false)) => PRIVATE,
        // A chroot has no such file: stunnel makes contexts there when it is reloaded.
        Some(None) if known == PRIVATE => PRIVATE,
        Some(_) => SHARED,
    };
    // The greater value stays, if two threads note different ones.
    MEMORY.fetch_max(seen, Relaxed);
    seen == SHARED
}

/// Whether the program has given OpenSSL an allocator of its own.
fn has_own_allocator(libssl: &Libssl) -> bool {
    let (Some(get), Some(default)) = (libssl.CRYPTO_get_mem_functions, libssl.CRYPTO_malloc) else {
        return false;
    };
    let mut allocate: *const c_void = ptr::null();
    // SAFETY: it sets what is not NULL.
    unsafe { get(&raw mut allocate, ptr::null_mut(), ptr::null_mut()) };
    allocate as usize != default as usize
}

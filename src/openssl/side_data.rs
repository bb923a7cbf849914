//! Whether the program keeps data of its own with sessions: ex_data, which cannot travel.
//!
//! On stock a session that resumes by its id is the very object that was made, with its data. hostapd
//! and FreeRADIUS find there who the client is. A program that takes an index on SSL_SESSION counts as
//! one that keeps data. No locks of ours.

use super::codec::{is_mark_index, take_mark_index};
use super::table::Libssl;
use libc::c_int;
use openssl_sys::{CRYPTO_EX_dup, CRYPTO_EX_free, CRYPTO_EX_new};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// False, true once the program has taken an index on SSL_SESSION by our function.
static IS_KEPT: AtomicBool = AtomicBool::new(false);

/// False, true once the program has taken one with a function that is called for each new session, or
/// for each copy of one.
static HAS_FUNCTIONS: AtomicBool = AtomicBool::new(false);

/// False, true once the program has put data at a session without an index of its own.
static IS_AT_SESSIONS: AtomicBool = AtomicBool::new(false);

/// The first index of a class. libcrypto keeps 0 for SSL_SESSION_set_app_data(3) and its like.
const FIRST: c_int = 1;

/// An index on SSL_SESSION was taken, with these functions: perhaps by ourselves.
pub fn note_index(
    new: Option<CRYPTO_EX_new>,
    dup: Option<CRYPTO_EX_dup>,
    free: Option<CRYPTO_EX_free>,
) {
    if !free.is_some_and(is_mark_index) {
        IS_KEPT.store(true, Relaxed);
        if new.is_some() || dup.is_some() {
            HAS_FUNCTIONS.store(true, Relaxed);
        }
    }
}

/// Whether the program keeps data of its own with sessions. An index that was taken before this
/// library was there is known by ours, which is not the first then. Without memory for ours: yes.
pub fn is_kept(libssl: &'static Libssl) -> bool {
    IS_KEPT.load(Relaxed) || has_earlier(libssl)
}

/// The program has put data at a session without an index of its own (SSL_SESSION_set_app_data(3)).
pub fn note_data() {
    IS_AT_SESSIONS.store(true, Relaxed);
}

/// Whether the program has put data at a session without an index of its own, as far as is known.
pub fn is_at_sessions() -> bool {
    IS_AT_SESSIONS.load(Relaxed)
}

/// Whether the program may have a function that is called for each new session, or for each copy.
pub fn has_functions(libssl: &'static Libssl) -> bool {
    HAS_FUNCTIONS.load(Relaxed) || has_earlier(libssl)
}

fn has_earlier(libssl: &'static Libssl) -> bool {
    take_mark_index(libssl).is_none_or(|ours| ours != FIRST)
}

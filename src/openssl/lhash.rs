//! An LHASH_OF(SSL_SESSION) of our own, for programs that walk what SSL_CTX_sessions() returns.

use super::failed::{Failed, present};
use super::handle::{Session, SessionRef};
use super::libssl::libssl;
use super::types::{Lhash, LhashVisit, LhashVisitWith};
use libc::{c_int, c_ulong, c_void};
use sesscache_core::cache::Key;
use std::ptr::NonNull;

/// A hash table that lists sessions, and the references that keep them alive.
#[derive(Debug)]
pub struct SessionTable {
    lhash: NonNull<Lhash>,
    sessions: Vec<Session>,
}

// SAFETY: the table is plain memory; it is changed through `&mut` only.
unsafe impl Send for SessionTable {}

impl SessionTable {
    /// An empty table.
    pub fn new() -> Result<SessionTable, Failed> {
        let libssl = present(libssl())?;
        // SAFETY: two functions of the right type.
        let lhash = unsafe { (libssl.OPENSSL_LH_new)(Some(hash), Some(compare)) };
        let lhash = NonNull::new(lhash).ok_or(Failed::NoMemory)?;
        if let Some(set_thunks) = libssl.OPENSSL_LH_set_thunks {
            // OPENSSL_LH_doall calls through these, NULL or not (lhash.c, 3.3 and later); hashing
            // and comparing do without.
            // SAFETY: our table and functions of the right types.
            unsafe { set_thunks(lhash.as_ptr(), None, None, visit, visit_with) };
        }
        Ok(SessionTable { lhash, sessions: Vec::new() })
    }

    /// Lists exactly these sessions from now on, and returns those of before.
    pub fn fill(&mut self, sessions: Vec<Session>) -> Vec<Session> {
        let Some(libssl) = libssl() else { return sessions };
        // SAFETY: our table; flush forgets all nodes and touches no session.
        unsafe { (libssl.OPENSSL_LH_flush)(self.lhash.as_ptr()) };
        let before = std::mem::replace(&mut self.sessions, sessions);
        for session in &self.sessions {
            let session = session.as_ptr().cast();
            // SAFETY: our table, and a session that `self.sessions` keeps alive.
            unsafe { (libssl.OPENSSL_LH_insert)(self.lhash.as_ptr(), session) };
        }
        before
    }

    /// The table, as SSL_CTX_sessions(3) returns it.
    pub fn as_ptr(&self) -> *mut Lhash {
        self.lhash.as_ptr()
    }
}

impl Drop for SessionTable {
    fn drop(&mut self) {
        if let Some(libssl) = libssl() {
            // SAFETY: our table; it owns its nodes only.
            unsafe { (libssl.OPENSSL_LH_free)(self.lhash.as_ptr()) };
        }
    }
}

/// The key of a node; `None` if it has none, or while no libssl is known.
///
/// # Safety
/// `node` is a session, or NULL.
unsafe fn key(node: *const c_void) -> Option<Key> {
    // SAFETY: libcrypto passes what was inserted or is looked up: a session.
    unsafe { SessionRef::borrow(libssl()?, node.cast_mut().cast()) }?.key()
}

unsafe extern "C-unwind" fn hash(session: *const c_void) -> c_ulong {
    // SAFETY: a node of the table.
    unsafe { key(session) }.map_or(0, |key| key.digest())
}

unsafe extern "C-unwind" fn compare(a: *const c_void, b: *const c_void) -> c_int {
    // SAFETY: a node of the table.
    let a = unsafe { key(a) };
    // SAFETY: a node of the table.
    let b = unsafe { key(b) };
    c_int::from(a.is_none() || a != b)
}

unsafe extern "C-unwind" fn visit(node: *mut c_void, function: LhashVisit) {
    // SAFETY: libcrypto passes a node of ours and the program's function.
    unsafe { function(node) };
}

unsafe extern "C-unwind" fn visit_with(
    node: *mut c_void,
    arg: *mut c_void,
    function: LhashVisitWith,
) {
    // SAFETY: libcrypto passes a node of ours, the program's argument and function.
    unsafe { function(node, arg) };
}

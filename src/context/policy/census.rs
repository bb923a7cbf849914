//! How many contexts of this process may serve, and how many of these ask for a certificate.
//!
//! While none asks, or there is but one, a server name leads to no other demands, unless servername
//! callbacks set them on the connection: see `names`. Counters and a flag, which a fork copies as
//! they are. No locks.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

/// Contexts that may serve.
static SERVING: AtomicUsize = AtomicUsize::new(0);
/// Contexts that may serve and ask clients for a certificate.
static ASKING: AtomicUsize = AtomicUsize::new(0);
/// Whether connections ask that did not ask when their session was looked up. False, true once one
/// did.
static CONNECTIONS_ASK: AtomicBool = AtomicBool::new(false);
/// How often a context's policy has changed while it was in use.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// A context that is counted for as long as this lives.
#[derive(Debug)]
pub(super) struct Member {
    may_serve: bool,
    /// Whether it is counted among those that ask.
    asks: AtomicBool,
}

impl Member {
    /// A context that asks nobody yet.
    pub(super) fn new(may_serve: bool) -> Member {
        SERVING.fetch_add(may_serve.into(), Relaxed);
        Member { may_serve, asks: AtomicBool::new(false) }
    }

    /// The context asks clients for a certificate from now on, or does not. Returns whether that is
    /// new.
    pub(super) fn set_asks(&self, asks: bool) -> bool {
        if !self.may_serve || self.asks.load(Relaxed) == asks {
            return false;
        }
        // Another thread may have been faster.
        let changes = self.asks.swap(asks, Relaxed) != asks;
        match asks {
            _ if !changes => {}
            true => drop(ASKING.fetch_add(1, Relaxed)),
            false => drop(ASKING.fetch_sub(1, Relaxed)),
        }
        changes
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.set_asks(false);
        SERVING.fetch_sub(self.may_serve.into(), Relaxed);
    }
}

/// A context asks for another certificate than before.
pub(super) fn note_change() {
    CHANGES.fetch_add(1, Release);
}

/// [`note_change`] calls so far.
pub(super) fn changes() -> u64 {
    CHANGES.load(Acquire)
}

/// A connection asks for a certificate from now on, after its session was looked up.
pub(super) fn note_connection_asks() {
    if !CONNECTIONS_ASK.load(Relaxed) && !CONNECTIONS_ASK.swap(true, Relaxed) {
        note_change();
    }
}

/// Whether all contexts that may serve ask for the same, and no connection asks for another.
pub(super) fn all_ask_the_same() -> bool {
    !CONNECTIONS_ASK.load(Relaxed) && (ASKING.load(Relaxed) == 0 || SERVING.load(Relaxed) == 1)
}

//! The application's callbacks for early data, kept with their arguments.
//!
//! libssl copies a context's callback and argument into each new connection. So ours gets the
//! application's pair as its argument, and each connection asks the pair that it has on stock.
//!
//! No locks: pairs are added, and all go with their owner.

use super::ex_data::{free_box, try_box};
use super::handle::Ssl;
use super::types::{AllowEarlyDataCb, CallbackArg};
use libc::c_int;
use sesscache_core::system::thread::DuringCallback;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

/// A callback of the application and its argument.
#[derive(Debug)]
struct Pair {
    callback: AllowEarlyDataCb,
    argument: CallbackArg,
    /// The pair that was kept before it, or NULL.
    before: *mut Pair,
}

/// The pairs that a context or a connection has had.
#[derive(Debug, Default)]
pub struct EarlyDataCallbacks {
    /// The pair that was kept last, or NULL.
    newest: AtomicPtr<Pair>,
    /// The pair that is set, or NULL.
    current: AtomicPtr<Pair>,
}

impl EarlyDataCallbacks {
    /// Sets a callback of the application, or none. Returns the argument for ours; `None` without
    /// memory.
    pub fn set(
        &self,
        callback: Option<AllowEarlyDataCb>,
        argument: CallbackArg,
    ) -> Option<CallbackArg> {
        let pair = match callback {
            Some(callback) => self.keep(callback, argument)?.as_ptr(),
            None => ptr::null_mut(),
        };
        self.current.store(pair, Relaxed);
        Some(self.argument())
    }

    /// The argument for ours, with the pair that is set.
    pub fn argument(&self) -> CallbackArg {
        CallbackArg::new(self.current.load(Relaxed).cast())
    }

    /// The pair, kept now unless it was before: an application may set it again and again.
    fn keep(&self, callback: AllowEarlyDataCb, argument: CallbackArg) -> Option<NonNull<Pair>> {
        let mut newest = self.newest.load(Acquire);
        if let Some(kept) = find(newest, callback, argument) {
            return Some(kept);
        }
        let mut made = try_box(Pair { callback, argument, before: newest })?;
        loop {
            // SAFETY: made above, and not given to anybody yet.
            unsafe { made.as_mut() }.before = newest;
            match self.newest.compare_exchange(newest, made.as_ptr(), AcqRel, Acquire) {
                Ok(_) => return Some(made),
                Err(other) => newest = other,
            }
        }
    }
}

/// The pair among those that were kept until `newest`.
fn find(
    newest: *mut Pair,
    callback: AllowEarlyDataCb,
    argument: CallbackArg,
) -> Option<NonNull<Pair>> {
    let mut next = NonNull::new(newest);
    while let Some(pair) = next {
        // SAFETY: a pair stays as it is until its owner goes.
        let kept = unsafe { pair.as_ref() };
        let is_same = kept.argument.as_ptr() == argument.as_ptr();
        if is_same && ptr::fn_addr_eq(kept.callback, callback) {
            return next;
        }
        next = NonNull::new(kept.before);
    }
    None
}

impl Drop for EarlyDataCallbacks {
    fn drop(&mut self) {
        let mut next = NonNull::new(*self.newest.get_mut());
        while let Some(pair) = next {
            // SAFETY: made by `keep`. Its owner goes, and no connection is left that could ask it.
            next = NonNull::new(unsafe { pair.as_ref() }.before);
            // SAFETY: as above.
            unsafe { free_box(pair) };
        }
    }
}

/// Asks the application whether to accept a connection's early data. Without a callback it does.
///
/// # Safety
/// `argument` is one of [`EarlyDataCallbacks`], whose owner lives.
pub unsafe fn application_allows(argument: CallbackArg, ssl: Ssl<'_>) -> bool {
    // SAFETY: the caller's promise.
    let Some(pair) = (unsafe { argument.as_ptr().cast::<Pair>().as_ref() }) else { return true };
    let _callback = DuringCallback::new();
    // SAFETY: the application's promise by setting it.
    let answer: c_int = unsafe { (pair.callback)(ssl.as_ptr(), pair.argument) };
    answer != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl_sys::SSL;

    unsafe extern "C-unwind" fn yes(_: *mut SSL, _: CallbackArg) -> c_int {
        1
    }

    #[test]
    fn a_pair_is_kept_once() {
        let callbacks = EarlyDataCallbacks::default();
        let argument = |number: usize| CallbackArg::new(ptr::without_provenance_mut(number));
        let set = |number| callbacks.set(Some(yes), argument(number)).unwrap().as_ptr();
        let first = set(1);
        assert!(!first.is_null());
        let second = set(2);
        assert_ne!(first, second);
        assert_eq!(set(1), first);
        assert_eq!(callbacks.argument().as_ptr(), first);
        assert!(callbacks.set(None, argument(1)).unwrap().as_ptr().is_null());
    }
}

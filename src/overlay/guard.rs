//! Panics stop here, see `unwinding`.
//!
//! A panic is our defect, not the server's. It takes the cache of its context out of use, is said
//! once in the log, and is answered with the value that the manual page gives for failure.

use super::unwinding::catch_panic;
use crate::context::State;
use crate::log::Once;
use std::cell::Cell;

thread_local! {
    /// How many guards this thread is in. A callback that jumps out leaves it too high, and then Rust
    /// programs do not see the report of their own panics in this thread.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Runs `body`; if it panics, returns `on_panic`.
#[inline]
pub(super) fn guard<T>(on_panic: T, body: impl FnOnce() -> T) -> T {
    guard_or(body, || on_panic)
}

/// Runs `body`; if it panics, returns what `on_panic` returns.
#[inline]
fn guard_or<T>(body: impl FnOnce() -> T, on_panic: impl FnOnce() -> T) -> T {
    let before = DEPTH.replace(DEPTH.get() + 1);
    let result = catch_panic(body);
    DEPTH.set(before);
    result.unwrap_or_else(|| {
        report();
        on_panic()
    })
}

/// Runs `body` for the state of a context; a panic takes its cache out of use.
#[inline]
pub(super) fn with<T>(state: &State, on_panic: T, body: impl FnOnce() -> T) -> T {
    guard_or(body, || {
        state.give_up();
        on_panic
    })
}

#[cold]
fn report() {
    static REPORT: Once = Once::new();
    REPORT.say("internal error: one SSL_CTX now works without a cache; please report this");
}

/// Keeps Rust's own report of a panic that a guard catches off descriptor 2. A Rust program that
/// links this crate, as a test does, has its own panics reported.
#[cfg(not(test))]
pub(super) fn silence() {
    use std::panic::{set_hook, take_hook};
    use std::sync::Once as RunOnce;
    static SILENCE: RunOnce = RunOnce::new();
    SILENCE.call_once(|| {
        let report = take_hook();
        set_hook(Box::new(move |panic| {
            if DEPTH.get() == 0 {
                report(panic);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_the_failure_value() {
        assert_eq!(guard(-1, || 7), 7);
        assert_eq!(guard(-1, || panic!("this test's own panic")), -1);
    }
}

//! Times that cannot be: a clock was ahead, and is right again.
//!
//! A second that lies in the future says only that something was written before now. It counts as a
//! minute ago. So a clock that was a year ahead for a minute does not cost a year.

use crate::system::clock::now_milliseconds;

/// Clocks of one host, or of several, differ by so many seconds.
pub(super) const SKEW: u64 = 60;

/// The second for which one that was read from the store counts, at second `now`.
#[inline]
pub(super) fn believed(second: u64, now: u64) -> u64 {
    if second <= now.saturating_add(SKEW) { second } else { correct(second, now) }
}

#[cold]
fn correct(second: u64, now: u64) -> u64 {
    // The operation may have been stopped since it asked for the time.
    let now = now.max(now_milliseconds() / 1000);
    if second <= now.saturating_add(SKEW) { second } else { now.saturating_sub(SKEW) }
}

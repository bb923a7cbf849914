//! The pause before the next try: twice as long each time, and partly random.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// The next pause, which grows with each failure until [`Backoff::reset`].
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { next: FIRST }
    }
}

impl Backoff {
    /// Starts again from the shortest pause, after a success.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// How long to wait after a failure. Up to half of the pause is random, because hosts that lost
    /// Redis together must not come back together.
    pub(crate) fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (self.next * 2).min(LONGEST);
        let chance = f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX);
        whole.mul_f64(1.0 - chance / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_a_limit_and_starts_again() {
        let mut backoff = Backoff::default();
        let mut whole = FIRST;
        for _ in 0..20 {
            let pause = backoff.pause();
            assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
            whole = (whole * 2).min(LONGEST);
        }
        assert_eq!(whole, LONGEST);
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }
}

//! Epochs, and the steps of a ratchet.
//!
//! Time is cut into epochs of six hours, counted from 1970. A *ratchet* has a state for each epoch.
//! The state of the next epoch follows from that of this one, and never the other way round. So who
//! has a state opens what is sealed from its epoch on, and nothing before.
//!
//! The one-way function is HKDF-SHA256. The caller brings it, because the library has that of
//! libcrypto and the command another one. No locks.

use super::{KEY_BYTES, Secret};

/// How long a key seals.
pub const EPOCH_SECONDS: u32 = 6 * 60 * 60;
/// The info with which HKDF makes the next state.
pub const STEP_INFO: &[u8] = b"sesscache ratchet 1";
/// The most earlier epochs for which states are kept: 31 days.
pub const MOST_KEPT: u32 = 31 * EPOCHS_A_DAY;
/// A clock that has moved on by more epochs at once may be wrong: 30 days. What it says destroys
/// no key.
pub const LONGEST_JUMP: u32 = 30 * EPOCHS_A_DAY;
/// The most steps from the state in a file: five years. After that the keys of a file that nobody
/// rewrites change no more.
pub const MOST_STEPS: u32 = 5 * 366 * EPOCHS_A_DAY;
/// The epochs of a day.
pub const EPOCHS_A_DAY: u32 = 24 * 60 * 60 / EPOCH_SECONDS;

/// The number of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The epoch of a second since 1970. A time before 1970 is in the first one.
    pub fn at(seconds: i64) -> Epoch {
        let number = seconds.max(0) / i64::from(EPOCH_SECONDS);
        Epoch(u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// The number of earlier epochs in which something may have been sealed that still lives, if
    /// nothing lives longer than so many seconds.
    pub fn kept_for(lifetime: u32) -> u32 {
        lifetime.div_ceil(EPOCH_SECONDS).clamp(1, MOST_KEPT)
    }

    /// The epoch that is so many before this one.
    #[must_use]
    pub fn before(self, epochs: u32) -> Epoch {
        Epoch(self.0.saturating_sub(epochs))
    }

    /// The epoch that is so many after this one.
    #[must_use]
    pub fn after(self, epochs: u32) -> Epoch {
        Epoch(self.0.saturating_add(epochs))
    }

    /// The number of epochs from `earlier` to this one; 0 if it is not earlier.
    pub fn since(self, earlier: Epoch) -> u32 {
        self.0.saturating_sub(earlier.0)
    }

    /// The epoch in which a ratchet with a state of `first` is, at the epoch of the clock. A clock
    /// before the state has no state of its own, and one too far ahead has none either.
    #[must_use]
    pub fn within_reach_of(self, first: Epoch) -> Epoch {
        self.clamp(first, first.after(MOST_STEPS))
    }
}

/// Steps a state on. `hkdf` writes what HKDF-SHA256 makes of a secret and [`STEP_INFO`].
///
/// # Errors
/// That of `hkdf`; the state is then that of an epoch between.
pub fn step<E>(
    state: &mut Secret,
    steps: u32,
    mut hkdf: impl FnMut(&[u8; KEY_BYTES], &mut [u8; KEY_BYTES]) -> Result<(), E>,
) -> Result<(), E> {
    let mut next = Secret::new([0; KEY_BYTES]);
    for _ in 0..steps {
        hkdf(state.bytes(), next.bytes_mut())?;
        state.bytes_mut().copy_from_slice(next.bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_six_hours() {
        let ends = [i64::MIN, -1, 0, 21_599, 21_600, 1_795_903_947, i64::MAX];
        assert_eq!(ends.map(Epoch::at).map(|epoch| epoch.0), [0, 0, 0, 0, 1, 83_143, u32::MAX]);
    }

    #[test]
    fn a_lifetime_reaches_into_the_epoch_in_which_it_began() {
        let lifetimes = [0, 1, 21_600, 21_601, 86_400, 7 * 86_400, u32::MAX];
        assert_eq!(lifetimes.map(Epoch::kept_for), [1, 1, 1, 2, 4, 28, 124]);
    }

    #[test]
    fn the_clock_may_be_before_a_state_or_far_behind_it() {
        let first = Epoch(1000);
        let at = |epoch: u32| Epoch(epoch).within_reach_of(first).0;
        assert_eq!([0, 999, 1000, 1001].map(at), [1000, 1000, 1000, 1001]);
        assert_eq!([1000 + MOST_STEPS, u32::MAX].map(at), [1000 + MOST_STEPS; 2]);
        assert_eq!(Epoch(u32::MAX).within_reach_of(Epoch(u32::MAX - 1)), Epoch(u32::MAX));
    }

    #[test]
    fn a_state_is_stepped_as_often_as_asked() {
        let mut state = Secret::new([7; KEY_BYTES]);
        let add = |from: &[u8; KEY_BYTES], to: &mut [u8; KEY_BYTES]| {
            *to = from.map(|byte| byte + 1);
            Ok::<(), ()>(())
        };
        step(&mut state, 0, add).unwrap();
        assert_eq!(state.bytes(), &[7; KEY_BYTES]);
        step(&mut state, 5, add).unwrap();
        assert_eq!(state.bytes(), &[12; KEY_BYTES]);
        assert_eq!(step(&mut state, 1, |_, _| Err("no memory")), Err("no memory"));
    }
}

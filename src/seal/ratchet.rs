//! The secrets of epochs, which follow from the keys of a key file.
//!
//! A plain key is its own secret at all times. From the state of a ratchet follow the secrets of the
//! present epoch, of the next one (another host's clock is ahead), and of those before it from which
//! something may still live. States that nothing needs any more are wiped.
//!
//! A ratchet is clamped to its state: with a clock before the state, the state's epoch is the present
//! one. No locks, no unsafe, no clock.

use crate::openssl::failed::Failed;
use crate::openssl::kdf::hkdf_sha256;
use crate::openssl::table::Libssl;
use sesscache_core::key_file::epoch::{Epoch, LONGEST_JUMP, STEP_INFO, step};
use sesscache_core::key_file::{FileKey, Secret};

/// The present, and how far back keys are needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The epoch of the clock.
    pub epoch: Epoch,
    /// The earlier epochs whose secrets open.
    pub kept: u32,
}

/// The epoch of a secret that follows from a ratchet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dated {
    /// Its number.
    pub epoch: Epoch,
    /// How many epochs ago it was; 0 for the present and the next.
    pub back: u32,
}

/// A secret, and its epoch if it has one.
#[derive(Debug)]
pub struct EpochSecret {
    /// The secret.
    pub secret: Secret,
    /// `None` if it follows from a plain key.
    pub dated: Option<Dated>,
}

/// The secrets that follow from the keys of a file: those of the first key first, and of each key that
/// of the present epoch. So the first of all seals.
pub fn secrets(
    libssl: &'static Libssl,
    keys: &[FileKey],
    moment: Moment,
) -> Result<Vec<EpochSecret>, Failed> {
    let mut all = Vec::new();
    let count = keys.iter().map(|key| key.epoch.map_or(1, |first| window(first, moment).count()));
    // At once: a vector that grows leaves its old secrets behind.
    all.try_reserve_exact(count.sum()).map_err(|_| Failed::NoMemory)?;
    for key in keys {
        match key.epoch {
            None => push(&mut all, &key.secret, None),
            Some(first) => push_window(libssl, &mut all, key, window(first, moment))?,
        }
    }
    Ok(all)
}

/// The epochs of a ratchet's secrets.
struct Window {
    oldest: Epoch,
    present: Epoch,
}

fn window(first: Epoch, moment: Moment) -> Window {
    let present = moment.epoch.within_reach_of(first);
    Window { oldest: present.before(moment.kept).max(first), present }
}

impl Window {
    /// The number of epochs, with the next one.
    fn count(&self) -> usize {
        self.present.since(self.oldest) as usize + 2
    }

    /// The place of an epoch among the secrets: present, next, and then back in time.
    fn place(&self, epoch: Epoch) -> usize {
        match self.present.since(epoch) as usize {
            0 => usize::from(epoch > self.present),
            back => back + 1,
        }
    }
}

fn push_window(
    libssl: &'static Libssl,
    all: &mut Vec<EpochSecret>,
    key: &FileKey,
    window: Window,
) -> Result<(), Failed> {
    let start = all.len();
    let mut state = FileKey::empty();
    state.copy(key);
    advance(libssl, &mut state, window.oldest)?;
    for _ in 0..window.count() {
        push(all, &state.secret, None);
    }
    let mut epoch = window.oldest;
    for _ in 0..window.count() {
        let place = all.get_mut(start + window.place(epoch)).ok_or(Failed::Refused)?;
        place.secret.bytes_mut().copy_from_slice(state.secret.bytes());
        place.dated = Some(Dated { epoch, back: window.present.since(epoch) });
        epoch = epoch.after(1);
        advance(libssl, &mut state, epoch)?;
    }
    Ok(())
}

/// Adds a copy of a secret, which is made where it stays.
fn push(all: &mut Vec<EpochSecret>, secret: &Secret, dated: Option<Dated>) {
    all.push(EpochSecret { secret: Secret::new([0; _]), dated });
    if let Some(last) = all.last_mut() {
        last.secret.bytes_mut().copy_from_slice(secret.bytes());
    }
}

/// Steps a ratchet on to an epoch, if that is later than its own. A plain key stays as it is.
fn advance(libssl: &'static Libssl, key: &mut FileKey, to: Epoch) -> Result<(), Failed> {
    let Some(first) = key.epoch else { return Ok(()) };
    step(&mut key.secret, to.since(first), |state, next| {
        hkdf_sha256(libssl, state, STEP_INFO, next)
    })?;
    key.epoch = Some(first.max(to));
    Ok(())
}

/// Forgets the states of epochs that nothing needs any more, now that the clock has moved on from
/// `last`. If it has jumped it may be wrong: then all are kept until it goes on from there.
pub fn forget_old(
    libssl: &'static Libssl,
    keys: &mut [FileKey],
    last: Epoch,
    moment: Moment,
) -> Result<(), Failed> {
    if !(1..=LONGEST_JUMP).contains(&moment.epoch.since(last)) {
        return Ok(());
    }
    for key in keys {
        if let Some(first) = key.epoch {
            advance(libssl, key, window(first, moment).oldest)?;
        }
    }
    Ok(())
}

/// Goes on with the older states of `old` where those of `new` only are later ones of the same
/// ratchet: what was rewritten took nothing away that this process needs.
pub fn keep_older(
    libssl: &'static Libssl,
    old: &[FileKey],
    new: &mut [FileKey],
    kept: u32,
) -> Result<(), Failed> {
    for key in new {
        let Some(epoch) = key.epoch else { continue };
        for before in old {
            let Some(first) = before.epoch else { continue };
            if !(1..=kept + 1).contains(&epoch.since(first)) {
                continue;
            }
            let mut stepped = FileKey::empty();
            stepped.copy(before);
            advance(libssl, &mut stepped, epoch)?;
            if stepped.secret.bytes() == key.secret.bytes() {
                key.copy(before);
                break;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openssl::libssl::libssl_in_test;
    use sesscache_core::key_file::KEY_BYTES;
    use sesscache_core::key_file::epoch::MOST_STEPS;

    fn ratchet(byte: u8, epoch: u32) -> FileKey {
        FileKey { secret: Secret::new([byte; KEY_BYTES]), epoch: Some(Epoch(epoch)) }
    }

    fn plain(byte: u8) -> FileKey {
        FileKey { secret: Secret::new([byte; KEY_BYTES]), epoch: None }
    }

    fn at(epoch: u32) -> Moment {
        Moment { epoch: Epoch(epoch), kept: 2 }
    }

    /// The epochs of the secrets and how long ago they were; 0 for a plain one.
    fn epochs(keys: &[FileKey], moment: Moment) -> Vec<(u32, u32)> {
        let all = secrets(libssl_in_test(), keys, moment).unwrap();
        assert_eq!(all.len(), all.capacity(), "it never grew");
        all.iter().map(|one| one.dated.map_or((0, 0), |it| (it.epoch.0, it.back))).collect()
    }

    fn of_epoch(keys: &[FileKey], moment: Moment, epoch: u32) -> Option<[u8; KEY_BYTES]> {
        let all = secrets(libssl_in_test(), keys, moment).unwrap();
        let is_it = |one: &&EpochSecret| one.dated.is_some_and(|it| it.epoch == Epoch(epoch));
        all.iter().find(is_it).map(|one| *one.secret.bytes())
    }

    /// Made by Python's hmac. cli/src/ratchet.rs has the same vector.
    #[test]
    fn the_chain_is_what_it_was() {
        let mut key = ratchet(0, 10);
        key.secret.bytes_mut().iter_mut().zip(0..).for_each(|(byte, value)| *byte = value);
        let second = of_epoch(std::slice::from_ref(&key), at(11), 12).unwrap();
        let expected = [
            0x73, 0xd3, 0x3d, 0x49, 0x85, 0xa2, 0xbb, 0x96, 0x2a, 0xff, 0xd5, 0x8c, 0x0e, 0xbc,
            0x26, 0x55, 0x27, 0x39, 0xde, 0xb3, 0xcd, 0x31, 0x27, 0x8e, 0x8f, 0xd6, 0x3b, 0x1d,
            0x12, 0x4c, 0x53, 0x72,
        ];
        assert_eq!(second, expected);
        advance(libssl_in_test(), &mut key, Epoch(12)).unwrap();
        assert_eq!((*key.secret.bytes(), key.epoch), (expected, Some(Epoch(12))));
    }

    #[test]
    fn the_present_is_first_and_then_the_next_and_those_before() {
        let keys = [ratchet(1, 90), plain(2), ratchet(3, 99), ratchet(4, 100)];
        let expected = vec![
            (100, 0),
            (101, 0),
            (99, 1),
            (98, 2),
            (0, 0),
            (100, 0),
            (101, 0),
            (99, 1),
            (100, 0),
            (101, 0),
        ];
        assert_eq!(epochs(&keys, at(100)), expected);
    }

    #[test]
    fn a_clock_before_the_state_leaves_the_state() {
        for clock in [0, 50, 89, 90] {
            assert_eq!(epochs(&[ratchet(1, 90)], at(clock)), [(90, 0), (91, 0)], "{clock}");
        }
    }

    #[test]
    fn a_clock_far_ahead_is_followed_for_five_years() {
        let last = 90 + MOST_STEPS;
        let expected = [(last, 0), (last + 1, 0), (last - 1, 1), (last - 2, 2)];
        assert_eq!(epochs(&[ratchet(1, 90)], at(u32::MAX)), expected);
    }

    #[test]
    fn hosts_whose_files_are_at_different_steps_agree() {
        let mut stepped = [ratchet(1, 60)];
        advance(libssl_in_test(), &mut stepped[0], Epoch(98)).unwrap();
        for epoch in 98..=101 {
            let ours = of_epoch(&stepped, at(100), epoch).unwrap();
            assert_eq!(of_epoch(&[ratchet(1, 60)], at(100), epoch), Some(ours));
        }
        assert_eq!(of_epoch(&stepped, Moment { epoch: Epoch(98), kept: 9 }, 97), None);
    }

    #[test]
    fn what_nothing_needs_is_forgotten() {
        let mut keys = [ratchet(1, 90), plain(2), ratchet(1, 99)];
        forget_old(libssl_in_test(), &mut keys, Epoch(99), at(100)).unwrap();
        let epochs = keys.each_ref().map(|key| key.epoch.map(|epoch| epoch.0));
        assert_eq!(epochs, [Some(98), None, Some(99)]);
        assert_eq!(keys[1].secret.bytes(), &[2; KEY_BYTES]);
    }

    #[test]
    fn a_clock_that_jumps_or_goes_back_is_not_believed_at_once() {
        let mut keys = [ratchet(1, 90)];
        let mut goes = |from: u32, to: u32| {
            forget_old(libssl_in_test(), &mut keys, Epoch(from), at(to)).unwrap();
            keys[0].epoch.map(|epoch| epoch.0)
        };
        assert_eq!(goes(100, 100 + LONGEST_JUMP + 1), Some(90));
        assert_eq!(goes(100, 99), Some(90));
        assert_eq!(goes(100, 100), Some(90));
        assert_eq!(goes(100, 100 + LONGEST_JUMP), Some(98 + LONGEST_JUMP));
    }

    #[test]
    fn a_file_that_was_stepped_on_takes_nothing_away() {
        let libssl = libssl_in_test();
        let after = |new: &mut FileKey| {
            keep_older(
                libssl,
                &[plain(9), ratchet(2, 98), ratchet(1, 98)],
                std::slice::from_mut(new),
                2,
            )
            .unwrap();
            (new.secret.bytes()[0], new.epoch.map(|epoch| epoch.0))
        };
        let mut stepped = ratchet(1, 98);
        advance(libssl, &mut stepped, Epoch(101)).unwrap();
        assert_eq!(after(&mut stepped), (1, Some(98)));
        assert_eq!(after(&mut ratchet(1, 101)), (1, Some(101)), "of another ratchet");
        assert_eq!(after(&mut plain(1)), (1, None));
        let mut earlier = ratchet(1, 90);
        assert_eq!(after(&mut earlier), (1, Some(90)), "the file was put back");
    }
}

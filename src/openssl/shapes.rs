//! The shapes of the sessions that are packed now, by small numbers.
//!
//! A shape stays for as long as a packed session has it. With 255 of them there, a session of another
//! shape is packed as a whole.
//!
//! Locks: one, tried and never waited for, to look for a shape. Whoever has a shape reads it without.

use super::boxed;
use super::cut::{Cut, Shape};
use parking_lot::Mutex;
use sesscache_core::system::seed::{Purpose, seed};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::num::NonZeroU8;
use std::ptr;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};

/// A shape has a number from 1 to this.
const MOST: usize = 255;

static SLOTS: [Slot; MOST] = [const { Slot::new() }; MOST];

/// The lock: under it, shapes change and get users. The number is of the slot that was looked for last.
static LATEST: Mutex<usize> = Mutex::new(0);

/// A place for a shape.
#[derive(Debug)]
struct Slot {
    /// Packed sessions of the shape. At 0 it may make room for another.
    users: AtomicU32,
    hash: AtomicU64,
    /// NULL, or a box that is ours.
    known: AtomicPtr<Known>,
}

#[derive(Debug)]
struct Known {
    shape: Shape,
    secret_length: usize,
}

/// A shape that is in use for as long as this lives.
#[derive(Debug)]
pub(super) struct InUse(NonZeroU8);

impl Slot {
    const fn new() -> Slot {
        Slot {
            users: AtomicU32::new(0),
            hash: AtomicU64::new(0),
            known: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Its shape. Under the lock, or for a user.
    fn known(&self) -> Option<&Known> {
        // SAFETY: NULL, or a box that stays while there are users. Only the holder of the lock replaces it.
        unsafe { self.known.load(Acquire).as_ref() }
    }

    /// Whether it has the shape of this session. Under the lock.
    fn is_for(&self, cut: &Cut<'_>) -> bool {
        self.known().is_some_and(|known| cut.has(&known.shape))
    }

    /// Puts in the shape of this session; `None` without memory. Under the lock, and without users.
    fn renew(&self, cut: &Cut<'_>, hash: u64) -> Option<()> {
        let known = Known { shape: cut.shape()?, secret_length: cut.secret.len() };
        let old = self.known.swap(Box::into_raw(boxed::try_new(known)?), AcqRel);
        self.hash.store(hash, Relaxed);
        if !old.is_null() {
            // SAFETY: made as a box, and nobody has it any more.
            drop(unsafe { Box::from_raw(old) });
        }
        Some(())
    }
}

impl InUse {
    /// The shape of this session. `None` if there is no room for it, without memory, and without the lock.
    pub(super) fn of(cut: &Cut<'_>) -> Option<InUse> {
        InUse::locked(&mut *LATEST.try_lock()?, cut)
    }

    fn locked(latest: &mut usize, cut: &Cut<'_>) -> Option<InUse> {
        let is_latest = SLOTS.get(*latest).is_some_and(|slot| slot.is_for(cut));
        if !is_latest {
            *latest = find(cut)?;
        }
        SLOTS.get(*latest)?.users.fetch_add(1, Relaxed);
        NonZeroU8::new(u8::try_from(*latest + 1).ok()?).map(InUse)
    }

    fn slot(&self) -> Option<&'static Slot> {
        SLOTS.get(usize::from(self.0.get()) - 1)
    }

    /// The shape, and how long the secret of a session is that has it.
    pub(super) fn shape(&self) -> Option<(&Shape, usize)> {
        let known = self.slot()?.known()?;
        Some((&known.shape, known.secret_length))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        if let Some(slot) = self.slot() {
            slot.users.fetch_sub(1, Release);
        }
    }
}

/// The slot of this session's shape, which is put there if it is in none. Under the lock.
#[cold]
fn find(cut: &Cut<'_>) -> Option<usize> {
    let [first, second] = seed(Purpose::Shapes)?;
    let mut hasher = SipHasher13::new_with_keys(first, second);
    cut.hash_shape(&mut hasher);
    let hash = hasher.finish();
    let is_it = |slot: &Slot| slot.hash.load(Relaxed) == hash && slot.is_for(cut);
    SLOTS.iter().position(is_it).or_else(|| {
        let free = SLOTS.iter().position(|slot| slot.users.load(Acquire) == 0)?;
        SLOTS.get(free)?.renew(cut, hash)?;
        Some(free)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sesscache_core::system::seed::draw;

    /// The DER of a session with this server name.
    fn der(name: u8) -> Vec<u8> {
        let mut body = vec![2, 1, 1, 2, 2, 3, 3, 4, 2, 0x13, 1, 4, 2, 7, 8, 4, 3, 9, 9, 9];
        body.extend([0xA1, 3, 2, 1, 1, 0xA2, 3, 2, 1, 2, 0xA6, 3, 4, 1, name]);
        let mut der = vec![0x30, body.len().try_into().unwrap()];
        der.extend(body);
        der
    }

    #[test]
    fn a_shape_stays_while_it_is_in_use() {
        draw();
        let ders: Vec<_> = (0..=255).map(der).collect();
        let cuts: Vec<_> = ders.iter().map(|der| Cut::of(der).unwrap()).collect();
        // Another test may have the lock.
        let take = |cut: &Cut<'_>| InUse::locked(&mut LATEST.lock(), cut);
        let mut taken: Vec<_> = cuts.iter().map_while(take).collect();
        // Another test may have some.
        assert!(taken.len() > MOST - 8, "{}", taken.len());
        for (in_use, cut) in taken.iter().zip(&cuts) {
            let (shape, secret_length) = in_use.shape().unwrap();
            assert!(cut.has(shape) && secret_length == 3);
        }
        let again = take(&cuts[0]).unwrap();
        assert_eq!(again.0, taken[0].0);
        drop(taken.swap_remove(0));
        assert!(take(&cuts[255]).is_none_or(|other| other.0 != again.0), "it is in use");
        assert!(cuts[0].has(again.shape().unwrap().0));
    }
}

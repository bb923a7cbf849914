//! The shapes of the sessions that are packed now, by small numbers.
//!
//! A shape stays for as long as a packed session has it. With 255 of them there, a session of another
//! shape is packed as a whole.
//!
//! Locks: one, tried and never waited for, to look for a shape. Whoever has a shape reads it without.

use super::boxed;
use crate::compact::Known;
use crate::compact::shape::{Parts, Shape};
use parking_lot::Mutex;
use sesscache_core::system::seed::{Purpose, seed};
use siphasher::sip::SipHasher13;
use std::hash::{Hash, Hasher};
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
    shape: AtomicPtr<Shape>,
}

/// A shape that is in use for as long as this lives.
#[derive(Debug)]
pub(super) struct InUse(NonZeroU8);

impl Slot {
    const fn new() -> Slot {
        Slot {
            users: AtomicU32::new(0),
            hash: AtomicU64::new(0),
            shape: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Its shape. Under the lock, or for a user.
    fn shape(&self) -> Option<&Shape> {
        // SAFETY: NULL, or a box that stays while there are users. Only the holder of the lock replaces it.
        unsafe { self.shape.load(Acquire).as_ref() }
    }

    /// Whether it has the shape of this session. Under the lock.
    fn is_for(&self, parts: &Parts<'_>, known: &Known<'_>) -> bool {
        self.shape().is_some_and(|shape| shape.is_of(parts, known))
    }

    /// Puts in a shape; `None` without memory. Under the lock, and without users.
    fn renew(&self, shape: Shape, hash: u64) -> Option<()> {
        let old = self.shape.swap(Box::into_raw(boxed::try_new(shape)?), AcqRel);
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
    pub(super) fn of(parts: &Parts<'_>, known: &Known<'_>) -> Option<InUse> {
        InUse::locked(&mut *LATEST.try_lock()?, parts, known)
    }

    fn locked(latest: &mut usize, parts: &Parts<'_>, known: &Known<'_>) -> Option<InUse> {
        let is_latest = SLOTS.get(*latest).is_some_and(|slot| slot.is_for(parts, known));
        if !is_latest {
            *latest = find(Shape::of(parts, known)?)?;
        }
        SLOTS.get(*latest)?.users.fetch_add(1, Relaxed);
        NonZeroU8::new(u8::try_from(*latest + 1).ok()?).map(InUse)
    }

    fn slot(&self) -> Option<&'static Slot> {
        SLOTS.get(usize::from(self.0.get()) - 1)
    }

    /// The shape.
    pub(super) fn shape(&self) -> Option<&Shape> {
        self.slot()?.shape()
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        if let Some(slot) = self.slot() {
            slot.users.fetch_sub(1, Release);
        }
    }
}

/// The slot of a shape, which is put there if it is in none. Under the lock.
#[cold]
fn find(shape: Shape) -> Option<usize> {
    let [first, second] = seed(Purpose::Shapes)?;
    let mut hasher = SipHasher13::new_with_keys(first, second);
    shape.hash(&mut hasher);
    let hash = hasher.finish();
    let is_it = |slot: &Slot| slot.hash.load(Relaxed) == hash && slot.shape() == Some(&shape);
    SLOTS.iter().position(is_it).or_else(|| {
        let free = SLOTS.iter().position(|slot| slot.users.load(Acquire) == 0)?;
        SLOTS.get(free)?.renew(shape, hash)?;
        Some(free)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sesscache_core::system::seed::draw;

    const KNOWN: Known<'_> =
        Known { version: 0x304, id: &[7, 8], name: &[], began: 1, deadline: 3 };

    /// A shortened session with this byte in it.
    fn short(byte: u8) -> [u8; 10] {
        [3, 0x13, 1, 9, 9, 9, 0x0e, 0x16, 0x81, byte]
    }

    #[test]
    fn a_shape_stays_while_it_is_in_use() {
        draw();
        let shorts: Vec<_> = (0..=255).map(short).collect();
        let all: Vec<_> = shorts.iter().map(|short| Parts::of(short, &KNOWN).unwrap()).collect();
        // Another test may have the lock.
        let take = |parts: &Parts<'_>| InUse::locked(&mut LATEST.lock(), parts, &KNOWN);
        let mut taken: Vec<_> = all.iter().map_while(take).collect();
        // Another test may have some.
        assert!(taken.len() > MOST - 8, "{}", taken.len());
        for (in_use, parts) in taken.iter().zip(&all) {
            assert!(in_use.shape().unwrap().is_of(parts, &KNOWN));
        }
        let again = take(&all[0]).unwrap();
        assert_eq!(again.0, taken[0].0);
        drop(taken.swap_remove(0));
        assert!(take(&all[255]).is_none_or(|other| other.0 != again.0), "it is in use");
        assert!(again.shape().unwrap().is_of(&all[0], &KNOWN));
    }
}

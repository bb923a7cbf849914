//! A few uses and replacements in many interleavings (`make shuttle`). schedules.rs tells how a
//! failing one is replayed.
//!
//! In each interleaving, no user meets an empty value or a value that changes in use. No older
//! value comes back. At the end a single slot has a value. The last test is the protocol of a key
//! file. A thread that has seen a change of the file uses that version or a later one.

use super::*;
use crate::schedules::explore;
use shuttle::thread;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

/// Runs the bodies at once on slots with the value 1. Returns nothing: a body asserts.
fn run(bodies: &'static [fn(&Slots<u64>)]) {
    explore(move || {
        let slots = Arc::new(Slots::new(1));
        let threads: Vec<_> = bodies
            .iter()
            .map(|body| {
                let slots = slots.clone();
                thread::spawn(move || body(&slots))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_one_is_filled(&slots);
    });
}

fn assert_one_is_filled(slots: &Slots<u64>) {
    let filled = slots.slots.iter().filter(|slot| *slot.try_read().unwrap() != 0).count();
    assert_eq!(filled, 1, "slots with a value");
}

/// Uses the value twice. It is never empty, never changes in use, and never gets older.
fn use_twice(slots: &Slots<u64>) {
    let look = || {
        let look_again = |value: &u64| {
            let before = *value;
            thread::yield_now();
            assert_eq!(*value, before, "a value changed in use");
            before
        };
        slots.using(look_again).expect("no lock is held for ever")
    };
    let first = look();
    assert!(first != 0, "an empty value was used");
    assert!(look() >= first, "an older value came back");
}

/// Replaces the value by a greater one, and again if another thread is faster.
fn grow(slots: &Slots<u64>) {
    slots.update(|| slots.using(|value| value + 1).ok());
}

#[test]
fn users_beside_puts() {
    run(&[use_twice, use_twice, |slots| (0..3).for_each(|_| grow(slots))]);
}

/// Who loses the processor while it has the current slot locked for writing keeps all users away. With one
/// put nobody ever has.
#[test]
fn a_put_locks_no_user_out() {
    let look = |slots: &Slots<u64>| {
        let before = slots.generation();
        let held = slots.hold().map(|(slot, value)| {
            drop(value);
            slots.empty(slot);
        });
        assert!(held.is_some() || slots.generation() != before, "the current slot was locked");
    };
    explore(move || {
        let slots = Arc::new(Slots::new(1));
        let users = [(); 2].map(|()| {
            let slots = slots.clone();
            thread::spawn(move || look(&slots))
        });
        assert_eq!(slots.put(slots.generation(), 2), Replacement::Done);
        users.into_iter().for_each(|user| user.join().unwrap());
        assert_one_is_filled(&slots);
    });
}

#[test]
fn puts_that_race() {
    run(&[grow, grow, grow, use_twice]);
}

#[test]
fn one_put_of_a_generation_is_done() {
    explore(|| {
        let slots = Arc::new(Slots::new(1));
        let generation = slots.generation();
        let threads = [2, 3, 4].map(|value| {
            let slots = slots.clone();
            thread::spawn(move || (slots.put(generation, value), value))
        });
        let puts = threads.map(|thread| thread.join().unwrap());
        let done: Vec<_> = puts.iter().filter(|(put, _)| *put == Replacement::Done).collect();
        assert!(puts.iter().all(|(put, _)| *put != Replacement::Full));
        assert_eq!(done.len(), 1, "{puts:?}");
        assert_eq!(slots.using(|value| *value), Ok(done[0].1));
        assert_one_is_filled(&slots);
    });
}

/// The protocol of a key file. `file` is its version. A thread that reloads reads the file, derives
/// a value from it and puts the value in.
#[test]
fn every_change_of_a_file_is_seen() {
    explore(|| {
        let slots = Arc::new(Slots::new(1));
        let file = Arc::new(AtomicU64::new(1));
        let reload = |slots: &Slots<u64>, file: &AtomicU64| {
            slots.update(|| {
                let found = file.load(SeqCst);
                slots.using(|value| *value != found).unwrap_or(true).then(|| found)
            });
        };
        let threads = [(); 3].map(|()| {
            let (slots, file) = (slots.clone(), file.clone());
            thread::spawn(move || {
                let written = file.fetch_add(1, SeqCst) + 1;
                reload(&slots, &file);
                let used = slots.using(|value| *value).unwrap();
                assert!(used >= written, "{used} is used after {written} was written");
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(slots.using(|value| *value), Ok(4));
        assert_one_is_filled(&slots);
    });
}

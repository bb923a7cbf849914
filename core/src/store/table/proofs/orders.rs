//! The table's promises in every order that the memory model of C11 allows, on a bucket of four slots and four
//! places for removals (`make loom`).
//!
//! pairs.rs runs processes one inside the other, so that each sees all that was written before. Here a process
//! may see the words of another in another order, as on ARM, unless a fence or a published word forbids it.
//! Loom tries all schedules with so many switches where a process could have gone on, and in them all values
//! that a load may give.

use super::*;
use crate::store::Use;
use crate::store::record::APPLIED;
use crate::store::table::bucket::STORED;
use loom::model::Builder;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const ID: u64 = 7;
/// It fills a slot.
const LENGTH: usize = 16;
/// It needs a further slot.
const LARGE: usize = 32;

/// Switches where a process could have gone on. The long models have fewer.
const SWITCHES: usize = 2;
const FEW_SWITCHES: usize = 1;

/// Runs `body` with so many switches at most, or with `SESSCACHE_SWITCHES`.
fn explore(switches: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    let asked = std::env::var("SESSCACHE_SWITCHES").ok().map(|text| text.parse().unwrap());
    builder.preemption_bound = asked.or(Some(switches));
    builder.max_branches = 1_000_000;
    let schedules = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = schedules.clone();
    builder.check(move || {
        count.fetch_add(1, Relaxed);
        body();
    });
    eprintln!("{} schedules", schedules.load(Relaxed));
}

type Body = fn(&Memory);

/// Prepares a table, runs two bodies at once, and then checks it.
fn two(buckets: usize, prepare: Body, bodies: [Body; 2], check: Body) {
    two_with(SWITCHES, buckets, prepare, bodies, check);
}

fn two_with(
    switches: usize,
    buckets: usize,
    prepare: Body,
    [first, second]: [Body; 2],
    check: Body,
) {
    explore(switches, move || {
        let memory = Arc::new(Memory::new(buckets));
        prepare(&memory);
        let other = memory.clone();
        let other = thread::spawn(move || second(&other));
        first(&memory);
        other.join().unwrap();
        check(&memory);
    });
}

/// Another record of the session, with other bytes.
fn put_again(memory: &Memory) -> bool {
    memory.place(ID).put(LATER, NOW, 0, &payload(!ID, LENGTH)).is_ok()
}

fn done<T>(_: T) {}

fn remove(memory: &Memory) {
    memory.remove(ID);
}

fn with_session(memory: &Memory) {
    memory.put(ID, LENGTH).unwrap();
}

/// Nothing of the session may come back.
fn is_gone(memory: &Memory) {
    assert_eq!(memory.look(ID), Lookup::Removed);
    assert!(!memory.place(ID).may_have(), "a session beside its removal");
    assert_eq!(memory.take(ID), None);
    assert!(!memory.is_trusted(ID));
}

fn look_is_whole(memory: &Memory, length: usize) {
    let found = memory.get(ID);
    let known = [payload(ID, length), payload(!ID, length)];
    assert!(found.as_ref().is_none_or(|found| known.contains(found)), "{found:?}");
}

#[test]
fn a_lookup_beside_a_put_finds_all_or_nothing() {
    let look: Body = |memory| look_is_whole(memory, LENGTH);
    two(1, |_| {}, [with_session, look], |memory| assert!(memory.get(ID).is_some()));
    let again: Body = |memory| assert!(put_again(memory));
    two(1, with_session, [again, look], |memory| assert!(memory.get(ID).is_some()));
}

#[test]
fn a_lookup_beside_an_eviction_finds_all_or_nothing() {
    let full: Body = |memory| {
        with_session(memory);
        (100..103).for_each(|number| memory.put(number, LENGTH).unwrap());
    };
    let other: Body = |memory| memory.put(200, LENGTH).unwrap();
    two(1, full, [other, |memory| look_is_whole(memory, LENGTH)], |memory| {
        assert!(memory.get(200).is_some());
    });
}

/// Each of two puts sees the other's slot free, then with a session, whose stamp is that of a free one.
#[test]
fn of_two_puts_none_takes_the_others_slot_for_free() {
    let at_255: Body = |memory| memory.buckets[0].counts.put(255 * STORED);
    let one: Body = |memory| memory.put(200, LENGTH).unwrap();
    let other: Body = |memory| memory.put(201, LENGTH).unwrap();
    two(1, at_255, [one, other], |memory| {
        for number in [200, 201] {
            assert_eq!(memory.get(number), Some(payload(number, LENGTH)));
        }
    });
}

/// Two processes put the same session, each before the other's is there to be replaced.
#[test]
fn of_two_puts_of_a_session_one_is_left() {
    let again: Body = |memory| assert!(put_again(memory));
    two(
        1,
        |_| {},
        [with_session, again],
        |memory| {
            look_is_whole(memory, LENGTH);
            assert_eq!(memory.slots(State::Live), 1);
        },
    );
}

/// Each of two puts looks at the claim of a process that died, and one of them gets the slot.
#[test]
fn a_slot_of_the_dead_is_written_by_one() {
    let with_claim: Body = |memory| {
        (100..103).for_each(|number| memory.put(number, LENGTH).unwrap());
        assert!(seam::dies_at(2, || done(memory.put(ID, LENGTH))));
    };
    let one: Body = |memory| memory.put_at(200, LENGTH, AFTERWARDS).unwrap();
    let other: Body = |memory| memory.put_at(201, LENGTH, AFTERWARDS).unwrap();
    two(1, with_claim, [one, other], |memory| {
        for number in [200, 201] {
            assert_eq!(memory.get(number), Some(payload(number, LENGTH)));
        }
    });
}

/// A put looks at a free slot, which is a removal when it is looked at again, with the same stamp.
#[test]
fn a_put_does_not_take_the_place_of_a_removal() {
    let full: Body = |memory| {
        (100..103).for_each(|number| memory.put(number, LENGTH).unwrap());
        remove_others(memory, 1..5);
        let time = memory.buckets[0].time() & 0xFF;
        (0..255 - time).for_each(|_| done(memory.buckets[0].clock.add(1)));
    };
    let put: Body = |memory| done(memory.put(200, LENGTH));
    two(1, full, [remove, put], |memory| {
        for number in 1..5 {
            assert!(!memory.is_trusted(number), "{number}");
        }
        assert!(!memory.is_trusted(ID), "lost");
    });
}

#[test]
fn a_lookup_beside_a_removal_finds_all_or_nothing() {
    let look: Body = |memory| {
        look_is_whole(memory, LENGTH);
        if memory.look(ID) == Lookup::Removed {
            assert_eq!(memory.look(ID), Lookup::Removed, "it came back");
        }
    };
    two_with(FEW_SWITCHES, 1, with_session, [remove, look], is_gone);
}

#[test]
fn who_learns_of_a_removal_meets_it() {
    explore(SWITCHES, || {
        let (memory, is_removed) = (Arc::new(Memory::new(1)), Arc::new(AtomicBool::new(false)));
        with_session(&memory);
        let (other, told) = (memory.clone(), is_removed.clone());
        let other = thread::spawn(move || {
            other.remove(ID);
            told.store(true, Ordering::Release);
        });
        if is_removed.load(Ordering::Acquire) {
            is_gone(&memory);
            assert_eq!(memory.put(ID, LENGTH), Err(PutError::Removed));
        }
        other.join().unwrap();
    });
}

#[test]
fn a_put_beside_a_removal_does_not_outlive_it() {
    let put: Body = |memory| done(put_again(memory));
    two(1, |_| {}, [remove, put], is_gone);
    // That of another host, of which nobody is told.
    let applied: Body = |memory| done(memory.place(ID).remove(LATER, NOW, APPLIED));
    two(1, |_| {}, [applied, put], is_gone);
    two(1, with_session, [remove, put], is_gone);
}

#[test]
fn one_of_two_takers_gets_it() {
    take_twice(1, LENGTH, |_| {});
}

/// A put that was told again may have left two.
#[test]
fn one_of_two_takers_gets_it_of_two_slots() {
    for nth in 1..12 {
        let prepare = move |memory: &Arc<Memory>| {
            let other = memory.clone();
            let second = move || done(other.put(ID, LENGTH));
            seam::with_before(nth, second, || done(memory.put(ID, LENGTH)));
        };
        take_twice(1, LENGTH, prepare);
    }
}

#[test]
fn one_of_two_takers_gets_it_of_several_slots() {
    take_twice(2, LARGE, |_| {});
}

fn take_twice(
    buckets: usize,
    length: usize,
    prepare: impl Fn(&Arc<Memory>) + Send + Sync + 'static,
) {
    explore(FEW_SWITCHES, move || {
        let memory = Arc::new(Memory::new(buckets));
        prepare(&memory);
        if memory.get(ID).is_none() {
            memory.put(ID, length).unwrap();
        }
        let other = memory.clone();
        let other = thread::spawn(move || other.take(ID));
        let mine = memory.take(ID);
        let others = other.join().unwrap();
        for taken in [&mine, &others].into_iter().flatten() {
            assert_eq!(*taken, payload(ID, length));
        }
        assert!(mine.is_none() || others.is_none(), "taken twice");
        if mine.is_some() || others.is_some() {
            is_gone(&memory);
        }
    });
}

#[test]
fn a_take_beside_a_removal_a_put_or_a_visit_ends_it() {
    let take: Body = |memory| done(memory.take(ID));
    two_with(FEW_SWITCHES, 1, with_session, [take, remove], is_gone);
    let visit: Body = |memory| done(memory.place(ID).note_use(Use::Ticket));
    two_with(FEW_SWITCHES, 1, with_session, [remove, visit], is_gone);
    explore(FEW_SWITCHES, || {
        let memory = Arc::new(Memory::new(1));
        with_session(&memory);
        let other = memory.clone();
        let other = thread::spawn(move || put_again(&other));
        let taken = memory.take(ID);
        other.join().unwrap();
        if taken.is_some() {
            is_gone(&memory);
        }
    });
}

/// Removals of other sessions, each of which holds longer than the one before, so that the first goes.
fn remove_others(memory: &Memory, numbers: std::ops::Range<u64>) {
    for number in numbers {
        memory.place(number).remove(LATER + 10_000 + number * 200, NOW, 0);
    }
}

/// All six places for removals are in use.
fn full_of_removals(memory: &Memory) {
    memory.remove(ID);
    (100..102).for_each(|number| memory.put(number, LENGTH).unwrap());
    remove_others(memory, 1..6);
}

#[test]
fn a_removal_that_is_forgotten_is_below_the_floor() {
    let forget: Body = |memory| remove_others(memory, 10..11);
    let trust: Body = |memory| {
        assert!(!memory.is_trusted(ID));
        assert_eq!(memory.get(ID), None);
    };
    two(1, full_of_removals, [forget, trust], |memory| assert!(!memory.is_trusted(ID)));
    let put: Body = |memory| {
        assert!(memory.put(ID, LENGTH).is_err() || memory.place(ID).floor(NOW) > 0);
    };
    two(1, full_of_removals, [forget, put], |memory| assert!(!memory.is_trusted(ID)));
}

/// The removal comes and goes while a put is on its way, in a second in which the floor had risen before.
#[test]
fn a_put_beside_a_removal_that_is_forgotten_does_not_outlive_it() {
    explore(FEW_SWITCHES, || {
        let memory = Arc::new(Memory::new(1));
        full_of_removals(&memory);
        remove_others(&memory, 10..12);
        assert_eq!(memory.place(ID).floor(NOW), NOW.seconds());
        let other = memory.clone();
        let other = thread::spawn(move || {
            let has_begun = other.slots(State::Writing) > 0;
            if has_begun {
                other.remove(ID);
                remove_others(&other, 20..21);
            }
            has_begun
        });
        done(memory.put(ID, LENGTH));
        let is_removed = other.join().unwrap();
        assert!(!is_removed || memory.get(ID).is_none(), "a removed session");
    });
}

#[test]
fn sessions_of_several_slots_are_whole() {
    let with_large: Body = |memory| memory.put(ID, LARGE).unwrap();
    let look: Body = |memory| look_is_whole(memory, LARGE);
    let again: Body = |memory| {
        let _ = memory.place(ID).put(LATER, NOW, 0, &payload(!ID, LARGE));
    };
    two_with(FEW_SWITCHES, 2, with_large, [again, look], |_| {});
    two_with(FEW_SWITCHES, 2, with_large, [remove, look], is_gone);
}

/// A published session is told by the reader that works meanwhile, or by the next round.
#[test]
fn nothing_that_is_published_stays_untold() {
    let read = |memory: &Memory| {
        let (mut bytes, mut in_flight) = (Vec::new(), Vec::new());
        let table = memory.table();
        let records = table.read_untold(0, NOW, usize::MAX, &mut bytes, &mut in_flight);
        table.note_told(&in_flight);
        records
    };
    let writers: [Body; 2] = [with_session, remove];
    for write in writers {
        explore(SWITCHES, move || {
            let memory = Arc::new(Memory::new(1));
            // The bucket's bit is set already, so that the writer may not set it.
            memory.put(100, LENGTH).unwrap();
            let other = memory.clone();
            let other = thread::spawn(move || write(&other));
            let first = read(&memory);
            other.join().unwrap();
            assert_eq!(first + read(&memory), 2, "records are told");
            assert_eq!(memory.table().untold(), 0);
        });
    }
}

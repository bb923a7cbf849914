//! Resets: a shard loses its contents, and the removals that it knew.

use super::cell::Cell;
use super::layout::shard as at;
use super::tests::{LATER, NOW, get, holds, locator, payload, put, store};
use super::*;
use crate::system::clock::now_milliseconds;
use std::sync::Barrier;
use std::thread;

#[test]
fn a_shard_that_makes_no_sense_is_dropped_and_goes_on() {
    for offset in [at::HEAD, at::TAIL] {
        for value in [3, u64::MAX, 1 << 40] {
            let store = store();
            put(&store, 1, 100);
            store.numbered(0).word(offset).unwrap().store(value, Relaxed);
            let found = get(&store, 1);
            assert!(found.is_none() || found == Some(payload(1, 100)));
            put(&store, 2, 100);
            assert_eq!(get(&store, 2), Some(payload(2, 100)));
            assert!(store.counters().resets > 0, "offset {offset}, value {value}");
            assert!(!store.may_resume(&locator(1), 5, NOW), "a removal may have been lost");
        }
    }
}

#[test]
fn damage_says_which_value_was_wrong() {
    let store = store();
    let of = locator(1);
    put(&store, 1, 100);
    let shard = store.numbered(0);
    let cell = shard.bucket(&of).unwrap().iter().find(|cell| cell.load(Relaxed) != 0).unwrap();
    let record = shard.base + store.geometry.ring_offset();
    let damage = || shard.locked(NOW.0, |locked| Ok(locked.find(&of).err())).unwrap();
    let mut start = [0; 4];
    store.mapping.read(record, &mut start).unwrap();
    let [low, high, _, flags] = start;
    let kind_of = |kind| [low, high, kind, flags];
    assert_eq!(damage(), None);
    for (written, expected) in [
        (kind_of(9), Some(Damaged::Head)),
        ([1, 0, Kind::Put.code(), flags], Some(Damaged::Head)),
        (kind_of(Kind::Removal.code()), Some(Damaged::Kind)),
        ([low + 1, high, Kind::Put.code(), flags], Some(Damaged::Length)),
        (start, None),
    ] {
        store.mapping.write(record, &written).unwrap();
        assert_eq!(damage(), expected, "{written:?}");
    }
    for offset in [8 * at::HEAD, store.geometry.ring] {
        cell.store(Cell::new(&of, false, offset).0, Relaxed);
        assert_eq!(damage(), Some(Damaged::Cell), "{offset}");
    }
    assert_eq!(store.counters().resets, 0, "the one who looks decides");
    assert_eq!(get(&store, 1), None);
    assert_eq!(store.counters().resets, 1);
}

#[test]
fn a_reset_also_concerns_what_began_while_it_waited() {
    let store = store();
    store.numbered(0).word(at::HEAD).unwrap().store(3, Relaxed);
    put(&store, 1, 100);
    assert_eq!(store.counters().resets, 1);
    let began = now_milliseconds() / 1000 - 1;
    assert!(began > NOW.0 / 1000);
    assert!(!store.may_resume(&locator(2), began, NOW), "removed perhaps, just before the reset");
}

#[test]
fn a_removal_that_could_not_be_written_is_assumed() {
    let store = store();
    put(&store, 1, 100);
    put(&store, 2, 100);
    let shard = store.shard(&locator(1));
    let held = shard.mapping.lock(shard.base + at::LOCK, None);
    assert!(matches!(held, mapping::Lock::Held(_)));
    assert!(!store.remove(&locator(1), LATER, NOW));
    assert!(!store.may_resume(&locator(1), u64::MAX, NOW));
    assert_eq!(get(&store, 2), None, "nothing is known while the lock is held");
    drop(held);
    assert_eq!((get(&store, 1), get(&store, 2)), (None, None));
    assert!(!store.may_resume(&locator(1), NOW.0 / 1000, NOW));
    put(&store, 3, 100);
    assert_eq!(get(&store, 3), Some(payload(3, 100)));
    assert_eq!(store.counters().resets, 1);
}

#[test]
fn a_removal_that_is_lost_during_a_reset_has_the_next_holder_reset_again() {
    let store = store();
    let shard = store.numbered(0);
    for round in 1..=200 {
        let floor = shard.value(at::FLOOR);
        let began = Barrier::new(2);
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                began.wait();
                while shard.value(at::FLOOR) == floor {
                    std::hint::spin_loop();
                }
                shard.lose_a_removal();
            });
            shard.lose_a_removal();
            began.wait();
            // Each reset is an hour later than the one before.
            let now = Now(now_milliseconds() + round * 3_600_000);
            assert!(shard.mend(now.0));
            other.join().unwrap();
        });
        assert!(shard.has_lost_a_removal(), "round {round}");
        assert!(shard.mend(NOW.0) && !shard.has_lost_a_removal());
    }
    assert_eq!(store.counters().resets, 400);
}

#[test]
fn removals_that_are_lost_are_never_so_many_that_it_seems_none() {
    let store = store();
    let shard = store.numbered(0);
    let lost = shard.mapping.half_word(shard.base + at::LOST).unwrap();
    for before in [0, 1, u32::MAX - 1, u32::MAX] {
        lost.store(before, Relaxed);
        shard.lose_a_removal();
        assert!(shard.has_lost_a_removal() && lost.load(Relaxed) != before, "{before}");
    }
}

#[test]
fn a_reset_forgets_all_there_is_and_what_is_left_of_it_is_never_met() {
    let store = store();
    let shard = store.numbered(0);
    let mut resets = 0;
    for number in 0..60_000 {
        // Lengths so different that no record begins where one began a ring ago.
        put(&store, number, usize::try_from(number * 7 % 911).unwrap());
        if number % 9 == 0 {
            store.remove(&locator(number), LATER, NOW);
        }
        if number % 7919 != 7918 {
            continue;
        }
        shard.lose_a_removal();
        let before = shard.value(at::HEAD);
        assert!(shard.mend(NOW.0));
        resets += 1;
        assert!((0..=number).all(|number| get(&store, number).is_none()));
        let counters = store.counters();
        assert_eq!((counters.entries, counters.bytes, counters.resets), (0, 0, resets));
        assert_eq!((shard.value(at::HEAD), shard.value(at::TAIL)), (before, before));
    }
    assert!(resets == 7 && store.counters().resets == resets);
}

/// Other threads give up after 20 ms. If one of them gives up a removal, that is the next reset's
/// reason.
#[test]
fn a_reset_touches_the_index_and_not_the_ring() {
    let store = store();
    put(&store, 1, 1000);
    let shard = store.numbered(0);
    shard.lose_a_removal();
    assert!(shard.mend(NOW.0));
    assert_eq!(get(&store, 1), None);
    assert!(holds(&store, &payload(1, 1000)));
    (2..20_000).for_each(|number| put(&store, number, 100));
    assert!(!holds(&store, &payload(1, 1000)[..64]), "the ring came round");
}

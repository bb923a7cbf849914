//! A put claims a slot that it has looked at, and changes no other one.

use super::*;
use crate::store::table::bucket::CELLS;
use crate::store::table::cell::Cell;

/// The cell of a slot that was claimed for something and has it now.
fn cell(state: State, number: u64, deadline: u64) -> Cell {
    let claimed = Cell(0).claim(state, mixed(number) >> 40, NOW);
    claimed.done(state, deadline, NOW, 0)
}

/// Only damage leaves a bucket so: the places for removals are full, too, and end later.
#[test]
fn of_nothing_but_removals_one_is_forgotten() {
    let memory = Memory::new(1);
    for way in 0..CELLS {
        let deadline = LATER + if way < WAYS { 1000 } else { 1_000_000 };
        memory.buckets[0].word(way).put(cell(State::Trace, way as u64 + 50_000, deadline).0);
    }
    // The floor, of this second, is for the first one, too.
    assert_eq!(memory.put(0, 40), Err(PutError::Removed));
    for number in 1..10 {
        assert_eq!(memory.put(number, 40), Ok(()), "{number}");
    }
    assert!(memory.buckets[0].rises() < 3, "{}", memory.buckets[0].rises());
}

/// A put has looked and is stopped. When it goes on, a slot that it has seen is another one's claim.
#[test]
fn a_claim_is_not_made_younger() {
    let memory = Memory::new(1);
    let bucket = &memory.buckets[0];
    let more = cell(State::More, 5, LATER).with_stamp(0);
    bucket.word(3).put(more.0);
    bucket.clock.put(192);
    let (_, ways) = bucket.survey(memory.place(7).key.tag, NOW);
    let claim = more.claim(State::Writing, 77, NOW);
    assert!(bucket.change(3, more, claim));
    bucket.keep_old(&ways, bucket.time());
    assert_eq!(bucket.cell(3).0, claim.0);
}

/// The further slot of a session, and a session of one slot, push others out of one bucket in turn.
#[test]
fn what_had_to_go_is_remembered_with_each_slot() {
    let memory = Memory::new(2);
    let (first, second): (Vec<u64>, Vec<u64>) =
        (0..400).partition(|number| memory.place(*number).number == 0);
    for number in first.iter().take(WAYS).chain(second.iter().take(WAYS)) {
        memory.put(*number, 10).unwrap();
    }
    let tags = || {
        let cells = memory.buckets[1].look();
        let live = cells.cells().iter().take(WAYS).filter(|cell| cell.is(State::Live));
        live.map(|cell| cell.tag()).collect::<Vec<_>>()
    };
    for at in 100..110 {
        let before = tags();
        memory.put(second[at], 10).unwrap();
        // Begins in the other bucket, and goes on here.
        memory.put(first[at], 200).unwrap();
        let after = tags();
        let gone = before.iter().filter(|tag| !after.contains(tag));
        for tag in gone {
            assert!(memory.buckets[1].ghost_of(*tag).is_some(), "{at}");
        }
    }
}

//! Of a bucket's regulars the one that stays away longest goes, however many newcomers come meanwhile.
//! Both parts have their share of what removals leave.
//! Whatever ends very late stays, also for a process whose clock is behind.

use super::*;
use crate::store::Use;
use crate::store::record::CAME_BACK;
use crate::store::table::bucket::CELLS;

#[test]
fn ages_are_told_apart_after_any_number_of_puts() {
    let put = |memory: &Memory, number, flags| {
        memory.place(number).put(LATER, NOW, flags, b"").unwrap();
    };
    for newcomers in [100, 250, 260, 300, 511, 1000] {
        let memory = Memory::new(1);
        // The newcomers have four ways at most, so that the regulars stay.
        (0..5000).for_each(|_| memory.share.learn(true, WAYS as u64));
        (0..16).for_each(|number| put(&memory, number, CAME_BACK));
        (0..newcomers).for_each(|number| put(&memory, 10_000 + number, 0));
        // Young ones, as many as there are other ways: the old ones go first.
        for number in 100..128 {
            put(&memory, number, CAME_BACK);
        }
        let here = |numbers: std::ops::Range<u64>| {
            numbers.filter(|number| memory.place(*number).may_have()).count()
        };
        assert_eq!(here(100..128), 28, "{newcomers}: {} old ones are there", here(0..16));
    }
}

/// Each regular of the bucket has come back again, so that each would be passed over.
#[test]
fn a_newcomer_finds_room_among_busy_regulars() {
    let memory = Memory::new(1);
    let put = |number| memory.place(number).put(LATER, NOW, CAME_BACK, b"");
    let regulars = WAYS as u64;
    (0..regulars).for_each(|number| put(number).unwrap());
    // The last one is written again and again, so that time passes.
    (0..8).for_each(|_| put(regulars - 1).unwrap());
    for number in 0..regulars - 1 {
        memory.place(number).note_use(Use::Visit);
        put(regulars - 1).unwrap();
    }
    assert_eq!(memory.put(1000, 100), Ok(()));
    assert!(memory.place(1000).may_have());
}

/// Removals have half of the bucket's ways.
#[test]
fn a_regular_stays_beside_removals() {
    let memory = Memory::new(1);
    memory.remove_others(CELLS as u64);
    (0..WAYS as u64).for_each(|number| memory.put(number, 100).unwrap());
    assert!(memory.slots(State::Live) < WAYS);
    memory.place(100).put(LATER, NOW, CAME_BACK, b"").unwrap();
    (0..WAYS as u64).for_each(|number| memory.put(200 + number, 100).unwrap());
    assert!(memory.place(100).may_have());
}

/// The beginning of a unit of deadlines, so that a moment before is another one.
const UNIT: Now = Now(1_700_000_000_000 / 128_000 * 128_000);
const A_MOMENT_BEFORE: Now = Now(UNIT.0 - 1);
/// Hours before: a clock that was wrong is set back.
const HOURS_BEFORE: Now = Now(UNIT.0 - 23 * 60 * 60 * 1000);
const NEVER: u64 = u64::MAX >> 24;

#[test]
fn a_session_that_ends_very_late_stays_when_the_clock_is_set_back() {
    for behind in [A_MOMENT_BEFORE, HOURS_BEFORE] {
        let memory = Memory::new(1);
        for number in 0..8 {
            memory.place(number).put(NEVER, UNIT, 0, b"late").unwrap();
        }
        memory.put_at(8, 10, behind).unwrap();
        let here = (0..9).filter(|number| memory.place(*number).may_have());
        assert_eq!(here.count(), 9, "{behind:?}");
    }
}

#[test]
fn the_removal_of_one_holds_when_the_clock_is_set_back() {
    for behind in [A_MOMENT_BEFORE, HOURS_BEFORE] {
        for deadline in [NEVER, UNIT.0 / 1000 + 40 * 86400] {
            let memory = Memory::new(1);
            memory.place(1).put(deadline, UNIT, 0, b"late").unwrap();
            memory.place(1).remove(deadline, UNIT, 0);
            let place = memory.place(1);
            assert_eq!(place.get(behind, &mut Vec::new()), Lookup::Removed, "{behind:?}");
        }
    }
}

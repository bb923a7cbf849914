//! A process dies before its n-th shared write, for every n. The others find everything else, no removal is
//! lost, and none takes what was taken.

use super::*;
use crate::store::Use;
use crate::store::table::word::Word;

/// Runs `operation` once for each of its writes, before which it dies, and once to the end. `check` is told
/// whether it died.
fn at_each_write(
    buckets: usize,
    prepare: impl Fn(&Memory),
    operation: impl Fn(&Memory),
    check: impl Fn(&Memory, bool),
) {
    for nth in 1..5000 {
        let memory = Memory::new(buckets);
        prepare(&memory);
        let died = seam::dies_at(nth, || operation(&memory));
        check(&memory, died);
        if !died {
            assert!(nth > 1, "it wrote nothing");
            return;
        }
    }
    panic!("it does not end");
}

/// A second later every slot of the first bucket is used again.
fn heals(memory: &Memory) {
    for number in 5000..5300 {
        memory.place(number).put(LATER, AFTERWARDS, 0, b"").unwrap();
        assert!(memory.place(number).may_have(), "{number}");
    }
    assert_eq!(memory.slots(State::Writing) + memory.slots(State::Taken), 0);
}

#[test]
fn a_put_costs_what_made_room_for_it() {
    at_each_write(
        1,
        Memory::fill,
        |memory| memory.put(100, 150).unwrap(),
        |memory, died| {
            assert!(memory.kept().len() >= WAYS - 1, "{:?}", memory.kept());
            let found = memory.get(100);
            assert!(found.is_none() || found == Some(payload(100, 150)));
            assert!(died || found.is_some());
            heals(memory);
        },
    );
}

/// Nor is a process that looks at the bucket before the put has counted itself.
#[test]
fn a_session_that_was_not_counted_is_not_a_regulars_at_its_first_use() {
    for others in [0, 5, 300] {
        let prepare = |memory: &Memory| {
            (0..others).for_each(|number| memory.put(1000 + number, 100).unwrap());
        };
        let put = |memory: &Memory| memory.put(1, 100).unwrap();
        at_each_write(1, prepare, put, |memory, _| {
            if memory.get(1).is_some() {
                let look = memory.look(1);
                assert!(matches!(look, Lookup::Found { came_back: false, .. }), "{look:?}");
                assert!(!memory.place(1).note_use(Use::Visit));
                assert!(!memory.place(1).note_use(Use::Visit), "it became one");
            }
        });
    }
}

#[test]
fn a_put_in_place_of_another_costs_that_one() {
    let put = |memory: &Memory| memory.place(3).put(LATER, NOW, 0, b"new").unwrap();
    at_each_write(1, Memory::fill, put, |memory, died| {
        assert_eq!(memory.kept().iter().filter(|number| **number != 3).count(), WAYS - 1);
        let found = memory.get(3);
        let is_new = found == Some(b"new".to_vec());
        assert!(is_new || died && (found.is_none() || found == Some(payload(3, 100))), "{found:?}");
        heals(memory);
    });
}

#[test]
fn a_put_of_many_slots_is_whole_or_a_miss() {
    at_each_write(
        16,
        |_| {},
        |memory| memory.put(1, 1000).unwrap(),
        |memory, died| {
            let found = memory.get(1);
            assert!(found.is_none() || found == Some(payload(1, 1000)));
            assert!(died || found.is_some());
            memory.put_at(2, 1000, AFTERWARDS).unwrap();
            assert_eq!(memory.get(2), Some(payload(2, 1000)));
        },
    );
}

/// Large sessions have all of the room, so that each makes room for another, slot by slot.
#[test]
fn a_put_into_nothing_but_large_sessions_leaves_them_whole_or_a_miss() {
    const LENGTH: usize = 2000;
    let prepare = |memory: &Memory| (0..100).for_each(|n| memory.put(n, LENGTH).unwrap());
    let kept = |memory: &Memory| {
        let found = (0..100).filter_map(|n| Some((n, memory.get(n)?)));
        found.filter(|(n, found)| *found == payload(*n, LENGTH)).count()
    };
    let put = |memory: &Memory| memory.put(100, LENGTH).unwrap();
    at_each_write(16, prepare, put, |memory, died| {
        let found = memory.get(100);
        assert!(found.is_none() || found == Some(payload(100, LENGTH)));
        assert!(died || found.is_some());
        // There is room for 46 of eleven slots.
        assert!(kept(memory) > 23, "{}", kept(memory));
        memory.put_at(101, LENGTH, AFTERWARDS).unwrap();
        assert_eq!(memory.get(101), Some(payload(101, LENGTH)));
    });
}

/// Where the trace goes: a cell of its own, the session's slot or another's, or that of another trace.
#[test]
fn a_removal_holds_from_its_step_on_and_loses_no_other() {
    for others in [0, 16, 32, 60] {
        for session in [3, 100] {
            let prepare = |memory: &Memory| {
                memory.fill();
                memory.remove_others(others);
                let _ = memory.put(session, 100);
            };
            let remove = |memory: &Memory| {
                memory.remove(session);
            };
            at_each_write(1, prepare, remove, |memory, died| {
                if memory.look(session) == Lookup::Removed || !died {
                    assert!(!memory.is_trusted(session));
                    assert_eq!(memory.get(session), None);
                }
                if memory.look(session) == Lookup::Removed {
                    assert_eq!(memory.put(session, 10), Err(PutError::Removed));
                }
                for number in 1000..1000 + others {
                    assert!(!memory.is_trusted(number), "{number}: lost by {session} of {others}");
                }
                // Whoever does it again succeeds.
                memory.place(session).remove(LATER, AFTERWARDS, 0);
                assert!(!memory.is_trusted(session));
                assert_eq!(memory.get(session), None);
            });
        }
    }
}

#[test]
fn what_is_taken_is_taken_once() {
    for length in [100, 1000] {
        for others in [0, 20, 60] {
            let taken = std::cell::RefCell::new(None);
            let prepare = |memory: &Memory| {
                memory.remove_others(others);
                memory.put(1, length).unwrap();
                taken.replace(None);
            };
            let take = |memory: &Memory| drop(taken.replace(memory.take(1)));
            at_each_write(16, prepare, take, |memory, died| {
                let again = memory.take(1);
                let first = taken.take();
                if died {
                    assert!(again.is_none() || again == Some(payload(1, length)));
                } else {
                    assert_eq!((first, again), (Some(payload(1, length)), None));
                }
                assert_eq!(memory.take(1), None);
            });
        }
    }
}

/// Whether any word of any slot has something.
fn has_words(memory: &Memory) -> bool {
    let slots = memory.buckets.iter().flat_map(|bucket| (0..WAYS).flat_map(|way| bucket.slot(way)));
    slots.map(Word::peek).any(|word| word != 0)
}

#[test]
fn what_is_taken_or_removed_leaves_no_word_in_its_slots() {
    for length in [100, 176, 1000] {
        let memory = Memory::new(8);
        memory.put(1, length).unwrap();
        memory.put(2, length).unwrap();
        assert!(memory.take(1).is_some() && has_words(&memory));
        memory.remove(2);
        assert!(!has_words(&memory));
    }
}

#[test]
fn a_visit_changes_nothing_else() {
    for kind in [Use::Visit, Use::Ticket] {
        at_each_write(
            1,
            Memory::fill,
            |memory| _ = memory.place(3).note_use(kind),
            |memory, _| {
                assert_eq!(memory.kept().len(), WAYS);
            },
        );
    }
}

/// Whatever the first reader of the log has not told, the second reads.
#[test]
fn a_reader_that_dies_leaves_the_rest_to_the_next() {
    let prepare = |memory: &Memory| {
        (0..5).for_each(|number| memory.put(number, 100).unwrap());
        memory.remove(2);
        memory.put(6, 1000).unwrap();
    };
    let told = std::cell::Cell::new(0);
    let read = |memory: &Memory| {
        let (mut bytes, mut in_flight) = (Vec::new(), Vec::new());
        let table = memory.table();
        told.set(0);
        let records = table.read_untold(0, NOW, usize::MAX, &mut bytes, &mut in_flight);
        told.set(records);
        table.note_told(&in_flight);
    };
    at_each_write(16, prepare, read, |memory, died| {
        let table = memory.table();
        table.begin_reading();
        let (mut bytes, mut in_flight) = (Vec::new(), Vec::new());
        let records = table.read_untold(0, NOW, usize::MAX, &mut bytes, &mut in_flight);
        if died && told.get() == 0 {
            assert_eq!(records, 6, "it had told nothing");
        }
        assert!(died || records == 0);
        table.note_told(&in_flight);
        assert_eq!(table.untold(), 0);
    });
}

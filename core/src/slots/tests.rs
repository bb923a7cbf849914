//! The slots of a value that is a number: 0 is the empty one.

use super::*;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

/// How many slots have a value.
fn filled(slots: &Slots<u32>) -> usize {
    slots.slots.iter().filter(|slot| *slot.try_read().unwrap() != 0).count()
}

fn replace(slots: &Slots<u32>, value: u32) -> Replacement {
    slots.put(slots.generation(), value)
}

#[test]
fn a_put_that_is_late_changes_nothing() {
    let slots = Slots::new(1);
    let generation = slots.generation();
    assert_eq!(slots.put(generation, 2), Replacement::Done);
    assert_ne!(slots.generation(), generation);
    let generation_of_2 = slots.generation();
    assert_eq!(slots.put(generation, 3), Replacement::Late);
    assert_eq!(slots.generation(), generation_of_2);
    assert_eq!((slots.using(|value| *value), filled(&slots)), (Ok(2), 1));
}

#[test]
fn a_value_in_use_stays_until_it_has_been_used() {
    let slots = Slots::new(1);
    slots
        .using(|old| {
            assert_eq!(replace(&slots, 2), Replacement::Done);
            assert_eq!((slots.using(|new| *new), filled(&slots)), (Ok(2), 2));
            assert_eq!(*old, 1);
        })
        .unwrap();
    assert_eq!(filled(&slots), 1);
}

/// A fork leaves slots so in the child when other threads of the parent hold them.
#[test]
fn slots_locked_for_ever_do_not_stop_a_replacement() {
    let slots = Slots::new(1);
    for stuck in 1..SLOTS {
        mem::forget(slots.hold().unwrap());
        let value = u32::try_from(stuck).unwrap() + 1;
        assert_eq!(replace(&slots, value), Replacement::Done, "{stuck} slots are locked");
        assert_eq!(slots.using(|value| *value), Ok(value));
    }
    assert_eq!(replace(&slots, 100), Replacement::Full);
    assert_eq!(slots.using(|value| *value), Ok(u32::try_from(SLOTS).unwrap()));
}

#[test]
fn an_update_is_made_again_after_a_faster_one_but_not_for_ever() {
    let slots = Slots::new(1);
    let mut made = 0;
    slots.update(|| {
        made += 1;
        if made < 3 {
            assert_eq!(replace(&slots, 10 + made), Replacement::Done);
        }
        Some(made)
    });
    assert_eq!((made, slots.using(|value| *value), filled(&slots)), (3, Ok(3), 1));
    slots.update(|| None);
    assert_eq!(slots.using(|value| *value), Ok(3));
    slots.update(|| {
        made += 1;
        assert_eq!(replace(&slots, 10 + made), Replacement::Done);
        Some(made)
    });
    assert_eq!((made, slots.using(|value| *value), filled(&slots)), (11, Ok(21), 1));
}

#[test]
fn no_user_misses_the_value_while_it_is_replaced() {
    let slots = Slots::new(1);
    let is_over = AtomicBool::new(false);
    let missed = Mutex::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    if slots.using(|value| *value).unwrap_or(0) == 0 {
                        *missed.lock().unwrap() += 1;
                    }
                }
            });
        }
        for value in 2..20_000 {
            assert_eq!(replace(&slots, value), Replacement::Done);
        }
        is_over.store(true, Relaxed);
    });
    assert_eq!((*missed.lock().unwrap(), filled(&slots)), (0, 1));
}

//! Two and three processes in one bucket: one is stopped before each of its writes, while another runs whole,
//! which is stopped before each of its own while a third runs.

use super::*;
use crate::store::Use;
use crate::store::counters::Counter;
use crate::store::record::LOCAL;
use crate::store::table::bucket::CELLS;
use std::cell::RefCell;
use std::rc::Rc;

const ID: u64 = 7;

/// A step of a process with the session [`ID`], or to its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Put,
    Remove,
    Take,
    Visit,
    /// Other sessions, so that all slots are claimed anew.
    Others,
    /// Other removals, so many that all traces have to go that were there.
    Removals,
}

impl Step {
    /// Between the moments in which another runs: every one, but in the long ones.
    fn stride(self) -> usize {
        if matches!(self, Step::Others | Step::Removals) { 17 } else { 1 }
    }
}

/// The result of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Came {
    Stored(bool),
    Taken(bool),
    Done,
}

fn run(memory: &Memory, step: Step) -> Came {
    match step {
        Step::Put => return Came::Stored(memory.put(ID, 40).is_ok()),
        Step::Take => {
            let taken = memory.take(ID);
            assert!(taken.is_none() || taken == Some(payload(ID, 40)));
            return Came::Taken(taken.is_some());
        }
        Step::Remove => {
            memory.remove(ID);
        }
        Step::Visit => done(memory.place(ID).note_use(Use::Visit)),
        Step::Others => (2000..2040).for_each(|number| {
            // A floor that rises meanwhile refuses it.
            let _ = memory.put(number, 10);
        }),
        Step::Removals => memory.remove_others(60),
    }
    Came::Done
}

/// Runs `first`, and before its `nth` write `second`, and before the `mth` of that one `third`. What came of
/// them in the order in which they ended; `None` if it did not come to that.
fn nested(
    memory: &Rc<Memory>,
    [first, second, third]: [Step; 3],
    nth: u64,
    mth: u64,
) -> Option<Vec<(Step, Came)>> {
    let came = Rc::new(RefCell::new(Vec::new()));
    let note = |came: &Rc<RefCell<Vec<_>>>, memory: &Rc<Memory>, step| {
        let (came, memory) = (came.clone(), memory.clone());
        move || {
            let of_step = run(&memory, step);
            came.borrow_mut().push((step, of_step));
        }
    };
    let innermost = note(&came, memory, third);
    let inner = note(&came, memory, second);
    let is_third_run = Rc::new(std::cell::Cell::new(false));
    let third_ran = is_third_run.clone();
    let middle = move || third_ran.set(mth != 0 && seam::with_before(mth, innermost, inner));
    let is_second_run = seam::with_before(nth, middle, note(&came, memory, first));
    let is_all = is_second_run && is_third_run.get();
    is_all.then(|| came.take())
}

fn count(came: &[(Step, Came)], sought: &Came) -> usize {
    came.iter().filter(|(_, came)| came == sought).count()
}

/// Whether the session is in the bucket before.
fn prepared(is_there: bool, is_full: bool) -> Rc<Memory> {
    let memory = Memory::new(1);
    if is_full {
        (100..100 + WAYS as u64).for_each(|number| memory.put(number, 10).unwrap());
    }
    if is_there {
        memory.put(ID, 40).unwrap();
    }
    Rc::new(memory)
}

/// Calls `check` after every schedule of these three.
fn each_schedule(
    steps: [Step; 3],
    is_there: bool,
    is_full: bool,
    check: impl Fn(&Memory, &[(Step, Came)]),
) {
    for nth in 1.. {
        for mth in (1..).step_by(steps[1].stride()) {
            let memory = prepared(is_there, is_full);
            let came = nested(&memory, steps, nth, mth);
            let Some(came) = came else {
                if mth == 1 {
                    return;
                }
                break;
            };
            check(&memory, &came);
        }
    }
}

fn triples(steps: &[Step]) -> impl Iterator<Item = [Step; 3]> {
    let one = |first: Step| steps.iter().map(move |&second| [first, second]);
    let pairs = steps.iter().copied().flat_map(one);
    pairs.flat_map(|[first, second]| steps.iter().map(move |&third| [first, second, third]))
}

const QUICK: [Step; 4] = [Step::Put, Step::Remove, Step::Take, Step::Visit];

#[test]
fn a_session_that_was_removed_or_taken_is_gone() {
    for steps in triples(&QUICK) {
        for (is_there, is_full) in [(true, false), (false, false), (true, true)] {
            each_schedule(steps, is_there, is_full, |memory, came| {
                let taken = count(came, &Came::Taken(true));
                assert!(taken <= 1, "taken twice: {came:?}");
                let is_removed = taken == 1 || steps.contains(&Step::Remove);
                if is_removed {
                    assert_eq!(memory.look(ID), Lookup::Removed, "{came:?}");
                    assert!(!memory.place(ID).may_have(), "{came:?}");
                    assert_eq!(memory.take(ID), None, "{came:?}");
                }
            });
        }
    }
}

#[test]
fn two_slots_of_one_session_have_one_taker() {
    // One put is stopped before each of its writes while another runs.
    for nth in 1..40 {
        for at in 1..60 {
            let memory = Rc::new(Memory::new(1));
            let other = memory.clone();
            let second = move || assert!(other.put(ID, 40).is_ok());
            seam::with_before(nth, second, || assert!(memory.put(ID, 40).is_ok()));
            let taken = Rc::new(std::cell::Cell::new(0));
            let (other, count) = (memory.clone(), taken.clone());
            let take = move || {
                let is_taken = other.take(ID).is_some();
                count.set(count.get() + u32::from(is_taken));
            };
            let again = take.clone();
            if !seam::with_before(at, again, &take) {
                break;
            }
            take();
            assert!(taken.get() <= 1, "taken {} times: {nth}, {at}", taken.get());
        }
    }
}

/// As above, and the trace of the second taker is forgotten before the first goes on.
#[test]
fn a_taker_notices_a_trace_that_was_forgotten_meanwhile() {
    for nth in 1..40 {
        for at in 1..60 {
            let memory = Rc::new(Memory::new(1));
            let other = memory.clone();
            let second = move || assert!(other.put(ID, 40).is_ok());
            seam::with_before(nth, second, || assert!(memory.put(ID, 40).is_ok()));
            let taken = Rc::new(std::cell::Cell::new(0));
            let (other, count) = (memory.clone(), taken.clone());
            let take = move || {
                let is_taken = other.take(ID).is_some();
                count.set(count.get() + u32::from(is_taken));
            };
            let (again, other) = (take.clone(), memory.clone());
            let take_and_forget = move || {
                again();
                for number in 0..80 {
                    other.place(1000 + number).remove(LATER + 10_000 + number * 200, NOW, 0);
                }
            };
            if !seam::with_before(at, take_and_forget, &take) {
                break;
            }
            assert!(taken.get() <= 1, "taken {} times: {nth}, {at}", taken.get());
        }
    }
}

#[test]
fn a_removal_is_not_lost_when_all_traces_have_to_go() {
    for first in [Step::Put, Step::Remove, Step::Take] {
        for second in [Step::Remove, Step::Removals, Step::Others] {
            for third in [Step::Removals, Step::Visit, Step::Remove] {
                let steps = [first, second, third];
                if !steps.contains(&Step::Remove) {
                    continue;
                }
                each_schedule(steps, true, false, |memory, came| {
                    assert!(!memory.is_trusted(ID), "{came:?}");
                    for number in 1000..1060 {
                        let is_lost = steps.contains(&Step::Removals) && memory.is_trusted(number);
                        assert!(!is_lost, "{number}: {came:?}");
                    }
                });
            }
        }
    }
}

#[test]
fn others_are_not_concerned() {
    for steps in triples(&QUICK) {
        each_schedule(steps, false, true, |memory, came| {
            let kept = (100..100 + WAYS as u64).filter(|number| memory.get(*number).is_some());
            let puts = steps.iter().filter(|step| **step == Step::Put).count();
            assert!(kept.count() >= WAYS - puts, "{came:?}");
        });
    }
}

/// A put is stopped before each of its writes; its session is removed, and the trace forgotten, in a second in
/// which the floor had risen before.
#[test]
fn a_put_notices_a_removal_that_was_forgotten_meanwhile() {
    for nth in 1..100 {
        let memory = Rc::new(Memory::new(1));
        let forget = |memory: &Memory, first: u64| {
            for number in 0..80 {
                let deadline = LATER + 10_000 + (first + number) * 200;
                memory.place(1000 + first + number).remove(deadline, NOW, 0);
            }
        };
        forget(&memory, 0);
        assert_eq!(memory.place(ID).floor(NOW), NOW.seconds());
        let other = memory.clone();
        let remove = move || {
            other.remove(ID);
            forget(&other, 80);
        };
        let mut put = Ok(());
        if !seam::with_before(nth, remove, || put = memory.put(ID, 40)) {
            return;
        }
        let is_there = memory.get(ID).is_some();
        assert!(!is_there, "{nth}: {put:?}");
    }
}

/// A removal, and a take, is stopped before each of its writes. Meanwhile its session makes room for another's
/// removal, because all places for removals are taken.
#[test]
fn a_removal_does_not_go_where_anothers_is_now() {
    const OTHER: u64 = 3000;
    for step in [Step::Remove, Step::Take] {
        for nth in 1..100 {
            let memory = Rc::new(Memory::new(1));
            memory.remove_others((CELLS - WAYS) as u64);
            memory.put(ID, 40).unwrap();
            (100..99 + WAYS as u64).for_each(|number| memory.put(number, 10).unwrap());
            let other = memory.clone();
            let remove = move || done(other.remove(OTHER));
            if !seam::with_before(nth, remove, || done(run(&memory, step))) {
                break;
            }
            assert!(!memory.is_trusted(OTHER), "{step:?}, before write {nth}");
            assert!(step == Step::Take || !memory.is_trusted(ID), "before write {nth}");
        }
    }
}

/// A removal's body says that it began earlier, and ends later, than it does: a process that went on after a
/// stop has written there. The removal is made longer all the same, and its floor is not too low.
#[test]
fn the_body_of_a_removal_decides_nothing_that_its_word_does_not() {
    let memory = Memory::new(1);
    memory.remove(ID);
    let place = memory.place(ID);
    let number = place.bucket.with_tag(place.key.tag).next().unwrap();
    let early = NOW.0 - 3_000_000;
    place.bucket.set_times(number, early, LATER + 100_000);
    place.remove(LATER + 50_000, NOW, 0);
    let then = Now((LATER + 40_000) * 1000);
    assert_eq!(place.trust(NOW.seconds(), then), Trust::Removed);
    place.bucket.set_times(number, early, LATER);
    let cells = *place.bucket.look().cells();
    place.forget_trace(&cells, NOW, &mut 0);
    assert!(place.floor(NOW) >= NOW.seconds());
}

/// A process is stopped before each write of a removal or a put whose end is near. When it goes on, its cell is
/// another removal's, which holds all the same.
#[test]
fn who_goes_on_after_a_stop_ends_no_removal_of_another() {
    const SOON: u64 = NOW.0 / 1000 + 1;
    type Late = fn(&Memory);
    let late: [Late; 2] = [
        |memory| done(memory.place(ID).remove(SOON, NOW, 0)),
        |memory| done(memory.place(ID).put(SOON, NOW, 0, &payload(ID, 40))),
    ];
    for late in late {
        for nth in 1.. {
            let memory = prepared(false, true);
            let other = memory.clone();
            // One more than a bucket holds: the first goes, and another for the one that goes on.
            let others = 1000..1033_u64;
            let removals = others.clone();
            let meanwhile = move || {
                for number in removals {
                    let deadline = LATER + 10_000 + number * 200;
                    other.place(number).remove(deadline, AFTERWARDS, 0);
                }
            };
            let has_run = seam::with_before(nth, meanwhile, || late(&memory));
            if !has_run {
                break;
            }
            let forgotten = others.clone().filter(|number| {
                memory.place(*number).trust(AFTERWARDS.seconds(), AFTERWARDS) == Trust::Good
            });
            assert_eq!(forgotten.collect::<Vec<_>>(), Vec::<u64>::new(), "before write {nth}");
            for number in others.skip(2) {
                let found = memory.place(number).get(AFTERWARDS, &mut Vec::new());
                assert_eq!(found, Lookup::Removed, "{number}, before write {nth}");
            }
        }
    }
}

fn done<T>(_: T) {}

/// A process is stopped before each write of a put of which other hosts must not hear. When it goes on, its
/// slot has the session anew, of which they should.
#[test]
fn who_goes_on_after_a_stop_tells_other_hosts_nothing_of_its_own() {
    const SECRET: u64 = ID + 1;
    for nth in 1.. {
        let memory = Rc::new(Memory::new(1));
        let other = memory.clone();
        let second = move || assert!(other.put_at(ID, 40, AFTERWARDS).is_ok());
        let late = || done(memory.place(ID).put(LATER, NOW, LOCAL, &payload(SECRET, 48)));
        if !seam::with_before(nth, second, late) {
            break;
        }
        let (mut told, mut in_flight) = (Vec::new(), Vec::new());
        memory.table().read_untold(0, AFTERWARDS, usize::MAX, &mut told, &mut in_flight);
        let secret = payload(SECRET, 40);
        assert!(!told.windows(40).any(|part| part == secret), "told, before write {nth}");
    }
}

/// A removal comes between any two writes of a put. What is refused then is not counted, and a bucket's time never
/// goes back.
#[test]
fn a_put_that_comes_to_nothing_is_not_counted() {
    for length in [40, 400] {
        for nth in 1.. {
            let memory = Rc::new(Memory::new(8));
            let (result, time) = (RefCell::new(Ok(())), Rc::new(RefCell::new(0)));
            let other = (Rc::clone(&memory), Rc::clone(&time));
            let remove = move || {
                other.0.remove(ID);
                other.1.replace(other.0.place(ID).bucket.time());
            };
            let put = || *result.borrow_mut() = memory.put(ID, length);
            let came = seam::with_before(nth, remove, put);
            let stored = memory.table().counted(Counter::Stores);
            assert_eq!(stored, u64::from(result.into_inner().is_ok()), "{length}, {nth}");
            assert!(memory.place(ID).bucket.time() >= *time.borrow(), "{length}, {nth}");
            if !came {
                break;
            }
        }
    }
}

fn is_there_once(memory: &Memory, message: &str) {
    let (sessions, _) = memory.table().occupied();
    assert_eq!(sessions, 1, "{message}");
    assert!(memory.get(ID).is_some(), "{message}");
}

/// A put of the same session comes between any two writes of a put.
#[test]
fn what_is_put_twice_at_once_is_there_once() {
    for length in [40, 400] {
        for nth in 1.. {
            let memory = Rc::new(Memory::new(8));
            let other = Rc::clone(&memory);
            let again = move || other.put(ID, length).unwrap();
            let came = seam::with_before(nth, again, || memory.put(ID, length).unwrap());
            is_there_once(&memory, &format!("{length}, {nth}"));
            if !came {
                break;
            }
        }
    }
}

/// As before, and between any two writes of the second one a third comes.
#[test]
fn what_is_put_three_times_at_once_is_there_once() {
    let most = (1..).find(|nth| !seam::dies_at(*nth, || Memory::new(1).put(ID, 40).unwrap()));
    for (nth, mth) in
        (1..most.unwrap()).flat_map(|nth| (1..most.unwrap()).map(move |mth| (nth, mth)))
    {
        let memory = Rc::new(Memory::new(1));
        let (second, third) = (Rc::clone(&memory), Rc::clone(&memory));
        let put = |memory: &Memory| memory.put(ID, 40).unwrap();
        let within = move || {
            seam::with_before(mth, move || put(&third), || put(&second));
        };
        assert!(seam::with_before(nth, within, || put(&memory)));
        is_there_once(&memory, &format!("{nth}, {mth}"));
    }
}

/// The first of two puts dies after the other one, and so leaves both records. The next put leaves one.
#[test]
fn what_the_dead_have_put_twice_is_replaced_whole() {
    let mut left = 0;
    for (nth, death) in (1..20).flat_map(|nth| (1..20).map(move |death| (nth, death))) {
        let memory = Rc::new(Memory::new(1));
        let other = Rc::clone(&memory);
        let again = move || other.put(ID, 40).unwrap();
        seam::with_before_dies_at(nth, again, death, || memory.put(ID, 40).unwrap());
        left += u32::from(memory.slots(State::Live) == 2);
        memory.put(ID, 40).unwrap();
        is_there_once(&memory, &format!("{nth}, {death}"));
    }
    assert!(left > 0, "none has died where this matters");
}

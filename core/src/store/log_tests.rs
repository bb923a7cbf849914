//! The log: everything once, and what was lost is counted.

use super::tests::{LATER, NOW, locator, payload, store};
use super::*;
use std::thread;
use std::time::{Duration, Instant};

/// Reads what a store has to tell, as a reader that has begun. Other hosts get it.
fn follow(store: &Store) -> (Vec<u8>, u64) {
    let (mut all, mut batch) = (Vec::new(), LogBatch::default());
    for region in 0..store.region_count() {
        while store.has_more(region) {
            store.read_log(region, NOW, &mut batch);
            assert_eq!(records(&batch.bytes).len() as u64, batch.records);
            all.extend_from_slice(&batch.bytes);
            store.note_read(&batch.told);
        }
    }
    (all, store.lost_records())
}

fn records(mut bytes: &[u8]) -> Vec<(Locator, bool)> {
    let mut found = Vec::new();
    while let Some((record, rest)) = Record::split(bytes) {
        found.push((*record.locator(), record.is_removal()));
        bytes = rest;
    }
    assert!(bytes.is_empty());
    found
}

fn put(store: &Store, number: u64, flags: u8) {
    store.put(&locator(number), LATER, NOW, flags, &payload(number, 100)).unwrap();
}

/// The records, in the order of their numbers below 100.
fn told(bytes: &[u8]) -> Vec<(u64, bool)> {
    let records = records(bytes);
    let number = |of: &Locator| (0..100).find(|number| locator(*number) == *of).unwrap();
    let mut told: Vec<_> = records.iter().map(|(of, removed)| (number(of), *removed)).collect();
    told.sort_unstable();
    told
}

#[test]
fn what_is_written_is_read_once() {
    let store = store();
    assert!(!store.begin_reading() && store.begin_reading());
    put(&store, 1, 0);
    put(&store, 2, LOCAL);
    store.remove(&locator(1), LATER, NOW);
    store.remove(&locator(2), LATER, NOW);
    let (bytes, lost) = follow(&store);
    // A session removed before it was read is gone. Single-use sessions stay on the host.
    assert_eq!((told(&bytes), lost), (vec![(1, true)], 0));
    put(&store, 3, 0);
    put(&store, 4, 0);
    store.note_use(&locator(4), Use::Ticket);
    assert_eq!(store.unread(), 2);
    assert_eq!(told(&follow(&store).0), [(3, false), (4, false)]);
    store.note_use(&locator(3), Use::Ticket);
    assert_eq!((store.unread(), follow(&store).0), (0, vec![]));
}

/// Of two sessions of a bucket that have the same tag, each removal is told, and known when it comes again.
#[test]
fn removals_with_the_same_tag_are_both_told() {
    let store = store();
    let one = locator(1);
    let mut other = one;
    other.0[0] ^= 1;
    for locator in [one, other, one, other] {
        store.remove(&locator, LATER, NOW);
    }
    let mut told: Vec<_> = records(&follow(&store).0).iter().map(|(of, _)| of.0).collect();
    let mut both = [one.0, other.0];
    told.sort_unstable();
    both.sort_unstable();
    assert_eq!(told, both);
}

#[test]
fn a_record_says_what_was_put() {
    let store = store();
    let large = payload(5, 1000);
    store.put(&locator(5), LATER, Now(NOW.0 + 123), 0, &large).unwrap();
    let bytes = follow(&store).0;
    let (record, _) = Record::split(&bytes).unwrap();
    assert_eq!((record.deadline(), record.written()), (LATER, NOW.0 + 123));
    assert!(!record.is_removal() && record.bytes().windows(1000).any(|part| part == large));
    store.remove(&locator(5), LATER + 5, Now(NOW.0 + 2500));
    let bytes = follow(&store).0;
    let (record, _) = Record::split(&bytes).unwrap();
    assert!(record.is_removal() && *record.locator() == locator(5));
    assert_eq!((record.deadline(), record.written()), (LATER + 5, NOW.0 + 2500));
}

#[test]
fn what_was_not_acknowledged_is_read_by_the_next_reader() {
    let store = store();
    let mut batch = LogBatch::default();
    (1..20).for_each(|number| put(&store, number, 0));
    (1..10).for_each(|number| store.remove(&locator(number), LATER, NOW));
    let read = |batch: &mut LogBatch| -> Vec<u8> {
        let regions = 0..store.region_count();
        regions
            .flat_map(|region| {
                store.read_log(region, NOW, batch);
                batch.bytes.clone()
            })
            .collect()
    };
    assert_eq!(told(&read(&mut batch)).len(), 19);
    assert_eq!(read(&mut batch), [], "it is in flight");
    // It is not read again because something else comes into the bucket.
    (20..100).for_each(|number| put(&store, number, 0));
    assert_eq!(told(&read(&mut batch)).len(), 80);
    store.begin_reading();
    assert_eq!(told(&follow(&store).0).len(), 99);
    store.begin_reading();
    assert_eq!(follow(&store).0, []);
}

#[test]
fn what_made_room_is_counted_and_removals_are_not_lost() {
    let store = store();
    put(&store, 0, 0);
    store.begin_reading();
    follow(&store);
    const COUNT: u64 = 20_000;
    (1..=COUNT).for_each(|number| put(&store, number, 0));
    (100..1000).for_each(|number| store.remove(&locator(number), LATER, NOW));
    let (bytes, lost) = follow(&store);
    let removed = records(&bytes).iter().filter(|(_, is_removal)| *is_removal).count();
    assert_eq!(removed, 900, "a reader that was away is told of all");
    assert!(lost > 0 && store.counters().resets == 0);
    let sessions = (records(&bytes).len() - removed) as u64;
    // A session that was removed unread is not lost.
    assert!(sessions + lost <= COUNT && sessions + lost + 900 >= COUNT);
    assert_eq!(follow(&store), (vec![], 0));
}

#[test]
fn all_is_told_again_that_was_made_here() {
    let (from, store) = (store(), store());
    (1..4).for_each(|number| put(&store, number, if number == 2 { LOCAL } else { 0 }));
    put(&from, 5, 0);
    from.remove(&locator(6), LATER, NOW);
    let bytes = follow(&from).0;
    let (first, rest) = Record::split(&bytes).unwrap();
    store.apply(&first, NOW).unwrap();
    store.apply(&Record::split(rest).unwrap().0, NOW).unwrap();
    store.remove(&locator(3), LATER, NOW);
    let all = [(1, false), (3, true)];
    assert_eq!(told(&follow(&store).0), all, "of this host, and not of this host only");
    assert_eq!(follow(&store).0, []);
    store.tell_again();
    assert_eq!(told(&follow(&store).0), all, "Redis was emptied");
}

/// A put that another host made at a time, as it travels.
fn made_elsewhere(number: u64, written: Now) -> Vec<u8> {
    let from = store();
    from.put(&locator(number), LATER, written, 0, &payload(number, 100)).unwrap();
    follow(&from).0
}

fn apply(store: &Store, bytes: &[u8], now: Now) -> Result<(), PutError> {
    store.apply(&Record::split(bytes).unwrap().0, now)
}

#[test]
fn what_may_have_been_removed_is_not_taken_over() {
    let to = store();
    let after = |seconds: u64| Now(NOW.0 + 1000 * seconds);
    let revoked = made_elsewhere(1, NOW);
    assert_eq!(apply(&to, &revoked, NOW), Ok(()));
    to.remove(&locator(1), LATER, after(10));
    assert_eq!(apply(&to, &revoked, after(10)), Err(PutError::Removed));
    // So many that the oldest are forgotten.
    (2..30_000).for_each(|number| to.remove(&locator(number), LATER, after(20)));
    assert_eq!(to.get(&locator(1), NOW, &mut Vec::new()), Lookup::Missing);
    let stores = to.counters().stores;
    assert_eq!(apply(&to, &revoked, after(30)), Err(PutError::Removed));
    assert_eq!(to.get(&locator(1), NOW, &mut Vec::new()), Lookup::Missing);
    assert_eq!(to.counters().stores, stores);
    // A session made after all that was forgotten is not concerned, nor a session made here.
    assert_eq!(apply(&to, &made_elsewhere(40_000, after(21)), after(30)), Ok(()));
    assert_eq!(to.put(&locator(40_001), LATER, NOW, 0, b"x"), Ok(()));
}

#[test]
fn another_store_takes_over_what_it_is_told_and_does_not_tell_it_back() {
    let (from, to) = (store(), store());
    put(&from, 1, 0);
    put(&from, 2, 0);
    let tell = || {
        let (bytes, _) = follow(&from);
        let mut rest = bytes.as_slice();
        while let Some((record, after)) = Record::split(rest) {
            to.apply(&record, NOW).unwrap();
            rest = after;
        }
    };
    tell();
    let mut found = Vec::new();
    assert_eq!(
        to.get(&locator(1), NOW, &mut found),
        Lookup::Found { deadline: LATER, came_back: false, is_elsewhere: true }
    );
    assert_eq!(found, payload(1, 100));
    assert_eq!(records(&follow(&to).0), []);
    // A removal is told, by whichever host it happens on.
    to.remove(&locator(1), LATER, NOW);
    assert_eq!(records(&follow(&to).0), [(locator(1), true)]);
    from.remove(&locator(2), LATER, NOW);
    from.remove(&locator(3), u64::MAX, NOW);
    tell();
    assert_eq!(to.get(&locator(2), NOW, &mut found), Lookup::Removed);
    assert!(!to.may_resume(&locator(3), u64::MAX, NOW));
    assert_eq!(records(&follow(&to).0), []);
    assert_eq!(to.counters().resets, 0);
}

#[test]
fn what_is_told_twice_is_kept_once() {
    let (from, to) = (store(), store());
    put(&from, 1, 0);
    let (bytes, _) = follow(&from);
    let (record, _) = Record::split(&bytes).unwrap();
    let told = || {
        to.apply(&record, NOW).unwrap();
        to.counters().stores
    };
    assert!(!to.has(&record, NOW));
    assert_eq!((told(), told()), (1, 1));
    assert!(to.has(&record, NOW) && to.counters().entries == 1);
    // Another payload or deadline is another record.
    for (deadline, length) in [(LATER + 1, 100), (LATER, 99), (LATER, 100)] {
        to.put(&locator(1), deadline, NOW, 0, &payload(2, length)).unwrap();
        let before = to.counters().stores;
        assert_eq!((told(), told()), (before + 1, before + 1));
        let mut found = Vec::new();
        to.get(&locator(1), NOW, &mut found);
        assert_eq!(found, payload(1, 100));
    }
    to.remove(&locator(1), LATER, NOW);
    assert!(!to.has(&record, NOW));
    // So with a removal.
    from.remove(&locator(1), LATER, NOW);
    from.remove(&locator(2), LATER, NOW);
    let (bytes, _) = follow(&from);
    let (mut first, rest) = Record::split(&bytes).unwrap();
    let (mut second, _) = Record::split(rest).unwrap();
    if *first.locator() != locator(1) {
        std::mem::swap(&mut first, &mut second);
    }
    assert!(first.is_removal() && to.has(&first, NOW));
    assert!(second.is_removal() && !to.has(&second, NOW));
    to.put(&locator(2), LATER, NOW, 0, b"x").unwrap();
    assert!(!to.has(&second, NOW));
}

#[test]
fn junk_is_no_record() {
    assert!(Record::split(b"").is_none());
    assert!(Record::split(&[0; 100]).is_none());
    let store = store();
    put(&store, 1, 0);
    let (bytes, _) = follow(&store);
    for length in 0..bytes.len() {
        assert!(Record::split(&bytes[..length]).is_none());
    }
    let mut filler = bytes.clone();
    filler[2] = 3;
    assert!(Record::split(&filler).is_none());
}

#[test]
fn a_reader_that_waits_is_woken() {
    let store = store();
    follow(&store);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let start = Instant::now();
            store.wait(Duration::from_secs(30));
            start.elapsed()
        });
        let waiting = store.mapping.half_word(layout::header::WAITING).unwrap();
        while waiting.load(Relaxed) == 0 && !reader.is_finished() {
            thread::yield_now();
        }
        put(&store, 1, 0);
        assert!(reader.join().unwrap() < Duration::from_secs(20));
    });
    // It does not wait for what is there.
    store.wait(Duration::from_secs(30));
}

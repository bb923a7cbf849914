//! The log: everything once, in order, and what was lost is counted.

use super::record::APPLIED;
use super::tests::{LATER, NOW, locator, payload, store};
use super::*;
use std::thread;
use std::time::{Duration, Instant};

/// Follows a store to the end of its log. Returns the records and the number of lost ones.
fn follow(store: &Store, cursors: &mut [Cursor]) -> (Vec<u8>, u64) {
    let (mut all, mut lost, mut batch) = (Vec::new(), 0, LogBatch::default());
    for (shard, cursor) in cursors.iter_mut().enumerate() {
        while store.has_more(shard, *cursor) {
            assert!(store.read_log(shard, *cursor, NOW, &mut batch));
            all.extend_from_slice(&batch.bytes);
            lost += batch.lost;
            *cursor = batch.next;
        }
    }
    (all, lost)
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

#[test]
fn what_is_written_is_read_once_and_in_order() {
    let store = store();
    let mut cursors = [Cursor::default()];
    put(&store, 1, 0);
    put(&store, 2, LOCAL);
    store.remove(&locator(1), LATER, NOW);
    store.remove(&locator(2), LATER, NOW);
    let (bytes, lost) = follow(&store, &mut cursors);
    // A session removed before it was read is gone. Single-use sessions stay on the host.
    assert_eq!((records(&bytes), lost), (vec![(locator(1), true)], 0));
    put(&store, 3, 0);
    put(&store, 4, 0);
    assert_eq!(store.unread(0, cursors[0]), 2);
    let (bytes, _) = follow(&store, &mut cursors);
    assert_eq!(records(&bytes), [(locator(3), false), (locator(4), false)]);
    assert_eq!(store.unread(0, cursors[0]), 0);
    store.keep_cursor(0, cursors[0]);
    assert_eq!(store.cursor(0), cursors[0]);
}

#[test]
fn what_was_overwritten_is_counted() {
    let store = store();
    let mut cursors = [Cursor::default()];
    put(&store, 0, 0);
    follow(&store, &mut cursors);
    const COUNT: u64 = 10_000;
    for number in 1..=COUNT {
        // So large that no bucket of the index is ever full.
        store.put(&locator(number), LATER, NOW, 0, &payload(number, 500)).unwrap();
    }
    let (bytes, lost) = follow(&store, &mut cursors);
    assert_eq!(records(&bytes).len() as u64 + lost, COUNT);
    assert!(lost > 0 && store.counters().resets == 0);
    let before = cursors[0];
    store.numbered(0).word(layout::shard::TAIL).unwrap().store(3, Relaxed);
    put(&store, COUNT + 1, 0);
    let (bytes, lost) = follow(&store, &mut cursors);
    assert_eq!((records(&bytes).len(), lost), (1, 0), "a shard that was dropped: {before:?}");
}

/// How often the removal of a session is among them.
fn told(bytes: &[u8], number: u64) -> usize {
    records(bytes).iter().filter(|&&record| record == (locator(number), true)).count()
}

/// More than a ring full.
fn come_round(store: &Store, from: u64) {
    (from..from + 8000).for_each(|number| put(store, number, 0));
}

#[test]
fn a_removal_that_the_store_still_holds_is_told_to_a_reader_that_was_away() {
    let store = store();
    (1..4).for_each(|number| put(&store, number, if number == 2 { LOCAL } else { 0 }));
    let mut cursors = [Cursor::default()];
    follow(&store, &mut cursors);
    (1..3).for_each(|number| assert!(store.remove(&locator(number), LATER, NOW)));
    assert!(store.remove_as(&locator(3), LATER, NOW, APPLIED));
    come_round(&store, 100);
    assert_eq!(store.get(&locator(1), NOW, &mut Vec::new()), Lookup::Removed);
    let (bytes, lost) = follow(&store, &mut cursors);
    assert!(lost > 0 && told(&bytes, 1) == 1, "{lost} lost");
    let (bytes, _) = follow(&store, &mut [Cursor::default()]);
    assert_eq!(told(&bytes, 1), 1, "Redis was emptied, and all is read again");
    store.keep_cursor(0, cursors[0]);
    store.numbered(0).word(layout::shard::READ_POSITION).unwrap().fetch_sub(8, Relaxed);
    let (bytes, _) = follow(&store, &mut [store.cursor(0)]);
    assert_eq!(told(&bytes, 1), 1, "the cursor makes no sense");
    let others = told(&bytes, 2) + told(&bytes, 3);
    assert_eq!(others, 0, "of this host only, and told by another host");
}

#[test]
fn a_reader_that_ends_before_it_has_caught_up_is_told_the_rest_after_its_restart() {
    let store = store();
    put(&store, 1, 0);
    let mut cursors = [Cursor::default()];
    follow(&store, &mut cursors);
    store.keep_cursor(0, cursors[0]);
    (1..200).for_each(|number| assert!(store.remove(&locator(number), LATER, NOW)));
    come_round(&store, 1000);
    // All of them are behind the first batch.
    let (mut all, mut batch) = (Vec::new(), LogBatch::default());
    while store.has_more(0, store.cursor(0)) {
        assert!(store.read_log(0, store.cursor(0), NOW, &mut batch));
        store.keep_cursor(0, batch.next);
        all.extend_from_slice(&batch.bytes);
    }
    assert!((1..200).all(|number| told(&all, number) == 1));
    // From now on it misses nothing.
    come_round(&store, 10_000);
    let (mut bytes, mut next) = (Vec::new(), [store.cursor(0)]);
    for from in (20_000..40_000).step_by(1000) {
        bytes.extend(follow(&store, &mut next).0);
        (from..from + 1000).for_each(|number| put(&store, number, 0));
    }
    assert_eq!((1..200).map(|number| told(&bytes, number)).max(), Some(1));
}

#[test]
fn a_reader_that_misses_nothing_is_told_a_removal_once() {
    let store = store();
    let (mut cursors, mut bytes) = ([Cursor::default()], Vec::new());
    for from in (0..40_000).step_by(1000) {
        (from..from + 1000).for_each(|number| put(&store, number, 0));
        if from == 1000 {
            assert!(store.remove(&locator(1), LATER, NOW));
        }
        let (more, lost) = follow(&store, &mut cursors);
        bytes.extend(more);
        assert_eq!(lost, 0);
    }
    assert_eq!(store.get(&locator(1), NOW, &mut Vec::new()), Lookup::Removed);
    assert_eq!(told(&bytes, 1), 1);
}

/// A put that another host made at a time, as it travels.
fn made_elsewhere(number: u64, written: Now) -> Vec<u8> {
    let from = store();
    from.put(&locator(number), LATER, written, 0, &payload(number, 100)).unwrap();
    follow(&from, &mut [Cursor::default()]).0
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
    assert!(to.remove(&locator(1), LATER, after(10)));
    assert_eq!(apply(&to, &revoked, after(10)), Err(PutError::Removed));
    // So many that the oldest are forgotten.
    (2..20_000).for_each(|number| assert!(to.remove(&locator(number), LATER, after(20))));
    assert_eq!(to.get(&locator(1), NOW, &mut Vec::new()), Lookup::Missing);
    let stores = to.counters().stores;
    assert_eq!(apply(&to, &revoked, after(30)), Err(PutError::Removed));
    assert_eq!(to.get(&locator(1), NOW, &mut Vec::new()), Lookup::Missing);
    assert_eq!(to.counters().stores, stores);
    // A session made after all that was forgotten is not concerned, nor a session made here.
    assert_eq!(apply(&to, &made_elsewhere(20_000, after(21)), after(30)), Ok(()));
    assert_eq!(to.put(&locator(20_001), LATER, NOW, 0, b"x"), Ok(()));
    assert_eq!(to.counters().resets, 0);
}

#[test]
fn what_was_made_in_the_second_of_a_reset_is_not_taken_over() {
    let to = store();
    to.numbered(0).lose_a_removal();
    // In half a minute, as a reset is never before the time that it is. A later one is not believed.
    let reset = crate::system::clock::now_milliseconds() / 1000 * 1000 + 30_300;
    to.put(&locator(2), u64::MAX, Now(reset), 0, b"x").unwrap();
    assert_eq!(to.counters().resets, 1);
    for (written, is_taken) in [(reset - 1, false), (reset + 400, false), (reset + 700, true)] {
        let taken = apply(&to, &made_elsewhere(1, Now(written)), NOW);
        assert_eq!(taken.is_ok(), is_taken, "{written}: {taken:?}");
    }
}

#[test]
fn another_store_takes_over_what_it_is_told_and_does_not_tell_it_back() {
    let (from, to) = (store(), store());
    let mut cursors = ([Cursor::default()], [Cursor::default()]);
    put(&from, 1, 0);
    put(&from, 2, 0);
    let told = |cursors: &mut [Cursor]| {
        let (bytes, _) = follow(&from, cursors);
        let mut rest = bytes.as_slice();
        while let Some((record, after)) = Record::split(rest) {
            to.apply(&record, NOW).unwrap();
            rest = after;
        }
    };
    told(&mut cursors.0);
    let mut found = Vec::new();
    assert_eq!(to.get(&locator(1), NOW, &mut found), Lookup::Found { deadline: LATER });
    assert_eq!(found, payload(1, 100));
    assert_eq!(records(&follow(&to, &mut cursors.1).0), []);
    // A removal is told, by whichever host it happens on.
    to.remove(&locator(1), LATER, NOW);
    assert_eq!(records(&follow(&to, &mut cursors.1).0), [(locator(1), true)]);
    from.remove(&locator(2), LATER, NOW);
    from.remove(&locator(3), u64::MAX, NOW);
    told(&mut cursors.0);
    assert_eq!(to.get(&locator(2), NOW, &mut found), Lookup::Removed);
    assert!(!to.may_resume(&locator(3), u64::MAX, NOW));
    assert_eq!(records(&follow(&to, &mut cursors.1).0), []);
    // Late: the removal came first, over another stream.
    let (bytes, _) = follow(&from, &mut [Cursor::default()]);
    assert_eq!(records(&bytes).len(), 3);
    assert_eq!(to.counters().resets, 0);
}

#[test]
fn what_is_told_twice_is_kept_once() {
    let (from, to) = (store(), store());
    put(&from, 1, 0);
    let (bytes, _) = follow(&from, &mut [Cursor::default()]);
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
    let (bytes, _) = follow(&from, &mut [Cursor::default()]);
    let (first, rest) = Record::split(&bytes).unwrap();
    let (second, _) = Record::split(rest).unwrap();
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
    let (bytes, _) = follow(&store, &mut [Cursor::default()]);
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
    let cursors = [Cursor::default()];
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let start = Instant::now();
            store.wait(&cursors, Duration::from_secs(30));
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
    store.wait(&cursors, Duration::from_secs(30));
}

#[test]
fn an_agent_that_renewed_the_locks_first_keeps_nobody_out() {
    let folder = std::env::temp_dir().join(format!("sesscache-renewed-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("store");
    let url = StoreUrl::parse(&format!("file:{}?size=1MiB", path.display())).unwrap();
    let store = Store::open(&url).unwrap();
    let mut boot = [0; 36];
    store.mapping.read(layout::header::BOOT, &mut boot).unwrap();
    store.mapping.write(layout::header::BOOT, &[b'x'; 36]).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    assert!(crate::system::files::try_exclusive_lock(&file));
    thread::scope(|scope| {
        let server = scope.spawn(|| Store::open(&url).map(drop));
        thread::sleep(Duration::from_millis(50));
        store.mapping.write(layout::header::BOOT, &boot).unwrap();
        assert!(server.join().unwrap().is_ok());
    });
    store.mapping.write(layout::header::BOOT, &[b'x'; 36]).unwrap();
    assert!(matches!(Store::open(&url), Err(OpenError::Busy)));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_does_not_concern_others_is_walked_in_steps() {
    let store = store();
    for number in 0..4000 {
        put(&store, number, LOCAL);
    }
    put(&store, 4000, 0);
    let (mut cursor, mut steps, mut batch) = (Cursor::default(), 0, LogBatch::default());
    while store.has_more(0, cursor) {
        assert!(store.read_log(0, cursor, NOW, &mut batch));
        cursor = batch.next;
        steps += 1;
    }
    assert_eq!((batch.records, steps > 3), (1, true));
    // A cursor in the middle of a record goes on from the oldest, and costs the shard nothing.
    store.keep_cursor(0, cursor);
    store.numbered(0).word(layout::shard::READ_POSITION).unwrap().fetch_sub(8, Relaxed);
    assert!(store.read_log(0, store.cursor(0), NOW, &mut batch));
    assert_eq!(store.counters().resets, 0);
}

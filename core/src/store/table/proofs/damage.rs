//! A process writes random words anywhere in the table: no crash, no hang, no wrong session, and the table
//! heals by use.

use super::*;
use crate::store::Use;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// All words of a bucket's memory, by way of its parts.
fn scribble(memory: &Memory, random: u64) {
    let bucket = &memory.buckets[usize::try_from(random % memory.buckets.len() as u64).unwrap()];
    let value = mixed(random);
    let number = (random >> 20) as usize;
    match random >> 60 {
        0..4 => bucket.word(number % super::super::bucket::CELLS).put(value),
        4 => bucket.counts.put(value),
        5 => bucket.body(WAYS + number % 16)[(number >> 8) % 3].put(value),
        6 => memory.share.scribble(number, value),
        7 => bucket.floor.put(value),
        8 => bucket.clock.put(value),
        9 => memory.regions[0].dirty.put(value),
        // A word as it was somewhere else.
        10 => bucket.word(number % WAYS).put(bucket.word(number / 64 % WAYS).peek()),
        _ => bucket.slot(number % WAYS)[(number >> 8) % 26].put(value),
    }
}

/// One of everything, on few sessions. Each put has a payload of its own, which follows from `random`. Returns
/// what was taken.
fn use_once(memory: &Memory, random: u64, now: Now) -> Vec<u8> {
    let number = random % 300;
    let place = memory.place(number);
    let mut found = Vec::new();
    match random >> 32 & 15 {
        0..5 => {
            let _ = place.put(
                LATER,
                now,
                0,
                &payload(random, 24 + usize::try_from(random % 400).unwrap()),
            );
        }
        5..9 => {
            place.get(now, &mut Vec::new());
        }
        9 => {
            place.take(now, &mut found);
        }
        10 => {
            place.remove(LATER, now, 0);
        }
        11 => _ = place.note_use(Use::Visit),
        12 => {
            memory.place(random).remove(LATER, now, 0);
        }
        13 => {
            place.trust(now.seconds(), now);
        }
        14 => {
            let (mut bytes, mut in_flight) = (Vec::new(), Vec::new());
            let table = memory.table();
            table.read_untold(0, now, 1 << 16, &mut bytes, &mut in_flight);
            table.note_told(&in_flight);
        }
        _ => {
            place.had_to_go();
        }
    }
    found
}

/// The put of which this is the payload. In a server the seal tells whether it is whole; here all of its words
/// are the same, and there are so many that a scribbler does not make one.
fn put_of(payload: &[u8]) -> Option<u64> {
    let (words, _) = payload.as_chunks::<8>();
    let first = u64::from_le_bytes(*words.first()?);
    let is_whole = words.len() >= 3 && words.iter().all(|word| u64::from_le_bytes(*word) == first);
    (is_whole && first != 0).then_some(first)
}

/// The table is of use again once nobody damages it.
fn heals(memory: &Memory, now: Now) {
    let deadline = now.seconds() + 300;
    let sessions = 9000..9000 + 4 * memory.buckets.len() as u64;
    // Whatever was in the buckets has to make room first.
    for number in 20_000..20_000 + 200 * memory.buckets.len() as u64 {
        let _ = memory.place(number).put(deadline, now, 0, b"");
    }
    let kept = sessions.clone().filter(|&number| {
        memory.place(number).put(deadline, now, 0, &payload(number, 60)) == Ok(())
    });
    let kept: Vec<u64> = kept.collect();
    assert!(kept.len() as u64 > (sessions.end - sessions.start) * 9 / 10, "{}", kept.len());
    let found = kept.iter().filter(|number| {
        let mut found = Vec::new();
        let lookup = memory.place(**number).get(now, &mut found);
        matches!(lookup, Lookup::Found { .. }) && found == payload(**number, 60)
    });
    assert!(found.count() * 10 > kept.len() * 8);
}

#[test]
fn random_words_everywhere_heal_by_use() {
    for seed in 0..100 {
        let memory = Memory::new(3);
        for number in 0..20_000 {
            scribble(&memory, mixed(seed << 32 | number));
        }
        for number in 0..3000 {
            use_once(&memory, mixed(!(seed << 32 | number)), NOW);
        }
        // Traces that damage has made hold for a month at most.
        heals(&memory, Now(NOW.0 + 40 * 86_400_000));
    }
}

/// Three threads work and one writes random words all the time, for `SESSCACHE_SECONDS` or less than one.
#[test]
fn a_scribbler_crashes_nobody_and_takes_nobodys_time() {
    let memory = Memory::new(3);
    let (done, operations) = (AtomicBool::new(false), AtomicU64::new(0));
    let taken = Mutex::new(HashSet::new());
    let seconds = std::env::var("SESSCACHE_SECONDS").map_or(0.7, |text| text.parse().unwrap());
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                scribble(&memory, mixed(number));
                if done.load(Relaxed) {
                    return;
                }
            }
        });
        for worker in 0..3_u64 {
            let (memory, done, taken, operations) = (&memory, &done, &taken, &operations);
            scope.spawn(move || {
                for number in 0.. {
                    let found = use_once(memory, mixed(!(worker << 40 | number)), NOW);
                    if let Some(put) = put_of(&found) {
                        assert!(taken.lock().unwrap().insert(put), "a session is taken twice");
                    }
                    operations.fetch_add(1, Relaxed);
                    if done.load(Relaxed) {
                        return;
                    }
                }
            });
        }
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs_f64(seconds) {
            thread::sleep(Duration::from_millis(20));
        }
        done.store(true, Relaxed);
    });
    let (operations, taken) = (operations.load(Relaxed), taken.lock().unwrap().len());
    eprintln!("{operations} operations beside a scribbler, {taken} sessions taken");
    assert!(operations > 1000 && taken > 0);
    heals(&memory, Now(NOW.0 + 40 * 86_400_000));
}

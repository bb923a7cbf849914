//! A process writes random words anywhere in the table: no crash, no hang, no wrong session, and the table
//! heals by use.

use super::*;
use crate::store::Use;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// All words of a bucket's memory, by way of its parts.
fn scribble(memory: &Memory, random: u64) {
    let bucket = &memory.buckets[usize::try_from(random % memory.buckets.len() as u64).unwrap()];
    let value = mixed(random);
    let number = (random >> 20) as usize;
    match random >> 60 {
        0..7 => bucket.word(number % super::super::bucket::CELLS).put(value),
        7 => bucket.floor.put(value),
        8 => bucket.clock.put(value),
        9 => memory.regions[0].dirty.put(value),
        // A word as it was somewhere else.
        10 => bucket.word(number % WAYS).put(bucket.word(number / 64 % WAYS).peek()),
        _ => bucket.slot(number % WAYS)[(number >> 8) % 25].put(value),
    }
}

/// One of everything, on few sessions. What is found must be whole and of that session: here the payload says
/// so, in a server the seal does.
fn use_once(memory: &Memory, random: u64, now: Now) -> Option<(u64, Vec<u8>)> {
    let number = random % 300;
    let place = memory.place(number);
    let mut found = Vec::new();
    match random >> 32 & 15 {
        0..5 => {
            let _ = place.put(
                LATER,
                now,
                0,
                &payload(number, 24 + usize::try_from(random % 400).unwrap()),
            );
        }
        5..9 => {
            place.get(now, &mut found);
        }
        9 => {
            place.take(now, &mut found);
        }
        10 => {
            place.remove(LATER, now, 0);
        }
        11 => place.note_use(Use::Visit),
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
    (!found.is_empty()).then_some((number, found))
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

/// Three threads work and one writes random words all the time.
#[test]
fn a_scribbler_crashes_nobody_and_takes_nobodys_time() {
    let memory = Memory::new(3);
    let (done, wrong, operations) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
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
            let (memory, done, wrong, operations) = (&memory, &done, &wrong, &operations);
            scope.spawn(move || {
                for number in 0.. {
                    let found = use_once(memory, mixed(!(worker << 40 | number)), NOW);
                    // The scribbler writes payloads too, which a seal would tell.
                    let is_wrong =
                        found.is_some_and(|(number, found)| found != payload(number, found.len()));
                    wrong.fetch_add(u64::from(is_wrong), Relaxed);
                    operations.fetch_add(1, Relaxed);
                    if done.load(Relaxed) {
                        return;
                    }
                }
            });
        }
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(700) {
            thread::sleep(Duration::from_millis(20));
        }
        done.store(true, Relaxed);
    });
    assert!(operations.load(Relaxed) > 1000);
    heals(&memory, Now(NOW.0 + 40 * 86_400_000));
}

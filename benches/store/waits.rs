//! Processes that are stopped, and more processes than a core can run: whether others wait for them, and what
//! is lost.
//!
//! Workers are this program started again. They put sessions, look them up and remove them, on the machine's
//! clock.

use crate::clock::Sum;
use crate::operations::{Folder, locator, open};
use crate::report;
use crate::system::{mix, run_on, signal, switches};
use sesscache_core::store::{Lookup, Now, PutError, Store};
use sesscache_core::system::clock::now_milliseconds;
use std::env;
use std::os::unix::process::parent_id;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;

/// Numbers of sessions for each worker.
const SPACE: u64 = 1 << 32;
/// Sessions of a worker that are there at a time.
const OWN: u64 = 64;
/// Seconds until a worker's session ends, and with it the trace of its removal.
const LIFE: u64 = 5;
/// Sessions that are there from the beginning to the end, and are counted then.
const KEPT: u64 = 20_000;
/// A plain session of TLS 1.2, sealed.
const PAYLOAD: [u8; 116] = [0x5E; 116];

fn now() -> Now {
    Now(now_milliseconds())
}

/// Whether it was refused.
fn put(store: &Store, number: u64, life: u64) -> bool {
    let now = now();
    let put = store.put(&locator(number), now.0 / 1000 + life, now, 0, &PAYLOAD);
    put == Err(PutError::Busy)
}

fn remove(store: &Store, number: u64) {
    let now = now();
    store.remove(&locator(number), now.0 / 1000 + LIFE, now);
}

fn is_there(store: &Store, number: u64) -> bool {
    let mut sealed = Vec::new();
    matches!(store.get(&locator(number), now(), &mut sealed), Lookup::Found { .. })
}

/// Starts workers, which begin at the same time, that many milliseconds from now.
fn start(url: &str, count: usize, from: u64, pause: u64) -> Vec<Child> {
    let begin = now_milliseconds() + from;
    let one = |number: usize| {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["churn", url])
            .args([number as u64, begin, pause].map(|word| word.to_string()));
        command.spawn().unwrap()
    };
    (0..count).map(one).collect()
}

fn end(mut workers: Vec<Child>) {
    // All at once: each dies when it has the core next.
    workers.iter_mut().for_each(|worker| worker.kill().unwrap());
    for worker in &mut workers {
        worker.wait().unwrap();
    }
}

/// A worker: of ten operations four put, five look up, one removes. With a `pause` it has one core with all
/// others, and computes for so many microseconds between two, as a handshake does. It ends when it is killed.
pub fn churn(url: &str, [number, begin, pause]: [u64; 3]) {
    let (store, parent) = (open(url), parent_id());
    sleep(Duration::from_millis(begin.saturating_sub(now_milliseconds())));
    if pause > 0 {
        run_on(1);
    }
    let first = (number + 1) * SPACE;
    for step in 0_u64.. {
        if step % 1000 == 0 && parent_id() != parent {
            return;
        }
        let session = first + step / 10;
        match step % 10 {
            0..4 => drop(put(&store, session + step % 4 * OWN, LIFE)),
            4 => remove(&store, session),
            _ => drop(is_there(&store, session.saturating_sub(mix(step) % OWN))),
        }
        let until = Instant::now() + Duration::from_micros(pause);
        while pause > 0 && Instant::now() < until {}
    }
}

/// The longest operation, and the number of all, in which this process kept its core.
#[derive(Default)]
struct Longest {
    longest: Duration,
    operations: u64,
    refused: u64,
}

impl Longest {
    fn time(&mut self, operation: impl FnOnce() -> bool) {
        let before = switches()[1];
        let begin = Instant::now();
        let is_refused = operation();
        let took = begin.elapsed();
        if switches()[1] == before {
            self.longest = self.longest.max(took);
            self.operations += 1;
            self.refused += u64::from(is_refused);
        }
    }

    fn report(&self, name: &str, parameters: &str) {
        let sum = Sum { operations: self.operations, ..Sum::default() };
        let refused = self.refused as f64 / self.operations as f64 * 100.0;
        report(name, parameters, (self.longest.as_secs_f64() * 1e6, "us"), &sum);
        report(&format!("{name}_refused"), parameters, (refused, "%"), &sum);
    }
}

/// Stops another process again and again, in whatever it does, and times this one's operations meanwhile.
pub fn stopped(rounds: u64) {
    const STOPPED: Duration = Duration::from_millis(100);
    let folder = Folder::new();
    let url = format!("file:{}/store?size=1MiB", folder.0.display());
    let store = open(&url);
    let workers = start(&url, 2, 0, 0);
    sleep(Duration::from_millis(300));
    let (mut puts, mut removals, mut number) = (Longest::default(), Longest::default(), 0);
    for round in 0..rounds {
        sleep(Duration::from_micros(mix(round) % 5000));
        // Both, so that this one has its core.
        workers.iter().for_each(|worker| signal(worker.id(), SIGSTOP));
        let until = Instant::now() + STOPPED;
        while Instant::now() < until {
            number += 1;
            puts.time(|| put(&store, number, LIFE));
            removals.time(|| {
                remove(&store, number);
                false
            });
        }
        workers.iter().for_each(|worker| signal(worker.id(), SIGCONT));
    }
    end(workers);
    let parameters = format!("stops={}", rounds * 2);
    puts.report("store_longest_put", &parameters);
    removals.report("store_longest_remove", &parameters);
}

/// So many workers on one core. Returns nothing: it reports what was lost of the sessions that nobody
/// removes, in a store with room for all.
pub fn crowd(count: usize, seconds: u64) {
    const PAUSE: u64 = 20;
    const START: u64 = 3000;
    let folder = Folder::new();
    let url = format!("file:{}/store?size=64MiB", folder.0.display());
    let store = open(&url);
    let refused = (0..KEPT).filter(|number| put(&store, *number, 3600)).count();
    let evicted = store.counters().evicted;
    assert_eq!((refused, evicted), (0, 0), "there is room");
    let workers = start(&url, count, START, PAUSE);
    sleep(Duration::from_millis(START) + Duration::from_secs(seconds));
    end(workers);
    let lost = (0..KEPT).filter(|number| !is_there(&store, *number)).count();
    let counters = store.counters();
    let operations = counters.stores + counters.hits + counters.misses + counters.removes;
    let sum = Sum { operations, ..Sum::default() };
    let parameters = format!("workers={count} seconds={seconds}");
    report("store_crowd_lost", &parameters, (lost as f64 / KEPT as f64 * 100.0, "%"), &sum);
    for (name, value) in [
        ("operations", operations),
        ("removals", counters.removes),
        ("resets", counters.resets),
        ("busy", counters.busy),
        ("evicted", counters.evicted),
    ] {
        report(&format!("store_crowd_{name}"), &parameters, (value as f64, ""), &sum);
    }
}

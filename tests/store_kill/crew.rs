//! Several workers on one store, killed at random and followed by others.

use crate::ledger::{Ledger, WORKERS};
use crate::processes::{Process, Shared};
use crate::worker::{OWN_SESSIONS, Random, Task, Worker, now};
use sesscache_core::store::{Store, StoreUrl};
use std::ops::Range;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A worker that gets nothing done for so long hangs: what it does takes microseconds.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Crew<'a> {
    pub(crate) ledger: &'a Shared<Ledger>,
    store: &'a Store,
    /// A worker opens this itself, as one that is exec'd does; else it inherits the store.
    url: Option<&'a StoreUrl>,
    /// Of the ledger, one a worker.
    slots: Range<usize>,
    /// What they do from now on.
    task: Task,
    workers: Vec<Process>,
    started: u64,
    start: u64,
    pub(crate) random: Random,
}

impl<'a> Crew<'a> {
    pub(crate) fn new(
        ledger: &'a Shared<Ledger>,
        store: &'a Store,
        url: Option<&'a StoreUrl>,
    ) -> Crew<'a> {
        let (slots, task, workers) = (0..WORKERS, Task::Anything, Vec::new());
        let start = now().0 / 1000;
        let random = Random::new(now().0);
        Crew { ledger, store, url, slots, task, workers, started: 0, start, random }
    }

    /// Does something else.
    pub(crate) fn that_does(self, task: Task) -> Crew<'a> {
        Crew { task, ..self }
    }

    /// One of several crews, which began at the same time.
    pub(crate) fn beside(mut self, slots: Range<usize>, start: u64) -> Crew<'a> {
        self.random = Random::new(now().0 ^ (slots.start as u64) << 50);
        Crew { slots, start, ..self }
    }

    /// All of them.
    pub(crate) fn start(&mut self) {
        self.workers = self.slots.clone().map(|slot| self.start_one(slot)).collect();
    }

    fn start_one(&mut self, slot: usize) -> Process {
        self.started += 1;
        let (seed, start, task) = (self.random.below(1 << 40), self.start, self.task);
        let seed = seed ^ self.started << 40 ^ (slot as u64) << 56;
        let (ledger, inherited, url) = (self.ledger, self.store, self.url);
        Process::run(move || {
            let opened = url.map(|url| Store::open(url).unwrap());
            let store = opened.as_ref().unwrap_or(inherited);
            Worker { store, ledger, slot, random: Random::new(seed), start, task }.work();
        })
    }

    /// The parent's own view of the store.
    pub(crate) fn worker(&self) -> Worker<'_> {
        let (store, ledger, start, task) = (self.store, self.ledger, self.start, self.task);
        Worker { store, ledger, slot: 0, random: Random::new(1), start, task }
    }

    /// Kills one after up to `pause` microseconds, in whatever it does. Its slot.
    pub(crate) fn kill_one(&mut self, pause: u64) -> usize {
        sleep(Duration::from_micros(self.random.below(pause)));
        let number = usize::try_from(self.random.below(self.workers.len() as u64)).unwrap();
        self.workers[number].end();
        self.slots.start + number
    }

    /// Another takes the place of one that was killed.
    pub(crate) fn follow(&mut self, slot: usize) {
        let follower = self.start_one(slot);
        self.workers[slot - self.slots.start] = follower;
    }

    /// Kills that many, with up to `pause` microseconds in between.
    pub(crate) fn kill(&mut self, kills: u64, pause: u64) {
        for number in 0..kills {
            let slot = self.kill_one(pause);
            self.follow(slot);
            if number % 100 == 99 {
                self.all_go_on(1);
            }
        }
    }

    /// As [`Crew::kill`], of workers that have sessions of their own. Returns how many of these were lost, which
    /// is one a kill at most.
    pub(crate) fn kill_and_count(&mut self, kills: u64, pause: u64) -> usize {
        let mut lost = 0;
        for number in 0..kills {
            let slot = self.kill_one(pause);
            let missing = self.worker().put_missing(slot).unwrap();
            assert!(missing <= 1, "kill {number} cost {missing} records");
            lost += missing;
            self.follow(slot);
        }
        lost
    }

    /// The sessions of their own, of workers that are not started yet.
    pub(crate) fn put_own(&self) {
        for slot in self.slots.clone() {
            let all = usize::try_from(OWN_SESSIONS).unwrap();
            assert_eq!(self.worker().put_missing(slot), Ok(all), "a new store");
        }
    }

    /// Stops all, each in whatever it does.
    pub(crate) fn stop(&mut self) {
        self.workers.iter_mut().for_each(Process::stop);
    }

    pub(crate) fn go_on(&self) {
        self.workers.iter().for_each(Process::go_on);
    }

    /// Every worker gets so many operations done, and none has seen the store lie.
    pub(crate) fn all_go_on(&self, operations: u64) {
        let before = self.progress();
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert_eq!(self.ledger.lie(), None, "the store lied");
            let now = self.progress();
            if before.iter().zip(&now).all(|(before, now)| now - before >= operations) {
                return;
            }
            assert!(Instant::now() < deadline, "a worker hangs: {before:?}, then {now:?}");
            sleep(Duration::from_millis(1));
        }
    }

    fn progress(&self) -> Vec<u64> {
        let counts = self.ledger.progress.get(self.slots.clone()).unwrap_or_default();
        counts.iter().map(|count| count.load(Relaxed)).collect()
    }

    /// They end by themselves.
    pub(crate) fn end(&mut self) {
        self.ledger.is_over.store(true, SeqCst);
        for worker in self.workers.drain(..) {
            assert!(worker.ends_well(PATIENCE), "a worker ended badly, or not at all");
        }
        assert_eq!(self.ledger.lie(), None, "the store lied");
    }

    /// For a person: `cargo test … -- --nocapture`.
    pub(crate) fn report(&self, name: &str) {
        let (ledger, counters) = (self.ledger, self.store.counters());
        let operations: u64 = self.progress().iter().sum();
        eprintln!(
            "{name}: {} workers started, {operations} operations, {} found, {} torn, {} taken, {} \
             removed for good; {} removals forgotten, {} busy, {} evicted",
            self.started,
            ledger.found.load(Relaxed),
            ledger.torn.load(Relaxed),
            ledger.taken.load(Relaxed),
            ledger.removals(),
            counters.resets,
            counters.busy,
            counters.evicted,
        );
    }
}

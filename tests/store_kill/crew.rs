//! Several workers on one store, killed at random and followed by others.

use crate::ledger::{Ledger, WORKERS};
use crate::processes::{Process, Shared};
use crate::worker::{MOST_SHARDS, Random, Worker, now};
use sesscache_core::store::{Store, StoreUrl};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a worker may need for something that takes microseconds, on a machine with other work.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Crew<'a> {
    pub(crate) ledger: &'a Shared<Ledger>,
    store: &'a Store,
    /// A worker opens this itself, as one that is exec'd does; else it inherits the store.
    url: Option<&'a StoreUrl>,
    /// A shard that somebody else holds: each works there and in one other, alone.
    held_shard: Option<u64>,
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
        let start = now().0 / 1000;
        let random = Random::new(now().0);
        let workers = Vec::new();
        Crew { ledger, store, url, held_shard: None, workers, started: 0, start, random }
    }

    /// Each that starts from now on works in this shard, and in another that no other works in.
    ///
    /// A worker that the machine keeps from running for 20 ms, with a lock held, costs another of
    /// the same shard its removal, and so the shard its contents: here none waits for a worker.
    pub(crate) fn work_apart_from(&mut self, held_shard: u64) {
        assert_eq!(self.store.shard_count(), MOST_SHARDS);
        const { assert!(WORKERS < MOST_SHARDS) };
        self.held_shard = Some(held_shard);
    }

    /// The two shards of the worker in `slot`, if they work apart.
    fn shards(&self, slot: usize) -> Option<[u64; 2]> {
        let held = self.held_shard?;
        let others: Vec<u64> = (0..MOST_SHARDS as u64).filter(|shard| *shard != held).collect();
        Some([others[slot], held])
    }

    /// All of them.
    pub(crate) fn start(&mut self) {
        self.workers = (0..WORKERS).map(|slot| self.start_one(slot)).collect();
    }

    pub(crate) fn start_one(&mut self, slot: usize) -> Process {
        self.started += 1;
        let (seed, start) = (self.random.below(1 << 40) ^ self.started << 40, self.start);
        let (ledger, inherited, url) = (self.ledger, self.store, self.url);
        let shards = self.shards(slot);
        Process::run(move || {
            let opened = url.map(|url| Store::open(url).unwrap());
            let store = opened.as_ref().unwrap_or(inherited);
            let (random, cursors) = (Random::new(seed), Default::default());
            Worker { store, ledger, slot, random, start, cursors, shards }.work();
        })
    }

    /// The parent's own view of the store.
    pub(crate) fn worker(&self) -> Worker<'_> {
        let (random, start, cursors) = (Random::new(1), self.start, Default::default());
        let (store, ledger) = (self.store, self.ledger);
        Worker { store, ledger, slot: 0, random, start, cursors, shards: None }
    }

    /// Kills that many, each in whatever it does, with up to `pause` microseconds in between.
    pub(crate) fn kill(&mut self, kills: u64, pause: u64) {
        for number in 0..kills {
            sleep(Duration::from_micros(self.random.below(pause)));
            let slot = usize::try_from(self.random.below(WORKERS as u64)).unwrap();
            let follower = self.start_one(slot);
            std::mem::replace(&mut self.workers[slot], follower).kill();
            if number % 100 == 99 {
                self.all_go_on(1);
            }
        }
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

    pub(crate) fn progress(&self) -> Vec<u64> {
        self.ledger.progress.iter().take(WORKERS).map(|count| count.load(Relaxed)).collect()
    }

    /// The longest that an operation took one of them.
    pub(crate) fn slowest(&self) -> Duration {
        let each = self.ledger.slowest.iter().take(WORKERS).map(|slowest| slowest.load(Relaxed));
        Duration::from_micros(each.max().unwrap_or(0))
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
            "{name}: {} workers started, {operations} operations, {} found, {} taken, {} removed \
             for good; {} resets, {} busy, slowest {} us, {} evicted",
            self.started,
            ledger.found.load(Relaxed),
            ledger.taken.load(Relaxed),
            ledger.removals(),
            counters.resets,
            ledger.busy.load(Relaxed),
            self.slowest().as_micros(),
            counters.evicted,
        );
    }
}

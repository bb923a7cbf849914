//! One store and several processes that are killed, stopped and started in the middle of it: it may
//! forget, it must not lie, and nobody hangs.
//!
//! Workers are forked; those of a file store open it themselves. `SESSCACHE_KILLS` sets how many
//! are killed in each of the two stores (1000). Run one again, with its figures:
//! `cargo test --release --test store_kill -- --nocapture NAME`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod crew;
mod ledger;
mod opening;
mod processes;
mod worker;

use crew::Crew;
use ledger::{Ledger, VICTIM};
use processes::{Process, Shared};
use sesscache_core::store::{Store, StoreUrl};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs, process};

/// Numbers of sessions that no worker uses.
const OURS: u64 = 1 << 50;

/// An operation waits for 20 ms at most; the rest is what other work on the machine may take.
const LONGEST: Duration = Duration::from_secs(1);

/// These tests measure time and want the processors: one after the other.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder of our own, in memory if there is such, which goes with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        let number = COUNT.fetch_add(1, Relaxed);
        let path = base.join(format!("sesscache-test-{}-{number}", process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn url(&self, name: &str, size: &str) -> StoreUrl {
        StoreUrl::parse(&format!("file:{}?size={size}", self.path(name).display())).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn empty(&self) {
        self.names().iter().for_each(|name| fs::remove_file(self.path(name)).unwrap());
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn kills() -> u64 {
    env::var("SESSCACHE_KILLS").map_or(1000, |kills| kills.parse().unwrap())
}

fn kill_workers(name: &str, mut crew: Crew<'_>, store: &Store) {
    crew.start();
    crew.all_go_on(100);
    crew.kill(kills(), 8000);
    crew.all_go_on(1000);
    crew.end();
    crew.report(name);
    assert!(crew.worker().every_shard_works(OURS));
    let resets = store.counters().resets;
    assert!(resets > 0, "no kill hit a worker that held a lock");
    assert!(crew.slowest() < LONGEST, "an operation took too long");
    let found = crew.ledger.found.load(Relaxed);
    assert!(found > 10_000 && crew.ledger.taken.load(Relaxed) > 1000, "this showed nothing");
}

#[test]
fn kills_cost_contents_and_nothing_else_in_a_file() {
    let _turn = turn();
    let (folder, ledger) = (Folder::new(), Shared::<Ledger>::new());
    let url = folder.url("store", "4MiB");
    let store = Store::open(&url).unwrap();
    kill_workers("kills, file", Crew::new(&ledger, &store, Some(&url)), &store);
    assert_eq!(folder.names(), ["store"]);
    // All processes have gone; the store stays.
    drop(store);
    let store = Store::open(&url).unwrap();
    assert!(Crew::new(&ledger, &store, None).worker().every_shard_works(OURS + 64));
}

#[test]
fn kills_cost_contents_and_nothing_else_in_inherited_memory() {
    let _turn = turn();
    let ledger = Shared::<Ledger>::new();
    let store = Store::open(&StoreUrl::parse("shm:?size=4MiB").unwrap()).unwrap();
    kill_workers("kills, shm", Crew::new(&ledger, &store, None), &store);
}

/// Stops a worker again and again until it is one that holds a lock. The shard, and how long it
/// took to find out.
fn stop_a_holder(crew: &Crew<'_>, victim: &mut Process, probe: u64) -> (u64, Duration) {
    for _ in 0..20_000 {
        assert_eq!(crew.ledger.lie(), None, "the store lied");
        victim.stop();
        let start = Instant::now();
        if let Some(shard) = crew.worker().held_shard(probe) {
            return (shard, start.elapsed());
        }
        victim.go_on();
        sleep(Duration::from_micros(300));
    }
    panic!("it was never stopped with a lock held");
}

#[test]
fn a_stopped_holder_is_passed_over_and_heals() {
    let _turn = turn();
    let ledger = Shared::<Ledger>::new();
    let store = Store::open(&StoreUrl::parse("shm:?size=8MiB").unwrap()).unwrap();
    let mut crew = Crew::new(&ledger, &store, None);
    let mut victim = crew.start_one(VICTIM);
    let (held_shard, took) = stop_a_holder(&crew, &mut victim, OURS);
    let held = OURS + held_shard;
    assert!(took < LONGEST, "{took:?}");
    let busy = store.counters().busy;
    assert!(busy > 0);

    let start = Instant::now();
    for _ in 0..1000 {
        assert!(!crew.worker().is_free(held));
    }
    assert!(start.elapsed() < LONGEST, "each still waits for it");
    assert!(store.counters().busy >= busy + 1000);

    // Six others work meanwhile, in all shards but one.
    crew.work_apart_from(held_shard);
    crew.start();
    crew.all_go_on(2000);
    assert!(!crew.worker().is_free(held), "it is still stopped");
    assert_eq!(store.counters().resets, 0);

    victim.go_on();
    let healed = Instant::now();
    while !crew.worker().is_free(held) {
        assert!(healed.elapsed() < Duration::from_secs(5), "it does not heal");
    }
    crew.all_go_on(1000);
    crew.end();
    assert!(victim.ends_well(Duration::from_secs(10)));
    crew.report("stopped");
    assert!(crew.slowest() < LONGEST, "an operation took too long");
    // The others' removals could not be written there: the shard lost all it had.
    assert!(store.counters().resets > 0, "removals were lost");
    assert!(crew.worker().every_shard_works(OURS));
}

#[test]
fn a_stopped_holder_that_is_killed_leaves_its_lock() {
    let _turn = turn();
    let ledger = Shared::<Ledger>::new();
    let store = Store::open(&StoreUrl::parse("shm:?size=4MiB").unwrap()).unwrap();
    let mut crew = Crew::new(&ledger, &store, None);
    for round in 1..=20 {
        let mut victim = crew.start_one(VICTIM);
        stop_a_holder(&crew, &mut victim, OURS);
        victim.kill();
        assert_eq!(crew.worker().held_shard(OURS), None);
        assert_eq!(store.counters().resets, round, "one for each, in one shard");
        assert!(crew.worker().every_shard_works(OURS));
    }
    assert_eq!(ledger.lie(), None);
}

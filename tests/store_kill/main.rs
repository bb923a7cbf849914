//! One store and several processes that are killed, stopped and started in the middle of it: a process
//! that is killed loses the record that it writes, and no other; the store does not lie; nobody waits.
//!
//! Workers are forked; those of a file store open it themselves. `SESSCACHE_KILLS` sets how many
//! are killed in each test (1000). Run one again, with its figures:
//! `cargo test --release --test store_kill -- --nocapture NAME`. A release is tried with 10,000.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod crew;
mod ledger;
mod namespaces;
mod opening;
mod processes;
mod worker;

use crew::Crew;
use ledger::{Ledger, WORKERS};
use processes::Shared;
use sesscache_core::store::{LogBatch, Now, Record, Store, StoreUrl};
use std::collections::HashSet;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{env, fs, process};
use worker::{Task, now};

/// Numbers of sessions that no worker uses.
const OURS: u64 = 1 << 50;

/// These tests want the processors: one after the other.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn in_memory(size: &str) -> Store {
    Store::open(&StoreUrl::parse(&format!("shm:?size={size}")).unwrap()).unwrap()
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

fn kill_workers(name: &str, mut crew: Crew<'_>) {
    crew.start();
    crew.all_go_on(100);
    crew.kill(kills(), 8000);
    crew.all_go_on(1000);
    crew.end();
    crew.report(name);
    assert!(crew.worker().all_works(OURS, now()));
    let found = crew.ledger.found.load(Relaxed);
    assert!(found > 10_000 && crew.ledger.taken.load(Relaxed) > 1000, "this showed nothing");
    assert_eq!(crew.ledger.torn.load(Relaxed), 0);
}

#[test]
fn kills_make_no_store_lie_in_a_file() {
    let _turn = turn();
    let (folder, ledger) = (Folder::new(), Shared::<Ledger>::new());
    let url = folder.url("store", "4MiB");
    let store = Store::open(&url).unwrap();
    kill_workers("kills, file", Crew::new(&ledger, &store, Some(&url)));
    assert_eq!(folder.names(), ["store"]);
    // All processes have gone; the store stays.
    drop(store);
    let store = Store::open(&url).unwrap();
    assert!(Crew::new(&ledger, &store, None).worker().all_works(OURS << 1, now()));
}

#[test]
fn kills_make_no_store_lie_in_inherited_memory() {
    let _turn = turn();
    let (ledger, store) = (Shared::<Ledger>::new(), in_memory("4MiB"));
    kill_workers("kills, shm", Crew::new(&ledger, &store, None));
}

#[test]
fn a_kill_costs_no_record_but_the_one_that_is_written() {
    let _turn = turn();
    let (ledger, store) = (Shared::<Ledger>::new(), in_memory("16MiB"));
    let mut crew = Crew::new(&ledger, &store, None).that_does(Task::Own);
    crew.put_own();
    crew.start();
    crew.all_go_on(100);
    let lost = crew.kill_and_count(kills(), 4000);
    crew.all_go_on(100);
    crew.end();
    for slot in 0..WORKERS {
        assert_eq!(crew.worker().put_missing(slot), Ok(0), "of a process that nobody killed");
    }
    crew.report(&format!("own records, {lost} lost"));
    assert_eq!(store.counters().evicted, 0, "there was room for all");
}

/// The locators of the removals of which an agent that starts now is told.
fn told_removals(store: &Store) -> HashSet<[u8; 16]> {
    let (mut told, mut batch) = (HashSet::new(), LogBatch::default());
    store.begin_reading();
    for region in 0..store.region_count() {
        while store.has_more(region) {
            store.read_log(region, now(), &mut batch);
            let mut rest = batch.bytes.as_slice();
            while let Some((record, after)) = Record::split(rest) {
                told.extend(record.is_removal().then_some(record.locator().0));
                rest = after;
            }
            store.note_read(&batch.told);
        }
    }
    told
}

#[test]
fn no_removal_is_lost_and_all_are_told() {
    let _turn = turn();
    let (ledger, store) = (Shared::<Ledger>::new(), in_memory("16MiB"));
    let mut crew = Crew::new(&ledger, &store, None).that_does(Task::Removals);
    crew.start();
    crew.kill(kills() / 4, 1000);
    crew.all_go_on(100);
    crew.end();
    crew.report("removals");
    assert_eq!(store.counters().resets, 0, "there is room for all");
    let told = told_removals(&store);
    let (mut confirmed, mut untold) = (0, 0);
    for locator in crew.worker().confirmed_removals() {
        // After everything that this store can have had to forget.
        let began = now().0 / 1000 + 30;
        assert!(!store.may_resume(&locator, began, now()), "a removal was lost");
        confirmed += 1;
        untold += u32::from(!told.contains(&locator.0));
    }
    assert!(confirmed > 1000, "this showed nothing: {confirmed}");
    // One may have the tag of another.
    assert!(untold <= 1, "{untold} of {confirmed} removals are not told");
}

#[test]
fn processes_that_are_stopped_hold_nobody_up() {
    const ROUNDS: u64 = 20;
    let _turn = turn();
    let (ledger, store) = (Shared::<Ledger>::new(), in_memory("1MiB"));
    let mut crew = Crew::new(&ledger, &store, None);
    crew.start();
    crew.all_go_on(1000);
    for round in 0..ROUNDS {
        crew.stop();
        // They are stopped all the while, each in whatever it does.
        assert!(crew.worker().all_works(OURS + (round << 24), now()), "round {round}");
        // Their claims are of use to others later on, and to them no more.
        let later = Now(now().0 + 2000);
        assert!(crew.worker().all_works(OURS + (round << 24 | 1 << 20), later), "round {round}");
        crew.go_on();
        crew.all_go_on(50);
    }
    crew.end();
    crew.report("stopped");
    let (torn, stops) = (ledger.torn.load(Relaxed), ROUNDS * WORKERS as u64);
    assert!(torn <= stops, "each stop may spoil one record, and {torn} were in {stops}");
}

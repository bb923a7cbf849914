//! Many that open one new file at once, and some that are killed while they make it.

use crate::processes::{Gate, Process, Shared};
use crate::worker::{Random, locator, now, payload};
use crate::{Folder, turn};
use sesscache_core::store::{Lookup, Store, StoreUrl};
use std::fs;
use std::path::Path;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

const AT_ONCE: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens the store when all are ready; then each puts one record and finds those of all others.
fn open_and_meet(url: &StoreUrl, gate: &Gate, own: u32) {
    let deadline = 5_000_000_000;
    gate.pass(1, AT_ONCE);
    let store = Store::open(url).unwrap();
    let bytes = payload(u64::from(own), 0, 100);
    store.put(&locator(u64::from(own)), deadline, now(), 0, &bytes).unwrap();
    gate.pass(2, AT_ONCE);
    for other in 0..u64::from(AT_ONCE) {
        let mut found = Vec::new();
        let lookup = store.get(&locator(other), now(), &mut found);
        let is_there = matches!(lookup, Lookup::Found { deadline: until, .. } if until == deadline);
        assert!(is_there, "{own} sees another store than {other}: {lookup:?}");
        assert_eq!(found, payload(other, 0, 100));
    }
    gate.pass(3, AT_ONCE);
}

#[test]
fn processes_that_open_a_new_file_at_once_share_it() {
    let _turn = turn();
    let folder = Folder::new();
    let url = folder.url("store", "1MiB");
    for round in 0..200 {
        let gate = Shared::<Gate>::new();
        let processes: Vec<_> =
            (0..AT_ONCE).map(|own| Process::run(|| open_and_meet(&url, &gate, own))).collect();
        let well = processes.into_iter().map(|one| one.ends_well(PATIENCE));
        assert_eq!(well.filter(|well| *well).count(), AT_ONCE as usize, "round {round}");
        assert_eq!(folder.names(), ["store"]);
        fs::remove_file(folder.path("store")).unwrap();
    }
}

/// As two containers do, whose servers have the same process id and one folder.
#[test]
fn threads_of_one_process_that_open_a_new_file_at_once_share_it() {
    let _turn = turn();
    let folder = Folder::new();
    let url = folder.url("store", "1MiB");
    for _ in 0..200 {
        let gate = Gate::default();
        thread::scope(|scope| {
            for own in 0..AT_ONCE {
                let (url, gate) = (&url, &gate);
                scope.spawn(move || open_and_meet(url, gate, own));
            }
        });
        assert_eq!(folder.names(), ["store"]);
        fs::remove_file(folder.path("store")).unwrap();
    }
}

fn works(path: &Path) {
    let store = Store::open_existing(path).unwrap();
    store.put(&locator(1), now().0 / 1000 + 100, now(), 0, b"x").unwrap();
    assert!(matches!(store.get(&locator(1), now(), &mut Vec::new()), Lookup::Found { .. }));
}

#[test]
fn one_killed_while_it_makes_a_file_leaves_all_of_it_or_nothing() {
    let _turn = turn();
    let folder = Folder::new();
    let url = folder.url("store", "8MiB");
    let mut random = Random::new(now().0);
    let make = || drop(Store::open(&url).unwrap());
    let start = Instant::now();
    assert!(Process::run(make).ends_well(PATIENCE));
    let usual = u64::try_from(start.elapsed().as_micros()).unwrap();
    folder.empty();
    let (mut made, mut left) = (0, 0);
    for _ in 0..500 {
        let maker = Process::run(make);
        sleep(Duration::from_micros(random.below(2 * usual)));
        maker.kill();
        if folder.path("store").exists() {
            works(&folder.path("store"));
            made += 1;
        }
        left += folder.names().iter().filter(|name| *name != "store").count();
        // Whatever is left over is in nobody's way, and goes.
        make();
        works(&folder.path("store"));
        assert_eq!(folder.names(), ["store"]);
        folder.empty();
    }
    eprintln!(
        "killed makers: 500, of which {made} had made it; {left} left a file of another name"
    );
    assert!((1..500).contains(&made), "they were killed before or after it, never in between");
}

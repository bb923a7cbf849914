//! Two PID namespaces on one file store: two containers, whose processes have the same numbers.
//!
//! Asks for root: `make test-namespaces`. `SESSCACHE_KILLS=9000` makes it 18,000 kills.

use crate::crew::Crew;
use crate::ledger::{Ledger, WORKERS};
use crate::processes::{Process, Shared};
use crate::worker::now;
use crate::{Folder, OURS, kills, turn};
use sesscache_core::store::Store;
use std::ops::Range;
use std::process;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

const HALF: usize = WORKERS / 2;

/// How long the kills may take.
fn patience() -> Duration {
    Duration::from_secs(60)
        + Duration::from_millis(100) * u32::try_from(kills()).unwrap_or(u32::MAX)
}

/// Runs `body` as the first process of a new PID namespace.
fn in_a_namespace(body: impl FnOnce()) -> Process {
    Process::run(|| {
        // SAFETY: the children of this process get a namespace, nothing else.
        let made = unsafe { libc::unshare(libc::CLONE_NEWPID) };
        assert_eq!(made, 0, "unshare: {}", std::io::Error::last_os_error());
        let first = Process::run(|| {
            assert_eq!(process::id(), 1, "this is no namespace of its own");
            body();
        });
        assert!(first.ends_well(patience()));
    })
}

#[test]
#[ignore = "asks for root: make test-namespaces"]
fn kills_in_two_pid_namespaces_make_no_store_lie() {
    let _turn = turn();
    let (folder, ledger) = (Folder::new(), Shared::<Ledger>::new());
    let url = folder.url("store", "4MiB");
    let store = Store::open(&url).unwrap();
    let start = now().0 / 1000;
    let work = |slots: Range<usize>| {
        let mut crew = Crew::new(&ledger, &store, Some(&url)).beside(slots, start);
        crew.start();
        crew.all_go_on(100);
        crew.kill(kills(), 8000);
        crew.all_go_on(1000);
        crew.stop();
    };
    let containers = [0..HALF, HALF..WORKERS].map(|slots| in_a_namespace(|| work(slots)));
    for container in containers {
        assert!(container.ends_well(patience()), "a namespace ended badly: {:?}", ledger.lie());
    }
    assert_eq!(ledger.lie(), None, "the store lied");
    ledger.is_over.store(true, SeqCst);
    let crew = Crew::new(&ledger, &store, Some(&url));
    crew.report("two namespaces");
    assert!(crew.worker().all_works(OURS, now()));
    let found = ledger.found.load(Relaxed);
    assert!(found > 10_000 && ledger.taken.load(Relaxed) > 1000, "this showed nothing");
}

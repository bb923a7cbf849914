//! Two and three PID namespaces on one file store: containers, whose processes have the same numbers. The third
//! is the agent's.
//!
//! Asks for root: `make test-namespaces`. `SESSCACHE_KILLS=9000` makes it 18,000 kills of servers in each
//! test.

use crate::crew::Crew;
use crate::ledger::{Ledger, WORKERS};
use crate::processes::{Process, Shared};
use crate::worker::{Task, now};
use crate::{Folder, OURS, kills, turn};
use sesscache_core::store::Store;
use std::ops::Range;
use std::process;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

/// Workers of a namespace of servers.
const SERVERS: usize = 2;
/// The worker that reads the log.
const AGENT: usize = 2 * SERVERS;
const _: () = assert!(AGENT < WORKERS);

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

/// Kills the workers, and leaves their followers to the end of the namespace, in whatever they do.
fn killed_to_the_end(mut crew: Crew<'_>) {
    crew.start();
    crew.all_go_on(100);
    crew.kill(kills(), 8000);
    crew.all_go_on(1000);
    crew.stop();
}

#[test]
#[ignore = "asks for root: make test-namespaces"]
fn kills_in_three_pid_namespaces_make_no_store_lie() {
    let _turn = turn();
    let (folder, ledger) = (Folder::new(), Shared::<Ledger>::new());
    let url = folder.url("store", "4MiB");
    let store = Store::open(&url).unwrap();
    let start = now().0 / 1000;
    let crew = |slots: Range<usize>, task| {
        Crew::new(&ledger, &store, Some(&url)).beside(slots, start).that_does(task)
    };
    let of_servers = [0..SERVERS, SERVERS..2 * SERVERS]
        .map(|slots| in_a_namespace(|| killed_to_the_end(crew(slots, Task::Anything))));
    let of_agent = in_a_namespace(|| killed_to_the_end(crew(AGENT..AGENT + 1, Task::Log)));
    for container in of_servers.into_iter().chain([of_agent]) {
        assert!(container.ends_well(patience()), "a namespace ended badly: {:?}", ledger.lie());
    }
    assert_eq!(ledger.lie(), None, "the store lied");
    ledger.is_over.store(true, SeqCst);
    let crew = Crew::new(&ledger, &store, Some(&url));
    crew.report("three namespaces");
    assert!(crew.worker().all_works(OURS, now()));
    let found = ledger.found.load(Relaxed);
    assert!(found > 10_000 && ledger.taken.load(Relaxed) > 1000, "this showed nothing");
}

#[test]
#[ignore = "asks for root: make test-namespaces"]
fn a_kill_in_a_namespace_costs_no_record_but_the_one_that_is_written() {
    let _turn = turn();
    let (folder, ledger) = (Folder::new(), Shared::<Ledger>::new());
    let url = folder.url("store", "16MiB");
    let store = Store::open(&url).unwrap();
    let start = now().0 / 1000;
    let work = |slots: Range<usize>| {
        let crew = Crew::new(&ledger, &store, Some(&url)).beside(slots, start);
        let mut crew = crew.that_does(Task::Own);
        crew.put_own();
        crew.start();
        crew.all_go_on(100);
        let lost = crew.kill_and_count(kills(), 4000);
        crew.all_go_on(100);
        crew.stop();
        crew.report(&format!("own records in a namespace, {lost} lost"));
    };
    let containers = [0..SERVERS, SERVERS..2 * SERVERS].map(|slots| in_a_namespace(|| work(slots)));
    for container in containers {
        assert!(container.ends_well(patience()), "a namespace ended badly: {:?}", ledger.lie());
    }
    assert_eq!(ledger.lie(), None, "the store lied");
    assert_eq!(store.counters().evicted, 0, "there was room for all");
}

//! Runs a test's body in many schedules of its threads, which shuttle chooses: half of them at
//! random, half with few switches between threads (PCT).
//!
//! Both follow from a seed, a new one in each run. A test that fails prints the line that runs the
//! same schedules again and fails in the same one:
//!
//! ```text
//! again: SESSCACHE_SEED=1234567890 make shuttle
//! ```

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, Runner};
use std::env;
use std::hash::{BuildHasher, RandomState};
use std::thread::panicking;

const ITERATIONS: usize = 10_000;
/// The depth of the bugs that PCT looks for: so many switches must come at the right steps.
const DEPTH: usize = 3;
const VARIABLE: &str = "SESSCACHE_SEED";

/// Prints how to run the schedules again, if one of them fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if panicking() {
            eprintln!("again: {VARIABLE}={} make shuttle", self.0);
        }
    }
}

/// Runs `body` in 20,000 schedules.
pub(crate) fn explore(body: impl Fn() + Send + Sync + Clone + 'static) {
    let seed = Seed(match env::var(VARIABLE) {
        Ok(text) => text.parse().expect("the seed is a number"),
        // RandomState is seeded by the operating system.
        Err(_) => RandomState::new().hash_one(()),
    });
    run(RandomScheduler::new_from_seed(seed.0, ITERATIONS), body.clone());
    run(PctScheduler::new_from_seed(seed.0, DEPTH, ITERATIONS), body);
}

fn run(scheduler: impl Scheduler + 'static, body: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    // Shuttle would print the whole schedule, which is long. The seed is enough.
    config.failure_persistence = FailurePersistence::None;
    // Shuttle treats every memory order as SeqCst. ThreadSanitizer and the tests with real threads
    // are there for the weaker orders.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(body);
}

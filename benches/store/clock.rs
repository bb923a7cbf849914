//! Rounds of a batch of operations, timed until the time is over, as cache.c does it.

use crate::system::{settle, switches};
use std::time::{Duration, Instant};

/// Operations of a round, between two readings of the clock.
pub const BATCH: usize = 256;
/// On a busy machine the rounds that count may never come: after so many times the time, all do.
const PATIENCE: u32 = 4;

/// How an operation ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it is to do.
    Done,
    /// It did something else.
    Undone,
    /// Other processes changed the same few slots again and again.
    Refused,
}

impl From<bool> for Outcome {
    fn from(done: bool) -> Outcome {
        if done { Outcome::Done } else { Outcome::Undone }
    }
}

/// How to measure.
#[derive(Clone, Copy)]
pub struct Clock {
    /// How long.
    pub seconds: f64,
    /// No more processes than processors: a round in which this one lost its core does not count.
    pub has_core: bool,
}

/// What was measured, refused operations and all.
#[derive(Clone, Copy, Default)]
pub struct Sum {
    pub ns: u64,
    pub operations: u64,
    /// Those of them that did something else.
    pub undone: u64,
    /// Those that were refused.
    pub refused: u64,
    /// Voluntary and involuntary.
    pub switches: [i64; 2],
}

impl Sum {
    /// Wall time of an operation.
    pub fn each(&self) -> f64 {
        self.ns as f64 / self.operations as f64
    }

    /// What others measured at the same time.
    pub fn add(&mut self, other: &Sum) {
        self.ns += other.ns;
        self.operations += other.operations;
        self.undone += other.undone;
        self.refused += other.refused;
        self.switches[0] += other.switches[0];
        self.switches[1] += other.switches[1];
    }
}

impl Clock {
    /// Runs `operation` on batches that `prepare` makes.
    pub fn run<T>(
        &self,
        mut prepare: impl FnMut() -> [T; BATCH],
        mut operation: impl FnMut(&T) -> Outcome,
    ) -> Sum {
        let (begin, before) = (Instant::now(), switches());
        let seconds = Duration::from_secs_f64(self.seconds);
        let mut sum = Sum::default();
        let mut last = before;
        while begin.elapsed() < seconds || sum.operations == 0 {
            let batch = prepare();
            let (mut undone, mut refused) = (0, 0);
            let start = Instant::now();
            for one in &batch {
                let outcome = operation(one);
                undone += u64::from(outcome == Outcome::Undone);
                refused += u64::from(outcome == Outcome::Refused);
                settle();
            }
            let ns = start.elapsed().as_nanos() as u64;
            let now = switches();
            let kept_core = now[1] == last[1] || begin.elapsed() > seconds * PATIENCE;
            last = now;
            if kept_core || !self.has_core {
                sum.ns += ns;
                sum.operations += BATCH as u64;
                sum.undone += undone;
                sum.refused += refused;
            }
        }
        sum.switches = [last[0] - before[0], last[1] - before[1]];
        sum
    }
}

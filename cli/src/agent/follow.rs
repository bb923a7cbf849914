//! Follows the store's log on a thread of its own: reads new records of all regions and hands them
//! to the sender in rounds.
//!
//! While Redis is away, the sender takes no round and this thread waits. Records that make room meanwhile
//! are counted as lost when the reading goes on.

use super::flushes::Flushes;
use super::pace::Pace;
use super::redis_clock::host_time;
use super::shared::Shared;
use super::stream_entry::UnsentEntries;
use sesscache_core::store::{Flush, LogBatch, Now, Told};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;

/// The size of a round, about, in bytes. While Redis is away, at most three rounds are in memory.
const MOST_BYTES: usize = 256 << 10;
/// How long to wait for a new record.
const PATIENCE: Duration = Duration::from_millis(100);

/// The records that one pass over all regions has read.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) unsent: UnsentEntries,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// The records that the store notes as told once Redis has acknowledged the round.
    pub(crate) told: Vec<Told>,
    /// The flushes in it, with the numbers by which the store notes them as told.
    pub(crate) flushes: Vec<(usize, Flush)>,
    /// Whether the next rounds have everything again.
    pub(crate) is_rewind: bool,
}

/// The thread's state.
struct Follower {
    shared: Arc<Shared>,
    /// The region at which the next round starts, so that none is always the last.
    first: usize,
    flushes: Flushes,
    batch: LogBatch,
    pace: Pace,
}

/// Starts the thread. It ends when the sender takes no more rounds, or when it is told to stop and
/// has read everything.
pub(crate) fn start(shared: Arc<Shared>, rounds: Sender<Round>) -> io::Result<JoinHandle<()>> {
    if shared.store.begin_reading() {
        shared.metrics.lost_records.inc_by(shared.store.lost_records());
    }
    let flushes = Flushes::new(&shared.store, shared.settings.retention);
    let batch = LogBatch::default();
    let pace = Pace::new(Instant::now());
    let mut follower = Follower { shared, first: 0, flushes, batch, pace };
    thread::Builder::new().name("follow".into()).spawn(move || follower.follow(&rounds))
}

impl Follower {
    fn follow(&mut self, rounds: &Sender<Round>) {
        loop {
            self.shared.health.follower_round(false);
            let start = Instant::now();
            let rewound = self.shared.rewind.swap(false, Acquire).then(|| self.rewind());
            let round = rewound.unwrap_or_else(|| self.read());
            let pause = self.pace.pause(start, round.records, round.is_full());
            if !round.is_empty() {
                self.shared.health.follower_round(true);
                if rounds.blocking_send(round).is_err() {
                    return;
                }
            } else if self.shared.is_ending() && self.is_caught_up() {
                return;
            } else {
                self.shared.store.wait(PATIENCE);
            }
            if rounds.is_closed() {
                return;
            }
            thread::sleep(pause.saturating_sub(start.elapsed()));
        }
    }

    fn is_caught_up(&self) -> bool {
        let store = &self.shared.store;
        !(0..store.region_count()).any(|region| store.has_more(region))
    }

    /// Reads every region that has new records.
    fn read(&mut self) -> Round {
        let mut round = Round {
            unsent: UnsentEntries::new(self.shared.settings.streams),
            records: 0,
            bytes: 0,
            told: Vec::new(),
            flushes: self.flushes.untold(&self.shared.store),
            is_rewind: false,
        };
        for (_, flush) in &round.flushes {
            let record = flush.record();
            round.records += round.unsent.add(&record);
            round.bytes += record.len() as u64;
        }
        let (first, count) = (self.first, self.shared.store.region_count());
        for region in (0..count).map(|number| (first + number) % count) {
            if round.is_full() {
                self.first = region;
                break;
            }
            self.read_region(region, &mut round);
        }
        self.shared.metrics.lost_records.inc_by(self.shared.store.lost_records());
        round
    }

    fn read_region(&mut self, region: usize, round: &mut Round) {
        let Shared { store, metrics, .. } = &*self.shared;
        if !store.has_more(region) {
            return;
        }
        store.read_log(region, Now(host_time()), &mut self.batch);
        let records = round.unsent.add(&self.batch.bytes);
        // Other processes write to the mapping, so bytes that are no records are dropped here.
        metrics.lost_records.inc_by(self.batch.records.saturating_sub(records));
        round.records += records;
        round.bytes += self.batch.bytes.len() as u64;
        if self.batch.records != 0 {
            round.told.push(std::mem::take(&mut self.batch.told));
        }
    }

    /// Has everything read again that the store still has.
    fn rewind(&mut self) -> Round {
        self.flushes.begin_anew(&self.shared.store);
        let Shared { store, settings, .. } = &*self.shared;
        store.tell_again();
        Round {
            unsent: UnsentEntries::new(settings.streams),
            records: 0,
            bytes: 0,
            told: Vec::new(),
            flushes: Vec::new(),
            is_rewind: true,
        }
    }
}

impl Round {
    fn is_empty(&self) -> bool {
        self.told.is_empty() && self.flushes.is_empty() && !self.is_rewind
    }

    fn is_full(&self) -> bool {
        usize::try_from(self.bytes).unwrap_or(usize::MAX) >= MOST_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::super::shared::tests::shared;
    use super::*;
    use sesscache_core::store::Locator;
    use std::sync::atomic::Ordering::Release;
    use tokio::sync::mpsc::{self, Receiver};

    fn put(shared: &Shared, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let number = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes();
            let mut locator = [0; 16];
            locator[..8].copy_from_slice(&number);
            locator[8..].copy_from_slice(&number);
            let now = Now(host_time());
            shared.store.put(&Locator(locator), now.0 / 1000 + 60, now, 0, &[5; 150]).unwrap();
        }
    }

    /// Takes rounds and notes them as told until the follower ends. Returns the number of records.
    fn drain(shared: &Shared, rounds: &mut Receiver<Round>) -> u64 {
        let mut records = 0;
        while let Some(round) = rounds.blocking_recv() {
            records += round.records;
            round.told.iter().for_each(|told| shared.store.note_read(told));
        }
        records
    }

    /// Follows to the end of the log. Returns the number of records.
    fn follow(shared: &Arc<Shared>) -> u64 {
        shared.ending.store(true, Release);
        let (into, mut rounds) = mpsc::channel(1);
        let thread = start(Arc::clone(shared), into).unwrap();
        let records = drain(shared, &mut rounds);
        thread.join().unwrap();
        records
    }

    #[test]
    fn everything_is_read_once_by_one_follower_after_another() {
        let shared = shared();
        put(&shared, 0..100);
        assert_eq!((follow(&shared), follow(&shared)), (100, 0));
        put(&shared, 100..150);
        assert_eq!(follow(&shared), 50);
        assert_eq!(shared.metrics.lost_records.get(), 0);
    }

    #[test]
    fn what_was_overwritten_meanwhile_is_lost_and_counted() {
        let shared = shared();
        // Records overwritten before the first follower are not counted as lost.
        put(&shared, 0..5000);
        let first = follow(&shared);
        assert!(first < 5000);
        assert_eq!(shared.metrics.lost_records.get(), 0);
        put(&shared, 5000..10_000);
        assert_eq!(follow(&shared) + shared.metrics.lost_records.get(), 5000);
        assert!(shared.metrics.lost_records.get() > 0);
    }

    #[test]
    fn a_rewind_reads_again_what_there_is_and_forgets_no_loss() {
        let shared = shared();
        put(&shared, 0..100);
        follow(&shared);
        shared.rewind.store(true, Release);
        assert_eq!((follow(&shared), shared.metrics.lost_records.get()), (100, 0));
        put(&shared, 100..6000);
        shared.rewind.store(true, Release);
        let there = follow(&shared);
        assert_eq!(there + shared.metrics.lost_records.get(), 5900);
    }

    #[test]
    fn a_flush_is_followed_though_nothing_is_written_to_the_log() {
        let shared = shared();
        shared.store.flush(7, 9_999_999_999, Now(host_time()));
        // The rounds of this test are told to nobody, so the next follower tells it again.
        assert_eq!((follow(&shared), follow(&shared)), (1, 1));
    }

    #[test]
    fn a_follower_ends_when_nobody_takes_its_rounds() {
        let shared = shared();
        let (into, rounds) = mpsc::channel(1);
        let thread = start(Arc::clone(&shared), into).unwrap();
        drop(rounds);
        put(&shared, 0..1);
        thread.join().unwrap();
    }
}

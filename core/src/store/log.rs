//! The store as a log: sessions stored and removed, for the agent that tells other hosts.
//!
//! A record that was not told says so itself, in its cell. So nothing needs a place of its own, a reader that is
//! restarted goes on, and all that the store still has is told. A record that made room before it was
//! read is counted as lost. Writers wake the reader by a word that is rarely written.

use super::counters::Counter;
use super::flushes::Flush;
use super::layout::header;
use super::mapping::Outside;
use super::record::{APPLIED, HEAD_BYTES, Head, Kind};
use super::table::{Facts, InFlight, fence_after_change};
use super::{Locator, MOST_PAYLOAD, Now, PutError, Source, Store};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

/// The most bytes of a batch, unless a single bucket has more.
const MOST_AT_ONCE: usize = 32 << 10;

/// Records as they travel, in no order.
#[derive(Debug, Default)]
pub struct LogBatch {
    /// Heads and payloads.
    pub bytes: Vec<u8>,
    /// How many.
    pub records: u64,
    /// For [`Store::note_read`].
    pub told: Told,
}

/// The records that were read and are not told yet.
#[derive(Debug, Default)]
pub struct Told(Vec<InFlight>);

/// A record, as it travels between hosts.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    head: Head,
    payload: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// The first record of `bytes`, and the rest; `None` if no record begins there.
    pub fn split(bytes: &'a [u8]) -> Option<(Record<'a>, &'a [u8])> {
        let head = Head::from_bytes(bytes.first_chunk()?)?;
        let (bytes, rest) = bytes.split_at_checked(head.size())?;
        let payload = bytes.get(HEAD_BYTES..HEAD_BYTES + head.payload)?;
        let travels = matches!(head.kind, Kind::Put | Kind::Removal);
        travels.then_some((Record { head, payload, bytes }, rest))
    }

    /// The session's locator.
    pub fn locator(&self) -> &Locator {
        &self.head.locator
    }

    /// Whether a session was removed; otherwise it was stored.
    pub fn is_removal(&self) -> bool {
        self.head.kind == Kind::Removal
    }

    /// The last second, since 1970, in which the record matters.
    pub fn deadline(&self) -> u64 {
        self.head.deadline
    }

    /// When it was written, in milliseconds since 1970 by the clock of its host.
    pub fn written(&self) -> u64 {
        self.head.written
    }

    /// The record as it travels.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl Store {
    /// The number of regions to read.
    pub fn region_count(&self) -> usize {
        self.geometry.regions
    }

    /// Random bytes that tell this store from every other.
    pub fn id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        let _ = self.mapping.read(header::ID, &mut id);
        id
    }

    /// A reader begins. What an earlier one has read and not noted as told is read again. Returns whether
    /// there was an earlier one.
    pub fn begin_reading(&self) -> bool {
        let Ok(read) = self.mapping.word(header::READ) else { return false };
        self.table().begin_reading();
        let was_read = read.swap(1, AcqRel) != 0;
        if !was_read {
            self.lost_records();
        }
        was_read
    }

    /// All that was made on this host and is still there is read again.
    pub fn tell_again(&self) {
        self.table().tell_again();
    }

    /// Records that have made room unread since this was last called.
    pub fn lost_records(&self) -> u64 {
        let lost = self.table().counted(Counter::Untold);
        let before = self.mapping.word(header::READ_LOST).map(|word| word.swap(lost, AcqRel));
        lost.saturating_sub(before.unwrap_or(lost))
    }

    /// Whether a region has something to read.
    pub fn has_more(&self, region: usize) -> bool {
        self.table().is_dirty(region)
    }

    /// The number of records that other hosts were not told of.
    pub fn unread(&self) -> u64 {
        self.table().untold()
    }

    /// Empties `batch` and reads records into it that other hosts should know. They are not read again, by
    /// this reader.
    pub fn read_log(&self, region: usize, now: Now, batch: &mut LogBatch) {
        batch.bytes.clear();
        let mut told = Vec::new();
        batch.records =
            self.table().read_untold(region, now, MOST_AT_ONCE, &mut batch.bytes, &mut told);
        batch.told = Told(told);
    }

    /// Other hosts have what was read.
    pub fn note_read(&self, told: &Told) {
        self.table().note_told(&told.0);
    }

    /// Takes over a record of another host. A session that was removed here stays removed. If
    /// removals had to be forgotten, a session from before the last of them is refused.
    ///
    /// The record itself says when it was written, which nothing proves: see docs/STORE.md.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub fn apply(&self, record: &Record<'_>, now: Now) -> Result<(), PutError> {
        let Head { locator, deadline, written, .. } = record.head;
        if deadline < now.seconds() {
            return Ok(());
        }
        if let Some(flush) = Flush::of(&record.head) {
            self.learn_flush(flush, now);
            return Ok(());
        }
        if !record.is_removal() {
            if self.has(record, now) {
                return Ok(());
            }
            let source = Source::Elsewhere { second: written / 1000 };
            return self.put_from(source, &locator, deadline, now, record.payload);
        }
        // A removal takes room until its deadline, which the sender may have put far away.
        let deadline = deadline.min(now.seconds() + LONGEST_REMOVAL);
        self.remove_as(&locator, deadline, now, APPLIED);
        Ok(())
    }

    /// Whether exactly this session is kept already, or known to be removed. A record may be told
    /// more than once, and writing it again would push out another.
    pub fn has(&self, record: &Record<'_>, now: Now) -> bool {
        let Head { locator, deadline, payload, .. } = record.head;
        if let Some(flush) = Flush::of(&record.head) {
            return self.knows_flush(flush, now);
        }
        let Some(place) = self.place(&locator) else { return false };
        if record.is_removal() || place.is_removed(now) {
            return record.is_removal() && place.is_removed(now);
        }
        let is_same = |facts: Facts| (facts.deadline, facts.length) == (deadline, payload);
        let mut kept = Vec::new();
        place.facts().is_some_and(is_same)
            && place.copy_into(now, &mut kept)
            && kept == record.payload
    }

    /// Waits until a record is written, or until `patience` is over. If a region has more to read, it
    /// returns at once.
    pub fn wait(&self, patience: Duration) {
        let Ok(waiting) = self.mapping.half_word(header::WAITING) else { return };
        waiting.store(1, Release);
        // After the store. A writer in between sees the flag, or its record is seen here.
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        if !(0..self.region_count()).any(|region| self.has_more(region)) {
            self.mapping.wait(header::WAITING, 1, patience);
        }
        waiting.store(0, Relaxed);
    }

    /// Wakes the reader, if it waits. The caller has just counted what there is to read.
    pub(super) fn wake(&self) {
        fence_after_change();
        if let Ok(waiting) = self.mapping.half_word(header::WAITING)
            && waiting.load(Acquire) != 0
            && waiting.swap(0, AcqRel) != 0
        {
            self.mapping.wake(header::WAITING);
        }
    }

    /// Notes of a reader that must outlive it: [`NOTES`] words.
    pub fn note(&self, number: usize) -> u64 {
        self.note_word(number).map_or(0, |word| word.load(Acquire))
    }

    /// Keeps a note.
    pub fn keep_note(&self, number: usize, value: u64) {
        if let Ok(word) = self.note_word(number) {
            word.store(value, Release);
        }
    }

    fn note_word(&self, number: usize) -> Result<&std::sync::atomic::AtomicU64, Outside> {
        let number = if number < NOTES { number } else { return Err(Outside) };
        self.mapping.word(header::NOTES + number * size_of::<u64>())
    }
}

/// The number of notes.
pub const NOTES: usize = 256;

/// Removals of other hosts are kept for a week at most, the longest life of a ticket (RFC 8446
/// 4.6.1).
const LONGEST_REMOVAL: u64 = 7 * 24 * 60 * 60;

const _: () = assert!(MOST_PAYLOAD > MOST_AT_ONCE, "one record may be more than a batch");

//! The rings as a log: sessions stored and removed, in order, for the agent that tells other hosts.
//!
//! A single reader (the agent) follows every shard from a cursor. The cursor is kept in the store,
//! so that a restarted reader continues there. The reader holds a shard's lock for the length of a
//! short copy. Records that the ring has overwritten before they were read are counted as lost.
//! Writers wake the reader by a word that is rarely written.

use super::damaged::Damaged;
use super::flushes::Flush;
use super::layout::{header, shard as at};
use super::mapping::Outside;
use super::record::{APPLIED, HEAD_BYTES, Head, Kind, LOCAL, MOVED, START_BYTES, start};
use super::shard::{Busy, LockedShard};
use super::{Locator, MOST_PAYLOAD, Now, PutError, Source, Store};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

/// The most bytes that are copied under a shard's lock, unless a single record is larger.
const MOST_AT_ONCE: usize = 32 << 10;

/// The most bytes of the ring that are looked at under a shard's lock.
const MOST_WALKED: u64 = 128 << 10;

/// The reader's position in a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    epoch: u64,
    position: u64,
    /// Records before it.
    number: u64,
    /// Removals that were written again are told up to this position, because their first copy may
    /// have been overwritten unread.
    moved: u64,
}

/// Records in the order in which they were written, and as they lie in the ring.
#[derive(Debug, Default)]
pub struct LogBatch {
    /// Heads and payloads.
    pub bytes: Vec<u8>,
    /// How many.
    pub records: u64,
    /// The records before these that could not be read any more.
    pub lost: u64,
    /// The cursor behind them.
    pub next: Cursor,
}

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
        let head = Head::from_bytes(bytes.first_chunk()?).ok()?;
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
    /// The number of shards to read.
    pub fn shard_count(&self) -> usize {
        self.geometry.shards
    }

    /// Random bytes that tell this store from every other.
    pub fn id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        let _ = self.mapping.read(header::ID, &mut id);
        id
    }

    /// The cursor of a shard, as kept by [`Store::keep_cursor`].
    pub fn cursor(&self, shard: usize) -> Cursor {
        let shard = self.numbered(shard);
        Cursor {
            epoch: shard.value(at::READ_EPOCH),
            position: shard.value(at::READ_POSITION),
            number: shard.value(at::READ_NUMBER),
            moved: shard.value(at::READ_MOVED),
        }
    }

    /// Keeps the cursor of a shard.
    pub fn keep_cursor(&self, shard: usize, cursor: Cursor) {
        let shard = self.numbered(shard);
        // MOVED comes first: a reader that ends in between must not believe that it was told those.
        let words = [
            (at::READ_MOVED, cursor.moved),
            (at::READ_EPOCH, cursor.epoch),
            (at::READ_POSITION, cursor.position),
            (at::READ_NUMBER, cursor.number),
        ];
        for (offset, value) in words {
            if let Ok(word) = shard.word(offset) {
                word.store(value, Release);
            }
        }
    }

    /// Whether a shard has records behind `cursor`. It is a look without the lock.
    pub fn has_more(&self, shard: usize, cursor: Cursor) -> bool {
        self.numbered(shard).value(at::HEAD) != cursor.position
    }

    /// The number of records written to a shard since `cursor`, of any kind.
    pub fn unread(&self, shard: usize, cursor: Cursor) -> u64 {
        self.numbered(shard).value(at::APPENDED).saturating_sub(cursor.number)
    }

    /// Empties `batch` and reads records into it that other hosts should know, from `cursor` on.
    /// False if the shard's lock was not to be had.
    pub fn read_log(&self, shard: usize, cursor: Cursor, now: Now, batch: &mut LogBatch) -> bool {
        batch.bytes.clear();
        (batch.records, batch.lost, batch.next) = (0, 0, cursor);
        let read = self.numbered(shard).locked(now.0, |locked| {
            if locked.read_from(cursor, batch).is_err() {
                // The cursor is not at the beginning of a record. Nobody can tell what it missed.
                batch.bytes.clear();
                batch.records = 0;
                batch.next = locked.oldest();
                batch.lost = batch.next.number.saturating_sub(cursor.number);
            }
            Ok(())
        });
        read != Err(Busy)
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
        if self.remove_as(&locator, deadline, now, APPLIED) { Ok(()) } else { Err(PutError::Busy) }
    }

    /// Whether exactly this session is kept already, or known to be removed. A record may be told
    /// more than once, and writing it again would push out another.
    pub fn has(&self, record: &Record<'_>, now: Now) -> bool {
        let Head { locator, deadline, payload, .. } = record.head;
        if let Some(flush) = Flush::of(&record.head) {
            return self.knows_flush(flush, now);
        }
        let shard = self.shard(&locator);
        let glance = shard.glance(&locator);
        if record.is_removal() {
            let known = |locked: &LockedShard<'_>| {
                Ok(locked.find(&locator)?.is_some_and(|hit| hit.head.kind == Kind::Removal))
            };
            return glance.removal && shard.locked(now.0, known) == Ok(true);
        }
        if !glance.put {
            return false;
        }
        let mut kept = Vec::new();
        let is_kept = shard.locked(now.0, |locked| {
            let Some(hit) = locked.find(&locator)? else { return Ok(false) };
            let Head { kind, .. } = hit.head;
            if (kind, hit.head.deadline, hit.head.payload) != (Kind::Put, deadline, payload)
                || kept.try_reserve(payload).is_err()
            {
                return Ok(false);
            }
            let place = locked.place(hit.position) + HEAD_BYTES;
            locked.shard.mapping.append_to(place, payload, &mut kept)?;
            Ok(kept == record.payload)
        });
        is_kept == Ok(true)
    }

    /// Waits until a record is written, or until `patience` is over. `cursors` are those of all
    /// shards. If a shard has more to read, it returns at once.
    pub fn wait(&self, cursors: &[Cursor], patience: Duration) {
        let Ok(waiting) = self.mapping.half_word(header::WAITING) else { return };
        waiting.store(1, Release);
        // After the store. A writer in between sees the flag, or its record is seen here.
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        let idle = cursors.iter().enumerate().all(|(shard, &cursor)| !self.has_more(shard, cursor));
        if idle {
            self.mapping.wait(header::WAITING, 1, patience);
        }
        waiting.store(0, Relaxed);
    }

    /// Wakes the reader, if it waits.
    pub(super) fn wake(&self) {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        if let Ok(waiting) = self.mapping.half_word(header::WAITING)
            && waiting.load(Acquire) != 0
            && waiting.swap(0, AcqRel) != 0
        {
            self.mapping.wake(header::WAITING);
        }
    }

    /// Notes of a reader that must outlive it, beside the cursors: [`NOTES`] words.
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

impl LockedShard<'_> {
    fn read_from(&self, cursor: Cursor, batch: &mut LogBatch) -> Result<(), Damaged> {
        let head = self.get(at::HEAD);
        let oldest = self.oldest();
        let mut next = cursor;
        if cursor.epoch != oldest.epoch || !(oldest.position..=head).contains(&cursor.position) {
            batch.lost = oldest.number.saturating_sub(cursor.number);
            next = oldest;
        }
        // Records that do not concern other hosts take time as well.
        let enough = next.position + MOST_WALKED;
        while next.position < head.min(enough) {
            let mut bytes = [0; START_BYTES];
            self.shard.mapping.read(self.place(next.position), &mut bytes)?;
            let (kind, size) = start(bytes)?;
            if kind != Kind::Filler {
                let head = self.head(next.position)?;
                if !self.copy(next, &head, batch)? {
                    break;
                }
                next.number += u64::from(head.flags & MOVED == 0);
            }
            next.position += size as u64;
        }
        batch.next = next;
        Ok(())
    }

    /// A cursor at the oldest record, of a reader that may have missed others.
    fn oldest(&self) -> Cursor {
        Cursor {
            epoch: self.get(at::EPOCH),
            position: self.get(at::TAIL),
            number: self.get(at::PASSED),
            moved: self.get(at::HEAD),
        }
    }

    /// Copies a record that other hosts should know; false if the batch is full.
    fn copy(&self, here: Cursor, head: &Head, batch: &mut LogBatch) -> Result<bool, Damaged> {
        let concerns =
            matches!(head.kind, Kind::Put | Kind::Removal) && head.flags & (LOCAL | APPLIED) == 0;
        let is_told = head.flags & MOVED != 0 && here.position >= here.moved;
        if !concerns || is_told {
            return Ok(true);
        }
        if !batch.bytes.is_empty() && batch.bytes.len() + head.size() > MOST_AT_ONCE
            || batch.bytes.try_reserve(head.size()).is_err()
        {
            return Ok(false);
        }
        self.shard.mapping.append_to(self.place(here.position), head.size(), &mut batch.bytes)?;
        batch.records += 1;
        Ok(true)
    }
}

const _: () = assert!(MOST_PAYLOAD > MOST_AT_ONCE, "one record may be more than a batch");

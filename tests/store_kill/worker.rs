//! One process that hammers a store, and checks every answer against the ledger.

use crate::ledger::{Ledger, Lie};
use sesscache_core::store::{
    Cursor, LOCAL, Locator, LogBatch, Lookup, MOST_PAYLOAD, Now, PutError, Record, Store,
};
use sesscache_core::system::clock::now_milliseconds;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Sessions that come and go at a time.
const WINDOW: u64 = 512;
/// Numbers of sessions that are removed for good.
const REMOVED: u64 = 1 << 40;
/// The most shards that a store of these tests has: by this many numbers they repeat.
pub(crate) const MOST_SHARDS: usize = 8;
/// Shards that are read, and probed.
const READ_SHARDS: u64 = 4;
/// Seconds from the start of a test to the earliest deadline: nothing expires.
const LIFE: u64 = 3600;

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(mix(seed) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit
    }
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_add(0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ x >> 31
}

/// Spread like a hash; its lowest bits, by which a shard is chosen, are those of `number`.
pub(crate) fn locator(number: u64) -> Locator {
    let low = mix(number) & !63 | number & 63;
    Locator((u128::from(low) | u128::from(mix(number ^ low)) << 64).to_le_bytes())
}

pub(crate) fn now() -> Now {
    Now(now_milliseconds())
}

/// Bytes of a record before its payload (docs/STORE.md).
const HEAD_BYTES: usize = 36;

/// Bytes of the payload that come before those that follow from them.
const PREFIX: usize = 24;

/// Every byte follows from whose it is, which put it is, and how long.
pub(crate) fn payload(number: u64, put: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    for word in [number, put, length as u64] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    let mut word = mix(number ^ mix(put));
    while bytes.len() < length {
        bytes.extend_from_slice(&word.to_le_bytes());
        word = word.wrapping_mul(0x2545_F491_4F6C_DD1D).wrapping_add(1);
    }
    bytes.truncate(length);
    bytes
}

/// Which put this is the payload of; `None` if it is not one of `number`.
pub(crate) fn put_of(number: u64, bytes: &[u8]) -> Option<u64> {
    let put = u64::from_le_bytes(*bytes.get(8..)?.first_chunk()?);
    (payload(number, put, bytes.len().max(PREFIX)) == bytes).then_some(put)
}

/// Puts that are not for other hosts to know.
fn is_local(put: u64) -> bool {
    put % 8 == 1
}

/// A record's payload, without the head before it and what fills its last word.
fn payload_in<'a>(record: &Record<'a>) -> &'a [u8] {
    let rest = record.bytes().get(HEAD_BYTES..).unwrap_or_default();
    let length = rest.get(16..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or_default();
    let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
    rest.get(..length).unwrap_or_default()
}

/// The session whose payload this is, if all of it is one.
fn number_of(bytes: &[u8]) -> Option<u64> {
    let number = u64::from_le_bytes(*bytes.first_chunk()?);
    put_of(number, bytes).map(|_| number)
}

pub(crate) struct Worker<'a> {
    pub(crate) store: &'a Store,
    pub(crate) ledger: &'a Ledger,
    pub(crate) slot: usize,
    pub(crate) random: Random,
    /// When the test began, in seconds since 1970.
    pub(crate) start: u64,
    /// How far it has read what others wrote, in the first shards.
    pub(crate) cursors: [Cursor; MOST_SHARDS],
    /// The only shards that it works in; `None` is all.
    pub(crate) shards: Option<[u64; 2]>,
}

impl Worker<'_> {
    pub(crate) fn work(&mut self) {
        while !self.ledger.is_over.load(Relaxed) {
            if let Err((lie, about)) = self.step() {
                self.ledger.accuse(lie, about);
            }
            self.ledger.progress[self.slot].fetch_add(1, Relaxed);
        }
    }

    fn step(&mut self) -> Result<(), (Lie, u64)> {
        let number = self.ledger.puts() / 8 + self.random.below(WINDOW);
        let number = self.in_own_shards(number);
        match self.random.below(100) {
            0..35 => self.put(number),
            35..65 => self.look(number, false).map(drop),
            65..75 => self.look(number, true).map(drop),
            75..80 => self.remove(number),
            80..89 => self.remove_for_good(),
            89..98 => self.check_removed(),
            _ => self.read_log(),
        }
    }

    /// A number near this one, of a session in a shard that it works in.
    fn in_own_shards(&mut self, number: u64) -> u64 {
        let Some(shards) = self.shards else { return number };
        let shard = shards[usize::from(self.random.below(2) == 1)];
        number / MOST_SHARDS as u64 * MOST_SHARDS as u64 + shard
    }

    fn is_in_own_shards(&self, number: u64) -> bool {
        self.shards.is_none_or(|shards| shards.contains(&(number % MOST_SHARDS as u64)))
    }

    /// Runs one operation on the store, and keeps the longest time.
    fn timed<T>(&self, operation: impl FnOnce(&Store) -> T) -> T {
        let start = Instant::now();
        let result = operation(self.store);
        let took = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.ledger.slowest[self.slot].fetch_max(took, Relaxed);
        result
    }

    fn deadline(&self, number: u64) -> u64 {
        self.start + LIFE + number % 1000
    }

    /// The begin of a session from before the test.
    fn began(&self) -> u64 {
        self.start - 100
    }

    fn put_bytes(&self, number: u64, put: u64, length: usize) -> Result<bool, (Lie, u64)> {
        let bytes = payload(number, put, length);
        let deadline = self.deadline(number);
        let flags = if is_local(put) { LOCAL } else { 0 };
        let locator = locator(number);
        let result = self.timed(|store| store.put(&locator, deadline, now(), flags, &bytes));
        if let Err(error) = result {
            // "Nothing has changed", so it must not turn up later.
            self.ledger.is_gone(put);
            match error {
                PutError::Busy => self.ledger.busy.fetch_add(1, Relaxed),
                PutError::Removed => 0,
                PutError::Oversize => return Err((Lie::Refused, number)),
            };
        }
        Ok(result.is_ok())
    }

    fn put(&mut self, number: u64) -> Result<(), (Lie, u64)> {
        let Some(put) = self.ledger.new_put() else { return Ok(()) };
        let most = if self.random.below(10) < 3 { MOST_PAYLOAD - PREFIX } else { 300 };
        let length = PREFIX + usize::try_from(self.random.below(most as u64 + 1)).unwrap_or(0);
        let before = if put.is_multiple_of(4) { self.look(number, false)? } else { None };
        let is_put = self.put_bytes(number, put, length)?;
        if let (true, Some(before)) = (is_put, before) {
            self.ledger.is_gone(before);
        }
        Ok(())
    }

    /// Looks a session up, and finds a put of it that may be there.
    fn look(&mut self, number: u64, take: bool) -> Result<Option<u64>, (Lie, u64)> {
        let mut found = Vec::new();
        let (locator, before) = (locator(number), self.ledger.moment());
        let result = self.timed(|store| {
            if take {
                store.take(&locator, now(), &mut found)
            } else {
                store.get(&locator, now(), &mut found)
            }
        });
        match result {
            Lookup::Found { deadline } => {
                let put = put_of(number, &found).ok_or((Lie::Wrong, number))?;
                if deadline != self.deadline(number) || put >= self.ledger.puts() {
                    return Err((Lie::Wrong, number));
                }
                if self.ledger.was_gone(put, before) {
                    return Err((Lie::Gone, put));
                }
                self.ledger.found.fetch_add(1, Relaxed);
                if take {
                    if !self.ledger.is_first_take(put) {
                        return Err((Lie::TakenTwice, put));
                    }
                    self.ledger.is_gone(put);
                    self.ledger.taken.fetch_add(1, Relaxed);
                }
                Ok(Some(put))
            }
            Lookup::Busy => {
                self.ledger.busy.fetch_add(1, Relaxed);
                Ok(None)
            }
            Lookup::Missing | Lookup::Removed => Ok(None),
        }
    }

    fn remove(&mut self, number: u64) -> Result<(), (Lie, u64)> {
        let before = self.look(number, false)?;
        let deadline = self.deadline(number);
        if self.timed(|store| store.remove(&locator(number), deadline, now()))
            && let Some(before) = before
        {
            self.ledger.is_gone(before);
        }
        Ok(())
    }

    /// Removes a session that is never put again, in one of the two ways.
    fn remove_for_good(&mut self) -> Result<(), (Lie, u64)> {
        let Some(removal) = self.ledger.new_removal() else { return Ok(()) };
        let number = REMOVED | removal;
        if !self.is_in_own_shards(number) {
            return Ok(());
        }
        let Some(put) = self.ledger.new_put() else { return Ok(()) };
        self.put_bytes(number, put, 100)?;
        let is_removed = if self.random.below(2) == 0 {
            let deadline = self.deadline(number);
            self.timed(|store| store.remove(&locator(number), deadline, now()))
        } else {
            self.look(number, true)?.is_some()
        };
        if is_removed {
            self.ledger.confirm_removal(removal);
        }
        Ok(())
    }

    /// Of the latest removals one, of all removals one.
    fn check_removed(&mut self) -> Result<(), (Lie, u64)> {
        let removals = self.ledger.removals();
        if removals == 0 {
            return Ok(());
        }
        let latest = removals - 1 - self.random.below(removals.min(100));
        for removal in [latest, self.random.below(removals)] {
            let removal = self.in_own_shards(removal);
            if !self.ledger.is_removed(removal) {
                continue;
            }
            let (number, began) = (REMOVED | removal, self.began());
            if self.timed(|store| store.may_resume(&locator(number), began, now())) {
                return Err((Lie::MayResume, number));
            }
            let mut found = Vec::new();
            let lookup = self.timed(|store| store.get(&locator(number), now(), &mut found));
            if matches!(lookup, Lookup::Found { .. }) {
                return Err((Lie::MayResume, number));
            }
        }
        Ok(())
    }

    /// Reads what was written to one shard, as the agent does.
    fn read_log(&mut self) -> Result<(), (Lie, u64)> {
        let shard = self.random.below(READ_SHARDS);
        let shard = usize::try_from(self.in_own_shards(shard)).unwrap_or(0);
        let mut batch = LogBatch::default();
        let cursor = self.cursors[shard];
        self.timed(|store| store.read_log(shard, cursor, now(), &mut batch));
        self.cursors[shard] = batch.next;
        let mut rest = batch.bytes.as_slice();
        for _ in 0..batch.records {
            let (record, after) = Record::split(rest).ok_or((Lie::Wrong, 0))?;
            rest = after;
            if record.is_removal() {
                continue;
            }
            let number = number_of(payload_in(&record)).ok_or((Lie::Wrong, 0))?;
            if locator(number) != *record.locator() {
                return Err((Lie::Wrong, number));
            }
            if put_of(number, payload_in(&record)).is_none_or(is_local) {
                return Err((Lie::Wrong, number));
            }
        }
        if rest.is_empty() { Ok(()) } else { Err((Lie::Wrong, 0)) }
    }

    /// Whether the store works in every shard: what is put is found.
    pub(crate) fn every_shard_works(&self, first: u64) -> bool {
        (first..first + 64).all(|number| {
            let mut found = Vec::new();
            let bytes = payload(number, 0, 1000);
            self.store.put(&locator(number), self.start + LIFE, now(), 0, &bytes).is_ok()
                && matches!(
                    self.store.get(&locator(number), now(), &mut found),
                    Lookup::Found { .. }
                )
                && found == bytes
        })
    }

    /// Of the first four shards one in which no put goes through. `first` is a session of shard 0.
    pub(crate) fn held_shard(&self, first: u64) -> Option<u64> {
        (0..READ_SHARDS).find(|shard| !self.is_free(first + shard))
    }

    /// Whether a put of this session goes through.
    pub(crate) fn is_free(&self, number: u64) -> bool {
        let bytes = payload(number, 0, 100);
        self.store.put(&locator(number), self.start + LIFE, now(), 0, &bytes).is_ok()
    }
}

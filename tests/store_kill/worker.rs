//! One process that hammers a store, and checks every answer against the ledger.

use crate::ledger::{Ledger, Lie};
use sesscache_core::store::{LOCAL, Locator, LogBatch, Lookup, Now, PutError, Record, Store};
use sesscache_core::system::clock::now_milliseconds;
use std::sync::atomic::Ordering::Relaxed;

/// Sessions that come and go at a time: so few that several processes often put the same one at once.
const WINDOW: u64 = 24;
/// Numbers of sessions that are removed for good.
const REMOVED: u64 = 1 << 40;
/// Numbers of the sessions that a worker has for itself.
const OWN: u64 = 1 << 41;
/// How many these are.
pub(crate) const OWN_SESSIONS: u64 = 64;
/// The longest payload, by what the smallest store of these tests takes.
const LONGEST: u64 = 16 << 10;
/// The longest of a worker's own: few enough slots that they push out no others.
const LONGEST_OWN: u64 = 1500;
/// Regions that are read, of those that such a store has at least.
const REGIONS: u64 = 4;
/// Removals, in a test in which none may be forgotten.
const FEW_REMOVALS: u64 = 20_000;
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

/// Spread like a hash.
pub(crate) fn locator(number: u64) -> Locator {
    let low = mix(number);
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

/// What a worker does, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// All operations, on sessions that all share.
    Anything,
    /// Puts and looks up sessions of its own.
    Own,
    /// Puts sessions, each of which is removed for good.
    Removals,
    /// Reads what is untold, as the agent does.
    Log,
}

pub(crate) struct Worker<'a> {
    pub(crate) store: &'a Store,
    pub(crate) ledger: &'a Ledger,
    pub(crate) slot: usize,
    pub(crate) random: Random,
    /// When the test began, in seconds since 1970.
    pub(crate) start: u64,
    pub(crate) task: Task,
}

impl Worker<'_> {
    pub(crate) fn work(&mut self) {
        while !self.ledger.is_over.load(Relaxed) {
            let result = match self.task {
                Task::Anything => self.step(),
                Task::Own => self.use_own(),
                Task::Removals if self.ledger.removals() < FEW_REMOVALS => self.remove_for_good(),
                Task::Removals => self.check_removed(),
                Task::Log => self.read_log(),
            };
            if let Err((lie, about)) = result {
                self.ledger.accuse(lie, about);
            }
            self.ledger.progress[self.slot].fetch_add(1, Relaxed);
        }
    }

    fn step(&mut self) -> Result<(), (Lie, u64)> {
        let number = self.ledger.puts() / 8 + self.random.below(WINDOW);
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
        let result = self.store.put(&locator(number), deadline, now(), flags, &bytes);
        if let Err(error) = result {
            // "Nothing has changed", so it must not turn up later.
            self.ledger.is_gone(put);
            if error == PutError::Oversize {
                return Err((Lie::Refused, number));
            }
        }
        Ok(result.is_ok())
    }

    /// The length of a payload: three of ten are of many slots.
    fn length(&mut self, longest: u64) -> usize {
        let most = if self.random.below(10) < 3 { longest } else { 300 } - PREFIX as u64;
        PREFIX + usize::try_from(self.random.below(most + 1)).unwrap_or(0)
    }

    fn put(&mut self, number: u64) -> Result<(), (Lie, u64)> {
        let Some(put) = self.ledger.new_put() else { return Ok(()) };
        let length = self.length(LONGEST);
        let before = if put.is_multiple_of(4) { self.look(number, false)? } else { None };
        let is_put = self.put_bytes(number, put, length)?;
        if let (true, Some(before)) = (is_put, before) {
            self.ledger.is_gone(before);
        }
        Ok(())
    }

    fn own(&self, number: u64) -> u64 {
        OWN | (self.slot as u64) << 20 | number
    }

    /// Nobody else puts these, and there is room for all.
    fn use_own(&mut self) -> Result<(), (Lie, u64)> {
        let number = self.random.below(OWN_SESSIONS);
        let number = self.own(number);
        if self.random.below(2) == 0 {
            return self.look(number, false).map(drop);
        }
        let Some(put) = self.ledger.new_put() else { return Ok(()) };
        let length = self.length(LONGEST_OWN);
        let is_put = self.put_bytes(number, put, length)?;
        let found = self.look(number, false)?;
        if !is_put || found == Some(put) { Ok(()) } else { Err((Lie::Lost, number)) }
    }

    /// Puts its own sessions that are missing. How many these were.
    pub(crate) fn put_missing(&mut self, slot: usize) -> Result<usize, (Lie, u64)> {
        self.slot = slot;
        let mut missing = 0;
        for number in 0..OWN_SESSIONS {
            let number = self.own(number);
            if self.look(number, false)?.is_none() {
                missing += 1;
                let Some(put) = self.ledger.new_put() else { continue };
                let length = self.length(LONGEST_OWN);
                self.put_bytes(number, put, length)?;
            }
        }
        Ok(missing)
    }

    /// Looks a session up, and finds a put of it that may be there.
    fn look(&mut self, number: u64, take: bool) -> Result<Option<u64>, (Lie, u64)> {
        let mut found = Vec::new();
        let (locator, before) = (locator(number), self.ledger.moment());
        let result = if take {
            self.store.take(&locator, now(), &mut found)
        } else {
            self.store.get(&locator, now(), &mut found)
        };
        match result {
            Lookup::Found { deadline, .. } => {
                let is_whole =
                    |put: &u64| deadline == self.deadline(number) && *put < self.ledger.puts();
                let Some(put) = put_of(number, &found).filter(is_whole) else {
                    self.ledger.note_torn(&locator);
                    return Ok(None);
                };
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
            Lookup::Busy | Lookup::Missing | Lookup::Removed => Ok(None),
        }
    }

    fn remove(&mut self, number: u64) -> Result<(), (Lie, u64)> {
        let before = self.look(number, false)?;
        self.store.remove(&locator(number), self.deadline(number), now());
        before.inspect(|before| self.ledger.is_gone(*before));
        Ok(())
    }

    /// Removes a session that is never put again, in one of the two ways.
    fn remove_for_good(&mut self) -> Result<(), (Lie, u64)> {
        let Some(removal) = self.ledger.new_removal() else { return Ok(()) };
        let number = REMOVED | removal;
        let mut puts = std::iter::from_fn(|| self.ledger.new_put());
        // Other hosts are told of it.
        let Some(put) = puts.find(|put| !is_local(*put)) else { return Ok(()) };
        self.put_bytes(number, put, 100)?;
        let is_removed = if self.random.below(2) == 0 {
            self.store.remove(&locator(number), self.deadline(number), now());
            true
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
            if !self.ledger.is_removed(removal) {
                continue;
            }
            let number = REMOVED | removal;
            if self.store.may_resume(&locator(number), self.began(), now()) {
                return Err((Lie::MayResume, number));
            }
            let lookup = self.store.get(&locator(number), now(), &mut Vec::new());
            if matches!(lookup, Lookup::Found { .. }) {
                return Err((Lie::MayResume, number));
            }
        }
        Ok(())
    }

    /// Locators of the sessions whose removal was confirmed.
    pub(crate) fn confirmed_removals(&self) -> impl Iterator<Item = Locator> {
        let removals = (0..self.ledger.removals()).filter(|one| self.ledger.is_removed(*one));
        removals.map(|removal| locator(REMOVED | removal))
    }

    /// Reads what is untold of one region, as the agent does.
    fn read_log(&mut self) -> Result<(), (Lie, u64)> {
        let region = usize::try_from(self.random.below(REGIONS)).unwrap_or(0);
        let mut batch = LogBatch::default();
        self.store.read_log(region, now(), &mut batch);
        let mut rest = batch.bytes.as_slice();
        for _ in 0..batch.records {
            let (record, after) = Record::split(rest).ok_or((Lie::Wrong, 0))?;
            rest = after;
            if record.is_removal() {
                continue;
            }
            let number = number_of(payload_in(&record));
            let Some(number) = number.filter(|number| locator(*number) == *record.locator()) else {
                self.ledger.note_torn(record.locator());
                continue;
            };
            if put_of(number, payload_in(&record)).is_none_or(is_local) {
                return Err((Lie::Wrong, number));
            }
        }
        self.store.note_read(&batch.told);
        if rest.is_empty() { Ok(()) } else { Err((Lie::Wrong, 0)) }
    }

    /// Whether the store works in every bucket at this time: what is put is found, what is removed is not.
    pub(crate) fn all_works(&self, first: u64, at: Now) -> bool {
        /// By so many all buckets are met, many times over.
        const SESSIONS: u64 = 10_000;
        let works = |number: &u64| {
            let (mut found, bytes) = (Vec::new(), payload(*number, 0, 100));
            let locator = locator(*number);
            let is_put = self.store.put(&locator, self.start + LIFE, at, 0, &bytes).is_ok();
            let is_found = matches!(self.store.get(&locator, at, &mut found), Lookup::Found { .. });
            if number.is_multiple_of(64) {
                self.store.remove(&locator, self.start + LIFE, at);
            }
            let is_removed = number.is_multiple_of(64)
                && self.store.get(&locator, at, &mut Vec::new()) != Lookup::Removed;
            is_put && is_found && found == bytes && !is_removed
        };
        let failed = (first..first + SESSIONS).filter(|number| !works(number)).count();
        // One may have the tag of one that was removed.
        failed <= 2
    }
}

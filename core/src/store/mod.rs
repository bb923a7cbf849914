//! The host store: one fixed piece of memory that all processes of a host share.
//!
//! It keeps opaque payloads under locators until a deadline, and tells of removals. It knows
//! neither OpenSSL nor keys. A put never fails for want of room, because the oldest records are
//! forgotten. Everything read from the memory is checked; damage is a miss.
//!
//! Locks: one for each shard, held for the length of a copy. Never two at once, none across a call
//! out.

mod cell;
mod counters;
mod damaged;
mod flushes;
mod index;
mod key_kind;
mod layout;
mod log;
#[cfg(test)]
mod log_tests;
mod make;
#[expect(unsafe_code, reason = "the one corner that touches the mapped memory")]
mod mapping;
mod open;
mod open_error;
mod record;
mod record_format;
#[cfg(test)]
mod reset_tests;
mod ring;
mod room;
mod shard;
mod size;
mod skew;
#[cfg(test)]
mod skew_tests;
#[cfg(test)]
mod tests;
mod url;

pub use counters::{Counters, Tally};
pub use flushes::{EVERYWHERE, FOR_EVER, Flush, Unstamped};
pub use key_kind::KeyKind;
pub use log::{Cursor, LogBatch, NOTES, Record};
pub use make::{HOST_FOLDER, makes_folder};
pub use open::OtherVersion;
pub use open_error::OpenError;
pub use record::{LOCAL, Locator};
pub use record_format::RECORD_FORMAT;
pub use room::Begun;
pub use url::{DEFAULT_SIZE, LEAST_SIZE, Medium, StoreUrl, UrlError};

use counters::Counter;
use damaged::Damaged;
use index::Hit;
use layout::{Geometry, header, shard as at};
use make::FileId;
use mapping::Mapping;
use record::{APPLIED, HEAD_BYTES, Head, Kind, MOST_BYTES};
use shard::{Busy, LockedShard, Shard};
use skew::believed;
use std::sync::atomic::Ordering::Relaxed;

/// The most bytes that can be kept under a locator.
pub const MOST_PAYLOAD: usize = MOST_BYTES - HEAD_BYTES;

/// A store, mapped.
#[derive(Debug)]
pub struct Store {
    mapping: Mapping,
    geometry: Geometry,
    /// The file that is mapped; `None` in memory.
    file: Option<FileId>,
}

/// The result of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The payload, good until the end of this second.
    Found {
        /// Seconds since 1970.
        deadline: u64,
    },
    /// Nothing: never stored, forgotten or expired.
    Missing,
    /// It was removed.
    Removed,
    /// The shard's lock was not to be had: nothing is known.
    Busy,
}

/// Whether a session that a process has itself may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It was not removed.
    Good,
    /// It was removed.
    Removed,
    /// It may have been removed.
    Unproven,
}

/// Why a put did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutError {
    /// More than [`MOST_PAYLOAD`].
    Oversize,
    /// The session was removed before, or may have been.
    Removed,
    /// The shard's lock was not to be had.
    Busy,
}

/// The maker of a session.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// A process of this host, just now.
    Here {
        /// 0 or [`LOCAL`].
        flags: u8,
    },
    /// Another host, in this second by its clock. The session may have been told before.
    Elsewhere { second: u64 },
}

impl Source {
    fn flags(self) -> u8 {
        match self {
            Source::Here { flags } => flags,
            Source::Elsewhere { .. } => APPLIED,
        }
    }

    /// Whether a forgotten removal may be of this session. The last of those was in second `floor`.
    fn is_doubtful(self, floor: u64, now: Now) -> bool {
        matches!(self, Source::Elsewhere { second } if believed(second, now.seconds()) <= floor)
    }
}

/// Milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Now(pub u64);

impl Now {
    fn seconds(self) -> u64 {
        self.0 / 1000
    }
}

impl Store {
    fn shard(&self, locator: &Locator) -> Shard<'_> {
        // The number of shards is a power of two.
        let number = locator.low() & (self.geometry.shards as u64 - 1);
        self.numbered(usize::try_from(number).unwrap_or(0))
    }

    fn numbered(&self, number: usize) -> Shard<'_> {
        Shard {
            mapping: &self.mapping,
            geometry: &self.geometry,
            base: self.geometry.shard(number),
        }
    }

    fn shards(&self) -> impl Iterator<Item = Shard<'_>> {
        (0..self.geometry.shards).map(|number| self.numbered(number))
    }

    /// Keeps `payload` under `locator` until the end of second `deadline`, in place of a payload
    /// before. `flags` is 0 or [`LOCAL`].
    ///
    /// # Errors
    /// [`PutError`]; nothing has changed then.
    #[expect(clippy::too_many_arguments, reason = "a record's parts, and the present")]
    pub fn put(
        &self,
        locator: &Locator,
        deadline: u64,
        now: Now,
        flags: u8,
        payload: &[u8],
    ) -> Result<(), PutError> {
        self.put_from(Source::Here { flags }, locator, deadline, now, payload)
    }

    #[expect(clippy::too_many_arguments, reason = "a record's parts, and the present")]
    fn put_from(
        &self,
        source: Source,
        locator: &Locator,
        deadline: u64,
        now: Now,
        payload: &[u8],
    ) -> Result<(), PutError> {
        if payload.len() > MOST_PAYLOAD {
            self.tally(Tally::Oversize);
            return Err(PutError::Oversize);
        }
        let shard = self.shard(locator);
        let stored = shard.locked(now.0, |locked| match locked.find(locator)? {
            Some(hit) if hit.head.kind == Kind::Removal => Ok(false),
            _ if source.is_doubtful(shard.floor(now.seconds()), now) => Ok(false),
            before => {
                if let Some(before) = before {
                    locked.kill(&before)?;
                }
                let head = Head {
                    kind: Kind::Put,
                    flags: source.flags(),
                    payload: payload.len(),
                    deadline,
                    written: now.0,
                    locator: *locator,
                };
                let position = locked.append(&head, payload)?;
                locked.enter(locator, false, position)?;
                locked.change(at::LIVE, 1, 0);
                locked.change(at::LIVE_BYTES, head.size() as u64, 0);
                Ok(true)
            }
        });
        match stored {
            Ok(true) => {
                shard.count(Counter::Stores);
                self.wake();
                Ok(())
            }
            Ok(false) => Err(PutError::Removed),
            Err(Busy) => Err(PutError::Busy),
        }
    }

    /// Appends the payload under `locator` to `into`. A lookup that finds none is counted as a miss;
    /// see [`Store::count_hit`] for the others.
    #[inline]
    pub fn get(&self, locator: &Locator, now: Now, into: &mut Vec<u8>) -> Lookup {
        self.look_up(locator, now, into, false)
    }

    /// As [`Store::get`], and removes it. Of several callers, in any processes, a single one finds
    /// it.
    pub fn take(&self, locator: &Locator, now: Now, into: &mut Vec<u8>) -> Lookup {
        self.look_up(locator, now, into, true)
    }

    /// Whether a record of this host is kept under `locator`, which goes and leaves no removal. Of
    /// several callers, in any processes, a single one gets true. A record that another host wrote does not
    /// count, nor one that cannot be reached now. That there is none is no miss: no session is lost.
    pub fn spend(&self, locator: &Locator, now: Now) -> bool {
        let shard = self.shard(locator);
        if !shard.glance(locator).put {
            return false;
        }
        let spent = shard.locked(now.0, |locked| {
            let Some(hit) = locked.find(locator)? else { return Ok(false) };
            let Head { kind, flags, deadline, .. } = hit.head;
            let is_good = kind == Kind::Put && flags & LOCAL != 0 && deadline >= now.seconds();
            if is_good {
                locked.kill(&hit)?;
            }
            Ok(is_good)
        });
        let is_spent = spent == Ok(true);
        if is_spent {
            shard.count(Counter::Takes);
        }
        is_spent
    }

    #[inline]
    fn look_up(&self, locator: &Locator, now: Now, into: &mut Vec<u8>, take: bool) -> Lookup {
        let shard = self.shard(locator);
        let glance = shard.glance(locator);
        if !glance.put && !glance.removal || shard.has_lost_a_removal() && !shard.mend(now.0) {
            shard.count(Counter::Misses);
            return Lookup::Missing;
        }
        let found = shard.locked(now.0, |locked| match locked.find(locator)? {
            None => Ok(Lookup::Missing),
            Some(hit) if hit.head.kind == Kind::Removal => Ok(Lookup::Removed),
            Some(hit) if hit.head.deadline < now.seconds() => {
                locked.kill(&hit)?;
                shard.count(Counter::Expired);
                Ok(Lookup::Missing)
            }
            Some(hit) => copy_out(locked, &hit, into, take),
        });
        match found {
            Ok(Lookup::Found { .. }) if take => shard.count(Counter::Takes),
            // The caller knows whether it is of use, see `count_hit`.
            Ok(Lookup::Found { .. }) => {}
            Ok(Lookup::Removed) => shard.count(Counter::TombstoneHits),
            _ => shard.count(Counter::Misses),
        }
        found.unwrap_or(Lookup::Busy)
    }

    /// Whether a session that this process has itself may be used. `began` is when the session
    /// began, in seconds since 1970.
    ///
    /// If the store had to forget removals, a session that began before the last of these is
    /// [`Trust::Unproven`]. It is good only if it is in the store, and opens. Presence proves
    /// nothing: anyone who can write to the Redis streams can insert records.
    #[inline]
    pub fn trust(&self, locator: &Locator, began: u64, now: Now) -> Trust {
        let shard = self.shard(locator);
        if shard.glance(locator).removal {
            let removed = shard.locked(now.0, |locked| {
                Ok(locked.find(locator)?.is_some_and(|hit| hit.head.kind == Kind::Removal))
            });
            match removed {
                Ok(true) => {
                    shard.count(Counter::TombstoneHits);
                    return Trust::Removed;
                }
                Ok(false) => {}
                Err(Busy) => return Trust::Unproven,
            }
        }
        // In this order, because a thread that forgets a removal raises the floor first.
        let floor = shard.floor(now.seconds());
        let began = if floor == 0 { began } else { believed(began, now.seconds()) };
        if shard.has_lost_a_removal() || began <= floor { Trust::Unproven } else { Trust::Good }
    }

    /// Whether [`Store::trust`] is [`Trust::Good`].
    pub fn may_resume(&self, locator: &Locator, began: u64, now: Now) -> bool {
        self.trust(locator, began, now) == Trust::Good
    }

    /// Whether something may be kept under `locator`; false is certain.
    pub fn may_have(&self, locator: &Locator) -> bool {
        self.shard(locator).glance(locator).put
    }

    /// The last second of the session that is kept under `locator`, if there is one.
    pub fn end_of(&self, locator: &Locator, now: Now) -> Option<u64> {
        let shard = self.shard(locator);
        if !shard.glance(locator).put {
            return None;
        }
        let found = shard.locked(now.0, |locked| {
            let put = locked.find(locator)?.filter(|hit| hit.head.kind == Kind::Put);
            Ok(put.map(|hit| hit.head.deadline))
        });
        found.ok().flatten()
    }

    /// Removes the session under `locator`, and remembers that until the end of second `deadline`
    /// or of the record's, whichever is later.
    ///
    /// False if the shard's lock was not to be had. Then everything in the shard counts as removed
    /// from now on.
    pub fn remove(&self, locator: &Locator, deadline: u64, now: Now) -> bool {
        self.remove_as(locator, deadline, now, 0)
    }

    fn remove_as(&self, locator: &Locator, deadline: u64, now: Now, flags: u8) -> bool {
        let shard = self.shard(locator);
        let removed = shard.locked(now.0, |locked| {
            let before = locked.find(locator)?;
            if before.is_some_and(|before| before.head.kind == Kind::Removal) {
                return Ok(false);
            }
            write_removal(locked, locator, before.as_ref(), deadline, flags)?;
            Ok(true)
        });
        if removed == Ok(true) {
            shard.count(Counter::Removes);
            self.wake();
        }
        if removed == Err(Busy) {
            // The next holder of the lock empties the shard, so that the removed session does not
            // stay.
            shard.lose_a_removal();
        }
        removed.is_ok()
    }

    /// Counts a hit: what [`Store::get`] has found is used.
    pub fn count_hit(&self, locator: &Locator) {
        self.shard(locator).count(Counter::Hits);
    }

    /// Counts a lookup that met a session which was flushed, as one that met a removal.
    pub fn count_flushed(&self, locator: &Locator) {
        self.shard(locator).count(Counter::TombstoneHits);
    }

    /// Counts an event that only the caller can know.
    pub fn tally(&self, tally: Tally) {
        let place = header::TALLIES + tally as usize * size_of::<u64>();
        if let Ok(word) = self.mapping.word(place) {
            word.fetch_add(1, Relaxed);
        }
    }

    fn tallied(&self, tally: Tally) -> u64 {
        let word = self.mapping.word(header::TALLIES + tally as usize * size_of::<u64>());
        word.map_or(0, |word| word.load(Relaxed))
    }

    /// The counters now. They are read one after the other, while other processes change them.
    pub fn counters(&self) -> Counters {
        let tally = |tally| self.tallied(tally);
        let sum = |counter| -> u64 { self.shards().map(|shard| shard.counted(counter)).sum() };
        let total = |offset| self.shards().map(|shard| shard.value(offset)).sum();
        Counters {
            hits: sum(Counter::Hits),
            misses: sum(Counter::Misses),
            stores: sum(Counter::Stores),
            removes: sum(Counter::Removes),
            takes: sum(Counter::Takes),
            expired: sum(Counter::Expired),
            evicted: sum(Counter::Evicted),
            tombstone_hits: sum(Counter::TombstoneHits),
            oversize: tally(Tally::Oversize),
            undecryptable: tally(Tally::Undecryptable),
            mismatched: tally(Tally::Mismatched),
            busy: sum(Counter::Busy),
            resets: sum(Counter::Resets),
            refused_no_identity: tally(Tally::RefusedNoIdentity),
            refused_verify_without_id_context: tally(Tally::RefusedVerifyWithoutIdContext),
            refused_not_asked: tally(Tally::RefusedNotAsked),
            entries: total(at::LIVE),
            bytes: total(at::LIVE_BYTES),
            capacity: (self.geometry.shards * self.geometry.ring) as u64,
            refused_no_client_certificate: tally(Tally::RefusedNoClientCertificate),
            refused_unverified: tally(Tally::RefusedUnverified),
            refused_application: tally(Tally::RefusedApplication),
            declined_name: tally(Tally::DeclinedName),
            declined_lifetime: tally(Tally::DeclinedLifetime),
            declined_id_context: tally(Tally::DeclinedIdContext),
            declined_cipher: tally(Tally::DeclinedCipher),
            declined_client: tally(Tally::DeclinedClient),
            declined_host: tally(Tally::DeclinedHost),
            application_ticket_keys: tally(Tally::ApplicationTicketKeys),
            shared_memory: tally(Tally::SharedMemory),
            refused_side_data: tally(Tally::RefusedSideData),
        }
    }
}

fn copy_out(
    locked: &LockedShard<'_>,
    hit: &Hit<'_>,
    into: &mut Vec<u8>,
    take: bool,
) -> Result<Lookup, Damaged> {
    let Head { payload, deadline, .. } = hit.head;
    if into.try_reserve(payload).is_err() {
        return Ok(Lookup::Busy);
    }
    let place = locked.place(hit.position) + HEAD_BYTES;
    locked.shard.mapping.append_to(place, payload, into)?;
    if take {
        write_removal(locked, &hit.head.locator, Some(hit), deadline, 0)?;
    }
    Ok(Lookup::Found { deadline })
}

/// Writes a removal in place of the record before.
fn write_removal(
    locked: &LockedShard<'_>,
    locator: &Locator,
    before: Option<&Hit<'_>>,
    deadline: u64,
    flags: u8,
) -> Result<(), Damaged> {
    let mut head = Head {
        kind: Kind::Removal,
        flags,
        payload: 0,
        deadline,
        written: locked.now,
        locator: *locator,
    };
    let Some(before) = before else {
        let position = locked.append(&head, &[])?;
        locked.enter(locator, true, position)?;
        locked.change(at::REMOVALS, 1, 0);
        return Ok(());
    };
    head.deadline = deadline.max(before.head.deadline);
    head.flags |= before.head.flags & LOCAL;
    locked.bury(before.position, &before.head)?;
    let position = locked.append(&head, &[])?;
    // In a single step, so that no lookup finds neither of the two.
    locked.point(before.cell, locator, true, position);
    locked.change(at::REMOVALS, 1, 0);
    Ok(())
}

//! The host store: one fixed piece of memory that all processes of a host share.
//!
//! It keeps opaque payloads under locators until a deadline, and tells of removals. It knows
//! neither OpenSSL nor keys. A put never fails for want of room, because other records are forgotten.
//! Everything read from the memory is checked; damage is a miss.
//!
//! No locks. No process waits for another, whatever that one does.

mod connections;
mod counters;
mod fleet;
mod flushes;
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
mod room;
mod size;
mod skew;
#[cfg(test)]
mod skew_tests;
mod table;
#[cfg(test)]
mod tests;
mod url;

pub use connections::{AGES, Beginning, Cause, Connections, Way};
pub use counters::{Counters, Tally};
pub use fleet::{KeyIds, MOST_HOST_NAME, MOST_HOSTS, OtherHost, OtherHosts, Service, is_host_name};
pub use flushes::{EVERYWHERE, FOR_EVER, Flush, Unstamped};
pub use key_kind::KeyKind;
pub use log::{LogBatch, NOTES, Record, Told};
pub use make::{HOST_FOLDER, makes_folder};
pub use open::OtherVersion;
pub use open_error::OpenError;
pub use record::{CAME_BACK, LOCAL, Locator};
pub use record_format::RECORD_FORMAT;
pub use room::Begun;
pub use url::{DEFAULT_SIZE, LEAST_SIZE, Medium, Sharing, StoreUrl, UrlError};

use counters::Counter;
use layout::{Geometry, header};
use make::FileId;
use mapping::Mapping;
use record::{APPLIED, HEAD_BYTES, MOST_BYTES};
use skew::believed;
use std::sync::atomic::Ordering::Relaxed;
use table::{Place, Removal, SLOT_BYTES, Table};

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
        /// Whether its client had come back: see [`CAME_BACK`].
        came_back: bool,
        /// Whether another host wrote it.
        is_elsewhere: bool,
    },
    /// Nothing: never stored, forgotten or expired.
    Missing,
    /// It was removed.
    Removed,
    /// There is no memory for it: nothing is known.
    Busy,
}

/// How a session is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Its client may offer it again.
    Visit,
    /// A ticket of TLS 1.3, which its client offers once (RFC 8446 C.4).
    Ticket,
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
    /// More than [`MOST_PAYLOAD`], or than a part of a small store.
    Oversize,
    /// The session was removed before, or may have been.
    Removed,
    /// Other processes changed the same few slots again and again.
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
    fn is_doubtful(self, floor: impl Fn() -> u64, now: Now) -> bool {
        matches!(self, Source::Elsewhere { second } if believed(second, now.seconds()) <= floor())
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

/// A record takes this part of a store at most, so that a few large ones do not push out many.
const LARGEST_PART: usize = 64;

impl Store {
    #[inline]
    fn table(&self) -> Table<'_> {
        self.mapping.table()
    }

    #[inline]
    fn place(&self, locator: &Locator) -> Option<Place<'_>> {
        self.table().place(locator)
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
        let most = MOST_PAYLOAD.min(self.geometry.total / LARGEST_PART);
        let place = self.place(locator).ok_or(PutError::Busy)?;
        if payload.len() > most || !place.has_room_for(payload.len()) {
            self.tally(Tally::Oversize);
            return Err(PutError::Oversize);
        }
        if source.is_doubtful(|| place.floor(now), now) {
            return Err(PutError::Removed);
        }
        place.put(deadline, now, source.flags(), payload)?;
        self.wake();
        Ok(())
    }

    /// Appends the payload under `locator` to `into`. A lookup that finds none is counted as a miss;
    /// see [`Store::count_hit`] for the others.
    #[inline]
    pub fn get(&self, locator: &Locator, now: Now, into: &mut Vec<u8>) -> Lookup {
        self.place(locator).map_or(Lookup::Missing, |place| place.get(now, into))
    }

    /// As [`Store::get`], and removes it. Of several callers, in any processes, a single one finds
    /// it.
    pub fn take(&self, locator: &Locator, now: Now, into: &mut Vec<u8>) -> Lookup {
        let taken = self.place(locator).map_or(Lookup::Missing, |place| place.take(now, into));
        if matches!(taken, Lookup::Found { .. }) {
            self.wake();
        }
        taken
    }

    /// Whether a record of this host is kept under `locator`, which goes and leaves no removal. Of
    /// several callers, in any processes, a single one gets true. A record that another host wrote does not
    /// count. That there is none is no miss: no session is lost.
    pub fn spend(&self, locator: &Locator, now: Now) -> bool {
        self.place(locator).is_some_and(|place| place.spend(now))
    }

    /// Whether a session that this process has itself may be used. `began` is when the session
    /// began, in seconds since 1970.
    ///
    /// If the store had to forget removals, a session that began before the last of these is
    /// [`Trust::Unproven`]. It is good only if it is in the store, and opens. Presence proves
    /// nothing: anyone who can write to the Redis streams can insert records.
    #[inline]
    pub fn trust(&self, locator: &Locator, began: u64, now: Now) -> Trust {
        self.place(locator).map_or(Trust::Unproven, |place| place.trust(began, now))
    }

    /// Whether [`Store::trust`] is [`Trust::Good`].
    pub fn may_resume(&self, locator: &Locator, began: u64, now: Now) -> bool {
        self.trust(locator, began, now) == Trust::Good
    }

    /// Whether something may be kept under `locator`; false is certain.
    pub fn may_have(&self, locator: &Locator) -> bool {
        self.place(locator).is_some_and(|place| place.may_have())
    }

    /// The last second of the session that is kept under `locator`, if there is one.
    pub fn end_of(&self, locator: &Locator, now: Now) -> Option<u64> {
        let place = self.place(locator).filter(|place| !place.is_removed(now))?;
        place.facts().map(|facts| facts.deadline)
    }

    /// Removes the session under `locator`, and remembers that until the end of second `deadline`
    /// or of the record's, whichever is later. That is never refused: if a removal cannot be kept, all that
    /// began until now counts as removed in a small part of the store.
    pub fn remove(&self, locator: &Locator, deadline: u64, now: Now) {
        self.remove_as(locator, deadline, now, 0);
    }

    fn remove_as(&self, locator: &Locator, deadline: u64, now: Now, flags: u8) {
        let Some(place) = self.place(locator) else { return };
        if place.remove(deadline, now, flags) != Removal::Known {
            place.count(Counter::Removes);
            self.wake();
        }
    }

    /// A session that is in the store resumes, wherever it was found. Returns whether its client has come
    /// back, as [`Lookup::Found`] says.
    #[inline]
    pub fn note_use(&self, locator: &Locator, kind: Use) -> bool {
        self.place(locator).is_some_and(|place| place.note_use(kind))
    }

    /// Whether the session had to make room a while ago, as far as is known. To be asked once a connection,
    /// whose client offers it: the store learns from it how long newcomers are kept.
    pub fn had_to_go(&self, locator: &Locator) -> bool {
        self.place(locator).is_some_and(|place| place.had_to_go())
    }

    /// Counts a hit: what [`Store::get`] has found is used.
    pub fn count_hit(&self, locator: &Locator) {
        self.count(locator, Counter::Hits);
    }

    /// Counts a lookup that met a session which was flushed, as one that met a removal.
    pub fn count_flushed(&self, locator: &Locator) {
        self.count(locator, Counter::TombstoneHits);
    }

    fn count(&self, locator: &Locator, counter: Counter) {
        if let Some(place) = self.place(locator) {
            place.count(counter);
        }
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
        let table = self.table();
        let sum = |counter| table.counted(counter);
        let (entries, slots) = table.occupied();
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
            resets: sum(Counter::Forgotten),
            refused_no_identity: tally(Tally::RefusedNoIdentity),
            refused_verify_without_id_context: tally(Tally::RefusedVerifyWithoutIdContext),
            refused_not_asked: tally(Tally::RefusedNotAsked),
            entries,
            bytes: slots * SLOT_BYTES,
            capacity: self.geometry.slots() as u64 * SLOT_BYTES,
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
            packed: tally(Tally::Packed),
            kept_live: tally(Tally::KeptLive),
        }
    }
}

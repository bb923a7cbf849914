//! The flushes of a store: which sessions the applications have flushed before their end.
//!
//! A flush begins a new *era* of its scope, a number that grows. Every session is stamped with the
//! era in which it was made. One of an earlier era is over if it ends before the flush's `until`.
//! Eras are compared with each other and never with a clock. So sessions that are made right after
//! the flush live, whatever the clocks of other hosts show. A session that lies in a process's own
//! cache has no stamp: there the time of this host decides whether it must be proven by its record.
//!
//! The table has few entries, whose words only grow. Without a free entry, a flush is of all scopes.
//! No locks.

use super::layout::header;
use super::record::{Head, Kind, UNIT};
use super::{Locator, Now, Store};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// The entries of the table; the last is for all scopes.
const ENTRIES: usize = 19;
/// Words of an entry.
const WORDS: usize = 5;
/// The entries that a scope may have. Two flushes need two if the later one reaches less far.
const MOST_OF_A_SCOPE: usize = 2;
/// Where other records have the first half of a locator. The second half is the scope.
const MARKER: u64 = u64::from_le_bytes(*b"flushes\0");
/// An era has so many bits, in which it travels: milliseconds since 1970, about.
const ERA_BITS: u32 = 48;
/// The era of another host is not believed beyond so many milliseconds from now.
const MOST_AHEAD: u64 = 24 * 60 * 60 * 1000;

/// The scope of a flush that is of all sessions in the store.
pub const EVERYWHERE: u64 = u64::MAX;
/// The `until` of a flush of all sessions, however long they live.
pub const FOR_EVER: u64 = u64::MAX;

/// A flush, as it is told to other hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flush {
    /// The owner of the sessions: a hash that the caller makes, not 0, or [`EVERYWHERE`].
    pub scope: u64,
    /// Sessions of earlier eras are meant.
    pub era: u64,
    /// Sessions that end before this second are meant, or all: [`FOR_EVER`].
    pub until: u64,
}

/// A session without a stamp, as a process has it cached.
#[derive(Clone, Copy, Debug)]
pub struct Unstamped {
    /// The second in which it began, by this host's clock.
    pub began: u64,
    /// Its last second.
    pub deadline: u64,
    /// The era of the last flush that the cache was emptied for.
    pub seen: u64,
}

/// The words of an entry: they are 0 in a new store. All but the scope only grow.
#[derive(Clone, Copy)]
struct Entry<'a> {
    /// 0 of a free entry. An entry whose `until` has passed may get another scope.
    scope: &'a AtomicU64,
    era: &'a AtomicU64,
    until: &'a AtomicU64,
    /// When this host learned of it, in milliseconds since 1970 by its own clock.
    learned: &'a AtomicU64,
    /// The last era that the agent has told, or was told.
    told: &'a AtomicU64,
}

impl Entry<'_> {
    fn is_of(&self, scope: u64) -> bool {
        [scope, EVERYWHERE].contains(&self.scope.load(Acquire))
    }

    fn flush(&self) -> Flush {
        let era = plausible(self.era.load(Acquire));
        Flush { scope: self.scope.load(Acquire), era, until: self.until.load(Acquire) }
    }

    /// The era comes last, because with it the flush is in force.
    fn grow(&self, flush: Flush, learned: u64) {
        self.until.fetch_max(flush.until, AcqRel);
        self.learned.fetch_max(learned, AcqRel);
        raise(self.era, flush.era);
    }

    fn is_over(&self, now: Now) -> bool {
        self.until.load(Acquire) < now.seconds()
    }
}

impl Store {
    /// Whether there was any flush: if not, nothing else needs to be asked.
    #[inline]
    pub fn has_flushes(&self) -> bool {
        self.mapping.word(header::FLUSHED).is_ok_and(|word| word.load(Acquire) != 0)
    }

    /// The application has flushed the sessions of this scope that end before second `until`. Returns
    /// the era that begins.
    pub fn flush(&self, scope: u64, until: u64, now: Now) -> u64 {
        let era = (self.era(scope) + 1).max(now.0).min((1 << ERA_BITS) - 1);
        self.enter_flush(Flush { scope, era, until }, now);
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        self.wake();
        era
    }

    /// The era of a scope, with which sessions are stamped that are made now. It is 0 before the first
    /// flush.
    pub fn era(&self, scope: u64) -> u64 {
        if !self.has_flushes() {
            return 0;
        }
        self.entries_of(scope).map(|entry| entry.flush().era).max().unwrap_or(0)
    }

    /// Whether a session with this stamp and this end was flushed.
    pub fn is_flushed(&self, scope: u64, era: u64, deadline: u64) -> bool {
        let covers = |flush: Flush| era < flush.era && deadline < flush.until;
        self.has_flushes() && self.entries_of(scope).any(|entry| covers(entry.flush()))
    }

    /// Whether a session without a stamp may have been flushed.
    pub fn may_be_flushed(&self, scope: u64, session: Unstamped, now: Now) -> bool {
        let Unstamped { began, deadline, seen } = session;
        let is_in_future = began > now.seconds();
        let covers = |entry: Entry<'_>| {
            let learned = entry.learned.load(Acquire).min(now.0) / 1000;
            let is_before = is_in_future || began <= learned;
            is_before && seen < entry.flush().era && deadline < entry.flush().until
        };
        self.has_flushes() && self.entries_of(scope).any(covers)
    }

    /// The flushes that other hosts are to be told, as records, each with the number by which it is
    /// noted as told.
    pub fn untold_flushes(&self) -> Vec<(usize, Flush)> {
        if !self.has_flushes() {
            return Vec::new();
        }
        let is_untold = |entry: &Entry<'_>| {
            let flush = entry.flush();
            flush.scope != 0 && flush.era > plausible(entry.told.load(Acquire))
        };
        let entries = self.entries().enumerate().filter(|(_, entry)| is_untold(entry));
        entries.map(|(number, entry)| (number, entry.flush())).collect()
    }

    /// Other hosts were told of a flush.
    pub fn note_told(&self, number: usize, flush: Flush) {
        if let Some(entry) = self.entry(number) {
            raise(entry.told, flush.era);
        }
    }

    /// All flushes are to be told again.
    pub fn tell_flushes_again(&self) {
        if self.has_flushes() {
            self.entries().for_each(|entry| entry.told.store(0, Release));
        }
    }

    /// Learns of a flush at another host. Returns whether it is news.
    pub(super) fn learn_flush(&self, flush: Flush, now: Now) -> bool {
        let era = flush.era.min(now.0.saturating_add(MOST_AHEAD));
        let flush = Flush { era, ..flush };
        let is_news = !self.knows_flush(flush, now);
        if is_news && let Some(number) = self.enter_flush(flush, now) {
            self.note_told(number, flush);
        }
        is_news
    }

    /// Whether a flush changes nothing.
    pub(super) fn knows_flush(&self, flush: Flush, now: Now) -> bool {
        let era = flush.era.min(now.0.saturating_add(MOST_AHEAD));
        let covers = |known: Flush| known.era >= era && known.until >= flush.until;
        self.has_flushes() && self.entries_of(flush.scope).any(|entry| covers(entry.flush()))
    }

    /// Enters a flush and returns the number of its entry.
    fn enter_flush(&self, flush: Flush, now: Now) -> Option<usize> {
        /// Others take an entry away only when its flush is over, or when they damage the store.
        const TRIES: usize = 2 * ENTRIES;
        let word = self.mapping.word(header::FLUSHED).ok()?;
        for _ in 0..TRIES {
            let (number, entry) = self.room_for(flush, now)?;
            let scope = entry.scope.load(Acquire);
            entry.grow(Flush { scope, ..flush }, now.0);
            word.store(1, Release);
            // Another process may have given the entry away since.
            if entry.is_of(flush.scope) {
                return Some(number);
            }
        }
        None
    }

    /// The entry for a flush: one of its scope that reaches no farther, a free one, or that of all
    /// scopes.
    fn room_for(&self, flush: Flush, now: Now) -> Option<(usize, Entry<'_>)> {
        let is_own = |entry: &Entry<'_>| entry.scope.load(Acquire) == flush.scope;
        let mut own = self.entries().enumerate().filter(|(_, entry)| is_own(entry));
        let reaches = |(_, entry): &(usize, Entry<'_>)| entry.until.load(Acquire) <= flush.until;
        if let Some(found) = own.clone().find(reaches) {
            return Some(found);
        }
        if own.clone().count() >= MOST_OF_A_SCOPE {
            return own.next_back();
        }
        let claims = |(number, entry): &(usize, Entry<'_>)| {
            let before = entry.scope.load(Acquire);
            let is_free = before == 0 || before != EVERYWHERE && entry.is_over(now);
            let claim = || entry.scope.compare_exchange(before, flush.scope, AcqRel, Relaxed);
            *number + 1 < ENTRIES && is_free && claim().is_ok()
        };
        let claimed = self.entries().enumerate().find(claims);
        claimed.or_else(|| {
            let last = self.entry(ENTRIES - 1)?;
            last.scope.store(EVERYWHERE, Release);
            Some((ENTRIES - 1, last))
        })
    }

    fn entry(&self, number: usize) -> Option<Entry<'_>> {
        self.entries().nth(number)
    }

    fn entries(&self) -> impl DoubleEndedIterator<Item = Entry<'_>> + ExactSizeIterator + Clone {
        let words = self.mapping.words(header::FLUSHES, ENTRIES * WORDS).unwrap_or_default();
        let (entries, _) = words.as_chunks::<WORDS>();
        entries.iter().map(|[scope, era, until, learned, told]| Entry {
            scope,
            era,
            until,
            learned,
            told,
        })
    }

    fn entries_of(&self, scope: u64) -> impl Iterator<Item = Entry<'_>> {
        self.entries().filter(move |entry| entry.is_of(scope))
    }
}

impl Flush {
    /// The flush as a record, which travels as removals do. Versions that know no flushes take it for
    /// the removal of a session that nobody has.
    pub fn record(&self) -> Vec<u8> {
        let mut locator = [0; 16];
        let (low, high) = locator.split_at_mut(8);
        low.copy_from_slice(&MARKER.to_le_bytes());
        high.copy_from_slice(&self.scope.to_le_bytes());
        let head = Head {
            kind: Kind::Removal,
            flags: 0,
            payload: 0,
            deadline: self.until,
            written: self.era,
            locator: Locator(locator),
        };
        let mut bytes = head.to_bytes().map_or(Vec::new(), Vec::from);
        bytes.resize(bytes.len().next_multiple_of(UNIT), 0);
        bytes
    }

    /// The flush that a record tells of, if it does.
    pub(super) fn of(head: &Head) -> Option<Flush> {
        let is_flush = head.kind == Kind::Removal && head.locator.low() == MARKER;
        let scope = head.locator.high();
        (is_flush && scope != 0).then_some(Flush {
            scope,
            era: plausible(head.written),
            until: head.deadline,
        })
    }
}

/// 0 for an era that no host can reach: another process has damaged the word.
fn plausible(era: u64) -> u64 {
    if era >> ERA_BITS == 0 { era } else { 0 }
}

/// Makes a word an era, unless it is a later one.
fn raise(word: &AtomicU64, era: u64) {
    let _ = word.fetch_update(AcqRel, Acquire, |old| Some(plausible(old).max(era)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::log::Record;
    use crate::store::{PutError, StoreUrl};

    const NOW: Now = Now(1_000_000_000);
    /// An end that no flush but one for ever reaches.
    const LATE: u64 = 9_999_999_999;

    fn store() -> Store {
        Store::open(&StoreUrl::parse("shm:?size=1MiB").unwrap()).unwrap()
    }

    fn later(milliseconds: u64) -> Now {
        Now(NOW.0 + milliseconds)
    }

    fn told(from: &Store, to: &Store, now: Now) {
        for (number, flush) in from.untold_flushes() {
            let bytes = flush.record();
            let (record, rest) = Record::split(&bytes).unwrap();
            assert!(rest.is_empty() && record.is_removal());
            assert_eq!(to.apply(&record, now), Ok::<_, PutError>(()));
            assert!(to.has(&record, now), "it is known when it is told again");
            from.note_told(number, flush);
        }
    }

    #[test]
    fn a_flush_is_of_the_sessions_made_before_it_and_of_no_other_scope() {
        let store = store();
        assert_eq!((store.era(7), store.is_flushed(7, 0, LATE)), (0, false));
        store.flush(7, FOR_EVER, NOW);
        let era = store.era(7);
        assert!(store.is_flushed(7, 0, LATE) && !store.is_flushed(7, era, LATE));
        assert!(!store.is_flushed(8, 0, LATE) && store.era(8) == 0);
        // In the same millisecond, or with a clock that was set back.
        for now in [NOW, Now(5)] {
            let before = store.era(7);
            store.flush(7, FOR_EVER, now);
            assert!(store.era(7) > before && store.is_flushed(7, before, LATE));
        }
    }

    #[test]
    fn a_flush_until_a_time_spares_what_ends_later() {
        let store = store();
        store.flush(7, 2_000_000, NOW);
        assert!(store.is_flushed(7, 0, 1_999_999) && !store.is_flushed(7, 0, 2_000_000));
        let first = store.era(7);
        // A later flush that reaches less far takes nothing back.
        store.flush(7, 1_500_000, later(1));
        assert!(store.is_flushed(7, 0, 1_999_999) && !store.is_flushed(7, first, 1_999_999));
        assert!(store.is_flushed(7, first, 1_499_999));
        store.flush(7, 1_200_000, later(2));
        store.flush(7, FOR_EVER, later(3));
        assert!(store.is_flushed(7, first, LATE) && !store.is_flushed(7, store.era(7), LATE));
    }

    #[test]
    fn a_session_without_a_stamp_goes_by_the_second() {
        let store = store();
        let second = NOW.seconds();
        let a = |began, deadline| Unstamped { began, deadline, seen: 0 };
        assert!(!store.may_be_flushed(7, a(second, LATE), NOW));
        let era = store.flush(7, FOR_EVER, NOW);
        let may = |began| store.may_be_flushed(7, a(began, LATE), later(5000));
        assert_eq!(
            [second - 1, second, second + 1, second + 5].map(may),
            [true, true, false, false]
        );
        assert!(may(second + 6), "it begins in the future");
        assert!(!store.may_be_flushed(8, a(second, LATE), NOW));
        let after = |seen| Unstamped { seen, ..a(second, LATE) };
        assert!(store.may_be_flushed(7, after(era - 1), NOW));
        assert!(!store.may_be_flushed(7, after(era), NOW), "of a cache that was emptied");
        let other = self::store();
        other.flush(7, second + 100, NOW);
        assert!(other.may_be_flushed(7, a(second, second + 99), NOW));
        assert!(!other.may_be_flushed(7, a(second, second + 100), NOW));
    }

    #[test]
    fn more_scopes_than_entries_are_flushed_with_all_others() {
        let store = store();
        for scope in 1..=100 {
            store.flush(scope, FOR_EVER, later(scope));
            assert!(store.is_flushed(scope, 0, LATE), "{scope}");
            assert!(!store.is_flushed(scope, store.era(scope), LATE), "{scope}");
        }
        assert!((1..=100).all(|scope| store.is_flushed(scope, 0, LATE)));
        assert!(store.is_flushed(1, store.era(1) - 1, LATE) && store.is_flushed(1000, 0, LATE));
    }

    #[test]
    fn an_entry_whose_time_is_over_serves_another_scope() {
        let store = store();
        for scope in 1..=100 {
            let now = later(scope * 10_000);
            store.flush(scope, now.seconds() + 5, now);
            assert!(store.is_flushed(scope, 0, now.seconds() + 4));
        }
        assert!(!store.is_flushed(1000, 0, 0), "none was of all");
    }

    #[test]
    fn another_host_learns_of_it_whatever_its_clock_shows() {
        let (a, b) = (store(), store());
        a.flush(7, FOR_EVER, NOW);
        a.flush(8, 2_000_000, NOW);
        for now in [later(0), Now(NOW.0 / 2), later(9_000_000)] {
            let b = self::store();
            told(&a, &b, now);
            a.tell_flushes_again();
            let era = if now.0 < NOW.0 / 2 + 1 { now.0 + MOST_AHEAD } else { a.era(7) };
            assert_eq!(b.era(7), era);
            assert!(b.is_flushed(7, 0, LATE) && !b.is_flushed(7, a.era(7), LATE));
            let cached = Unstamped { began: now.seconds(), deadline: LATE, seen: 0 };
            assert!(b.may_be_flushed(7, cached, now));
            assert_eq!(b.untold_flushes(), [], "it does not go back");
        }
        told(&a, &b, NOW);
        assert_eq!(a.untold_flushes(), []);
        assert!(!b.is_flushed(8, 0, 2_000_000) && b.is_flushed(8, 0, 1_999_999));
        // A later flush there is one here.
        b.flush(7, FOR_EVER, Now(5));
        assert!(b.is_flushed(7, a.era(7), LATE));
        told(&b, &a, NOW);
        assert_eq!(a.era(7), b.era(7));
    }

    #[test]
    fn an_era_that_nobody_can_reach_is_not_believed() {
        let store = store();
        store.learn_flush(Flush { scope: 7, era: u64::MAX, until: FOR_EVER }, NOW);
        let era = store.era(7);
        store.flush(7, FOR_EVER, later(1));
        assert!(store.era(7) > era);
    }

    #[test]
    fn a_table_of_random_words_forgets_or_flushes_and_heals_by_use() {
        let store = store();
        let mut random = 1_u64;
        for _ in 0..1000 {
            for word in store.mapping.words(header::FLUSHES, ENTRIES * WORDS).unwrap() {
                random =
                    random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
                word.store(if random >> 62 == 0 { 7 } else { random }, Relaxed);
            }
            let before = store.era(7);
            let era = store.flush(7, FOR_EVER, NOW);
            assert!(era > before && store.is_flushed(7, before, LATE));
            assert!(!store.is_flushed(7, store.era(7), LATE));
            store
                .untold_flushes()
                .into_iter()
                .for_each(|(number, flush)| store.note_told(number, flush));
            assert_eq!(store.untold_flushes(), []);
        }
    }

    #[test]
    fn other_records_are_no_flushes() {
        let flush = Flush { scope: 7, era: 5, until: 6 };
        let bytes = flush.record();
        let head = |bytes: &[u8]| Head::from_bytes(bytes.first_chunk().unwrap()).unwrap();
        assert_eq!(Flush::of(&head(&bytes)), Some(flush));
        assert_eq!(Flush::of(&Head { kind: Kind::Put, ..head(&bytes) }), None);
        assert_eq!(Flush::of(&Head { locator: Locator([7; 16]), ..head(&bytes) }), None);
        let none = Flush { scope: 0, ..flush }.record();
        assert_eq!(Flush::of(&head(&none)), None);
    }
}

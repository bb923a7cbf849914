//! The cache beside short lists that do the same, checked after each operation.
//!
//! It uses the cache's public interface alone. The unit test gives it random operations; the fuzz
//! target includes this file and makes operations of its input.

use super::{Cache, Key, Part as Trace, Standing, Value};
use std::collections::HashMap;

/// The number of different sessions. It is so small that each use counts.
pub(crate) const SESSIONS: u32 = 60;

/// A value that is the number of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number(pub(crate) u32);

impl Value for Number {}

/// Something that a server does with its cache. Times are seconds from now.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    /// Adds a session, or adds it again with another deadline.
    Add { session: u32, deadline: i64 },
    /// Looks a session up, so that it stays longer.
    Get { session: u32 },
    /// A session is spent, and another one takes its place.
    Succeed { spent: u32, session: u32 },
    /// A session is for a client that came back.
    CameBack { session: u32 },
    /// Removes a session.
    Remove { session: u32 },
    /// Moves a deadline.
    SetDeadline { session: u32, deadline: i64 },
    /// Lets time pass, and flushes the expired sessions; `walk` asks each session.
    Flush { passed: i64, walk: bool },
    /// Takes one step of expiry.
    Expire,
    /// Makes the cache smaller or larger; 0 is without limit.
    Resize { capacity: usize },
    /// Removes all sessions.
    Drain,
}

/// Where an entry waits for its eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// Goes first.
    Spent,
    Newcomers,
    Main,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    session: u32,
    deadline: i64,
    part: Part,
    /// So often eviction passes over it.
    chances: u32,
    /// The part in which it was when it was spent.
    spent_in: Part,
}

impl Entry {
    /// Enters the main part at the latest when eviction comes to it.
    fn use_again(&mut self) {
        self.chances = match self.part {
            Part::Spent => 0,
            Part::Newcomers => 1,
            Part::Main => (self.chances + 1).min(3),
        };
    }
}

/// How many newcomers there may be, of 65,536.
#[derive(Debug)]
struct Share {
    newcomers: u64,
    /// Newcomers that made room, and others.
    gone: [u64; 2],
}

impl Share {
    const fn new() -> Share {
        Share { newcomers: 13_108, gone: [0; 2] }
    }

    fn count(&mut self, part: Part, length: usize) {
        self.gone[usize::from(part == Part::Main)] += 1;
        if self.gone.iter().sum::<u64>() > 2 * length as u64 {
            self.gone = self.gone.map(|gone| gone / 2);
        }
    }

    /// A session that had to leave this part is asked for: two places change hands, or the more, the fewer
    /// sessions have left that part.
    fn learn(&mut self, trace: Trace, length: usize) {
        let two = (131_072 / (length as u64).max(1)).max(1);
        let [newcomers, others] = self.gone;
        let by = |others: u64, its: u64| (two * others / its.max(1)).max(two);
        self.newcomers = match trace {
            Trace::Newcomers => self.newcomers + by(others, newcomers),
            Trace::Main => self.newcomers.saturating_sub(by(newcomers, others)),
        }
        .clamp(6553, 62_260);
    }
}

/// A cache, and a list of its entries in the order in which they came to their parts.
#[derive(Debug)]
pub(crate) struct Model {
    cache: Cache<Number>,
    oldest_first: Vec<Entry>,
    /// Kept after an entry is gone, as a session keeps its deadline.
    deadlines: HashMap<u32, i64>,
    now: i64,
    /// Whether the cache has one shard, which evicts in exactly this order. The first add decides.
    is_exact: Option<bool>,
    share: Share,
}

fn key(session: u32) -> Key {
    Key::new(0x0303, &session.to_be_bytes()).expect("four bytes are no longer than an id")
}

impl Model {
    pub(crate) fn new(capacity: usize) -> Model {
        Model {
            cache: Cache::new(capacity, 2),
            oldest_first: Vec::new(),
            deadlines: HashMap::new(),
            now: 1_000_000,
            is_exact: None,
            share: Share::new(),
        }
    }

    /// Does the same to the cache and to the list. Panics where they differ.
    pub(crate) fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Add { session, deadline } => self.add(session, self.now + deadline),
            Operation::Get { session } => {
                let found = self.find(session).map(Entry::use_again);
                assert_eq!(self.cache.get(&key(session)), found.map(|()| Number(session)));
                if found.is_none() {
                    self.ask_in_vain(session);
                }
            }
            Operation::Succeed { spent, session } => self.succeed(spent, session),
            Operation::CameBack { session } => {
                self.cache.raise(&key(session), Standing::CAME_BACK);
                self.raise(session, Part::Main, 0);
            }
            Operation::Remove { session } => {
                let found = self.take(session);
                let removed = self.cache.remove(&key(session));
                assert_eq!(removed, found.map(|entry| Number(entry.session)));
            }
            Operation::SetDeadline { session, deadline } => {
                self.set_deadline(session, self.now + deadline);
            }
            Operation::Flush { passed, walk } => {
                self.now += passed;
                self.flush(walk);
            }
            Operation::Expire => self.expire(),
            Operation::Resize { capacity } => self.resize(capacity),
            Operation::Drain => {
                let mut gone = Vec::new();
                self.cache.drain(self.now, |value| gone.push(value));
                assert_same(gone, self.oldest_first.drain(..).collect());
                self.share.gone = [0; 2];
            }
        }
        assert_eq!(self.cache.len(), self.oldest_first.len());
    }

    fn find(&mut self, session: u32) -> Option<&mut Entry> {
        self.oldest_first.iter_mut().find(|entry| entry.session == session)
    }

    fn take(&mut self, session: u32) -> Option<Entry> {
        let at = self.oldest_first.iter().position(|entry| entry.session == session)?;
        Some(self.oldest_first.remove(at))
    }

    fn add(&mut self, session: u32, deadline: i64) {
        self.deadlines.insert(session, deadline);
        self.is_exact.get_or_insert(self.cache.capacity() != 0);
        let added = self.cache.add(key(session), Number(session), deadline, self.now);
        let found = self.take(session);
        assert_eq!((added.new, added.displaced), (found.is_none(), None));
        let capacity = self.cache.capacity();
        let is_full = capacity != 0 && self.oldest_first.len() >= capacity && found.is_none();
        assert_eq!(added.evicted.is_some(), is_full);
        added.evicted.into_iter().for_each(|evicted| self.evict(evicted));
        let (part, chances) = found.map_or((Part::Newcomers, 0), |entry| match entry.part {
            Part::Spent => (entry.spent_in, 0),
            part => (part, entry.chances),
        });
        self.oldest_first.push(Entry { session, deadline, part, chances, spent_in: part });
    }

    /// A session is asked for that is not there. If it had to make room, the cache knows that of most.
    fn ask_in_vain(&mut self, session: u32) {
        if let Some(trace) = self.cache.had_to_go(&key(session)) {
            self.share.learn(trace, self.oldest_first.len());
        }
    }

    fn succeed(&mut self, spent: u32, session: u32) {
        let standing = self.cache.spend(self.cache.key_hash(&key(spent)));
        let before = self.find(spent).copied().map(|mut entry| {
            if entry.part == Part::Spent {
                return (entry.spent_in, 0);
            }
            entry.use_again();
            self.take(spent);
            let spent_in = entry.part;
            self.oldest_first.push(Entry { part: Part::Spent, chances: 0, spent_in, ..entry });
            (entry.part, entry.chances)
        });
        let (part, chances) = before.unwrap_or((Part::Newcomers, 0));
        assert_eq!(standing == Standing::NEWCOMER, (part, chances) == (Part::Newcomers, 0));
        self.cache.raise(&key(session), standing);
        self.raise(session, part, chances);
    }

    fn raise(&mut self, session: u32, part: Part, chances: u32) {
        let is_better = |entry: &mut Entry| {
            entry.part != Part::Spent && (entry.part, entry.chances) < (part, chances)
        };
        if self.find(session).is_some_and(is_better) {
            let raised = self.take(session).map(|entry| Entry { part, chances, ..entry });
            self.oldest_first.extend(raised);
        }
    }

    /// An entry has left to make room: a spent one, else the oldest newcomer while they have more
    /// than their share, else the oldest of the main part. Eviction passes over those that were used.
    fn evict(&mut self, evicted: Number) {
        const MOST_PASSED: u32 = 64;
        let mut passed = 0;
        while self.is_exact == Some(true) {
            let (at, length) = (self.next_to_go(), self.oldest_first.len());
            let oldest = self.oldest_first.remove(at);
            if oldest.chances == 0 || passed == MOST_PASSED {
                if oldest.part != Part::Spent {
                    self.share.count(oldest.part, length);
                }
                return assert_eq!(evicted.0, oldest.session);
            }
            passed += 1;
            let chances = oldest.chances - 1;
            self.oldest_first.push(Entry { part: Part::Main, chances, ..oldest });
        }
        self.take(evicted.0).expect("an entry leaves once");
    }

    fn next_to_go(&self) -> usize {
        let first = |part| self.oldest_first.iter().position(|entry| entry.part == part);
        let newcomers = self.oldest_first.iter().filter(|entry| entry.part == Part::Newcomers);
        let share = self.oldest_first.len() as u64 * self.share.newcomers / 65_536;
        let from =
            if newcomers.count() as u64 > share.max(1) { Part::Newcomers } else { Part::Main };
        first(Part::Spent).or(first(from)).unwrap_or(0)
    }

    fn set_deadline(&mut self, session: u32, deadline: i64) {
        if let Some(entry) = self.find(session) {
            entry.deadline = deadline;
            self.deadlines.insert(session, deadline);
            self.cache.set_deadline(&key(session), deadline, |_| true);
        }
    }

    fn deadline_of(&self) -> impl Fn(&Number) -> i64 {
        |value| self.deadlines.get(&value.0).copied().unwrap_or(0)
    }

    fn flush(&mut self, walk: bool) {
        let mut gone = Vec::new();
        self.cache.flush(self.now, self.now, walk, self.deadline_of(), |value| gone.push(value));
        let now = self.now;
        let expired = self.oldest_first.extract_if(.., |entry| entry.deadline < now).collect();
        assert_same(gone, expired);
    }

    /// A step takes some of the expired entries.
    fn expire(&mut self) {
        let gone: Vec<Number> =
            self.cache.expire(self.now, self.deadline_of()).into_iter().collect();
        for value in &gone {
            let expired = self.take(value.0).expect("an entry leaves once");
            assert!(expired.deadline < self.now, "{expired:?} left at {}", self.now);
        }
    }

    fn resize(&mut self, capacity: usize) {
        let before = self.cache.capacity();
        assert_eq!(self.cache.set_capacity(capacity), before);
        while let Some(evicted) = self.cache.evict_excess() {
            self.evict(evicted);
        }
        assert!(capacity == 0 || self.cache.len() <= capacity);
    }
}

/// The cache hands out values in no order.
fn assert_same(mut values: Vec<Number>, entries: Vec<Entry>) {
    let mut expected: Vec<_> = entries.into_iter().map(|entry| Number(entry.session)).collect();
    values.sort_unstable();
    expected.sort_unstable();
    assert_eq!(values, expected);
}

//! Which sessions are kept: by the product's own cache, and by the rules it is compared with.

use crate::traffic::Random;
use sesscache_core::cache::{Cache, Key, Standing, Value};
use std::collections::{BTreeSet, HashMap, VecDeque};

/// Where a new session comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// Its client offered nothing.
    Stranger,
    /// Its client offered a session that was gone.
    Missed,
    /// Its client resumed a ticket, which is used up.
    Resumed(u64),
}

/// A cache of sessions with numbers.
pub(crate) trait Policy {
    /// A client offers a session. Whether it resumes.
    fn offer(&mut self, id: u64) -> bool;
    /// A client gets a session, which is good until `deadline`.
    fn add(&mut self, id: u64, origin: Origin, deadline: i64);
    /// It is so late. Sessions whose deadline has passed leave.
    fn expire(&mut self, now: i64);
}

/// The first that came is the first to go. So does stock, whose sessions have one timeout. With a second
/// chance (CLOCK), one that was used since comes again instead.
#[derive(Debug)]
pub(crate) struct Fifo {
    size: usize,
    second_chance: bool,
    oldest_first: VecDeque<(u64, i64)>,
    /// Whether a session was used.
    cached: HashMap<u64, bool>,
}

impl Fifo {
    pub(crate) fn new(size: usize) -> Self {
        Fifo { size, second_chance: false, oldest_first: VecDeque::new(), cached: HashMap::new() }
    }

    pub(crate) fn with_second_chance(size: usize) -> Self {
        Fifo { second_chance: true, ..Fifo::new(size) }
    }

    fn evict(&mut self) {
        while let Some((oldest, deadline)) = self.oldest_first.pop_front() {
            match self.cached.get_mut(&oldest) {
                Some(used) if *used && self.second_chance => {
                    *used = false;
                    self.oldest_first.push_back((oldest, deadline));
                }
                _ => {
                    self.cached.remove(&oldest);
                    return;
                }
            }
        }
    }
}

impl Policy for Fifo {
    fn offer(&mut self, id: u64) -> bool {
        self.cached.get_mut(&id).map(|used| *used = true).is_some()
    }

    fn add(&mut self, id: u64, _: Origin, deadline: i64) {
        if self.cached.len() >= self.size {
            self.evict();
        }
        self.oldest_first.push_back((id, deadline));
        self.cached.insert(id, false);
    }

    fn expire(&mut self, now: i64) {
        // Sessions that had a second chance are not in the order of their deadlines.
        while let Some(&(oldest, deadline)) = self.oldest_first.front()
            && deadline < now
        {
            self.oldest_first.pop_front();
            self.cached.remove(&oldest);
        }
    }
}

/// The one that was not used for longest goes.
#[derive(Debug)]
pub(crate) struct Lru {
    size: usize,
    uses: u64,
    used_at: HashMap<u64, u64>,
    by_use: BTreeSet<(u64, u64)>,
    by_deadline: VecDeque<(u64, i64)>,
}

impl Lru {
    pub(crate) fn new(size: usize) -> Self {
        Lru {
            size,
            uses: 0,
            used_at: HashMap::new(),
            by_use: BTreeSet::new(),
            by_deadline: VecDeque::new(),
        }
    }

    fn touch(&mut self, id: u64) {
        self.uses += 1;
        if let Some(before) = self.used_at.insert(id, self.uses) {
            self.by_use.remove(&(before, id));
        }
        self.by_use.insert((self.uses, id));
    }
}

impl Policy for Lru {
    fn offer(&mut self, id: u64) -> bool {
        let found = self.used_at.contains_key(&id);
        if found {
            self.touch(id);
        }
        found
    }

    fn add(&mut self, id: u64, _: Origin, deadline: i64) {
        if self.used_at.len() >= self.size
            && let Some((_, victim)) = self.by_use.pop_first()
        {
            self.used_at.remove(&victim);
        }
        self.touch(id);
        self.by_deadline.push_back((id, deadline));
    }

    fn expire(&mut self, now: i64) {
        while let Some(&(id, deadline)) = self.by_deadline.front()
            && deadline < now
        {
            self.by_deadline.pop_front();
            if let Some(used) = self.used_at.remove(&id) {
                self.by_use.remove(&(used, id));
            }
        }
    }
}

/// A value of the real cache.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Session(u64, i64);

impl Value for Session {}

/// The product's cache.
#[derive(Debug)]
pub(crate) struct Ours {
    cache: Cache<Session>,
    /// Whether the last client offered a session that had to make room.
    came_back: bool,
    now: i64,
}

impl Ours {
    pub(crate) fn new(size: usize) -> Self {
        Ours { cache: Cache::new(size, 2), came_back: false, now: 0 }
    }
}

/// An id that looks random.
fn key(id: u64) -> Option<Key> {
    let mut random = Random(id);
    let mut bytes = [0; 32];
    for place in bytes.chunks_exact_mut(8) {
        place.copy_from_slice(&random.next().to_le_bytes());
    }
    Key::new(0x0304, &bytes)
}

impl Policy for Ours {
    fn offer(&mut self, id: u64) -> bool {
        let Some(key) = key(id) else { return false };
        let found = self.cache.get(&key).is_some();
        self.came_back = !found && self.cache.had_to_go(&key).is_some();
        found
    }

    fn add(&mut self, id: u64, origin: Origin, deadline: i64) {
        let standing = match origin {
            Origin::Missed if self.came_back => Standing::CAME_BACK,
            Origin::Resumed(offered) => key(offered)
                .map(|key| self.cache.spend(self.cache.key_hash(&key)))
                .unwrap_or(Standing::NEWCOMER),
            _ => Standing::NEWCOMER,
        };
        if let Some(key) = key(id) {
            self.cache.add(key, Session(id, deadline), deadline, self.now);
            self.cache.raise(&key, standing);
        }
    }

    fn expire(&mut self, now: i64) {
        self.now = now;
        let _over = self.cache.expire(now, |session| session.1);
    }
}

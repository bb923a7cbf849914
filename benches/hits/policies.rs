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
    Missed(u64),
    /// Its client resumed a ticket, which is used up.
    Resumed(u64),
}

/// A cache of sessions with numbers.
pub(crate) trait Policy {
    /// A client offers a session. Whether it resumes.
    fn offer(&mut self, id: u64) -> bool;
    /// A client gets a session.
    fn add(&mut self, id: u64, origin: Origin);
}

/// The first that came is the first to go. So does stock, whose sessions have one timeout.
#[derive(Debug)]
pub(crate) struct Fifo {
    size: usize,
    oldest_first: VecDeque<u64>,
    cached: HashMap<u64, ()>,
}

impl Fifo {
    pub(crate) fn new(size: usize) -> Self {
        Fifo { size, oldest_first: VecDeque::new(), cached: HashMap::new() }
    }
}

impl Policy for Fifo {
    fn offer(&mut self, id: u64) -> bool {
        self.cached.contains_key(&id)
    }

    fn add(&mut self, id: u64, _: Origin) {
        if self.cached.len() >= self.size
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.cached.remove(&oldest);
        }
        self.oldest_first.push_back(id);
        self.cached.insert(id, ());
    }
}

/// The one that was not used for longest goes.
#[derive(Debug)]
pub(crate) struct Lru {
    size: usize,
    uses: u64,
    used_at: HashMap<u64, u64>,
    by_use: BTreeSet<(u64, u64)>,
}

impl Lru {
    pub(crate) fn new(size: usize) -> Self {
        Lru { size, uses: 0, used_at: HashMap::new(), by_use: BTreeSet::new() }
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

    fn add(&mut self, id: u64, _: Origin) {
        if self.used_at.len() >= self.size
            && let Some((_, victim)) = self.by_use.pop_first()
        {
            self.used_at.remove(&victim);
        }
        self.touch(id);
    }
}

/// A value of the real cache.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Session(u64);

impl Value for Session {}

/// The product's cache.
#[derive(Debug)]
pub(crate) struct Ours(Cache<Session>);

impl Ours {
    pub(crate) fn new(size: usize) -> Self {
        Ours(Cache::new(size, 2))
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
        key(id).is_some_and(|key| self.0.get(&key).is_some())
    }

    fn add(&mut self, id: u64, origin: Origin) {
        let standing = match origin {
            Origin::Missed(offered) if key(offered).is_some_and(|k| self.0.had_to_go(&k)) => {
                Standing::CAME_BACK
            }
            Origin::Resumed(offered) => key(offered)
                .map(|key| self.0.spend(self.0.key_hash(&key)))
                .unwrap_or(Standing::NEWCOMER),
            _ => Standing::NEWCOMER,
        };
        if let Some(key) = key(id) {
            self.0.add(key, Session(id), i64::MAX, 0);
            self.0.raise(&key, standing);
        }
    }
}

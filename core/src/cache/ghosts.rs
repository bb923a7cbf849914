//! Traces of sessions that had to make room: 15 bits of a hash each and the part they were in, for three
//! times as many sessions as a shard holds.
//!
//! A word has four traces, the newest in its lowest bits. A session that was never here is taken for
//! one that was with a chance of four in 32,768. No locks: the shard's caller has one.

use super::share::Part;

/// Traces a word.
const TRACES: usize = 4;
/// Traces for each entry of the shard.
const FOR_EACH: usize = 3;
/// Set in the trace of an entry of the main part.
const MAIN: u64 = 1;

/// The traces of a shard.
#[derive(Debug)]
pub(super) struct Ghosts {
    words: Vec<u64>,
}

/// Never 0, which is no trace.
fn trace(hash: u32) -> u64 {
    u64::from(hash & 0xFFFE).max(2)
}

impl Ghosts {
    pub(super) const fn new() -> Ghosts {
        Ghosts { words: Vec::new() }
    }

    fn place(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.words.len() as u64) >> 32) as usize
    }

    /// Adds a trace to those of a shard with so many entries. Without memory there are none.
    pub(super) fn add(&mut self, hash: u32, part: Part, entries: usize) {
        let words = (entries * FOR_EACH).div_ceil(TRACES);
        if words > self.words.len() {
            // The shard has grown, and the old traces are few. It may grow a little more.
            let words = words + words / 16;
            let mut larger = Vec::new();
            if larger.try_reserve_exact(words).is_err() {
                return;
            }
            larger.resize(words, 0);
            self.words = larger;
        }
        let place = self.place(hash);
        if let Some(word) = self.words.get_mut(place) {
            *word = *word << 16 | trace(hash) | if part == Part::Main { MAIN } else { 0 };
        }
    }

    /// The part of the newest trace of this hash.
    pub(super) fn find(&self, hash: u32) -> Option<Part> {
        let word = self.words.get(self.place(hash))?;
        let found = (0..TRACES).map(|n| word >> (16 * n)).find(|w| w & 0xFFFE == trace(hash))?;
        Some(if found & MAIN == 0 { Part::Newcomers } else { Part::Main })
    }
}

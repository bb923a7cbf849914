//! Traces of sessions that had to make room: 16 bits of a hash each, for twice to four times as many
//! sessions as a shard holds.
//!
//! A word has four traces, the newest in its lowest bits. A session that was never here is taken for
//! one that was with a chance of four in 65,536. No locks: the shard's caller has one.

/// Traces a word.
const TRACES: usize = 4;

/// The traces of a shard.
#[derive(Debug)]
pub(super) struct Ghosts {
    /// A power of two of them, or none.
    words: Vec<u64>,
}

/// Never 0, which is no trace.
fn trace(hash: u32) -> u64 {
    u64::from((hash >> 16).max(1))
}

impl Ghosts {
    pub(super) const fn new() -> Ghosts {
        Ghosts { words: Vec::new() }
    }

    fn place(&self, hash: u32) -> usize {
        hash as usize & self.words.len().wrapping_sub(1)
    }

    /// Adds a trace to those of a shard with so many entries. Without memory there are none.
    pub(super) fn add(&mut self, hash: u32, entries: usize) {
        let words = (entries * 2 / TRACES).next_power_of_two();
        if words > self.words.len() {
            // The shard has grown, and the old traces are few.
            let mut larger = Vec::new();
            if larger.try_reserve_exact(words).is_err() {
                return;
            }
            larger.resize(words, 0);
            self.words = larger;
        }
        let place = self.place(hash);
        if let Some(word) = self.words.get_mut(place) {
            *word = *word << 16 | trace(hash);
        }
    }

    /// Whether there is a trace of this hash.
    pub(super) fn has(&self, hash: u32) -> bool {
        let Some(word) = self.words.get(self.place(hash)) else { return false };
        (0..TRACES).any(|n| word >> (16 * n) & 0xFFFF == trace(hash))
    }
}

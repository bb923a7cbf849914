//! From hash to entry number: an open-addressing table with linear probing, one per shard.
//!
//! A cell is a u64: the upper half has 32 bits of the hash, the lower half the number plus one.
//! Zero is an empty cell. Because the hash is in the cell, a miss reads no entry, and neither
//! growing nor deleting (by shifting back) needs a key.

use super::slab::EntryNumber;

const FIRST_CELLS: usize = 16;

/// The table.
#[derive(Debug, Default)]
pub(super) struct Index {
    cells: Vec<u64>,
    used: usize,
}

fn cell(hash: u32, number: EntryNumber) -> u64 {
    u64::from(hash) << 32 | u64::from(number.wrapping_add(1))
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves of a cell")]
fn parts(cell: u64) -> (u32, EntryNumber) {
    ((cell >> 32) as u32, (cell as u32).wrapping_sub(1))
}

impl Index {
    /// The entry under `hash` for which `is_it` holds.
    #[inline]
    pub(super) fn find(
        &self,
        hash: u32,
        is_it: impl FnMut(EntryNumber) -> bool,
    ) -> Option<EntryNumber> {
        self.position(hash, is_it).and_then(|at| {
            let found = *self.cells.get(at)?;
            Some(parts(found).1)
        })
    }

    #[inline]
    fn position(&self, hash: u32, mut is_it: impl FnMut(EntryNumber) -> bool) -> Option<usize> {
        let mask = self.cells.len().wrapping_sub(1);
        let mut at = hash as usize & mask;
        loop {
            let found = *self.cells.get(at)?;
            if found == 0 {
                return None;
            }
            let (found_hash, number) = parts(found);
            if found_hash == hash && is_it(number) {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    /// The number of entries in the table.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// Makes room for one more; false when there is no memory.
    pub(super) fn reserve(&mut self) -> bool {
        // At most three quarters full.
        if (self.used + 1) * 4 <= self.cells.len() * 3 {
            return true;
        }
        let length = (self.cells.len() * 2).max(FIRST_CELLS);
        let mut cells = Vec::new();
        if cells.try_reserve_exact(length).is_err() {
            return false;
        }
        cells.resize(length, 0);
        let old = std::mem::replace(&mut self.cells, cells);
        for found in old.into_iter().filter(|&found| found != 0) {
            self.place(found);
        }
        true
    }

    /// Adds an entry; [`Index::reserve`] was called before.
    pub(super) fn insert(&mut self, hash: u32, number: EntryNumber) {
        self.place(cell(hash, number));
        self.used += 1;
    }

    fn place(&mut self, new: u64) {
        let mask = self.cells.len().wrapping_sub(1);
        let mut at = parts(new).0 as usize & mask;
        while let Some(found) = self.cells.get_mut(at) {
            if *found == 0 {
                *found = new;
                return;
            }
            at = (at + 1) & mask;
        }
    }

    /// Forgets an entry and shifts back the cells that follow, so that no probe meets a hole.
    pub(super) fn remove(&mut self, hash: u32, number: EntryNumber) {
        let Some(mut hole) = self.position(hash, |found| found == number) else { return };
        let mask = self.cells.len().wrapping_sub(1);
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let Some(&found) = self.cells.get(at) else { break };
            if found == 0 {
                break;
            }
            // A cell may move to the hole unless its home lies after the hole.
            let home = parts(found).0 as usize & mask;
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                if let Some(cell) = self.cells.get_mut(hole) {
                    *cell = found;
                }
                hole = at;
            }
        }
        if let Some(cell) = self.cells.get_mut(hole) {
            *cell = 0;
        }
        self.used -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colliding_entries_survive_removals_in_any_order() {
        // Eight homes at the end of the table, so that probes wrap around.
        let hash = |number: EntryNumber| 0x8000_0008 + number % 8;
        for step in [1, 3, 7, 31] {
            let mut index = Index::default();
            for number in 0..64 {
                assert!(index.reserve());
                index.insert(hash(number), number);
            }
            let mut gone = Vec::new();
            for n in 0..64 {
                let number = n * step % 64;
                index.remove(hash(number), number);
                gone.push(number);
                for number in 0..64 {
                    let found = index.find(hash(number), |found| found == number);
                    assert_eq!(found.is_some(), !gone.contains(&number));
                }
            }
            assert_eq!(index.used, 0);
        }
    }
}

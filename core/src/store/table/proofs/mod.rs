//! The promises of a table, whatever its processes do, and whenever they stop.

mod ages;
mod claims;
mod damage;
mod deaths;
mod model;
#[cfg(loom)]
mod orders;
mod pairs;

use super::bucket::{Bucket, WAYS};
use super::cell::State;
use super::word::seam;
use super::{Place, Region, Removal, Share, Table};
use crate::store::{Locator, Lookup, Now, PutError, Trust};

const NOW: Now = Now(1_700_000_000_000);
const LATER: u64 = 1_700_000_300;
/// When everything that was claimed at [`NOW`] may be taken back.
const AFTERWARDS: Now = Now(NOW.0 + 3000);

/// The words of a table.
struct Memory {
    share: Share,
    regions: Vec<Region>,
    buckets: Vec<Bucket>,
}

impl Memory {
    fn new(buckets: usize) -> Memory {
        let regions = buckets.div_ceil(super::REGION_BUCKETS);
        Memory {
            share: Share::default(),
            regions: (0..regions).map(|_| Region::new()).collect(),
            buckets: (0..buckets).map(|_| Bucket::new()).collect(),
        }
    }

    fn table(&self) -> Table<'_> {
        Table { share: Some(&self.share), regions: &self.regions, buckets: &self.buckets }
    }

    fn place(&self, number: u64) -> Place<'_> {
        self.table().place(&locator(number)).unwrap()
    }

    fn put_at(&self, number: u64, length: usize, now: Now) -> Result<(), PutError> {
        self.place(number).put(LATER, now, 0, &payload(number, length))
    }

    fn put(&self, number: u64, length: usize) -> Result<(), PutError> {
        self.put_at(number, length, NOW)
    }

    fn look(&self, number: u64) -> Lookup {
        self.place(number).get(NOW, &mut Vec::new())
    }

    fn get(&self, number: u64) -> Option<Vec<u8>> {
        let mut found = Vec::new();
        let lookup = self.place(number).get(NOW, &mut found);
        matches!(lookup, Lookup::Found { .. }).then_some(found)
    }

    fn take(&self, number: u64) -> Option<Vec<u8>> {
        let mut found = Vec::new();
        let lookup = self.place(number).take(NOW, &mut found);
        matches!(lookup, Lookup::Found { .. }).then_some(found)
    }

    fn remove(&self, number: u64) -> Removal {
        self.place(number).remove(LATER, NOW, 0)
    }

    /// Whether a session that began now, and that a process has itself, may be used.
    fn is_trusted(&self, number: u64) -> bool {
        self.place(number).trust(NOW.seconds(), NOW) == Trust::Good
    }

    /// So many slots of the first bucket are in this state.
    fn slots(&self, state: State) -> usize {
        let seen = self.buckets[0].look();
        let cells = seen.cells();
        cells.iter().take(WAYS).filter(|cell| cell.is(state)).count()
    }

    /// Sessions 0 to 31 in a bucket.
    fn fill(&self) {
        (0..WAYS as u64).for_each(|number| self.put(number, 100).unwrap());
    }

    /// The sessions that [`Memory::fill`] has put and that are still there.
    fn kept(&self) -> Vec<u64> {
        (0..WAYS as u64).filter(|&n| self.get(n) == Some(payload(n, 100))).collect()
    }

    /// So many removals of other sessions.
    fn remove_others(&self, count: u64) {
        for number in 0..count {
            self.remove(1000 + number);
        }
    }
}

fn mixed(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ x >> 31
}

/// A locator that is spread like a hash.
fn locator(number: u64) -> Locator {
    Locator::of(mixed(number), mixed(!number))
}

/// A payload that tells whose it is, in each word.
fn payload(number: u64, length: usize) -> Vec<u8> {
    mixed(number).to_le_bytes().iter().copied().cycle().take(length).collect()
}

//! How much of a store's memory, all of it counted, one session takes.

use crate::clock::{Outcome, Sum};
use crate::operations::{locator, put};
use crate::{SPARED_BYTES, report};
use sesscache::seal::OVERHEAD;
use sesscache_core::store::{Store, StoreUrl};

pub fn run(size: &str, lengths: Vec<usize>) {
    let url = StoreUrl::parse(&format!("shm:?size={size}")).unwrap();
    let bytes = url.size.unwrap();
    for length in lengths {
        let store = Store::open(&url).unwrap();
        let payload = vec![0x5E; length - SPARED_BYTES + OVERHEAD];
        // Several times as many as there is room for, so that every bucket is full.
        let count = (3 * bytes / payload.len()) as u64;
        for number in 0..count {
            assert!(put(&store, &locator(number), &payload) == Outcome::Done);
        }
        let entries = store.counters().entries;
        let sum = Sum { operations: entries, ..Sum::default() };
        let parameters = format!("der={length} size={size}");
        report("store_bytes", &parameters, (bytes as f64 / entries as f64, "bytes"), &sum);
    }
}

//! How much of a store's memory, all of it counted, one session takes.

use crate::clock::{Outcome, Sum};
use crate::operations::{get, is_hit, locator, put};
use crate::{OVERHEAD, SPARED_BYTES, report};
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
        // A session that lost a part of its bytes is not found.
        let entries =
            (0..count).filter(|number| is_hit(get(&store, &locator(*number)))).count() as u64;
        let sum = Sum { operations: entries, ..Sum::default() };
        let parameters = format!("der={length} size={size}");
        report("store_bytes", &parameters, (bytes as f64 / entries as f64, "bytes"), &sum);
    }
}

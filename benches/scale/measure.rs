//! What a record costs, and how many a store remembers: the table, the records and their encoding are the
//! real ones, and only the clock is simulated.

use sesscache_core::store::{Locator, LogBatch, Lookup, Now, Record, Store, StoreUrl};
use std::error::Error;
use std::time::Instant;

/// A plain TLS 1.2 session (docs/STORE.md). It takes one slot.
const SEALED_BYTES: usize = 116;
/// Bytes of a slot (docs/STORE.md).
const SLOT_BYTES: u64 = 208;
/// Spread like a hash.
fn locator(number: u64) -> Locator {
    let mut bytes = [0; 16];
    for (place, salt) in bytes.chunks_exact_mut(8).zip([1_u64, 2]) {
        let mut x = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(salt << 40);
        x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        place.copy_from_slice(&(x ^ x >> 31).to_le_bytes());
    }
    Locator(bytes)
}

/// The log of a host that stores `count` sessions, as its agent reads it.
fn log_of(count: u64, now: Now) -> Result<Vec<u8>, Box<dyn Error>> {
    let store = Store::open(&StoreUrl::parse("shm:?size=64MiB")?)?;
    let sealed = [0xA5; SEALED_BYTES];
    let (mut all, mut batch) = (Vec::new(), LogBatch::default());
    store.begin_reading();
    for number in 0..count {
        store
            .put(&locator(number), now.0 / 1000 + 86_400, now, 0, &sealed)
            .map_err(|e| format!("{e:?}"))?;
    }
    for region in 0..store.region_count() {
        while store.has_more(region) {
            store.read_log(region, now, &mut batch);
            all.extend_from_slice(&batch.bytes);
            store.note_read(&batch.told);
        }
    }
    Ok(all)
}

/// Of a plain TLS 1.2 session, whose sealed bytes are as long as here.
pub struct Measured {
    /// Bytes of a record on the way.
    pub record: f64,
    /// Nanoseconds to take over a record of another host.
    pub apply: f64,
}

pub fn measure() -> Result<Measured, Box<dyn Error>> {
    const COUNT: u64 = 200_000;
    let now = Now(1_800_000_000_000);
    let log = log_of(COUNT, now)?;
    let store = Store::open(&StoreUrl::parse("shm:?size=64MiB")?)?;
    let (mut rest, mut records) = (log.as_slice(), 0_u64);
    let start = Instant::now();
    while let Some((record, after)) = Record::split(rest) {
        store.apply(&record, now).map_err(|e| format!("{e:?}"))?;
        records += 1;
        rest = after;
    }
    let apply = start.elapsed().as_nanos() as f64 / records as f64;
    Ok(Measured { record: log.len() as f64 / records as f64, apply })
}

/// How many newer sessions a store takes before every second one of an age is forgotten. None of the
/// clients comes back.
pub fn remembered(size: &str) -> Result<f64, Box<dyn Error>> {
    const RATE: u64 = 1000;
    let store = Store::open(&StoreUrl::parse(&format!("shm:?size={size}"))?)?;
    let sealed = [0xA5; SEALED_BYTES];
    let capacity = store.counters().capacity / SLOT_BYTES;
    let total = capacity + capacity / 2;
    let begin = 1_800_000_000_000_u64;
    let at = |number: u64| Now(begin + number * 1000 / RATE);
    for number in 0..total {
        let now = at(number);
        store
            .put(&locator(number), now.0 / 1000 + 1_000_000, now, 0, &sealed)
            .map_err(|e| format!("{e:?}"))?;
    }
    let is_there = |number: u64| {
        let window = number.saturating_sub(50)..number + 50;
        let mut found = Vec::new();
        let there = window.filter(|&number| {
            found.clear();
            matches!(store.get(&locator(number), at(total), &mut found), Lookup::Found { .. })
        });
        there.count() >= 50
    };
    let (mut gone, mut there) = (0, total - 50);
    while there - gone > 1 {
        let middle = gone + (there - gone) / 2;
        if is_there(middle) { there = middle } else { gone = middle }
    }
    Ok((total - there) as f64)
}

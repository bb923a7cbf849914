//! What full replication asks of every host: the figures of docs/SCALE.md, which it prints.
//!
//!     cargo run --release -p sesscache-bench --bin scale
//!
//! The table, the records and their encoding are the real ones; only the other hosts and the clock are
//! simulated. Sealed bytes are as long as those of a plain TLS 1.2 session.

#![allow(clippy::cast_precision_loss, clippy::indexing_slicing, reason = "a benchmark")]

use sesscache_core::store::{Locator, LogBatch, Lookup, Now, Record, Store, StoreUrl};
use std::error::Error;
use std::time::Instant;

/// A plain TLS 1.2 session (docs/STORE.md). It takes one slot.
const SEALED_BYTES: usize = 116;
/// Bytes of a slot (docs/STORE.md).
const SLOT_BYTES: u64 = 208;
/// Fields, lengths and id of a stream entry beside the records (RESP, as sent to Redis).
const ENTRY_BYTES: f64 = 190.0;
/// The most records of an entry: 64 KiB.
const MOST_RECORDS: f64 = 300.0;
/// How often an agent sends, and how often from so many records a second on: it reads what came meanwhile
/// in one go (cli/src/agent/pace.rs).
const SENDS_A_SECOND: f64 = 1000.0;
const BUSY_SENDS_A_SECOND: f64 = 100.0;
const BUSY_RECORDS_A_SECOND: f64 = 300.0;
/// Streams.
const STREAMS: f64 = 4.0;

const HOSTS: [u32; 4] = [2, 10, 100, 1000];
const RATES: [u32; 3] = [1_000, 10_000, 100_000];
const SIZES: [&str; 2] = ["64MiB", "1GiB"];

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

struct Measured {
    /// Bytes of a record on the way.
    record: f64,
    /// Nanoseconds to take over a record of another host.
    apply: f64,
}

fn measure() -> Result<Measured, Box<dyn Error>> {
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

/// How long a store remembers a session while the fleet makes `rate` a second: the age at which
/// every second one is forgotten, found with the real table by a clock that is ours. None of the clients
/// comes back.
fn memory(size: &str, rate: u32) -> Result<f64, Box<dyn Error>> {
    let store = Store::open(&StoreUrl::parse(&format!("shm:?size={size}"))?)?;
    let sealed = [0xA5; SEALED_BYTES];
    let capacity = store.counters().capacity / SLOT_BYTES;
    let total = capacity + capacity / 2;
    let begin = 1_800_000_000_000_u64;
    let at = |number: u64| Now(begin + number * 1000 / u64::from(rate));
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
    Ok((total - there) as f64 / f64::from(rate))
}

fn seconds(value: f64) -> String {
    match value {
        v if v >= 7200.0 => format!("{:.1} h", v / 3600.0),
        v if v >= 120.0 => format!("{:.0} min", v / 60.0),
        v => format!("{v:.0} s"),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let Measured { record, apply } = measure()?;
    println!("A record is {record:.0} bytes; taking one over costs {apply:.0} ns here.\n");
    println!(
        "| sessions/s of the fleet | hosts | out, records/s | out, KiB/s | in, records/s | in, MiB/s \
         | of Redis, MiB/s | CPU to apply | 64 MiB remember | 1 GiB remembers |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for rate in RATES {
        let remembered: Vec<f64> =
            SIZES.iter().map(|size| memory(size, rate)).collect::<Result<_, _>>()?;
        for hosts in HOSTS {
            let total = f64::from(rate);
            let own = total / f64::from(hosts);
            let is_busy = own >= BUSY_RECORDS_A_SECOND;
            let sends = if is_busy { BUSY_SENDS_A_SECOND } else { SENDS_A_SECOND };
            let batch = (own / sends / STREAMS).clamp(1.0, MOST_RECORDS);
            let wire = record + ENTRY_BYTES / batch;
            let others = total - own;
            let mib = f64::from(1 << 20);
            println!(
                "| {rate} | {hosts} | {own:.0} | {:.0} | {others:.0} | {:.2} | {:.1} | {:.2} % | {} | {} |",
                own * wire / 1024.0,
                others * wire / mib,
                // Everything goes in once, and out to everybody, its own host included.
                (total * wire + total * wire * f64::from(hosts)) / mib,
                others * apply / 1e9 * 100.0,
                seconds(remembered[0]),
                seconds(remembered[1]),
            );
        }
    }
    Ok(())
}

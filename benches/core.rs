//! The cache core alone, without OpenSSL: `cargo run --release -p sesscache-bench -- --bench`.
//!
//! For work on the core, where criterion tells a change of a few per cent. What users get, and how
//! it compares with stock OpenSSL, is measured by benches/run.sh. Making a key, about 8 ns, is in
//! every figure.
#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a benchmark")]

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use sesscache_core::cache::{Cache, Key, Value};
use std::hint::black_box;
use std::sync::Arc;

const VERSION: u16 = 0x0304;
const NOW: i64 = 1_800_000_000;
const LATER: i64 = NOW + 7200;
const CPUS: usize = 2;
const SIZES: [u64; 3] = [20_000, 100_000, 1_000_000];

/// Stands for an SSL_SESSION: cloned by an atomic count, the same if it is the same object.
#[derive(Clone)]
struct Session(Arc<u64>);

impl PartialEq for Session {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Value for Session {}

/// SplitMix64's finaliser: every number another one that looks random.
fn mix(number: u64) -> u64 {
    let mut n = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    n = (n ^ n >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    n = (n ^ n >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ n >> 31
}

fn key(number: u64) -> Key {
    let mut id = [0; 32];
    for (word, bytes) in id.chunks_exact_mut(8).enumerate() {
        bytes.copy_from_slice(&mix(number * 4 + word as u64).to_ne_bytes());
    }
    Key::new(VERSION, &id).unwrap()
}

fn add(cache: &Cache<Session>, number: u64, deadline: i64) {
    black_box(cache.add(key(number), Session(Arc::new(number)), deadline, NOW));
}

fn filled(count: u64, capacity: u64) -> Cache<Session> {
    let cache = Cache::new(capacity as usize, CPUS);
    (0..count).for_each(|number| add(&cache, number, LATER));
    cache
}

fn lookups(c: &mut Criterion) {
    let mut group = c.benchmark_group("lookup");
    for size in SIZES {
        let cache = filled(size, size * 9 / 8);
        let mut step = 0;
        let mut random = |first: u64| {
            step += 1;
            key(first + mix(step) % size)
        };
        group.bench_function(BenchmarkId::new("hit", size), |b| {
            b.iter(|| cache.get(&random(0)));
        });
        group.bench_function(BenchmarkId::new("miss", size), |b| {
            b.iter(|| cache.get(&random(1 << 40)));
        });
    }
}

fn changes(c: &mut Criterion) {
    let mut group = c.benchmark_group("change");
    for size in SIZES {
        let (full, mut number) = (filled(size, size), size);
        group.bench_function(BenchmarkId::new("add_full", size), |b| {
            b.iter(|| {
                number += 1;
                add(&full, number, LATER);
            });
        });
        // Half of the numbers are in the cache, once it has settled.
        let (cache, mut step) = (filled(size / 2, size), 0);
        group.bench_function(BenchmarkId::new("mix_50_50", size), |b| {
            b.iter(|| {
                step += 1;
                let some = mix(step) % size;
                match step % 4 {
                    0 => add(&cache, some, LATER),
                    2 => drop(black_box(cache.remove(&key(some)))),
                    _ => drop(black_box(cache.get(&key(some)))),
                }
            });
        });
    }
}

/// A step of expiry, where all that is due has a deadline of its own.
fn expiry(c: &mut Criterion) {
    let due = |count: u64| {
        let cache = Cache::new(0, CPUS);
        (0..count).for_each(|number| add(&cache, number, NOW + (mix(number) % 7200) as i64));
        cache
    };
    c.bench_function("expire/10000_of_10000", |b| {
        b.iter_batched_ref(
            || due(10_000),
            |cache| {
                while !cache.is_empty() {
                    drop(black_box(
                        cache.expire(LATER, |session| NOW + (mix(*session.0) % 7200) as i64),
                    ));
                }
            },
            BatchSize::LargeInput,
        );
    });
}

criterion_group!(benches, lookups, changes, expiry);
criterion_main!(benches);

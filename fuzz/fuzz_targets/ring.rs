//! A sound store file with a crafted ring and index, whose records say of themselves what the input
//! wants: what is found under a locator are bytes that lie in the ring behind that locator; nothing
//! crashes, and nothing takes long.
//!
//! An input is where the ring's ends are, then records (most of them well formed), cells of the
//! index, operations.
#![no_main]

mod folder;

use folder::{Input, store_path};
use libfuzzer_sys::fuzz_target;
use sesscache_core::store::{Locator, Lookup, MOST_PAYLOAD, Now, Store, StoreUrl};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

const SIZE: usize = 1 << 20;
const NOW: Now = Now(1_700_000_000_000);
const SECONDS: u64 = NOW.0 / 1000;

/// One wait for a lock, and what else the machine does.
const PATIENCE: Duration = Duration::from_secs(1);

// docs/STORE.md.
const SHARD: usize = 4096;
const HEAD: usize = SHARD + 64;
const INDEX: usize = SHARD + 512;
const HEAD_BYTES: usize = 36;

struct Bench {
    path: PathBuf,
    file: File,
    image: Vec<u8>,
    buckets: usize,
    ring: usize,
}

static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    let path = store_path("ring");
    let url = format!("file:{}?size={SIZE}", path.display());
    drop(Store::open(&StoreUrl::parse(&url).unwrap()).unwrap());
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut image = vec![0; SIZE];
    file.read_exact_at(&mut image, 0).unwrap();
    let word = |at: usize| u64::from_ne_bytes(*image[at..].first_chunk().unwrap()) as usize;
    let (buckets, ring) = (word(40), word(48));
    Bench { path, file, image, buckets, ring }
});

/// A few locators; some share a bucket, two of these a tag.
fn locator(choice: u8) -> Locator {
    let choice = u64::from(choice % 16);
    let low = choice.wrapping_mul(0x9E37_79B9_7F4A_7C15) | u64::from(choice == 3);
    let high = (choice / 4).wrapping_mul(0x4000_0000_0000_0000);
    let low = if choice == 3 { 2_u64.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 1 } else { low };
    let high = if choice == 3 { 0 } else { high };
    Locator((u128::from(low) | u128::from(high) << 64).to_le_bytes())
}

impl Bench {
    fn write(&self, at: usize, bytes: &[u8]) {
        self.file.write_all_at(bytes, at as u64).unwrap();
    }

    fn ring_at(&self) -> usize {
        INDEX + self.buckets * 128
    }

    fn write_word(&self, at: usize, word: u64) {
        self.write(at, &word.to_ne_bytes());
    }

    /// Writes records from the tail on; returns where they are.
    fn write_records(&self, input: &mut Input<'_>, tail: usize) -> (Vec<usize>, usize) {
        let (mut places, mut at) = (vec![tail % self.ring], tail % self.ring);
        for _ in 0..input.byte() % 40 {
            let (form, size, pad) = (input.byte(), input.byte(), input.byte());
            let units = match form >> 6 {
                0 => usize::from(size % 32) + 5,
                1 => 5,
                2 => usize::from(size),
                _ => usize::from(input.half()),
            };
            let deadline = match pad >> 6 {
                0 => SECONDS + 100,
                1 => SECONDS - 100,
                2 => u64::MAX,
                _ => input.word(),
            };
            let mut head = Vec::new();
            head.extend_from_slice(&(units as u16).to_le_bytes());
            head.extend_from_slice(&[form % 6, pad]);
            head.extend_from_slice(&deadline.to_le_bytes());
            head.extend_from_slice(&(NOW.0 - 5000).to_le_bytes());
            head.extend_from_slice(&locator(input.byte()).0);
            let room = (self.ring - at).min(HEAD_BYTES);
            self.write(self.ring_at() + at, &head[..room]);
            at += units * 8;
            if at >= self.ring {
                at = 0;
            }
            places.push(at);
        }
        (places, at)
    }

    /// Points cells at records, or beside them.
    fn write_cells(&self, input: &mut Input<'_>, places: &[usize]) {
        for _ in 0..input.byte() % 48 {
            let (choice, form, place) = (input.byte(), input.byte(), input.byte());
            let locator = locator(choice);
            let half = |at: usize| u64::from_le_bytes(*locator.0[at..].first_chunk().unwrap());
            let bucket = (u128::from(half(8)) * self.buckets as u128) >> 64;
            let place = places[usize::from(place) % places.len()] as u64 / 8 + 1;
            let unit = if form & 2 == 0 { place } else { place + u64::from(input.half()) };
            let value = half(0) >> 33 << 33 | u64::from(form & 1) << 32 | unit & 0xFFFF_FFFF;
            let cell = usize::from(form >> 4);
            self.write_word(INDEX + bucket as usize * 128 + cell * 8, value);
        }
    }

    fn ring(&self) -> Vec<u8> {
        let mut ring = vec![0; self.ring];
        self.file.read_exact_at(&mut ring, self.ring_at() as u64).unwrap();
        ring
    }

    fn operate(&self, store: &Store, input: &mut Input<'_>) {
        let mut found = Vec::new();
        let (operation, locator) = (input.byte(), locator(input.byte()));
        match operation % 8 {
            0 | 1 => {
                if let Lookup::Found { deadline } = soon(|| store.get(&locator, NOW, &mut found)) {
                    assert!(deadline >= SECONDS, "it was over");
                    assert!(has(&self.ring(), &locator, &found), "not what lies there");
                }
            }
            2 => {
                let before = self.ring();
                if let Lookup::Found { .. } = soon(|| store.take(&locator, NOW, &mut found)) {
                    assert!(has(&before, &locator, &found), "not what lay there");
                }
            }
            3 => drop(soon(|| store.remove(&locator, SECONDS + 50, NOW))),
            4 => drop(soon(|| store.may_resume(&locator, SECONDS - 10, NOW))),
            _ => {
                let length = match operation >> 6 {
                    0 => usize::from(input.byte()),
                    1 => usize::from(input.half()) % (MOST_PAYLOAD + 1),
                    2 => MOST_PAYLOAD,
                    _ => 0,
                };
                let payload = vec![operation; length];
                if soon(|| store.put(&locator, SECONDS + 60, NOW, 0, &payload)).is_ok() {
                    // There may be another crafted record of this locator, in a cell before.
                    let lookup = store.get(&locator, NOW, &mut found);
                    let is_found = matches!(lookup, Lookup::Found { .. });
                    let is_another = is_found && found != payload;
                    assert!(!is_another || has(&self.ring(), &locator, &found), "nobody's");
                }
            }
        }
    }
}

/// Runs an operation, which may not take long.
fn soon<T>(operation: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = operation();
    assert!(start.elapsed() < PATIENCE, "it took {:?}", start.elapsed());
    result
}

/// Whether these bytes lie in the ring behind the head of a record of this locator.
fn has(ring: &[u8], locator: &Locator, payload: &[u8]) -> bool {
    (0..ring.len()).step_by(8).any(|at| {
        let record = ring.get(at + 20..).unwrap_or_default();
        record.starts_with(&locator.0) && record[16..].starts_with(payload)
    })
}

fuzz_target!(|data: &[u8]| {
    let (bench, mut input) = (&*BENCH, Input(data));
    bench.write(0, &bench.image);
    // Near the end of the ring, or of its positions, is where it gets interesting.
    let near_end = input.byte();
    let tail = match near_end >> 6 {
        0 => 0,
        1 => bench.ring - usize::from(near_end & 63) * 8,
        2 => 3 * bench.ring + usize::from(near_end & 63) * 512,
        _ => usize::from(input.half()) * 8,
    };
    let (places, at) = bench.write_records(&mut input, tail);
    let used = (at + bench.ring - tail % bench.ring) % bench.ring;
    let (head, tail) = match input.byte() {
        0xFF => (input.word(), input.word()),
        0xFE => ((1 << 62) - 8, (1 << 62) - 8 - used as u64),
        slack => ((tail + used + usize::from(slack / 250) * 8) as u64, tail as u64),
    };
    bench.write_word(HEAD, head);
    bench.write_word(HEAD + 8, tail);
    for counter in 2..7 {
        if near_end & 1 << (counter - 2) != 0 {
            bench.write_word(HEAD + counter * 8, input.word());
        }
    }
    bench.write_cells(&mut input, &places);
    let store = Store::open_existing(&bench.path).expect("only the ring is crafted");
    for _ in 0..64 {
        if input.is_over() {
            break;
        }
        bench.operate(&store, &mut input);
    }
    store.counters();
});

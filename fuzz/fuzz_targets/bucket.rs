//! A sound store file with a crafted bucket, whose cells and bodies say what the input wants: what is
//! found under a locator are bytes that lie in a slot of that locator; what is removed or taken is not
//! found again; nothing crashes, and nothing hangs.
//!
//! An input is a list of cells, most of them well formed, then operations. All locators are of the first
//! bucket.
#![no_main]

mod folder;

use folder::{Input, store_path};
use libfuzzer_sys::fuzz_target;
use sesscache_core::store::{Locator, Lookup, MOST_PAYLOAD, Now, Store, StoreUrl};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::LazyLock;

const SIZE: usize = 1 << 20;
const NOW: Now = Now(1_700_000_000_000);
const SECONDS: u64 = NOW.0 / 1000;

// docs/STORE.md.
const HEADER_BYTES: usize = 8192;
const REGION_BYTES: usize = 256;
const WAYS: usize = 32;
const CELLS: usize = 48;
const FLOOR: usize = CELLS * 8;
const TRACES: usize = 512;
const TRACE_BYTES: usize = 24;
const SLOTS: usize = TRACES + (CELLS - WAYS) * TRACE_BYTES;
const SLOT_BYTES: usize = 208;
const BUCKET_BYTES: usize = SLOTS + WAYS * SLOT_BYTES;
const HEAD_BYTES: usize = 32;

struct Bench {
    path: PathBuf,
    file: File,
    image: Vec<u8>,
    bucket: usize,
}

static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    let path = store_path("bucket");
    let url = format!("file:{}?size={SIZE}", path.display());
    drop(Store::open(&StoreUrl::parse(&url).unwrap()).unwrap());
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut image = vec![0; SIZE];
    file.read_exact_at(&mut image, 0).unwrap();
    let word = |at: usize| u64::from_ne_bytes(*image[at..].first_chunk().unwrap()) as usize;
    assert_eq!(word(24), BUCKET_BYTES, "the layout is another one");
    let bucket = HEADER_BYTES + word(40) * REGION_BYTES;
    Bench { path, file, image, bucket }
});

/// A few locators of the first bucket; of each two the tag is the same.
fn locator(choice: u8) -> Locator {
    let choice = u64::from(choice % 16);
    let low = (choice / 2 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40 << 40 | choice;
    Locator((u128::from(low) | u128::from(choice) << 64).to_le_bytes())
}

fn low(locator: &Locator) -> u64 {
    u64::from_le_bytes(*locator.0.first_chunk().unwrap())
}

impl Bench {
    fn write(&self, at: usize, bytes: &[u8]) {
        self.file.write_all_at(bytes, (self.bucket + at) as u64).unwrap();
    }

    fn write_word(&self, at: usize, word: u64) {
        self.write(at, &word.to_ne_bytes());
    }

    fn write_body(&self, number: usize, locator: &Locator, input: &mut Input<'_>) {
        let (form, length) = (input.byte(), u64::from(input.half()));
        let deadline = match form & 3 {
            0 | 1 => SECONDS + 100,
            2 => SECONDS - 100,
            _ => input.word() >> 24,
        };
        if number >= WAYS {
            let at = TRACES + (number - WAYS) * TRACE_BYTES;
            self.write(at, &locator.0);
            // When it was written in milliseconds, and for how many seconds it holds (22 bits).
            let times = if form & 4 == 0 { (NOW.0 - 5000) << 22 | 100 } else { input.word() };
            return self.write_word(at + 16, times);
        }
        let at = SLOTS + number * SLOT_BYTES;
        let length = if form & 8 == 0 { length % 177 } else { length * 2 };
        self.write(at, &locator.0);
        self.write_word(at + 16, deadline & ((1 << 40) - 1) | length << 40);
        self.write_word(at + 24, (NOW.0 - 5000) | u64::from(form >> 4) << 48);
        self.write(at + HEAD_BYTES, &[form; SLOT_BYTES - HEAD_BYTES]);
        if form & 8 != 0 {
            // Where it goes on: perhaps to itself.
            self.write_word(at + SLOT_BYTES - 8, input.word() | 1 << 63);
        }
    }

    fn write_cells(&self, input: &mut Input<'_>) {
        for _ in 0..input.byte() % 64 {
            let number = usize::from(input.byte()) % CELLS;
            let (form, locator) = (input.byte(), locator(input.byte()));
            let time = match form >> 6 {
                0 => u64::from(input.half()),
                _ => (SECONDS + 200) >> 7 & 0xFFFF,
            };
            let flags = u64::from(input.half()) & 0x1FFF;
            let state = u64::from(form & 7);
            let generation = u64::from(form >> 3 & 7);
            self.write_word(
                number * 8,
                state << 61 | low(&locator) >> 40 << 37 | generation << 29 | time << 13 | flags,
            );
            self.write_body(number, &locator, input);
        }
        if input.byte() & 1 == 1 {
            self.write_word(FLOOR, input.word());
            self.write_word(FLOOR + 8, input.word());
        }
    }

    fn slots(&self) -> Vec<u8> {
        let mut slots = vec![0; WAYS * SLOT_BYTES];
        self.file.read_exact_at(&mut slots, (self.bucket + SLOTS) as u64).unwrap();
        slots
    }

    fn operate(&self, store: &Store, input: &mut Input<'_>) {
        let mut found = Vec::new();
        let (operation, locator) = (input.byte(), locator(input.byte()));
        match operation % 8 {
            0 | 1 => {
                if let Lookup::Found { deadline, .. } = store.get(&locator, NOW, &mut found) {
                    assert!(deadline >= SECONDS, "it was over");
                    assert!(has(&self.slots(), &locator, &found), "not what lies there");
                }
            }
            2 => {
                let before = self.slots();
                if let Lookup::Found { .. } = store.take(&locator, NOW, &mut found) {
                    assert!(has(&before, &locator, &found), "not what lay there");
                    let again = store.take(&locator, NOW, &mut found);
                    assert!(!matches!(again, Lookup::Found { .. }), "taken twice");
                }
            }
            3 => {
                store.remove(&locator, SECONDS + 50, NOW);
                let lookup = store.get(&locator, NOW, &mut found);
                assert!(!matches!(lookup, Lookup::Found { .. }), "removed");
                assert!(!store.may_resume(&locator, SECONDS - 10, NOW), "removed");
            }
            4 => drop(store.may_resume(&locator, SECONDS - 10, NOW)),
            _ => {
                let length = match operation >> 6 {
                    0 => usize::from(input.byte()),
                    1 => usize::from(input.half()) % (MOST_PAYLOAD + 1),
                    2 => 176,
                    _ => 0,
                };
                let payload = vec![operation; length];
                if store.put(&locator, SECONDS + 60, NOW, 0, &payload).is_ok() {
                    // There may be another crafted record of this locator, in a cell before.
                    let lookup = store.get(&locator, NOW, &mut found);
                    let is_another = matches!(lookup, Lookup::Found { .. }) && found != payload;
                    assert!(!is_another || has(&self.slots(), &locator, &found), "nobody's");
                }
            }
        }
    }
}

/// Whether a slot of this locator begins with these bytes.
fn has(slots: &[u8], locator: &Locator, payload: &[u8]) -> bool {
    let first = payload.get(..SLOT_BYTES - HEAD_BYTES - 8).unwrap_or(payload);
    slots.chunks_exact(SLOT_BYTES).any(|slot| {
        slot.starts_with(&locator.0) && slot.get(HEAD_BYTES..).is_some_and(|s| s.starts_with(first))
    })
}

fuzz_target!(|data: &[u8]| {
    let (bench, mut input) = (&*BENCH, Input(data));
    bench.file.write_all_at(&bench.image, 0).unwrap();
    bench.write_cells(&mut input);
    let store = Store::open_existing(&bench.path).expect("only a bucket is crafted");
    for _ in 0..64 {
        if input.is_over() {
            break;
        }
        bench.operate(&store, &mut input);
    }
    store.counters();
});

//! A small store file with known, sealed contents, and what may come out of it once it is damaged.
//!
//! The fuzz target `opened_file` uses it as well. Payloads are opaque to a store: it is their seal,
//! bound to locator and deadline, that a damaged one does not open. So what counts is what opens.

use sesscache::openssl::generator::Generator;
use sesscache::openssl::libssl::libssl;
use sesscache::openssl::table::Libssl;
use sesscache::seal::{HEAD_BYTES, Keys};
use sesscache_core::key_file::Secret;
use sesscache_core::store::{Locator, LogBatch, Lookup, Now, PutError, Record, Store, StoreUrl};
use sesscache_core::system::wipe::Wiped;
use std::fs::{self, File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::time::{Duration, Instant};

pub(crate) const SIZE: usize = 1 << 20;
pub(crate) const NOW: Now = Now(1_700_000_000_000);
const SECONDS: u64 = NOW.0 / 1000;
/// Records that are put at first, of which some are removed again.
const RECORDS: u64 = 40;
/// Of each ten, which are replaced, taken, removed; and removed without having been put.
const REPLACED: u64 = 3;
const TAKEN: u64 = 5;
const REMOVED: u64 = 7;
const NEVER_PUT: Range<u64> = 100..104;
/// What takes longer hangs. It takes microseconds, beside what else the machine does.
const PATIENCE: Duration = Duration::from_secs(5);

/// docs/STORE.md.
pub(crate) const HEADER_BYTES: usize = 8192;
pub(crate) const REGION_BYTES: usize = 256;
pub(crate) const WAYS: usize = 32;
pub(crate) const TRACES: usize = 16;
/// Cells, floor and clock, ghosts; the bodies follow.
pub(crate) const BUCKET_HEAD_BYTES: usize = 512;
pub(crate) const TRACE_BYTES: usize = 24;
pub(crate) const SLOT_BYTES: usize = 208;
const BUCKET_BYTES: usize = BUCKET_HEAD_BYTES + TRACES * TRACE_BYTES + WAYS * SLOT_BYTES;

pub(crate) struct Specimen {
    path: PathBuf,
    file: File,
    image: Vec<u8>,
    keys: Keys,
    libssl: &'static Libssl,
}

/// What a damaged store still does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// It was not opened at all.
    pub(crate) is_refused: bool,
    /// Records that were found and open.
    pub(crate) found: u64,
    /// Records that should be there and were not found, or do not open.
    pub(crate) lost: u64,
    pub(crate) took: Duration,
}

pub(crate) fn libcrypto() -> &'static Libssl {
    for name in [c"libssl.so.3", c"libssl.so.4"] {
        // SAFETY: a valid C string; libssl's constructors may run at any time.
        unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
    }
    libssl().expect("OpenSSL's shared libraries are on this machine")
}

pub(crate) fn locator(number: u64) -> Locator {
    let mix = |x: u64| (x ^ x >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9).rotate_left(31);
    let (low, high) = (mix(mix(number + 1)), mix(mix(number ^ 0x5555)));
    Locator((u128::from(low) | u128::from(high) << 64).to_le_bytes())
}

fn deadline(number: u64) -> u64 {
    SECONDS + 300 + number
}

/// Lengths of all kinds of padding, one of them long.
fn plain(number: u64, version: u8) -> Vec<u8> {
    let length = if number == 11 { 3000 } else { 20 + number * 7 % 90 };
    let mut plain = vec![version; usize::try_from(length).unwrap_or(0)];
    plain.extend_from_slice(&number.to_le_bytes());
    plain
}

/// What is under this number in the file: put, not removed; in its last version.
fn kept(number: u64) -> Option<Vec<u8>> {
    let is_removed = matches!(number % 10, TAKEN | REMOVED) || number >= RECORDS;
    (!is_removed).then(|| plain(number, if number % 10 == REPLACED { 2 } else { 1 }))
}

impl Specimen {
    pub(crate) fn new(path: &Path) -> Specimen {
        let libssl = libcrypto();
        let keys = Keys::derive(libssl, &[Secret::new([7; 32])]).expect("libcrypto can seal");
        drop(fs::remove_file(path));
        let url = format!("file:{}?size={SIZE}", path.display());
        let store = Store::open(&StoreUrl::parse(&url).unwrap()).unwrap();
        let file = OpenOptions::new().read(true).write(true).mode(0o600).open(path).unwrap();
        let mut specimen =
            Specimen { path: path.to_owned(), file, image: vec![0; SIZE], keys, libssl };
        for number in 0..RECORDS {
            specimen.put(&store, number, 1).unwrap();
            match number % 10 {
                REPLACED => specimen.put(&store, number, 2).unwrap(),
                TAKEN => {
                    store.take(&locator(number), NOW, &mut Vec::new());
                }
                REMOVED => store.remove(&locator(number), deadline(number), NOW),
                _ => {}
            }
        }
        NEVER_PUT.for_each(|number| store.remove(&locator(number), SECONDS + 999, NOW));
        drop(store);
        specimen.file.read_exact_at(&mut specimen.image, 0).unwrap();
        specimen
    }

    fn associated(number: u64, deadline: u64) -> Vec<u8> {
        [locator(number).0.as_slice(), &deadline.to_le_bytes()].concat()
    }

    fn put(&self, store: &Store, number: u64, version: u8) -> Result<(), PutError> {
        let associated = Self::associated(number, deadline(number));
        let mut text = Wiped::new([&[0; HEAD_BYTES], plain(number, version).as_slice()].concat());
        let generator = Generator::new(self.libssl, null_mut());
        self.keys.seal(generator, &associated, &mut text).unwrap();
        store.put(&locator(number), deadline(number), NOW, 0, &text)
    }

    /// What was found under `number`, if it opens; it must not be the record of another.
    fn open(&self, number: u64, lookup: Lookup, sealed: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let Lookup::Found { deadline: until, .. } = lookup else { return Ok(None) };
        let opens_as = |number, until| {
            let (associated, mut record) =
                (Self::associated(number, until), Wiped::new(sealed.to_vec()));
            self.keys.open(self.libssl, &associated, &mut record).ok().map(<[u8]>::to_vec)
        };
        if let Some(plain) = opens_as(number, until) {
            return Ok(Some(plain));
        }
        match (0..RECORDS).find(|&n| n != number && opens_as(n, deadline(n)).is_some()) {
            Some(other) => Err(format!("{number}: found {other}")),
            None => Ok(None),
        }
    }

    pub(crate) fn image(&self) -> &[u8] {
        &self.image
    }

    /// A number in the image.
    pub(crate) fn word(&self, at: usize) -> usize {
        let word = self.image[at..].first_chunk().unwrap();
        usize::try_from(u64::from_ne_bytes(*word)).unwrap()
    }

    /// The heads of the regions.
    pub(crate) fn regions(&self) -> Range<usize> {
        HEADER_BYTES..HEADER_BYTES + self.word(40) * REGION_BYTES
    }

    /// The heads of the buckets in use: cells, floor, clock, ghosts.
    pub(crate) fn bucket_heads(&self) -> Vec<Range<usize>> {
        assert_eq!(
            (self.word(16), self.word(24)),
            (SIZE, BUCKET_BYTES),
            "the layout is another one"
        );
        let begin = self.regions().end;
        let buckets = (0..self.word(32)).map(|number| begin + number * BUCKET_BYTES);
        let heads = buckets.map(|at| at..at + BUCKET_HEAD_BYTES);
        heads.filter(|head| self.image[head.clone()].iter().any(|&byte| byte != 0)).collect()
    }

    /// The bodies in use, of removals and of sessions.
    pub(crate) fn bodies(&self) -> Vec<Range<usize>> {
        let bodies = self.bucket_heads().into_iter().flat_map(|head| {
            let (traces, slots) = (head.end, head.end + TRACES * TRACE_BYTES);
            let traces = (0..TRACES).map(move |n| (traces + n * TRACE_BYTES, TRACE_BYTES));
            let slots = (0..WAYS).map(move |n| (slots + n * SLOT_BYTES, SLOT_BYTES));
            traces.chain(slots).map(|(at, length)| at..at + length)
        });
        bodies.filter(|body| self.image[body.clone()].iter().any(|&byte| byte != 0)).collect()
    }

    /// The parts of the file in use.
    pub(crate) fn used(&self) -> Vec<Range<usize>> {
        let mut used = vec![0..HEADER_BYTES, self.regions()];
        used.extend(self.bucket_heads());
        used.extend(self.bodies());
        used
    }

    /// Changes bytes of the file.
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) {
        self.file.write_all_at(bytes, at as u64).unwrap();
    }

    pub(crate) fn set_length(&self, length: usize) {
        self.file.set_len(length as u64).unwrap();
    }

    /// Puts the file back as it was.
    pub(crate) fn restore(&self) {
        self.set_length(SIZE);
        self.write(0, &self.image);
    }

    /// Damages the file, uses it and puts it back. Once more if it was slow: that
    /// may be other work on the machine.
    pub(crate) fn check_damaged(&self, damage: impl Fn(&Specimen)) -> Result<Outcome, String> {
        let once = || {
            damage(self);
            let outcome = self.check();
            self.restore();
            outcome
        };
        match once()? {
            slow if slow.took > PATIENCE => once(),
            outcome => Ok(outcome),
        }
        .and_then(|outcome| match outcome.took {
            took if took > PATIENCE => Err(format!("it took {took:?}")),
            _ => Ok(outcome),
        })
    }

    /// Opens the file as it is now and uses it; what goes wrong, in words.
    pub(crate) fn check(&self) -> Result<Outcome, String> {
        let start = Instant::now();
        let mut outcome = Outcome::default();
        match Store::open_existing(&self.path) {
            Ok(store) => {
                read_log(&store)?;
                self.look_up_all(&store, &mut outcome)?;
                self.go_on(&store)?;
            }
            Err(error) => outcome.is_refused = !error.to_string().is_empty(),
        }
        outcome.took = start.elapsed();
        Ok(outcome)
    }

    fn look_up_all(&self, store: &Store, outcome: &mut Outcome) -> Result<(), String> {
        for number in (0..RECORDS).chain(NEVER_PUT) {
            let mut sealed = Vec::new();
            store.may_have(&locator(number));
            store.may_resume(&locator(number), SECONDS - 10, NOW);
            let lookup = store.get(&locator(number), NOW, &mut sealed);
            match (self.open(number, lookup, &sealed)?, kept(number)) {
                (Some(found), Some(kept)) if found == kept => outcome.found += 1,
                (Some(found), _) => return Err(format!("{number}: found {found:x?}")),
                (None, Some(_)) => outcome.lost += 1,
                (None, None) => {}
            }
        }
        for unknown in 200..204 {
            let mut sealed = Vec::new();
            let lookup = store.get(&locator(unknown), NOW, &mut sealed);
            if self.open(unknown, lookup, &sealed)?.is_some() {
                return Err(format!("{unknown}: found, and never put"));
            }
        }
        Ok(())
    }

    /// Takes, removes, puts.
    fn go_on(&self, store: &Store) -> Result<(), String> {
        for number in [0, 1, TAKEN, 10 + REPLACED] {
            let take = || {
                let mut sealed = Vec::new();
                let lookup = store.take(&locator(number), NOW, &mut sealed);
                self.open(number, lookup, &sealed)
            };
            match [take()?, take()?] {
                [Some(found), None] if Some(&found) == kept(number).as_ref() => {}
                [None, None] => {}
                other => return Err(format!("{number}: taken {other:x?}")),
            }
        }
        for number in [2, 4, REMOVED, 10 + TAKEN, 300] {
            store.remove(&locator(number), deadline(number), NOW);
            let mut sealed = Vec::new();
            let lookup = store.get(&locator(number), NOW, &mut sealed);
            if self.open(number, lookup, &sealed)?.is_some() {
                return Err(format!("{number}: found, and removed before"));
            }
        }
        // Known and new ones; what is put is found, or nothing.
        for number in [6, 8, 11, 301, 302] {
            let put = self.put(store, number, 3);
            let mut sealed = Vec::new();
            let lookup = store.get(&locator(number), NOW, &mut sealed);
            match self.open(number, lookup, &sealed)? {
                Some(found) if put.is_ok() && found == plain(number, 3) => {}
                Some(found) if put.is_err() && Some(&found) == kept(number).as_ref() => {}
                None => {}
                other => return Err(format!("{number}: put {put:?}, found {other:x?}")),
            }
        }
        store.counters();
        Ok(())
    }
}

/// Reads all that is untold, and again what was told before.
fn read_log(store: &Store) -> Result<(), String> {
    let mut batch = LogBatch::default();
    for _ in 0..2 {
        store.begin_reading();
        for region in 0..store.region_count() {
            store.read_log(region, NOW, &mut batch);
            let mut rest = batch.bytes.as_slice();
            for _ in 0..batch.records {
                rest = Record::split(rest).ok_or("the log ends within a record")?.1;
            }
            if !rest.is_empty() {
                return Err("the log has more than its records".to_owned());
            }
            store.note_read(&batch.told);
        }
        store.tell_again();
    }
    Ok(())
}

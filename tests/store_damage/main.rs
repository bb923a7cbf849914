//! A store file of which any byte is wrong is refused, or forgets; it does not lie, crash or hang.
//!
//! Every byte in use is changed, one at a time, in several ways. `make fuzz` changes many at once.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test")]

mod specimen;

use specimen::{Outcome, SIZE, Specimen};
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::{env, fs, process};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        let path = base.join(format!("sesscache-damage-{name}-{}", process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Folder(path)
    }

    fn specimen(&self) -> Specimen {
        Specimen::new(&self.0.join("store"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// How the changes of one part ended.
#[derive(Debug, Default)]
struct Tally {
    changes: u64,
    refused: u64,
    /// All records were still found.
    harmless: u64,
    /// One was not.
    one_lost: u64,
    more_lost: u64,
}

impl Tally {
    fn add(&mut self, outcome: Outcome) {
        self.changes += 1;
        self.refused += u64::from(outcome.is_refused);
        if !outcome.is_refused {
            let count = match outcome.lost {
                0 => &mut self.harmless,
                1 => &mut self.one_lost,
                _ => &mut self.more_lost,
            };
            *count += 1;
        }
    }
}

/// Changes the bytes of some parts of the file in each of these ways; those in which nothing is, once and in
/// a few parts.
fn change(specimen: &Specimen, parts: &[Range<usize>], ways: &[fn(u8) -> u8]) -> Tally {
    let mut tally = Tally::default();
    let places =
        parts.iter().enumerate().flat_map(|(part, bytes)| bytes.clone().map(move |at| (part, at)));
    for (part, at) in places {
        let is = specimen.image()[at];
        let most = match (is, part) {
            (0, 0..3) => 1,
            (0, _) => 0,
            _ => ways.len(),
        };
        let differs = |(_, way): &(usize, &fn(u8) -> u8)| way(is) != is;
        for (number, way) in ways.iter().enumerate().take(most).filter(differs) {
            match specimen.check_damaged(|file| file.write(at, &[way(is)])) {
                Ok(outcome) => tally.add(outcome),
                Err(wrong) => panic!("byte {at} {is:#04x}, way {number}: {wrong}"),
            }
        }
    }
    tally
}

#[test]
fn any_byte_may_be_wrong() {
    let folder = Folder::new("bytes");
    let specimen = folder.specimen();
    let sound = specimen.check().unwrap();
    assert_eq!((sound.lost, sound.is_refused), (0, false));
    assert!(sound.found >= 30);
    specimen.restore();

    let ways: [fn(u8) -> u8; 4] = [|is| !is, |is| is ^ 1, |is| is ^ 0x80, |_| 0];
    let [header, regions] = [&specimen.used()[..1], &specimen.used()[1..2]]
        .map(|parts| change(&specimen, parts, &ways[..1]));
    eprintln!("header: {header:?}");
    assert!(header.refused > 40 && header.more_lost == 0);
    eprintln!("heads of regions: {regions:?}");
    assert!(regions.harmless == regions.changes);
    let buckets = change(&specimen, &specimen.bucket_heads(), &ways);
    eprintln!("heads of buckets: {buckets:?}");
    let bodies = change(&specimen, &specimen.bodies(), &ways[..2]);
    eprintln!("bodies: {bodies:?}");
    for tally in [&buckets, &bodies] {
        assert_eq!((tally.refused, tally.more_lost), (0, 0), "a change costs one record at most");
    }
    assert!(bodies.one_lost > bodies.changes / 2, "a payload that is changed does not open");
}

#[test]
fn a_file_that_is_cut_off_or_longer_is_refused() {
    let folder = Folder::new("length");
    let specimen = folder.specimen();
    let lengths = (0..SIZE).step_by(4093).chain([1, 7, 8, 131, 132, 4095, 4096, SIZE - 1]);
    for length in lengths.chain([SIZE + 1, SIZE + 4096, 2 * SIZE, 64 * SIZE]) {
        let outcome = specimen.check_damaged(|file| file.set_length(length));
        assert!(outcome.unwrap().is_refused, "{length} bytes");
    }
    assert_eq!(specimen.check().unwrap().lost, 0);
}

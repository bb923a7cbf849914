//! A store file of which any byte is wrong is refused, or forgets; it does not lie, crash or hang.
//!
//! Every byte in use is changed, one at a time, in several ways. `make fuzz` changes many at once.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test")]

mod specimen;

use specimen::{HEADER_BYTES, Outcome, SHARD_HEAD_BYTES, SIZE, Specimen};
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
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
    waited: u64,
}

impl Tally {
    fn add(&mut self, outcome: Outcome) {
        self.changes += 1;
        self.refused += u64::from(outcome.is_refused);
        self.waited += u64::from(outcome.took > Duration::from_millis(15));
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

/// Changes each byte of a part of the file in each of these ways.
fn change(specimen: &Specimen, part: Range<usize>, ways: &[fn(u8) -> u8]) -> Tally {
    let mut tally = Tally::default();
    // Where a sound store may have been written to since; a damaged shard head leads elsewhere.
    let written = 0..specimen.ring().start + (64 << 10);
    let all = if part.start < HEADER_BYTES + SHARD_HEAD_BYTES { 0..SIZE } else { written };
    for at in part {
        let is = specimen.image()[at];
        for (number, way) in ways.iter().enumerate().filter(|(_, way)| way(is) != is) {
            match specimen.check_damaged(|file| file.write(at, &[way(is)]), all.clone()) {
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
    specimen.restore(0..SIZE);

    let ways: [fn(u8) -> u8; 4] = [|is| is ^ 1, |is| is ^ 0x80, |is| !is, |_| 0];
    let used = specimen.used();
    let (header, shard) = (used[0].clone(), used[1].clone());
    let tally = change(&specimen, header, &ways[..1]);
    eprintln!("header: {tally:?}");
    assert!(tally.refused > 60 && tally.more_lost == 0);
    let tally = change(&specimen, shard, &ways);
    eprintln!("shard head: {tally:?}");
    assert!(tally.refused == 0 && tally.waited < 20);
    let (index, ring) = used[2..].split_at(used.len() - 3);
    let mut sum = Tally::default();
    for bucket in index {
        let tally = change(&specimen, bucket.clone(), &ways);
        sum.changes += tally.changes;
        sum.harmless += tally.harmless;
        sum.one_lost += tally.one_lost;
        sum.more_lost += tally.more_lost;
    }
    eprintln!("index: {sum:?}");
    let tally = change(&specimen, ring[0].clone(), &ways[..2]);
    eprintln!("ring: {tally:?}");
    assert!(tally.one_lost > tally.changes / 2, "a changed payload costs its record alone");
}

/// glibc ends the process over some kinds of mutexes that are held by nobody there is, and waits
/// without end for others.
#[test]
fn a_lock_may_be_of_any_kind_and_anybodys() {
    const MUTEX: usize = HEADER_BYTES;
    const KIND: usize = HEADER_BYTES + 16;
    let folder = Folder::new("locks");
    let specimen = folder.specimen();
    let is = specimen.image()[KIND];
    assert_eq!(is, 0x90, "not robust, or not for several processes");
    for word in [0, 1, 0x3FFF_FFFE, 0x4000_0000, 0x4000_0001, 0x8000_0001, u32::MAX] {
        for kind in 0..=u8::MAX {
            let damage = |file: &Specimen| {
                file.write(MUTEX, &word.to_ne_bytes());
                file.write(KIND, &[kind]);
            };
            let outcome = specimen.check_damaged(damage, 0..SIZE);
            let outcome = outcome.unwrap_or_else(|wrong| panic!("{word:#x} {kind}: {wrong}"));
            // A lock that is not one, or not to be had, is as if nothing were there.
            assert!(kind == is || outcome.found == 0, "{word:#x} {kind}: {outcome:?}");
        }
    }
}

#[test]
fn a_file_that_is_cut_off_or_longer_is_refused() {
    let folder = Folder::new("length");
    let specimen = folder.specimen();
    let lengths = (0..SIZE).step_by(4093).chain([1, 7, 8, 131, 132, 4095, 4096, SIZE - 1]);
    for length in lengths.chain([SIZE + 1, SIZE + 4096, 2 * SIZE, 64 * SIZE]) {
        let outcome = specimen.check_damaged(|file| file.set_length(length), 0..SIZE);
        assert!(outcome.unwrap().is_refused, "{length} bytes");
    }
    assert_eq!(specimen.check().unwrap().lost, 0);
}

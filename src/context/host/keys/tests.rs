//! Key rings: who replaces keys while others use them, and ratchets by a clock of the test.

use super::*;
use crate::openssl::generator::Generator;
use crate::openssl::libssl::libssl_in_test;
use crate::seal::HEAD_BYTES;
use sesscache_core::slots::{Generation, Replacement};
use sesscache_core::system::wipe::Wiped;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::{fs, process, ptr, thread};

fn open(keys: &Keys, sealed: &[u8]) -> Option<()> {
    let mut record = Wiped::new(sealed.to_vec());
    keys.open(libssl_in_test(), b"name", &mut record).ok().map(|_| ())
}

fn seal(keys: &Keys) -> Option<Vec<u8>> {
    let mut text = Wiped::new([[0; HEAD_BYTES].as_slice(), b"plain"].concat());
    let generator = Generator::new(libssl_in_test(), ptr::null_mut());
    keys.seal(generator, b"name", &mut text).ok().map(|()| text.to_vec())
}

fn put_at(ring: &KeyRing, generation: Generation) -> Replacement {
    let other = KeyRing::random().unwrap();
    let keys = other.material.using(|now| now.derive_late(libssl_in_test(), other.moment()));
    ring.material.put(generation, keys.unwrap().unwrap().unwrap())
}

fn put(ring: &KeyRing) -> Replacement {
    put_at(ring, ring.material.generation())
}

#[test]
fn keys_that_come_late_change_nothing() {
    let ring = KeyRing::random().unwrap();
    let generation = ring.material.generation();
    ring.refresh(libssl_in_test());
    let sealed = ring.with_keys(libssl_in_test(), seal).unwrap();
    assert_eq!(put_at(&ring, generation), Replacement::Late);
    assert_eq!(ring.with_keys(libssl_in_test(), |keys| open(keys, &sealed)), Some(()));
}

#[test]
fn what_was_read_is_derived_from_and_forgotten() {
    let ring = KeyRing::random().unwrap();
    assert_eq!(ring.with_keys(libssl_in_test(), seal), None);
    ring.refresh(libssl_in_test());
    let (sealed, generation) = (ring.with_keys(libssl_in_test(), seal).unwrap(), ring.generation());
    assert_eq!(ring.material.using(|now| now.file_keys.len()), Ok(0));
    ring.refresh(libssl_in_test());
    assert_eq!(ring.with_keys(libssl_in_test(), |keys| open(keys, &sealed)), Some(()));
    assert_eq!(ring.generation(), generation);
}

#[test]
fn keys_in_use_are_good_until_they_have_been_used() {
    let ring = KeyRing::random().unwrap();
    ring.refresh(libssl_in_test());
    let sealed = ring.with_keys(libssl_in_test(), seal).unwrap();
    ring.with_keys(libssl_in_test(), |keys| {
        assert_eq!(put(&ring), Replacement::Done);
        assert_eq!(ring.with_keys(libssl_in_test(), |new| open(new, &sealed)), None);
        open(keys, &sealed)
    })
    .unwrap();
}

#[test]
fn nobody_misses_keys_while_they_change() {
    let ring = KeyRing::random().unwrap();
    ring.refresh(libssl_in_test());
    let is_over = AtomicBool::new(false);
    let work = || {
        let mut used = 0;
        while !is_over.load(Relaxed) {
            let sealed = ring.with_keys(libssl_in_test(), seal);
            used += usize::from(sealed.is_some_and(|sealed| !sealed.is_empty()));
            assert!(ring.with_ticket_secrets(|secrets| secrets.first().map(drop)).is_some());
            used -= 1;
        }
        used
    };
    thread::scope(|scope| {
        let workers = [(); 3].map(|()| scope.spawn(work));
        for _ in 0..300 {
            assert_eq!(put(&ring), Replacement::Done);
        }
        is_over.store(true, Relaxed);
        assert_eq!(workers.map(|worker| worker.join().unwrap()), [0; 3]);
    });
}

/// A key file for one test, taken away at its end.
struct TestFile(PathBuf);

impl TestFile {
    fn new(name: &str, text: &str) -> TestFile {
        let name = format!("sesscache-keys-{name}-{}", process::id());
        let file = TestFile(std::env::temp_dir().join(name));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        let new = self.0.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).mode(0o600).open(&new).unwrap();
        writeln!(file, "{text}").unwrap();
        fs::rename(&new, &self.0).unwrap();
    }

    fn ring(&self) -> KeyRing {
        KeyRing::of_file(self.0.clone()).unwrap()
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

/// Other threads reload at the same time.
#[test]
fn every_change_of_the_file_is_seen() {
    let file = TestFile::new("changes", &format!("{:064x}", 1));
    let write = |number: u32| file.write(&format!("{number:064x}"));
    let ring = file.ring();
    let is_over = AtomicBool::new(false);
    let mut missed = 0;
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    ring.refresh(libssl_in_test());
                }
            });
        }
        ring.refresh(libssl_in_test());
        for number in 2..300 {
            let sealed = ring.with_keys(libssl_in_test(), seal).unwrap();
            write(number);
            ring.refresh(libssl_in_test());
            missed +=
                usize::from(ring.with_keys(libssl_in_test(), |keys| open(keys, &sealed)).is_some());
        }
        is_over.store(true, Relaxed);
    });
    assert_eq!(missed, 0);
}

const KEPT: u32 = 4;

fn moment(epoch: u32) -> Moment {
    Moment { epoch: Epoch(epoch), kept: KEPT }
}

/// The line of a ratchet whose state in epoch 1000 is all `byte`.
fn line(byte: u8, epoch: u32) -> String {
    let mut key = FileKey { secret: Secret::new([byte; KEY_BYTES]), epoch: Some(Epoch(1000)) };
    let libssl = libssl_in_test();
    let step = |state: &[u8; KEY_BYTES], next: &mut [u8; KEY_BYTES]| {
        hkdf_sha256(libssl, state, sesscache_core::key_file::epoch::STEP_INFO, next)
    };
    sesscache_core::key_file::epoch::step(&mut key.secret, epoch - 1000, step).unwrap();
    let digits = key.secret.bytes().map(|byte| format!("{byte:02x}")).concat();
    format!("{epoch}:{digits} 2026-11-28")
}

/// A ring of a file, and what it seals and opens by a clock of its own.
struct Clocked {
    ring: KeyRing,
    clock: u32,
}

impl Clocked {
    fn new(file: &TestFile, clock: u32) -> Clocked {
        let ring = file.ring();
        ring.refresh_at(libssl_in_test(), moment(clock));
        Clocked { ring, clock }
    }

    fn at(&mut self, clock: u32) -> &mut Clocked {
        self.clock = clock;
        self
    }

    fn reload(&mut self) -> &mut Clocked {
        self.ring.refresh_at(libssl_in_test(), moment(self.clock));
        self
    }

    fn with<T>(&self, use_them: impl FnOnce(&Keys) -> Option<T>) -> Option<T> {
        self.ring.step(libssl_in_test(), moment(self.clock));
        self.ring.material.using(|now| now.keys.as_ref().and_then(use_them)).unwrap()
    }

    /// A record and a ticket's secret, sealed now.
    fn seal(&self) -> (Vec<u8>, [u8; KEY_BYTES]) {
        let record = self.with(seal).unwrap();
        let ticket = |secrets: &[EpochSecret]| secrets.first().map(|one| *one.secret.bytes());
        (record, self.ring.with_ticket_secrets(ticket).unwrap())
    }

    /// Whether it opens both; a record and a ticket never differ.
    fn opens(&self, (record, ticket): &(Vec<u8>, [u8; KEY_BYTES])) -> bool {
        let is_open = self.with(|keys| open(keys, record)).is_some();
        let has_ticket =
            |secrets: &[EpochSecret]| Some(secrets.iter().any(|one| one.secret.bytes() == ticket));
        assert_eq!(self.ring.with_ticket_secrets(has_ticket), Some(is_open));
        is_open
    }

    /// The epoch of the state in memory.
    fn state(&self) -> Option<u32> {
        let first = |now: &Material| now.file_keys.first().and_then(|key| key.epoch);
        self.ring.material.using(first).unwrap().map(|epoch| epoch.0)
    }
}

/// The file is never rewritten, and the memory alone goes on.
#[test]
fn in_thirty_days_each_epoch_has_its_key_and_old_ones_are_gone() {
    let file = TestFile::new("days", &line(1, 1000));
    let mut server = Clocked::new(&file, 1000);
    let mut sealed = vec![server.seal()];
    for epoch in 1001..=1120 {
        server.at(epoch);
        sealed.push(server.seal());
        assert_eq!(server.state(), Some(1000.max(epoch - KEPT)));
        for (one, of) in sealed.iter().zip(1000..) {
            assert_eq!(server.opens(one), of + KEPT >= epoch, "{of} in {epoch}");
        }
    }
    let generation = server.ring.generation();
    assert!(server.opens(&server.seal()));
    assert_eq!(server.ring.generation(), generation, "one step an epoch");
}

/// A stolen file opens from its state on, with whatever clock.
#[test]
fn a_file_opens_nothing_before_its_state() {
    let file = TestFile::new("stolen", &line(1, 1000));
    let mut server = Clocked::new(&file, 1000);
    let sealed: Vec<_> = (1000..1010).map(|epoch| server.at(epoch).seal()).collect();
    file.write(&line(1, 1006));
    for clock in 0..1020 {
        let thief = Clocked::new(&file, clock);
        assert!(!sealed[..6].iter().any(|one| thief.opens(one)), "{clock}");
    }
    assert!(Clocked::new(&file, 1006).opens(&sealed[6]));
}

#[test]
fn a_host_that_was_off_for_a_week_agrees_with_the_others() {
    let (file, other) = (TestFile::new("off", &line(1, 1000)), TestFile::new("on", &line(1, 1024)));
    let (host, others) = (Clocked::new(&file, 1028), Clocked::new(&other, 1028));
    assert!(host.opens(&others.seal()) && others.opens(&host.seal()));
}

#[test]
fn clocks_an_epoch_apart_agree() {
    let file = TestFile::new("apart", &line(1, 1000));
    let (slow, fast) = (Clocked::new(&file, 1010), Clocked::new(&file, 1011));
    assert!(slow.opens(&fast.seal()) && fast.opens(&slow.seal()));
}

#[test]
fn a_wrong_clock_and_back_loses_nothing() {
    let file = TestFile::new("clock", &line(1, 1000));
    let mut server = Clocked::new(&file, 1002);
    let sealed = server.seal();
    // A year ahead, and before the state.
    for wrong in [1002 + 4 * 366, 0, 999] {
        let then = server.at(wrong).seal();
        assert!(server.opens(&then));
        assert_eq!(server.state(), Some(1000), "{wrong}");
        assert!(server.at(1002).opens(&sealed));
    }
    assert!(server.at(1003).opens(&sealed));
}

/// Else a machine that slept for long would keep its old state for ever.
#[test]
fn a_clock_that_goes_on_after_a_jump_is_right() {
    let file = TestFile::new("slept", &line(1, 1000));
    let mut server = Clocked::new(&file, 1002);
    server.at(1500).seal();
    assert_eq!(server.state(), Some(1000));
    server.at(1501).seal();
    assert_eq!(server.state(), Some(1501 - KEPT));
}

#[test]
fn a_rewritten_file_takes_nothing_away() {
    let file = TestFile::new("rewritten", &line(1, 1000));
    let mut server = Clocked::new(&file, 1000);
    let sealed = server.seal();
    for (epoch, written) in [(1001, 1001), (1002, 1002), (1003, 1003), (1004, 1003)] {
        file.write(&line(1, written));
        assert!(server.at(epoch).reload().opens(&sealed), "{epoch}");
    }
    file.write(&line(1, 1005));
    assert!(!server.at(1005).reload().opens(&sealed), "it was older than is needed");
    assert_eq!(server.state(), Some(1001));
}

#[test]
fn a_half_written_file_changes_nothing() {
    let file = TestFile::new("half", &line(1, 1000));
    let mut server = Clocked::new(&file, 1000);
    let sealed = server.seal();
    let whole = line(1, 1001);
    for length in [0, 3, 5, 30, 68] {
        file.write(&whole[..length]);
        assert!(server.at(1001).reload().opens(&sealed), "{length}");
    }
    file.write(&whole);
    assert!(server.reload().opens(&sealed));
}

#[test]
fn a_new_key_replaces_an_old_one_and_steps_too() {
    let file = TestFile::new("rotated", &format!("{}\n{:064x}", line(1, 1000), 7));
    let mut server = Clocked::new(&file, 1000);
    let old = server.seal();
    file.write(&format!("{}\n{}\n{:064x}", line(2, 1001), line(1, 1000), 7));
    assert!(server.at(1001).reload().opens(&old));
    let new = server.seal();
    assert!(server.at(1004).opens(&old) && server.opens(&new));
    assert!(!server.at(1005).opens(&old) && server.opens(&new));
    file.write(&line(2, 1001));
    assert!(server.reload().opens(&new));
}

#[test]
fn a_context_that_needs_more_gets_what_the_file_has() {
    let file = TestFile::new("more", &line(1, 1000));
    let mut server = Clocked::new(&file, 1000);
    let sealed = server.seal();
    let server_later = Clocked::new(&file, 1010);
    assert!(!server_later.opens(&sealed));
    let more = Moment { kept: 10, ..moment(1010) };
    server_later.ring.epoch.store(NEVER, Relaxed);
    server_later.ring.step(libssl_in_test(), more);
    assert!(
        server_later
            .ring
            .material
            .using(|now| now.keys.as_ref().and_then(|keys| open(keys, &sealed.0)))
            .unwrap()
            .is_some()
    );
    assert!(server.at(1001).opens(&sealed));
}

#[test]
fn plain_keys_do_not_step() {
    let file = TestFile::new("plain", &format!("{:064x}", 7));
    let mut server = Clocked::new(&file, 1000);
    let (sealed, generation) = (server.seal(), server.ring.generation());
    for epoch in [1001, 5000, 0] {
        assert!(server.at(epoch).opens(&sealed));
    }
    assert_eq!((server.ring.generation(), server.state()), (generation, None));
}

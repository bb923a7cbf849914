//! The keys of a key file, read when it is first needed and again when it has changed.
//!
//! It is read before libcrypto may be in the process, and derived from later; of the file's own
//! secrets nothing stays. New keys are put beside those in use, which are wiped by the last that
//! uses them: a handshake never waits for a reload, nor a reload for handshakes.
//!
//! Locks: one for each place that keys can be in, held while something is sealed or opened and
//! while keys are put in, never while the file is read. They are tried, a bounded number of times:
//! a fork may have left one held for ever, and that place is then lost.

use crate::log::Once;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::kdf::hkdf_sha256;
use crate::openssl::table::Libssl;
use crate::seal::Keys;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use sesscache_core::key_file::{self, FileVersion, KEY_BYTES, KeyFileError, Secret};
use sesscache_core::system::process::random_bytes;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{AcqRel, Acquire, SeqCst};
use std::sync::atomic::{AtomicU64, fence};
use std::thread::yield_now;
use std::{array, fmt, mem};
use zeroize::Zeroizing;

/// What ticket keys are made of, see `tickets`.
const TICKET_INFO: &[u8] = b"sesscache ticket 1";

/// How many sets of keys there can be: one in use, one being put in, and some that a thread has not
/// done with.
const PLACES: u64 = ALL as u64;
const ALL: usize = 8;

/// The keys of a file, or of this process and those that it forks.
#[derive(Debug)]
pub(in crate::context) struct KeyRing {
    /// `None`: a random key.
    path: Option<PathBuf>,
    places: [RwLock<Material>; ALL],
    /// How often the keys have changed, times [`PLACES`], plus the place of those in use. That
    /// place is locked for writing by nobody, but for the moment in which a thread that took it for
    /// an old one sees that it is not: whoever puts keys in holds it for reading by then.
    current: AtomicU64,
}

/// What became of new keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    Done,
    /// Another thread has put in others.
    Late,
    /// There are none, or every other place is locked and stays so.
    Not,
}

#[derive(Default)]
struct Material {
    /// What it was read from.
    version: Option<FileVersion>,
    /// Read, and not yet derived from.
    secrets: Vec<Secret>,
    keys: Option<Keys>,
    ticket_secrets: Vec<Zeroizing<[u8; KEY_BYTES]>>,
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Material")
    }
}

/// Why there are no keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRingError {
    /// A reload may happen in another folder.
    Path(PathBuf),
    /// The file cannot be used.
    File(PathBuf, KeyFileError),
    /// No randomness for a key.
    NoRandom,
}

impl fmt::Display for KeyRingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyRingError::Path(path) => {
                write!(f, "SESSCACHE_KEY_FILE={} is not a path from /", path.display())
            }
            KeyRingError::File(path, error) => write!(f, "key file {}: {error}", path.display()),
            KeyRingError::NoRandom => write!(f, "the system gives no random bytes for a key"),
        }
    }
}

impl KeyRing {
    /// The keys of a file.
    pub(in crate::context) fn of_file(path: PathBuf) -> Result<KeyRing, KeyRingError> {
        if !path.is_absolute() {
            return Err(KeyRingError::Path(path));
        }
        let (secrets, version) = read(&path)?;
        Ok(KeyRing::new(Some(path), secrets, Some(version)))
    }

    /// One key that nobody else has.
    pub(in crate::context) fn random() -> Result<KeyRing, KeyRingError> {
        let mut secrets = vec![Secret::new([0; KEY_BYTES])];
        // In its place: a copy would not be wiped.
        if secrets.iter_mut().all(|secret| random_bytes(secret.bytes_mut())) {
            Ok(KeyRing::new(None, secrets, None))
        } else {
            Err(KeyRingError::NoRandom)
        }
    }

    fn new(path: Option<PathBuf>, secrets: Vec<Secret>, version: Option<FileVersion>) -> KeyRing {
        let mut first = Some(Material { version, secrets, ..Material::default() });
        let places = array::from_fn(|_| RwLock::new(first.take().unwrap_or_default()));
        KeyRing { path, places, current: AtomicU64::new(0) }
    }

    /// Reads the file again if it has changed, as when a server reloads. One that cannot be read
    /// any more (a chroot, another user) leaves the keys as they are.
    pub(in crate::context) fn refresh(&self, next: &'static Libssl) {
        // As often as another thread puts keys in meanwhile: they may be older than what the file
        // holds now.
        const ROUNDS: u32 = 8;
        let _ = (0..ROUNDS).any(|_| self.renew(next) != Put::Late);
    }

    fn renew(&self, next: &'static Libssl) -> Put {
        static UNREADABLE: Once = Once::new();
        static UNUSABLE: Once = Once::new();
        let generation = self.generation();
        let mut made = None;
        if let Some(path) = &self.path
            && let found @ Some(_) = key_file::version(path)
            && self.using(|now| now.version != found).unwrap_or(true)
        {
            match read(path) {
                Ok((secrets, version)) => {
                    made = Some(Material::derive(next, &secrets, Some(version)));
                }
                Err(error) => {
                    UNREADABLE.say(format_args!("{error}; the keys read before are used"));
                }
            }
        }
        match made.or_else(|| self.using(|now| now.derive_late(next))?) {
            Some(Some(material)) => self.put(generation, material),
            Some(None) => {
                UNUSABLE.say(
                    "this libcrypto has no AES-256-GCM or no memory for keys: no session is shared",
                );
                Put::Not
            }
            None => Put::Not,
        }
    }

    /// What `use_them` makes of the keys; `None` if there are none.
    pub(in crate::context) fn with_keys<T>(
        &self,
        use_them: impl FnOnce(&Keys) -> Option<T>,
    ) -> Option<T> {
        self.using(|now| use_them(now.keys.as_ref()?))?
    }

    /// What ticket keys are made of, newest first, as [`KeyRing::with_keys`].
    pub(in crate::context) fn with_ticket_secrets<T>(
        &self,
        use_them: impl FnOnce(&[Zeroizing<[u8; KEY_BYTES]>]) -> Option<T>,
    ) -> Option<T> {
        self.using(|now| use_them(&now.ticket_secrets))?
    }

    /// A number that is another one when the keys have changed.
    pub(in crate::context) fn generation(&self) -> u64 {
        self.current.load(Acquire)
    }

    /// What `use_it` makes of what is in use now. `None` only if a fork has left it locked.
    fn using<T>(&self, use_it: impl FnOnce(&Material) -> T) -> Option<T> {
        let (place, material) = soon(|| self.hold())?;
        let result = use_it(&material);
        drop(material);
        self.wipe(place);
        Some(result)
    }

    fn hold(&self) -> Option<(u64, RwLockReadGuard<'_, Material>)> {
        let place = self.place();
        let material = self.lock_of(place)?.try_read()?;
        if self.place() == place {
            return Some((place, material));
        }
        drop(material);
        self.wipe(place);
        None
    }

    /// Makes this what is used, if it still is that generation which is in use.
    fn put(&self, generation: u64, material: Material) -> Put {
        let mut material = Some(material);
        let mut put_somewhere =
            || (0..PLACES).find_map(|place| self.put_at(place, generation, &mut material));
        soon(&mut put_somewhere).unwrap_or(Put::Not)
    }

    fn put_at(&self, place: u64, generation: u64, material: &mut Option<Material>) -> Option<Put> {
        let mut free = self.lock_of(place)?.try_write()?;
        // Under its lock: it does not become the one in use now.
        if self.place() == place {
            return None;
        }
        *free = material.take()?;
        let held = RwLockWriteGuard::downgrade(free);
        let next = (generation / PLACES + 1) * PLACES + place;
        let put = self.current.compare_exchange(generation, next, AcqRel, Acquire);
        drop(held);
        if put.is_ok() {
            self.wipe(generation % PLACES);
            Some(Put::Done)
        } else {
            self.wipe(place);
            Some(Put::Late)
        }
    }

    /// Takes away what is not in use any more, unless another thread has it locked: that one comes
    /// here when it has done with it.
    fn wipe(&self, place: u64) {
        // Either the one that put new keys in sees the other's lock open, or the other sees that
        // there are new ones.
        fence(SeqCst);
        if self.place() == place {
            return;
        }
        if let Some(mut old) = self.lock_of(place).and_then(RwLock::try_write)
            && self.place() != place
        {
            drop(mem::take(&mut *old));
        }
    }

    fn place(&self) -> u64 {
        self.current.load(Acquire) % PLACES
    }

    fn lock_of(&self, place: u64) -> Option<&RwLock<Material>> {
        self.places.get(usize::try_from(place).ok()?)
    }
}

impl Material {
    /// Makes of secrets what is used. `None` without memory or algorithms.
    fn derive(
        next: &'static Libssl,
        secrets: &[Secret],
        version: Option<FileVersion>,
    ) -> Option<Material> {
        let _errors = KeepErrors::new(next);
        let keys = Some(Keys::derive(next, secrets).ok()?);
        let mut ticket_secrets = Vec::new();
        ticket_secrets.try_reserve_exact(secrets.len()).ok()?;
        for secret in secrets {
            ticket_secrets.push(Zeroizing::new([0; KEY_BYTES]));
            hkdf_sha256(next, secret.bytes(), TICKET_INFO, ticket_secrets.last_mut()?).ok()?;
        }
        Some(Material { version, secrets: Vec::new(), keys, ticket_secrets })
    }

    /// The same of those that were read before there was a libcrypto; `None` if there are none.
    fn derive_late(&self, next: &'static Libssl) -> Option<Option<Material>> {
        let derive = || Material::derive(next, &self.secrets, self.version.clone());
        (!self.secrets.is_empty()).then(derive)
    }
}

/// Tries until it succeeds, but not for ever.
fn soon<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    const TRIES: u32 = 1000;
    attempt().or_else(|| {
        (0..TRIES).find_map(|_| {
            yield_now();
            attempt()
        })
    })
}

fn read(path: &Path) -> Result<(Vec<Secret>, FileVersion), KeyRingError> {
    key_file::read(path).map_err(|error| KeyRingError::File(path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openssl::libssl::libssl_in_test;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;
    use std::{fs, process, thread};

    /// Places that hold anything.
    fn filled(ring: &KeyRing) -> usize {
        let is_filled = |place: &&RwLock<Material>| {
            let material = place.try_read().unwrap();
            material.keys.is_some() || !material.secrets.is_empty()
        };
        ring.places.iter().filter(is_filled).count()
    }

    fn open(keys: &Keys, sealed: &[u8]) -> Option<()> {
        keys.open(libssl_in_test(), b"name", sealed).ok().map(drop)
    }

    fn seal(keys: &Keys) -> Option<Vec<u8>> {
        let mut sealed = Vec::new();
        keys.seal(libssl_in_test(), b"name", b"plain", &mut sealed).ok().map(|()| sealed)
    }

    fn put(ring: &KeyRing) -> Put {
        let material = KeyRing::random().unwrap().using(|now| now.derive_late(libssl_in_test()));
        ring.put(ring.generation(), material.flatten().flatten().unwrap())
    }

    #[test]
    fn who_comes_late_has_changed_nothing() {
        let ring = KeyRing::random().unwrap();
        let generation = ring.generation();
        ring.refresh(libssl_in_test());
        let sealed = ring.with_keys(seal).unwrap();
        let material = KeyRing::random().unwrap().using(|now| now.derive_late(libssl_in_test()));
        assert_eq!(ring.put(generation, material.flatten().flatten().unwrap()), Put::Late);
        assert_eq!(ring.with_keys(|keys| open(keys, &sealed)), Some(()));
        assert_eq!(filled(&ring), 1);
    }

    #[test]
    fn what_was_read_is_derived_from_and_forgotten() {
        let ring = KeyRing::random().unwrap();
        assert_eq!((ring.with_keys(seal), filled(&ring)), (None, 1));
        ring.refresh(libssl_in_test());
        let (sealed, generation) = (ring.with_keys(seal).unwrap(), ring.generation());
        assert_eq!((ring.using(|now| now.secrets.len()), filled(&ring)), (Some(0), 1));
        ring.refresh(libssl_in_test());
        assert_eq!(ring.with_keys(|keys| open(keys, &sealed)), Some(()));
        assert_eq!(ring.generation(), generation);
    }

    #[test]
    fn keys_in_use_are_good_until_they_have_been_used() {
        let ring = KeyRing::random().unwrap();
        ring.refresh(libssl_in_test());
        let sealed = ring.with_keys(seal).unwrap();
        ring.with_keys(|keys| {
            assert_eq!(put(&ring), Put::Done);
            assert_eq!(filled(&ring), 2);
            assert_eq!(ring.with_keys(|new| open(new, &sealed)), None);
            open(keys, &sealed)
        })
        .unwrap();
        assert_eq!(filled(&ring), 1);
    }

    /// As a fork leaves them in the child when other threads of the parent hold them.
    #[test]
    fn places_locked_for_ever_do_not_stop_a_reload() {
        let ring = KeyRing::random().unwrap();
        ring.refresh(libssl_in_test());
        for stuck in 1..PLACES {
            mem::forget(ring.hold().unwrap());
            let sealed = ring.with_keys(seal).unwrap();
            assert_eq!(put(&ring), Put::Done, "{stuck} places are locked");
            assert_eq!(ring.with_keys(|keys| open(keys, &sealed)), None);
        }
        assert_eq!(put(&ring), Put::Not);
        assert!(ring.with_keys(seal).is_some());
    }

    #[test]
    fn nobody_misses_keys_while_they_change() {
        let ring = KeyRing::random().unwrap();
        ring.refresh(libssl_in_test());
        let is_over = AtomicBool::new(false);
        let work = || {
            let mut used = 0;
            while !is_over.load(Relaxed) {
                let sealed = ring.with_keys(seal);
                used += usize::from(sealed.is_some_and(|sealed| !sealed.is_empty()));
                assert!(ring.with_ticket_secrets(|secrets| secrets.first().map(drop)).is_some());
                used -= 1;
            }
            used
        };
        thread::scope(|scope| {
            let workers = [(); 3].map(|()| scope.spawn(work));
            for _ in 0..300 {
                assert_eq!(put(&ring), Put::Done);
            }
            is_over.store(true, Relaxed);
            assert_eq!(workers.map(|worker| worker.join().unwrap()), [0; 3]);
        });
        assert_eq!(filled(&ring), 1);
    }

    /// Other threads reload at the same time.
    #[test]
    fn every_change_of_the_file_is_seen() {
        let path = std::env::temp_dir().join(format!("sesscache-keys-{}", process::id()));
        let write = |number: u32| {
            use std::io::Write;
            use std::os::unix::fs::OpenOptionsExt;
            let new = path.with_extension("new");
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create(true).mode(0o600).open(&new).unwrap();
            writeln!(file, "{number:064x}").unwrap();
            fs::rename(&new, &path).unwrap();
        };
        write(1);
        let ring = KeyRing::of_file(path.clone()).unwrap();
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
                let sealed = ring.with_keys(seal).unwrap();
                write(number);
                ring.refresh(libssl_in_test());
                missed += usize::from(ring.with_keys(|keys| open(keys, &sealed)).is_some());
            }
            is_over.store(true, Relaxed);
        });
        fs::remove_file(&path).unwrap();
        assert_eq!((missed, filled(&ring)), (0, 1));
    }
}

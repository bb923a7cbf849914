//! The keys of a key file, read when it is first needed and again when it has changed.
//!
//! The file is read before libcrypto may be in the process, and keys are derived from it later.
//! After that, none of the file's own secrets stays in memory. New keys replace those in use, which
//! the last of their users wipes: `sesscache_core::slots` has the protocol.
//!
//! No locks but those of the slots. The file is never read while one is held.

use crate::log::Once;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::failed::Failed;
use crate::openssl::kdf::hkdf_sha256;
use crate::openssl::table::Libssl;
use crate::seal::Keys;
use sesscache_core::key_file::{self, FileVersion, KEY_BYTES, KeyFileError, Secret};
use sesscache_core::slots::Slots;
use sesscache_core::system::process::random_bytes;
use std::fmt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What ticket keys are made of, see `tickets`.
const TICKET_INFO: &[u8] = b"sesscache ticket 1";

/// The keys of a file, or of this process and those that it forks.
#[derive(Debug)]
pub(in crate::context) struct KeyRing {
    /// `None`: a random key.
    path: Option<PathBuf>,
    material: Slots<Material>,
}

/// A file's secrets before, and its keys after there is a libcrypto.
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
        let material = Slots::new(Material { version, secrets, ..Material::default() });
        KeyRing { path, material }
    }

    /// Reads the file again if it has changed, as when a server reloads. One that cannot be read
    /// any more (a chroot, another user) leaves the keys as they are.
    pub(in crate::context) fn refresh(&self, libssl: &'static Libssl) {
        self.material.update(|| self.renewed(libssl));
    }

    /// New keys, if the file has changed, or if its secrets were read before there was a libcrypto.
    fn renewed(&self, libssl: &'static Libssl) -> Option<Material> {
        static UNUSABLE: Once = Once::new();
        let derived = match self.read_again() {
            Some((secrets, version)) => Material::derive(libssl, &secrets, Some(version)),
            None => self.material.using(|now| now.derive_late(libssl)).ok().flatten()?,
        };
        let say = |_: &Failed| {
            UNUSABLE.say(
                "this libcrypto has no AES-256-GCM or no memory for keys: no session is shared",
            );
        };
        derived.inspect_err(say).ok()
    }

    /// The secrets of the file, if it has changed since it was read.
    fn read_again(&self) -> Option<(Vec<Secret>, FileVersion)> {
        static UNREADABLE: Once = Once::new();
        let path = self.path.as_deref()?;
        let found = Some(key_file::version(path)?);
        if self.material.using(|now| now.version == found) == Ok(true) {
            return None;
        }
        let say = |error: &KeyRingError| {
            UNREADABLE.say(format_args!("{error}; the keys read before are used"));
        };
        read(path).inspect_err(say).ok()
    }

    /// The result of `use_them` on the keys; `None` if there are none.
    pub(in crate::context) fn with_keys<T>(
        &self,
        use_them: impl FnOnce(&Keys) -> Option<T>,
    ) -> Option<T> {
        self.material.using(|now| now.keys.as_ref().and_then(use_them)).ok().flatten()
    }

    /// The same on the secrets of ticket keys, newest first.
    pub(in crate::context) fn with_ticket_secrets<T>(
        &self,
        use_them: impl FnOnce(&[Zeroizing<[u8; KEY_BYTES]>]) -> Option<T>,
    ) -> Option<T> {
        self.material.using(|now| use_them(&now.ticket_secrets)).ok().flatten()
    }

    /// A number that is another one when the keys have changed.
    pub(in crate::context) fn generation(&self) -> u64 {
        self.material.generation().number()
    }
}

impl Material {
    /// The keys of these secrets.
    fn derive(
        libssl: &'static Libssl,
        secrets: &[Secret],
        version: Option<FileVersion>,
    ) -> Result<Material, Failed> {
        let _errors = KeepErrors::new(libssl);
        let keys = Some(Keys::derive(libssl, secrets)?);
        let mut ticket_secrets = Vec::new();
        ticket_secrets.try_reserve_exact(secrets.len()).map_err(|_| Failed::NoMemory)?;
        for secret in secrets {
            // In its place: a copy would not be wiped.
            ticket_secrets.push(Zeroizing::new([0; KEY_BYTES]));
            let place = ticket_secrets.last_mut().ok_or(Failed::NoMemory)?;
            hkdf_sha256(libssl, secret.bytes(), TICKET_INFO, place)?;
        }
        Ok(Material { version, secrets: Vec::new(), keys, ticket_secrets })
    }

    /// The keys of the secrets that were read before there was a libcrypto; `None` if there are
    /// none such.
    fn derive_late(&self, libssl: &'static Libssl) -> Option<Result<Material, Failed>> {
        let derive = || Material::derive(libssl, &self.secrets, self.version.clone());
        (!self.secrets.is_empty()).then(derive)
    }
}

fn read(path: &Path) -> Result<(Vec<Secret>, FileVersion), KeyRingError> {
    key_file::read(path).map_err(|error| KeyRingError::File(path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openssl::libssl::libssl_in_test;
    use sesscache_core::slots::{Generation, Replacement};
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;
    use std::{fs, process, thread};

    fn open(keys: &Keys, sealed: &[u8]) -> Option<()> {
        keys.open(libssl_in_test(), b"name", sealed).ok().map(drop)
    }

    fn seal(keys: &Keys) -> Option<Vec<u8>> {
        let mut sealed = Vec::new();
        keys.seal(libssl_in_test(), b"name", b"plain", &mut sealed).ok().map(|()| sealed)
    }

    fn put_at(ring: &KeyRing, generation: Generation) -> Replacement {
        let other = KeyRing::random().unwrap();
        let keys = other.material.using(|now| now.derive_late(libssl_in_test()));
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
        let sealed = ring.with_keys(seal).unwrap();
        assert_eq!(put_at(&ring, generation), Replacement::Late);
        assert_eq!(ring.with_keys(|keys| open(keys, &sealed)), Some(()));
    }

    #[test]
    fn what_was_read_is_derived_from_and_forgotten() {
        let ring = KeyRing::random().unwrap();
        assert_eq!(ring.with_keys(seal), None);
        ring.refresh(libssl_in_test());
        let (sealed, generation) = (ring.with_keys(seal).unwrap(), ring.generation());
        assert_eq!(ring.material.using(|now| now.secrets.len()), Ok(0));
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
            assert_eq!(put(&ring), Replacement::Done);
            assert_eq!(ring.with_keys(|new| open(new, &sealed)), None);
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
                assert_eq!(put(&ring), Replacement::Done);
            }
            is_over.store(true, Relaxed);
            assert_eq!(workers.map(|worker| worker.join().unwrap()), [0; 3]);
        });
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
        assert_eq!(missed, 0);
    }
}

//! The keys of a key file, read when it is first needed and again when it has changed.
//!
//! The file is read before libcrypto may be in the process, and keys are derived from it later.
//! After that, none of the file's own secrets stays in memory, unless one is a ratchet. Its state is
//! kept, and stepped on at the first use in a new epoch. Until then the old keys do, because they
//! include those of the next epoch. New keys replace those in use, which the last of their users
//! wipes: `sesscache_core::slots` has the protocol.
//!
//! No locks but those of the slots. The file is never read while one is held.

use crate::config::config;
use crate::log::Once;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::failed::Failed;
use crate::openssl::kdf::hkdf_sha256;
use crate::openssl::table::Libssl;
use crate::seal::Keys;
use crate::seal::ratchet::{self, EpochSecret, Moment};
use sesscache_core::key_file::epoch::{Epoch, MOST_KEPT};
use sesscache_core::key_file::{
    self, FileKey, FileVersion, KEY_BYTES, KeyFileError, MAX_KEYS, Secret,
};
use sesscache_core::slots::Slots;
use sesscache_core::store::KeyKind;
use sesscache_core::system::clock::now;
use sesscache_core::system::process::random_bytes;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// What ticket keys are made of, see `tickets`.
const TICKET_INFO: &[u8] = b"sesscache ticket 1";

/// The keys of a file, or of this process and those that it forks.
#[derive(Debug)]
pub(in crate::context) struct KeyRing {
    /// `None`: a random key.
    path: Option<PathBuf>,
    material: Slots<Material>,
    /// The epoch for which a thread has last made keys, or tries to. It is set before the attempt:
    /// other threads, and a child that is forked meanwhile, go on with the keys that are there.
    epoch: AtomicU32,
    /// The earlier epochs whose keys are needed; it only grows.
    kept: AtomicU32,
}

/// No epoch yet: keys are to be made.
const NEVER: u32 = u32::MAX;

/// The keys of a file before, and what follows from them after there is a libcrypto.
#[derive(Default)]
struct Material {
    /// What it was read from.
    version: Option<FileVersion>,
    /// Read, and not yet derived from. If one is a ratchet they stay, as they are by now.
    file_keys: Vec<FileKey>,
    /// For which the rest was made.
    moment: Moment,
    keys: Option<Keys>,
    ticket_secrets: Vec<EpochSecret>,
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
        let (keys, version) = read(&path)?;
        Ok(KeyRing::new(Some(path), keys, Some(version)))
    }

    /// One key that nobody else has.
    pub(in crate::context) fn random() -> Result<KeyRing, KeyRingError> {
        let mut keys = vec![FileKey::empty()];
        // In its place: a copy would not be wiped.
        if keys.iter_mut().all(|key| random_bytes(key.secret.bytes_mut())) {
            Ok(KeyRing::new(None, keys, None))
        } else {
            Err(KeyRingError::NoRandom)
        }
    }

    fn new(path: Option<PathBuf>, keys: Vec<FileKey>, version: Option<FileVersion>) -> KeyRing {
        let material = Slots::new(Material { version, file_keys: keys, ..Material::default() });
        let kept = AtomicU32::new(Epoch::kept_for(config().max_lifetime));
        KeyRing { path, material, epoch: AtomicU32::new(NEVER), kept }
    }

    /// Reads the file again if it has changed, as when a server reloads. One that cannot be read
    /// any more (a chroot, another user) leaves the keys as they are.
    pub(in crate::context) fn refresh(&self, libssl: &'static Libssl) {
        self.refresh_at(libssl, self.moment());
    }

    fn refresh_at(&self, libssl: &'static Libssl, moment: Moment) {
        self.material.update(|| self.renewed(libssl, moment));
        self.step(libssl, moment);
    }

    fn moment(&self) -> Moment {
        Moment { epoch: Epoch::at(now()), kept: self.kept.load(Relaxed) }
    }

    /// New keys, if the file has changed, or if it was read before there was a libcrypto.
    fn renewed(&self, libssl: &'static Libssl, moment: Moment) -> Option<Material> {
        let file = self.read_again();
        let new = |now: &Material| match file {
            Some((keys, version)) => Some(now.replaced(libssl, keys, version, moment)),
            None => now.derive_late(libssl, moment),
        };
        Self::usable(self.material.using(new).ok().flatten()?)
    }

    fn usable(made: Result<Material, Failed>) -> Option<Material> {
        static UNUSABLE: Once = Once::new();
        let say = |failed: &Failed| {
            UNUSABLE.say(format_args!("no keys can be made, and no session is shared: {failed}"));
        };
        made.inspect_err(say).ok()
    }

    /// The keys of the file, if it has changed since it was read.
    fn read_again(&self) -> Option<(Vec<FileKey>, FileVersion)> {
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

    /// Steps ratchets on if there is a new epoch. Costs a comparison if there is none.
    #[inline]
    fn step(&self, libssl: &'static Libssl, moment: Moment) {
        let last = self.epoch.load(Relaxed);
        if last != moment.epoch.0 {
            self.step_from(libssl, last, moment);
        }
    }

    /// One thread steps, once an epoch.
    #[cold]
    fn step_from(&self, libssl: &'static Libssl, last: u32, moment: Moment) {
        if self.epoch.compare_exchange(last, moment.epoch.0, Relaxed, Relaxed).is_ok() {
            self.material.update(|| {
                let stepped = self.material.using(|now| now.stepped(libssl, moment));
                Self::usable(stepped.ok().flatten()?)
            });
        }
    }

    /// Keys of so many earlier epochs are needed from now on, as far as they are still there.
    pub(in crate::context) fn keep(&self, libssl: &'static Libssl, epochs: u32) {
        let epochs = epochs.min(MOST_KEPT);
        if self.kept.fetch_max(epochs, Relaxed) < epochs {
            self.epoch.store(NEVER, Relaxed);
        }
        self.step(libssl, self.moment());
    }

    /// The result of `use_them` on the keys; `None` if there are none.
    pub(in crate::context) fn with_keys<T>(
        &self,
        libssl: &'static Libssl,
        use_them: impl FnOnce(&Keys) -> Option<T>,
    ) -> Option<T> {
        self.step(libssl, self.moment());
        self.material.using(|now| now.keys.as_ref().and_then(use_them)).ok().flatten()
    }

    /// The same on the secrets of ticket keys: those that seal first. They are of the epoch of the
    /// last [`KeyRing::keep`].
    pub(in crate::context) fn with_ticket_secrets<T>(
        &self,
        use_them: impl FnOnce(&[EpochSecret]) -> Option<T>,
    ) -> Option<T> {
        self.material.using(|now| use_them(&now.ticket_secrets)).ok().flatten()
    }

    /// The kind of the keys of the file; `None` without a file, or before keys were made.
    pub(in crate::context) fn kind(&self) -> Option<KeyKind> {
        self.path.as_ref()?;
        self.material.using(Material::kind).ok().flatten()
    }

    /// Calls `note` with the present epoch, 0 if all keys are plain, and the ids of the keys that open
    /// what is sealed in it. The first seals. Not without a file, or before keys were made.
    pub(in crate::context) fn with_ids(&self, note: impl FnOnce(u32, &[u32])) {
        if self.path.is_none() {
            return;
        }
        let mut ids = [0; MAX_KEYS];
        let found = self.material.using(|now| now.fill_ids(&mut ids)).ok().flatten();
        if let Some((epoch, ids)) =
            found.and_then(|(epoch, count)| Some((epoch, ids.get(..count)?)))
        {
            note(epoch, ids);
        }
    }

    /// A number that is another one when the keys have changed.
    pub(in crate::context) fn generation(&self) -> u64 {
        self.material.generation().number()
    }
}

impl Material {
    /// What follows from these keys.
    fn derive(
        libssl: &'static Libssl,
        file_keys: Vec<FileKey>,
        version: Option<FileVersion>,
        moment: Moment,
    ) -> Result<Material, Failed> {
        let _errors = KeepErrors::new(libssl);
        let mut secrets = ratchet::secrets(libssl, &file_keys, moment)?;
        let keys = Some(Keys::derive(libssl, secrets.iter().map(|one| &one.secret))?);
        let mut ticket_secret = Secret::new([0; KEY_BYTES]);
        for EpochSecret { secret, .. } in &mut secrets {
            hkdf_sha256(libssl, secret.bytes(), TICKET_INFO, ticket_secret.bytes_mut())?;
            secret.bytes_mut().copy_from_slice(ticket_secret.bytes());
        }
        let has_ratchet = file_keys.iter().any(|key| key.epoch.is_some());
        let file_keys = if has_ratchet { file_keys } else { Vec::new() };
        Ok(Material { version, file_keys, moment, keys, ticket_secrets: secrets })
    }

    /// What follows from the keys that were read before there was a libcrypto; `None` if there are
    /// none such.
    fn derive_late(
        &self,
        libssl: &'static Libssl,
        moment: Moment,
    ) -> Option<Result<Material, Failed>> {
        let derive = || Material::derive(libssl, self.copied()?, self.version.clone(), moment);
        (self.keys.is_none() && !self.file_keys.is_empty()).then(derive)
    }

    /// What follows from the keys of the file as it is now.
    fn replaced(
        &self,
        libssl: &'static Libssl,
        mut keys: Vec<FileKey>,
        version: FileVersion,
        moment: Moment,
    ) -> Result<Material, Failed> {
        let _errors = KeepErrors::new(libssl);
        ratchet::keep_older(libssl, &self.file_keys, &mut keys, moment.kept)?;
        if self.keys.is_some() {
            ratchet::forget_old(libssl, &mut keys, self.moment.epoch, moment)?;
        }
        Material::derive(libssl, keys, Some(version), moment)
    }

    /// What follows from the ratchets now; `None` if nothing has changed.
    fn stepped(&self, libssl: &'static Libssl, moment: Moment) -> Option<Result<Material, Failed>> {
        let step = || {
            let _errors = KeepErrors::new(libssl);
            let mut keys = self.copied()?;
            ratchet::forget_old(libssl, &mut keys, self.moment.epoch, moment)?;
            Material::derive(libssl, keys, self.version.clone(), moment)
        };
        let has_ratchet = self.keys.is_some() && !self.file_keys.is_empty();
        (has_ratchet && self.moment != moment).then(step)
    }

    fn kind(&self) -> Option<KeyKind> {
        let has_plain = self.ticket_secrets.iter().any(|one| one.dated.is_none());
        self.keys.as_ref().map(|_| if has_plain { KeyKind::Plain } else { KeyKind::Ratchet })
    }

    /// The ids that are of use now, see [`KeyRing::with_ids`]: the epoch and their number.
    fn fill_ids(&self, places: &mut [u32]) -> Option<(u32, usize)> {
        let present =
            |one: &EpochSecret| one.dated.is_none_or(|dated| dated.epoch == self.moment.epoch);
        let all = self.keys.as_ref()?.ids().zip(&self.ticket_secrets);
        let ids = all.filter(|(_, secret)| present(secret)).map(|(id, _)| id);
        let count = places.iter_mut().zip(ids).map(|(place, id)| *place = id).count();
        let has_ratchet = self.ticket_secrets.iter().any(|one| one.dated.is_some());
        Some((if has_ratchet { self.moment.epoch.0 } else { 0 }, count))
    }

    fn copied(&self) -> Result<Vec<FileKey>, Failed> {
        let mut keys = Vec::new();
        keys.try_reserve_exact(self.file_keys.len()).map_err(|_| Failed::NoMemory)?;
        for key in &self.file_keys {
            // In its place: a copy would not be wiped.
            keys.push(FileKey::empty());
            keys.last_mut().ok_or(Failed::NoMemory)?.copy(key);
        }
        Ok(keys)
    }
}

fn read(path: &Path) -> Result<(Vec<FileKey>, FileVersion), KeyRingError> {
    key_file::read(path).map_err(|error| KeyRingError::File(path.to_owned(), error))
}

#[cfg(test)]
mod tests;

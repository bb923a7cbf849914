//! The keys of a key file, read when it is first needed and again when it has changed.
//!
//! It is read before libcrypto may be in the process, and derived from later; of the file's own
//! secrets nothing stays. Locks: one, while something is sealed or opened. Nobody waits for it: a
//! fork may have left it held for ever.

use crate::log::Once;
use crate::openssl::kdf::hkdf_sha256;
use crate::openssl::next::Next;
use crate::openssl::process::random_bytes;
use crate::seal::Keys;
use crate::seal::key_file::{self, FileVersion, KEY_BYTES, KeyFileError, Secret};
use parking_lot::RwLock;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use zeroize::Zeroizing;

/// What ticket keys are made of, see `tickets`.
const TICKET_INFO: &[u8] = b"sesscache ticket 1";

/// The keys of a file, or of this process and those that it forks.
#[derive(Debug)]
pub(super) struct KeyRing {
    /// `None`: a random key.
    path: Option<PathBuf>,
    state: RwLock<State>,
    /// How often the keys have changed.
    generation: AtomicU64,
}

#[derive(Default)]
struct State {
    /// As last read.
    version: Option<FileVersion>,
    /// Read, and not yet derived from.
    secrets: Vec<Secret>,
    keys: Option<Keys>,
    ticket_secrets: Vec<Zeroizing<[u8; KEY_BYTES]>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State")
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
    pub(super) fn of_file(path: PathBuf) -> Result<KeyRing, KeyRingError> {
        if !path.is_absolute() {
            return Err(KeyRingError::Path(path));
        }
        let (secrets, version) = read(&path)?;
        let state = State { version: Some(version), secrets, ..State::default() };
        Ok(KeyRing { path: Some(path), state: RwLock::new(state), generation: AtomicU64::new(0) })
    }

    /// One key that nobody else has.
    pub(super) fn random() -> Result<KeyRing, KeyRingError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        if !random_bytes(bytes.as_mut_slice()) {
            return Err(KeyRingError::NoRandom);
        }
        let state = State { secrets: vec![Secret::new(*bytes)], ..State::default() };
        Ok(KeyRing { path: None, state: RwLock::new(state), generation: AtomicU64::new(0) })
    }

    /// Reads the file again if it has changed, as when a server reloads. One that cannot be read
    /// any more (a chroot, another user) leaves the keys as they are.
    pub(super) fn refresh(&self, next: &Next) {
        static SAID: Once = Once::new();
        let Some(mut state) = self.state.try_write() else { return };
        if let Some(path) = &self.path
            && let version @ Some(_) = key_file::version(path)
            && version != state.version
        {
            match read(path) {
                Ok((secrets, version)) => {
                    (state.secrets, state.version) = (secrets, Some(version));
                }
                Err(error) => SAID.say(format_args!("{error}; the keys read before are used")),
            }
        }
        if !state.secrets.is_empty() {
            match state.derive(next) {
                Some(()) => {
                    self.generation.fetch_add(1, Release);
                }
                None => SAID.say(
                    "this libcrypto has no AES-256-GCM or no memory for keys: no session is shared",
                ),
            }
        }
    }

    /// What `use_them` makes of the keys; `None` if there are none, or they are being changed.
    pub(super) fn with_keys<T>(&self, use_them: impl FnOnce(&Keys) -> Option<T>) -> Option<T> {
        use_them(self.state.try_read()?.keys.as_ref()?)
    }

    /// What ticket keys are made of, newest first, as [`KeyRing::with_keys`].
    pub(super) fn with_ticket_secrets<T>(
        &self,
        use_them: impl FnOnce(&[Zeroizing<[u8; KEY_BYTES]>]) -> Option<T>,
    ) -> Option<T> {
        use_them(&self.state.try_read()?.ticket_secrets)
    }

    /// A number that is another one when the keys have changed.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }
}

impl State {
    /// Makes of the secrets what is used, and forgets them.
    fn derive(&mut self, next: &Next) -> Option<()> {
        let keys = Keys::derive(next, &self.secrets)?;
        let mut ticket_secrets = Vec::new();
        ticket_secrets.try_reserve_exact(self.secrets.len()).ok()?;
        for secret in &self.secrets {
            let mut derived = Zeroizing::new([0; KEY_BYTES]);
            hkdf_sha256(next, secret.bytes(), TICKET_INFO, &mut derived)?;
            ticket_secrets.push(derived);
        }
        self.keys = Some(keys);
        self.ticket_secrets = ticket_secrets;
        self.secrets.clear();
        Some(())
    }
}

fn read(path: &Path) -> Result<(Vec<Secret>, FileVersion), KeyRingError> {
    key_file::read(path).map_err(|error| KeyRingError::File(path.to_owned(), error))
}

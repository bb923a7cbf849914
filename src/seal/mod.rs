//! Records are sealed before they leave the process: key id, nonce, ciphertext, tag.
//!
//! The algorithm is XAES-256-GCM, for the sake of its nonces: 24 bytes from OpenSSL's generator,
//! with nothing to count, to agree upon between processes and hosts or to remember over a restart.
//! After 2^49 records under one key the chance that two share a nonce is 2^-32, see docs/STORE.md.
//!
//! A secret is never used itself: HKDF-SHA256 makes of it the key that seals and an id, by which a
//! record finds its key in a file of several. The id is a hint and proves nothing; the tag does.
//! A secret is a plain key of the file, or the state of a ratchet in one epoch: see `ratchet`. Keys and
//! plaintext are wiped. No unsafe, no panic and no abort for want of memory.

pub(crate) mod lanes;
mod nonces;
pub mod ratchet;
mod xaes;

use crate::openssl::error_queue::KeepErrors;
use crate::openssl::failed::Failed;
use crate::openssl::generator::Generator;
use crate::openssl::kdf::hkdf_sha256;
use crate::openssl::table::Libssl;
use sesscache_core::key_file::{KEY_BYTES, Secret};
use sesscache_core::system::wipe::Wiped;
use std::fmt;

/// Bytes that tell which key sealed a record.
pub const KEY_ID_BYTES: usize = 4;
/// Bytes of the nonce.
pub const NONCE_BYTES: usize = nonces::NONCE_BYTES;
/// Bytes of the tag.
pub const TAG_BYTES: usize = crate::openssl::aead::TAG_BYTES;
/// How many bytes are before the ciphertext.
pub const HEAD_BYTES: usize = KEY_ID_BYTES + NONCE_BYTES;
/// How much longer a sealed record is than its plaintext.
pub const OVERHEAD: usize = HEAD_BYTES + TAG_BYTES;

const SEAL_INFO: &[u8] = b"sesscache seal 1";
const KEY_ID_INFO: &[u8] = b"sesscache key id 1";

/// Why a record was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// No memory for the sealed bytes.
    NoMemory,
    /// OpenSSL could not: no memory, no randomness, too long.
    Failed,
}

/// Why a record was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Shorter than any sealed record.
    Truncated,
    /// Sealed with none of these keys.
    UnknownKey,
    /// Not what was sealed, or not with this associated data.
    NotAuthentic,
    /// No memory for the plaintext, or OpenSSL could not.
    Failed,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoMemory => "no memory for the sealed record",
            Self::Failed => "OpenSSL could not seal the record",
        })
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "too short for a sealed record",
            Self::UnknownKey => "sealed with a key that is not at hand",
            Self::NotAuthentic => "not as it was sealed",
            Self::Failed => "OpenSSL could not open the record",
        })
    }
}

impl std::error::Error for SealError {}
impl std::error::Error for OpenError {}

struct Key {
    id: [u8; KEY_ID_BYTES],
    key: xaes::Key,
}

impl Key {
    /// Makes this the key of `secret`.
    fn set(&mut self, libssl: &'static Libssl, secret: &Secret) -> Result<(), Failed> {
        let secret = secret.bytes();
        let mut id = [0; KEY_BYTES];
        hkdf_sha256(libssl, secret, KEY_ID_INFO, &mut id)?;
        self.id = *id.first_chunk().ok_or(Failed::Refused)?;
        self.key.set(libssl, |key| hkdf_sha256(libssl, secret, SEAL_INFO, key))
    }
}

/// The keys that records are opened with, newest first; the newest seals.
pub struct Keys(Vec<Key>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys {
    /// The keys of `secrets`. Fails if there is none, or if this libcrypto cannot seal: without
    /// memory, AES-256-GCM or SHA-256.
    pub fn derive<'a>(
        libssl: &'static Libssl,
        secrets: impl IntoIterator<Item = &'a Secret, IntoIter: ExactSizeIterator>,
    ) -> Result<Keys, Failed> {
        let secrets = secrets.into_iter();
        let _errors = KeepErrors::new(libssl);
        let mut keys = Vec::new();
        keys.try_reserve_exact(secrets.len()).map_err(|_| Failed::NoMemory)?;
        for secret in secrets {
            keys.push(Key { id: [0; KEY_ID_BYTES], key: xaes::Key::empty() });
            // In its place: a copy would not be wiped.
            keys.last_mut().ok_or(Failed::NoMemory)?.set(libssl, secret)?;
        }
        if keys.is_empty() { Err(Failed::Refused) } else { Ok(Keys(keys)) }
    }

    /// A key that only this process has, and those that it forks from now on.
    pub fn random(generator: Generator) -> Result<Keys, Failed> {
        let _errors = KeepErrors::new(generator.libssl());
        let mut secret = Secret::new([0; KEY_BYTES]);
        generator.fill(secret.bytes_mut())?;
        Keys::derive(generator.libssl(), std::slice::from_ref(&secret))
    }

    /// The ids by which records find their keys, newest first. They tell nothing of the keys.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|key| u32::from_be_bytes(key.id))
    }

    /// Seals what is in `text` behind room for the head, where it is: then it is the record. It opens only
    /// with the same `associated` data. If it fails, the plaintext may be there still, and an error may be
    /// in OpenSSL's queue, which the caller keeps.
    pub fn seal(
        &self,
        generator: Generator,
        associated: &[u8],
        text: &mut Wiped,
    ) -> Result<(), SealError> {
        text.reserve(TAG_BYTES).ok_or(SealError::NoMemory)?;
        let tag = self.encrypt(generator, associated, text).map_err(|_| SealError::Failed)?;
        text.extend_from_slice(&tag);
        Ok(())
    }

    fn encrypt(
        &self,
        generator: Generator,
        associated: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], Failed> {
        let newest = self.0.first().ok_or(Failed::Refused)?;
        let (id, rest) = text.split_first_chunk_mut().ok_or(Failed::Refused)?;
        let (nonce, rest) = rest.split_first_chunk_mut().ok_or(Failed::Refused)?;
        let (drawn, tag) = newest.key.seal(generator, associated, rest)?;
        (*id, *nonce) = (newest.id, drawn);
        Ok(tag)
    }

    /// Opens a sealed record where it is, and returns the plaintext in it. A failure may be in OpenSSL's error
    /// queue, which the caller keeps; the record is nothing any more then.
    pub fn open<'a>(
        &self,
        libssl: &'static Libssl,
        associated: &[u8],
        record: &'a mut Wiped,
    ) -> Result<&'a [u8], OpenError> {
        let (id, rest) = record.split_first_chunk_mut().ok_or(OpenError::Truncated)?;
        let (nonce, rest) = rest.split_first_chunk_mut().ok_or(OpenError::Truncated)?;
        let (text, tag) = rest.split_last_chunk_mut().ok_or(OpenError::Truncated)?;
        let mut candidates = self.0.iter().filter(|key| key.id == *id).peekable();
        candidates.peek().ok_or(OpenError::UnknownKey)?;
        while let Some(Key { key, .. }) = candidates.next() {
            // Ids are short: two keys may share one.
            let another = match candidates.peek() {
                Some(_) => Some(copied(text).ok_or(OpenError::Failed)?),
                None => None,
            };
            let opened = key.open(libssl, nonce, associated, text, tag);
            if opened.map_err(|_| OpenError::Failed)? {
                return Ok(text);
            }
            another.inspect(|sealed| text.copy_from_slice(sealed));
        }
        Err(OpenError::NotAuthentic)
    }
}

/// The same bytes once more; `None` without memory.
fn copied(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).ok()?;
    copy.extend_from_slice(bytes);
    Some(copy)
}

#[cfg(test)]
mod tests;

//! What a session is found by: protocol version and session id.
//!
//! The version is part of the key because DTLS 1.2 and TLS 1.2 sessions with equal ids are
//! different sessions (openssl#8929). The key is kept inline in every entry and hashed whole.

use std::hash::Hasher;

/// The longest session id (RFC 5246 7.4.1.2; `SSL_MAX_SSL_SESSION_ID_LENGTH`).
pub const MAX_ID_LENGTH: usize = 32;

/// Protocol version and session id. The id is filled up with zeroes: 35 bytes, compared and hashed
/// as a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Key {
    id: [u8; MAX_ID_LENGTH],
    version: [u8; 2],
    length: u8,
}

impl Key {
    /// The key of the session `id` of protocol `version`; `None` if the id is longer than
    /// [`MAX_ID_LENGTH`]. An empty id is a key like any other.
    #[inline]
    pub fn new(version: u16, id: &[u8]) -> Option<Key> {
        let length = u8::try_from(id.len()).ok()?;
        let version = version.to_ne_bytes();
        if let Ok(&id) = <&[u8; MAX_ID_LENGTH]>::try_from(id) {
            return Some(Key { id, version, length });
        }
        let mut filled = [0; MAX_ID_LENGTH];
        filled.get_mut(..id.len())?.copy_from_slice(id);
        Some(Key { id: filled, version, length })
    }

    /// Whether the session id is empty: a session without one can never be looked up.
    #[inline]
    pub fn id_is_empty(&self) -> bool {
        self.length == 0
    }

    fn words(&self) -> [u64; 4] {
        let (words, _) = self.id.as_chunks::<8>();
        let mut out = [0; 4];
        for (out, &word) in out.iter_mut().zip(words) {
            *out = u64::from_ne_bytes(word);
        }
        out
    }

    /// Feeds all that distinguishes this key from others to `hasher`.
    #[inline]
    pub(super) fn hash_into(&self, hasher: &mut impl Hasher) {
        let [first, second] = self.version;
        hasher.write_u64(u64::from_ne_bytes([first, second, self.length, 0, 0, 0, 0, 0]));
        self.words().into_iter().for_each(|word| hasher.write_u64(word));
    }

    /// A plain hash for tables that are not ours; the cache has a keyed one.
    pub fn digest(&self) -> u64 {
        self.words().into_iter().fold(u64::from(self.length), |hash, word| {
            (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_length_and_every_byte_count() {
        let key = |version, id: &[u8]| Key::new(version, id).unwrap();
        assert_eq!(key(0x0303, b"abc"), key(0x0303, b"abc"));
        assert_ne!(key(0x0303, b"abc"), key(0x0304, b"abc"));
        assert_ne!(key(0x0303, b"abc"), key(0x0303, b"abc\0"));
        assert_ne!(key(0x0303, &[7; 32]), key(0x0303, &[[7; 31].as_slice(), &[8]].concat()));
        assert!(key(0x0303, b"").id_is_empty());
        assert!(Key::new(0x0303, &[0; 33]).is_none());
        assert!(Key::new(0x0303, &[0; 300]).is_none());
    }
}

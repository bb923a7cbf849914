//! The key of a session in the cache: protocol version and session id.
//!
//! The version is part of the key because DTLS 1.2 and TLS 1.2 sessions with equal ids are
//! different sessions (openssl#8929). The key is kept inline in every entry and hashed whole.

use std::hash::Hasher;

/// The longest session id (RFC 5246 7.4.1.2; `SSL_MAX_SSL_SESSION_ID_LENGTH`).
pub const MAX_ID_LENGTH: usize = 32;

/// Protocol version and session id, as a few words that stay in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    words: [u64; MAX_ID_LENGTH / 8],
    /// Version and length.
    head: u32,
}

/// A [`Key`] as an entry keeps it: 35 bytes without padding.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Stored {
    id: [u8; MAX_ID_LENGTH],
    head: [u8; 3],
}

#[inline]
fn words(id: &[u8; MAX_ID_LENGTH]) -> [u64; 4] {
    let (words, _) = id.as_chunks::<8>();
    let mut out = [0; 4];
    for (out, &word) in out.iter_mut().zip(words) {
        *out = u64::from_ne_bytes(word);
    }
    out
}

impl Stored {
    #[inline]
    pub(super) fn is(&self, key: &Key) -> bool {
        let [a, b, c, d] = words(&self.id);
        let [e, f, g, h] = key.words;
        let [x, y, z] = self.head;
        let head = u32::from_le_bytes([x, y, z, 0]);
        (a ^ e) | (b ^ f) | (c ^ g) | (d ^ h) | u64::from(head ^ key.head) == 0
    }

    pub(super) fn key(&self) -> Key {
        let [x, y, z] = self.head;
        Key { words: words(&self.id), head: u32::from_le_bytes([x, y, z, 0]) }
    }
}

impl From<Key> for Stored {
    fn from(key: Key) -> Stored {
        let mut id = [0; MAX_ID_LENGTH];
        for (bytes, word) in id.chunks_exact_mut(8).zip(key.words) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        let [x, y, z, _] = key.head.to_le_bytes();
        Stored { id, head: [x, y, z] }
    }
}

impl Key {
    /// The key of the session `id` of protocol `version`; `None` if the id is longer than
    /// [`MAX_ID_LENGTH`]. An empty id is a key like any other.
    #[inline]
    pub fn new(version: u16, id: &[u8]) -> Option<Key> {
        let length = u8::try_from(id.len()).ok()?;
        let head = u32::from(version) << 8 | u32::from(length);
        if let Ok(id) = <&[u8; MAX_ID_LENGTH]>::try_from(id) {
            return Some(Key { words: words(id), head });
        }
        let mut filled = [0; MAX_ID_LENGTH];
        filled.get_mut(..id.len())?.copy_from_slice(id);
        Some(Key { words: words(&filled), head })
    }

    /// The protocol version.
    pub fn version(&self) -> u16 {
        u16::try_from(self.head >> 8).unwrap_or(0)
    }

    /// The session id, in `room`.
    pub fn id<'a>(&self, room: &'a mut [u8; MAX_ID_LENGTH]) -> &'a [u8] {
        let (words, _) = room.as_chunks_mut::<8>();
        for (place, word) in words.iter_mut().zip(self.words) {
            *place = word.to_ne_bytes();
        }
        room.get(..(self.head & 0xFF) as usize).unwrap_or_default()
    }

    /// Whether the session id is empty. A session without an id can never be looked up.
    #[inline]
    pub fn id_is_empty(&self) -> bool {
        self.head & 0xFF == 0
    }

    /// Feeds the whole key to `hasher`.
    #[inline]
    pub(super) fn hash_into(&self, hasher: &mut impl Hasher) {
        hasher.write_u64(u64::from(self.head));
        self.words.into_iter().for_each(|word| hasher.write_u64(word));
    }

    /// A plain hash for tables that are not ours; the cache has a keyed one.
    pub fn digest(&self) -> u64 {
        self.words.into_iter().fold(u64::from(self.head & 0xFF), |hash, word| {
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
        assert_eq!(key(0xFEFD, b"abc").version(), 0xFEFD);
        assert_eq!(key(0xFEFD, b"abcdefghijk").id(&mut [0; MAX_ID_LENGTH]), b"abcdefghijk");
        assert!(Key::new(0x0303, &[0; 33]).is_none());
        assert!(Key::new(0x0303, &[0; 300]).is_none());
    }
}

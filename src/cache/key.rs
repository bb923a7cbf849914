//! What a session is found by: protocol version and session id.
//!
//! The version is part of the key because DTLS 1.2 and TLS 1.2 sessions with equal ids are
//! different sessions (openssl#8929). The key is kept inline in every entry and hashed whole.

/// The longest session id (RFC 5246 7.4.1.2; `SSL_MAX_SSL_SESSION_ID_LENGTH`).
pub const MAX_ID_LENGTH: usize = 32;

const BYTES: usize = 2 + 1 + MAX_ID_LENGTH;

/// Protocol version and session id as one flat run of bytes: version, length, id, zeroes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key([u8; BYTES]);

impl Key {
    /// The key of the session `id` of protocol `version`; `None` if the id is longer than
    /// [`MAX_ID_LENGTH`]. An empty id is a key like any other.
    pub fn new(version: u16, id: &[u8]) -> Option<Key> {
        let mut bytes = [0; BYTES];
        let (head, tail) = bytes.split_at_mut(3);
        let [high, low] = version.to_be_bytes();
        head.copy_from_slice(&[high, low, u8::try_from(id.len()).ok()?]);
        tail.get_mut(..id.len())?.copy_from_slice(id);
        Some(Key(bytes))
    }

    /// Whether the session id is empty: a session without one can never be looked up.
    pub fn id_is_empty(&self) -> bool {
        let [_, _, length, ..] = self.0;
        length == 0
    }

    /// A plain hash (FNV-1a) for tables that are not ours; the cache has a keyed one.
    pub fn digest(&self) -> u64 {
        self.0.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
        })
    }

    /// All that distinguishes this key from others, to be hashed.
    pub(super) fn bytes(&self) -> &[u8; BYTES] {
        &self.0
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
    }
}

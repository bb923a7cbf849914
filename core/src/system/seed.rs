//! The random seed of this process and of those that it forks, for keyed hashes that never leave it.
//!
//! It is drawn when an SSL_CTX is made, because a server may enter a sandbox afterwards that kills it
//! for getrandom(2). Whoever hashes later asks for it without a system call. No locks.

use super::process::random_bytes;
use once_cell::sync::OnceCell;

static SEED: OnceCell<[u64; 2]> = OnceCell::new();

/// What a seed is for: no two hashes have the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Server names in the marks of sessions.
    Marks = 1,
    /// Certificates whose verification is remembered.
    Certificates = 2,
    /// Tables whose keys a client may choose.
    Tables = 3,
    /// The shapes of sessions.
    Shapes = 4,
}

/// Draws the seed, unless that was done before. Without randomness it is tried again next time.
pub fn draw() {
    let drawn = SEED.get_or_try_init(|| {
        let mut bytes = [[0; 8]; 2];
        let is_filled = random_bytes(bytes.as_flattened_mut());
        is_filled.then_some(bytes.map(u64::from_ne_bytes)).ok_or(())
    });
    // Who asks for it gets none.
    let _ = drawn;
}

/// Two words for the key of a hash; `None` if nothing was drawn.
#[inline]
pub fn seed(purpose: Purpose) -> Option<[u64; 2]> {
    let [first, second] = *SEED.get()?;
    Some([first ^ purpose as u64, second])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_drawn_once_and_differs_by_purpose() {
        draw();
        let marks = seed(Purpose::Marks);
        assert!(marks.is_some());
        assert_ne!(marks, seed(Purpose::Tables));
        draw();
        assert_eq!(marks, seed(Purpose::Marks));
    }
}

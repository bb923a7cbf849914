//! Bytes that are overwritten before their memory is given back.
//!
//! By explicit_bzero(3), which the compiler does not leave out. It writes many bytes at once, where the
//! crate zeroize writes each by itself; that one serves where it does not count. No locks.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// Overwrites bytes with zeroes.
pub fn wipe(bytes: &mut [u8]) {
    // SAFETY: so many bytes, which nobody else has meanwhile.
    unsafe { libc::explicit_bzero(bytes.as_mut_ptr().cast(), bytes.len()) };
}

/// A vector that is wiped when it goes. One that grows leaves its old bytes behind: see [`Wiped::reserve`].
#[derive(Default, PartialEq, Eq)]
pub struct Wiped(Vec<u8>);

impl Wiped {
    /// These bytes.
    pub const fn new(bytes: Vec<u8>) -> Wiped {
        Wiped(bytes)
    }

    /// Makes room for so many more bytes, in new memory, and wipes the old; `None` without memory.
    pub fn reserve(&mut self, more: usize) -> Option<()> {
        if self.capacity() - self.len() < more {
            let mut larger = Wiped::default();
            larger.try_reserve_exact(self.len().checked_add(more)?).ok()?;
            larger.extend_from_slice(self);
            *self = larger;
        }
        Some(())
    }
}

impl Deref for Wiped {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Wiped {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

/// Wipes a vector's memory behind its end, too: it may have been longer.
fn wipe_all(bytes: &mut Vec<u8>) {
    let (place, room) = (bytes.as_mut_ptr(), bytes.capacity());
    // SAFETY: all of the vector's memory.
    unsafe { libc::explicit_bzero(place.cast(), room) };
}

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe_all(&mut self.0);
    }
}

impl fmt::Debug for Wiped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wiped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_overwritten() {
        let mut bytes = [7; 9];
        wipe(&mut bytes[1..8]);
        assert_eq!(bytes, [7, 0, 0, 0, 0, 0, 0, 0, 7]);
        wipe(&mut []);
    }

    #[test]
    fn a_vector_is_wiped_to_the_end_of_its_memory() {
        // The memory outlives the vector that is dropped.
        let mut memory = [[7_u8; 16]; 2].as_flattened().to_vec();
        let (place, room) = (memory.as_mut_ptr(), memory.capacity());
        memory.truncate(5);
        let mut wiped = std::mem::ManuallyDrop::new(Wiped::new(memory));
        wipe_all(&mut wiped);
        // SAFETY: the vector's memory, which it has still.
        let seen = unsafe { std::slice::from_raw_parts(place, room) };
        assert!(seen.iter().all(|byte| *byte == 0));
        std::mem::ManuallyDrop::into_inner(wiped);
    }

    #[test]
    fn a_vector_grows_into_new_memory() {
        let mut wiped = Wiped::new(vec![1, 2, 3]);
        let before = wiped.as_ptr();
        assert_eq!(wiped.reserve(0), Some(()));
        assert_eq!(wiped.as_ptr(), before);
        wiped.reserve(100).unwrap();
        assert_eq!((wiped.as_slice(), wiped.capacity()), ([1, 2, 3].as_slice(), 103));
        assert_eq!(wiped.reserve(usize::MAX), None);
        assert_eq!(format!("{wiped:?}"), "Wiped");
    }
}

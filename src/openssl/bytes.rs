//! Bytes in a fixed place. No unsafe, no locks.

/// Bytes, up to so many.
#[derive(Debug)]
pub struct Bytes<const MOST: usize> {
    all: [u8; MOST],
    length: usize,
}

impl<const MOST: usize> Bytes<MOST> {
    /// None.
    pub const NONE: Self = Bytes { all: [0; MOST], length: 0 };

    /// Those that were appended.
    pub fn bytes(&self) -> &[u8] {
        self.all.get(..self.length).unwrap_or_default()
    }

    /// Appends some; `None` if there is no room.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.length.checked_add(bytes.len())?;
        self.all.get_mut(self.length..end)?.copy_from_slice(bytes);
        self.length = end;
        Some(())
    }
}

//! The format of a store's records, as the server that came last writes them. Versions of the library
//! that agree on the layout may still not open each other's records.

use super::Store;
use super::layout::header;
use super::mapping::Outside;
use std::sync::atomic::Ordering::Relaxed;

/// The format of this version's records, the number in the purpose of their seal. A store that was
/// made by a version before the second format has 0.
pub const RECORD_FORMAT: u32 = 3;

impl Store {
    /// Notes the format of this process, and returns whether the one before had another.
    pub fn note_record_format(&self) -> bool {
        let Ok(word) = self.mapping.half_word(header::RECORD_FORMAT) else { return false };
        // All processes share the line: it is written only if it changes.
        word.load(Relaxed) != RECORD_FORMAT && word.swap(RECORD_FORMAT, Relaxed) != RECORD_FORMAT
    }

    /// In a new store, which has no records of another version.
    pub(super) fn begin_record_format(&self) -> Result<(), Outside> {
        self.mapping.half_word(header::RECORD_FORMAT)?.store(RECORD_FORMAT, Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreUrl;

    #[test]
    fn another_version_is_told_once() {
        let store = Store::open(&StoreUrl::parse("shm:?size=1MiB").unwrap()).unwrap();
        assert!(!store.note_record_format(), "a new store is ours");
        for other in [0, RECORD_FORMAT + 1] {
            store.mapping.half_word(header::RECORD_FORMAT).unwrap().store(other, Relaxed);
            assert!(store.note_record_format(), "{other}");
            assert!(!store.note_record_format(), "{other}, told again");
        }
    }
}

//! The kind of keys that seal a store's records, as the server that came last has said. The store
//! itself knows no keys; this is for who looks at it.

use super::Store;
use super::layout::header;
use std::sync::atomic::Ordering::Relaxed;

/// The kind of the keys in a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// One at least is plain: it opens all that it ever sealed.
    Plain = 1,
    /// All are ratchets.
    Ratchet = 2,
}

impl Store {
    /// Notes the kind of the keys of this process.
    pub fn set_key_kind(&self, kind: KeyKind) {
        let Ok(word) = self.mapping.half_word(header::KEY_KIND) else { return };
        // All processes share the line: it is written only if it changes.
        if word.load(Relaxed) != kind as u32 {
            word.store(kind as u32, Relaxed);
        }
    }

    /// The kind of the keys of the process that came last; `None` if none has said it.
    pub fn key_kind(&self) -> Option<KeyKind> {
        let word = self.mapping.half_word(header::KEY_KIND).ok()?;
        let number = word.load(Relaxed);
        [KeyKind::Plain, KeyKind::Ratchet].into_iter().find(|kind| *kind as u32 == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreUrl;

    #[test]
    fn the_kind_is_that_of_the_process_that_came_last() {
        let store = Store::open(&StoreUrl::parse("shm:?size=1MiB").unwrap()).unwrap();
        assert_eq!(store.key_kind(), None);
        for kind in [KeyKind::Plain, KeyKind::Ratchet, KeyKind::Plain] {
            store.set_key_kind(kind);
            assert_eq!(store.key_kind(), Some(kind));
        }
        store.mapping.half_word(header::KEY_KIND).unwrap().store(7, Relaxed);
        assert_eq!(store.key_kind(), None, "of a later version");
    }
}

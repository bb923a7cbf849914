//! The notes that the agent keeps in the store, to go on after a restart.
//!
//! For each stream, it keeps the last entry read, and an entry that Redis acknowledged. For all, it
//! keeps when they were last read to their ends.
//!
//! Note 0 is a hash of the settings for which the others hold.

use super::stream_entry::EntryId;
use sesscache_core::store::{NOTES, Store};

const PER_STREAM: usize = 4;
/// The number of the note that follows those of the streams.
const CAUGHT_UP: usize = NOTES - 1;

/// The most streams whose notes fit.
pub(crate) const MOST_STREAMS: usize = (CAUGHT_UP - 1) / PER_STREAM;

/// The kinds of notes of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Note {
    /// The last entry that was read.
    Read = 0,
    /// An entry of ours that Redis acknowledged: it must be in the stream unless it is too old.
    Witness = 2,
}

fn number_of(stream: usize, note: Note) -> usize {
    1 + stream * PER_STREAM + note as usize
}

pub(crate) fn read(store: &Store, stream: usize, note: Note) -> EntryId {
    let number = number_of(stream, note);
    EntryId { time: store.note(number), number: store.note(number + 1) }
}

/// Keeps an id. The order of writes is such that an agent killed in between reads an entry twice,
/// and never skips one.
pub(crate) fn keep(store: &Store, stream: usize, note: Note, id: EntryId) {
    let number = number_of(stream, note);
    if store.note(number) != id.time {
        store.keep_note(number + 1, 0);
        store.keep_note(number, id.time);
    }
    store.keep_note(number + 1, id.number);
}

/// When all streams were last read to their ends, in milliseconds by Redis's clock; 0 if unknown.
pub(crate) fn caught_up(store: &Store) -> u64 {
    store.note(CAUGHT_UP)
}

pub(crate) fn keep_caught_up(store: &Store, time: u64) {
    store.keep_note(CAUGHT_UP, time);
}

/// Starts anew if the notes are for other settings. Returns whether it did.
pub(crate) fn adopt(store: &Store, settings: u64) -> bool {
    if store.note(0) == settings {
        return false;
    }
    store.tell_again();
    for note in 1..NOTES {
        store.keep_note(note, 0);
    }
    store.keep_note(0, settings);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use sesscache_core::store::StoreUrl;

    #[test]
    fn notes_are_kept_for_the_same_settings_only() {
        let store = Store::open(&StoreUrl::parse("shm:?size=1MiB").unwrap()).unwrap();
        assert!(adopt(&store, 7));
        let last = MOST_STREAMS - 1;
        let id = |time, number| EntryId { time, number };
        keep(&store, 0, Note::Read, id(5, 6));
        keep(&store, last, Note::Witness, id(7, 8));
        keep(&store, last, Note::Witness, id(7, 9));
        keep_caught_up(&store, 10);
        assert!(!adopt(&store, 7));
        assert_eq!((caught_up(&store), MOST_STREAMS), (10, 63));
        assert_eq!(read(&store, 0, Note::Read), id(5, 6));
        assert_eq!(read(&store, 0, Note::Witness), EntryId::default());
        assert_eq!(read(&store, last, Note::Witness), id(7, 9));
        assert!(adopt(&store, 8));
        assert_eq!((read(&store, 0, Note::Read), caught_up(&store)), (EntryId::default(), 0));
    }
}

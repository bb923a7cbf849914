//! The room of a store: when it is taken, and by whom.
//!
//! A new file has its whole length and room for its head alone. Its first user takes the rest, so that
//! a process that never serves takes nothing. Missing room is an error then: later it would be a fault
//! in the middle of a handshake.

use super::Store;
use super::layout::header;
use super::make::FileId;
use super::mapping::Outside;
use super::open_error::{OpenError, system};
use super::url::{DEFAULT_SIZE, Medium};
use crate::system::files::allocate;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

/// The states of a store's room (`header::ROOM`).
///
/// | state | |
/// |---|---|
/// | [`HEAD`] | the pages of its head are there, the others may be missing |
/// | [`WHOLE`] | all pages are there |
const HEAD: u32 = 0;
/// See [`HEAD`].
const WHOLE: u32 = 1;

/// News of a store that has just taken its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Its bytes.
    pub bytes: u64,
    /// The bytes that it was to have.
    pub asked: u64,
    /// Whether it is in the place of a file of another version.
    pub is_in_place_of_other: bool,
}

impl Store {
    /// Notes what was asked for, in a store that is being made.
    pub(super) fn begin_room(&self, asked: Option<usize>, replaces: bool) -> Result<(), Outside> {
        let asked = asked.unwrap_or(DEFAULT_SIZE) as u64;
        self.mapping.word(header::ASKED)?.store(asked, Relaxed);
        self.mapping.half_word(header::REPLACES)?.store(replaces.into(), Relaxed);
        self.mapping.half_word(header::ROOM)?.store(HEAD, Relaxed);
        Ok(())
    }

    /// Whether it has another size only because there was no room for that.
    pub(super) fn was_asked_for(&self, size: usize) -> bool {
        self.mapping.word(header::ASKED).is_ok_and(|word| word.load(Relaxed) == size as u64)
    }

    /// Whether a process has taken the room.
    pub(super) fn has_room(&self) -> bool {
        self.mapping.half_word(header::ROOM).is_ok_and(|room| room.load(Acquire) == WHOLE)
    }

    /// Takes the room that the store needs, unless a process has taken it before. Called before anything
    /// is put or found. Returns what there is to say, once in the life of a store.
    ///
    /// # Errors [`OpenError`]; the store cannot be used then.
    pub fn take_room(&self, medium: &Medium) -> Result<Option<Begun>, OpenError> {
        let damaged = |Outside| OpenError::Layout;
        let room = self.mapping.half_word(header::ROOM).map_err(damaged)?;
        if room.load(Acquire) == WHOLE {
            return Ok(None);
        }
        if let (Medium::File(_), Some(id)) = (medium, self.file) {
            match self.mapping.populate() {
                // Before Linux 5.14.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    self.allocate(medium, id)?;
                }
                populated => populated.map_err(|_| OpenError::NoRoom)?,
            }
        }
        let is_first = room.swap(WHOLE, AcqRel) != WHOLE;
        let asked = self.mapping.word(header::ASKED).map_err(damaged)?.load(Relaxed);
        let replaces =
            self.mapping.half_word(header::REPLACES).map_err(damaged)?.load(Relaxed) != 0;
        let bytes = self.geometry.total as u64;
        Ok(is_first.then_some(Begun { bytes, asked, is_in_place_of_other: replaces }))
    }

    /// Takes the room by the file's path.
    fn allocate(&self, medium: &Medium, id: FileId) -> Result<(), OpenError> {
        let Medium::File(path) = medium else { return Ok(()) };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
            .map_err(system("cannot open it"))?;
        if FileId::of(&file.metadata().map_err(system("cannot look at it"))?) != id {
            let gone = io::Error::from(io::ErrorKind::NotFound);
            return Err(OpenError::System("cannot open it", gone));
        }
        allocate(&file, self.geometry.total).map_err(|_| OpenError::NoRoom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{OtherVersion, StoreUrl};
    use std::os::unix::fs::MetadataExt;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_first_user_takes_the_room_of_a_file() {
        let folder = std::env::temp_dir().join(format!("sesscache-room-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let taken = |name| folder.join(name).metadata().unwrap().blocks() * 512;
        let map = |name| {
            let url = format!("file:{}?size=4MiB", folder.join(name).display());
            let url = StoreUrl::parse(&url).unwrap();
            (Store::map(&url, OtherVersion::Refuse).unwrap(), url.medium)
        };
        let ((store, medium), (again, _)) = (map("store"), map("store"));
        assert!(taken("store") < MIB, "{}", taken("store"));
        let bytes = 4 * MIB;
        let begun = Begun { bytes, asked: bytes, is_in_place_of_other: false };
        assert_eq!(store.take_room(&medium).unwrap(), Some(begun));
        assert_eq!(again.take_room(&medium).unwrap(), None);
        assert!(taken("store") >= bytes, "{}", taken("store"));
        // As before Linux 5.14.
        let (store, medium) = map("other");
        store.allocate(&medium, store.file.unwrap()).unwrap();
        assert!(taken("other") >= bytes, "{}", taken("other"));
        std::fs::rename(folder.join("store"), folder.join("other")).unwrap();
        let replaced = store.allocate(&medium, store.file.unwrap());
        assert!(matches!(replaced, Err(OpenError::System(..))));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

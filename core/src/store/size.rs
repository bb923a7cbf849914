//! The size of a new store: what is asked for, or less where there is no room.

use super::open_error::OpenError;
use super::url::{DEFAULT_SIZE, LEAST_SIZE};
use crate::system::limits::{file_size_limit, free_beside, is_in_memory, memory_limit};
use std::fs::File;

/// A store takes this part of the memory at most, unless a larger one is asked for.
const MEMORY_PART: u64 = 4;
/// A store of a size that is asked for may take this part.
const ASKED_MEMORY_PART: u64 = 2;
/// A store takes this part of what is free on its file system, unless a larger one is asked for.
const FREE_PART: u64 = 2;

/// The room that there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The memory of this process, if the store counts for it.
    memory: u64,
    /// Free on the file system.
    free: u64,
    /// The largest file.
    file: u64,
}

impl Limits {
    /// For anonymous memory.
    pub(super) fn of_memory() -> Limits {
        Limits { memory: memory_limit(), free: u64::MAX, file: u64::MAX }
    }

    /// For a new file.
    pub(super) fn of_file(file: &File) -> Limits {
        let memory = if is_in_memory(file) { memory_limit() } else { u64::MAX };
        Limits { memory, free: free_beside(file), file: file_size_limit() }
    }

    /// Whether a store of so many bytes has room.
    pub(super) fn allow(&self, size: usize) -> bool {
        size as u64 <= self.free.min(self.file).min(self.memory / ASKED_MEMORY_PART)
    }

    /// The size of a store for which `asked` is asked: so much, or if there is no room what there is
    /// room for.
    pub(super) fn size(&self, asked: Option<usize>) -> Result<usize, OpenError> {
        if let Some(asked) = asked.filter(|asked| self.allow(*asked)) {
            return Ok(asked);
        }
        let part = (self.free / FREE_PART).min(self.file).min(self.memory / MEMORY_PART);
        let part = usize::try_from(part).unwrap_or(usize::MAX);
        let size = asked.unwrap_or(DEFAULT_SIZE).min(part / LEAST_SIZE * LEAST_SIZE);
        if size < LEAST_SIZE { Err(OpenError::NoRoom) } else { Ok(size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const PLENTY: Limits = Limits { memory: u64::MAX, free: u64::MAX, file: u64::MAX };

    /// The size in MiB, as far as these limits let it be; 0 if there is no room.
    fn size(limits: Limits, asked: Option<usize>) -> u64 {
        limits.size(asked.map(|size| size << 20)).map_or(0, |size| size as u64 / MIB)
    }

    #[test]
    fn what_is_asked_for_comes_if_there_is_room() {
        assert_eq!(size(PLENTY, None), 64);
        assert_eq!(size(PLENTY, Some(4096)), 4096);
        let free = |mib| Limits { free: mib * MIB, ..PLENTY };
        assert_eq!([64, 50, 3, 2, 1].map(|mib| size(free(mib), None)), [32, 25, 1, 1, 0]);
        assert_eq!(size(free(64), Some(64)), 64);
        assert_eq!(size(free(63), Some(64)), 31);
        let memory = |mib| Limits { memory: mib * MIB, ..PLENTY };
        assert_eq!([1024, 48, 4, 3].map(|mib| size(memory(mib), None)), [64, 12, 1, 0]);
        assert_eq!(size(memory(32), Some(16)), 16);
        assert_eq!(size(memory(32), Some(17)), 8);
        let file = |mib| Limits { file: mib * MIB, ..PLENTY };
        assert_eq!([65, 4, 0].map(|mib| size(file(mib), None)), [64, 4, 0]);
    }
}

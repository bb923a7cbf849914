//! The memory of the process: whether other processes write to the same pages.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::mem;

/// The list of this process's mappings, see proc_pid_maps(5).
const MAPPINGS: &str = "/proc/self/maps";

/// Whether `address` lies in a mapping that this process shares with others (MAP_SHARED, or a segment
/// of shmat(2)). `None` if the system does not tell, or if nothing is mapped there.
///
/// It opens and reads a file, and needs no memory.
pub fn is_shared(address: usize) -> Option<bool> {
    let mut file = File::open(MAPPINGS).ok()?;
    let mut line = Line::new();
    let mut part = [0; 4096];
    loop {
        let read = match file.read(&mut part) {
            Ok(0) => return None,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return None,
        };
        for &byte in part.get(..read)? {
            if byte != b'\n' {
                line.push(byte);
            } else if let Some(is_shared) = mem::replace(&mut line, Line::new()).is_shared(address)
            {
                return Some(is_shared);
            }
        }
    }
}

/// The beginning of a line, which is all that counts: `start-end rwxp `, or `rwxs `.
struct Line {
    bytes: [u8; 40],
    length: usize,
}

impl Line {
    fn new() -> Line {
        Line { bytes: [0; 40], length: 0 }
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    /// Whether this mapping is shared; `None` if `address` is not in it.
    fn is_shared(&self, address: usize) -> Option<bool> {
        let line = std::str::from_utf8(self.bytes.get(..self.length)?).ok()?;
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let is_within = usize::from_str_radix(start, 16).ok()? <= address
            && address < usize::from_str_radix(end, 16).ok()?;
        is_within.then_some(rest.as_bytes().get(3) == Some(&b's'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_answers_for_its_own_addresses() {
        let mut line = Line::new();
        "7f10-7f20 rw-s 00000000 00:01 12  /dev/zero (deleted)".bytes().for_each(|b| line.push(b));
        assert_eq!(line.is_shared(0x7f0f), None);
        assert_eq!(line.is_shared(0x7f10), Some(true));
        assert_eq!(line.is_shared(0x7f1f), Some(true));
        assert_eq!(line.is_shared(0x7f20), None);
        let longest = "ffffffffffffe000-fffffffffffff000 rw-p 0";
        let mut line = Line::new();
        longest.bytes().for_each(|b| line.push(b));
        assert_eq!(line.is_shared(0xffff_ffff_ffff_e000), Some(false));
        assert_eq!(Line::new().is_shared(0), None);
    }

    #[test]
    fn the_stack_and_the_heap_are_private() {
        let (on_the_stack, on_the_heap) = (1, Box::new(1));
        assert_eq!(is_shared(&raw const on_the_stack as usize), Some(false));
        assert_eq!(is_shared(&raw const *on_the_heap as usize), Some(false));
        assert_eq!(is_shared(8), None);
    }

    #[test]
    fn a_shared_mapping_is_shared() {
        let (size, access) = (4096, libc::PROT_READ | libc::PROT_WRITE);
        let kind = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, of which nobody knows.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), size, access, kind, -1, 0) };
        assert_eq!(is_shared(page as usize + 100), Some(true));
        // SAFETY: the mapping made above, which is not used any more.
        unsafe { libc::munmap(page, size) };
        assert_eq!(is_shared(page as usize + 100), None);
    }
}

//! Objects in the process (the program and its libraries) as the dynamic linker describes them: where
//! they are mapped, and to which functions their calls lead.
//!
//! The linker's lock is held while it describes them, so that nothing in here calls the linker. No locks
//! of ours.

use libc::{c_int, c_void, dl_phdr_info, size_t};
use std::ffi::{CStr, c_char};
use std::ops::Range;
use std::slice;

/// Tags of an object's dynamic section (System V ABI; glibc's elf.h).
const DT_STRTAB: usize = 5;
const DT_SYMTAB: usize = 6;
const DT_RELA: usize = 7;
const DT_RELASZ: usize = 8;
const DT_PLTRELSZ: usize = 2;
const DT_JMPREL: usize = 23;
/// So many of them are looked at.
const TAGS: usize = 24;

/// An entry of a dynamic section: Elf64_Dyn.
#[repr(C)]
struct Entry {
    tag: usize,
    value: usize,
}

/// A place where the linker has put an address: Elf64_Rela.
#[repr(C)]
struct Relocation {
    offset: usize,
    /// The symbol's number, above 32 bits of kind.
    info: u64,
    addend: i64,
}

/// Elf64_Sym.
#[repr(C)]
struct Symbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: usize,
    size: u64,
}

/// An object, while the linker describes it.
#[derive(Debug)]
pub(super) struct Object<'a> {
    base: usize,
    headers: &'a [libc::Elf64_Phdr],
}

impl Object<'_> {
    /// Where its parts are mapped.
    fn parts(&self) -> impl Iterator<Item = Range<usize>> {
        let loaded = self.headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
        loaded.map(|header| {
            let start = self.base.wrapping_add(size(header.p_vaddr));
            start..start.wrapping_add(size(header.p_memsz))
        })
    }

    /// Whether this address lies in it.
    pub(super) fn contains(&self, address: usize) -> bool {
        self.parts().any(|part| part.contains(&address))
    }

    /// From its first byte to its last.
    fn extent(&self) -> Option<Range<usize>> {
        self.parts().reduce(|one, other| one.start.min(other.start)..one.end.max(other.end))
    }

    /// Whether it calls the function `name` by that name, and gets to one of `functions`.
    pub(super) fn calls(&self, name: &CStr, functions: &[usize]) -> bool {
        let dynamic = self.headers.iter().find(|header| header.p_type == libc::PT_DYNAMIC);
        let Some(dynamic) = dynamic else { return false };
        let tags = self.tags(self.base.wrapping_add(size(dynamic.p_vaddr)) as *const Entry);
        let [names, symbols] = [tags[DT_STRTAB], tags[DT_SYMTAB]];
        if names == 0 || symbols == 0 {
            return false;
        }
        let symbols = self.address(symbols) as *const Symbol;
        let names = self.address(names) as *const c_char;
        let tables = [(tags[DT_JMPREL], tags[DT_PLTRELSZ]), (tags[DT_RELA], tags[DT_RELASZ])];
        tables.into_iter().filter(|(table, _)| *table != 0).any(|(table, length)| {
            let first = self.address(table) as *const Relocation;
            // SAFETY: the object's table of that many bytes, which the linker has read.
            let table = unsafe { slice::from_raw_parts(first, length / size_of::<Relocation>()) };
            table.iter().any(|relocation| {
                let number = size(relocation.info >> 32);
                let symbol = symbols.wrapping_add(number);
                // SAFETY: the symbol that a relocation of this object names.
                let name_at = || unsafe { symbol.read() }.name as usize;
                // SAFETY: the name of a symbol of this object.
                let found = || unsafe { CStr::from_ptr(names.wrapping_add(name_at())) };
                let place = self.base.wrapping_add(relocation.offset) as *const usize;
                // SAFETY: a word of this object, into which the linker writes an address.
                number != 0 && found() == name && functions.contains(&unsafe { place.read() })
            })
        })
    }

    /// The values of the tags of a dynamic section; 0 if there is none.
    fn tags(&self, first: *const Entry) -> [usize; TAGS] {
        let mut values = [0; TAGS];
        let mut place = first;
        loop {
            // SAFETY: the section ends with an entry of tag 0, at which we stop.
            let entry = unsafe { place.read() };
            if entry.tag == 0 {
                return values;
            }
            if let Some(value) = values.get_mut(entry.tag) {
                *value = entry.value;
            }
            place = place.wrapping_add(1);
        }
    }

    /// The linker has made addresses of the section's, except in an object that it did not load
    /// itself (the kernel's vdso).
    fn address(&self, value: usize) -> usize {
        if value < self.base { self.base.wrapping_add(value) } else { value }
    }
}

/// A number of the linker's, which has 64 bits like an address.
fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(0)
}

/// Where the object is mapped that `address` lies in.
pub fn extent_of(address: usize) -> Option<Range<usize>> {
    let mut found = None;
    any_object(&mut |object| {
        let contains = object.contains(address);
        if contains {
            found = object.extent();
        }
        contains
    });
    found
}

/// Whether `is_it` says so of an object. It must not call the linker.
pub(super) fn any_object(mut is_it: &mut dyn FnMut(&Object<'_>) -> bool) -> bool {
    unsafe extern "C" fn look(info: *mut dl_phdr_info, _: size_t, data: *mut c_void) -> c_int {
        // SAFETY: the linker's description of an object.
        let Some(info) = (unsafe { info.as_ref() }) else { return 0 };
        // SAFETY: what was passed to dl_iterate_phdr below.
        let is_it = unsafe { data.cast::<&mut dyn FnMut(&Object<'_>) -> bool>().as_mut() };
        let Some(is_it) = is_it.filter(|_| !info.dlpi_phdr.is_null()) else { return 0 };
        // SAFETY: its program headers, so many of them.
        let headers = unsafe { slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        c_int::from(is_it(&Object { base: size(info.dlpi_addr), headers }))
    }
    // SAFETY: a function of the right type, which calls nothing of the linker, and its argument.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut is_it).cast()) != 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_its_own_addresses_alone() {
        let here = extent_of(extent_of as *const () as usize).unwrap();
        assert!(here.contains(&(any_object as *const () as usize)));
        assert!(!here.contains(&(libc::dl_iterate_phdr as *const () as usize)));
        assert_eq!(extent_of(1), None);
    }

    #[test]
    fn a_call_by_name_is_seen_with_its_target() {
        let here = extent_of as *const () as usize;
        let target = libc::dl_iterate_phdr as *const () as usize;
        let calls = |name, function: usize| {
            any_object(&mut |object| object.contains(here) && object.calls(name, &[function]))
        };
        assert!(calls(c"dl_iterate_phdr", target));
        assert!(!calls(c"dl_iterate_phdr", 1));
        assert!(!calls(c"no_such_function", target));
    }
}

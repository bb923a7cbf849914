//! Objects in the process (the program and its libraries) as the dynamic linker describes them: where
//! they are mapped, and to which functions their calls lead.
//!
//! The linker's lock is held while it describes them, so that nothing in here calls the linker. No locks
//! of ours.

use libc::{c_int, c_void, dl_phdr_info, size_t};
use std::ffi::{CStr, c_char};
use std::ops::Range;
use std::slice;

/// Tags of an object's dynamic section (System V ABI; glibc's elf.h): DT_JMPREL, DT_PLTRELSZ, DT_RELA,
/// DT_RELASZ, DT_STRTAB, DT_SYMTAB, DT_VERSYM, DT_VERNEED.
const TAGS: [usize; 8] = [23, 2, 7, 8, 5, 6, 0x6fff_fff0, 0x6fff_fffe];

/// The tables that a dynamic section names.
struct Dynamic {
    /// Each with its length in bytes; 0 if there is none.
    relocations: [(usize, usize); 2],
    names: usize,
    symbols: usize,
    versions: Option<usize>,
    needs: Option<usize>,
}

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

/// The versions that are wanted of one file: Elf64_Verneed. Places are counted from its own.
#[repr(C)]
struct Need {
    structure: u16,
    count: u16,
    file: u32,
    first: u32,
    next: u32,
}

/// A version among them: Elf64_Vernaux.
#[repr(C)]
struct NeededVersion {
    hash: u32,
    flags: u16,
    number: u16,
    name: u32,
    next: u32,
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
        self.any_place(name, |_, target| functions.contains(&target))
    }

    /// Where its calls of `name` lead. The linker may not have looked yet: then into the object itself.
    pub(super) fn target(&self, name: &CStr) -> Option<usize> {
        let mut found = None;
        self.any_place(name, |_, target| found.replace(target).is_none());
        found
    }

    /// The version of the function `name` that it wants, if it wants one of a version. It is part of
    /// the object.
    pub(super) fn version(&self, name: &CStr) -> Option<&'static CStr> {
        let mut number = None;
        self.any_place(name, |symbol, _| number.replace(symbol).is_none());
        let dynamic = self.dynamic()?;
        let (versions, needs) = (dynamic.versions?, dynamic.needs?);
        // SAFETY: the table has an entry for each symbol. A bit of it is a flag.
        let wanted = unsafe { (versions as *const u16).wrapping_add(number?).read() } & 0x7fff;
        let mut need = needs;
        loop {
            // SAFETY: the first of a list of those, or the next.
            let of_file = unsafe { (need as *const Need).read() };
            let mut place = need.wrapping_add(of_file.first as usize);
            for _ in 0..of_file.count {
                // SAFETY: one of so many of that file.
                let version = unsafe { (place as *const NeededVersion).read() };
                if version.number == wanted {
                    let name = (dynamic.names as *const c_char).wrapping_add(version.name as usize);
                    // SAFETY: the version's name. The object stays, because its call is what we are in.
                    return Some(unsafe { CStr::from_ptr(name) });
                }
                place = place.wrapping_add(version.next as usize);
            }
            if of_file.next == 0 {
                return None;
            }
            need = need.wrapping_add(of_file.next as usize);
        }
    }

    /// Whether `is_it` says so of a place for the address of `name`: by the symbol's number and by
    /// the address there.
    fn any_place(&self, name: &CStr, mut is_it: impl FnMut(usize, usize) -> bool) -> bool {
        let Some(dynamic) = self.dynamic() else { return false };
        dynamic.relocations.into_iter().filter(|(table, _)| *table != 0).any(|(table, length)| {
            let (first, count) = (table as *const Relocation, length / size_of::<Relocation>());
            // SAFETY: the object's table of that many bytes, which the linker has read.
            let table = unsafe { slice::from_raw_parts(first, count) };
            table.iter().any(|relocation| {
                let number = size(relocation.info >> 32);
                let symbol = (dynamic.symbols as *const Symbol).wrapping_add(number);
                // SAFETY: the symbol that a relocation of this object names.
                let name_at = || unsafe { symbol.read() }.name as usize;
                let names = dynamic.names as *const c_char;
                // SAFETY: the name of a symbol of this object.
                let found = || unsafe { CStr::from_ptr(names.wrapping_add(name_at())) };
                let place = self.base.wrapping_add(relocation.offset) as *const usize;
                // SAFETY: a word of this object, into which the linker writes an address.
                number != 0 && found() == name && is_it(number, unsafe { place.read() })
            })
        })
    }

    /// The tables that its dynamic section names.
    fn dynamic(&self) -> Option<Dynamic> {
        let dynamic = self.headers.iter().find(|header| header.p_type == libc::PT_DYNAMIC)?;
        let tags = self.tags(self.base.wrapping_add(size(dynamic.p_vaddr)) as *const Entry);
        let [plt, plt_length, all, all_length, names, symbols, versions, needs] = tags;
        let table = |value: usize| (value != 0).then(|| self.address(value));
        Some(Dynamic {
            relocations: [(plt, plt_length), (all, all_length)]
                .map(|(place, length)| (table(place).unwrap_or(0), length)),
            names: table(names)?,
            symbols: table(symbols)?,
            versions: table(versions),
            needs: table(needs),
        })
    }

    /// The values of [`TAGS`] in a dynamic section; 0 if there is none.
    fn tags(&self, first: *const Entry) -> [usize; TAGS.len()] {
        let mut values = [0; TAGS.len()];
        let mut place = first;
        loop {
            // SAFETY: the section ends with an entry of tag 0, at which we stop.
            let entry = unsafe { place.read() };
            if entry.tag == 0 {
                return values;
            }
            for (tag, value) in TAGS.into_iter().zip(&mut values) {
                if tag == entry.tag {
                    *value = entry.value;
                }
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
    find_object(address, |object| object.extent()).flatten()
}

/// The answer of `look` about the object in which `address` lies. It must not call the linker.
pub(super) fn find_object<T>(address: usize, look: impl Fn(&Object<'_>) -> T) -> Option<T> {
    let mut found = None;
    any_object(&mut |object| {
        let contains = object.contains(address);
        if contains {
            found = Some(look(object));
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

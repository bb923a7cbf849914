//! The dynamic loader: how this library came into the process.
//!
//! All is read from memory, with no system call. To be asked only while the library is loaded,
//! because the loader then holds its lock and no object can leave.

use libc::{PT_DYNAMIC, PT_LOAD, c_int, c_void, dl_phdr_info};
use std::ffi::CStr;
use std::{mem, ptr, slice};

#[cfg(target_pointer_width = "32")]
use libc::Elf32_Phdr as Header;
#[cfg(target_pointer_width = "64")]
use libc::Elf64_Phdr as Header;

/// An entry of an object's dynamic section: Elf32_Dyn or Elf64_Dyn of elf.h.
#[repr(C)]
struct Entry {
    tag: usize,
    value: usize,
}

const END: usize = 0;
const NEEDED: usize = 1;
const STRING_TABLE: usize = 5;
const SONAME: usize = 14;

/// A program or a shared library in memory.
struct Object {
    /// The path by which the loader found it; empty for the program.
    path: &'static CStr,
    /// DT_SONAME, the name by which others need it.
    soname: Option<&'static CStr>,
    /// DT_NEEDED: what it asks for itself.
    needed: Vec<&'static CStr>,
    /// This code is in it.
    is_ours: bool,
}

impl Object {
    /// The loader's rule: a path is compared as a whole, a name with the soname and the file's name.
    fn is_named(&self, name: &CStr) -> bool {
        let file = self.path.to_bytes().rsplit(|byte| *byte == b'/').next();
        self.path == name || self.soname == Some(name) || file == Some(name.to_bytes())
    }
}

/// Whether the program asks for this library itself: it was linked with it, or with a library that
/// was. False if the library was only preloaded, or loaded later by a module.
pub fn is_dependency_of_program() -> bool {
    let mut objects: Vec<Object> = Vec::new();
    // SAFETY: `note` gets what it expects, and the list outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut objects).cast()) };
    // The program comes first.
    reaches_us(&objects)
}

/// Whether the first object is ours or needs ours, also through others.
fn reaches_us(objects: &[Object]) -> bool {
    let mut seen = vec![false; objects.len()];
    let mut ahead = vec![0];
    while let Some(at) = ahead.pop() {
        let (Some(object), Some(seen)) = (objects.get(at), seen.get_mut(at)) else { continue };
        if object.is_ours {
            return true;
        }
        if !mem::replace(seen, true) {
            let find = |name| objects.iter().position(|object| object.is_named(name));
            ahead.extend(object.needed.iter().filter_map(|name| find(name)));
        }
    }
    false
}

/// Called by the loader for each object: adds it to the list.
unsafe extern "C" fn note(info: *mut dl_phdr_info, _: usize, list: *mut c_void) -> c_int {
    // SAFETY: the loader's own struct, for the duration of the call.
    let info = unsafe { &*info };
    // SAFETY: the list that `is_dependency_of_program` gave, which nobody else uses meanwhile.
    let list = unsafe { &mut *list.cast::<Vec<Object>>() };
    list.push(object(info));
    0
}

fn object(info: &dl_phdr_info) -> Object {
    let path = match info.dlpi_name.is_null() {
        true => c"",
        // SAFETY: the loader's C string, which stays while the object does (see the file's head).
        false => unsafe { CStr::from_ptr(info.dlpi_name) },
    };
    let image = Image::of(info);
    let is_ours = image.contains(note as *const () as usize);
    let mut object = Object { path, soname: None, needed: Vec::new(), is_ours };
    let Some(table) = image.string_table() else { return object };
    for (tag, offset) in image.entries() {
        let address = table.wrapping_add(offset);
        if (tag == NEEDED || tag == SONAME) && image.contains(address) {
            // SAFETY: a string of the object's table, in memory of its own, which stays.
            let text = unsafe { CStr::from_ptr(address as *const libc::c_char) };
            match tag {
                SONAME => object.soname = Some(text),
                _ => object.needed.push(text),
            }
        }
    }
    object
}

/// An object's memory, by its program headers.
struct Image<'a> {
    base: usize,
    headers: &'a [Header],
}

impl<'a> Image<'a> {
    fn of(info: &'a dl_phdr_info) -> Image<'a> {
        let headers = match info.dlpi_phdr.is_null() {
            true => &[],
            // SAFETY: the object's program headers, as many as the loader says.
            false => unsafe { slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) },
        };
        Image { base: word(info.dlpi_addr), headers }
    }

    /// Where a header's part begins.
    fn start(&self, header: &Header) -> usize {
        self.base.wrapping_add(word(header.p_vaddr))
    }

    fn contains(&self, address: usize) -> bool {
        let is_in = |part: &Header| address.wrapping_sub(self.start(part)) < word(part.p_memsz);
        self.headers.iter().any(|header| header.p_type == PT_LOAD && is_in(header))
    }

    /// The dynamic section; empty without one.
    fn entries(&self) -> Entries {
        let dynamic = self.headers.iter().find(|header| header.p_type == PT_DYNAMIC);
        Entries(dynamic.map_or(ptr::null(), |header| self.start(header) as *const Entry))
    }

    /// Most loaders have put an address where the file has an offset; some have not, and none has for
    /// the vDSO.
    fn string_table(&self) -> Option<usize> {
        let (_, value) = self.entries().find(|(tag, _)| *tag == STRING_TABLE)?;
        [value, self.base.wrapping_add(value)].into_iter().find(|table| self.contains(*table))
    }
}

/// An address or a length, which has the machine's own size in these structs.
fn word(value: impl TryInto<usize>) -> usize {
    value.try_into().unwrap_or(0)
}

/// The entries of a dynamic section, as tag and value, up to the one that ends it. The section is
/// where PT_DYNAMIC says, and the loader itself reads it there.
struct Entries(*const Entry);

impl Iterator for Entries {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        // SAFETY: NULL, or an entry of the section: it is not past the end, see below.
        let entry = unsafe { self.0.as_ref() }?;
        if entry.tag == END {
            return None;
        }
        // SAFETY: the section goes on up to its END.
        self.0 = unsafe { self.0.add(1) };
        Some((entry.tag, entry.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(soname: &'static CStr, needed: &[&'static CStr]) -> Object {
        Object { path: c"", soname: Some(soname), needed: needed.to_vec(), is_ours: false }
    }

    fn ours(path: &'static CStr) -> Object {
        Object { path, soname: Some(c"ours.so.0"), needed: vec![], is_ours: true }
    }

    #[test]
    fn a_program_reaches_what_it_or_its_libraries_need() {
        let program = |needed: &[&'static CStr]| object(c"program", needed);
        assert!(reaches_us(&[program(&[c"c.so", c"ours.so.0"]), ours(c"/x/other name")]));
        assert!(reaches_us(&[program(&[c"/x/ours.so"]), ours(c"/x/ours.so")]), "by its path");
        assert!(reaches_us(&[program(&[c"ours.so"]), ours(c"/x/ours.so")]), "by the file's name");
        let through = object(c"a.so", &[c"b.so", c"program", c"ours.so.0"]);
        assert!(reaches_us(&[program(&[c"a.so"]), through, ours(c"")]), "in a circle, too");
    }

    #[test]
    fn what_is_there_without_being_needed_is_not_reached() {
        let program = object(c"program", &[c"c.so", c"gone.so"]);
        let module = object(c"module.so", &[c"ours.so.0"]);
        assert!(!reaches_us(&[program, ours(c"/x/ours.so"), module]));
        assert!(!reaches_us(&[]));
    }

    #[test]
    fn the_objects_of_this_process_are_read() {
        let mut objects: Vec<Object> = Vec::new();
        // SAFETY: as in `is_dependency_of_program`.
        unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut objects).cast()) };
        assert_eq!(objects.iter().filter(|object| object.is_ours).count(), 1);
        let needs = |name| objects.iter().any(|object| object.needed.contains(&name));
        assert!(needs(c"libc.so.6") && objects.iter().any(|object| object.is_named(c"libc.so.6")));
        assert!(is_dependency_of_program(), "this code is in the program itself");
    }
}

//! Facts about the file of a program or a library: its loader, what it needs, and whether it has an
//! OpenSSL built in.
//!
//! Nothing is assumed of the file. If it is not ELF, the kernel decides whether it runs.

use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader32, FileHeader64, SHT_DYNSYM, SHT_SYMTAB, SectionType};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, Sym};
use object::read::{FileKind, ReadRef};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The facts that matter about an ELF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Elf {
    /// The loader, which heeds LD_PRELOAD; a static program has none.
    pub(crate) loader: Option<PathBuf>,
    /// Whether the file defines SSL_CTX_new itself.
    pub(crate) brings_openssl: bool,
    /// Whether it does so for others.
    pub(crate) exports_openssl: bool,
    /// Whether Go's compiler made it, which leaves a section of its own.
    pub(crate) is_go: bool,
    /// The names of the libraries that it needs.
    pub(crate) needed: Vec<String>,
}

/// The reasons why there are no facts about a file.
#[derive(Debug)]
pub(crate) enum ElfError {
    /// The file cannot be read.
    File(io::Error),
    /// The file is not ELF, or damaged.
    NotElf,
}

impl From<object::Error> for ElfError {
    fn from(_: object::Error) -> ElfError {
        ElfError::NotElf
    }
}

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<Elf, ElfError> {
    parse(&fs::read(path).map_err(ElfError::File)?)
}

/// Reads the bytes of a file.
pub(crate) fn parse(bytes: &[u8]) -> Result<Elf, ElfError> {
    match FileKind::parse(bytes)? {
        FileKind::Elf32 => facts::<FileHeader32<Endianness>>(bytes),
        FileKind::Elf64 => facts::<FileHeader64<Endianness>>(bytes),
        _ => Err(ElfError::NotElf),
    }
}

fn facts<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<Elf, ElfError> {
    let header = H::parse(bytes)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, bytes)?;
    let loader = segments
        .iter()
        .find_map(|segment| segment.interpreter(endian, bytes).ok().flatten())
        .map(|path| PathBuf::from(OsStr::from_bytes(path)));
    let defines = |table| defines(header, endian, bytes, table, b"SSL_CTX_new").unwrap_or(false);
    let exports_openssl = defines(SHT_DYNSYM);
    let brings_openssl = exports_openssl || defines(SHT_SYMTAB);
    let is_go = has_section(header, endian, bytes, b".go.buildinfo").unwrap_or(false);
    let needed = needed(header, endian, bytes).unwrap_or_default();
    Ok(Elf { loader, brings_openssl, exports_openssl, is_go, needed })
}

/// Whether a file has a section of this name.
fn has_section<'a, H: FileHeader, R: ReadRef<'a>>(
    header: &H,
    endian: H::Endian,
    bytes: R,
    name: &[u8],
) -> object::Result<bool> {
    Ok(header.sections(endian, bytes)?.section_by_name(endian, name).is_some())
}

/// The names in a file's DT_NEEDED.
fn needed<'a, H: FileHeader, R: ReadRef<'a>>(
    header: &H,
    endian: H::Endian,
    bytes: R,
) -> object::Result<Vec<String>> {
    let sections = header.sections(endian, bytes)?;
    let Some((entries, strings)) = sections.dynamic(endian, bytes)? else { return Ok(Vec::new()) };
    let strings = sections.strings(endian, bytes, strings)?;
    let needed = entries.iter().filter(|entry| entry.tag(endian) == DT_NEEDED);
    needed
        .map(|entry| Ok(String::from_utf8_lossy(entry.string(endian, strings)?).into_owned()))
        .collect()
}

/// Whether the symbols of this table, if a file still has it, define a name.
fn defines<'a, H: FileHeader, R: ReadRef<'a>>(
    header: &H,
    endian: H::Endian,
    bytes: R,
    table: SectionType,
    name: &[u8],
) -> object::Result<bool> {
    let symbols = header.sections(endian, bytes)?.symbols(endian, bytes, table)?;
    Ok(symbols.iter().any(|symbol| {
        !symbol.is_undefined(endian) && symbol.name(endian, symbols.strings()) == Ok(name)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_dynamic_and_without_openssl() {
        let elf = read(&std::env::current_exe().unwrap()).unwrap();
        assert!(elf.loader.is_some_and(|loader| loader.exists()));
        assert!(!elf.brings_openssl && !elf.is_go);
        assert!(elf.needed.iter().any(|name| name.starts_with("libc.")), "{:?}", elf.needed);
    }

    #[test]
    fn any_bytes_are_survived() {
        assert!(matches!(parse(b""), Err(ElfError::NotElf)));
        assert!(matches!(parse(b"#!/bin/sh\n"), Err(ElfError::NotElf)));
        let good = fs::read("/bin/true").unwrap();
        for length in 0..1024.min(good.len()) {
            let _ = parse(&good[..length]);
        }
        for index in 0..64 {
            let mut bad = good.clone();
            bad[index] ^= 0xff;
            let _ = parse(&bad);
        }
    }
}

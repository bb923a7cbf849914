//! What a program's file says about it: its loader, an OpenSSL of its own.
//!
//! The file may be anything: what cannot be made sense of is `None`, and the kernel will judge it.

use object::Endianness;
use object::elf::{FileHeader32, FileHeader64, SHT_DYNSYM, SHT_SYMTAB};
use object::read::elf::{FileHeader, ProgramHeader, Sym};
use object::read::{FileKind, ReadRef};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What matters of an ELF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Elf {
    /// The loader, which heeds LD_PRELOAD; a static program has none.
    pub(crate) loader: Option<PathBuf>,
    /// It defines SSL_CTX_new itself.
    pub(crate) brings_openssl: bool,
}

/// Reads a file; `None` if it is not ELF.
pub(crate) fn read(path: &Path) -> io::Result<Option<Elf>> {
    Ok(parse(&fs::read(path)?))
}

fn parse(bytes: &[u8]) -> Option<Elf> {
    match FileKind::parse(bytes).ok()? {
        FileKind::Elf32 => facts::<FileHeader32<Endianness>>(bytes),
        FileKind::Elf64 => facts::<FileHeader64<Endianness>>(bytes),
        _ => None,
    }
}

fn facts<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Option<Elf> {
    let header = H::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, bytes).ok()?;
    let loader = segments
        .iter()
        .find_map(|segment| segment.interpreter(endian, bytes).ok().flatten())
        .map(|path| PathBuf::from(OsStr::from_bytes(path)));
    let brings_openssl = defines(header, endian, bytes, b"SSL_CTX_new").unwrap_or(false);
    Some(Elf { loader, brings_openssl })
}

/// Whether the symbols of a file, as far as it still has any, define a name.
fn defines<'a, H: FileHeader, R: ReadRef<'a>>(
    header: &H,
    endian: H::Endian,
    bytes: R,
    name: &[u8],
) -> object::Result<bool> {
    let sections = header.sections(endian, bytes)?;
    for table in [SHT_DYNSYM, SHT_SYMTAB] {
        let symbols = sections.symbols(endian, bytes, table)?;
        if symbols.iter().any(|symbol| {
            !symbol.is_undefined(endian) && symbol.name(endian, symbols.strings()) == Ok(name)
        }) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_dynamic_and_without_openssl() {
        let elf = read(&std::env::current_exe().unwrap()).unwrap().unwrap();
        assert!(elf.loader.is_some_and(|loader| loader.exists()));
    }

    #[test]
    fn any_bytes_are_survived() {
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"#!/bin/sh\n"), None);
        let good = fs::read("/bin/true").unwrap();
        for length in 0..1024.min(good.len()) {
            parse(&good[..length]);
        }
        for place in 0..64 {
            let mut bad = good.clone();
            bad[place] ^= 0xff;
            parse(&bad);
        }
    }
}

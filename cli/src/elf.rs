//! Facts about a program's file: its loader, and whether it has an OpenSSL built in.
//!
//! Nothing is assumed of the file. If it is not ELF, the kernel decides whether it runs.

use object::Endianness;
use object::elf::{FileHeader32, FileHeader64, SHT_DYNSYM, SHT_SYMTAB};
use object::read::elf::{FileHeader, ProgramHeader, Sym};
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

fn parse(bytes: &[u8]) -> Result<Elf, ElfError> {
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
    let brings_openssl = defines(header, endian, bytes, b"SSL_CTX_new").unwrap_or(false);
    Ok(Elf { loader, brings_openssl })
}

/// Whether the symbols that a file still has define a name.
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
        let elf = read(&std::env::current_exe().unwrap()).unwrap();
        assert!(elf.loader.is_some_and(|loader| loader.exists()));
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

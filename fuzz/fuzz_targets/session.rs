//! Sessions of any content come back as they were, shortened or whole; shortened ones of any content
//! become a session or none, of a bounded length, and never one that does not come back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sesscache::seal::compact::{Known, restore, shorten};

const HEAD: &[u8] = b"origin";
/// The most that the parts of a session that are known, and the framing of its fields, add.
const MOST_ADDED: usize = 1024;

fn comes_back(der: &[u8], known: &Known<'_>) {
    let all = shorten(HEAD, der, known).unwrap();
    let short = all.strip_prefix(HEAD).unwrap();
    assert!(short.len() <= 1 + der.len());
    assert!(*restore(short, known).unwrap() == *der);
}

fuzz_target!(|data: &[u8]| {
    let Some((&kind, data)) = data.split_first() else { return };
    let began = 1_764_000_000;
    let known = Known {
        version: [0x303, 0x304, 0xfefd, 0][usize::from(kind & 3)],
        id: &b"0123456789abcdef0123456789abcdef"[..usize::from(kind >> 2 & 1) * 32],
        name: [&b"www.example.org"[..], b"", &[b'a'; 255]][usize::from(kind >> 3) % 3],
        began,
        deadline: u64::from(began) + 300,
    };
    comes_back(data, &known);
    if let Some(der) = restore(data, &known) {
        assert!(der.len() <= data.len() + MOST_ADDED);
        comes_back(&der, &known);
    }
});

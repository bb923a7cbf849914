//! Sessions of any content come back as they were, shortened or whole; shortened ones of any content
//! become a session or none, of a bounded length, and never one that does not come back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sesscache::compact::shape::{Parts, Shape};
use sesscache::compact::{Known, append_short, restore};
use sesscache_core::system::wipe::Wiped;

/// The most that the parts of a session that are known, and the framing of its fields, add.
const MOST_ADDED: usize = 1024;

fn comes_back(der: &[u8], known: &Known<'_>) {
    let mut short = Wiped::default();
    append_short(&mut short, der, known).unwrap();
    assert!(short.len() <= 1 + der.len());
    assert!(*restore(&short, known).unwrap() == *der);
    has_its_shape(&short, known);
}

/// A session is of the shape that it has, and one that is put together of that shape is, too.
fn has_its_shape(short: &[u8], known: &Known<'_>) {
    let Some(parts) = Parts::of(short, known) else { return };
    let Some(shape) = Shape::of(&parts, known) else { return };
    assert!(shape.is_of(&parts, known));
    let mut again = Vec::with_capacity(shape.most_bytes());
    shape.append(&parts.fields, known, &mut again).unwrap();
    let parts_again = Parts::of(&again, known).unwrap();
    assert!(parts_again.fields == parts.fields && shape.is_of(&parts_again, known));
    assert!(restore(&again, known).is_some());
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

//! A store file with known, sealed records, of which any bytes are changed before it is opened: it
//! is refused, or forgets. It gives out no record that was not put, or was removed; nor does it
//! crash, or hang.
//!
//! An input is a list of changes: part of the file, place in it, bytes. `tests/store_damage` makes
//! each single change; here are many at once.
#![no_main]

mod folder;
#[path = "../../tests/store_damage/specimen.rs"]
mod specimen;

use folder::{Input, store_path};
use libfuzzer_sys::fuzz_target;
use specimen::{SIZE, Specimen};
use std::ops::Range;
use std::sync::LazyLock;

static SPECIMEN: LazyLock<Specimen> = LazyLock::new(|| Specimen::new(&store_path("file")));
static PARTS: LazyLock<Vec<Range<usize>>> = LazyLock::new(|| {
    let mut parts = SPECIMEN.used();
    parts.push(0..SIZE);
    parts
});

fn damage(specimen: &Specimen, data: &[u8]) {
    let mut input = Input(data);
    // A length that is wrong is refused and little else.
    let length = if input.byte() == 0xFF { usize::from(input.half()) << 5 } else { SIZE };
    for _ in 0..64 {
        if input.is_over() {
            break;
        }
        let part = &PARTS[usize::from(input.byte()) % PARTS.len()];
        let at = part.start + input.word() as usize % part.len();
        let form = input.byte();
        let is = specimen.image()[at..].iter().take(1 + usize::from(form % 8));
        // Other bytes, or some bits of them.
        let is_flip = form & 0x80 != 0;
        let bytes = is.map(|is| input.byte() ^ if is_flip { *is } else { 0 }).collect::<Vec<_>>();
        specimen.write(at, &bytes);
    }
    specimen.set_length(length);
}

fuzz_target!(|data: &[u8]| {
    if let Err(wrong) = SPECIMEN.check_damaged(|file| damage(file, data)) {
        panic!("{wrong}");
    }
});

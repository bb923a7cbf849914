//! Records whose locators are written down, and whether one store has what the other has.

use crate::{Locators, now, put};
use sesscache_core::store::{Locator, Lookup, Store};
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) fn fill(
    store: &Store,
    rate: u32,
    count: u32,
    ledger: &Path,
) -> Result<(), Box<dyn Error>> {
    let mut file = std::io::BufWriter::new(fs::File::create(ledger)?);
    let mut locators = Locators::new();
    let start = Instant::now();
    for number in 0..count {
        let due = start + Duration::from_secs(1) * number / rate;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let locator = locators.draw();
        put(store, &locator)?;
        file.write_all(&locator.0)?;
    }
    Ok(file.flush()?)
}

pub(crate) fn compare(from: &Store, to: &Store, ledger: &Path) -> Result<(), Box<dyn Error>> {
    let bytes = fs::read(ledger)?;
    let (locators, _) = bytes.as_chunks();
    let (mut held, mut missing) = (0, 0);
    for locator in locators.iter().map(|bytes| Locator(*bytes)) {
        if is_in(from, &locator) {
            held += 1;
            missing += u32::from(!is_in(to, &locator));
        }
    }
    println!("held {held} missing {missing}");
    Ok(())
}

fn is_in(store: &Store, locator: &Locator) -> bool {
    matches!(store.get(locator, now(), &mut Vec::new()), Lookup::Found { .. })
}

//! Records from elsewhere, of any content: what is not whole is refused; what is accepted and taken
//! over is found as it was, under its own locator alone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sesscache_core::store::{LogBatch, Lookup, MOST_PAYLOAD, Now, Record, Store, StoreUrl};
use std::sync::LazyLock;

const NOW: Now = Now(1_700_000_000_000);
// docs/STORE.md.
const HEAD_BYTES: usize = 36;
const LAST_DEADLINE: u64 = (1 << 40) - 1;

static STORE: LazyLock<Store> =
    LazyLock::new(|| Store::open(&StoreUrl::parse("shm:?size=1MiB").unwrap()).unwrap());

fn take_over(record: &Record<'_>) {
    let store = &*STORE;
    let is_over = record.deadline() < NOW.0 / 1000;
    let applied = store.apply(record, NOW);
    if record.is_removal() && record.locator().0.starts_with(b"flushes\0") {
        // A flush, which is of no single session.
        return;
    }
    let mut found = Vec::new();
    let lookup = store.get(record.locator(), NOW, &mut found);
    if applied.is_ok() && !is_over {
        if record.is_removal() {
            assert_eq!(lookup, Lookup::Removed);
            assert!(!store.may_resume(record.locator(), 5, NOW));
        } else {
            let deadline = record.deadline().min(LAST_DEADLINE);
            assert!(matches!(lookup, Lookup::Found { deadline: until, .. } if until == deadline));
            assert!(record.bytes()[HEAD_BYTES..].starts_with(&found));
            assert!(record.bytes().len() - HEAD_BYTES - found.len() < 8);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    while let Some((record, after)) = Record::split(rest) {
        assert_eq!(record.bytes().len() + after.len(), rest.len());
        assert!(record.bytes().len().is_multiple_of(8));
        assert!(record.bytes().len() <= HEAD_BYTES + MOST_PAYLOAD);
        assert_eq!(record.bytes()[20..36], record.locator().0);
        take_over(&record);
        rest = after;
    }
    // What came from elsewhere is not told again.
    let mut batch = LogBatch::default();
    for region in 0..STORE.region_count() {
        STORE.read_log(region, NOW, &mut batch);
        assert_eq!((batch.records, STORE.has_more(region)), (0, false));
    }
});

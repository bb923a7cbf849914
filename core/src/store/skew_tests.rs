//! A clock that is a year ahead for a while.

use super::*;
use crate::system::clock::now_milliseconds;

const YEAR: u64 = 365 * 86400 * 1000;
const HOUR: u64 = 3600;

fn store() -> Store {
    Store::open(&StoreUrl::parse("shm:?size=1MiB").unwrap()).unwrap()
}

fn locator(kind: u64, number: u64) -> Locator {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    bytes[8..]
        .copy_from_slice(&(kind << 32 | number).wrapping_mul(0xD6E8_FEB8_6659_FD93).to_le_bytes());
    Locator(bytes)
}

/// Sessions that are made and removed, so many that the store forgets removals.
fn work(store: &Store, now: Now) {
    for number in 0..20_000 {
        let locator = locator(1, number);
        store.put(&locator, now.seconds() + HOUR, now, 0, &[1; 180]).unwrap();
        store.remove(&locator, now.seconds() + HOUR, now);
    }
}

/// So many that the store forgets all before.
fn push_out(store: &Store, now: Now) {
    for number in 0..20_000 {
        store.put(&locator(2, number), now.seconds() + HOUR, now, 0, &[1; 180]).unwrap();
    }
}

#[test]
fn what_begins_after_it_is_trusted() {
    let (store, now) = (store(), now_milliseconds() / 1000 * 1000);
    work(&store, Now(now + YEAR));
    let (began, own) = (now / 1000, locator(3, 0));
    assert_eq!(store.trust(&own, began, Now(now)), Trust::Good);
    // Removals with times of then are forgotten one by one meanwhile.
    push_out(&store, Now(now));
    assert_eq!(store.trust(&own, began, Now(now)), Trust::Good);
    // A forgotten removal may be of an older session, in most buckets.
    let older = (0..100).map(|number| store.trust(&locator(3, number), began - HOUR, Now(now)));
    let unproven = older.filter(|trust| *trust == Trust::Unproven).count();
    assert!(unproven > 80, "{unproven}");
}

#[test]
fn what_began_while_it_was_ahead_is_not_trusted_at_once() {
    for _ in 0..100 {
        let (store, now) = (store(), now_milliseconds() / 1000 * 1000);
        work(&store, Now(now + YEAR));
        let now = now_milliseconds() / 1000 * 1000;
        let began = (now + YEAR) / 1000;
        let trusts = [0, 0].map(|_| store.trust(&locator(1, 0), began, Now(now)));
        // The floor counts from the second in which somebody looked first.
        if now_milliseconds() / 1000 == now / 1000 {
            assert_eq!(trusts, [Trust::Unproven; 2]);
            return;
        }
    }
}

#[test]
fn sessions_of_other_hosts_are_taken_over_after_it() {
    let (store, now) = (store(), now_milliseconds() / 1000 * 1000);
    work(&store, Now(now + YEAR));
    let deadline = now / 1000 + HOUR;
    let put = |number, written: u64| {
        let source = Source::Elsewhere { second: written / 1000 };
        store.put_from(source, &locator(4, number), deadline, Now(now), &[1; 180])
    };
    assert_eq!(put(0, now), Ok(()));
    assert_eq!(put(1, now - HOUR * 1000), Err(PutError::Removed));
    // Its host's clock may be ahead, too.
    assert_eq!(put(2, now + YEAR), Err(PutError::Removed));
}

#[test]
fn removals_are_forgotten_no_more_than_before() {
    let (store, now) = (store(), now_milliseconds() / 1000 * 1000);
    work(&store, Now(now + YEAR));
    work(&store, Now(now));
    let began = now / 1000;
    assert_eq!(store.trust(&locator(3, 0), began, Now(now)), Trust::Unproven);
    assert_eq!(store.trust(&locator(3, 0), began + 1, Now(now)), Trust::Good);
}

#[test]
fn a_clock_that_differs_by_little_is_believed() {
    let (store, now) = (store(), now_milliseconds() / 1000 * 1000);
    work(&store, Now(now + 30_000));
    let began = now / 1000;
    assert_eq!(store.trust(&locator(3, 0), began + 30, Now(now)), Trust::Unproven);
    assert_eq!(store.trust(&locator(3, 0), began + 31, Now(now)), Trust::Good);
}

#[test]
fn the_removals_themselves_hold() {
    let (store, now) = (store(), now_milliseconds() / 1000 * 1000);
    let locator = locator(5, 0);
    store.remove(&locator, (now + YEAR) / 1000 + HOUR, Now(now + YEAR));
    push_out(&store, Now(now));
    assert_eq!(store.trust(&locator, now / 1000, Now(now)), Trust::Removed);
}

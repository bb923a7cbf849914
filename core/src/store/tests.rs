//! The promises of the store: get what was put, forget the oldest, never lie.

use super::cell::Cell;
use super::counters::TALLIES;
use super::layout::shard as at;
use super::*;
use crate::store::record::{MOVED, UNIT, start};
use std::collections::HashMap;

pub(super) const NOW: Now = Now(1_700_000_000_000);
pub(super) const LATER: u64 = 1_700_000_300;

pub(super) fn store() -> Store {
    Store::open(&StoreUrl::parse("shm:?size=1MiB").unwrap()).unwrap()
}

/// A locator that is spread like a hash.
pub(super) fn locator(number: u64) -> Locator {
    let mix = |mut x: u64| {
        x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ x >> 31
    };
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mix(number + 1).to_le_bytes());
    bytes[8..].copy_from_slice(&mix(number ^ 0x5555_5555).to_le_bytes());
    Locator(bytes)
}

/// A payload that tells whose it is.
pub(super) fn payload(number: u64, length: usize) -> Vec<u8> {
    number.to_le_bytes().iter().copied().cycle().take(length).collect()
}

pub(super) fn get(store: &Store, number: u64) -> Option<Vec<u8>> {
    let mut found = Vec::new();
    let lookup = store.get(&locator(number), NOW, &mut found);
    matches!(lookup, Lookup::Found { .. }).then_some(found)
}

pub(super) fn put(store: &Store, number: u64, length: usize) {
    store.put(&locator(number), LATER, NOW, 0, &payload(number, length)).unwrap();
}

#[test]
fn what_was_put_is_found_until_its_deadline() {
    let store = store();
    assert_eq!(get(&store, 1), None);
    put(&store, 1, 135);
    assert_eq!(get(&store, 1), Some(payload(1, 135)));
    let mut found = Vec::new();
    let at = |second: u64| Now(second * 1000 + 999);
    assert_eq!(store.get(&locator(1), at(LATER), &mut found), Lookup::Found { deadline: LATER });
    let past = store.get(&locator(1), at(LATER + 1), &mut found);
    assert!(matches!(past, Lookup::Missing));
    assert_eq!(get(&store, 1), None, "an expired record is gone for good");
    let counters = store.counters();
    assert_eq!((counters.misses, counters.expired), (3, 1));
    assert_eq!((counters.stores, counters.entries, counters.bytes), (1, 0, 0));
}

#[test]
fn what_is_found_is_a_hit_when_the_caller_says_so() {
    let store = Store::open(&StoreUrl::parse("shm:?size=4MiB").unwrap()).unwrap();
    for number in 0..20 {
        put(&store, number, 100);
        assert_eq!(get(&store, number), Some(payload(number, 100)));
    }
    let counters = store.counters();
    assert_eq!((counters.hits, counters.misses, counters.takes), (0, 0, 0));
    (0..20).for_each(|number| store.count_hit(&locator(number)));
    assert_eq!(store.counters(), Counters { hits: 20, ..counters });
    let hits = |shard: Shard<'_>| shard.counted(Counter::Hits);
    let of_shards: Vec<u64> = store.shards().map(hits).collect();
    assert!(of_shards.len() == 4 && !of_shards.contains(&20), "each in its shard: {of_shards:?}");
}

#[test]
fn each_tally_has_a_counter_of_its_own() {
    type Read = fn(&Counters) -> u64;
    let all: [(Tally, Read); TALLIES] = [
        (Tally::Undecryptable, |c| c.undecryptable),
        (Tally::Mismatched, |c| c.mismatched),
        (Tally::Oversize, |c| c.oversize),
        (Tally::RefusedNoIdentity, |c| c.refused_no_identity),
        (Tally::RefusedVerifyWithoutIdContext, |c| c.refused_verify_without_id_context),
        (Tally::RefusedNotAsked, |c| c.refused_not_asked),
        (Tally::RefusedNoClientCertificate, |c| c.refused_no_client_certificate),
        (Tally::RefusedUnverified, |c| c.refused_unverified),
        (Tally::RefusedApplication, |c| c.refused_application),
        (Tally::DeclinedName, |c| c.declined_name),
        (Tally::DeclinedLifetime, |c| c.declined_lifetime),
        (Tally::DeclinedIdContext, |c| c.declined_id_context),
        (Tally::DeclinedCipher, |c| c.declined_cipher),
        (Tally::DeclinedClient, |c| c.declined_client),
        (Tally::DeclinedHost, |c| c.declined_host),
        (Tally::ApplicationTicketKeys, |c| c.application_ticket_keys),
        (Tally::SharedMemory, |c| c.shared_memory),
        (Tally::RefusedSideData, |c| c.refused_side_data),
    ];
    let store = store();
    for (times, (tally, read)) in (1..).zip(all) {
        assert_eq!(read(&store.counters()), 0, "{tally:?}");
        (0..times).for_each(|_| store.tally(tally));
        assert_eq!(read(&store.counters()), times, "{tally:?}");
        // The layout has them in this order, which other versions read too.
        assert_eq!(u64::try_from(tally as usize).unwrap() + 1, times);
    }
}

#[test]
fn every_length_up_to_the_largest_and_no_more() {
    let store = store();
    for length in [0, 1, 7, 8, 9, 1000, MOST_PAYLOAD - 1, MOST_PAYLOAD] {
        put(&store, 7, length);
        assert_eq!(get(&store, 7), Some(payload(7, length)));
    }
    let too_long = vec![0; MOST_PAYLOAD + 1];
    assert_eq!(store.put(&locator(8), LATER, NOW, 0, &too_long), Err(PutError::Oversize));
    assert_eq!(store.counters().oversize, 1);
    assert_eq!(store.counters().entries, 1);
}

#[test]
fn a_removal_holds_and_wipes() {
    let store = store();
    let secret = b"a secret that must not be there any more afterwards";
    store.put(&locator(1), LATER, NOW, 0, secret).unwrap();
    assert!(holds(&store, secret));
    assert!(store.may_resume(&locator(1), 5, NOW));
    assert!(store.remove(&locator(1), LATER, NOW));
    assert!(!holds(&store, secret));
    let mut found = Vec::new();
    assert_eq!(store.get(&locator(1), NOW, &mut found), Lookup::Removed);
    assert!(!store.may_resume(&locator(1), u64::MAX, NOW));
    assert_eq!(store.put(&locator(1), LATER, NOW, 0, secret), Err(PutError::Removed));
    assert!(store.may_resume(&locator(2), 5, NOW), "others are not concerned");
    assert_eq!(store.counters().removes, 1);
}

pub(super) fn holds(store: &Store, bytes: &[u8]) -> bool {
    let mut all = vec![0; store.geometry.total];
    store.mapping.read(0, &mut all).unwrap();
    all.windows(bytes.len()).any(|window| window == bytes)
}

#[test]
fn one_of_several_takes() {
    let store = store();
    put(&store, 1, 100);
    let mut found = Vec::new();
    assert!(matches!(store.take(&locator(1), NOW, &mut found), Lookup::Found { .. }));
    assert_eq!(found, payload(1, 100));
    assert_eq!(store.take(&locator(1), NOW, &mut found), Lookup::Removed);
    assert_eq!(store.get(&locator(1), NOW, &mut found), Lookup::Removed);
    assert_eq!(store.counters().takes, 1);
}

#[test]
fn a_record_of_this_host_is_spent_once() {
    let store = store();
    let put = |number, flags| store.put(&locator(number), LATER, NOW, flags, &[]).unwrap();
    put(1, LOCAL);
    assert!(store.spend(&locator(1), NOW));
    assert!(!store.spend(&locator(1), NOW));
    let counters = store.counters();
    assert_eq!((counters.takes, counters.misses, counters.entries), (1, 0, 0));
    assert!(store.may_resume(&locator(1), 1, NOW), "no removal is left");
    put(2, 0);
    assert!(!store.spend(&locator(2), NOW), "others may have it");
    put(3, LOCAL);
    assert!(!store.spend(&locator(3), Now((LATER + 1) * 1000)), "it is over");
    assert!(store.spend(&locator(3), NOW));
}

#[test]
fn the_ring_forgets_the_oldest_and_the_index_with_it() {
    let store = store();
    let ring = store.geometry.ring;
    let each = (HEAD_BYTES + 180).next_multiple_of(UNIT);
    let count = (3 * ring / each) as u64;
    for number in 0..count {
        put(&store, number, 180);
    }
    let kept = (0..count).filter(|&number| get(&store, number).is_some()).count();
    assert!(kept as u64 == store.counters().entries);
    assert!(kept * 100 >= ring / each * 99, "{kept} of {}", ring / each);
    for number in count - ring as u64 / each as u64 / 2..count {
        if let Some(found) = get(&store, number) {
            assert_eq!(found, payload(number, 180));
        }
    }
    assert_eq!(store.counters().evicted, count - kept as u64);
    assert_eq!(store.counters().resets, 0);
}

#[test]
fn a_session_that_was_merely_forgotten_may_resume_and_a_removed_one_not() {
    let store = store();
    put(&store, 0, 100);
    put(&store, 1, 100);
    store.remove(&locator(1), LATER, NOW);
    for number in 2..20_000 {
        put(&store, number, 100);
    }
    assert_eq!(get(&store, 0), None);
    assert!(store.may_resume(&locator(0), 5, NOW));
    assert!(!store.may_resume(&locator(1), 5, NOW), "carried round with the ring");
    let past = Now((LATER + 1) * 1000);
    for number in 20_000..40_000 {
        store.put(&locator(number), LATER + 300, past, 0, &payload(number, 100)).unwrap();
    }
    assert!(store.may_resume(&locator(1), 5, past), "nobody needs it after its deadline");
    assert_eq!(store.counters().resets, 0);
}

#[test]
fn removals_that_had_to_be_forgotten_are_assumed() {
    let store = store();
    for number in 0..20_000 {
        put(&store, number, 20);
        store.remove(&locator(number), LATER, NOW);
    }
    assert_eq!(store.counters().resets, 0);
    let began = NOW.0 / 1000 - 10;
    assert!(!store.may_resume(&locator(0), began, NOW));
    assert!(!store.may_resume(&locator(99_999), began, NOW), "it might have been removed");
    assert!(store.may_resume(&locator(99_999), NOW.0 / 1000 + 1, NOW), "younger than that");
    store.put(&locator(99_999), LATER, NOW, 0, b"x").unwrap();
    assert_eq!(store.trust(&locator(99_999), began, NOW), Trust::Unproven, "anybody may put it");
}

/// A store beside a map that forgets nothing; `None` is a removed session.
struct Model {
    store: Store,
    sessions: HashMap<u64, Option<Vec<u8>>>,
}

impl Model {
    fn is_removed(&self, number: u64) -> bool {
        self.sessions.get(&number) == Some(&None)
    }

    fn put(&mut self, number: u64, bytes: Vec<u8>, step: u64) {
        let removed = self.is_removed(number);
        if self.store.put(&locator(number), LATER, NOW, 0, &bytes).is_ok() {
            // A removal may have been forgotten, by raising the floor.
            assert!(!removed || !self.store.may_resume(&locator(number ^ 1 << 40), 5, NOW));
            self.sessions.insert(number, Some(bytes));
        } else {
            assert!(removed, "step {step}");
        }
    }

    fn take(&mut self, number: u64, step: u64) {
        let mut found = Vec::new();
        if let Lookup::Found { .. } = self.store.take(&locator(number), NOW, &mut found) {
            assert_eq!(Some(&Some(found)), self.sessions.get(&number), "step {step}");
            self.sessions.insert(number, None);
        }
    }

    fn get(&self, number: u64, step: u64) {
        let mut found = Vec::new();
        match self.store.get(&locator(number), NOW, &mut found) {
            Lookup::Found { .. } => {
                assert_eq!(Some(&Some(found)), self.sessions.get(&number), "step {step}");
            }
            Lookup::Removed => assert!(self.is_removed(number), "step {step}"),
            _ => {}
        }
        if self.is_removed(number) {
            assert!(!self.store.may_resume(&locator(number), 5, NOW), "step {step}");
        }
    }
}

#[test]
fn the_store_agrees_with_a_model() {
    let mut model = Model { store: store(), sessions: HashMap::new() };
    let mut state = 42_u64;
    let mut random = move |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for step in 0..200_000 {
        let number = random(8000);
        match random(10) {
            0 => {
                model.store.remove(&locator(number), LATER, NOW);
                model.sessions.insert(number, None);
            }
            1 => model.take(number, step),
            2..5 => {
                let length = usize::try_from(random(600)).unwrap();
                model.put(number, payload(number ^ step, length), step);
            }
            _ => model.get(number, step),
        }
    }
    let live = (0..8000).filter(|&number| get(&model.store, number).is_some()).count();
    let counters = model.store.counters();
    assert_eq!(counters.entries, live as u64);
    assert_eq!((counters.resets, counters.busy), (0, 0));
}

#[test]
fn a_carried_removal_says_so() {
    let store = store();
    store.remove(&locator(1), LATER, NOW);
    for number in 2..12_000 {
        put(&store, number, 100);
    }
    let shard = store.shard(&locator(1));
    let flags = shard.locked(NOW.0, |locked| Ok(locked.find(&locator(1))?.map(|f| f.head.flags)));
    assert_eq!(flags, Ok(Some(MOVED)));
}

#[test]
fn a_head_that_is_accepted_is_in_bounds_and_the_only_one_of_its_bytes() {
    for bytes in 0..1_u32 << 24 {
        if let Ok((_, size)) = start(bytes.to_le_bytes()) {
            assert!((UNIT..=MOST_BYTES).contains(&size) && size.is_multiple_of(UNIT));
        }
    }
    let mut state = 7_u64;
    let mut accepted = 0;
    for _ in 0..4_000_000 {
        let mut bytes = [0; HEAD_BYTES];
        for place in bytes.chunks_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            place.copy_from_slice(&state.to_be_bytes()[..place.len()]);
        }
        // Most bytes are no kind.
        bytes[2] %= 8;
        if let Ok(head) = Head::from_bytes(&bytes) {
            assert!(head.payload <= MOST_PAYLOAD && head.size() <= MOST_BYTES, "{head:?}");
            assert_eq!(head.to_bytes(), Ok(bytes));
            let (kind, size) = start(*bytes.first_chunk().unwrap()).unwrap();
            assert_eq!((kind, size), (head.kind, head.size()));
            accepted += 1;
        }
    }
    assert!(accepted > 100_000, "{accepted}");
}

#[test]
fn a_record_that_says_it_goes_beyond_the_ring_is_not_believed() {
    let number = (0..).find(|&number| locator(number).low() & 1 == 0).unwrap();
    let operations: [fn(&Store, &Locator) -> bool; 5] = [
        |store, of| matches!(store.get(of, NOW, &mut Vec::new()), Lookup::Found { .. }),
        |store, of| matches!(store.take(of, NOW, &mut Vec::new()), Lookup::Found { .. }),
        |store, of| store.remove(of, LATER, NOW),
        |store, of| store.put(of, LATER, NOW, 0, b"x").is_ok(),
        // Another's, which makes room: the record is the oldest.
        |store, _| store.put(&Locator([0; 16]), LATER, NOW, 0, b"x").is_ok(),
    ];
    for (round, operation) in operations.iter().enumerate() {
        let store = Store::open(&StoreUrl::parse("shm:?size=2MiB").unwrap()).unwrap();
        let (shard, ring) = (store.numbered(0), store.geometry.ring);
        let head = Head {
            kind: Kind::Put,
            flags: 0,
            payload: 1000,
            deadline: LATER,
            written: NOW.0,
            locator: locator(number),
        };
        let position = ring - 48;
        let place = shard.base + store.geometry.ring_offset() + position;
        store.mapping.write(place, &head.to_bytes().unwrap()).unwrap();
        shard.word(at::TAIL).unwrap().store(position as u64, Relaxed);
        let end = if round == 4 { position + ring } else { ring };
        shard.word(at::HEAD).unwrap().store(end as u64, Relaxed);
        let cell = &shard.bucket(&head.locator).unwrap()[0];
        cell.store(Cell::new(&head.locator, false, position).0, Relaxed);
        let next_shard = || {
            let mut bytes = vec![0; 4096];
            store.mapping.read(store.geometry.shard(1), &mut bytes).unwrap();
            bytes
        };
        let before = next_shard();
        assert!(!operation(&store, &head.locator), "operation {round}");
        assert!(next_shard() == before, "operation {round} wrote to another shard");
        assert_eq!(store.counters().resets, 1, "operation {round}");
    }
}

//! The promises of the store: get what was put, forget the oldest, never lie.

use super::counters::TALLIES;
use super::*;
use crate::store::record::{Head, Kind};
use std::collections::HashMap;

pub(super) const NOW: Now = Now(1_700_000_000_000);
pub(super) const LATER: u64 = 1_700_000_300;
/// When the sessions of these tests began.
const BEGAN: u64 = 1_699_999_900;

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
    assert_eq!(
        store.get(&locator(1), at(LATER), &mut found),
        Lookup::Found { deadline: LATER, came_back: false, is_elsewhere: false }
    );
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
    let of_regions = store.table().regions.iter().map(|region| region.counted(Counter::Hits));
    assert!(of_regions.max() < Some(20), "each in its region");
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
        (Tally::Packed, |c| c.packed),
        (Tally::KeptLive, |c| c.kept_live),
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
    let store = Store::open(&StoreUrl::parse("shm:?size=4MiB").unwrap()).unwrap();
    let edges = [168, 175, 176, 177, 368, 369, 568, 569];
    for length in (0..10).chain(edges).chain([1000, MOST_PAYLOAD - 1, MOST_PAYLOAD]) {
        put(&store, 7, length);
        assert_eq!(get(&store, 7), Some(payload(7, length)), "{length}");
        assert_eq!(store.counters().entries, 1);
    }
    let too_long = vec![0; MOST_PAYLOAD + 1];
    assert_eq!(store.put(&locator(8), LATER, NOW, 0, &too_long), Err(PutError::Oversize));
    assert_eq!(store.counters().oversize, 1);
    store.remove(&locator(7), LATER, NOW);
    assert_eq!((store.counters().entries, store.counters().bytes), (0, 0), "no slot is left");
}

#[test]
fn a_few_large_sessions_do_not_push_out_many_small_ones() {
    for mebibytes in [1, 4, 16] {
        let url = format!("shm:?size={mebibytes}MiB");
        let store = Store::open(&StoreUrl::parse(&url).unwrap()).unwrap();
        (0..100).for_each(|number| put(&store, number, 180));
        let bytes = payload(0, 48_000);
        let stored = (1000..1200)
            .filter(|number| store.put(&locator(*number), LATER, NOW, 0, &bytes).is_ok());
        assert_eq!(stored.count() > 0, mebibytes > 1, "{mebibytes}: too large for a small store");
        let kept = (0..100).filter(|number| get(&store, *number).is_some()).count();
        assert!(kept == 100, "{kept} of 100 in {mebibytes} MiB");
        let newest = (1000..1200).rev().find(|number| get(&store, *number).is_some());
        assert!(mebibytes == 1 || newest == Some(1199), "{newest:?}");
    }
}

#[test]
fn large_sessions_have_the_room_that_nobody_else_needs() {
    let url = StoreUrl::parse("shm:?size=4MiB").unwrap();
    let store = Store::open(&url).unwrap();
    let kept =
        |range: std::ops::Range<u64>| range.filter(|number| get(&store, *number).is_some()).count();
    (0..6000).for_each(|number| put(&store, number, 5_000));
    let large = kept(0..6000);
    assert!(large * 5_000 > 2 << 20, "{large}");
    // Small ones that come later have it.
    (10_000..20_000).for_each(|number| put(&store, number, 100));
    let small = kept(10_000..20_000);
    assert!(small > 9_500, "{small}");
}

#[test]
fn a_removal_holds_and_wipes() {
    let store = store();
    let secret = b"a secret that must not be there any more afterwards";
    store.put(&locator(1), LATER, NOW, 0, secret).unwrap();
    assert!(holds(&store, secret));
    assert!(store.may_resume(&locator(1), BEGAN, NOW));
    store.remove(&locator(1), LATER, NOW);
    assert!(!holds(&store, secret));
    let mut found = Vec::new();
    assert_eq!(store.get(&locator(1), NOW, &mut found), Lookup::Removed);
    assert!(!store.may_resume(&locator(1), u64::MAX, NOW));
    assert_eq!(store.put(&locator(1), LATER, NOW, 0, secret), Err(PutError::Removed));
    assert!(store.may_resume(&locator(2), BEGAN, NOW), "others are not concerned");
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
    assert!(store.may_resume(&locator(1), BEGAN, NOW), "no removal is left");
    put(2, 0);
    assert!(!store.spend(&locator(2), NOW), "others may have it");
    put(3, LOCAL);
    assert!(!store.spend(&locator(3), Now((LATER + 1) * 1000)), "it is over");
    assert!(store.spend(&locator(3), NOW));
}

#[test]
fn what_has_no_room_is_forgotten_and_nothing_else() {
    let store = store();
    let slots = store.geometry.slots() as u64;
    let count = 3 * slots;
    for number in 0..count {
        put(&store, number, 176);
    }
    let kept = (0..count).filter(|&number| get(&store, number).is_some()).count() as u64;
    assert_eq!((kept, store.counters().entries), (slots, slots), "no slot is unused");
    assert_eq!(store.counters().evicted, count - kept);
    assert_eq!(store.counters().resets, 0);
    for number in (0..count).filter(|&number| get(&store, number).is_some()) {
        assert_eq!(get(&store, number), Some(payload(number, 176)));
    }
}

#[test]
fn who_came_back_stays_and_a_used_ticket_goes_first() {
    let store = store();
    let regular = |number| {
        store.put(&locator(number), LATER, NOW, CAME_BACK, &payload(number, 100)).unwrap();
    };
    (0..100).for_each(regular);
    (500..1000).for_each(|number| put(&store, number, 100));
    (1000..20_000).for_each(|number| put(&store, number, 100));
    let kept = |range: std::ops::Range<u64>| range.filter(|&n| get(&store, n).is_some()).count();
    assert!(kept(0..100) > 90 && kept(500..1000) == 0, "{} {}", kept(0..100), kept(500..1000));
    (0..100).for_each(|number| _ = store.note_use(&locator(number), Use::Ticket));
    (20_000..23_000).for_each(|number| put(&store, number, 100));
    assert_eq!(kept(0..100), 0);
    let missed = (0..100).filter(|&number| store.had_to_go(&locator(number))).count();
    assert!(missed < 10, "{missed}: nobody asks for a used one again");
}

#[test]
fn who_comes_back_too_late_is_known_and_makes_room_for_others_like_it() {
    let store = store();
    let slots = store.geometry.slots() as u64;
    // Each of them comes back when it is forgotten, and gets another session.
    let clients = slots * 6 / 10;
    let resumed = |round: u64| {
        let mut resumed = 0;
        for client in 0..clients {
            let offered = client << 8 | round;
            let is_found = get(&store, offered).is_some();
            resumed += u64::from(is_found);
            let flags = if is_found || store.had_to_go(&locator(offered)) { CAME_BACK } else { 0 };
            if is_found {
                store.note_use(&locator(offered), Use::Ticket);
            }
            let number = client << 8 | (round + 1);
            store.put(&locator(number), LATER, NOW, flags, b"x").unwrap();
            let strangers = (0..2).map(|one| 1 << 40 | (client * 2 + one) << 8 | round);
            strangers.for_each(|number| put(&store, number, 100));
        }
        resumed * 100 / clients
    };
    let shares: Vec<u64> = (0..40).map(resumed).collect();
    assert!(shares[1] < 20 && shares[39] > 60, "{shares:?}");
}

#[test]
fn a_visit_after_a_while_makes_a_regular_and_a_burst_does_not() {
    let store = store();
    let came_back = |number| {
        let found = store.get(&locator(number), NOW, &mut Vec::new());
        matches!(found, Lookup::Found { came_back: true, .. })
    };
    put(&store, 1, 100);
    assert!((0..9).all(|_| !store.note_use(&locator(1), Use::Visit)), "one visit");
    assert!(!came_back(1));
    // As many as an eighth of the store holds, and more.
    (100..2000).for_each(|number| put(&store, number, 100));
    assert!(came_back(1));
    assert!(store.note_use(&locator(1), Use::Visit));
    (2000..30_000).for_each(|number| put(&store, number, 100));
    assert!(came_back(1), "newcomers do not push it out");
}

/// A process has a session that lives longer than any removal is remembered.
#[test]
fn a_session_that_outlives_its_removal_does_not_resume() {
    let store = store();
    let years = NOW.0 / 1000 + 3 * 365 * 86_400;
    store.put(&locator(1), years, NOW, 0, b"long").unwrap();
    store.remove(&locator(1), years, NOW);
    for day in 0..400 {
        let then = Now(NOW.0 + day * 86_400_000);
        assert!(!store.may_resume(&locator(1), BEGAN, then), "after {day} days");
    }
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
    assert!(store.may_resume(&locator(0), BEGAN, NOW));
    assert!(!store.may_resume(&locator(1), BEGAN, NOW), "though so many came after it");
    let past = Now((LATER + 1) * 1000);
    for number in 20_000..40_000 {
        store.put(&locator(number), LATER + 300, past, 0, &payload(number, 100)).unwrap();
    }
    assert!(store.may_resume(&locator(1), BEGAN, past), "nobody needs it after its deadline");
    assert_eq!(store.counters().resets, 0);
}

#[test]
fn removals_that_had_to_be_forgotten_are_assumed_in_their_bucket() {
    let store = store();
    for number in 0..20_000 {
        put(&store, number, 20);
        store.remove(&locator(number), LATER, NOW);
    }
    assert!(store.counters().resets > 10_000);
    let began = NOW.0 / 1000 - 10;
    assert!((0..20_000).all(|number| !store.may_resume(&locator(number), began, NOW)));
    assert!(!store.may_resume(&locator(99_999), began, NOW), "it might have been removed");
    assert!(store.may_resume(&locator(99_999), NOW.0 / 1000 + 1, NOW), "younger than that");
    store.put(&locator(99_999), LATER, NOW, 0, b"x").unwrap();
    assert_eq!(store.trust(&locator(99_999), began, NOW), Trust::Unproven, "anybody may put it");
    assert!(get(&store, 99_999).is_some(), "what is put finds room");
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
            assert!(!removed || !self.store.may_resume(&locator(number), BEGAN, NOW));
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
            assert!(!self.store.may_resume(&locator(number), BEGAN, NOW), "step {step}");
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
    assert_eq!(counters.busy, 0);
}

#[test]
fn a_head_that_is_accepted_is_in_bounds_and_the_only_one_of_its_bytes() {
    let mut state = 7_u64;
    let mut accepted = 0;
    for _ in 0..4_000_000 {
        let mut bytes = [0; HEAD_BYTES];
        for place in bytes.chunks_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            place.copy_from_slice(&state.to_be_bytes()[..place.len()]);
        }
        // Most bytes are no kind.
        bytes[2] %= 4;
        if let Some(head) = Head::from_bytes(&bytes) {
            assert!(head.payload <= MOST_PAYLOAD && head.size() <= MOST_BYTES, "{head:?}");
            assert!(matches!(head.kind, Kind::Put | Kind::Removal));
            assert_eq!(head.to_bytes(), Some(bytes));
            accepted += 1;
        }
    }
    assert!(accepted > 100_000, "{accepted}");
}

#[test]
fn a_store_of_random_words_finds_nothing_wrong_and_heals_by_use() {
    let store = store();
    let mut state = 3_u64;
    let mut random = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state ^ state >> 29
    };
    let offset = layout::HEADER_BYTES;
    let words = (store.geometry.total - offset) / 8;
    for word in store.mapping.words(offset, words).unwrap() {
        word.store(random(), Relaxed);
    }
    for number in 0..100_000 {
        let found = get(&store, number);
        assert_eq!(found, None);
        let _ = store.put(&locator(number), LATER, NOW, 0, &payload(number, 150));
        let mut found = Vec::new();
        if let Lookup::Found { .. } = store.get(&locator(number), NOW, &mut found) {
            assert_eq!(found, payload(number, 150));
        }
    }
    // A part of the traces is believed until its time is over.
    let after = Now(NOW.0 + 33 * 86_400_000);
    let put = |number| store.put(&locator(number), LATER + 33 * 86_400, after, 0, b"x");
    let slots = store.geometry.slots() as u64;
    (200_000..200_000 + 20 * slots).for_each(|number| put(number).unwrap());
    assert_eq!(store.counters().entries, slots);
}

//! The table beside a simple model: it may forget, and must not lie.

use super::*;
use crate::store::Use;
use std::collections::HashMap;

/// The state that a session must have.
#[derive(Default)]
struct Model {
    /// The payload that was put last, and its deadline.
    puts: HashMap<u64, (Vec<u8>, u64)>,
    /// Removed: the last second in which that must hold, and the last in which it may.
    removed: HashMap<u64, (u64, u64)>,
}

impl Model {
    fn is_removed(&self, number: u64, now: Now) -> bool {
        self.removed.get(&number).is_some_and(|(must, _)| *must >= now.seconds())
    }

    fn may_be_removed(&self, number: u64, now: Now) -> bool {
        self.removed.get(&number).is_some_and(|(_, may)| *may >= now.seconds())
    }

    /// The table takes the record's own deadline, if it still has the record and if that is later.
    fn remove(&mut self, number: u64, deadline: u64) {
        let own = self.puts.remove(&number).map_or(0, |(_, own)| own);
        let (must, may) = self.removed.get(&number).copied().unwrap_or_default();
        self.removed.insert(number, (must.max(deadline), may.max(deadline).max(own)));
    }
}

#[test]
fn behaves_like_the_model() {
    for seed in 0..60_u64 {
        let memory = Memory::new(if seed % 3 == 0 { 12 } else { 2 });
        let mut model = Model::default();
        let mut now = NOW;
        for step in 0..3000 {
            let random = mixed(seed << 32 | step);
            now.0 += random >> 50 & 1023;
            one(&memory, &mut model, mixed(random), now, &format!("seed {seed}, step {step}"));
        }
    }
}

fn one(memory: &Memory, model: &mut Model, random: u64, now: Now, message: &str) {
    // Some ids are used once, so that they push out others.
    let number = if random & 3 == 0 { random } else { random >> 8 & 63 };
    let place = memory.place(number);
    let deadline = now.seconds() + (random >> 20 & 255);
    match random >> 60 {
        0..6 => put(memory, model, number, (random >> 30) % 500, deadline, now, message),
        6..10 => {
            let mut found = Vec::new();
            let lookup = place.get(now, &mut found);
            check(model, number, now, lookup, &found, message);
        }
        10 => {
            let mut found = Vec::new();
            let lookup = place.take(now, &mut found);
            check(model, number, now, lookup, &found, message);
            if let Lookup::Found { deadline, .. } = lookup {
                model.remove(number, deadline);
            }
        }
        11 => {
            place.remove(deadline, now, 0);
            model.remove(number, deadline);
        }
        12 => _ = place.note_use(Use::Visit),
        13 => _ = place.note_use(Use::Ticket),
        _ => {
            let trust = place.trust(0, now);
            assert!(trust != Trust::Good || !model.is_removed(number, now), "{message}: trusted");
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "a put's parts, and the model")]
fn put(
    memory: &Memory,
    model: &mut Model,
    number: u64,
    length: u64,
    deadline: u64,
    now: Now,
    message: &str,
) {
    let bytes = payload(number ^ now.0, usize::try_from(length).unwrap());
    // It needs as many buckets as slots.
    if !memory.place(number).has_room_for(bytes.len()) {
        return;
    }
    match memory.place(number).put(deadline, now, 0, &bytes) {
        Ok(()) => {
            // A removal may have been forgotten: the floor tells.
            let is_floored = memory.place(number).floor(now) > 0;
            assert!(!model.is_removed(number, now) || is_floored, "{message}: put after a removal");
            model.removed.remove(&number);
            model.puts.insert(number, (bytes, deadline));
        }
        Err(PutError::Removed) => {
            assert!(model.may_be_removed(number, now), "{message}: it was not removed");
        }
        Err(other) => panic!("{message}: {other:?}, alone"),
    }
}

#[expect(clippy::too_many_arguments, reason = "what was asked, and what came of it")]
fn check(model: &Model, number: u64, now: Now, lookup: Lookup, found: &[u8], message: &str) {
    match lookup {
        Lookup::Found { deadline, .. } => {
            let put = model.puts.get(&number).map(|(bytes, until)| (&bytes[..], *until));
            assert_eq!(put, Some((found, deadline)), "{message}");
            assert!(deadline >= now.seconds(), "{message}: expired");
        }
        Lookup::Removed => {
            assert!(model.may_be_removed(number, now), "{message}: it was not removed");
        }
        Lookup::Missing => {}
        Lookup::Busy => panic!("{message}: busy, alone"),
    }
}

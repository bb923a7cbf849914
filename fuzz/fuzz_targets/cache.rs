//! Sequences of cache operations: after each, the cache holds and hands out what a short list does.
//!
//! An input is a capacity, then operations of three bytes each. The model is that of the unit test.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::{Model, Operation, SESSIONS};
use sesscache_core::cache::{Cache, Key, Part, Standing, Value};

#[path = "../../core/src/cache/model.rs"]
mod model;

fn operation([kind, subject, amount]: [u8; 3]) -> Operation {
    let session = u32::from(subject) % SESSIONS;
    // From just passed to a quarter of an hour from now, which is more than one turn of the wheel.
    let seconds = i64::from(amount) * 4;
    match kind % 16 {
        0..5 => Operation::Add { session, deadline: seconds - 8 },
        5..7 => Operation::Get { session },
        7 if amount % 4 == 0 => Operation::CameBack { session },
        7 => Operation::Succeed { spent: u32::from(amount) % SESSIONS, session },
        8 => Operation::Remove { session },
        9..11 => Operation::SetDeadline { session, deadline: seconds },
        11 => Operation::Flush { passed: seconds, walk: subject % 2 == 1 },
        12 => Operation::Flush { passed: i64::from(amount % 4), walk: false },
        13 => Operation::Expire,
        14 => Operation::Resize { capacity: usize::from(amount % 64) },
        _ => Operation::Drain,
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((capacity, operations)) = data.split_first() else { return };
    let mut model = Model::new(usize::from(*capacity));
    for bytes in operations.as_chunks().0 {
        model.apply(operation(*bytes));
    }
});

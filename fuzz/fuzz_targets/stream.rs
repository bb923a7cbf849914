//! Answers of Redis, of any content: an entry that is read has records of an allowed length, which
//! the agent unsent again in the streams of their sessions, whole and in order.
//!
//! An input is an answer to XREAD in Redis's protocol (RESP). The agent's own file is included,
//! because the command is no library.
#![no_main]

use libfuzzer_sys::fuzz_target;
use redis::Value;
use sesscache_core::store::{Locator, Record};
use stream_entry::{
    EntryId, MOST_BYTES, StreamEntry, UnsentEntries, entries, fields, first_id, last_id,
};

#[allow(dead_code, reason = "the rest of what the agent does with entries")]
#[path = "../../cli/src/agent/stream_entry.rs"]
mod stream_entry;

const STREAMS: usize = 3;

/// The records of some entries, in order.
fn records<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Vec<(Locator, &'a [u8])> {
    let mut found = Vec::new();
    for mut rest in entries {
        while let Some((record, after)) = Record::split(rest) {
            found.push((*record.locator(), record.bytes()));
            rest = after;
        }
    }
    found
}

/// The answer of a Redis that was sent this entry.
fn answer(id: EntryId, origin: &[u8], records: &[u8]) -> Value {
    let text = |bytes: &[u8]| Value::BulkString(bytes.to_vec());
    let sent = fields(origin, b"3", records);
    let sent = sent.iter().flat_map(|(name, value)| [text(name.as_bytes()), text(value)]).collect();
    let entry = Value::Array(vec![text(id.to_string().as_bytes()), Value::Array(sent)]);
    Value::Array(vec![Value::Array(vec![text(b"key"), Value::Array(vec![entry])])])
}

/// Packs the records of an entry, as an agent sends them.
fn pack(entry: &StreamEntry<'_>, bytes: &[u8]) {
    let received = records([bytes]);
    let mut unsent = UnsentEntries::new(STREAMS);
    assert_eq!(unsent.add(bytes), received.len() as u64);
    let mut sent = 0;
    for stream in unsent.nonempty_streams() {
        let packed = unsent.take(stream);
        let found = records(packed.iter().map(Vec::as_slice));
        // Each session has one stream, in which its records keep their order.
        let of_stream =
            |(locator, _): &&(Locator, &[u8])| found.iter().any(|(other, _)| other == locator);
        assert_eq!(found, received.iter().filter(of_stream).copied().collect::<Vec<_>>());
        sent += found.len();
        for bytes in &packed {
            assert!(bytes.len() <= MOST_BYTES);
            let answer = answer(entry.id, entry.origin.unwrap_or_default(), bytes);
            let read = entries(&answer);
            assert_eq!((read.len(), read[0].id), (1, entry.id));
            assert_eq!(read[0].origin, entry.origin);
            assert_eq!(read[0].records.as_ref(), Ok(&bytes.as_slice()));
        }
    }
    assert_eq!(sent, received.len());
}

fuzz_target!(|data: &[u8]| {
    let Ok(answer) = redis::parse_redis_value(data) else { return };
    for id in [first_id(&answer).ok().flatten(), last_id(&answer).ok()].into_iter().flatten() {
        assert_eq!(EntryId::parse(&Value::BulkString(id.to_string().into())), Ok(id));
    }
    for entry in &entries(&answer) {
        if let Ok(bytes) = entry.records {
            assert!(entry.origin.is_some() && bytes.len() <= MOST_BYTES);
            pack(entry, bytes);
        }
    }
});

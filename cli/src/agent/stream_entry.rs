//! Stream entries: their fields, their records and their ids.
//!
//! Anybody who can write to Redis may have written an entry. A malformed one is skipped, and never
//! stops the reading.

use redis::Value;
use sesscache_core::store::{Locator, Record};
use std::fmt;

/// The version of the entries' format.
const VERSION: &[u8] = b"1";
/// The most bytes of records in an entry. No record is larger.
pub(crate) const MOST_BYTES: usize = 64 << 10;

/// The id of an entry: Redis's time in milliseconds, and a number within that millisecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryId {
    pub(crate) time: u64,
    pub(crate) number: u64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.time, self.number)
    }
}

/// The value has another form than Redis or an agent gives it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl EntryId {
    /// Parses an id as Redis writes it.
    pub(crate) fn parse(value: &Value) -> Result<EntryId, Malformed> {
        let text = std::str::from_utf8(bytes(value).ok_or(Malformed)?).map_err(|_| Malformed)?;
        let (time, number) = text.split_once('-').ok_or(Malformed)?;
        let number_of = |text: &str| text.parse().map_err(|_| Malformed);
        Ok(EntryId { time: number_of(time)?, number: number_of(number)? })
    }
}

/// The keys of all streams begin so.
pub(crate) const KEYS: &str = "sesscache:{";

/// The key of a stream. A cluster chooses the node by the part in braces.
pub(crate) fn key(name: &str, stream: usize) -> String {
    format!("{KEYS}{name}:{stream}}}:log")
}

/// The name in the key of a stream; `None` if it is another key.
pub(crate) fn name_in(key: &Value) -> Option<&str> {
    let key = std::str::from_utf8(bytes(key)?).ok()?;
    let (name, stream) = key.strip_prefix(KEYS)?.strip_suffix("}:log")?.rsplit_once(':')?;
    stream.parse::<u8>().ok()?;
    Some(name)
}

/// The stream for the records of a session. All are in one stream, so that they stay in order.
fn stream_of(locator: &Locator, streams: usize) -> usize {
    let [low, ..] = locator.0.as_chunks().0 else { return 0 };
    let number = u64::from_le_bytes(*low) % (streams as u64);
    usize::try_from(number).unwrap_or(0)
}

/// Entries that Redis has not acknowledged, by stream.
#[derive(Debug)]
pub(crate) struct UnsentEntries {
    streams: Vec<Vec<Vec<u8>>>,
}

impl UnsentEntries {
    pub(crate) fn new(streams: usize) -> UnsentEntries {
        UnsentEntries { streams: vec![Vec::new(); streams] }
    }

    /// Adds a sequence of records. Returns their number.
    pub(crate) fn add(&mut self, mut bytes: &[u8]) -> u64 {
        let mut count = 0;
        while let Some((record, rest)) = Record::split(bytes) {
            self.add_one(&record);
            count += 1;
            bytes = rest;
        }
        count
    }

    fn add_one(&mut self, record: &Record<'_>) {
        let number = stream_of(record.locator(), self.streams.len());
        let Some(entries) = self.streams.get_mut(number) else { return };
        match entries.last_mut() {
            Some(last) if last.len() + record.bytes().len() <= MOST_BYTES => {
                last.extend_from_slice(record.bytes());
            }
            _ => entries.push(record.bytes().to_vec()),
        }
    }

    /// Takes the entries for a stream.
    pub(crate) fn take(&mut self, stream: usize) -> Vec<Vec<u8>> {
        self.streams.get_mut(stream).map(std::mem::take).unwrap_or_default()
    }

    /// Puts back the entries that could not be sent.
    pub(crate) fn put_back(&mut self, stream: usize, entries: Vec<Vec<u8>>) {
        if let Some(unsent) = self.streams.get_mut(stream) {
            *unsent = entries;
        }
    }

    /// The streams that have unsent entries.
    pub(crate) fn nonempty_streams(&self) -> Vec<usize> {
        let filled = self.streams.iter().enumerate().filter(|(_, entries)| !entries.is_empty());
        filled.map(|(number, _)| number).collect()
    }
}

/// The fields of an entry, as XADD takes them.
pub(crate) fn fields<'a>(
    origin: &'a [u8],
    streams: &'a [u8],
    records: &'a [u8],
) -> [(&'static str, &'a [u8]); 4] {
    [("v", VERSION), ("h", origin), ("k", streams), ("r", records)]
}

/// An entry of a stream.
#[derive(Debug)]
pub(crate) struct StreamEntry<'a> {
    pub(crate) id: EntryId,
    /// The id of the store that it comes from.
    pub(crate) origin: Option<&'a [u8]>,
    /// The number of streams that its host uses.
    pub(crate) streams: Option<&'a [u8]>,
    /// Its records.
    pub(crate) records: Result<&'a [u8], Malformed>,
}

/// The entries in an answer to XREAD of one stream.
pub(crate) fn entries(answer: &Value) -> Vec<StreamEntry<'_>> {
    let stream = array(answer).first().map(array).unwrap_or_default();
    let list = stream.get(1).map(array).unwrap_or_default();
    list.iter().filter_map(|value| entry(value).ok()).collect()
}

fn entry(value: &Value) -> Result<StreamEntry<'_>, Malformed> {
    let [id, fields] = array(value) else { return Err(Malformed) };
    let id = EntryId::parse(id)?;
    let mut entry = StreamEntry { id, origin: None, streams: None, records: Err(Malformed) };
    let (mut version, mut records) = (None, None);
    for pair in array(fields).chunks_exact(2) {
        let [name, value] = pair else { continue };
        match (bytes(name), bytes(value)) {
            (Some(b"v"), value) => version = value,
            (Some(b"h"), value) => entry.origin = value,
            (Some(b"k"), value) => entry.streams = value,
            (Some(b"r"), value) => records = value,
            _ => {}
        }
    }
    if version == Some(VERSION) && entry.origin.is_some() {
        entry.records = records.filter(|records| records.len() <= MOST_BYTES).ok_or(Malformed);
    }
    Ok(entry)
}

/// The id of the last entry ever appended to a stream, from an answer to XINFO STREAM.
pub(crate) fn last_id(answer: &Value) -> Result<EntryId, Malformed> {
    EntryId::parse(field(answer, b"last-generated-id").ok_or(Malformed)?)
}

/// The id of the oldest entry in a stream, from the same answer; `None` if the stream is empty.
pub(crate) fn first_id(answer: &Value) -> Result<Option<EntryId>, Malformed> {
    match field(answer, b"first-entry") {
        None | Some(Value::Nil) => Ok(None),
        Some(entry) => EntryId::parse(array(entry).first().ok_or(Malformed)?).map(Some),
    }
}

/// A field of an answer that lists names and values.
fn field<'a>(answer: &'a Value, wanted: &[u8]) -> Option<&'a Value> {
    let mut pairs = array(answer).chunks_exact(2);
    pairs.find_map(|pair| match pair {
        [name, value] if bytes(name) == Some(wanted) => Some(value),
        _ => None,
    })
}

pub(crate) fn array(value: &Value) -> &[Value] {
    match value {
        Value::Array(values) => values,
        _ => &[],
    }
}

pub(crate) fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sesscache_core::store::{LogBatch, Now, Store, StoreUrl};

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn answer(list: Vec<Value>) -> Value {
        Value::Array(vec![Value::Array(vec![text("key"), Value::Array(list)])])
    }

    fn an_entry(id: &str, fields: &[&str]) -> Value {
        let fields = fields.iter().map(|field| text(field)).collect();
        Value::Array(vec![text(id), Value::Array(fields)])
    }

    #[test]
    fn ids_are_ordered_and_read_as_they_are_written() {
        let id = |time, number| EntryId { time, number };
        assert!(id(1, 9) < id(2, 0) && id(2, 0) < id(2, 1));
        assert_eq!(EntryId::parse(&text(&id(12, 3).to_string())), Ok(id(12, 3)));
        for junk in ["", "-", "1", "1-", "-1", "1-x", "99999999999999999999-0"] {
            assert_eq!(EntryId::parse(&text(junk)), Err(Malformed), "{junk}");
        }
        assert_eq!(EntryId::parse(&Value::Nil), Err(Malformed));
    }

    #[test]
    fn a_key_has_the_name_of_its_fleet() {
        assert_eq!(name_in(&text(&key("web-1.eu", 3))), Some("web-1.eu"));
        for other in ["", "sesscache:{web}:log", "sesscache:{web:x}:log", "sesscache:{web:0}:l"] {
            assert_eq!(name_in(&text(other)), None, "{other}");
        }
        assert_eq!(name_in(&Value::Nil), None);
    }

    #[test]
    fn entries_are_read_and_junk_is_told_apart() {
        let answer = answer(vec![
            an_entry("1-0", &["v", "1", "h", "host", "k", "4", "r", "records"]),
            an_entry("2-0", &["v", "2", "h", "host", "r", "records"]),
            an_entry("3-0", &["v", "1", "r", "records"]),
            an_entry("4-0", &["hello", "world", "odd"]),
            Value::Array(vec![text("5-0"), Value::Nil]),
            text("not an entry"),
        ]);
        let found = entries(&answer);
        let records: Vec<_> =
            found.iter().map(|entry| (entry.id.time, entry.records.as_ref().ok())).collect();
        assert_eq!(
            records,
            [(1, Some(&&b"records"[..])), (2, None), (3, None), (4, None), (5, None)]
        );
        assert_eq!(found[0].origin, Some(&b"host"[..]));
        for (size, is_read) in [(MOST_BYTES, true), (MOST_BYTES + 1, false)] {
            let records = "x".repeat(size);
            let list = vec![an_entry("1-0", &["v", "1", "h", "host", "r", &records])];
            assert_eq!(entries(&self::answer(list))[0].records.is_ok(), is_read, "{size}");
        }
        for other in [Value::Nil, Value::Int(1), Value::Array(vec![text("x")])] {
            assert!(entries(&other).is_empty());
        }
    }

    #[test]
    fn the_last_id_and_the_first_are_found_in_their_places() {
        let info = Value::Array(vec![
            text("length"),
            Value::Int(3),
            text("last-generated-id"),
            text("7-1"),
        ]);
        assert_eq!(last_id(&info), Ok(EntryId { time: 7, number: 1 }));
        assert_eq!((last_id(&Value::Nil), first_id(&info)), (Err(Malformed), Ok(None)));
        let first = an_entry("6-2", &["v", "1"]);
        let info = Value::Array(vec![text("length"), Value::Int(1), text("first-entry"), first]);
        assert_eq!(first_id(&info), Ok(Some(EntryId { time: 6, number: 2 })));
        let info = Value::Array(vec![text("first-entry"), text("junk")]);
        assert_eq!(first_id(&info), Err(Malformed));
    }

    #[test]
    fn records_are_spread_by_their_locator_and_packed() {
        let store = Store::open(&StoreUrl::parse("shm:?size=4MiB").unwrap()).unwrap();
        const COUNT: u64 = 2000;
        for number in 0..COUNT {
            let mut locator = [0; 16];
            let spread = |by: u64| (number + 1).wrapping_mul(by).to_le_bytes();
            locator[..8].copy_from_slice(&spread(0xD6E8_FEB8_6659_FD93));
            locator[8..].copy_from_slice(&spread(0x9E37_79B9_7F4A_7C15));
            store.put(&Locator(locator), 2_000_000, Now(1000), 0, &[7; 250]).unwrap();
        }
        let mut unsent = UnsentEntries::new(3);
        let mut count = 0;
        let mut batch = LogBatch::default();
        for region in 0..store.region_count() {
            while store.has_more(region) {
                store.read_log(region, Now(1000), &mut batch);
                count += unsent.add(&batch.bytes);
            }
        }
        assert_eq!((count, unsent.nonempty_streams()), (COUNT, vec![0, 1, 2]));
        for stream in 0..3 {
            let entries = unsent.take(stream);
            assert!(entries.len() > 1);
            for entry in &entries {
                assert!(entry.len() <= MOST_BYTES);
                let mut rest = entry.as_slice();
                while let Some((record, after)) = Record::split(rest) {
                    assert_eq!(stream_of(record.locator(), 3), stream);
                    rest = after;
                }
                assert!(rest.is_empty());
            }
            unsent.put_back(stream, entries);
        }
        assert_eq!(unsent.nonempty_streams(), [0, 1, 2]);
    }
}

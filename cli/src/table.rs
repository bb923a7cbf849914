//! Counters as a table for people and as JSON for programs.
//!
//! Their names in both are those of `struct sesscache_stats`, and stay.

use crate::connections;
use crate::difference;
use crate::time;
use serde_json::{Map, Value};
use sesscache_core::store::{Connections, Counters, KeyKind, OtherHosts, Store};
use std::fmt::Write;
use std::path::Path;

/// All that is shown of a store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) counters: Counters,
    pub(crate) connections: Connections,
    pub(crate) keys: Option<KeyKind>,
    /// The findings of the agent about other hosts.
    pub(crate) hosts: Option<OtherHosts>,
}

impl Figures {
    pub(crate) fn of(store: &Store) -> Figures {
        let (counters, connections) = (store.counters(), store.connections());
        let (keys, hosts) = (store.key_kind(), difference::fresh(store));
        Figures { counters, connections, keys, hosts }
    }
}

/// A row: the counter's name, its value, its meaning.
struct Row(&'static str, u64, &'static str);

/// The counters in groups, each with its name in C and JSON, and its meaning.
#[expect(clippy::too_many_lines, reason = "a table: a line a counter")]
fn groups(c: &Counters) -> [(&'static str, Vec<Row>); 7] {
    [
        (
            "lookups",
            vec![
                Row("hits", c.hits, "found, and resumed"),
                Row("takes", c.takes, "found and taken, for early data: once only"),
                Row("misses", c.misses, "not there: never stored, forgotten or expired"),
                Row("tombstone_hits", c.tombstone_hits, "removed before: may not resume"),
                Row(
                    "undecryptable",
                    c.undecryptable,
                    "found, but it does not open: another key file or server name?",
                ),
                Row("mismatched", c.mismatched, "found, but not what was asked for"),
                Row("busy", c.busy, "not stored: others changed the same few slots meanwhile"),
            ],
        ),
        (
            "records",
            vec![
                Row("stores", c.stores, "written"),
                Row("removes", c.removes, "removed by the server"),
                Row("expired", c.expired, "gone at their end"),
                Row("evicted", c.evicted, "gone before, for want of room: a larger size helps"),
                Row("oversize", c.oversize, "not written: more than 64 KiB"),
                Row("resets", c.resets, "removals forgotten early: a larger size helps"),
            ],
        ),
        (
            "not shared",
            vec![
                Row(
                    "refused_no_identity",
                    c.refused_no_identity,
                    "neither certificate nor session id context",
                ),
                Row(
                    "refused_verify_without_id_context",
                    c.refused_verify_without_id_context,
                    "client certificates without a session id context",
                ),
                Row("refused_not_asked", c.refused_not_asked, "the server wants no resumption"),
                Row(
                    "refused_no_client_certificate",
                    c.refused_no_client_certificate,
                    "a client certificate was asked for and none given",
                ),
                Row(
                    "refused_unverified",
                    c.refused_unverified,
                    "not verified by OpenSSL, or SESSCACHE_CLIENT_CERTS=never",
                ),
                Row(
                    "refused_application",
                    c.refused_application,
                    "a pre-shared key or SRP has let the client in",
                ),
                Row(
                    "refused_side_data",
                    c.refused_side_data,
                    "the server has data of its own at sessions: SESSCACHE_EX_DATA=share, if it can do without",
                ),
            ],
        ),
        (
            "not resumed",
            vec![
                Row("declined_name", c.declined_name, "made for another server name or service"),
                Row("declined_lifetime", c.declined_lifetime, "too old by the settings of today"),
                Row(
                    "declined_id_context",
                    c.declined_id_context,
                    "another session id context: SESSCACHE_ID_CONTEXT=ours helps",
                ),
                Row("declined_cipher", c.declined_cipher, "its cipher is no longer offered"),
                Row(
                    "declined_client",
                    c.declined_client,
                    "the client must show a certificate that passes",
                ),
                Row(
                    "declined_host",
                    c.declined_host,
                    "the first handshake under its server name in a process",
                ),
            ],
        ),
        (
            "in the processes",
            vec![
                Row("packed", c.packed, "packed in a process's cache, or left to the store"),
                Row(
                    "kept_live",
                    c.kept_live,
                    "not packed: with a client certificate, or not shared",
                ),
            ],
        ),
        (
            "contexts",
            vec![
                Row(
                    "application_ticket_keys",
                    c.application_ticket_keys,
                    "contexts with keys of the program's own: SESSCACHE_TICKETS=override, unless you gave them",
                ),
                Row(
                    "shared_memory",
                    c.shared_memory,
                    "contexts in memory that processes share: OpenSSL's own cache",
                ),
            ],
        ),
        (
            "room",
            vec![
                Row("entries", c.entries, "sessions"),
                Row("bytes", c.bytes, "in use by them"),
                Row("capacity", c.capacity, "bytes for records"),
            ],
        ),
    ]
}

/// The part of the lookups that led to a resumption; `None` without lookups.
fn hit_rate(c: &Counters) -> Option<f64> {
    let found = c.hits.saturating_add(c.takes);
    let not = [c.misses, c.tombstone_hits, c.undecryptable, c.mismatched];
    let declined = [
        c.declined_name,
        c.declined_lifetime,
        c.declined_id_context,
        c.declined_cipher,
        c.declined_client,
        c.declined_host,
    ];
    part(found, not.into_iter().chain(declined).fold(found, u64::saturating_add))
}

/// The part of the connections that resumed.
fn resumed_share(found: &Connections) -> Option<f64> {
    part(found.all_resumed(), found.all())
}

/// The part of the capacity that is used.
fn fill(c: &Counters) -> Option<f64> {
    part(c.bytes, c.capacity)
}

/// A part of all; `None` of nothing.
#[expect(clippy::cast_precision_loss, reason = "a figure of four digits is made of it")]
pub(crate) fn part(some: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| some as f64 / all as f64)
}

/// The figures of a store as a JSON object.
pub(crate) fn json(path: &Path, figures: &Figures) -> Value {
    let Figures { counters, connections, keys, hosts } = figures;
    let rounded = |part: Option<f64>| part.map(|part| (part * 10_000.0).round() / 10_000.0);
    let mut object = Map::new();
    object.insert("store".into(), path.to_string_lossy().into());
    object.insert("resumed_share".into(), rounded(resumed_share(connections)).into());
    object.insert("connections".into(), connections::as_json(connections));
    object.insert("ages".into(), connections::ages_as_json(connections));
    object.insert("hit_rate".into(), rounded(hit_rate(counters)).into());
    object.insert("fill".into(), rounded(fill(counters)).into());
    object.insert("forward_secrecy".into(), keys.map(|keys| keys == KeyKind::Ratchet).into());
    object.insert("hosts".into(), hosts.as_ref().map(difference::as_json).into());
    for Row(name, value, _) in groups(counters).into_iter().flat_map(|(_, rows)| rows) {
        object.insert(name.into(), value.into());
    }
    Value::Object(object)
}

/// The figures of a store as a table.
pub(crate) fn table(path: &Path, figures: &Figures) -> String {
    let Figures { counters, connections, keys, hosts } = figures;
    let percent = |part: Option<f64>| match part {
        Some(part) => format!("{:.1} %", part * 100.0),
        None => "-".to_owned(),
    };
    let mut text = format!("{}\n", path.display());
    // Writing to a String cannot fail.
    let mut line = |name: &str, value: &str, meaning: &str| {
        let _ = writeln!(text, "  {name:<35} {value:>15}  {meaning}");
    };
    let of_all = format!("of {} connections that have ended", grouped(connections.all()));
    line("resumed", &percent(resumed_share(connections)), &of_all);
    line("hit rate", &percent(hit_rate(counters)), "of lookups found a session that resumed");
    line("fill", &percent(fill(counters)), "of the room is in use");
    match keys {
        Some(KeyKind::Plain) => line(
            "forward secrecy",
            "no",
            "a plain key opens all that it ever sealed: keygen --next, --promote, --keep 1",
        ),
        Some(KeyKind::Ratchet) => {
            line("forward secrecy", "yes", "if `sesscache ratchet` steps the key file on");
        }
        None => {}
    }
    if let Some(hosts) = hosts {
        host_rows(hosts, &mut text);
    }
    connection_rows(connections, &mut text);
    for (group, rows) in groups(counters) {
        let _ = writeln!(text, "  {group}:");
        for Row(name, value, meaning) in rows {
            let _ = writeln!(text, "    {name:<33} {:>15}  {meaning}", grouped(value));
        }
    }
    text
}

/// The rows about other hosts.
fn host_rows(found: &OtherHosts, text: &mut String) {
    let _ = writeln!(text, "  other hosts:");
    let (seen, meaning) = (grouped(found.seen), "whose agents were heard of a moment ago");
    let _ = writeln!(text, "    {:<33} {seen:>15}  {meaning}", "seen");
    for host in &found.differing {
        let (name, differs) = (&host.name, difference::names(host).join(", "));
        let _ = writeln!(text, "    {name:<33} {:>15}  {differs}: see sesscache doctor", "differs");
    }
}

/// The rows about connections.
fn connection_rows(found: &Connections, text: &mut String) {
    let _ = writeln!(text, "  connections:");
    for (name, count, meaning) in
        connections::resumed(found).into_iter().chain(connections::full(found))
    {
        let _ = writeln!(text, "    {name:<33} {:>15}  {meaning}", grouped(count));
    }
    let _ = writeln!(text, "  age of what resumed:");
    for (bound, count) in connections::ages(found) {
        let name =
            bound.map_or_else(|| "older".to_owned(), |age| format!("up to {}", time::shown(age)));
        let _ = writeln!(text, "    {name:<33} {:>15}", grouped(count));
    }
}

/// A number with commas.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn the_rate_counts_what_could_be_used() {
        let mut counters = Counters::default();
        assert_eq!(hit_rate(&counters), None);
        (counters.hits, counters.takes, counters.misses) = (5, 1, 3);
        (counters.tombstone_hits, counters.undecryptable) = (1, 1);
        assert_eq!(hit_rate(&counters), Some(6.0 / 11.0));
        counters.mismatched = 1;
        assert_eq!(hit_rate(&counters), Some(0.5));
        (counters.declined_name, counters.declined_lifetime, counters.declined_host) = (1, 2, 3);
        (counters.declined_id_context, counters.declined_cipher) = (4, 5);
        counters.declined_client = 9;
        assert_eq!(hit_rate(&counters), Some(6.0 / 36.0));
        (counters.refused_unverified, counters.refused_application) = (7, 7);
        assert_eq!(hit_rate(&counters), Some(6.0 / 36.0), "these were no lookups");
    }

    #[test]
    fn the_table_names_the_mends() {
        let text = table(Path::new("/run/x"), &Figures::default());
        for (counter, mend) in [
            ("declined_id_context", "SESSCACHE_ID_CONTEXT=ours"),
            ("refused_side_data", "SESSCACHE_EX_DATA=share"),
        ] {
            let line = text.lines().find(|line| line.contains(counter)).unwrap();
            assert!(line.contains(mend), "{line}");
        }
    }

    #[test]
    fn json_has_every_counter_once() {
        let counters = Counters { hits: 1, bytes: 1, capacity: 3, ..Counters::default() };
        let figures = Figures { counters, keys: Some(KeyKind::Plain), ..Figures::default() };
        let value = json(Path::new("/run/x"), &figures);
        let object = value.as_object().unwrap();
        assert_eq!(object.len(), 8 + 33);
        assert_eq!(object["store"], "/run/x");
        assert_eq!(object["hit_rate"], 1.0);
        assert_eq!(object["fill"], 0.3333);
        assert_eq!(object["hits"], 1);
        assert_eq!(object["forward_secrecy"], false);
        assert_eq!(json(Path::new("/run/x"), &Figures::default())["hit_rate"], Value::Null);
    }

    #[test]
    fn plain_keys_are_told() {
        let line = |keys| {
            let text = table(Path::new("/run/x"), &Figures { keys, ..Figures::default() });
            text.lines().find(|line| line.contains("forward secrecy")).map(str::to_owned)
        };
        assert!(line(Some(KeyKind::Plain)).is_some_and(|line| line.contains(" no  a plain key")));
        assert!(line(Some(KeyKind::Ratchet)).is_some_and(|line| line.contains(" yes  if")));
        assert_eq!(line(None), None, "no server has said it");
    }
}

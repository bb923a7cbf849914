//! How connections began, as rows of the table and as JSON.

use serde_json::{Map, Value, json};
use sesscache_core::store::{AGES, Cause, Connections, Way};

/// The name of tickets of the server's own keys.
pub(crate) const SERVER_TICKET: &str = "server_ticket";

/// The names and counts of what resumed, with the meaning of each.
pub(crate) fn resumed(found: &Connections) -> Vec<(&'static str, u64, &'static str)> {
    let meaning = |way| match way {
        Way::Cache => "resumed by id, from the cache of the process",
        Way::Callback => "resumed by id, from the server's own external cache",
        Way::Store => "resumed by id, from the store; made on this host",
        Way::OtherHost => "resumed by id, from the store; made on another host",
        Way::OwnTicket => "resumed by a stateless ticket of the same context",
        Way::SharedTicket => "resumed by a ticket of another process, host or time",
    };
    let mut rows: Vec<_> =
        Way::ALL.into_iter().map(|way| (way.name(), found.by(way), meaning(way))).collect();
    rows.push((
        SERVER_TICKET,
        found.server_tickets,
        "resumed by a ticket of the server's own keys",
    ));
    rows
}

/// The same of full handshakes.
pub(crate) fn full(found: &Connections) -> Vec<(&'static str, u64, &'static str)> {
    let meaning = |cause| match cause {
        Cause::NoOffer => "the client offered nothing that sesscache saw",
        Cause::Unknown => "nobody has the session, or no key opens the ticket",
        Cause::Expired => "the session's time was over",
        Cause::Removed => "the session was removed",
        Cause::Refused => "found, and not resumed: see `not resumed`",
    };
    let row = |cause: Cause| (cause.name(), found.full(cause), meaning(cause));
    Cause::ALL.into_iter().map(row).collect()
}

/// The upper bound of each age, `None` for none, and how many resumed at an age between the bound
/// before and this one.
pub(crate) fn ages(found: &Connections) -> Vec<(Option<u64>, u64)> {
    let sums = found.ages();
    let before = std::iter::once(0).chain(sums);
    let bounds = AGES.into_iter().map(Some).chain([None]);
    bounds.zip(sums.iter().zip(before).map(|(sum, before)| sum.saturating_sub(before))).collect()
}

/// All of it as JSON.
pub(crate) fn as_json(found: &Connections) -> Value {
    let rows = resumed(found).into_iter().chain(full(found));
    Value::Object(Map::from_iter(rows.map(|(name, count, _)| (name.to_owned(), count.into()))))
}

/// The ages as JSON.
pub(crate) fn ages_as_json(found: &Connections) -> Value {
    let row = |(bound, count)| json!({ "up_to_seconds": bound, "resumed": count });
    ages(found).into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sesscache_core::store::{Beginning, Store, StoreUrl};

    #[test]
    fn every_connection_is_in_one_row() {
        let store = Store::open(&StoreUrl::parse("shm:?size=1MiB").unwrap()).unwrap();
        store.count_connection(Beginning::Resumed(Way::OtherHost, 61));
        store.count_connection(Beginning::Resumed(Way::OwnTicket, 1 << 30));
        store.count_connection(Beginning::ServerTicket);
        store.count_connection(Beginning::Full(Cause::Expired));
        let found = store.connections();
        let shown = as_json(&found);
        let total: u64 = shown.as_object().unwrap().values().filter_map(Value::as_u64).sum();
        assert_eq!((total, found.all()), (4, 4));
        assert_eq!((&shown["other_host"], &shown["expired"]), (&json!(1), &json!(1)));
        let ages = ages(&found);
        assert_eq!(ages[1], (Some(300), 1));
        assert_eq!(ages.last(), Some(&(None, 1)));
    }
}

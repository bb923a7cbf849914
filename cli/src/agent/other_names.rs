//! Tells at the start which names other hosts use, if none of them uses ours: a store with another
//! file name has another name, and such hosts exchange nothing.

use super::connection::Connection;
use super::failure::Failure;
use super::settings::is_name;
use super::shared::Shared;
use super::stream_entry::{KEYS, array, entries, key, name_in};
use redis::{Value, cmd};
use std::collections::BTreeSet;

/// The most entries of each stream that are looked at.
const ENTRIES: usize = 16;
/// The keys that Redis looks at for one answer, and the most answers. Others may keep millions.
const KEYS_AT_ONCE: usize = 1000;
const MOST_ANSWERS: usize = 50;
/// The most names in the line.
const MOST_NAMES: usize = 8;

/// Looks for other hosts and logs the names, but not with --once. Says nothing if Redis does not allow the look, because
/// a user needs no permission for it.
pub(super) async fn tell(shared: &Shared, connection: &mut Connection) {
    if shared.settings.once || !is_alone(shared, connection).await.unwrap_or(false) {
        return;
    }
    let Ok(names) = names(connection).await else { return };
    let name = &shared.settings.local.name;
    let others: Vec<&str> = names.iter().map(String::as_str).filter(|one| one != name).collect();
    if !others.is_empty() {
        let shown = others.iter().take(MOST_NAMES).copied().collect::<Vec<_>>().join(", ");
        tracing::info!(
            "no other host has written under the name {name}; Redis has streams of {shown}: hosts \
             exchange sessions under the same --name, which is the store's file name by default"
        );
    }
}

/// Whether all first entries of our streams are of this host.
async fn is_alone(shared: &Shared, connection: &mut Connection) -> Result<bool, Failure> {
    for stream in 0..shared.settings.streams {
        let mut ask = cmd("XREAD");
        ask.arg("COUNT")
            .arg(ENTRIES)
            .arg("STREAMS")
            .arg(key(&shared.settings.local.name, stream))
            .arg(0);
        let answer = connection.ask(&ask).await?;
        if entries(&answer).iter().any(|entry| entry.origin != Some(&shared.id)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The names of all streams, or of as many as a short look finds.
async fn names(connection: &mut Connection) -> Result<BTreeSet<String>, Failure> {
    let mut names = BTreeSet::new();
    let mut cursor = Value::Int(0);
    for _ in 0..MOST_ANSWERS {
        let mut ask = cmd("SCAN");
        ask.arg(text(&cursor)).arg("MATCH").arg(format!("{KEYS}*}}:log"));
        ask.arg("COUNT").arg(KEYS_AT_ONCE);
        let answers = connection.ask_all(&ask).await?;
        let pages = answers.iter().filter_map(|answer| array(answer).get(1));
        let found = pages.flat_map(array).filter_map(name_in);
        // Anybody who can write to Redis chooses keys, which go into a line here.
        names.extend(found.filter(|name| is_name(name)).map(str::to_owned));
        // The cursors of several nodes are not followed.
        let [answer] = answers.as_slice() else { break };
        cursor = array(answer).first().cloned().unwrap_or(Value::Nil);
        if matches!(text(&cursor).as_str(), "" | "0") {
            break;
        }
    }
    Ok(names)
}

/// A cursor as Redis writes it.
fn text(cursor: &Value) -> String {
    redis::from_redis_value_ref(cursor).unwrap_or_default()
}

//! Tells other hosts about this one, and says in what they differ, because such hosts miss each
//! other's sessions without a word.
//!
//! All hosts write to one stream, whatever their --name is, and forget what is old.

use super::about::About;
use super::connection::Connection;
use super::failure::{Failure, RedisState};
use super::node;
use super::redis_clock::host_time;
use super::shared::Shared;
use super::stream_entry::{EntryId, array, last_id};
use crate::difference::Difference;
use crate::output::hex;
use redis::cmd;
use sesscache_core::store::{KeyIds, MOST_HOST_NAME, Now, OtherHost, is_host_name};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// The stream of all hosts.
const STREAM: &str = "sesscache:{hosts}:about";
/// In Redis's answer when it is at its highest id.
const NO_MORE_IDS: &str = "exhausted the last possible ID";
/// How often a host tells what has not changed.
const TELL: Duration = Duration::from_secs(15);
/// How often it asks what others tell.
const ASK: Duration = Duration::from_secs(2);
/// The longest time for both.
const PATIENCE: Duration = Duration::from_secs(1);
/// The pause after Redis did not do it.
const PAUSE: Duration = Duration::from_secs(5);
/// A host is forgotten after so long.
const FORGET: Duration = Duration::from_secs(60);
/// An id by so many milliseconds ahead of Redis's clock is not believed.
const AHEAD: u64 = 60 * 1000;
/// The most entries of an answer, and the most hosts that are remembered.
const MOST_ENTRIES: usize = 500;
const MOST_HOSTS: usize = 1000;
/// The most names of hosts in a line.
const MOST_NAMES: usize = 8;
/// The most changes that are logged in an hour. Whoever can write to Redis can cause them.
const MOST_CHANGES: usize = 30;
const HOUR: Duration = Duration::from_secs(60 * 60);

/// The other hosts, as far as they are known.
#[derive(Debug)]
pub(super) struct Fleet {
    host: String,
    told: Option<(About, Instant)>,
    asked: Option<Instant>,
    last: EntryId,
    others: BTreeMap<String, (About, Instant)>,
    /// The hosts of the last lines, and when lines were written.
    said: Vec<OtherHost>,
    changes: VecDeque<Instant>,
    /// Whether Redis refuses this.
    is_refused: bool,
    /// When Redis did not do it.
    paused: Option<Instant>,
    /// Whether it was said that the stream has no more ids.
    is_at_the_end: bool,
}

impl Fleet {
    pub(super) fn of(shared: &Shared) -> Fleet {
        Fleet {
            host: shared.settings.host.clone().unwrap_or_else(|| name_of_host(&shared.id)),
            told: None,
            asked: None,
            last: EntryId::default(),
            others: BTreeMap::new(),
            said: Vec::new(),
            changes: VecDeque::new(),
            is_refused: false,
            paused: None,
            is_at_the_end: false,
        }
    }

    /// Tells and asks, if it is time. The sender, which calls this, is held up for a moment at most:
    /// the node of a cluster that has this stream may be away. A Redis that refuses it does all else,
    /// and is asked no more.
    ///
    /// # Errors
    /// Redis takes no entries at all.
    pub(super) async fn compare(
        &mut self,
        shared: &Shared,
        connection: &mut Connection,
    ) -> Result<(), Failure> {
        if self.is_refused || shared.settings.once {
            return Ok(());
        }
        if self.paused.is_some_and(|since| since.elapsed() < PAUSE) {
            return Ok(());
        }
        let exchanged = timeout(PATIENCE, self.exchange(shared, connection)).await;
        match exchanged.unwrap_or_else(|_| Err(Failure::silence())) {
            Err(failure) if failure.state == RedisState::ReadOnly => Err(failure),
            Err(failure) if matches!(failure.state, RedisState::Denied | RedisState::Refused) => {
                self.is_refused = true;
                tracing::info!("hosts are not compared, because Redis is {failure}");
                Ok(())
            }
            Err(_) => {
                self.paused = Some(Instant::now());
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn exchange(
        &mut self,
        shared: &Shared,
        connection: &mut Connection,
    ) -> Result<(), Failure> {
        let now = Instant::now();
        let ours = self.ours(shared);
        let is_due = |since: Instant, time| now.saturating_duration_since(since) >= time;
        let is_news = |(told, when): &(About, Instant)| told.is_news(&ours) || is_due(*when, TELL);
        if self.told.as_ref().is_none_or(is_news) {
            self.tell(shared, connection, &ours).await?;
            self.told = Some((ours.clone(), now));
        }
        if self.asked.is_none_or(|when| is_due(when, ASK)) {
            self.ask(shared, connection, &ours.id).await?;
            self.asked = Some(now);
            self.judge(shared, &ours);
        }
        Ok(())
    }

    /// Tells others about this host. Behind an entry that is ahead the stream begins anew, and each host
    /// tells again soon. A user without DEL tells as long as there are ids.
    async fn tell(
        &mut self,
        shared: &Shared,
        connection: &mut Connection,
        ours: &About,
    ) -> Result<(), Failure> {
        let told = add(shared, connection, ours).await;
        let (is_at_the_end, is_done) = match &told {
            Ok(id) => (false, !is_ahead(shared, *id)),
            Err(failure) => (failure.text().contains(NO_MORE_IDS), false),
        };
        if is_done || (told.is_err() && !is_at_the_end) {
            return told.map(drop);
        }
        if connection.ask(cmd("DEL").arg(STREAM)).await.is_ok() {
            self.last = EntryId::default();
            return add(shared, connection, ours).await.map(drop);
        }
        if is_at_the_end {
            if !std::mem::replace(&mut self.is_at_the_end, true) {
                tracing::warn!("hosts are not compared: {STREAM} has no more ids; DEL it");
            }
            return Err(Failure::silence());
        }
        Ok(())
    }

    /// The facts that this host tells.
    fn ours(&self, shared: &Shared) -> About {
        About {
            id: hex(&shared.id),
            host: self.host.clone(),
            name: shared.settings.local.name.clone(),
            skew: shared.clock.skew(),
            keys: shared.store.key_ids().unwrap_or(KeyIds { epoch: 0, ids: Vec::new() }),
            services: shared.store.services(),
        }
    }

    /// Reads what others have told since.
    async fn ask(
        &mut self,
        shared: &Shared,
        connection: &mut Connection,
        own: &str,
    ) -> Result<(), Failure> {
        let mut ask = cmd("XRANGE");
        // Then the stream may have begun anew since.
        if is_ahead(shared, self.last) {
            match newest(connection).await? {
                newest if newest < self.last => self.last = EntryId::default(),
                newest if newest == self.last => return Ok(()),
                _ => {}
            }
        }
        let from = self.last.max(oldest(shared));
        ask.arg(STREAM).arg(format!("({from}")).arg("+").arg("COUNT").arg(MOST_ENTRIES);
        let answer = connection.ask(&ask).await?;
        let now = Instant::now();
        for entry in array(&answer) {
            self.last = array(entry)
                .first()
                .and_then(|id| EntryId::parse(id).ok())
                .map_or(self.last, |id| id.max(self.last));
            let Ok((_, about)) = About::parse(entry) else { continue };
            let has_room = self.others.len() < MOST_HOSTS || self.others.contains_key(&about.id);
            if about.id != own && has_room {
                self.others.insert(about.id.clone(), (about, now));
            }
        }
        self.others.retain(|_, (_, when)| now.saturating_duration_since(*when) < FORGET);
        Ok(())
    }

    fn judge(&mut self, shared: &Shared, ours: &About) {
        let others: Vec<&About> = self.others.values().map(|(about, _)| about).collect();
        let all: Vec<&About> = others.iter().copied().chain([ours]).collect();
        let mut differing: Vec<OtherHost> = others
            .iter()
            .map(|other| OtherHost { name: other.host.clone(), differs: ours.differs(other, &all) })
            .filter(|host| host.differs != 0)
            .collect();
        differing.sort_by(|one, two| one.name.cmp(&two.name));
        let seen = others.len();
        shared.store.keep_other_hosts(seen as u64, &differing, Now(host_time()));
        shared.metrics.compared(seen, &differing);
        self.say(differing, Instant::now());
    }

    /// Logs a change.
    fn say(&mut self, differing: Vec<OtherHost>, now: Instant) {
        self.changes.retain(|when| now.saturating_duration_since(*when) < HOUR);
        if differing == self.said || self.changes.len() >= MOST_CHANGES {
            return;
        }
        self.changes.push_back(now);
        if differing.is_empty() {
            tracing::info!("no other host differs any more");
        }
        lines(&differing).iter().for_each(|line| tracing::warn!("{line}"));
        self.said = differing;
    }
}

impl About {
    /// Whether others should hear of this at once.
    fn is_news(&self, now: &About) -> bool {
        self.keys != now.keys || self.services != now.services
    }
}

/// Adds an entry; returns its id.
async fn add(
    shared: &Shared,
    connection: &mut Connection,
    ours: &About,
) -> Result<EntryId, Failure> {
    let mut command = cmd("XADD");
    command.arg(STREAM).arg("MINID").arg("~").arg(oldest(shared).to_string()).arg("*");
    for (name, value) in ours.fields() {
        command.arg(name).arg(value);
    }
    let answer = connection.ask(&command).await?;
    Ok(EntryId::parse(node::answer(&answer).1).unwrap_or_default())
}

/// The id of the newest entry.
async fn newest(connection: &mut Connection) -> Result<EntryId, Failure> {
    let mut command = cmd("XINFO");
    command.arg("STREAM").arg(STREAM);
    let answer = connection.ask(&command).await?;
    Ok(last_id(&answer).unwrap_or_default())
}

/// Whether an id is not of Redis's clock: somebody has written it, or the clock was ahead once. No entry
/// behind it is ever old enough to be forgotten.
fn is_ahead(shared: &Shared, id: EntryId) -> bool {
    let now = shared.clock.now();
    now != 0 && id.time > now.saturating_add(AHEAD)
}

/// The entry before which everything is forgotten, by Redis's clock.
fn oldest(shared: &Shared) -> EntryId {
    let forget = u64::try_from(FORGET.as_millis()).unwrap_or(u64::MAX);
    EntryId { time: shared.clock.now().saturating_sub(forget), number: 0 }
}

/// A line for each thing in which hosts differ.
fn lines(differing: &[OtherHost]) -> Vec<String> {
    let line = |what: Difference| {
        let hosts: Vec<&str> = differing
            .iter()
            .filter(|host| what.is_in(host.differs))
            .map(|host| host.name.as_str())
            .collect();
        let (shown, more) = hosts.split_at(hosts.len().min(MOST_NAMES));
        let more = match more.len() {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        (!hosts.is_empty())
            .then(|| format!("{} {}{more}: {}", what.text(), shown.join(", "), what.mend()))
    };
    Difference::ALL.into_iter().filter_map(line).collect()
}

/// The name of this host, if it may stand in a line; else the start of the store's id.
fn name_of_host(id: &[u8]) -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name: String = name.chars().take(MOST_HOST_NAME).collect();
    if is_host_name(&name) { name } else { hex(id).chars().take(8).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_is_a_line_that_mends_it() {
        let host = |name: &str, differs| OtherHost { name: name.to_owned(), differs };
        let mut many: Vec<_> = (0..9).map(|number| host(&format!("h{number}"), 2)).collect();
        many.push(host("x", 16));
        let lines = lines(&many);
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("sessions are sealed with another key at h0, "));
        assert!(lines[0].contains("h7 and 1 more: copy the key file"));
        assert!(lines[1].starts_with("the time is another at x: "));
    }
}

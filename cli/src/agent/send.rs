//! Appends the records of the store's log to the streams.
//!
//! The task sends one round at a time, to all of its streams at once. It tries until Redis has
//! acknowledged every entry of the round. Only then the store notes it as told, so an entry may be
//! in a stream twice, and is never missing.

use super::connection::Connection;
use super::failure::{Failure, RedisState};
use super::fleet::Fleet;
use super::follow::Round;
use super::metrics::Direction;
use super::node;
use super::other_names;
use super::reconnect::Reconnect;
use super::rewinds::Rewinds;
use super::shared::{SENDER, Shared};
use super::stream_entry::{EntryId, Malformed, UnsentEntries, array, fields, key};
use super::witness::{Acknowledged, AllWitnesses, Expected};
use futures_util::future::join_all;
use redis::{Value, cmd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;
use tokio::time::{MissedTickBehavior, interval};

/// How often to ask Redis for its time, and for the entries that it acknowledged.
const CHECK: Duration = Duration::from_secs(1);

/// The task that sends.
pub(crate) struct Sender {
    shared: Arc<Shared>,
    connection: Option<Connection>,
    witnesses: AllWitnesses,
    reconnect: Reconnect,
    rewinds: Rewinds,
    fleet: Fleet,
    was_connected: bool,
}

impl Sender {
    pub(crate) fn new(shared: Arc<Shared>) -> Sender {
        Sender {
            witnesses: AllWitnesses::of(&shared),
            fleet: Fleet::of(&shared),
            shared,
            connection: None,
            reconnect: Reconnect::new(SENDER),
            rewinds: Rewinds::new(),
            was_connected: false,
        }
    }

    /// Sends rounds until there are no more. Gives up only with --once.
    pub(crate) async fn send(mut self, mut rounds: Receiver<Round>) -> Result<(), Failure> {
        let mut checks = interval(CHECK);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                round = rounds.recv() => match round {
                    Some(round) => self.deliver(round).await?,
                    None => return Ok(()),
                },
                _ = checks.tick() => {
                    let checked = self.check_redis().await;
                    self.handle_result(checked).await?;
                }
            }
        }
    }

    async fn deliver(&mut self, mut round: Round) -> Result<(), Failure> {
        while !round.unsent.nonempty_streams().is_empty() {
            let tried = self.try_deliver(&mut round.unsent).await;
            self.handle_result(tried).await?;
        }
        let Shared { store, metrics, .. } = &*self.shared;
        round.told.iter().for_each(|told| store.note_read(told));
        for (number, flush) in round.flushes {
            store.note_told(number, flush);
        }
        if round.is_rewind {
            self.witnesses.release(&self.shared);
        }
        metrics.sent_records.inc_by(round.records);
        metrics.sent_bytes.inc_by(round.bytes);
        Ok(())
    }

    /// Notes a success. After a failure, drops the connection, so that the next try makes another.
    async fn handle_result(&mut self, tried: Result<(), Failure>) -> Result<(), Failure> {
        let Err(failure) = tried else {
            self.shared.health.succeeded(SENDER);
            self.reconnect.succeeded();
            return Ok(());
        };
        self.connection = None;
        self.reconnect.give_up_connection(&self.shared, failure).await
    }

    /// Sends entries, and removes from `unsent` those that Redis acknowledges.
    async fn try_deliver(&mut self, unsent: &mut UnsentEntries) -> Result<(), Failure> {
        let connection = self.connected().await?;
        let shared = Arc::clone(&self.shared);
        let sending = unsent.nonempty_streams().into_iter().map(|stream| {
            let (connection, entries, shared) = (connection.clone(), unsent.take(stream), &shared);
            async move { (stream, append(shared, connection, stream, entries).await) }
        });
        let sending: Vec<_> = sending.collect();
        let mut first = Ok(());
        for (stream, (left, acknowledged, result)) in join_all(sending).await {
            unsent.put_back(stream, left);
            for one in acknowledged {
                shared.see_id(one.id);
                self.witnesses.add(&shared, stream, one);
            }
            first = first.and(result);
        }
        first
    }

    /// The connection, or a new one after a look at Redis's clock and at the witnesses.
    async fn connected(&mut self) -> Result<Connection, Failure> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        let mut connection = self.shared.settings.target.connect(Duration::ZERO).await?;
        self.shared.measure_clock(&mut connection).await?;
        self.check_witnesses(&mut connection).await?;
        if std::mem::replace(&mut self.was_connected, true) {
            self.shared.metrics.reconnects.inc();
        } else {
            other_names::tell(&self.shared, &mut connection).await;
        }
        self.connection = Some(connection.clone());
        Ok(connection)
    }

    async fn check_redis(&mut self) -> Result<(), Failure> {
        let mut connection = self.connected().await?;
        self.shared.measure_clock(&mut connection).await?;
        self.check_witnesses(&mut connection).await?;
        self.fleet.compare(&self.shared, &mut connection).await
    }

    /// Looks for the witnesses. If one is gone, hosts that had not read it would never get it, so
    /// everything is sent again.
    async fn check_witnesses(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let mut gone: Vec<Expected> = Vec::new();
        for expected in self.witnesses.expected(&shared) {
            let id = expected.id.to_string();
            let mut ask = cmd("XRANGE");
            ask.arg(key(&shared.settings.local.name, expected.stream)).arg(&id).arg(&id);
            ask.arg("COUNT").arg(1);
            if array(&connection.ask(&ask).await?).is_empty() {
                gone.push(expected);
            }
        }
        for &one in &gone {
            // The stream may begin anew with lower ids, which must not leave at once.
            shared.retention.forget(one.stream);
            self.witnesses.lost(one);
        }
        let has_moved = gone.iter().any(|one| one.has_moved);
        if gone.is_empty() {
            self.witnesses.settle(&shared);
        } else if self.rewind(has_moved) {
            self.witnesses.hold(&shared, &gone);
        }
        Ok(())
    }

    /// Has everything sent again, unless that was done a short time ago. Returns whether it will be.
    fn rewind(&mut self, has_moved: bool) -> bool {
        if !self.rewinds.is_due(has_moved, Instant::now()) {
            return false;
        }
        self.shared.rewind.store(true, Release);
        self.shared.metrics.rewound(Direction::Send);
        tracing::warn!(
            "Redis has lost entries that it had acknowledged (emptied, restored or failed over); \
             sending again what the store still holds"
        );
        true
    }
}

/// Appends entries to a stream, in their order. Returns the entries that are left, and those that
/// were appended: the last of each node.
async fn append(
    shared: &Shared,
    mut connection: Connection,
    stream: usize,
    entries: Vec<Vec<u8>>,
) -> (Vec<Vec<u8>>, Vec<Acknowledged>, Result<(), Failure>) {
    let streams = shared.settings.streams.to_string();
    let oldest = shared.oldest_retained(stream).to_string();
    let mut entries = entries.into_iter();
    let mut appended: Vec<Acknowledged> = Vec::new();
    while let Some(entry) = entries.as_slice().first() {
        let mut command = cmd("XADD");
        command
            .arg(key(&shared.settings.local.name, stream))
            .arg("MINID")
            .arg("~")
            .arg(&oldest)
            .arg("*");
        for (name, value) in fields(&shared.id, streams.as_bytes(), entry) {
            command.arg(name).arg(value);
        }
        let result = connection.ask(&command).await.and_then(|answer| acknowledged(&answer));
        match result {
            Ok(one) => {
                appended.pop_if(|last| last.node == one.node);
                appended.push(one);
            }
            Err(failure) => return (entries.collect(), appended, Err(failure)),
        }
        shared.metrics.sent_entries.inc();
        entries.next();
    }
    (Vec::new(), appended, Ok(()))
}

fn acknowledged(answer: &Value) -> Result<Acknowledged, Failure> {
    let (node, id) = node::answer(answer);
    match EntryId::parse(id) {
        Ok(id) => Ok(Acknowledged { id, node, when: Some(Instant::now()) }),
        Err(Malformed) => Err(Failure::new(RedisState::Refused, "XADD did not return an id")),
    }
}

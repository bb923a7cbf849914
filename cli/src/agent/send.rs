//! Appends the records of the store's log to the streams.
//!
//! The task sends one round at a time, to all of its streams at once. It tries until Redis has
//! acknowledged every entry of the round. Only then the store keeps the cursors, so an entry may be
//! in a stream twice, and is never missing.

use super::connection::Connection;
use super::failure::{Failure, RedisState};
use super::follow::Round;
use super::metrics::Direction;
use super::notes::{self, Note};
use super::reconnect::Reconnect;
use super::shared::{SENDER, Shared};
use super::stream_entry::{EntryId, Malformed, UnsentEntries, array, fields, key};
use futures_util::future::join_all;
use redis::{Value, cmd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;
use tokio::time::{MissedTickBehavior, interval};

/// How often to ask Redis for its time, and for the entries that it acknowledged.
const CHECK: Duration = Duration::from_secs(1);
/// The shortest time between two rewinds. It doubles each time, because a Redis that is out of
/// memory may throw streams away again and again.
const REWIND: Duration = Duration::from_secs(5);
const LONGEST_REWIND: Duration = Duration::from_secs(600);
/// Witnesses that are this close to their end, in milliseconds, are not checked. Another host may
/// have measured Redis's clock a little differently, and trimmed them.
const MARGIN: u64 = 3_000;

/// The task that sends.
pub(crate) struct Sender {
    shared: Arc<Shared>,
    connection: Option<Connection>,
    /// The last entry of ours that Redis acknowledged, in each stream.
    acknowledged: Vec<EntryId>,
    reconnect: Reconnect,
    rewound: Option<Instant>,
    rewind_pause: Duration,
    was_connected: bool,
}

impl Sender {
    pub(crate) fn new(shared: Arc<Shared>) -> Sender {
        let acknowledged = (0..shared.settings.streams)
            .map(|stream| notes::read(&shared.store, stream, Note::Witness))
            .collect();
        Sender {
            shared,
            connection: None,
            acknowledged,
            reconnect: Reconnect::new(SENDER),
            rewound: None,
            rewind_pause: REWIND,
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
        for (shard, cursor) in round.cursors {
            store.keep_cursor(shard, cursor);
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
        for (stream, (left, last, result)) in join_all(sending).await {
            unsent.put_back(stream, left);
            if let (Some(last), Some(witness)) = (last, self.acknowledged.get_mut(stream)) {
                *witness = last;
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
        }
        self.connection = Some(connection.clone());
        Ok(connection)
    }

    async fn check_redis(&mut self) -> Result<(), Failure> {
        let mut connection = self.connected().await?;
        self.shared.measure_clock(&mut connection).await?;
        self.check_witnesses(&mut connection).await
    }

    /// Checks that Redis still has an entry of ours in each stream, the witness, unless it is too
    /// old. If a witness is gone, Redis was emptied, restored, or failed over to a replica that
    /// lagged. Hosts that had not read it would never get it, so everything is sent again.
    async fn check_witnesses(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let oldest = shared.oldest_retained();
        let mut is_lost = false;
        for (stream, last) in self.acknowledged.iter_mut().enumerate() {
            let witness = notes::read(&shared.store, stream, Note::Witness);
            if witness.time > oldest.saturating_add(MARGIN) {
                let id = witness.to_string();
                let mut ask = cmd("XRANGE");
                ask.arg(key(&shared.settings.name, stream)).arg(&id).arg(&id).arg("COUNT").arg(1);
                if array(&connection.ask(&ask).await?).is_empty() {
                    is_lost = true;
                    *last = EntryId::default();
                }
            }
        }
        if is_lost && !self.rewind() {
            return Ok(());
        }
        for (stream, last) in self.acknowledged.iter().enumerate() {
            notes::keep(&shared.store, stream, Note::Witness, *last);
        }
        Ok(())
    }

    /// Has everything sent again, unless that was done a short time ago. Returns whether it will
    /// be.
    fn rewind(&mut self) -> bool {
        match self.rewound.map(|when| when.elapsed()) {
            Some(since) if since < self.rewind_pause => return false,
            Some(since) if since < self.rewind_pause * 2 => {
                self.rewind_pause = (self.rewind_pause * 2).min(LONGEST_REWIND);
            }
            _ => self.rewind_pause = REWIND,
        }
        self.rewound = Some(Instant::now());
        self.shared.rewind.store(true, Release);
        self.shared.metrics.rewound(Direction::Send);
        tracing::warn!(
            "Redis has lost entries that it had acknowledged (emptied, restored or failed over); \
             sending again what the store still holds"
        );
        true
    }
}

/// Appends entries to a stream, in their order. Returns the entries that are left, and the id of
/// the last that was appended.
async fn append(
    shared: &Shared,
    mut connection: Connection,
    stream: usize,
    entries: Vec<Vec<u8>>,
) -> (Vec<Vec<u8>>, Option<EntryId>, Result<(), Failure>) {
    let streams = shared.settings.streams.to_string();
    let oldest = shared.oldest_retained().to_string();
    let mut entries = entries.into_iter();
    let mut last = None;
    while let Some(entry) = entries.as_slice().first() {
        let mut command = cmd("XADD");
        command.arg(key(&shared.settings.name, stream)).arg("MINID").arg("~").arg(&oldest).arg("*");
        for (name, value) in fields(&shared.id, streams.as_bytes(), entry) {
            command.arg(name).arg(value);
        }
        let result = connection.ask(&command).await.and_then(|answer| acknowledged(&answer));
        match result {
            Ok(id) => last = Some(id),
            Err(failure) => return (entries.collect(), last, Err(failure)),
        }
        shared.metrics.sent_entries.inc();
        entries.next();
    }
    (Vec::new(), last, Ok(()))
}

fn acknowledged(answer: &Value) -> Result<EntryId, Failure> {
    EntryId::parse(answer)
        .map_err(|Malformed| Failure::new(RedisState::Refused, "XADD did not return an id"))
}

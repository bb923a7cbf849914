//! Reads one stream and applies the records of other hosts to the store.
//!
//! Each stream has a connection of its own, because Redis holds it while there is nothing new. The
//! store keeps how far the stream was read. No entry stops the reading, whatever it contains.

use super::connection::Connection;
use super::failure::{Failure, RedisState};
use super::metrics::{Direction, Unapplied};
use super::notes::{self, Note};
use super::reconnect::Reconnect;
use super::redis_clock::host_time;
use super::shared::{SENDER, Shared};
use super::stream_entry::{EntryId, StreamEntry, entries, first_id, key, last_id};
use redis::{Value, cmd};
use sesscache_core::store::{Now, PutError, Record};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How long Redis waits for a new entry.
const BLOCK: Duration = Duration::from_secs(1);
/// The most entries read at a time: 1 MiB, if agents wrote them. The client takes an answer into
/// memory whole, so a larger count would let a writer of large entries fill more memory.
const COUNT: usize = 16;
/// How often a record is offered to a bucket that others change, and the pause between.
const TRIES: u32 = 4;
const BUSY: Duration = Duration::from_millis(5);

/// The task that reads one stream.
pub(crate) struct Receiver {
    shared: Arc<Shared>,
    stream: usize,
    key: String,
    /// The last entry that was read.
    position: EntryId,
    phase: Phase,
    /// The last entry that was read before the last gap that was logged.
    gap: EntryId,
    /// The number of entries to read next. It is 1 after a failure, because the answer may have
    /// been too large for the connection.
    count: usize,
    was_connected: bool,
}

/// Whether the backlog from before our start has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Redis was not reached yet, so the end of the backlog is unknown.
    Unknown,
    /// The backlog ends with this entry, the last at our first connection.
    Backlog(EntryId),
    /// The backlog has been read: entries are new ones.
    Live,
}

impl Receiver {
    pub(crate) fn new(shared: Arc<Shared>, stream: usize) -> Receiver {
        let key = key(&shared.settings.local.name, stream);
        let position = notes::read(&shared.store, stream, Note::Read);
        Receiver {
            shared,
            stream,
            key,
            position,
            phase: Phase::Unknown,
            gap: EntryId::default(),
            count: COUNT,
            was_connected: false,
        }
    }

    /// Reads for ever. With --once, reads to the end of the stream, or until Redis failed too
    /// often.
    pub(crate) async fn receive(mut self) -> Result<(), Failure> {
        let mut reconnect = Reconnect::new(self.connection_number());
        loop {
            let Err(failure) = self.read_stream(&mut reconnect).await else { return Ok(()) };
            self.count = 1;
            reconnect.give_up_connection(&self.shared, failure).await?;
        }
    }

    fn connection_number(&self) -> usize {
        SENDER + 1 + self.stream
    }

    /// Reads until the connection fails. With --once, reads to the end of the stream.
    async fn read_stream(&mut self, reconnect: &mut Reconnect) -> Result<(), Failure> {
        let mut connection = self.shared.settings.target.connect(BLOCK).await?;
        if self.shared.clock.now() == 0 {
            self.shared.measure_clock(&mut connection).await?;
        }
        self.check_stream(&mut connection).await?;
        if std::mem::replace(&mut self.was_connected, true) {
            self.shared.metrics.reconnects.inc();
        }
        loop {
            self.shared.health.succeeded(self.connection_number());
            let asked = self.shared.clock.now();
            let answer = self.read(&mut connection).await?;
            reconnect.succeeded();
            let read = entries(&answer);
            let is_all = read.len() < self.count;
            self.count = (self.count * 2).min(COUNT);
            if read.is_empty() {
                self.end_warmup();
                self.set_caught_up(asked);
                if self.shared.settings.once {
                    return Ok(());
                }
                self.check_stream(&mut connection).await?;
            }
            for entry in read {
                self.apply_entry(&entry).await;
                self.position = entry.id;
                // Other tasks get a turn between two entries.
                tokio::task::yield_now().await;
            }
            notes::keep(&self.shared.store, self.stream, Note::Read, self.position);
            self.shared.retention.reached(self.stream, self.position, Instant::now());
            if is_all {
                self.set_caught_up(asked);
            }
            if matches!(self.phase, Phase::Backlog(end) if self.position >= end) {
                self.end_warmup();
            }
        }
    }

    async fn read(&self, connection: &mut Connection) -> Result<Value, Failure> {
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(self.count);
        if !self.shared.settings.once {
            command.arg("BLOCK").arg(BLOCK.as_millis().to_string());
        }
        command.arg("STREAMS").arg(&self.key).arg(self.position.to_string());
        let answer = connection.ask(&command).await?;
        match answer {
            Value::Nil | Value::Array(_) => Ok(answer),
            _ => Err(Failure::new(RedisState::Refused, "XREAD did not return entries")),
        }
    }

    /// Notes that the stream was read to its end, at this time by Redis's clock.
    fn set_caught_up(&self, time: u64) {
        self.shared.caught_up.set(&self.shared.store, self.stream, time);
    }

    /// Compares the stream with our position. If it ends earlier, Redis was emptied or restored, so
    /// the stream is read from its beginning.
    async fn check_stream(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let mut command = cmd("XINFO");
        command.arg("STREAM").arg(&self.key);
        let (first, end) = match connection.ask(&command).await {
            Ok(answer) => {
                // A malformed answer shows neither a gap nor another end.
                let first = first_id(&answer).unwrap_or(None);
                (first, last_id(&answer).unwrap_or(self.position))
            }
            Err(failure) if failure.is_missing_key() => (None, EntryId::default()),
            Err(failure) => return Err(failure),
        };
        self.check_gap(first);
        if end < self.position {
            self.position = EntryId::default();
            notes::keep(&self.shared.store, self.stream, Note::Read, self.position);
            self.shared.retention.forget(self.stream);
            self.shared.metrics.rewound(Direction::Receive);
            self.shared.warn_truncated();
        }
        if self.phase == Phase::Unknown {
            self.begin_warmup(connection).await?;
            self.phase = Phase::Backlog(end);
            if self.position >= end {
                self.end_warmup();
            }
        }
        Ok(())
    }

    /// Logs a gap: the last entry that was read has left the stream. Since the stream was last read
    /// to its end, later entries may have come and left, too.
    fn check_gap(&mut self, first: Option<EntryId>) {
        let Shared { caught_up, clock, .. } = &*self.shared;
        // A later time is one of a clock that was ahead.
        let read = Some(self.position.time).filter(|&time| time <= clock.now());
        let until = caught_up.at(self.stream).max(read.unwrap_or(0));
        let has_left = first.is_some_and(|first| self.position < first);
        let is_known = [EntryId::default(), self.gap].contains(&self.position);
        if !is_known && has_left && until < self.shared.oldest_time() {
            self.gap = self.position;
            self.shared.warn_missed(until);
        }
    }

    /// Begins to fill the store from the stream, if nothing of the stream was read yet.
    async fn begin_warmup(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let mut command = cmd("XLEN");
        command.arg(&self.key);
        let length = match connection.ask(&command).await? {
            Value::Int(length) if self.position == EntryId::default() => u64::try_from(length),
            _ => Ok(0),
        };
        self.shared.warmup.begin(length.unwrap_or(0));
        Ok(())
    }

    fn end_warmup(&mut self) {
        if std::mem::replace(&mut self.phase, Phase::Live) != Phase::Live {
            self.shared.warmup.end();
        }
    }

    async fn apply_entry(&self, entry: &StreamEntry<'_>) {
        let Shared { metrics, warmup, id, .. } = &*self.shared;
        warmup.read();
        if entry.origin == Some(id) {
            metrics.own_entries.inc();
            return;
        }
        let Ok(mut rest) = entry.records else {
            metrics.poison_entries.inc();
            return;
        };
        metrics.received_entries.inc();
        metrics.received_bytes.inc_by(rest.len() as u64);
        self.shared.check_stream_count(entry.streams);
        while !rest.is_empty() {
            let Some((record, after)) = Record::split(rest) else {
                metrics.poison_entries.inc();
                return;
            };
            metrics.received_records.inc();
            self.apply_record(&record).await;
            rest = after;
        }
    }

    async fn apply_record(&self, record: &Record<'_>) {
        let Shared { store, metrics, .. } = &*self.shared;
        let now = host_time();
        if record.deadline() < now / 1000 {
            return metrics.unapplied(Unapplied::Expired);
        }
        if store.has(record, Now(now)) {
            return metrics.unapplied(Unapplied::Known);
        }
        let mut result = Err(PutError::Busy);
        for number in 0..TRIES {
            if number > 0 {
                sleep(BUSY).await;
            }
            result = store.apply(record, Now(now));
            if result != Err(PutError::Busy) {
                break;
            }
        }
        match result {
            Ok(()) => metrics.applied_records.inc(),
            Err(PutError::Removed) => return metrics.unapplied(Unapplied::Removed),
            Err(PutError::Busy) => return metrics.unapplied(Unapplied::Busy),
            Err(PutError::Oversize) => return metrics.unapplied(Unapplied::Oversize),
        };
        if self.phase == Phase::Live {
            self.observe_lag(record);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "milliseconds of centuries are exact")]
    fn observe_lag(&self, record: &Record<'_>) {
        let metrics = &self.shared.metrics;
        match host_time().checked_sub(record.written()) {
            Some(lag) => metrics.lag.observe(lag as f64 / 1000.0),
            None => drop(metrics.future_records.inc()),
        }
    }
}

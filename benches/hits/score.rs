//! How many connections resume under a policy, and at best.

use crate::policies::{Origin, Policy};
use crate::traffic::{Connection, Traffic};
use std::collections::{BTreeSet, HashMap};

/// A client that comes back after so many seconds returns.
const RETURN: f64 = 600.0;

/// Connections that count, and those that resume.
#[derive(Debug, Default)]
pub(crate) struct Score {
    counted: u64,
    resumed: u64,
}

impl Score {
    pub(crate) fn per_cent(&self) -> f64 {
        100.0 * self.resumed as f64 / self.counted.max(1) as f64
    }
}

/// Counts the connections after the first third, in which a cache fills.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    traffic: &'a Traffic,
    seen: HashMap<u64, f64>,
    score: Score,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(traffic: &'a Traffic) -> Self {
        Judge { traffic, seen: HashMap::new(), score: Score::default() }
    }

    /// Whether the connection counts.
    pub(crate) fn count(&mut self, number: usize, connection: &Connection, resumed: bool) -> bool {
        let before = self.seen.insert(connection.client, connection.time);
        let returns = before.is_some_and(|before| connection.time - before >= RETURN);
        let is_late = number >= self.traffic.connections.len() / 3;
        let counts = is_late && connection.counts && (returns || !self.traffic.returns_only);
        if counts {
            self.score.counted += 1;
            self.score.resumed += u64::from(resumed);
        }
        counts
    }
}

/// A client offers the last session that it got. In TLS 1.3 it offers each once; a full handshake
/// brings two, a resumption one.
pub(crate) fn run(traffic: &Traffic, policy: &mut dyn Policy, is_tls13: bool) -> Score {
    let mut judge = Judge::new(traffic);
    let mut sessions: HashMap<u64, Vec<(u64, f64)>> = HashMap::new();
    let mut last = 0;
    for (number, connection) in traffic.connections.iter().enumerate() {
        let held = sessions.entry(connection.client).or_default();
        held.retain(|(_, made)| connection.time - made < traffic.lifetime);
        policy.expire(connection.time as i64);
        let offered = if is_tls13 { held.pop() } else { held.last().copied() }.map(|(id, _)| id);
        let resumed = offered.is_some_and(|id| policy.offer(id));
        judge.count(number, connection, resumed);
        let (count, origin) = match offered {
            Some(id) if resumed => (usize::from(is_tls13), Origin::Resumed(id)),
            Some(_) => (1 + usize::from(is_tls13), Origin::Missed),
            None => (1 + usize::from(is_tls13), Origin::Stranger),
        };
        if !resumed {
            held.clear();
        }
        for _ in 0..count {
            last += 1;
            policy.add(last, origin, (connection.time + traffic.lifetime) as i64);
            held.push((last, connection.time));
        }
    }
    judge.score
}

/// The most that is possible (Belady): of the clients, those who come back soonest have a session.
pub(crate) fn best(traffic: &Traffic, size: usize) -> Score {
    let mut next = vec![usize::MAX; traffic.connections.len()];
    let mut later: HashMap<u64, usize> = HashMap::new();
    for (number, connection) in traffic.connections.iter().enumerate().rev() {
        let after = later.insert(connection.client, number);
        let is_soon = |&n: &usize| {
            traffic.connections.get(n).is_some_and(|c| c.time - connection.time < traffic.lifetime)
        };
        if let (Some(place), Some(after)) = (next.get_mut(number), after.filter(is_soon)) {
            *place = after;
        }
    }
    let mut judge = Judge::new(traffic);
    // By the time of the next connection, whose client is known.
    let mut kept: BTreeSet<usize> = BTreeSet::new();
    for (number, (connection, &next)) in traffic.connections.iter().zip(&next).enumerate() {
        judge.count(number, connection, kept.remove(&number));
        if next != usize::MAX {
            kept.insert(next);
            if kept.len() > size {
                kept.pop_last();
            }
        }
    }
    judge.score
}

//! How many connections resume with a cache of so many sessions: ours, and others.
//!
//!     cargo run --release -p sesscache-bench --bin hits [replay SIZE]
//!
//! The cache is the product's own; the clients and their clock are simulated. Prints a table of
//! traffic, protocol, size, policy and per cent. `replay` prints clients instead, one a line, for
//! `hits.c`, which makes the same connections with real handshakes; and what is expected of them.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a benchmark"
)]

mod policies;
mod traffic;

use policies::{Fifo, Lru, Origin, Ours, Policy};
use std::collections::{BTreeSet, HashMap};
use traffic::{Connection, Traffic, replaced, short, web, zipf};

/// Sizes of the cache, in sessions.
const SIZES: [usize; 6] = [500, 1_000, 2_000, 4_000, 8_000, 16_000];
/// The size at which each traffic is compared.
const COMMON: usize = 2_000;
/// Bytes of a session in the product's cache, with its entry, and in nginx's `shared:` zone: nginx 1.22.1
/// holds 2,680 sessions in a zone of 1 MiB, counted by handshakes.
const BYTES: usize = 1_130;
const NGINX_BYTES: usize = (1 << 20) / 2_680;
/// OpenSSL's default size, for a few more rows.
const LARGE: usize = 20_480;
/// A client that comes back after so many seconds returns.
const RETURN: f64 = 600.0;
/// Clients of a replay, which make 24,000 connections with the strangers.
const REPLAYED_CLIENTS: u64 = 400;

/// Connections that count, and those that resume.
#[derive(Default)]
struct Score {
    counted: u64,
    resumed: u64,
}

impl Score {
    fn per_cent(&self) -> f64 {
        100.0 * self.resumed as f64 / self.counted.max(1) as f64
    }
}

/// Counts the connections after the first third, in which a cache fills.
struct Judge<'a> {
    traffic: &'a Traffic,
    seen: HashMap<u64, f64>,
    score: Score,
}

impl<'a> Judge<'a> {
    fn new(traffic: &'a Traffic) -> Self {
        Judge { traffic, seen: HashMap::new(), score: Score::default() }
    }

    fn count(&mut self, number: usize, connection: &Connection, resumed: bool) {
        let before = self.seen.insert(connection.client, connection.time);
        let returns = before.is_some_and(|before| connection.time - before >= RETURN);
        let is_late = number >= self.traffic.connections.len() / 3;
        if is_late && connection.counts && (returns || !self.traffic.returns_only) {
            self.score.counted += 1;
            self.score.resumed += u64::from(resumed);
        }
    }
}

/// A client offers the last session that it got. In TLS 1.3 it offers each once; a full handshake
/// brings two, a resumption one.
fn run(traffic: &Traffic, policy: &mut dyn Policy, is_tls13: bool) -> Score {
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
fn best(traffic: &Traffic, size: usize) -> Score {
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

fn print(traffic: &Traffic, size: usize) {
    for is_tls13 in [false, true] {
        let figures = [
            ("FIFO", run(traffic, &mut Fifo::new(size), is_tls13)),
            ("CLOCK", run(traffic, &mut Fifo::clock(size), is_tls13)),
            ("LRU", run(traffic, &mut Lru::new(size), is_tls13)),
            ("nginx", run(traffic, &mut Fifo::new(size * BYTES / NGINX_BYTES), is_tls13)),
            ("sesscache", run(traffic, &mut Ours::new(size), is_tls13)),
            ("Belady", best(traffic, size)),
        ];
        let protocol = if is_tls13 { "TLS 1.3" } else { "TLS 1.2" };
        for (policy, score) in figures {
            println!("{}\t{protocol}\t{size}\t{policy}\t{:.2}", traffic.name, score.per_cent());
        }
    }
}

/// The connections of a traffic with few clients, for real handshakes. What is expected of them goes
/// to standard error: protocol, ours and FIFO.
fn replay(size: usize) {
    let traffic = web(REPLAYED_CLIENTS, 0.5, false);
    for connection in &traffic.connections {
        println!("{}", connection.client);
    }
    for (protocol, is_tls13) in [("tls12", false), ("tls13", true)] {
        let ours = run(&traffic, &mut Ours::new(size), is_tls13).per_cent();
        let fifo = run(&traffic, &mut Fifo::new(size), is_tls13).per_cent();
        eprintln!("{protocol}\t{ours:.2}\t{fifo:.2}");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, size] = arguments.as_slice()
        && word == "replay"
    {
        return replay(size.parse().unwrap_or(COMMON));
    }
    for once in [0.5, 0.8] {
        for exponent in [0.8, 0.9, 1.0] {
            print(&zipf(exponent, once, false), COMMON);
        }
    }
    print(&zipf(0.9, 0.5, true), COMMON);
    for once in [0.5, 0.8] {
        print(&replaced(0.9, once, 200.0), COMMON);
        print(&replaced(0.9, once, 1_000.0), COMMON);
        print(&short(0.9, once, 300.0), COMMON);
    }
    print(&replaced(0.9, 0.5, 200.0), LARGE);
    print(&zipf(0.9, 0.5, false), LARGE);
    print(&web(1_500, 0.5, false), COMMON);
    print(&web(6_000, 0.5, false), COMMON);
    for traffic in [zipf(0.9, 0.5, false), web(1_500, 0.5, true)] {
        for size in SIZES.into_iter().filter(|&size| size != COMMON || traffic.returns_only) {
            print(&traffic, size);
        }
    }
}

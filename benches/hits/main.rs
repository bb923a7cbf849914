//! How many connections resume with a cache of so many sessions: ours, and others.
//!
//!     cargo run --release -p sesscache-bench --bin hits [replay PLACE SIZE TRAFFIC]
//!
//! Cache and store are the product's own; the clients and their clock are simulated. Prints a table of place,
//! traffic, protocol, size, policy and per cent. `replay` prints connections instead, one a line, for
//! `replay.c`, which makes the same connections with real handshakes; and what is expected of them. SIZE is
//! that of the process's cache, PLACE is `process` or `store`.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a benchmark"
)]

mod policies;
mod score;
mod stored;
mod traffic;

use policies::{Fifo, Lru, Ours, Policy};
use score::{Judge, best, run};
use std::fmt::Write as _;
use stored::Stored;
use traffic::{Traffic, all, web, zipf};

/// Sizes of the cache, in sessions.
const SIZES: [usize; 6] = [500, 1_000, 2_000, 4_000, 8_000, 16_000];
/// The size at which each traffic is compared.
const COMMON: usize = 2_000;
/// Sessions in a zone `shared:SSL:1m` of nginx 1.22.1, counted by handshakes.
const NGINX: usize = 2_680;
/// Sessions of TLS 1.2 in a store of 1 MiB of 279cc69, the last version with locks. It was a FIFO: with real
/// handshakes as many resume as here, to a fifth of a point.
const BEFORE: usize = 6_026;
/// Connections of a traffic, simulated and with real handshakes. The figures are for the former.
const SIMULATED: usize = 300_000;
const REPLAYED: usize = 60_000;

/// Where sessions are kept.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// In the process's cache, of so many sessions.
    Process(usize),
    /// In a host store of 1 MiB.
    Store,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::Process(_) => "process",
            Place::Store => "store",
        }
    }

    /// In sessions.
    fn size(self) -> usize {
        match self {
            Place::Process(size) => size,
            Place::Store => Stored::size(),
        }
    }

    fn ours(self, is_tls13: bool) -> Box<dyn Policy> {
        match self {
            Place::Process(size) => Box::new(Ours::new(size)),
            Place::Store => Box::new(Stored::new(is_tls13)),
        }
    }
}

fn print(traffic: &Traffic, place: Place) {
    let size = place.size();
    for is_tls13 in [false, true] {
        let mut figures = vec![
            ("FIFO", run(traffic, &mut Fifo::new(size), is_tls13)),
            ("second chance", run(traffic, &mut Fifo::with_second_chance(size), is_tls13)),
            ("LRU", run(traffic, &mut Lru::new(size), is_tls13)),
            ("sesscache", run(traffic, &mut *place.ours(is_tls13), is_tls13)),
            ("Belady", best(traffic, size)),
        ];
        if let Place::Store = place {
            figures.push(("nginx", run(traffic, &mut Fifo::new(NGINX), is_tls13)));
            figures.push(("before", run(traffic, &mut Fifo::new(BEFORE), is_tls13)));
        }
        let protocol = if is_tls13 { "TLS 1.3" } else { "TLS 1.2" };
        for (policy, score) in figures {
            let (place, traffic) = (place.name(), &traffic.name);
            println!("{place}\t{traffic}\t{protocol}\t{size}\t{policy}\t{:.2}", score.per_cent());
        }
    }
}

/// The connections of a traffic: when, whose, and whether it counts. What is expected of them goes to
/// standard error: protocol, seconds in which a session is good, ours and FIFO.
fn replay(traffic: &Traffic, place: Place) {
    let mut judge = Judge::new(traffic);
    let mut lines = String::new();
    for (number, connection) in traffic.connections.iter().enumerate() {
        let counts = u8::from(judge.count(number, connection, false));
        let _ = writeln!(lines, "{:.3} {} {counts}", connection.time, connection.client);
    }
    print!("{lines}");
    for (protocol, is_tls13) in [("tls12", false), ("tls13", true)] {
        let ours = run(traffic, &mut *place.ours(is_tls13), is_tls13).per_cent();
        let fifo = run(traffic, &mut Fifo::new(place.size()), is_tls13).per_cent();
        eprintln!("{protocol}\t{}\t{ours:.2}\t{fifo:.2}", traffic.lifetime);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [_, place, size, name] = arguments.as_slice() {
        let process = Place::Process(size.parse().unwrap_or(COMMON));
        let place = if place == "store" { Place::Store } else { process };
        // So few clients that a small cache has a part of them.
        let mut traffics = all(REPLAYED).chain([web(400, 0.5, false)]);
        let traffic = traffics.find(|traffic| traffic.name == *name);
        return replay(&traffic.expect("the name of a traffic"), place);
    }
    for traffic in all(SIMULATED) {
        print(&traffic, Place::Process(COMMON));
        print(&traffic, Place::Store);
    }
    for traffic in [zipf(SIMULATED, 0.9, 0.5), web(1_500, 0.5, true)] {
        for size in SIZES.into_iter().filter(|&size| size != COMMON) {
            print(&traffic, Place::Process(size));
        }
    }
}

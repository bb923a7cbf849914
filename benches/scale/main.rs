//! How far each way of sharing sessions goes: the figures of docs/SCALE.md, which it prints.
//!
//!     make bench-scale
//!
//! The table, the records and their encoding are the real ones, and so are the costs of a record. Hosts,
//! clients and the clock are simulated.

#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a benchmark")]
#![allow(clippy::cast_sign_loss, reason = "a benchmark")]

mod fleet;
mod measure;

use fleet::{Costs, DAY, Design, Fleet, Load, MOST_STREAMS};
use measure::{Measured, measure, remembered};
use std::error::Error;

const HOSTS: [u32; 4] = [10, 100, 1_000, 10_000];
const RATES: [u32; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// A host makes no more sessions in a second: they take four processors.
const MOST_OF_A_HOST: f64 = 20_000.0;

/// The part of the returns at which a balancer that goes by a client's address finds its last host again.
const STEERED: f64 = 0.9;

const COSTS: Costs = Costs {
    receive_entry: 70.0,
    receive_record: 0.5,
    take_entry: 45.0,
    give_entry: 19.0,
    give_record: 0.2,
};

const ALONE: Design =
    Design { name: "alone", group: 1, most_nodes: 0, steered: 0.0, has_tickets: false };
const STEERED_ALONE: Design = Design { name: "alone, steered", steered: STEERED, ..ALONE };
const ONE: Design = Design { name: "one Redis", group: 0, most_nodes: 1, ..ALONE };
const SHARDED: Design = Design { name: "sharded Redis", most_nodes: MOST_STREAMS, ..ONE };
const GROUPS: Design = Design { name: "groups of ten", group: 10, ..SHARDED };
const STEERED_GROUPS: Design = Design { name: "groups, steered", steered: STEERED, ..GROUPS };
const HOMES: Design = Design { name: "groups, by id", steered: 1.0, ..GROUPS };
const TICKETS: Design = Design { name: "tickets", has_tickets: true, ..ALONE };
const DESIGNS: [Design; 8] =
    [ALONE, STEERED_ALONE, ONE, SHARDED, GROUPS, STEERED_GROUPS, HOMES, TICKETS];

fn seconds(value: f64) -> String {
    match value {
        v if v >= DAY => "a day".to_owned(),
        v if v >= 7200.0 => format!("{:.0} h", v / 3600.0),
        v if v >= 120.0 => format!("{:.0} min", v / 60.0),
        v => format!("{v:.0} s"),
    }
}

/// With a comma before each three digits.
fn number(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut all = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            all.push(',');
        }
        all.push(digit);
    }
    all
}

/// Two digits.
fn short(value: f64) -> String {
    match value {
        v if v < 0.0095 => "0".to_owned(),
        v if v < 0.95 => format!("{v:.2}"),
        v if v < 9.95 => format!("{v:.1}"),
        v => number(v),
    }
}

fn fleets() -> impl Iterator<Item = Fleet> {
    let all = RATES.into_iter().flat_map(|rate| {
        HOSTS.into_iter().map(move |hosts| Fleet { hosts, rate: f64::from(rate) })
    });
    all.filter(|fleet| fleet.rate / f64::from(fleet.hosts) <= MOST_OF_A_HOST)
}

struct Sizes {
    small: f64,
    large: f64,
}

fn print_costs(design: &Design, record: f64, sizes: &Sizes) {
    println!(
        "\n{}:\n\n| sessions/s | hosts | in, records/s | in, MiB/s | agent, processors | nodes of Redis \
         | of one: processors | MiB/s | 64 MiB remember | 1 GiB remembers | too much for |",
        design.name
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|");
    for fleet in fleets() {
        let load = design.load(fleet, record, &COSTS);
        let Load { records, bytes, agent, nodes, redis, redis_bytes, stored, limit, .. } = load;
        let mib = f64::from(1 << 20);
        // Of records that do not arrive nothing is remembered.
        let remembers = |sessions: f64| {
            if limit.is_empty() { seconds(sessions / stored) } else { "–".into() }
        };
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {limit} |",
            number(fleet.rate),
            number(f64::from(fleet.hosts)),
            number(records),
            short(bytes / mib),
            short(agent),
            number(f64::from(nodes)),
            short(redis),
            short(redis_bytes / mib),
            remembers(sizes.small),
            remembers(sizes.large),
        );
    }
}

fn print_resumed(record: f64, sizes: &Sizes) {
    let names: Vec<&str> = DESIGNS.iter().map(|design| design.name).collect();
    println!("\n| sessions/s | hosts | {} |", names.join(" | "));
    println!("|---:|---:|{}", "---:|".repeat(DESIGNS.len()));
    for fleet in fleets() {
        let cells = DESIGNS.iter().map(|design| {
            let load = design.load(fleet, record, &COSTS);
            let resumed = design.resumed(fleet, &load, sizes.large / load.stored);
            let mark = if load.limit.is_empty() { "" } else { " !" };
            format!("{:.0} %{mark}", resumed * 100.0)
        });
        println!(
            "| {} | {} | {} |",
            number(fleet.rate),
            number(f64::from(fleet.hosts)),
            cells.collect::<Vec<_>>().join(" | ")
        );
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let Measured { record, apply } = measure()?;
    let sizes = Sizes { small: remembered("64MiB")?, large: remembered("1GiB")? };
    println!("A record is {record:.0} bytes; taking one over costs {apply:.0} ns here.");
    println!(
        "64 MiB remember {} sessions, 1 GiB {}.\n\nReturns that resume, with 1 GiB a host; ! = more than \
         a part can take:",
        number(sizes.small),
        number(sizes.large)
    );
    print_resumed(record, &sizes);
    print_costs(&SHARDED, record, &sizes);
    print_costs(&GROUPS, record, &sizes);
    Ok(())
}

//! The host store alone, without a server: what its operations cost, from one process and from
//! several, what sealing adds to them, and how much memory a record takes.
//!
//! Run by benches/run.sh --store, which puts stock's cache beside it. A line a figure, with the
//! fields of bench.h. With `--cfg alone` it needs the core alone, also that of an earlier commit: see
//! before_groups.sh.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a benchmark")]
#![allow(clippy::cast_precision_loss, reason = "a benchmark")]

mod bytes;
mod clock;
mod operations;
#[cfg(not(alone))]
mod seal;
mod system;
mod waits;

use std::env;
use std::path::Path;
use std::process::exit;

const USAGE: &str = "usage:
  store operations RECORDS SECONDS PROCESSES...   put, get (hit, miss), may_resume, and more
  store seal SECONDS DER...                       sealing and opening sessions of so many bytes
  store bytes SIZE DER...                         what a record takes of a store of that size
  store stopped ROUNDS                            the longest put and removal beside stopped processes
  store crowd WORKERS SECONDS                     what so many lose on one core
  store counters FILE                             hits and stores so far";

/// By how much a seal makes a record longer.
const OVERHEAD: usize = 44;
#[cfg(not(alone))]
const _: () = assert!(OVERHEAD == sesscache::seal::OVERHEAD);
/// How much shorter a plain session is in its record than its DER, with its origin and without the
/// seal (docs/STORE.md).
const SPARED_BYTES: usize = 53;

/// Prints a figure. `switches` are voluntary and involuntary ones.
fn report(name: &str, parameters: &str, (value, unit): (f64, &str), sum: &clock::Sum) {
    let [voluntary, involuntary] = sum.switches;
    let operations = sum.operations;
    println!(
        "ours\t{name}\t{parameters}\t{value:.2}\t{unit}\t{voluntary}\t{involuntary}\t{operations}"
    );
}

fn counters(file: &str) {
    let store = sesscache_core::store::Store::open_existing(Path::new(file)).unwrap();
    let counters = store.counters();
    println!("{} {}", counters.hits, counters.stores);
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let numbers = |words: &[&str]| words.iter().map(|word| word.parse().unwrap()).collect();
    match *words.as_slice() {
        ["operations", records, seconds, ref processes @ ..] => {
            operations::run(records.parse().unwrap(), seconds.parse().unwrap(), numbers(processes))
        }
        ["worker", url, own, records, number, seconds, has_core] => operations::work(
            url,
            [own, records, number].map(|word| word.parse().unwrap()),
            clock::Clock { seconds: seconds.parse().unwrap(), has_core: has_core == "true" },
        ),
        #[cfg(not(alone))]
        ["seal", seconds, ref lengths @ ..] => {
            seal::run(seconds.parse().unwrap(), numbers(lengths));
        }
        ["bytes", size, ref lengths @ ..] => bytes::run(size, numbers(lengths)),
        ["stopped", rounds] => waits::stopped(rounds.parse().unwrap()),
        ["crowd", workers, seconds] => {
            waits::crowd(workers.parse().unwrap(), seconds.parse().unwrap());
        }
        ["churn", url, ref words @ ..] => {
            waits::churn(url, std::array::from_fn(|at| words[at].parse().unwrap()));
        }
        ["counters", file] => counters(file),
        _ => {
            eprintln!("{USAGE}");
            exit(2);
        }
    }
}

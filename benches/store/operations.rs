//! The operations of one store from one process and from several at once.
//!
//! Each number of processes gets a new store file in memory, so large that nearly all records fit,
//! and full. Workers are this program started again: they map the file, look at all of it once,
//! and do the operations of a line that they are sent, all at the same time.

use crate::clock::{Clock, Outcome, Sum};
use crate::system::mix;
use crate::{SPARED_BYTES, report};
use sesscache::seal::OVERHEAD;
use sesscache_core::store::{LEAST_SIZE, Locator, Lookup, Now, PutError, Store, StoreUrl};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write, stdin};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio, id};
use std::thread::available_parallelism;
use std::{env, fs};

/// A session of TLS 1.2 without certificates, sealed.
const PAYLOAD: [u8; 131 - SPARED_BYTES + OVERHEAD] = [0x5E; 131 - SPARED_BYTES + OVERHEAD];
/// Bytes of a store for each such record: more than it takes (`store bytes`), so that few buckets get more
/// records than they hold.
const ROOM: u64 = 300;
/// Of a hundred operations so many may do something else than they are to do: a bucket into which
/// too many records fell has forgotten one.
const MOST_UNDONE: u64 = 2;

pub const NOW: Now = Now(1_800_000_000_000);
const BEGAN: u64 = NOW.0 / 1000;
pub const LATER: u64 = BEGAN + 7200;

/// In this order: putting pushes out what is looked for before.
const OPERATIONS: [&str; 4] = ["get_hit", "get_miss", "may_resume", "put"];
/// Those of them that may be refused.
const REFUSED: [&str; 2] = ["get_hit", "put"];

/// A locator that is spread like a hash.
pub fn locator(number: u64) -> Locator {
    let mut bytes = [0; 16];
    for (half, bytes) in bytes.chunks_exact_mut(8).enumerate() {
        bytes.copy_from_slice(&mix(number * 2 + half as u64).to_ne_bytes());
    }
    Locator(bytes)
}

pub fn put(store: &Store, locator: &Locator, payload: &[u8]) -> Outcome {
    match store.put(locator, LATER, NOW, 0, payload) {
        Err(PutError::Busy) => Outcome::Refused,
        result => result.is_ok().into(),
    }
}

/// As the lookup of an offered session does it, which has a new vector each time.
fn get(store: &Store, locator: &Locator) -> Lookup {
    let mut sealed = Vec::new();
    let found = store.get(locator, NOW, &mut sealed);
    black_box(sealed);
    found
}

fn is(found: Lookup, expected: impl Fn(Lookup) -> bool) -> Outcome {
    if found == Lookup::Busy { Outcome::Refused } else { expected(found).into() }
}

pub fn open(url: &str) -> Store {
    Store::open(&StoreUrl::parse(url).unwrap()).unwrap()
}

/// A folder in memory that goes with the value.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        let path = base.join(format!("sesscache-bench-{}", id()));
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

// ---- the process that reports -------------------------------------------------------------------

struct Worker {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Worker {
    fn start(url: &str, records: u64, number: usize, clock: Clock) -> Worker {
        let words = [
            records.to_string(),
            number.to_string(),
            clock.seconds.to_string(),
            clock.has_core.to_string(),
        ];
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["worker", url])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let to = child.stdin.take().unwrap();
        let from = BufReader::new(child.stdout.take().unwrap());
        Worker { child, to, from }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "a worker failed");
        line
    }

    fn sum(&mut self) -> Sum {
        let line = self.line();
        let mut words = line.split_whitespace().map(|word| word.parse::<i64>().unwrap());
        let mut next = || words.next().unwrap();
        let switches = [next(), next()];
        let mut next = || next().cast_unsigned();
        let (ns, operations, undone, refused) = (next(), next(), next(), next());
        Sum { ns, operations, undone, refused, switches }
    }

    fn end(self) {
        let Worker { mut child, to, .. } = self;
        drop(to);
        assert!(child.wait().unwrap().success());
    }
}

/// The processes' operations a nanosecond, added up, give the wall time of one, as in cache.c.
/// Beside it the part of the operations that were refused.
fn report_all(operation: &str, records: u64, sums: &[Sum]) {
    let mut all = Sum::default();
    let mut rate = 0.0;
    for sum in sums {
        rate += 1.0 / sum.each();
        all.add(sum);
    }
    assert!(all.undone * 100 <= all.operations * MOST_UNDONE, "{operation}: {}", all.undone);
    let name = format!("store_{operation}");
    let parameters = format!("n={records} processes={}", sums.len());
    report(&name, &parameters, (1.0 / rate, "ns"), &all);
    if sums.len() > 1 && REFUSED.contains(&operation) {
        let refused = all.refused as f64 / all.operations as f64;
        report(&format!("{name}_refused"), &parameters, (refused * 1e6, "of a million"), &all);
    }
}

pub fn run(records: u64, seconds: f64, processes: Vec<usize>) {
    for count in processes {
        let folder = Folder::new();
        let size = (records * ROOM).max(LEAST_SIZE as u64);
        let url = format!("file:{}/store?size={size}", folder.0.display());
        let store = open(&url);
        // The first of these are there to be pushed out.
        let extra = records..records + records / 8;
        for number in extra.chain(0..records) {
            assert!(put(&store, &locator(number), &PAYLOAD) == Outcome::Done);
        }
        let has_core = count <= available_parallelism().unwrap().get();
        let clock = Clock { seconds, has_core };
        let mut workers: Vec<Worker> =
            (0..count).map(|number| Worker::start(&url, records, number, clock)).collect();
        for worker in &mut workers {
            assert_eq!(worker.line(), "ready\n");
        }
        for operation in OPERATIONS {
            for worker in &mut workers {
                writeln!(worker.to, "{operation}").unwrap();
            }
            let sums: Vec<Sum> = workers.iter_mut().map(Worker::sum).collect();
            report_all(operation, records, &sums);
        }
        workers.into_iter().for_each(Worker::end);
    }
}

// ---- a worker -----------------------------------------------------------------------------------

/// Whose numbers come next, of those that are to be used for an operation.
struct Numbers {
    records: u64,
    new: u64,
    random: u64,
}

impl Numbers {
    fn locator(&mut self, operation: &str) -> Locator {
        self.random = self.random.wrapping_add(1);
        let random = mix(self.random);
        locator(match operation {
            "get_miss" => 1 << 60 | random >> 32,
            "put" => {
                self.new += 1;
                self.new
            }
            _ => random % self.records,
        })
    }
}

fn operate(store: &Store, operation: &str, numbers: &mut Numbers, clock: Clock) -> Sum {
    let prepare = || std::array::from_fn(|_| numbers.locator(operation));
    let is_hit = |found| matches!(found, Lookup::Found { .. });
    let is_miss = |found| found == Lookup::Missing;
    match operation {
        "get_hit" => clock.run(prepare, |locator| is(get(store, locator), is_hit)),
        "get_miss" => clock.run(prepare, |locator| is(get(store, locator), is_miss)),
        "may_resume" => clock.run(prepare, |locator| store.may_resume(locator, BEGAN, NOW).into()),
        "put" => clock.run(prepare, |locator| put(store, locator, &PAYLOAD)),
        _ => unreachable!("no such operation: {operation}"),
    }
}

pub fn work(url: &str, records: u64, number: usize, clock: Clock) {
    let store = open(url);
    // Every page of the mapping: some of the records on it.
    for number in (0..records).step_by(4) {
        black_box(store.get(&locator(number), NOW, &mut Vec::new()));
    }
    println!("ready");
    let own = (number as u64 + 1) << 40;
    let mut numbers = Numbers { records, new: own, random: mix(own) };
    for operation in stdin().lines().map(Result::unwrap) {
        let sum = operate(&store, &operation, &mut numbers, clock);
        let [voluntary, involuntary] = sum.switches;
        let Sum { ns, operations, undone, refused, .. } = sum;
        println!("{voluntary} {involuntary} {ns} {operations} {undone} {refused}");
    }
}

//! The operations of one store from one process and from several at once.
//!
//! Each number of processes gets a new store file in memory, so large that nearly all records fit,
//! and full. Workers are this program started again: they map the file, look at all of it once,
//! and do the operations of a line that they are sent, all at the same time. Some operations need sessions of
//! the worker itself: it puts these before, and its clock goes on.
//!
//! It compiles with the store of an earlier commit as well (before_groups.sh).

use crate::clock::{BATCH, Clock, Outcome, Sum};
use crate::system::mix;
use crate::{OVERHEAD, SPARED_BYTES, report};
use sesscache_core::store::{LEAST_SIZE, Locator, Lookup, Now, PutError, Store, StoreUrl};
use std::cell::Cell;
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
/// As [`MOST_UNDONE`], where the first layout's buckets are full of removals.
const MOST_NOT_TAKEN: u64 = 10;

pub const NOW: Now = Now(1_800_000_000_000);
const BEGAN: u64 = NOW.0 / 1000;
/// Seconds until a session ends.
const LIFE: u64 = 7200;
/// *mixed* is one put in so many operations, and hits.
const MIXED_PUTS: u64 = 10;

/// In this order: putting pushes out what is looked for before.
const OPERATIONS: [&str; 7] =
    ["get_hit", "get_miss", "may_resume", "put", "mixed", "take", "remove"];
/// Those of them that may be refused.
const REFUSED: [&str; 2] = ["get_hit", "put"];

/// Those of them that one process alone does: its clock goes on.
const ENDING: [&str; 2] = ["take", "remove"];

/// A locator that is spread like a hash.
pub fn locator(number: u64) -> Locator {
    let mut bytes = [0; 16];
    for (half, bytes) in bytes.chunks_exact_mut(8).enumerate() {
        bytes.copy_from_slice(&mix(number * 2 + half as u64).to_ne_bytes());
    }
    Locator(bytes)
}

pub fn put(store: &Store, locator: &Locator, payload: &[u8]) -> Outcome {
    put_at(store, locator, payload, NOW)
}

fn put_at(store: &Store, locator: &Locator, payload: &[u8], now: Now) -> Outcome {
    match store.put(locator, now.0 / 1000 + LIFE, now, 0, payload) {
        Err(PutError::Busy) => Outcome::Refused,
        result => result.is_ok().into(),
    }
}

/// As the lookup of an offered session does it, which has a new vector each time.
pub fn get(store: &Store, locator: &Locator) -> Lookup {
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
    fn start(url: &str, own: u64, records: u64, number: usize, clock: Clock) -> Worker {
        let words = [
            own.to_string(),
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
    let most = if ENDING.contains(&operation) { MOST_NOT_TAKEN } else { MOST_UNDONE };
    // While a process has no core, others push its sessions out of a small store.
    let may_miss = operation == "mixed" && sums.len() > cores();
    assert!(
        may_miss || all.undone * 100 <= all.operations * most,
        "{operation}: {} of {}",
        all.undone,
        all.operations
    );
    let name = format!("store_{operation}");
    let parameters = format!("n={records} processes={}", sums.len());
    report(&name, &parameters, (1.0 / rate, "ns"), &all);
    if sums.len() > 1 && REFUSED.contains(&operation) {
        let refused = all.refused as f64 / all.operations as f64;
        report(&format!("{name}_refused"), &parameters, (refused * 1e6, "of a million"), &all);
    }
}

fn cores() -> usize {
    available_parallelism().unwrap().get()
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
        let has_core = count <= cores();
        let clock = Clock { seconds, has_core };
        // They must not push out each other's.
        let own = records / 3 / count as u64;
        let mut workers: Vec<Worker> =
            (0..count).map(|number| Worker::start(&url, own, records, number, clock)).collect();
        for worker in &mut workers {
            assert_eq!(worker.line(), "ready\n");
        }
        for operation in OPERATIONS {
            if ENDING.contains(&operation) && count > 1 {
                continue;
            }
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
    random: u64,
    own: Own,
    /// In milliseconds: it never goes back.
    now: u64,
}

/// Sessions of the worker itself: so many numbers before `next`.
#[derive(Clone, Copy)]
struct Own {
    count: u64,
    next: u64,
}

impl Own {
    fn add(&mut self) -> Locator {
        self.next += 1;
        locator(self.next - 1)
    }

    /// Puts as many as there are to be.
    fn fill(&mut self, store: &Store, now: Now) {
        for _ in 0..self.count {
            put_at(store, &self.add(), &PAYLOAD, now);
        }
    }
}

impl Numbers {
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(1);
        mix(self.random)
    }

    fn locator(&mut self, operation: &str) -> Locator {
        let random = self.random();
        match operation {
            "get_miss" => locator(1 << 60 | random >> 32),
            "put" => self.own.add(),
            _ => locator(random % self.records),
        }
    }

    /// A session to be put, or to be looked up.
    fn mixed(&mut self) -> (Locator, bool) {
        let random = self.random();
        if random.is_multiple_of(MIXED_PUTS) {
            return (self.own.add(), true);
        }
        (locator(self.own.next - 1 - (random >> 32) % self.own.count), false)
    }
}

fn operate(store: &Store, operation: &str, numbers: &mut Numbers, clock: Clock) -> Sum {
    match operation {
        "mixed" => return mixed(store, numbers, clock),
        "take" | "remove" => return end_sessions(store, operation == "take", numbers, clock),
        _ => {}
    }
    let prepare = || std::array::from_fn(|_| numbers.locator(operation));
    let is_miss = |found| found == Lookup::Missing;
    match operation {
        "get_hit" => clock.run(prepare, |locator| is(get(store, locator), is_hit)),
        "get_miss" => clock.run(prepare, |locator| is(get(store, locator), is_miss)),
        "may_resume" => clock.run(prepare, |locator| store.may_resume(locator, BEGAN, NOW).into()),
        "put" => clock.run(prepare, |locator| put(store, locator, &PAYLOAD)),
        _ => unreachable!("no such operation: {operation}"),
    }
}

pub fn is_hit(found: Lookup) -> bool {
    matches!(found, Lookup::Found { .. })
}

fn mixed(store: &Store, numbers: &mut Numbers, clock: Clock) -> Sum {
    numbers.own.fill(store, NOW);
    let prepare = || std::array::from_fn(|_| numbers.mixed());
    clock.run(prepare, |(locator, is_put)| match is_put {
        true => put(store, locator, &PAYLOAD),
        false => is(get(store, locator), is_hit),
    })
}

/// Takes or removes sessions after half of their time, in another order than they were put. So there are as many
/// traces of these as sessions.
fn end_sessions(store: &Store, is_take: bool, numbers: &mut Numbers, clock: Clock) -> Sum {
    // Coprime to every count of sessions.
    const STRIDE: u64 = (1 << 31) - 1;
    let own = &mut numbers.own;
    let (now, count) = (Cell::new(numbers.now), own.count);
    let mut block = own.next;
    own.fill(store, Now(now.get()));
    let mut ended = 0;
    let step = LIFE * 1000 / 2 * BATCH as u64 / count;
    let prepare = || {
        now.set(now.get() + step);
        std::array::from_fn(|_| {
            put_at(store, &own.add(), &PAYLOAD, Now(now.get()));
            let number = block + ended * STRIDE % count;
            ended += 1;
            if ended == count {
                (block, ended) = (block + count, 0);
            }
            locator(number)
        })
    };
    let sum = clock.run(prepare, |locator| {
        let now = Now(now.get());
        if is_take {
            let mut sealed = Vec::new();
            let found = store.take(locator, now, &mut sealed);
            black_box(sealed);
            return is(found, is_hit);
        }
        store.remove(locator, now.0 / 1000 + LIFE / 2, now);
        Outcome::Done
    });
    numbers.now = now.get();
    sum
}

pub fn work(url: &str, [own, records, number]: [u64; 3], clock: Clock) {
    let store = open(url);
    // Every page of the mapping: some of the records on it.
    for number in (0..records).step_by(4) {
        black_box(store.get(&locator(number), NOW, &mut Vec::new()));
    }
    println!("ready");
    let first = (number + 1) << 40;
    let own = Own { count: own.max(BATCH as u64), next: first };
    let mut numbers = Numbers { records, random: mix(first), own, now: NOW.0 };
    for operation in stdin().lines().map(Result::unwrap) {
        let sum = operate(&store, &operation, &mut numbers, clock);
        let [voluntary, involuntary] = sum.switches;
        let Sum { ns, operations, undone, refused, .. } = sum;
        println!("{voluntary} {involuntary} {ns} {operations} {undone} {refused}");
    }
}

//! How long a record takes from one store to the other.
//!
//! One thread puts at an even rate, the other looks for what is under way. It sleeps in between, so
//! that it leaves the processors to the agents; that adds about 0.1 ms to what is measured.

use crate::{Locators, now, put};
use sesscache_core::store::{Locator, Lookup, Store};
use std::error::Error;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks.
const NAP: Duration = Duration::from_micros(50);
/// What has not come so long after the last put never will.
const PATIENCE: Duration = Duration::from_secs(5);

type UnderWay = (Locator, Instant);

pub(crate) fn measure(
    from: &Store,
    to: &Store,
    rate: u32,
    seconds: u32,
) -> Result<(), Box<dyn Error>> {
    let count = rate * seconds;
    let (sender, receiver) = channel();
    let start = Instant::now();
    let (delays, never, elapsed) = thread::scope(|scope| {
        let writer = scope.spawn(move || write(from, rate, count, &sender));
        let (delays, never) = watch(to, &receiver);
        let written = writer.join().map_err(|_| "the writer panicked".to_owned());
        written.and_then(|result| result).map(|elapsed| (delays, never, elapsed))
    })?;
    report(delays, never, f64::from(count) / elapsed.duration_since(start).as_secs_f64());
    Ok(())
}

/// Returns when the last was put.
fn write(
    store: &Store,
    rate: u32,
    count: u32,
    sender: &Sender<UnderWay>,
) -> Result<Instant, String> {
    let mut locators = Locators::new();
    let start = Instant::now();
    for number in 0..count {
        let due = start + Duration::from_secs(1) * number / rate;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let locator = locators.draw();
        let began = Instant::now();
        put(store, &locator).map_err(|error| error.to_string())?;
        sender.send((locator, began)).map_err(|error| error.to_string())?;
    }
    Ok(Instant::now())
}

/// The delays of those that came, and how many never did.
fn watch(store: &Store, receiver: &Receiver<UnderWay>) -> (Vec<Duration>, usize) {
    let (mut under_way, mut delays) = (Vec::new(), Vec::new());
    let mut ended = None;
    loop {
        loop {
            match receiver.try_recv() {
                Ok(sent) => under_way.push(sent),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    ended.get_or_insert_with(Instant::now);
                    break;
                }
            }
        }
        under_way.retain(|(locator, began)| {
            let there = is_in(store, locator);
            if there {
                delays.push(began.elapsed());
            }
            !there
        });
        let over =
            ended.is_some_and(|ended: Instant| under_way.is_empty() || ended.elapsed() > PATIENCE);
        if over {
            return (delays, under_way.len());
        }
        thread::sleep(NAP);
    }
}

fn is_in(store: &Store, locator: &Locator) -> bool {
    // Another record may have the same tag: this look only says no for certain.
    let found = || store.get(locator, now(), &mut Vec::new());
    store.may_have(locator) && matches!(found(), Lookup::Found { .. })
}

fn report(mut delays: Vec<Duration>, never: usize, rate: f64) {
    delays.sort_unstable();
    let at = |hundredths: usize| {
        let rank = (delays.len() * hundredths).div_ceil(100).max(1);
        delays.get(rank - 1).map_or(f64::NAN, |delay| delay.as_secs_f64() * 1000.0)
    };
    println!(
        "sent {} rate {rate:.0} median {:.2} p99 {:.2} most {:.2} never {never}",
        delays.len() + never,
        at(50),
        at(99),
        at(100)
    );
}

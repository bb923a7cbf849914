//! Puts records into stores at a steady rate, and looks when the agents have brought them to another.
//!
//!     feed FROM,... TO RATE SECONDS
//!
//! FROM and TO are URLs of stores. With several FROM each gets its part of the rate. Prints the records that came, and their delay in milliseconds: half of
//! them took no longer than the second number, and 99 of 100 no longer than the third. benches/agent.py
//! runs it.

#![allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "a benchmark")]

use sesscache_core::store::{Locator, Lookup, Now, Store, StoreUrl};
use std::collections::VecDeque;
use std::error::Error;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Sealed bytes of a plain TLS 1.2 session.
const SEALED_BYTES: usize = 116;
/// Between two looks.
const STEP: Duration = Duration::from_micros(250);
/// For the last records.
const PATIENCE: Duration = Duration::from_secs(2);

fn now() -> Result<Now, Box<dyn Error>> {
    Ok(Now(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64))
}

/// Spread like a hash, and others each time.
fn locator(salt: u64, number: u64) -> Locator {
    let mut bytes = [0; 16];
    for (place, half) in bytes.chunks_exact_mut(8).zip([1_u64, 2]) {
        let mut x = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt.wrapping_mul(half);
        x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        place.copy_from_slice(&(x ^ x >> 31).to_le_bytes());
    }
    Locator(bytes)
}

struct Feed {
    /// Each record goes into the next one of these.
    from: Vec<Store>,
    to: Store,
    salt: u64,
    /// Put, and not seen yet, in the order of their numbers.
    missing: VecDeque<(Locator, Instant)>,
    delays: Vec<Duration>,
}

impl Feed {
    fn put(&mut self, number: u64) -> Result<(), Box<dyn Error>> {
        let (locator, now) = (locator(self.salt, number), now()?);
        let sealed = [0xA5; SEALED_BYTES];
        self.from[number as usize % self.from.len()]
            .put(&locator, now.0 / 1000 + 600, now, 0, &sealed)
            .map_err(|e| format!("{e:?}"))?;
        self.missing.push_back((locator, Instant::now()));
        Ok(())
    }

    /// Records come in their order, but for those of another stream.
    fn look(&mut self) -> Result<(), Box<dyn Error>> {
        let (now, mut found) = (now()?, Vec::new());
        let (to, delays) = (&self.to, &mut self.delays);
        self.missing.retain(|(locator, put)| {
            found.clear();
            let is_there = matches!(to.get(locator, now, &mut found), Lookup::Found { .. });
            if is_there {
                delays.push(put.elapsed());
            }
            !is_there
        });
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, rate, seconds] = words.as_slice() else {
        return Err("usage: feed FROM,... TO RATE SECONDS".into());
    };
    let (rate, seconds): (u64, u64) = (rate.parse()?, seconds.parse()?);
    let open =
        |url: &str| -> Result<Store, Box<dyn Error>> { Ok(Store::open(&StoreUrl::parse(url)?)?) };
    let from = from.split(',').map(open).collect::<Result<_, _>>()?;
    let to = open(to)?;
    let mut feed = Feed { from, to, salt: now()?.0, missing: VecDeque::new(), delays: Vec::new() };
    let (start, total, mut put) = (Instant::now(), rate * seconds, 0);
    while put < total
        || (!feed.missing.is_empty() && start.elapsed() < PATIENCE + Duration::from_secs(seconds))
    {
        let due = (start.elapsed().as_micros() as u64 * rate / 1_000_000).min(total);
        while put < due {
            feed.put(put)?;
            put += 1;
        }
        feed.look()?;
        sleep(STEP);
    }
    feed.delays.sort_unstable();
    let at = |hundredths: usize| {
        let delay = feed.delays.get(feed.delays.len() * hundredths / 100);
        delay.map_or(f64::NAN, |delay| delay.as_secs_f64() * 1000.0)
    };
    println!("{} {:.1} {:.1}", feed.delays.len(), at(50), at(99));
    Ok(())
}

//! Load for two stores that an agent each keeps the same: writes records into one and looks for
//! them in the other.
//!
//! A record is put as the library puts a session at the end of its handshake, with a payload of the
//! usual size; what the payload says matters to nobody here, agents carry it as it is.

mod delay;
mod ledger;

use sesscache_core::store::{Locator, Now, PutError, Store};
use std::env;
use std::error::Error;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

const USAGE: &str = "\
fleet-load delay FROM TO RATE SECONDS    puts into FROM, and prints how long it takes to reach TO:
                                         sent N rate N median MS p99 MS most MS never N
fleet-load fill FROM RATE COUNT LEDGER   puts COUNT records, and writes their locators to LEDGER
fleet-load compare FROM TO LEDGER        of LEDGER's records in FROM, how many are in TO:
                                         held N missing N";

/// As much as a sealed TLS 1.3 session has.
const PAYLOAD: [u8; 230] = [0xA5; 230];
/// Records are good for so long.
const LIFETIME_SECONDS: u64 = 600;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["delay", from, to, rate, seconds] => {
            delay::measure(&open(from)?, &open(to)?, rate.parse()?, seconds.parse()?)
        }
        ["fill", from, rate, count, ledger] => {
            ledger::fill(&open(from)?, rate.parse()?, count.parse()?, Path::new(ledger))
        }
        ["compare", from, to, ledger] => {
            ledger::compare(&open(from)?, &open(to)?, Path::new(ledger))
        }
        _ => Err(USAGE.into()),
    }
}

fn open(path: &str) -> Result<Store, Box<dyn Error>> {
    Store::open_existing(Path::new(path)).map_err(|error| format!("{path}: {error}").into())
}

fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now(u64::try_from(since.as_millis()).unwrap_or(0))
}

/// Locators as random as hashes are: SplitMix64 from a seed that differs each time.
struct Locators(u64);

impl Locators {
    fn new() -> Locators {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Locators(since.as_secs().wrapping_mul(1_000_000_007) ^ u64::from(since.subsec_nanos()))
    }

    fn half(&mut self) -> [u8; 8] {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)).to_le_bytes()
    }

    fn draw(&mut self) -> Locator {
        let mut bytes = [0; 16];
        let (low, high) = bytes.split_at_mut(8);
        low.copy_from_slice(&self.half());
        high.copy_from_slice(&self.half());
        Locator(bytes)
    }
}

/// Puts one record, again if other processes changed the same few slots meanwhile.
fn put(store: &Store, locator: &Locator) -> Result<(), Box<dyn Error>> {
    for _ in 0..100 {
        let now = now();
        match store.put(locator, now.0 / 1000 + LIFETIME_SECONDS, now, 0, &PAYLOAD) {
            Ok(()) => return Ok(()),
            Err(PutError::Busy) => {}
            Err(error) => return Err(format!("a put failed: {error:?}").into()),
        }
    }
    Err("a bucket stays busy".into())
}

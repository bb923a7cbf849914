//! Steps key files on once an epoch, in a thread of its own: another run of the command may hold the
//! lock of their folder.
//!
//! A file that cannot be stepped on stays as it is and is tried again. Each reason is logged once.

use crate::ratchet::{self, Moment};
use sesscache_core::key_file::epoch::Epoch;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// How often to look at the clock.
const LOOK: Duration = Duration::from_secs(1);
/// How many looks until a file that could not be stepped on is tried again.
const PATIENCE: u32 = 60;

/// The files, and what was last said about each.
pub(crate) struct KeyFiles {
    files: Vec<PathBuf>,
    max_lifetime: Option<u32>,
    /// A line about its step, or why there was none.
    said: BTreeMap<PathBuf, Result<String, String>>,
}

impl KeyFiles {
    pub(crate) fn new(files: Vec<PathBuf>, max_lifetime: Option<u32>) -> KeyFiles {
        KeyFiles { files, max_lifetime, said: BTreeMap::new() }
    }

    /// Steps on now, and in each new epoch until the process ends.
    pub(crate) fn keep(mut self) -> io::Result<()> {
        if self.files.is_empty() {
            return Ok(());
        }
        let steps = move || {
            let (mut last, mut looks): (Option<Epoch>, u32) = (None, 0);
            loop {
                let epoch = ratchet::present();
                looks += 1;
                if last != Some(epoch) || looks.is_multiple_of(PATIENCE) && self.has_failed() {
                    last = Some(epoch);
                    self.step();
                }
                thread::sleep(LOOK);
            }
        };
        thread::Builder::new().name("key-files".to_owned()).spawn(steps).map(drop)
    }

    /// Steps on once.
    pub(crate) fn step(&mut self) {
        for path in &self.files {
            let stepped = Moment::now(self.max_lifetime)
                .and_then(|moment| ratchet::step_file(path, moment, false))
                .map_err(|error| error.to_string());
            if self.said.get(path) == Some(&stepped) {
                continue;
            }
            match &stepped {
                Ok(line) => tracing::info!("{line}"),
                Err(error) => tracing::warn!("a key file is not stepped on: {error}"),
            }
            self.said.insert(path.clone(), stepped);
        }
    }

    fn has_failed(&self) -> bool {
        self.said.values().any(Result::is_err)
    }
}

//! Which of the store's flushes the other hosts are to be told: each once, and then now and then,
//! because the entry that told it leaves the stream, and a new host must learn of it.

use sesscache_core::store::{Flush, Store};
use std::time::{Duration, Instant};

/// All flushes are told again after this part of --retention.
const PART: u32 = 2;

/// The flushes that were handed to the sender.
#[derive(Debug)]
pub(crate) struct Flushes {
    handed: Vec<(usize, Flush)>,
    told_again: Instant,
    period: Duration,
}

impl Flushes {
    /// All are told, because the streams may be new.
    pub(crate) fn new(store: &Store, retention: Duration) -> Flushes {
        store.tell_flushes_again();
        Flushes { handed: Vec::new(), told_again: Instant::now(), period: retention / PART }
    }

    /// All are told again.
    pub(crate) fn begin_anew(&mut self, store: &Store) {
        store.tell_flushes_again();
        self.handed.clear();
        self.told_again = Instant::now();
    }

    /// The flushes for the next round, with the numbers by which they are noted as told.
    pub(crate) fn untold(&mut self, store: &Store) -> Vec<(usize, Flush)> {
        if self.told_again.elapsed() >= self.period {
            self.begin_anew(store);
        }
        let mut untold = store.untold_flushes();
        untold.retain(|one| !self.handed.contains(one));
        for one in &untold {
            self.handed.retain(|(number, _)| *number != one.0);
            self.handed.push(*one);
        }
        untold
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sesscache_core::store::{FOR_EVER, Now, StoreUrl};

    #[test]
    fn each_is_handed_on_once_until_all_are_told_again() {
        let store = Store::open(&StoreUrl::parse("shm:?size=1MiB").unwrap()).unwrap();
        let mut flushes = Flushes::new(&store, Duration::from_secs(3600));
        assert_eq!(flushes.untold(&store), []);
        store.flush(7, FOR_EVER, Now(1000));
        let first = flushes.untold(&store);
        assert_eq!((first.len(), flushes.untold(&store).len()), (1, 0));
        // The same scope, before the first was acknowledged.
        store.flush(7, FOR_EVER, Now(1000));
        let second = flushes.untold(&store);
        assert!(second.len() == 1 && second != first);
        store.note_told(first[0].0, first[0].1);
        store.note_told(second[0].0, second[0].1);
        assert_eq!(flushes.untold(&store), []);
        flushes.begin_anew(&store);
        assert_eq!(flushes.untold(&store), second);
        flushes.period = Duration::ZERO;
        assert_eq!(flushes.untold(&store), second);
    }
}

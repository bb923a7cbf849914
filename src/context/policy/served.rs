//! The namespaces of this process's contexts, of now and of before.
//!
//! A session does not say which context made it. Who ends one early looks for it under each of
//! these.
//!
//! Locks: one for the list, for the length of a change or of a look at all stores. It is asked for
//! with patience, because a fork may have left it held.

use crate::openssl::kdf::HASH_BYTES;
use parking_lot::RwLock;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_millis(100);

type Namespace = [u8; HASH_BYTES];

/// Each namespace once for each context that has it.
static SERVED: RwLock<Vec<Namespace>> = RwLock::new(Vec::new());

/// A namespace that is in the list for as long as this lives.
#[derive(Debug)]
pub(super) struct Served(Namespace);

impl Served {
    /// `None` without memory.
    pub(super) fn new(namespace: Namespace) -> Option<Served> {
        let mut served = SERVED.try_write_for(PATIENCE)?;
        served.try_reserve(1).ok()?;
        served.push(namespace);
        Some(Served(namespace))
    }

    pub(super) fn is(&self, namespace: &Namespace) -> bool {
        self.0 == *namespace
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(mut served) = SERVED.try_write_for(PATIENCE)
            && let Some(place) = served.iter().position(|one| self.is(one))
        {
            served.swap_remove(place);
        }
    }
}

/// Calls `look` with each namespace. It is called again with one that several contexts have.
pub(in crate::context) fn each_namespace(look: impl FnMut(&Namespace)) {
    if let Some(served) = SERVED.try_read_for(PATIENCE) {
        served.iter().for_each(look);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_served_until_its_last_context_goes() {
        let namespace = [7; HASH_BYTES];
        let count = || {
            let mut count = 0;
            each_namespace(|one| count += usize::from(*one == namespace));
            count
        };
        let (one, two) = (Served::new(namespace).unwrap(), Served::new(namespace).unwrap());
        assert!(one.is(&namespace) && !one.is(&[8; HASH_BYTES]));
        assert_eq!(count(), 2);
        drop(one);
        assert_eq!(count(), 1);
        drop(two);
        assert_eq!(count(), 0);
    }
}

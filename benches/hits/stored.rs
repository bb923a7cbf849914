//! The product's host store, asked as the library asks it (src/context/lookup.rs and sharing.rs).

use crate::policies::{Origin, Policy};
use crate::traffic::Random;
use sesscache_core::store::{CAME_BACK, LOCAL, Locator, Lookup, Now, Store, StoreUrl, Use};

/// Bytes of a sealed record of a plain TLS 1.2 session.
const PAYLOAD: [u8; 140] = [7; 140];
/// When the clients begin, in seconds since 1970.
const BEGIN: u64 = 1_700_000_000;

/// A store of 1 MiB, in memory.
#[derive(Debug)]
pub(crate) struct Stored {
    store: Store,
    is_tls13: bool,
    /// Whether the last client had come back.
    came_back: bool,
    now: Now,
    buffer: Vec<u8>,
}

impl Stored {
    pub(crate) fn new(is_tls13: bool) -> Self {
        let url = StoreUrl::parse("shm:?size=1M").expect("a store's place");
        let store = Store::open(&url).expect("a store in memory");
        Stored { store, is_tls13, came_back: false, now: Now(BEGIN * 1000), buffer: Vec::new() }
    }

    /// Sessions that the store can hold.
    pub(crate) fn size() -> usize {
        const MANY: u64 = 40_000;
        let mut stored = Stored::new(false);
        (0..MANY).for_each(|id| stored.add(id, Origin::Stranger, 1));
        usize::try_from(stored.store.counters().entries).unwrap_or(0)
    }
}

/// A locator that looks random.
fn locator(id: u64) -> Locator {
    let mut random = Random(id);
    let mut bytes = [0; 16];
    for place in bytes.chunks_exact_mut(8) {
        place.copy_from_slice(&random.next().to_le_bytes());
    }
    Locator(bytes)
}

impl Policy for Stored {
    fn offer(&mut self, id: u64) -> bool {
        let locator = locator(id);
        self.buffer.clear();
        let found = self.store.get(&locator, self.now, &mut self.buffer);
        if let Lookup::Found { came_back, .. } = found {
            self.came_back = came_back;
            self.store.note_use(&locator, if self.is_tls13 { Use::Ticket } else { Use::Visit });
            true
        } else {
            self.came_back = self.store.had_to_go(&locator);
            false
        }
    }

    fn add(&mut self, id: u64, origin: Origin, deadline: i64) {
        let came_back = self.came_back && !matches!(origin, Origin::Stranger);
        let flags = LOCAL | if came_back { CAME_BACK } else { 0 };
        let deadline = BEGIN + u64::try_from(deadline).unwrap_or(0);
        self.store.put(&locator(id), deadline, self.now, flags, &PAYLOAD).expect("a put");
    }

    fn expire(&mut self, now: i64) {
        self.now = Now((BEGIN + u64::try_from(now).unwrap_or(0)) * 1000);
    }
}

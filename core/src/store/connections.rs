//! How the connections of a host's servers began: with which session, or why with none.
//!
//! Each connection is one count in the mapping, for all processes: of a table by way and age if its
//! session was resumed, else of a row by cause. Atomics without order, because nothing is decided by
//! them.

use super::Store;
use super::layout::header;
use std::sync::atomic::Ordering::Relaxed;

/// The way by which a server came to the session that was resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By its id, from the cache of the process.
    Cache,
    /// By its id, from the application's get_session_cb.
    Callback,
    /// By its id, from the store; made on this host.
    Store,
    /// By its id, from the store; made on another host.
    OtherHost,
    /// By a stateless ticket of the same context.
    OwnTicket,
    /// By a stateless ticket of another process, host or time.
    SharedTicket,
}

impl Way {
    /// All, in the order of the table.
    pub const ALL: [Way; 6] =
        [Way::Cache, Way::Callback, Way::Store, Way::OtherHost, Way::OwnTicket, Way::SharedTicket];

    /// Its name in figures.
    pub fn name(self) -> &'static str {
        match self {
            Way::Cache => "cache",
            Way::Callback => "callback",
            Way::Store => "store",
            Way::OtherHost => "other_host",
            Way::OwnTicket => "own_ticket",
            Way::SharedTicket => "shared_ticket",
        }
    }
}

/// The reason for a full handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The client offered nothing that we have seen.
    NoOffer,
    /// Nobody knows the session, or no key opens the ticket.
    Unknown,
    /// The session's time was over.
    Expired,
    /// The session was removed.
    Removed,
    /// It was found, and does not resume here: see the tallies of what was declined.
    Refused,
}

impl Cause {
    /// All, in the order of the row.
    pub const ALL: [Cause; 5] =
        [Cause::NoOffer, Cause::Unknown, Cause::Expired, Cause::Removed, Cause::Refused];

    /// Its name in figures.
    pub fn name(self) -> &'static str {
        match self {
            Cause::NoOffer => "no_offer",
            Cause::Unknown => "unknown",
            Cause::Expired => "expired",
            Cause::Removed => "removed",
            Cause::Refused => "refused",
        }
    }
}

/// The beginning of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// A session was resumed that was made this many seconds ago.
    Resumed(Way, u64),
    /// A session was resumed by a ticket that only the server's own keys open.
    ServerTicket,
    /// A full handshake.
    Full(Cause),
}

/// Upper bounds of the ages, in seconds; one more column has what is older.
pub const AGES: [u64; 9] = [60, 300, 900, 3600, 7200, 14_400, 43_200, 86_400, 259_200];
/// Columns of the table.
const COLUMNS: usize = AGES.len() + 1;
/// Words behind the table: the tickets of servers, the causes, and the sum of all ages.
const SERVER_TICKETS: usize = Way::ALL.len() * COLUMNS;
const CAUSES: usize = SERVER_TICKETS + 1;
const AGE_SUM: usize = CAUSES + Cause::ALL.len();
/// All words.
#[cfg(test)]
const WORDS: usize = AGE_SUM + 1;

/// The connections of a store's servers at one time. Each is counted when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Resumed, by way and age; the last age is everything older than [`AGES`].
    pub resumed: [[u64; COLUMNS]; Way::ALL.len()],
    /// Resumed by tickets of the servers' own keys, of which the age is not known.
    pub server_tickets: u64,
    /// Full handshakes, by cause.
    pub full: [u64; Cause::ALL.len()],
    /// The sum of the ages, in seconds.
    pub age_sum: u64,
}

impl Connections {
    /// Resumed in one way.
    pub fn by(&self, way: Way) -> u64 {
        self.resumed.get(way as usize).map_or(0, |ages| ages.iter().sum())
    }

    /// Full handshakes for one cause.
    pub fn full(&self, cause: Cause) -> u64 {
        self.full.get(cause as usize).copied().unwrap_or_default()
    }

    /// All that resumed.
    pub fn all_resumed(&self) -> u64 {
        self.resumed.iter().flatten().sum::<u64>() + self.server_tickets
    }

    /// All connections.
    pub fn all(&self) -> u64 {
        self.all_resumed() + self.full.iter().sum::<u64>()
    }

    /// Resumed up to each of [`AGES`], and of any age.
    pub fn ages(&self) -> [u64; COLUMNS] {
        let mut sums = [0; COLUMNS];
        for (column, sum) in sums.iter_mut().enumerate() {
            *sum = self.resumed.iter().flat_map(|ages| ages.iter().take(column + 1)).sum();
        }
        sums
    }
}

impl Store {
    /// Counts a connection of a server.
    pub fn count_connection(&self, beginning: Beginning) {
        match beginning {
            Beginning::Resumed(way, age) => {
                let column = AGES.iter().position(|most| age <= *most).unwrap_or(AGES.len());
                self.add(way as usize * COLUMNS + column, 1);
                self.add(AGE_SUM, age);
            }
            Beginning::ServerTicket => self.add(SERVER_TICKETS, 1),
            Beginning::Full(cause) => self.add(CAUSES + cause as usize, 1),
        }
    }

    /// The connections until now. They are read one after the other, while processes count.
    pub fn connections(&self) -> Connections {
        let mut found = Connections::default();
        let table = found.resumed.iter_mut().flatten();
        let rest = std::iter::once(&mut found.server_tickets).chain(&mut found.full);
        let all = table.chain(rest).chain(std::iter::once(&mut found.age_sum));
        for (word, place) in all.enumerate() {
            *place = self.mapping.word(at(word)).map_or(0, |word| word.load(Relaxed));
        }
        found
    }

    fn add(&self, word: usize, count: u64) {
        if let Ok(word) = self.mapping.word(at(word)) {
            word.fetch_add(count, Relaxed);
        }
    }
}

fn at(word: usize) -> usize {
    header::CONNECTIONS + word * size_of::<u64>()
}

#[cfg(test)]
mod tests {
    use super::super::StoreUrl;
    use super::super::counters::TALLIES;
    use super::*;

    #[test]
    fn they_fit_between_the_tallies_and_the_flushes() {
        let (tallies_end, end) = (header::TALLIES + TALLIES * size_of::<u64>(), at(WORDS));
        assert!(
            tallies_end <= header::CONNECTIONS && end <= header::FLUSHES,
            "{tallies_end}, {end}"
        );
        assert_eq!(header::CONNECTIONS % 64, 0, "the first ones in a cache line of their own");
    }

    #[test]
    fn each_beginning_has_its_own_count() {
        let store = Store::open(&StoreUrl::parse("shm:?size=1MiB").unwrap()).unwrap();
        assert_eq!(store.connections(), Connections::default());
        let mut all = vec![Beginning::ServerTicket];
        all.extend(Cause::ALL.map(Beginning::Full));
        for way in Way::ALL {
            all.extend(
                [0, 60, 61, 259_200, 259_201, 1 << 40].map(|age| Beginning::Resumed(way, age)),
            );
        }
        for (times, beginning) in all.iter().enumerate() {
            (0..=times).for_each(|_| store.count_connection(*beginning));
        }
        let found = store.connections();
        let count = all.len() as u64;
        assert_eq!(found.all(), count * (count + 1) / 2);
        assert_eq!(found.server_tickets, 1);
        assert_eq!(Cause::ALL.map(|cause| found.full(cause)), [2, 3, 4, 5, 6]);
        assert_eq!(found.resumed[0], [7 + 8, 9, 0, 0, 0, 0, 0, 0, 10, 11 + 12]);
        assert_eq!(found.by(Way::Cache), (7..=12).sum::<u64>());
        assert_eq!(found.all_resumed(), found.all() - 20);
        let ages = found.ages();
        assert!(ages.is_sorted() && ages[0] < ages[1] && ages[1] == ages[2]);
        assert_eq!(ages.last(), Some(&(found.all_resumed() - 1)));
    }
}

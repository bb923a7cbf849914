//! Numbers that are noted on connections, in a table of ours as long as there is room.
//!
//! An ex_data slot of a connection takes two blocks of memory, which come and go with it: 3,200
//! instructions, most of them malloc's. So a number lies in one of a fixed number of cells, which its
//! address tells. If another connection has the cell, the number lies in a slot.
//!
//! A connection can go without our notice, inside libssl. So what a cell holds is for a connection with
//! this address *and* with this random of its client. A client may send the same random again, so one that
//! was counted is told by the server's. No locks: a cell belongs to who changes its owner.

use super::host;
use crate::openssl::ex_data::Index;
use crate::openssl::handle::Ssl;
use crate::openssl::memory;
use crate::openssl::table::Libssl;
use libc::c_int;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// How many cells there are, as a power of two.
const BITS: u32 = 10;

static CELLS: [Cell; 1 << BITS] = [const { Cell::new() }; 1 << BITS];

/// Numbers of one kind.
#[derive(Debug)]
pub(super) struct Notes {
    index: Index,
    kind: usize,
}

/// How a client's offer was answered.
pub(super) static ANSWERS: Notes = Notes { index: Index::new(), kind: 0 };
/// What a client offered.
pub(super) static OFFERS: Notes = Notes { index: Index::new(), kind: 1 };
const KINDS: usize = 2;

/// The numbers of a connection.
#[derive(Debug)]
struct Cell {
    /// 0: none. [`BUSY`]: it changes. Else the address of a connection, a multiple of 4, by itself, with
    /// [`MAY_GO`], or with both [`MAY_GO`] and [`COUNTED`].
    owner: AtomicU64,
    random: AtomicU64,
    numbers: [AtomicU64; KINDS],
}

const BUSY: u64 = 2;
/// The connection has been freed, unless there are more references to it.
const MAY_GO: u64 = 1;
/// The connection was counted. The random is the server's.
const COUNTED: u64 = 2;

/// The cell in which the numbers of the connection at this address are, if they are in one.
#[inline]
fn cell(address: u64) -> Option<&'static Cell> {
    // Addresses are multiples of 16.
    let hash = (address >> 4).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - BITS);
    CELLS.get(usize::try_from(hash).ok()?)
}

fn address_of(ssl: Ssl<'_>) -> u64 {
    ssl.as_ptr().addr() as u64
}

/// The random of a connection's client or server.
fn random_of(ssl: Ssl<'_>, is_servers: bool) -> u64 {
    u64::from_ne_bytes(if is_servers { ssl.server_random() } else { ssl.client_random() })
}

impl Cell {
    const fn new() -> Cell {
        Cell {
            owner: AtomicU64::new(0),
            random: AtomicU64::new(0),
            numbers: [const { AtomicU64::new(0) }; KINDS],
        }
    }

    /// Its owner, if that is this connection. A random, the server's or the client's, costs a call.
    #[inline]
    fn owner(&self, address: u64, random: impl FnOnce(bool) -> u64) -> Option<u64> {
        let owner = self.owner.load(Acquire);
        let is_it = owner & !(MAY_GO | COUNTED) == address
            && self.random.load(Relaxed) == random(owner & COUNTED != 0);
        is_it.then_some(owner)
    }

    /// The number of this kind; 0 if it is another's cell.
    #[inline]
    fn number(&self, kind: usize, address: u64, random: impl FnOnce(bool) -> u64) -> u64 {
        let number = self.numbers.get(kind).filter(|_| self.owner(address, random).is_some());
        number.map_or(0, |number| number.load(Relaxed))
    }

    /// Sets the number of this kind; false if it is another's cell.
    #[inline]
    fn set(&self, kind: usize, address: u64, random: impl Fn(bool) -> u64, number: u64) -> bool {
        if self.owner(address, &random).is_none() && !self.take(address, random(false)) {
            return false;
        }
        if let Some(place) = self.numbers.get(kind) {
            place.store(number, Relaxed);
        }
        true
    }

    /// Takes the cell, if nobody has it, if it may go, or if a connection had it at this address.
    fn take(&self, address: u64, random: u64) -> bool {
        let before = self.owner.load(Relaxed);
        let is_free = before != BUSY && (before == 0 || before & MAY_GO != 0 || before == address);
        if !is_free || !self.hold(before) {
            return false;
        }
        self.numbers.iter().for_each(|number| number.store(0, Relaxed));
        self.random.store(random, Relaxed);
        self.owner.store(address, Release);
        true
    }

    /// Nobody else changes the cell until it gets an owner again. False if the owner is another by now.
    fn hold(&self, owner: u64) -> bool {
        self.owner.compare_exchange(owner, BUSY, Acquire, Relaxed).is_ok()
    }

    /// Sets the number of this kind to one that says that the connection was counted, and lets it go. False
    /// if it is another's cell.
    fn set_counted(
        &self,
        kind: usize,
        address: u64,
        random: impl Fn(bool) -> u64,
        number: u64,
    ) -> bool {
        if !self.owner(address, &random).is_some_and(|owner| self.hold(owner)) {
            return false;
        }
        if let Some(place) = self.numbers.get(kind) {
            place.store(number, Relaxed);
        }
        self.random.store(random(true), Relaxed);
        self.owner.store(address | MAY_GO | COUNTED, Release);
        true
    }

    /// Another connection may take the cell from now on.
    #[inline]
    fn let_go(&self, address: u64) {
        if self.owner.load(Relaxed) == address {
            // If another has it by now, that stays.
            let _ = self.owner.compare_exchange(address, address | MAY_GO, Release, Relaxed);
        }
    }
}

impl Notes {
    /// The number of a connection; 0 if it has none.
    #[inline]
    pub(super) fn number_of(&self, ssl: Ssl<'_>) -> u64 {
        let address = address_of(ssl);
        let random = |is_servers| random_of(ssl, is_servers);
        let number = cell(address).map_or(0, |cell| cell.number(self.kind, address, random));
        if number != 0 { number } else { self.index.number_of(ssl) }
    }

    /// Sets the number of a connection; 0 is none. Nothing is set without memory, and in memory that other
    /// processes may use.
    #[inline]
    pub(super) fn set_number_of(&self, ssl: Ssl<'_>, number: u64) {
        if memory::may_be_shared(ssl.libssl()) {
            return;
        }
        // The end of others is not seen.
        let may_have_cell = host::is_used() && ssl.is_server() && !ssl.is_quic();
        let address = address_of(ssl);
        let cell = cell(address).filter(|_| may_have_cell);
        let random = |is_servers| random_of(ssl, is_servers);
        let is_set = cell.is_some_and(|cell| cell.set(self.kind, address, random, number));
        let number = if is_set { 0 } else { number };
        if number != 0 || self.index.number_of(ssl) != 0 {
            self.index.set_number_of(ssl, number);
        }
    }

    /// Sets the number of a connection to one that says that it was counted. It may be about to go. Only if
    /// it has a number: another thread may have a reference and read the slots, so they must not become more.
    pub(super) fn set_counted(&self, ssl: Ssl<'_>, number: u64) {
        let address = address_of(ssl);
        let random = |is_servers| random_of(ssl, is_servers);
        let is_set =
            cell(address).is_some_and(|cell| cell.set_counted(self.kind, address, random, number));
        if !is_set && self.index.number_of(ssl) != 0 {
            self.index.set_number_of(ssl, number);
        }
    }
}

/// Takes our indexes on SSL, if they were not taken. To be called before the application takes one:
/// OpenSSL calls an application's dup function with NULL for each index below the highest that is set.
pub fn take_indexes(libssl: &'static Libssl) -> Option<c_int> {
    OFFERS.index.take_for_numbers(libssl).and(ANSWERS.index.take_for_numbers(libssl))
}

/// The connection goes, unless there are more references to it: its cell may be another's.
#[inline]
pub fn let_go(ssl: Ssl<'_>) {
    let address = address_of(ssl);
    if let Some(cell) = cell(address) {
        cell.let_go(address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::ptr;

    const ONE: u64 = 0x1000;
    const OTHER: u64 = 0x2000;

    impl Cell {
        fn numbers_of(&self, address: u64, random: u64) -> [u64; KINDS] {
            [0, 1].map(|kind| self.number(kind, address, |_| random))
        }
    }

    #[test]
    fn a_cell_is_of_one_connection_until_that_goes() {
        let cell = Cell::new();
        assert_eq!(cell.numbers_of(ONE, 7), [0, 0]);
        assert!(cell.set(0, ONE, |_| 7, 5) && cell.set(1, ONE, |_| 7, 6));
        assert_eq!(cell.numbers_of(ONE, 7), [5, 6]);
        assert_eq!(cell.numbers_of(OTHER, 7), [0, 0]);
        assert!(!cell.set(0, OTHER, |_| 7, 8));
        cell.let_go(OTHER);
        assert!(!cell.set(0, OTHER, |_| 7, 8), "it was not the owner who went");
        cell.let_go(ONE);
        assert_eq!(cell.numbers_of(ONE, 7), [5, 6], "there may be more references");
        assert!(cell.set(0, ONE, |_| 7, 4));
        assert_eq!(cell.numbers_of(ONE, 7), [4, 6]);
        assert!(cell.set(0, OTHER, |_| 7, 8));
        assert_eq!((cell.numbers_of(ONE, 7), cell.numbers_of(OTHER, 7)), ([0, 0], [8, 0]));
    }

    #[test]
    fn a_connection_at_the_same_address_is_another() {
        let cell = Cell::new();
        assert!(cell.set(0, ONE, |_| 7, 5));
        assert_eq!(cell.numbers_of(ONE, 8), [0, 0]);
        assert!(cell.set(1, ONE, |_| 8, 9));
        assert_eq!((cell.numbers_of(ONE, 8), cell.numbers_of(ONE, 7)), ([0, 9], [0, 0]));
    }

    #[test]
    fn a_connection_that_was_counted_is_told_by_its_servers_random() {
        let random = |client, server| move |is_servers| if is_servers { server } else { client };
        let cell = Cell::new();
        assert!(!cell.set_counted(0, ONE, random(7, 1), 9), "it has no number");
        assert!(cell.set(0, ONE, random(7, 1), 5) && cell.set(1, ONE, random(7, 1), 6));
        assert!(cell.set_counted(0, ONE, random(7, 1), 9));
        assert_eq!([0, 1].map(|kind| cell.number(kind, ONE, random(7, 1))), [9, 6]);
        // Others at the same address, whose clients know both randoms.
        for client in [7, 1] {
            assert_eq!([0, 1].map(|kind| cell.number(kind, ONE, random(client, 2))), [0, 0]);
        }
        assert!(!cell.set_counted(0, ONE, random(7, 2), 9), "it is another's");
        assert!(cell.set(1, ONE, random(7, 2), 3));
        assert_eq!([0, 1].map(|kind| cell.number(kind, ONE, random(7, 2))), [0, 3]);
        assert!(cell.set_counted(0, ONE, random(7, 2), 9));
        assert!(cell.set(0, OTHER, random(8, 3), 4), "it was let go");
        assert!(!cell.set_counted(0, ONE, random(7, 2), 9), "it is another's");
        assert_eq!(cell.number(0, OTHER, random(8, 3)), 4);
    }

    #[test]
    fn a_cell_that_changes_is_of_nobody() {
        let cell = Cell::new();
        cell.owner.store(BUSY, Relaxed);
        assert!(!cell.set_counted(0, ONE, |_| 7, 5));
        assert!(!cell.set(0, ONE, |_| 7, 5));
        cell.let_go(ONE);
        assert_eq!(cell.owner.load(Relaxed), BUSY);
    }

    #[test]
    fn connections_lie_in_many_cells() {
        let of = |n: u64| ptr::from_ref(cell(0x7f00_0000_1000 + n * 6208).unwrap()).addr();
        let cells: BTreeSet<usize> = (0..256).map(of).collect();
        assert!(cells.len() > 200, "{}", cells.len());
    }
}

//! The body of a slot: locator, deadline, time of writing, length and flags, then the payload.
//!
//! A body is copied word by word, and counts only if the cell's word is the same after the copy.

use super::bucket::{Bucket, Key, SLOT_WORDS};
use super::cell::{Cell, State, low_byte};
use super::word::Word;
use crate::sync::shared::fence;
use std::sync::atomic::Ordering::{Acquire, Release};

/// Words before the payload.
pub(super) const HEAD_WORDS: usize = 4;
/// Words of the payload that are taken in one step each: they have 12 bytes of a sealed record's nonce.
const SURE_WORDS: usize = 2;
/// Bytes of payload in a slot that is alone.
pub(in crate::store) const ALONE: usize = (SLOT_WORDS - HEAD_WORDS) * 8;
/// Bytes of payload in the first slot of several, whose last word leads on.
const FIRST: usize = ALONE - 8;
/// Bytes of payload in each further slot.
pub(super) const FURTHER: usize = (SLOT_WORDS - 1) * 8;

const DEADLINE_BITS: u32 = 40;
const LENGTH_BITS: u32 = 17;
const WRITTEN_BITS: u32 = 48;

/// A session beside its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Facts {
    /// The last second in which it is good.
    pub(in crate::store) deadline: u64,
    /// When it was written, in milliseconds since 1970.
    pub(in crate::store) written: u64,
    /// Bytes of its payload.
    pub(in crate::store) length: usize,
    /// Of `record`: LOCAL or 0.
    pub(in crate::store) flags: u8,
}

impl Facts {
    fn words(self) -> [u64; 2] {
        let deadline = self.deadline.min((1 << DEADLINE_BITS) - 1);
        let length = (self.length as u64) << DEADLINE_BITS;
        let written = self.written.min((1 << WRITTEN_BITS) - 1);
        [deadline | length, written | u64::from(self.flags) << WRITTEN_BITS]
    }

    fn of([first, second]: [u64; 2]) -> Facts {
        Facts {
            deadline: first & ((1 << DEADLINE_BITS) - 1),
            // 17 bits.
            length: (first >> DEADLINE_BITS & ((1 << LENGTH_BITS) - 1)) as usize,
            written: second & ((1 << WRITTEN_BITS) - 1),
            flags: low_byte(second >> WRITTEN_BITS),
        }
    }

    /// Bytes of the payload in the first slot.
    pub(super) fn first_part(self) -> usize {
        if self.length <= ALONE { self.length } else { FIRST }
    }

    /// The slots behind the first.
    pub(super) fn further(self) -> usize {
        further(self.length)
    }
}

/// The slots behind the first of a payload of so many bytes.
pub(super) fn further(length: usize) -> usize {
    if length <= ALONE { 0 } else { (length - FIRST).div_ceil(FURTHER) }
}

/// Where a payload goes on: the way in the next bucket and its generation, 0 nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link(pub(super) u64);

impl Link {
    pub(super) const END: Link = Link(0);

    pub(super) fn to(way: usize, cell: Cell) -> Link {
        Link(1 << 63 | cell.generation() << 8 | way as u64)
    }

    /// The way, if the word leads anywhere.
    pub(super) fn way(self) -> Option<usize> {
        (self.0 >> 63 == 1).then_some((self.0 & 0xFF) as usize)
    }

    pub(super) fn leads_to(self, tag: u64, cell: Cell) -> bool {
        cell.is(State::More) && cell.tag() == tag && self.0 >> 8 & 0xFF == cell.generation()
    }
}

/// The part of a payload that goes into the first slot, and that for the others.
#[inline]
pub(super) fn split(payload: &[u8]) -> (&[u8], &[u8]) {
    let first = if payload.len() <= ALONE { payload.len() } else { FIRST };
    payload.split_at_checked(first).unwrap_or((payload, &[]))
}

/// Writes the bytes of a part from a word on.
#[inline]
fn write(words: &[Word], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<8>();
    for (word, bytes) in words.iter().zip(whole) {
        word.put(u64::from_ne_bytes(*bytes));
    }
    if let (false, Some(word)) = (rest.is_empty(), words.get(whole.len())) {
        let last = rest.iter().rev().fold(0, |last, byte| last << 8 | u64::from(*byte));
        // The first byte is the first in memory, on every machine.
        word.put(u64::from_le(last));
    }
}

impl Bucket {
    /// Writes the body of the first slot, which the caller has claimed.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "a slot's parts, in their order")]
    pub(super) fn write_first(&self, way: usize, key: &Key, facts: Facts, part: &[u8], next: Link) {
        // After the claim, and before the first word of the body.
        fence(Release);
        let [low, high, first, second, payload @ ..] = self.slot(way);
        let words = facts.words();
        low.put(key.low);
        high.put(key.high);
        first.put(words[0]);
        write(payload, part);
        if let (true, Some(last)) = (next != Link::END, payload.last()) {
            last.put(next.0);
        }
        // Last, so that a payload of a process that goes on after a stop has its own flags.
        second.put(words[1]);
    }

    /// Writes the body of a further slot, which the caller has claimed.
    pub(super) fn write_further(&self, way: usize, part: &[u8], next: Link) {
        fence(Release);
        let [payload @ .., last] = self.slot(way);
        write(payload, part);
        last.put(next.0);
    }

    /// The facts of the session in a slot. It counts if the cell is the same afterwards.
    #[inline]
    pub(super) fn facts(&self, way: usize) -> Facts {
        let [_, _, first, second, ..] = self.slot(way);
        Facts::of([first.peek(), second.peek()])
    }

    /// Whether the cell has been the same since it was `seen`, and with it all that was read of its body.
    #[inline]
    pub(super) fn is_still(&self, number: usize, seen: Cell) -> bool {
        fence(Acquire);
        Cell(self.word(number).peek()).is_same_as(seen)
    }

    /// Appends the payload of the first slot. Returns where it goes on.
    #[inline]
    pub(super) fn read_first(&self, way: usize, length: usize, into: &mut Vec<u8>) -> Link {
        let [_, _, _, _, payload @ ..] = self.slot(way);
        let alone = length <= ALONE;
        append(payload, if alone { length } else { FIRST }, into);
        let last = payload.last().map_or(0, Word::peek);
        if alone { Link::END } else { Link(last) }
    }

    /// As [`Bucket::read_first`], of a further slot, of which `left` bytes are wanted at most.
    pub(super) fn read_further(&self, way: usize, left: usize, into: &mut Vec<u8>) -> Link {
        let [payload @ .., last] = self.slot(way);
        append(payload, left.min(FURTHER), into);
        Link(last.peek())
    }

    /// Where the payload of a slot goes on: of the first slot of several or of a further one.
    pub(super) fn link(&self, way: usize) -> Link {
        self.slot(way).last().map_or(Link::END, |last| Link(last.peek()))
    }

    /// Overwrites a slot, which is the caller's.
    pub(super) fn wipe(&self, way: usize) {
        // After the claim, so that no reader gets zeroes whose cell is still as it was.
        fence(Release);
        self.slot(way).iter().for_each(|word| word.put(0));
    }

    /// Takes the payload of the first slot away, and overwrites the slot, which is the caller's. Of two that do so at
    /// once, nobody gets the words that the other one has: a part of a sealed record is worth nothing.
    pub(super) fn swap_first(&self, way: usize, length: usize, into: &mut Vec<u8>) {
        let (head, payload) = self.slot(way).split_at(HEAD_WORDS);
        let mut copy = [[0_u8; 8]; SLOT_WORDS];
        let (sure, rest) = payload.split_at(SURE_WORDS);
        let swapped = sure.iter().map(|word| word.swap(0));
        // After the claim, as in `wipe`.
        fence(Release);
        let wiped = rest.iter().map(|word| {
            let was = word.peek();
            word.put(0);
            was
        });
        for (bytes, word) in copy.iter_mut().zip(swapped.chain(wiped)) {
            *bytes = word.to_ne_bytes();
        }
        head.iter().for_each(|word| word.put(0));
        let bytes = copy.as_flattened();
        into.extend_from_slice(bytes.get(..length).unwrap_or(bytes));
    }
}

/// Appends the first bytes of words to a vector that has room for them.
#[inline]
fn append(words: &[Word], length: usize, into: &mut Vec<u8>) {
    let before = into.len();
    into.resize(before + length.min(words.len() * 8), 0);
    let bytes = into.get_mut(before..).unwrap_or_default();
    let (whole, rest) = bytes.as_chunks_mut::<8>();
    for (bytes, word) in whole.iter_mut().zip(words) {
        *bytes = word.peek().to_ne_bytes();
    }
    if let (false, Some(word)) = (rest.is_empty(), words.get(whole.len())) {
        let last = word.peek().to_ne_bytes();
        rest.iter_mut().zip(last).for_each(|(to, from)| *to = from);
    }
}

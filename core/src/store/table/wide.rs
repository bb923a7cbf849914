//! The cells of a bucket, looked at 16 bytes at a time by SSE2, which every x86-64 has.
//!
//! As [`narrow`](super::narrow), whose functions do the same one cell after the other.
#![expect(
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    reason = "parts of words are cut out; the places of a table are made by the compiler"
)]

use super::bucket::{CELLS, Cells, Places, WAYS};
use super::cell::{
    Cell, DEADLINE_UNIT, MOST_AHEAD, REGULAR, SPENT, STATE, State, TAG, TAG_MASK, TIME,
};
use super::victim::{ALL, Ages, Ways};
use super::word::Word;
use crate::store::Now;
use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::transmute;

/// Cells in one register.
const PAIR: usize = 2;
const PAIRS: usize = CELLS / PAIR;

/// The cells of a bucket, as each of them was at some moment of the look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen([__m128i; PAIRS]);

/// The stamps of the ways.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamps([__m128i; 2]);

/// Loads sixteen words; whatever was published with one that is seen is seen.
#[inline]
fn load(words: &[Word; 16]) -> [__m128i; 8] {
    let (a, b, c, d, e, f, g, h);
    // SAFETY: the reference is good for 128 bytes, and nothing is written. Other processes may change the words
    // meanwhile. That is no race of this program, because the machine loads: each half of a register is an
    // aligned word, which x86 loads in one step, and no later load comes before it.
    unsafe {
        asm!(
            "movdqu {a}, [{words}]",
            "movdqu {b}, [{words} + 16]",
            "movdqu {c}, [{words} + 32]",
            "movdqu {d}, [{words} + 48]",
            "movdqu {e}, [{words} + 64]",
            "movdqu {f}, [{words} + 80]",
            "movdqu {g}, [{words} + 96]",
            "movdqu {h}, [{words} + 112]",
            words = in(reg) words.as_ptr(),
            a = out(xmm_reg) a, b = out(xmm_reg) b, c = out(xmm_reg) c, d = out(xmm_reg) d,
            e = out(xmm_reg) e, f = out(xmm_reg) f, g = out(xmm_reg) g, h = out(xmm_reg) h,
            options(nostack, preserves_flags),
        );
    }
    [a, b, c, d, e, f, g, h]
}

impl Seen {
    #[inline]
    pub(super) fn of(words: &[Word; CELLS]) -> Seen {
        let (sixteens, _) = words.as_chunks::<16>();
        // SAFETY: SSE2 is part of x86-64.
        let mut pairs = [unsafe { _mm_setzero_si128() }; PAIRS];
        for (pairs, words) in pairs.as_chunks_mut::<8>().0.iter_mut().zip(sixteens) {
            *pairs = load(words);
        }
        Seen(pairs)
    }

    /// The words of the cells.
    #[inline]
    pub(super) fn cells(&self) -> &[Cell; CELLS] {
        // SAFETY: as many plain words, and aligned for more.
        unsafe { &*(&raw const self.0).cast() }
    }

    /// The cells that have the tag.
    #[inline]
    pub(super) fn tagged(&self, tag: u64) -> Cells {
        // SAFETY: SSE2 is part of x86-64.
        Cells(unsafe { tagged(&self.0, tag) })
    }

    /// The places for removals.
    #[inline]
    pub(super) fn places(&self, now: Now) -> Places {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { places(&self.0, now) }
    }

    /// The ways.
    #[inline]
    pub(super) fn ways(&self, now: Now) -> Ways<Stamps> {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { ways(&self.0, now) }
    }
}

/// The cells that have the tag, and the ways. Each word was so at some moment, if there are none but sessions;
/// else states and the rest may be of two moments.
#[inline]
pub(super) fn survey(words: &[Word; CELLS], tag: u64, now: Now) -> (Cells, Ways<Stamps>) {
    // SAFETY: SSE2 is part of x86-64.
    unsafe { survey_wide(words, tag, now) }
}

impl Ages for Stamps {
    #[inline]
    fn of(&self, way: usize) -> u8 {
        // SAFETY: as many plain bytes.
        let bytes: [u8; WAYS] = unsafe { transmute(self.0) };
        bytes[way % WAYS]
    }

    #[inline]
    fn above(&self, age: u8, clock: u64) -> u32 {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { above(&self.0, age, clock) }
    }

    #[inline]
    fn oldest(&self, ways: u32, clock: u64) -> Option<usize> {
        // Sessions that make room in the order in which they came leave one way alone that is so old. To see that
        // takes half as long.
        let old = self.above(WAYS as u8 - 1, clock) & ways;
        if old != 0 && old & (old - 1) == 0 {
            return Some(old.trailing_zeros() as usize);
        }
        // SAFETY: SSE2 is part of x86-64.
        let oldest = unsafe { oldest(&self.0, ways, clock) };
        (oldest != 0).then_some(oldest.trailing_zeros() as usize)
    }
}

/// Has memory come that will be read.
#[inline]
pub(super) fn fetch<const N: usize>(words: &[Word; N]) {
    each_line(words, |word| {
        // SAFETY: it is a hint, at an address of ours.
        unsafe { _mm_prefetch::<_MM_HINT_T0>((&raw const *word).cast()) };
    });
}

/// Has memory come that will be written: no other processor keeps a copy.
#[inline]
pub(super) fn fetch_to_write<const N: usize>(words: &[Word; N]) {
    each_line(words, |word| {
        // SAFETY: it is a hint, at an address of ours. Processors that do not know it do nothing.
        unsafe { asm!("prefetchw [{}]", in(reg) word, options(nostack, preserves_flags)) };
    });
}

/// A word of each cache line.
#[inline]
fn each_line<const N: usize>(words: &[Word; N], hint: impl Fn(&Word)) {
    const LINE: usize = 8;
    for line in 0..N / LINE {
        hint(&words[line * LINE]);
    }
    hint(&words[N - 1]);
}

/// The lower halves, the upper ones.
const LOW: i32 = 0x88;
const HIGH: i32 = 0xDD;

/// The same half of each of four cells.
#[inline]
#[target_feature(enable = "sse2")]
fn halves<const WHICH: i32>(one: __m128i, other: __m128i) -> __m128i {
    let halves = _mm_shuffle_ps::<WHICH>(_mm_castsi128_ps(one), _mm_castsi128_ps(other));
    _mm_castps_si128(halves)
}

/// A bit for each byte whose uppermost bit is 1.
#[inline]
#[target_feature(enable = "sse2")]
fn bits(bytes: __m128i) -> u32 {
    _mm_movemask_epi8(bytes) as u32
}

/// Bytes of which only the uppermost bits count, of numbers of which only these count.
#[inline]
#[target_feature(enable = "sse2")]
fn signs(four: &[__m128i]) -> __m128i {
    let first = _mm_packs_epi32(four[0], four[1]);
    _mm_packs_epi16(first, _mm_packs_epi32(four[2], four[3]))
}

/// Numbers below 256 as bytes.
#[inline]
#[target_feature(enable = "sse2")]
fn bytes(four: &[__m128i]) -> __m128i {
    let first = _mm_packs_epi32(four[0], four[1]);
    _mm_packus_epi16(first, _mm_packs_epi32(four[2], four[3]))
}

/// A tag, as it lies in the upper half of a cell.
#[derive(Clone, Copy)]
struct Tag {
    mask: __m128i,
    tag: __m128i,
}

impl Tag {
    #[inline]
    #[target_feature(enable = "sse2")]
    fn of(tag: u64) -> Tag {
        let at = |tag: u64| _mm_set1_epi32((tag << (TAG - 32)) as i32);
        Tag { mask: at(TAG_MASK), tag: at(tag) }
    }

    /// A bit for each of sixteen cells that has the tag, of their upper halves.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn bits(self, high: &[__m128i; 4]) -> u32 {
        bits(signs(&high.map(|four| _mm_cmpeq_epi32(_mm_and_si128(four, self.mask), self.tag))))
    }
}

/// The same halves of sixteen cells.
#[inline]
#[target_feature(enable = "sse2")]
fn four<const WHICH: i32>(pairs: &[__m128i; 8]) -> [__m128i; 4] {
    let of = |four: usize| halves::<WHICH>(pairs[2 * four], pairs[2 * four + 1]);
    [of(0), of(1), of(2), of(3)]
}

/// A bit for each cell that has the tag.
#[inline]
#[target_feature(enable = "sse2")]
fn tagged(pairs: &[__m128i; PAIRS], tag: u64) -> u64 {
    let tag = Tag::of(tag);
    let mut found = 0;
    for (number, pairs) in pairs.as_chunks::<8>().0.iter().enumerate() {
        found |= u64::from(tag.bits(&four::<HIGH>(pairs))) << (16 * number);
    }
    found
}

/// The lower halves of sixteen cells, looked at.
struct Low {
    over: u32,
    regular: u32,
    spent: u32,
    stamps: __m128i,
}

impl Low {
    #[inline]
    #[target_feature(enable = "sse2")]
    fn of(low: &[__m128i; 4], now: Now) -> Low {
        let is = |at: i32, low: &[__m128i; 4]| {
            let count = _mm_cvtsi32_si128(at);
            bits(signs(&low.map(|low| _mm_sll_epi32(low, count))))
        };
        Low {
            over: over(low, now),
            regular: is(top(REGULAR), low),
            spent: is(top(SPENT), low),
            stamps: bytes(&low.map(|low| _mm_and_si128(low, _mm_set1_epi32(0xFF)))),
        }
    }
}

#[inline]
#[target_feature(enable = "sse2")]
fn survey_wide(words: &[Word; CELLS], tag: u64, now: Now) -> (Cells, Ways<Stamps>) {
    let (sixteens, _) = words.as_chunks::<16>();
    let tag = Tag::of(tag);
    let pairs = load(&sixteens[0]);
    let (high, low) = (four::<HIGH>(&pairs), four::<LOW>(&pairs));
    let (first_tagged, first) = (tag.bits(&high), Low::of(&low, now));
    let other = others(&high);
    let pairs = load(&sixteens[1]);
    let (high, low) = (four::<HIGH>(&pairs), four::<LOW>(&pairs));
    let (second_tagged, second) = (tag.bits(&high), Low::of(&low, now));
    let other = _mm_or_si128(other, others(&high));
    let third_tagged = tag.bits(&four::<HIGH>(&load(&sixteens[2])));
    let ways = Ways {
        live: ALL,
        more: 0,
        trace: 0,
        claimed: 0,
        over: first.over | second.over << 16,
        regular: first.regular | second.regular << 16,
        spent: first.spent | second.spent << 16,
        stamps: Stamps([first.stamps, second.stamps]),
    };
    let tagged = first_tagged | second_tagged << 16;
    let tagged = Cells(u64::from(tagged) | u64::from(third_tagged) << 32);
    if bits(_mm_cmpeq_epi8(other, _mm_setzero_si128())) == 0xFFFF {
        return (tagged, ways);
    }
    let States { live, more, trace, claimed } =
        States::of(&[load(&sixteens[0]), load(&sixteens[1])]);
    (tagged, Ways { live, more, trace, claimed, ..ways })
}

/// Not zero if not all of sixteen cells are sessions, of their upper halves.
#[inline]
#[target_feature(enable = "sse2")]
fn others(high: &[__m128i; 4]) -> __m128i {
    let live = _mm_set1_epi32((State::Live as i32) << (STATE - 32));
    let other = high.map(|four| _mm_xor_si128(four, live));
    let first = _mm_or_si128(other[0], other[1]);
    let any = _mm_or_si128(first, _mm_or_si128(other[2], other[3]));
    _mm_srli_epi32::<{ (STATE - 32) as i32 }>(any)
}

/// The ways in each state.
struct States {
    live: u32,
    more: u32,
    trace: u32,
    claimed: u32,
}

impl States {
    #[inline]
    #[target_feature(enable = "sse2")]
    fn of(pairs: &[[__m128i; 8]; 2]) -> States {
        let states = pairs.each_ref().map(|pairs| {
            let high = four::<HIGH>(pairs);
            bytes(&high.map(|high| _mm_srli_epi32::<{ (STATE - 32) as i32 }>(high)))
        });
        let is = |state: State| {
            let state = _mm_set1_epi8(state as i8);
            bits(_mm_cmpeq_epi8(states[0], state)) | bits(_mm_cmpeq_epi8(states[1], state)) << 16
        };
        States {
            live: is(State::Live),
            more: is(State::More),
            trace: is(State::Trace),
            claimed: is(State::Writing) | is(State::Taken),
        }
    }
}

#[inline]
#[target_feature(enable = "sse2")]
fn places(pairs: &[__m128i; PAIRS], now: Now) -> Places {
    let (eights, _) = pairs.as_chunks::<8>();
    let last = &eights[WAYS / 16];
    let states = four::<HIGH>(last).map(|high| _mm_srli_epi32::<{ (STATE - 32) as i32 }>(high));
    let trace = bits(_mm_cmpeq_epi8(bytes(&states), _mm_set1_epi8(State::Trace as i8)));
    let over = over(&four::<LOW>(last), now);
    let cells = |places: u32| Cells(u64::from(places) << WAYS);
    Places { unused: cells(!trace & 0xFFFF), over: cells(trace & over) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn ways(pairs: &[__m128i; PAIRS], now: Now) -> Ways<Stamps> {
    let (eights, _) = pairs.as_chunks::<8>();
    let States { live, more, trace, claimed } = States::of(&[eights[0], eights[1]]);
    let [first, second] = [0, 1].map(|half| Low::of(&four::<LOW>(&eights[half]), now));
    Ways {
        live,
        more,
        trace,
        claimed,
        over: first.over | second.over << 16,
        regular: first.regular | second.regular << 16,
        spent: first.spent | second.spent << 16,
        stamps: Stamps([first.stamps, second.stamps]),
    }
}

/// By how much a bit of the lower half is to be shifted to be the uppermost one.
const fn top(bit: u64) -> i32 {
    31 - bit.trailing_zeros() as i32
}

/// The present in units of deadlines, modulo 2^16.
#[inline]
fn ahead(now: Now) -> u16 {
    (now.seconds() >> DEADLINE_UNIT) as u16
}

/// Of sixteen cells those whose time is not ahead, of their lower halves.
#[inline]
#[target_feature(enable = "sse2")]
fn over(low: &[__m128i; 4], now: Now) -> u32 {
    // The time is uppermost then, and what is below does not matter.
    const UP: i32 = 32 - (TIME as i32 + 16);
    // Numbers without a sign are compared as numbers with one.
    let up = |time: u16| (u32::from(time) << 16) as i32 ^ i32::MIN;
    let past = _mm_set1_epi32(up(ahead(now)).wrapping_neg());
    let most = _mm_set1_epi32(up(MOST_AHEAD as u16 + 1).wrapping_sub(1));
    bits(signs(
        &low.map(|low| _mm_cmpgt_epi32(_mm_add_epi32(_mm_slli_epi32::<UP>(low), past), most)),
    ))
}

/// Of all ways those whose age is more than so much.
#[inline]
#[target_feature(enable = "sse2")]
fn above(stamps: &[__m128i; 2], age: u8, clock: u64) -> u32 {
    let (clock, age) = (_mm_set1_epi8(clock as i8), _mm_set1_epi8(age as i8));
    // Nothing is left of an age that is no more.
    let of = |half: usize| {
        let more = _mm_subs_epu8(_mm_sub_epi8(clock, stamps[half]), age);
        !bits(_mm_cmpeq_epi8(more, _mm_setzero_si128())) & 0xFFFF
    };
    of(0) | of(1) << 16
}

/// The oldest of some ways, and those that are equally old, a bit each.
#[inline]
#[target_feature(enable = "sse2")]
fn oldest(stamps: &[__m128i; 2], ways: u32, clock: u64) -> u32 {
    let ways = _mm_cvtsi32_si128(ways as i32);
    let twice = _mm_unpacklo_epi8(ways, ways);
    let four_times = _mm_unpacklo_epi16(twice, twice);
    let bit = _mm_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
    let of = |bytes: __m128i| _mm_cmpeq_epi8(_mm_and_si128(bytes, bit), bit);
    let is = [
        of(_mm_unpacklo_epi32(four_times, four_times)),
        of(_mm_unpackhi_epi32(four_times, four_times)),
    ];
    let clock = _mm_set1_epi8(clock as i8);
    let age = |half: usize| _mm_and_si128(_mm_sub_epi8(clock, stamps[half]), is[half]);
    let ages = [age(0), age(1)];
    let most = _mm_max_epu8(ages[0], ages[1]);
    let most = _mm_max_epu8(most, _mm_srli_si128::<8>(most));
    let most = _mm_max_epu8(most, _mm_srli_si128::<4>(most));
    let most = _mm_max_epu8(most, _mm_srli_si128::<2>(most));
    let most = _mm_max_epu8(most, _mm_srli_si128::<1>(most));
    let most = _mm_set1_epi8(_mm_cvtsi128_si32(most) as i8);
    let oldest = |half: usize| bits(_mm_and_si128(_mm_cmpeq_epi8(ages[half], most), is[half]));
    oldest(0) | oldest(1) << 16
}

#[cfg(test)]
mod tests;

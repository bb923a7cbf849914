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

use super::bucket::{CELLS, Cells, WAYS};
use super::cell::{
    Cell, DEADLINE_UNIT, MOST_AHEAD, REGULAR, SPENT, STATE, State, TAG, TAG_MASK, TIME,
};
use super::victim::{Ages, Ways};
use super::word::Word;
use crate::store::Now;
use std::arch::asm;
use std::arch::x86_64::*;

/// Cells in one register.
const PAIR: usize = 2;
const PAIRS: usize = CELLS / PAIR;
/// Halves of four cells, of which there are so many registers for all ways.
const FOURS: usize = WAYS / 4;

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

    /// The ways.
    #[inline]
    pub(super) fn ways(&self, now: Now) -> Ways<Stamps> {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { ways(&self.0, now) }
    }
}

impl Ages for Stamps {
    #[inline]
    fn oldest(&self, ways: u32, clock: u64) -> Option<usize> {
        // SAFETY: SSE2 is part of x86-64.
        let oldest = unsafe { oldest(&self.0, ways, clock) };
        (oldest != 0).then_some(oldest.trailing_zeros() as usize)
    }
}

/// Has memory come that will be needed.
#[inline]
pub(super) fn fetch<const N: usize>(words: &[Word; N]) {
    // A word of each cache line.
    let (lines, rest) = words.as_chunks::<8>();
    for word in lines.iter().map(|line| &line[0]).chain([rest.last().unwrap_or(&words[N - 1])]) {
        // SAFETY: it is a hint, at an address of ours.
        unsafe { _mm_prefetch::<_MM_HINT_T0>((&raw const *word).cast()) };
    }
}

/// The same half of each of four cells: 0x88 the lower ones, 0xDD the upper ones.
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

/// As [`signs`], of all ways.
#[inline]
#[target_feature(enable = "sse2")]
fn sign_bits(numbers: &[__m128i; FOURS]) -> u32 {
    bits(signs(&numbers[..4])) | bits(signs(&numbers[4..])) << 16
}

/// Numbers below 256 as bytes.
#[inline]
#[target_feature(enable = "sse2")]
fn bytes(four: &[__m128i]) -> __m128i {
    let first = _mm_packs_epi32(four[0], four[1]);
    _mm_packus_epi16(first, _mm_packs_epi32(four[2], four[3]))
}

/// A bit for each cell that has the tag.
#[inline]
#[target_feature(enable = "sse2")]
fn tagged(pairs: &[__m128i; PAIRS], tag: u64) -> u64 {
    // As it lies in the upper half of a cell.
    let at = |tag: u64| _mm_set1_epi32((tag << (TAG - 32)) as i32);
    let (mask, tag) = (at(TAG_MASK), at(tag));
    let mut found = 0;
    for (number, pairs) in pairs.as_chunks::<8>().0.iter().enumerate() {
        let of = |four: usize| {
            let high = halves::<0xDD>(pairs[2 * four], pairs[2 * four + 1]);
            _mm_cmpeq_epi32(_mm_and_si128(high, mask), tag)
        };
        found |= u64::from(bits(signs(&[of(0), of(1), of(2), of(3)]))) << (16 * number);
    }
    found
}

#[inline]
#[target_feature(enable = "sse2")]
fn ways(pairs: &[__m128i; PAIRS], now: Now) -> Ways<Stamps> {
    let zero = [_mm_setzero_si128(); FOURS];
    let (mut high, mut low) = (zero, zero);
    for four in 0..FOURS {
        let (one, other) = (pairs[2 * four], pairs[2 * four + 1]);
        (high[four], low[four]) = (halves::<0xDD>(one, other), halves::<0x88>(one, other));
    }
    let states = high.map(|high| _mm_srli_epi32::<{ (STATE - 32) as i32 }>(high));
    let states = [bytes(&states[..4]), bytes(&states[4..])];
    let is = |state: State| {
        let state = _mm_set1_epi8(state as i8);
        bits(_mm_cmpeq_epi8(states[0], state)) | bits(_mm_cmpeq_epi8(states[1], state)) << 16
    };
    let stamps = low.map(|low| _mm_and_si128(low, _mm_set1_epi32(0xFF)));
    Ways {
        live: is(State::Live),
        more: is(State::More),
        trace: is(State::Trace),
        claimed: is(State::Writing) | is(State::Taken),
        over: over(&low, now),
        regular: sign_bits(&low.map(|low| _mm_slli_epi32::<{ top(REGULAR) }>(low))),
        spent: sign_bits(&low.map(|low| _mm_slli_epi32::<{ top(SPENT) }>(low))),
        stamps: Stamps([bytes(&stamps[..4]), bytes(&stamps[4..])]),
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

/// The cells whose time is not ahead, of their lower halves.
#[inline]
#[target_feature(enable = "sse2")]
fn over(low: &[__m128i; FOURS], now: Now) -> u32 {
    const _: () = assert!(TIME + 16 == 29);
    let times = low.map(|low| _mm_srai_epi32::<16>(_mm_slli_epi32::<3>(low)));
    // Numbers without a sign are compared as numbers with one.
    let sign = _mm_set1_epi16(i16::MIN);
    let most = _mm_set1_epi16((MOST_AHEAD as i16) ^ i16::MIN);
    let ahead = _mm_set1_epi16(ahead(now) as i16);
    let of = |eight: usize| {
        let times = _mm_packs_epi32(times[2 * eight], times[2 * eight + 1]);
        _mm_cmpgt_epi16(_mm_xor_si128(_mm_sub_epi16(times, ahead), sign), most)
    };
    bits(_mm_packs_epi16(of(0), of(1))) | bits(_mm_packs_epi16(of(2), of(3))) << 16
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
mod tests {
    use super::*;
    use crate::store::table::narrow;

    const NOW: Now = Now(1_700_000_000_000);

    fn masks<S>(ways: &Ways<S>) -> [u32; 7] {
        let Ways { live, more, trace, claimed, over, regular, spent, .. } = *ways;
        [live, more, trace, claimed, over, regular, spent]
    }

    /// Both ways to look see the same, whatever the words are.
    #[test]
    fn it_sees_the_same_as_one_cell_after_the_other() {
        let mut random = 1_u64;
        let mut next = || {
            random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            (random ^ random >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9).rotate_left(31)
        };
        for round in 0..20_000 {
            let few_tags = |word: u64| word & !(TAG_MASK << TAG) | (word >> TAG & 3) << TAG;
            let times = |word: u64| word & !(0xFFFF << TIME) | (u64::from(ahead(NOW)) << TIME);
            let words: [Word; CELLS] = std::array::from_fn(|_| {
                let word = Word::default();
                word.put(if round % 2 == 0 { next() } else { times(few_tags(next())) });
                word
            });
            let (wide, narrow) = (Seen::of(&words), narrow::Seen::of(&words));
            assert_eq!(wide.cells(), narrow.cells());
            let tag = if round % 4 == 0 { narrow.cells()[round % CELLS].tag() } else { next() & 3 };
            assert_eq!(wide.tagged(tag).0, narrow.tagged(tag).0);
            let now = Now(NOW.0 + (next() % 3) * (1 << 31));
            let (wide, narrow) = (wide.ways(now), narrow.ways(now));
            assert_eq!(masks(&wide), masks(&narrow));
            let (some, clock) = (next() as u32, next());
            let ways = if round % 3 == 0 { some & next() as u32 & next() as u32 } else { some };
            assert_eq!(wide.stamps.oldest(ways, clock), narrow.stamps.oldest(ways, clock));
            assert_eq!(wide.stamps.oldest(0, clock), None);
        }
    }
}

use super::*;
use crate::store::table::cell::low_byte;
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
        let live = |word: u64| word & !(7 << STATE) | (State::Live as u64) << STATE;
        let full = round % 8;
        let words: [Word; CELLS] = std::array::from_fn(|number| {
            let word = if round % 2 == 0 { next() } else { times(few_tags(next())) };
            // All ways are sessions, or all but one.
            let is_live = full == 5 || full == 3 && number != round / 8 % WAYS;
            let cell = Word::default();
            cell.put(if is_live { live(word) } else { word });
            cell
        });
        let (wide, narrow) = (Seen::of(&words), narrow::Seen::of(&words));
        assert_eq!(wide.cells(), narrow.cells());
        let tag = if round % 4 == 0 { narrow.cells()[round % CELLS].tag() } else { next() & 3 };
        assert_eq!(wide.tagged(tag).0, narrow.tagged(tag).0);
        let now = Now(NOW.0 + (next() % 3) * (1 << 31));
        let (some, same) = (wide.places(now), narrow.places(now));
        assert_eq!([some.unused.0, some.over.0], [same.unused.0, same.over.0]);
        let (surveyed, survey) = survey(&words, tag, now);
        assert_eq!(surveyed.0, narrow.tagged(tag).0);
        let (wide, narrow) = (wide.ways(now), narrow.ways(now));
        assert_eq!(masks(&wide), masks(&narrow));
        assert_eq!(masks(&survey), masks(&narrow));
        let (some, clock) = (next() as u32, next());
        let ways = if round % 3 == 0 { some & next() as u32 & next() as u32 } else { some };
        assert_eq!(wide.stamps.oldest(ways, clock), narrow.stamps.oldest(ways, clock));
        assert_eq!(survey.stamps.oldest(ways, clock), narrow.stamps.oldest(ways, clock));
        assert_eq!(wide.stamps.of(round % WAYS), narrow.stamps.of(round % WAYS));
        let age = low_byte(next());
        assert_eq!(wide.stamps.above(age, clock), narrow.stamps.above(age, clock));
        assert_eq!(wide.stamps.oldest(0, clock), None);
    }
}

//! Of a bucket's regulars the one that stays away longest goes, however many newcomers come meanwhile.

use super::*;
use crate::store::record::CAME_BACK;

#[test]
fn ages_are_told_apart_after_any_number_of_puts() {
    let put = |memory: &Memory, number, flags| {
        memory.place(number).put(LATER, NOW, flags, b"").unwrap();
    };
    for newcomers in [100, 250, 260, 300, 511, 1000] {
        let memory = Memory::new(1);
        // The newcomers have one way, so that the regulars stay.
        (0..5000).for_each(|_| memory.share.learn(true, WAYS as u64));
        (0..16).for_each(|number| put(&memory, number, CAME_BACK));
        (0..newcomers).for_each(|number| put(&memory, 10_000 + number, 0));
        // Young ones, as many as there are ways: the old ones go first.
        for number in 100..130 {
            put(&memory, number, CAME_BACK);
        }
        let here = |numbers: std::ops::Range<u64>| {
            numbers.filter(|number| memory.place(*number).may_have()).count()
        };
        assert_eq!(here(100..130), 30, "{newcomers}: {} old ones are there", here(0..16));
    }
}

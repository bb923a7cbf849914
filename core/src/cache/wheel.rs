//! When entries expire: a hierarchical timing wheel with ticks of one second.
//!
//! Six levels of 64 buckets cover every u32 second. An entry lies on the level of the highest
//! base-64 digit in which its due time differs from the wheel's `now`. So adding and removing are
//! O(1) whatever the mix of timeouts. An entry moves down at most once a level. The wheel only
//! proposes: its owner asks the value for its true deadline and expires it or puts it back. A
//! bucket is a doubly linked list through the slab's entries. No locks.

use super::slab::{EntryNumber, NONE, Slab};

const LEVELS: usize = 6;
const DIGIT: u32 = 6;
const BUCKETS: usize = 64;
/// Entries that were due before `now` when they came.
const OVERDUE: usize = LEVELS * BUCKETS;
/// Marks a `wheel_prev` that names the bucket whose first entry this is.
const HEAD: u32 = 1 << 31;

/// The buckets of one shard.
#[derive(Debug)]
pub(super) struct Wheel {
    now: u32,
    heads: [EntryNumber; OVERDUE + 1],
    /// A bit for each bucket of a level that is not empty.
    occupied: [u64; LEVELS],
}

/// The wheel's answer when asked for work.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This entry is due, or must move to a nearer bucket.
    Look(EntryNumber),
    /// Nothing is due before this second.
    Nothing(u32),
}

fn shift(level: usize) -> u32 {
    u32::try_from(level).unwrap_or(0) * DIGIT
}

fn digit(time: u32, level: usize) -> usize {
    (time >> shift(level)) as usize % BUCKETS
}

impl Wheel {
    pub(super) fn new(now: u32) -> Self {
        Wheel { now, heads: [NONE; OVERDUE + 1], occupied: [0; LEVELS] }
    }

    /// Sets an empty wheel to the present, so that new entries lie on low levels.
    pub(super) fn skip_to(&mut self, now: u32) {
        if self.occupied == [0; LEVELS] && self.heads.last() == Some(&NONE) {
            self.now = now;
        }
    }

    /// Whether the wheel has already turned past `target`, because the clock was set back.
    pub(super) fn is_past(&self, target: u32) -> bool {
        target < self.now
    }

    fn bucket(&self, due: u32) -> usize {
        if due < self.now {
            return OVERDUE;
        }
        let level = ((due ^ self.now) | 1).ilog2() / DIGIT;
        level as usize * BUCKETS + digit(due, level as usize)
    }

    /// Links an unlinked entry into the bucket of `due`.
    pub(super) fn link<V>(&mut self, slab: &mut Slab<V>, number: EntryNumber, due: u32) {
        let bucket = self.bucket(due);
        let Some(head) = self.heads.get_mut(bucket) else { return };
        let first = std::mem::replace(head, number);
        if let Some(occupied) = self.occupied.get_mut(bucket / BUCKETS) {
            *occupied |= 1 << (bucket % BUCKETS);
        }
        if let Some(entry) = slab.get_mut(first) {
            entry.wheel_prev = number;
        }
        if let Some(entry) = slab.get_mut(number) {
            entry.due = due;
            entry.wheel_prev = HEAD | u32::try_from(bucket).unwrap_or(0);
            entry.wheel_next = first;
        }
    }

    /// Takes an entry out of its bucket.
    pub(super) fn unlink<V>(&mut self, slab: &mut Slab<V>, number: EntryNumber) {
        let Some(entry) = slab.get(number) else { return };
        let (prev, next) = (entry.wheel_prev, entry.wheel_next);
        if let Some(entry) = slab.get_mut(next) {
            entry.wheel_prev = prev;
        }
        if prev & HEAD == 0 {
            if let Some(entry) = slab.get_mut(prev) {
                entry.wheel_next = next;
            }
            return;
        }
        let bucket = (prev & !HEAD) as usize;
        if let Some(head) = self.heads.get_mut(bucket) {
            *head = next;
        }
        if next == NONE
            && let Some(occupied) = self.occupied.get_mut(bucket / BUCKETS)
        {
            *occupied &= !(1 << (bucket % BUCKETS));
        }
    }

    /// The next entry to look at, to remove all that is due before `target`, which is not past. The
    /// caller expires it or links it again with a time not before `target`, and asks again.
    pub(super) fn next(&mut self, target: u32) -> Next {
        loop {
            if let Some(&number) = self.heads.last()
                && number != NONE
            {
                return Next::Look(number);
            }
            if let Some(number) = self.entered() {
                return Next::Look(number);
            }
            let Some((level, bucket)) = self.first_occupied() else {
                self.now = self.now.max(target);
                return Next::Nothing(u32::MAX);
            };
            // The higher digits of now, this bucket's digit, then zeroes.
            let above = u64::from(self.now) >> shift(level) >> DIGIT << DIGIT;
            let start = (above | bucket as u64) << shift(level);
            let start = u32::try_from(start).unwrap_or(u32::MAX);
            if start >= target {
                self.now = self.now.max(target);
                return Next::Nothing(start);
            }
            self.now = self.now.max(start);
            if level == 0 {
                return Next::Look(self.head(0, bucket));
            }
        }
    }

    fn head(&self, level: usize, bucket: usize) -> EntryNumber {
        self.heads.get(level * BUCKETS + bucket).copied().unwrap_or(NONE)
    }

    /// An entry of a higher bucket that `now` has entered, and which belongs further down.
    fn entered(&self) -> Option<EntryNumber> {
        (1..LEVELS)
            .map(|level| self.head(level, digit(self.now, level)))
            .find(|&number| number != NONE)
    }

    fn first_occupied(&self) -> Option<(usize, usize)> {
        self.occupied.iter().enumerate().find_map(|(level, &occupied)| {
            let ahead = occupied & (u64::MAX << digit(self.now, level));
            (ahead != 0).then(|| (level, ahead.trailing_zeros() as usize))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::Key;
    use super::*;

    /// A wheel over values that are their own deadlines, driven as a shard drives it.
    struct Run {
        wheel: Wheel,
        slab: Slab<u32>,
        looks: usize,
    }

    impl Run {
        fn new(now: u32) -> Self {
            Run { wheel: Wheel::new(now), slab: Slab::new(), looks: 0 }
        }

        fn add(&mut self, due: u32) -> EntryNumber {
            let number = self.slab.insert(Key::new(1, b"").unwrap(), due).unwrap();
            self.wheel.link(&mut self.slab, number, due);
            number
        }

        fn expire(&mut self, target: u32) -> Vec<u32> {
            let mut out = Vec::new();
            while let Next::Look(number) = self.wheel.next(target) {
                self.looks += 1;
                self.wheel.unlink(&mut self.slab, number);
                let due = self.slab.get(number).unwrap().value.unwrap();
                if due < target {
                    out.push(self.slab.remove(number).unwrap());
                } else {
                    self.wheel.link(&mut self.slab, number, due);
                }
            }
            out
        }
    }

    #[test]
    fn every_entry_expires_exactly_when_due() {
        let start = 1_800_000_000;
        let mut run = Run::new(start);
        let mut dues: Vec<u32> =
            (0..5000_u32).map(|n| start + n.wrapping_mul(2_654_435_761) % 500_000).collect();
        dues.extend([0, start - 1, start, u32::MAX, u32::MAX - 1]);
        for &due in &dues {
            run.add(due);
        }
        for target in (start..start + 520_000).step_by(977) {
            let mut expected: Vec<u32> = dues.iter().copied().filter(|&due| due < target).collect();
            dues.retain(|&due| due >= target);
            let mut expired = run.expire(target);
            expected.sort_unstable();
            expired.sort_unstable();
            assert_eq!(expired, expected);
        }
        assert_eq!(dues, [u32::MAX, u32::MAX - 1]);
        assert!(run.looks < 5 * 5005, "an entry moves once a level at most: {}", run.looks);
    }

    #[test]
    fn unlinked_entries_never_come() {
        let mut run = Run::new(1000);
        let numbers: Vec<EntryNumber> = (0..300).map(|n| run.add(1000 + n * 7)).collect();
        for &number in numbers.iter().step_by(2) {
            run.wheel.unlink(&mut run.slab, number);
            run.slab.remove(number);
        }
        assert_eq!(run.expire(10_000).len(), 150);
        assert_eq!(run.wheel.next(20_000), Next::Nothing(u32::MAX));
        assert_eq!(run.wheel.occupied, [0; LEVELS]);
    }

    #[test]
    fn says_when_to_come_again() {
        let mut run = Run::new(1000);
        run.add(1010);
        assert_eq!(run.wheel.next(1005), Next::Nothing(1010));
        assert_eq!(run.wheel.next(1010), Next::Nothing(1010));
        assert!(matches!(run.wheel.next(1011), Next::Look(_)));
    }
}

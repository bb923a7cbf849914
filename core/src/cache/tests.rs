//! The cache against a simple model, and its promises one by one.

use super::model::{Model, Operation, SESSIONS};
use super::*;
use std::ops::Range;
use std::sync::Arc;

impl Value for u32 {}
impl Value for Arc<()> {}

pub(super) fn key(n: u32) -> Key {
    Key::new(0x0303, &n.to_be_bytes()).unwrap()
}

pub(super) fn fill(
    cache: &Cache<u32>,
    range: Range<u32>,
    deadline_of: impl Fn(&u32) -> i64,
    now: i64,
) {
    for n in range {
        cache.add(key(n), n, deadline_of(&n), now);
    }
}

fn far(_: &u32) -> i64 {
    i64::MAX
}

#[test]
fn finds_what_was_added_and_nothing_else() {
    let cache = Cache::new(0, 2);
    for n in 0..100_000 {
        assert!(cache.add(key(n), n, 1000, 0).new);
    }
    assert_eq!(cache.len(), 100_000);
    assert!((0..100_000).all(|n| cache.get(&key(n)) == Some(n)));
    assert!((100_000..200_000).all(|n| cache.get(&key(n)).is_none() && !cache.contains(&key(n))));
    for n in (0..100_000).step_by(2) {
        assert_eq!(cache.remove(&key(n)), Some(n));
        assert_eq!(cache.remove(&key(n)), None);
    }
    assert!((0..100_000).all(|n| cache.contains(&key(n)) == (n % 2 == 1)));
    assert_eq!(cache.snapshot(|_| true).len(), 50_000);
}

#[test]
fn a_value_under_the_same_key_replaces() {
    let cache = Cache::new(10, 2);
    assert_eq!(cache.add(key(1), 1, 0, 0), Added { new: true, displaced: None, evicted: None });
    assert_eq!(cache.add(key(1), 1, 0, 0), Added { new: false, displaced: None, evicted: None });
    let added = cache.add(key(1), 2, 0, 0);
    assert_eq!(added, Added { new: true, displaced: Some(1), evicted: None });
    assert_eq!((cache.len(), cache.get(&key(1))), (1, Some(2)));
    assert_eq!(cache.remove_if(&key(1), |&value| value == 1), None);
    assert_eq!(cache.remove_if(&key(1), |&value| value == 2), Some(2));
}

/// Adds values for strangers who never come back. Returns those that made room, in order.
fn strangers(cache: &Cache<u32>, range: Range<u32>) -> Vec<u32> {
    range.filter_map(|n| cache.add(key(n), n, i64::MAX, 0).evicted).collect()
}

#[test]
fn a_newcomer_that_nobody_used_makes_room_first() {
    let cache = Cache::new(10, 2);
    assert_eq!(strangers(&cache, 0..10), []);
    cache.get(&key(0));
    // An entry that was used once goes to the main part.
    assert_eq!(strangers(&cache, 10..18), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(cache.contains(&key(0)));
    // An entry that is added again is the newest of its part.
    cache.add(key(9), 9, i64::MAX, 0);
    assert_eq!(strangers(&cache, 18..19), [10]);
}

#[test]
fn the_main_part_gives_room_while_newcomers_have_little() {
    let cache = Cache::new(10, 2);
    strangers(&cache, 0..10);
    for n in 0..10 {
        cache.get(&key(n));
    }
    // All go to the main part, then two newcomers are no more than a fifth.
    assert_eq!(strangers(&cache, 10..13), [0, 1, 2]);
    assert_eq!(strangers(&cache, 13..14), [10]);
}

#[test]
fn the_part_whose_sessions_are_asked_for_grows() {
    let cache = Cache::new(100, 2);
    let come_back = |regulars: Range<u32>| {
        for n in regulars {
            cache.add(key(n), n, i64::MAX, 0);
            cache.raise(&key(n), Standing::CAME_BACK);
        }
    };
    let ask_for = |gone: Range<u32>| gone.filter(|&n| cache.had_to_go(&key(n)).is_some()).count();
    let kept = |regulars: Range<u32>| regulars.filter(|&n| cache.contains(&key(n))).count();
    come_back(0..100);
    strangers(&cache, 1000..1200);
    // Four fifths, but for the newcomer that was added last.
    assert_eq!(kept(0..100), 79);
    // New clients are worth more than the regulars, whom nobody asks for.
    assert!(ask_for(1100..1150) > 40);
    strangers(&cache, 1200..1300);
    assert_eq!(kept(0..100), 4);
    // The regulars come back.
    assert!(ask_for(50..95) > 35);
    come_back(100..200);
    strangers(&cache, 2000..2200);
    assert_eq!(kept(100..200), 90);
}

#[test]
fn a_burst_counts_as_one_visit() {
    let burst = |uses_before: u32| {
        let cache = Cache::new(1000, 2);
        strangers(&cache, 0..1000);
        for n in 1000..1400 {
            if (0..uses_before).contains(&(n - 1000)) {
                cache.get(&key(1000));
            }
            cache.add(key(n), n, i64::MAX, 0);
        }
        strangers(&cache, 1400..2500);
        cache.contains(&key(1000))
    };
    // 1000 is used after each of the next adds: for a sixteenth of the cache that is one visit.
    assert!(!burst(60));
    assert!(burst(400));
}

#[test]
fn a_spent_ticket_goes_first_and_its_successor_inherits() {
    let cache = Cache::new(100, 2);
    strangers(&cache, 0..100);
    cache.raise(&key(7), Standing::CAME_BACK);
    let mut last = 7;
    for n in 100..1000 {
        let standing = cache.spend(cache.key_hash(&key(last)));
        assert_eq!(cache.add(key(n), n, i64::MAX, 0).evicted, Some(last));
        cache.raise(&key(n), standing);
        last = n;
    }
    // Nobody else had to go, and the last one stays though strangers come.
    assert!((0..100).all(|n| cache.contains(&key(n)) == (n != 7)));
    strangers(&cache, 1000..2000);
    assert!(cache.contains(&key(last)));
}

#[test]
fn each_successor_of_a_ticket_inherits() {
    let cache = Cache::new(100, 2);
    strangers(&cache, 0..50);
    cache.raise(&key(7), Standing::CAME_BACK);
    // A client opens three connections with one ticket at once.
    for n in 50..53 {
        let standing = cache.spend(cache.key_hash(&key(7)));
        cache.add(key(n), n, i64::MAX, 0);
        cache.raise(&key(n), standing);
    }
    strangers(&cache, 1000..2000);
    assert!((50..53).all(|n| cache.contains(&key(n))) && !cache.contains(&key(7)));
    // Added again it is where it was.
    cache.spend(cache.key_hash(&key(52)));
    cache.add(key(52), 52, i64::MAX, 0);
    strangers(&cache, 2000..3000);
    assert!(cache.contains(&key(52)));
}

#[test]
fn who_had_to_go_is_known() {
    let cache = Cache::new(500, 2);
    strangers(&cache, 0..1000);
    let known = (0..500).filter(|&n| cache.had_to_go(&key(n)).is_some()).count();
    assert!(known > 450, "{known} of 500 are known");
    let taken = (1_000_000..1_100_000).filter(|&n| cache.had_to_go(&key(n)).is_some()).count();
    assert!(taken < 50, "{taken} of 100,000 strangers are taken for old friends");
    // Not those that were spent, nor those that are there.
    cache.spend(cache.key_hash(&key(900)));
    strangers(&cache, 1000..1001);
    assert!(!cache.contains(&key(900)) && cache.had_to_go(&key(900)).is_none());
}

#[test]
fn capacity_is_exact_over_all_shards() {
    let cache = Cache::new(5000, 2);
    assert!(shard_count(5000, 2) > 1);
    let mut evicted = 0;
    for n in 0..50_000 {
        let added = cache.add(key(n), n, 0, 0);
        assert!(added.new && cache.len() <= 5000);
        evicted += added.evicted.iter().count();
    }
    assert_eq!((cache.len(), evicted), (5000, 45_000));
    assert_eq!(cache.set_capacity(100), 5000);
    assert!(cache.add(key(50_000), 50_000, 0, 0).new);
    while cache.evict_excess().is_some() {}
    assert_eq!(cache.len(), 100);
    cache.set_capacity(0);
    fill(&cache, 0..10_000, |_| 0, 0);
    assert!(cache.len() >= 10_000);
}

#[test]
fn a_full_cache_takes_from_another_shard_when_its_own_is_empty() {
    let cache = Cache::new(2000, 2);
    fill(&cache, 0..2000, |_| 0, 0);
    cache.set_capacity(1);
    while cache.evict_excess().is_some() {}
    for n in 2000..2100 {
        let added = cache.add(key(n), n, 0, 0);
        assert!(added.new && added.evicted.is_some());
        assert_eq!(cache.len(), 1);
    }
}

#[test]
fn expires_strictly_after_the_deadline_a_few_at_a_time() {
    let cache = Cache::new(0, 2);
    let deadline_of = |&n: &u32| 1000 + i64::from(n % 10);
    fill(&cache, 0..1000, deadline_of, 900);
    assert!(cache.expire(1000, deadline_of).is_empty());
    let mut left = 1000;
    for now in 1001..=1010 {
        loop {
            let batch: Vec<u32> = cache.expire(now, deadline_of).into_iter().collect();
            assert!(batch.len() <= 16 && batch.iter().all(|n| deadline_of(n) < now));
            left -= batch.len();
            assert_eq!(cache.len(), left);
            if now <= i64::from(cache.earliest.load(Relaxed)) {
                break;
            }
        }
        assert_eq!(left, 1000 - 100 * usize::try_from(now - 1000).unwrap());
    }
}

#[test]
fn a_deadline_that_moved_away_is_noticed_when_it_comes() {
    let cache = Cache::new(0, 2);
    cache.add(key(1), 1, 1000, 900);
    let mut gone = Vec::new();
    cache.flush(1500, 1500, false, |_| 2000, |value| gone.push(value));
    assert_eq!((gone.len(), cache.len()), (0, 1));
    cache.flush(2001, 2001, false, |_| 2000, |value| gone.push(value));
    assert_eq!((gone.len(), cache.len()), (1, 0));
}

#[test]
fn a_deadline_that_came_nearer_is_found_by_a_walk_or_when_told() {
    for told in [false, true] {
        let cache = Cache::new(0, 2);
        cache.add(key(1), 1, 5000, 900);
        if told {
            cache.set_deadline(&key(1), 1000, |_| true);
        }
        let mut gone = Vec::new();
        cache.flush(1001, 1001, !told, |_| 1000, |value| gone.push(value));
        assert_eq!(gone, [1]);
    }
}

#[test]
fn a_walk_puts_what_stays_where_it_belongs() {
    let cache = Cache::new(0, 2);
    cache.add(key(1), 1, 5000, 900);
    let mut gone = Vec::new();
    cache.flush(950, 950, true, |_| 1000, |value| gone.push(value));
    assert!(gone.is_empty());
    cache.flush(1001, 1001, false, |_| 1000, |value| gone.push(value));
    assert_eq!(gone, [1]);
}

#[test]
fn flush_of_any_time_is_exact() {
    let deadline_of = |&n: &u32| 1_000_000 + i64::from(n) * 7;
    for (at, now) in [(1_003_500, 1_003_500), (1_003_500, 900_000), (1_003_500, 2_000_000)] {
        let cache = Cache::new(0, 2);
        fill(&cache, 0..1000, deadline_of, 900_000);
        let mut gone = Vec::new();
        cache.flush(at, now, false, deadline_of, |value| gone.push(value));
        gone.sort_unstable();
        assert_eq!(gone, (0..500).collect::<Vec<u32>>());
        cache.flush(i64::MAX, now, false, deadline_of, |value| gone.push(value));
        assert_eq!((gone.len(), cache.len()), (1000, 0));
    }
}

#[test]
fn a_clock_that_is_set_back_neither_hangs_nor_forgets() {
    let deadline_of = |&n: &u32| 1000 + i64::from(n);
    let cache = Cache::new(0, 2);
    fill(&cache, 0..100, deadline_of, 900);
    cache.flush(1050, 1050, false, deadline_of, |_| ());
    fill(&cache, 0..50, deadline_of, 900);
    let mut gone = cache.expire(1010, deadline_of).into_iter().count();
    cache.flush(1010, 1010, false, deadline_of, |_| gone += 1);
    assert_eq!((gone, cache.len()), (10, 90));
    cache.flush(1090, 1090, false, deadline_of, |_| gone += 1);
    assert_eq!((gone, cache.len()), (90, 10));
}

#[test]
fn never_expires_what_has_no_end() {
    let cache = Cache::new(0, 2);
    cache.add(key(1), 1, i64::MAX, 0);
    cache.flush(i64::from(u32::MAX) - 1, i64::from(u32::MAX) - 1, false, far, |_| panic!());
    cache.flush(i64::MAX, 0, false, far, |_| panic!());
    assert_eq!(cache.len(), 1);
    cache.drain(0, |value| assert_eq!(value, 1));
    assert!(cache.is_empty());
    // A drain leaves nothing behind.
    assert!(cache.add(key(1), 1, 5, 0).new);
    cache.flush(6, 6, false, |_| 5, |value| assert_eq!(value, 1));
    assert!(cache.is_empty());
}

/// A small deterministic generator (xorshift), so that a failure can be run again.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Names the step that failed, so that it can be run again.
struct Step {
    seed: u64,
    number: u32,
}

impl Drop for Step {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {} step {}", self.seed, self.number);
        }
    }
}

fn operation(random: &mut Random) -> Operation {
    let session = u32::try_from(random.below(u64::from(SESSIONS))).unwrap();
    let mut seconds = |below| i64::try_from(random.below(below)).unwrap();
    match seconds(1000) {
        0..400 => Operation::Add { session, deadline: seconds(500) - 5 },
        400..600 => Operation::Get { session },
        600..660 => {
            let spent = u32::try_from(seconds(60)).unwrap();
            Operation::Succeed { spent, session }
        }
        660..700 => Operation::CameBack { session },
        700..800 => Operation::Remove { session },
        800..880 => Operation::Flush { passed: seconds(40), walk: false },
        880..890 => Operation::Flush { passed: seconds(40), walk: true },
        890..950 => Operation::SetDeadline { session, deadline: seconds(5000) },
        950..990 => Operation::Expire,
        990..999 => Operation::Resize { capacity: usize::try_from(seconds(40)).unwrap() },
        _ => Operation::Drain,
    }
}

/// The same operations on the cache and on a list in order of age.
#[test]
fn behaves_like_the_model() {
    for seed in 1..=20_u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut model = Model::new(usize::try_from(seed % 7 * 5).unwrap());
        for number in 0..20_000 {
            let _step = Step { seed, number };
            model.apply(operation(&mut random));
        }
    }
}

/// All operations from several threads. No value is lost or handed out twice. Count and capacity
/// hold at the end and in between.
#[test]
fn threads_lose_nothing() {
    const THREADS: u32 = 4;
    const EACH: u32 = 20_000;
    let cache = Cache::new(3000, 2);
    let token = Arc::new(());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (cache, token) = (&cache, &token);
            scope.spawn(move || {
                let mut random = Random(u64::from(thread) + 1);
                for step in 0..EACH {
                    let n = u32::try_from(random.below(5000)).unwrap();
                    let now = 1000 + i64::from(step / 100);
                    match random.below(8) {
                        0..=2 => drop(cache.add(key(n), token.clone(), now + 20, now)),
                        3..=4 => drop(cache.get(&key(n))),
                        5 => drop(cache.remove(&key(n))),
                        6 => drop(cache.expire(now, |_| now - 1)),
                        _ if step % 500 == 0 => cache.flush(now, now, true, |_| now, drop),
                        _ => drop(cache.contains(&key(n))),
                    }
                    assert!(cache.len() <= 3000);
                }
            });
        }
    });
    assert_eq!(Arc::strong_count(&token), cache.len() + 1);
    assert_eq!(cache.snapshot(|_| true).len(), cache.len());
    drop(cache);
    assert_eq!(Arc::strong_count(&token), 1);
}

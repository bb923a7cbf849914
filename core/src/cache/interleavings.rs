//! A few operations of a few threads in many interleavings (`make shuttle`). schedules.rs tells how
//! a failing one is replayed.
//!
//! In each interleaving, no value is lost or handed out twice. The count is right at the end and
//! never above the capacity. No thread waits for ever (shuttle reports a deadlock).

use super::tests::key;
use super::{Cache, Part, Standing, Value};
use crate::schedules::explore;
use std::sync::Arc;

/// A value that is not equal to another one under the same key.
#[derive(Clone, Debug)]
struct Token(Arc<()>);

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Value for Token {}

/// Runs the bodies at once on a cache of this capacity. Afterwards every token is either in the
/// cache or dropped.
fn run(capacity: usize, bodies: &'static [fn(&Cache<Token>, &dyn Fn() -> Token)]) {
    let body = move || {
        let cache = Arc::new(Cache::new(capacity, 1));
        // Shuttle runs all its threads in one thread of the system, and so two of them may not meet
        // in a OnceCell.
        cache.add(key(0), Token(Arc::new(())), 0, 0);
        cache.remove(&key(0));
        let threads: Vec<_> = bodies
            .iter()
            .map(|body| {
                let cache = cache.clone();
                shuttle::thread::spawn(move || {
                    let tokens = std::cell::RefCell::new(Vec::new());
                    body(&cache, &|| {
                        let token = Token(Arc::new(()));
                        tokens.borrow_mut().push(Arc::downgrade(&token.0));
                        token
                    });
                    assert!(capacity == 0 || cache.len() <= capacity);
                    tokens.into_inner()
                })
            })
            .collect();
        let tokens: Vec<_> =
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let living = tokens.iter().filter(|token| token.strong_count() > 0).count();
        assert_eq!(living, cache.len());
        assert_eq!(cache.snapshot(|_| true).len(), cache.len());
        cache.drain(0, drop);
        assert!(cache.is_empty());
        assert!(tokens.iter().all(|token| token.strong_count() == 0));
    };
    explore(body);
}

#[test]
fn adds_of_one_key() {
    run(
        2,
        &[
            |cache, token| drop(cache.add(key(1), token(), 10, 0)),
            |cache, token| drop(cache.add(key(1), token(), 20, 0)),
            |cache, _| drop(cache.remove(&key(1))),
        ],
    );
}

#[test]
fn adds_into_a_full_cache() {
    run(
        1,
        &[
            |cache, token| drop(cache.add(key(1), token(), 10, 0)),
            |cache, token| drop(cache.add(key(2), token(), 10, 0)),
            |cache, token| drop(cache.add(key(3), token(), 10, 0)),
        ],
    );
}

#[test]
fn a_take_has_one_winner() {
    run(
        0,
        &[
            |cache, token| {
                cache.add(key(1), token(), 10, 0);
                let ours = cache.remove(&key(1)).is_some();
                assert!(!ours || cache.remove(&key(1)).is_none());
            },
            |cache, _| drop(cache.remove(&key(1))),
            |cache, _| drop(cache.get(&key(1))),
        ],
    );
}

#[test]
fn a_spent_ticket_makes_room_beside_uses() {
    run(
        2,
        &[
            |cache, token| {
                cache.add(key(1), token(), 10, 0);
                let standing = cache.spend(cache.key_hash(&key(1)));
                cache.add(key(2), token(), 10, 0);
                cache.raise(&key(2), standing);
            },
            |cache, token| {
                cache.add(key(3), token(), 10, 0);
                drop(cache.get(&key(1)));
                cache.raise(&key(1), Standing::CAME_BACK);
            },
            |cache, _| {
                cache.spend(cache.key_hash(&key(1)));
                drop(cache.get(&key(3)));
                let _: Option<Part> = cache.had_to_go(&key(1));
            },
        ],
    );
}

#[test]
fn expiry_beside_adds_and_drains() {
    run(
        0,
        &[
            |cache, token| {
                cache.add(key(1), token(), 10, 0);
                drop(cache.expire(20, |_| 10));
            },
            |cache, token| {
                cache.add(key(2), token(), 10, 0);
                cache.flush(20, 20, false, |_| 10, drop);
            },
            |cache, _| cache.drain(0, drop),
        ],
    );
}

#[test]
fn a_capacity_that_shrinks() {
    run(
        0,
        &[
            |cache, token| {
                cache.add(key(1), token(), 10, 0);
                cache.add(key(2), token(), 10, 0);
            },
            |cache, token| {
                cache.set_capacity(1);
                while cache.evict_excess().is_some() {}
                drop(cache.add(key(3), token(), 10, 0));
            },
            |cache, _| cache.sweep(i64::MAX, |_| 0, drop),
        ],
    );
}

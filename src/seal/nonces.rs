//! Nonces, drawn many at once: OpenSSL's generator takes for one nearly as long as for many.
//!
//! Those in stock lie in a page that the kernel wipes for a forked child: parent and child never take the
//! same one. A word of the page says how many there are, and that this process has filled the page. So a
//! child knows that it is one. Where the kernel wipes nothing, each is drawn when it is needed. A nonce is no
//! secret, and is given out once.
//!
//! A signal handler may fork at any point of this code, and the child may go on from there. So nothing
//! that was read before is believed without a look at the page afterwards.

use crate::openssl::failed::Failed;
use crate::openssl::generator::Generator;
use sesscache_core::system::wiped::{WORDS, WipedPage};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, compiler_fence};

/// Bytes of a nonce.
pub(super) const NONCE_BYTES: usize = 24;

type Nonce = [u8; NONCE_BYTES];

/// Words of a nonce.
const NONCE_WORDS: usize = NONCE_BYTES / size_of::<u64>();
/// So many are drawn at once; the page has a word for their number, too.
const STOCK: usize = (WORDS - 1) / NONCE_WORDS;
/// In the word of the number, which is 0 in a new page and for a forked child: this process has filled the page.
const FILLED: u64 = 1 << 32;
/// The word while the stock is filled.
const FILLING: u64 = u64::MAX;
/// A child that was forked in the middle fills its stock again.
const TRIES: usize = 2;

/// The nonces that one thread at a time draws.
pub(super) struct Nonces {
    /// `None` if the kernel wipes no page.
    page: Option<WipedPage>,
}

impl Nonces {
    /// Without any in stock.
    pub(super) fn new() -> Nonces {
        Nonces { page: WipedPage::new() }
    }

    /// A nonce that nobody has had or gets, and whether the process is known to be the one that drew the last one,
    /// and no child that was forked since.
    pub(super) fn draw(&mut self, generator: Generator) -> Result<(Nonce, bool), Failed> {
        if let Some(stock) = self.page.as_ref().and_then(Stock::of) {
            let mut is_same_process = true;
            for _ in 0..TRIES {
                if let Some(nonce) = stock.take() {
                    return Ok((nonce, is_same_process));
                }
                is_same_process &= stock.fill(generator)?;
            }
        }
        let mut nonce = [0; NONCE_BYTES];
        generator.fill(&mut nonce).map(|()| (nonce, false))
    }
}

struct Stock<'a> {
    left: &'a AtomicU64,
    places: &'a [[AtomicU64; NONCE_WORDS]],
}

impl Stock<'_> {
    #[inline]
    fn of(page: &WipedPage) -> Option<Stock<'_>> {
        let (left, rest) = page.words().split_first()?;
        Some(Stock { left, places: rest.as_chunks().0 })
    }

    /// Takes one; `None` if there is none. A word that is 0 was wiped.
    #[inline]
    fn take(&self) -> Option<Nonce> {
        let last = (self.left.load(Relaxed) & (FILLED - 1)).checked_sub(1)?;
        let place = self.places.get(usize::try_from(last).ok()?)?;
        self.left.store(FILLED | last, Relaxed);
        let mut nonce = [0; NONCE_BYTES];
        let mut is_whole = true;
        for (bytes, word) in nonce.as_chunks_mut().0.iter_mut().zip(place) {
            let value = word.load(Relaxed);
            word.store(0, Relaxed);
            is_whole &= value != 0;
            *bytes = value.to_ne_bytes();
        }
        if !is_whole {
            self.left.store(0, Relaxed);
        }
        is_whole.then_some(nonce)
    }

    /// Draws so many as there are places. In a child that was forked meanwhile there are none then. Whether this
    /// process has filled the page before.
    #[cold]
    fn fill(&self, generator: Generator) -> Result<bool, Failed> {
        // Each in one step, so that a child does not pass for its parent.
        let change = |from, to| self.left.compare_exchange(from, to, Relaxed, Relaxed).is_ok();
        let is_same_process = change(FILLED, FILLING);
        if !is_same_process {
            self.left.store(FILLING, Relaxed);
        }
        compiler_fence(SeqCst);
        let mut drawn = [[0; NONCE_BYTES]; STOCK];
        generator.fill(drawn.as_flattened_mut())?;
        for (place, nonce) in self.places.iter().zip(&drawn) {
            for (word, bytes) in place.iter().zip(nonce.as_chunks().0) {
                word.store(u64::from_ne_bytes(*bytes), Relaxed);
            }
        }
        compiler_fence(SeqCst);
        let is_filled = change(FILLING, FILLED | STOCK as u64);
        if !is_filled {
            self.left.store(0, Relaxed);
        }
        Ok(is_same_process && is_filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openssl::libssl::libssl_in_test;
    use std::collections::HashSet;
    use std::ptr;

    fn generator() -> Generator {
        Generator::new(libssl_in_test(), ptr::null_mut())
    }

    #[test]
    fn no_two_are_the_same() {
        let mut nonces = Nonces::new();
        let drawn: Vec<_> = (0..3 * STOCK).map(|_| nonces.draw(generator()).unwrap()).collect();
        assert_eq!(drawn.iter().map(|(nonce, _)| nonce).collect::<HashSet<_>>().len(), 3 * STOCK);
        let same = drawn.iter().map(|(_, is_same_process)| is_same_process);
        assert!(
            same.eq(std::iter::once(&false).chain([&true; 3 * STOCK - 1])),
            "all but the first"
        );
        assert!(nonces.page.is_some(), "this kernel wipes pages");
    }

    #[test]
    fn without_a_page_each_is_drawn_by_itself() {
        let mut nonces = Nonces { page: None };
        let drawn: HashSet<_> = (0..10).map(|_| nonces.draw(generator()).unwrap()).collect();
        assert_eq!(drawn.len(), 10);
        assert!(drawn.iter().all(|(_, is_same_process)| !is_same_process));
    }

    /// The page as a child finds it that was forked in the middle of `take`.
    #[test]
    fn a_wiped_nonce_is_not_given_out() {
        let mut nonces = Nonces::new();
        nonces.draw(generator()).unwrap();
        let page = nonces.page.as_ref().unwrap();
        let words = page.words();
        words[1..].iter().for_each(|word| word.store(0, Relaxed));
        assert_eq!(Stock::of(page).unwrap().take(), None);
        assert_eq!(words[0].load(Relaxed), 0, "nor any of the others");
        words[0].store(FILLING, Relaxed);
        assert_eq!(Stock::of(page).unwrap().take(), None);
        let (nonce, is_same_process) = nonces.draw(generator()).unwrap();
        assert!(nonce != [0; NONCE_BYTES] && !is_same_process);
        assert!(nonces.draw(generator()).unwrap().1);
    }

    /// The page as a child finds it that was forked when the stock was full, or had come to its end.
    #[test]
    fn a_child_knows_that_it_is_one() {
        for drawn in [1, STOCK] {
            let mut nonces = Nonces::new();
            assert_eq!((0..drawn).filter_map(|_| nonces.draw(generator()).ok()).count(), drawn);
            let words = nonces.page.as_ref().unwrap().words();
            words.iter().for_each(|word| word.store(0, Relaxed));
            assert!(!nonces.draw(generator()).unwrap().1, "{drawn}");
            assert!(nonces.draw(generator()).unwrap().1, "{drawn}");
        }
    }
}

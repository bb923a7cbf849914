//! The templates of this process: so many shapes of sessions, those that are used least go first.
//!
//! A client's certificate is of the shape, so each has a template of its own.
//!
//! Locks: one for the templates, tried and never waited for, for the length of a copy. Without it a
//! session is decoded. No callback of the application runs under it.

use crate::openssl::boxed;
use crate::openssl::cut::Cut;
use crate::openssl::failed::Failed;
use crate::openssl::handle::Session;
use crate::openssl::table::Libssl;
use crate::openssl::template::{Template, may_copy};
use parking_lot::RwLock;
use sesscache_core::system::seed::{Purpose, seed};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// With a certificate of usual size, so many take 1.5 MB.
const MOST_TEMPLATES: usize = 256;

/// After so many have made room, each counts half of its uses.
const HALF_LIFE: usize = 4 * MOST_TEMPLATES;

static TEMPLATES: RwLock<Templates> = RwLock::new(Templates { kept: Vec::new(), gone: 0 });

struct Templates {
    /// In the order of their hashes.
    kept: Vec<Kept>,
    /// So many have made room since uses were halved.
    gone: usize,
}

struct Kept {
    hash: u64,
    uses: AtomicU32,
    template: Box<Template>,
}

/// The session of these bytes, and nothing behind it: a copy, if there is a template, or decoded.
pub(super) fn decode(libssl: &'static Libssl, der: &[u8]) -> Result<Session, Failed> {
    let copied = || {
        let cut = Cut::of(der).filter(|_| may_copy(libssl))?;
        let hash = hash(&cut)?;
        let copied = TEMPLATES.try_read()?.copy(libssl, &cut, hash);
        copied.unwrap_or_else(|| make(libssl, &cut, hash))
    };
    copied().map_or_else(|| Session::from_der(libssl, der), Ok)
}

fn hash(cut: &Cut<'_>) -> Option<u64> {
    let [first, second] = seed(Purpose::Shapes)?;
    let mut hasher = SipHasher13::new_with_keys(first, second);
    cut.hash_shape(&mut hasher);
    Some(hasher.finish())
}

/// Makes a template, and the session from it.
#[cold]
fn make(libssl: &'static Libssl, cut: &Cut<'_>, hash: u64) -> Option<Session> {
    let (template, session) = Template::new(libssl, cut)?;
    let template = boxed::try_new(template)?;
    let gone = TEMPLATES.try_write().map(|mut templates| templates.keep(hash, template));
    // Where no lock is held.
    drop(gone);
    session
}

impl Templates {
    /// `None` if there is no template; `Some(None)` if it is one of which there are no copies.
    fn copy(&self, libssl: &'static Libssl, cut: &Cut<'_>, hash: u64) -> Option<Option<Session>> {
        let place = self.kept.binary_search_by_key(&hash, |kept| kept.hash).ok()?;
        let kept = self.kept.get(place).filter(|kept| kept.template.is_for(cut))?;
        // Not a step of its own: a count that is lost does not matter.
        kept.uses.store(kept.uses.load(Relaxed).saturating_add(1), Relaxed);
        Some(kept.template.copy(libssl, cut))
    }

    /// Keeps a template, and returns one that is not kept.
    fn keep(&mut self, hash: u64, template: Box<Template>) -> Option<Box<Template>> {
        let new = Kept { hash, uses: AtomicU32::new(1), template };
        let same = |kept: &Kept| kept.hash;
        if let Ok(place) = self.kept.binary_search_by_key(&hash, same) {
            let place = self.kept.get_mut(place)?;
            return Some(std::mem::replace(place, new).template);
        }
        let gone = self.make_room();
        if self.kept.try_reserve(1).is_err() {
            return Some(new.template);
        }
        let place = self.kept.partition_point(|kept| kept.hash < hash);
        self.kept.insert(place, new);
        gone
    }

    /// Takes out the one that is used least, if there are as many as there can be.
    fn make_room(&mut self) -> Option<Box<Template>> {
        if self.kept.len() < MOST_TEMPLATES {
            return None;
        }
        self.gone += 1;
        if self.gone == HALF_LIFE {
            self.gone = 0;
            self.kept.iter_mut().for_each(|kept| *kept.uses.get_mut() /= 2);
        }
        let uses = |(_, kept): &(usize, &Kept)| kept.uses.load(Relaxed);
        let (place, _) = self.kept.iter().enumerate().min_by_key(uses)?;
        Some(self.kept.remove(place).template)
    }
}

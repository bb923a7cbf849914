//! What this process knows of the shapes of sessions, so that most are neither decoded nor encoded.
//!
//! - Templates, of which sessions out of the store are copied. A client's certificate is of the shape,
//!   so each has one of its own.
//! - The encoding of shapes, into which the rest of a session is put.
//!
//! Locks: one for each of the two, tried and never waited for, for the length of a copy. Without it a
//! session is decoded or encoded. No callback of the application runs under it.

use super::least_used::LeastUsed;
use crate::compact::shape::{Parts, Shape};
use crate::compact::{Known, append_short, restore};
use crate::openssl::boxed;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::facts::Facts;
use crate::openssl::failed::Failed;
use crate::openssl::handle::{Session, SessionRef};
use crate::openssl::scratch::Scratch;
use crate::openssl::side_data;
use crate::openssl::table::Libssl;
use crate::openssl::template::{Template, may_copy};
use crate::seal::lanes::Lanes;
use parking_lot::RwLock;
use sesscache_core::system::seed::{Purpose, seed};
use sesscache_core::system::wipe::Wiped;
use siphasher::sip::SipHasher13;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// With a certificate of usual size, as many as it holds take 1.5 MB.
static TEMPLATES: RwLock<LeastUsed<Template>> = RwLock::new(LeastUsed::new());

static ENCODINGS: RwLock<LeastUsed<Encoding>> = RwLock::new(LeastUsed::new());

/// Connections to ask about sessions.
static SCRATCHES: Lanes<Scratch> = Lanes::new();

/// False, true once none could be made: each session is encoded then.
static HAS_NO_SCRATCH: AtomicBool = AtomicBool::new(false);

/// The shape of the sessions with these facts.
struct Encoding {
    facts: Vec<u8>,
    shape: Shape,
}

fn hash(write: impl FnOnce(&mut SipHasher13)) -> Option<u64> {
    let [first, second] = seed(Purpose::Shapes)?;
    let mut hasher = SipHasher13::new_with_keys(first, second);
    write(&mut hasher);
    Some(hasher.finish())
}

/// The session of these bytes, as [`append`] appends them: a copy, if there is a template, or decoded.
pub(super) fn decode(
    libssl: &'static Libssl,
    short: &[u8],
    known: &Known<'_>,
) -> Result<Session, Failed> {
    let copied = || {
        let parts = Parts::of(short, known).filter(|_| may_copy(libssl))?;
        let is_it = |template: &Template| template.is_for(&parts, known);
        let mut shape = None;
        let hash = || {
            let shape = shape.insert(Shape::of(&parts, known)?);
            hash(|hasher| shape.hash(hasher))
        };
        let templates = TEMPLATES.try_read()?;
        match templates.find(is_it, hash) {
            Ok(template) => template.copy(libssl, &parts.fields, known),
            Err(hash) => {
                drop(templates);
                make(libssl, shape?, hash?, &parts, known)
            }
        }
    };
    let decoded = || {
        let der = restore(short, known).ok_or(Failed::Refused)?;
        Session::from_der(libssl, &der)
    };
    copied().map_or_else(decoded, Ok)
}

/// Makes a template, and the session from it.
#[cold]
fn make(
    libssl: &'static Libssl,
    shape: Shape,
    hash: u64,
    parts: &Parts<'_>,
    known: &Known<'_>,
) -> Option<Session> {
    let (template, session) = Template::new(libssl, shape, &parts.fields, known);
    let gone = TEMPLATES.try_write().map(|mut templates| templates.keep(hash, template));
    // Where no lock is held.
    drop(gone);
    session
}

/// Appends a session, shortened, with its secret. The age mask of a TLS 1.3 ticket may be missing, if it
/// is not for early data.
pub(super) fn append(
    session: SessionRef<'_>,
    known: &Known<'_>,
    out: &mut Wiped,
) -> Result<(), Failed> {
    let mut facts = Facts::none();
    let start = out.len();
    let mut append = || {
        read(session, &mut facts).filter(|()| facts.id() == known.id)?;
        let is_it = |encoding: &Encoding| encoding.facts == facts.bytes();
        let encodings = ENCODINGS.try_read()?;
        match encodings.find(is_it, || hash(|hasher| hasher.write(facts.bytes()))) {
            Ok(encoding) => {
                out.reserve(encoding.shape.most_bytes())?;
                encoding.shape.append(&facts.fields(), known, out)
            }
            Err(hash) => {
                drop(encodings);
                append_whole(session, known, out).ok()?;
                learn(out.get(start..)?, known, &facts, hash?);
                Some(())
            }
        }
    };
    append().map_or_else(
        || {
            out.truncate(start);
            append_whole(session, known, out)
        },
        Ok,
    )
}

/// Appends a session that was encoded.
fn append_whole(session: SessionRef<'_>, known: &Known<'_>, out: &mut Wiped) -> Result<(), Failed> {
    let mut der = Wiped::default();
    session.append_der(&mut der)?;
    append_short(out, &der, known).ok_or(Failed::NoMemory)
}

/// Reads the facts about a session. `None` if it must be encoded to know them.
fn read(session: SessionRef<'_>, facts: &mut Facts) -> Option<()> {
    let mut lane = SCRATCHES.take()?;
    if lane.is_none() {
        *lane = Some(new_scratch(session.libssl())?);
    }
    session.read_facts(lane.as_deref_mut()?, facts)
}

/// `None` if none could be made, or if the application would be told of the session that comes of it.
#[cold]
fn new_scratch(libssl: &'static Libssl) -> Option<Box<Scratch>> {
    if HAS_NO_SCRATCH.load(Relaxed) || side_data::has_functions(libssl) {
        return None;
    }
    let _errors = KeepErrors::new(libssl);
    let scratch = Scratch::new(libssl).and_then(boxed::try_new);
    if scratch.is_none() {
        HAS_NO_SCRATCH.store(true, Relaxed);
    }
    scratch
}

/// Keeps the shape of a session with these facts.
#[cold]
fn learn(short: &[u8], known: &Known<'_>, facts: &Facts, hash: u64) {
    let is_as_read = |parts: &Parts<'_>| parts.fields == facts.fields();
    let shape = || Shape::of(&Parts::of(short, known).filter(is_as_read)?, known);
    let mut its_facts = Vec::new();
    if let (Some(shape), Ok(())) = (shape(), its_facts.try_reserve_exact(facts.bytes().len())) {
        its_facts.extend_from_slice(facts.bytes());
        let encoding = Encoding { facts: its_facts, shape };
        let gone = ENCODINGS.try_write().map(|mut encodings| encodings.keep(hash, encoding));
        // Where no lock is held.
        drop(gone);
    }
}

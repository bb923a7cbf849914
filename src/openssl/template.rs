//! Sessions made by copying one of the same shape: a fraction of what decoding costs, most of all
//! with a client's certificate, which the copies share.
//!
//! A template is decoded from bytes, never taken from a connection, and has zeroes for a secret. A copy
//! is compared once for each template, by its encoding, with what was to be decoded. No locks of ours.

use super::cut::{Cut, Fields, Shape};
use super::handle::Session;
use super::side_data;
use super::table::Libssl;
use sesscache_core::cache::MAX_ID_LENGTH;
use zeroize::Zeroizing;

/// The longest secret.
const MOST_SECRET: usize = 512;

/// A template.
#[derive(Debug)]
pub struct Template {
    shape: Shape,
    /// `None` if copies of this shape are not what decoding gives.
    session: Option<Session>,
}

/// Whether a session that was copied is as one that was decoded. Not if the application has a function
/// called for each session that is made, or copied.
pub fn may_copy(libssl: &'static Libssl) -> bool {
    libssl.SSL_SESSION_dup.is_some() && !side_data::has_functions(libssl)
}

impl Template {
    /// The template for sessions of this shape, and the first of them, if copies can be made. `None`
    /// without memory.
    pub fn new(libssl: &'static Libssl, cut: &Cut<'_>) -> Option<(Template, Option<Session>)> {
        let mut template = Template { shape: cut.shape()?, session: None };
        template.session = template.decode(libssl, cut);
        let copy = template.copy(libssl, cut).filter(|copy| template.is_encoded(libssl, copy, cut));
        if copy.is_none() {
            template.session = None;
        }
        Some((template, copy))
    }

    /// A session of this shape, of zeroes.
    fn decode(&self, libssl: &'static Libssl, cut: &Cut<'_>) -> Option<Session> {
        let (id, secret) = ([0; MAX_ID_LENGTH], [0; MOST_SECRET]);
        let (id, secret) = (id.get(..cut.id.len())?, secret.get(..cut.secret.len())?);
        let fields = Fields { id, secret, time: cut.time, timeout: cut.timeout };
        Session::from_der(libssl, &self.shape.to_der(&fields)?).ok()
    }

    /// Whether a session is encoded as what was cut, but for the mask of a ticket's age.
    fn is_encoded(&self, libssl: &'static Libssl, session: &Session, cut: &Cut<'_>) -> bool {
        let mut der = Zeroizing::new(Vec::new());
        session.as_ref(libssl).append_der(&mut der).is_ok()
            && Cut::of(&der).is_some_and(|again| {
                again.has(&self.shape)
                    && (again.id, again.secret) == (cut.id, cut.secret)
                    && (again.time, again.timeout) == (cut.time, cut.timeout)
            })
    }

    /// Whether it is for sessions of this shape.
    pub fn is_for(&self, cut: &Cut<'_>) -> bool {
        cut.has(&self.shape)
    }

    /// The session that was cut; `None` if it is to be decoded. It is for [`Template::is_for`].
    pub fn copy(&self, libssl: &'static Libssl, cut: &Cut<'_>) -> Option<Session> {
        let template = self.session.as_ref()?;
        // SAFETY: a session that nobody changes.
        let copy = unsafe { libssl.SSL_SESSION_dup?(template.as_ptr()) };
        // SAFETY: NULL or a new session, whose reference is ours.
        let copy = unsafe { Session::from_raw(copy) }?;
        let handle = copy.as_ref(libssl);
        let is_set = handle.set_id(cut.id) && handle.set_secret(cut.secret);
        handle.set_time(cut.time);
        handle.set_timeout(cut.timeout);
        is_set.then_some(copy)
    }
}

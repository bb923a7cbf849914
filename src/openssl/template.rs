//! Sessions made by copying one of the same shape: a fraction of what decoding costs, most of all
//! with a client's certificate, which the copies share.
//!
//! A template is decoded from bytes, never taken from a connection, and has zeroes for a secret. A copy
//! is compared once for each template, by its encoding, with what was to be decoded. No locks of ours.

use super::handle::Session;
use super::side_data;
use super::table::Libssl;
use crate::compact::shape::{Fields, Parts, Shape};
use crate::compact::{Known, append_short, restore};
use sesscache_core::cache::MAX_ID_LENGTH;
use sesscache_core::system::wipe::Wiped;

/// The longest secret.
const MOST_SECRET: usize = 256;

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
    /// The template for sessions of this shape, and the first of them, if copies can be made.
    pub fn new(
        libssl: &'static Libssl,
        shape: Shape,
        fields: &Fields<'_>,
        known: &Known<'_>,
    ) -> (Template, Option<Session>) {
        let mut template = Template { shape, session: None };
        template.session = template.decode(libssl, fields, known);
        let copy = template.copy(libssl, fields, known);
        let copy = copy.filter(|copy| template.is_encoded(libssl, copy, fields, known));
        if copy.is_none() {
            template.session = None;
        }
        (template, copy)
    }

    /// A session of this shape, of zeroes.
    fn decode(
        &self,
        libssl: &'static Libssl,
        fields: &Fields<'_>,
        known: &Known<'_>,
    ) -> Option<Session> {
        let (id, secret) = ([0; MAX_ID_LENGTH], [0; MOST_SECRET]);
        let (id, secret) = (id.get(..known.id.len())?, secret.get(..fields.secret.len())?);
        let (fields, known) = (Fields { secret, ..*fields }, Known { id, ..*known });
        let mut short = Vec::new();
        short.try_reserve_exact(self.shape.most_bytes()).ok()?;
        self.shape.append(&fields, &known, &mut short)?;
        Session::from_der(libssl, &restore(&short, &known)?).ok()
    }

    /// Whether a session is encoded as one of this shape with these fields.
    fn is_encoded(
        &self,
        libssl: &'static Libssl,
        session: &Session,
        fields: &Fields<'_>,
        known: &Known<'_>,
    ) -> bool {
        let (mut der, mut short) = (Wiped::default(), Wiped::default());
        let is_it = |parts: Parts<'_>| parts.fields == *fields && self.shape.is_of(&parts, known);
        session.as_ref(libssl).append_der(&mut der).is_ok()
            && append_short(&mut short, &der, known).is_some()
            && Parts::of(&short, known).is_some_and(is_it)
    }

    /// Whether it is for sessions of the shape of this one.
    pub fn is_for(&self, parts: &Parts<'_>, known: &Known<'_>) -> bool {
        self.shape.is_of(parts, known)
    }

    /// The session with these fields; `None` if it is to be decoded. It is for [`Template::is_for`].
    pub fn copy(
        &self,
        libssl: &'static Libssl,
        fields: &Fields<'_>,
        known: &Known<'_>,
    ) -> Option<Session> {
        let template = self.session.as_ref()?;
        // SAFETY: a session that nobody changes.
        let copy = unsafe { libssl.SSL_SESSION_dup?(template.as_ptr()) };
        // SAFETY: NULL or a new session, whose reference is ours.
        let copy = unsafe { Session::from_raw(copy) }?;
        let handle = copy.as_ref(libssl);
        let is_set = handle.set_id(known.id) && handle.set_secret(fields.secret);
        handle.set_time(fields.time);
        handle.set_timeout(fields.timeout);
        is_set.then_some(copy)
    }
}

//! All that the DER of a session says, but for what a shape leaves out, read without encoding it.
//!
//! Two sessions with the same facts are encoded with the same shape. A session has none if it has a
//! client's certificate, a ticket, or any other field that is not read here. The user of SRP has no
//! getter. libssl keeps it in sessions with a cipher of SRP, and these have no facts either. No locks of
//! ours.

use super::cut::Fields;
use super::handle::{SessionRef, bytes};
use super::scratch::Scratch;
use libc::c_uint;
use std::ffi::CStr;
use std::ptr;
use zeroize::Zeroizing;

/// The longest secret that is read.
const MOST_SECRET: usize = 64;

/// Room for the facts of most sessions.
const USUAL_BYTES: usize = 256;

/// The fields of a session that are not of its shape, copied.
#[derive(Debug)]
pub struct OwnFields {
    id: Vec<u8>,
    secret: Zeroizing<Vec<u8>>,
    time: i64,
    timeout: i64,
}

impl OwnFields {
    /// The fields.
    pub fn as_ref(&self) -> Fields<'_> {
        let OwnFields { id, secret, time, timeout } = self;
        Fields { id, secret, time: *time, timeout: *timeout }
    }
}

/// Facts, as bytes that are compared.
struct Facts(Vec<u8>);

impl Facts {
    fn put(&mut self, fact: &[u8]) -> Option<()> {
        let length = u32::try_from(fact.len()).ok()?;
        self.0.try_reserve(size_of::<u32>() + fact.len()).ok()?;
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(fact);
        Some(())
    }

    /// Bytes of the session, or NULL.
    ///
    /// # Safety
    /// `data` is NULL or points to that many bytes.
    unsafe fn put_bytes(&mut self, data: *const u8, length: usize) -> Option<()> {
        // SAFETY: the caller's promise.
        let fact = unsafe { bytes(data, length) }?;
        // libssl encodes what is there and empty.
        if data.is_null() == fact.is_empty() { self.put(fact) } else { None }
    }
}

impl SessionRef<'_> {
    /// The session's facts and its other fields. `None` if it must be encoded to know them.
    pub fn facts(self, scratch: &mut Scratch) -> Option<(Vec<u8>, OwnFields)> {
        let libssl = self.libssl();
        let is_absent = self.has_nothing_beside()?;
        let fields = self.own_fields()?;
        let told = scratch.ask(self).filter(|_| is_absent)?;
        let mut all = Vec::new();
        all.try_reserve_exact(USUAL_BYTES).ok()?;
        let mut facts = Facts(all);
        // SAFETY: a valid session.
        let cipher = unsafe { libssl.SSL_SESSION_get0_cipher?(self.as_ptr()) };
        if cipher.is_null() {
            return None;
        }
        // SAFETY: a valid session.
        let version = unsafe { (libssl.SSL_SESSION_get_protocol_version)(self.as_ptr()) };
        facts.put(&version.to_le_bytes())?;
        facts.put(&cipher.addr().to_le_bytes())?;
        facts.put(&fields.id.len().to_le_bytes())?;
        facts.put(&fields.secret.len().to_le_bytes())?;
        for told in [told.verify_result, told.group, told.extended_master_secret] {
            facts.put(&told.to_le_bytes())?;
        }
        self.put_texts(&mut facts)?;
        Some((facts.0, fields))
    }

    /// The fields that are bytes.
    fn put_texts(self, facts: &mut Facts) -> Option<()> {
        let libssl = self.libssl();
        facts.put(self.id_context())?;
        // SAFETY: a valid session.
        let name = unsafe { libssl.SSL_SESSION_get0_hostname?(self.as_ptr()) };
        // SAFETY: a C string of the session, if it is not NULL.
        let name = (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) });
        facts.put(&[name.is_some().into()])?;
        facts.put(name.map_or(&[], CStr::to_bytes))?;
        let (mut data, mut length) = (ptr::null(), 0);
        // SAFETY: a valid session and places for the answers.
        unsafe {
            libssl.SSL_SESSION_get0_alpn_selected?(self.as_ptr(), &raw mut data, &raw mut length)
        };
        // SAFETY: the session's bytes.
        unsafe { facts.put_bytes(data, length) }?;
        let (mut data, mut length) = (ptr::null_mut(), 0);
        let get = libssl.SSL_SESSION_get0_ticket_appdata?;
        // SAFETY: a valid session and places for the answers.
        unsafe { get(self.as_ptr(), &raw mut data, &raw mut length) };
        // SAFETY: the session's bytes.
        unsafe { facts.put_bytes(data.cast_const().cast(), length) }
    }

    /// Whether it has none of the fields that are no facts. `None` if that cannot be asked.
    fn has_nothing_beside(self) -> Option<bool> {
        let (libssl, session) = (self.libssl(), self.as_ptr());
        // SAFETY: a valid session.
        let has_ticket = unsafe { libssl.SSL_SESSION_has_ticket?(session) } != 0;
        // SAFETY: as above.
        let has_hint = unsafe { libssl.SSL_SESSION_get_ticket_lifetime_hint?(session) } != 0;
        // SAFETY: as above.
        let has_early_data = unsafe { libssl.SSL_SESSION_get_max_early_data?(session) } != 0;
        // SAFETY: as above.
        let is_in_fragments = unsafe { libssl.SSL_SESSION_get_max_fragment_length?(session) } != 0;
        libssl.SSL_SESSION_get_compress_id?;
        let has_any = has_ticket || has_hint || has_early_data || is_in_fragments;
        Some(
            !has_any
                && !self.is_by_shared_key()
                && !self.has_peer()
                && !self.has_raw_public_key()
                && !self.is_compressed(),
        )
    }

    fn own_fields(self) -> Option<OwnFields> {
        let libssl = self.libssl();
        let mut length: c_uint = 0;
        // SAFETY: a valid session and a place for the length.
        let id = unsafe { (libssl.SSL_SESSION_get_id)(self.as_ptr(), &raw mut length) };
        // SAFETY: OpenSSL's id is `length` bytes inside the session.
        let id = unsafe { bytes(id, length as usize) }?;
        let mut secret = Zeroizing::new(Vec::new());
        secret.try_reserve_exact(MOST_SECRET).ok()?;
        secret.resize(MOST_SECRET, 0);
        let get = libssl.SSL_SESSION_get_master_key?;
        // SAFETY: a valid session and that much room.
        let length = unsafe { get(self.as_ptr(), secret.as_mut_ptr(), secret.len()) };
        secret.truncate(length);
        let mut own = Vec::new();
        own.try_reserve_exact(id.len()).ok()?;
        own.extend_from_slice(id);
        // If it filled the room, there may be more of it.
        (length < MOST_SECRET).then_some(OwnFields {
            id: own,
            secret,
            time: self.time(),
            timeout: self.timeout(),
        })
    }
}

//! All that the DER of a session says, but for what a shape leaves out, read without encoding it.
//!
//! Two sessions with the same facts are encoded with the same shape. A session has none if it has a
//! client's certificate, a ticket, or any other field that is not read here. The user of SRP has no
//! getter. libssl keeps it in sessions with a cipher of SRP, and these have no facts either. No locks of
//! ours.

use super::bytes::Bytes;
use super::handle::{SessionRef, bytes};
use super::scratch::Scratch;
use crate::compact::shape::Fields;
use libc::c_uint;
use sesscache_core::system::wipe::wipe;
use std::ffi::CStr;
use std::ptr;

/// The longest secret that is read.
const MOST_SECRET: usize = 64;
/// The longest id that is read: OpenSSL makes none that is longer.
const MOST_ID: usize = 32;
/// Room for the facts of most sessions. One with more is encoded.
const MOST_FACTS: usize = 256;
/// The facts that are numbers.
const NUMBERS: usize = 7;

/// What was read of a session: its facts, as bytes that are compared, and the fields that are not of its
/// shape. It is filled where it stays, so that no copy of the secret is left.
#[derive(Debug)]
pub struct Facts {
    bytes: Bytes<MOST_FACTS>,
    id: Bytes<MOST_ID>,
    secret: [u8; MOST_SECRET],
    secret_length: usize,
    time: i64,
    timeout: i64,
}

impl Facts {
    /// Of nothing.
    pub fn none() -> Facts {
        Facts {
            bytes: Bytes::NONE,
            id: Bytes::NONE,
            secret: [0; MOST_SECRET],
            secret_length: 0,
            time: 0,
            timeout: 0,
        }
    }

    /// The facts.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.bytes()
    }

    /// The session's id.
    pub fn id(&self) -> &[u8] {
        self.id.bytes()
    }

    /// The other fields.
    pub fn fields(&self) -> Fields<'_> {
        let secret = self.secret.get(..self.secret_length).unwrap_or_default();
        Fields { secret, time: self.time, timeout: self.timeout }
    }

    fn put(&mut self, fact: &[u8]) -> Option<()> {
        let length = u16::try_from(fact.len()).ok()?;
        self.bytes.append(&length.to_le_bytes())?;
        self.bytes.append(fact)
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

impl Drop for Facts {
    fn drop(&mut self) {
        wipe(&mut self.secret);
    }
}

impl SessionRef<'_> {
    /// Reads the session's facts and its other fields into `facts`, which are of nothing. `None` if it
    /// must be encoded to know them.
    pub fn read_facts(self, scratch: &mut Scratch, facts: &mut Facts) -> Option<()> {
        let libssl = self.libssl();
        self.has_nothing_beside()?.then_some(())?;
        self.read_own_fields(facts)?;
        let told = scratch.ask(self)?;
        // SAFETY: a valid session.
        let cipher = unsafe { libssl.SSL_SESSION_get0_cipher?(self.as_ptr()) };
        if cipher.is_null() {
            return None;
        }
        // SAFETY: a valid session.
        let version = unsafe { (libssl.SSL_SESSION_get_protocol_version)(self.as_ptr()) };
        let numbers: [i64; NUMBERS] = [
            i64::from(version),
            i64::try_from(cipher.addr()).ok()?,
            i64::try_from(facts.id.bytes().len()).ok()?,
            i64::try_from(facts.secret_length).ok()?,
            told.verify_result,
            told.group,
            told.extended_master_secret,
        ];
        facts.bytes.append(numbers.map(i64::to_le_bytes).as_flattened())?;
        self.put_texts(facts)
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

    fn read_own_fields(self, facts: &mut Facts) -> Option<()> {
        let libssl = self.libssl();
        let mut length: c_uint = 0;
        // SAFETY: a valid session and a place for the length.
        let id = unsafe { (libssl.SSL_SESSION_get_id)(self.as_ptr(), &raw mut length) };
        // SAFETY: OpenSSL's id is `length` bytes inside the session.
        facts.id.append(unsafe { bytes(id, length as usize) }?)?;
        let get = libssl.SSL_SESSION_get_master_key?;
        // SAFETY: a valid session and that much room.
        let length = unsafe { get(self.as_ptr(), facts.secret.as_mut_ptr(), MOST_SECRET) };
        (facts.secret_length, facts.time, facts.timeout) = (length, self.time(), self.timeout());
        // If it filled the room, there may be more of it.
        (length < MOST_SECRET).then_some(())
    }
}

//! Sessions as bytes and back, and a session's properties beyond its key.
//!
//! No locks of ours.

use super::asn1_time::seconds;
use super::ex_data::{CLASS_SSL_SESSION, Index, set_of_session};
use super::failed::{Failed, present};
use super::handle::{Session, SessionRef, bytes};
use super::kdf::{HASH_BYTES, sha256};
use super::table::Libssl;
use super::types::ExFree;
use libc::{c_int, c_long, c_uint, c_void};
use openssl_sys::{CRYPTO_EX_DATA, CRYPTO_EX_free};
use sesscache_core::system::wipe::Wiped;
use std::ptr;
use zeroize::Zeroizing;

/// Where a session's [`Mark`] is.
static MARK: Index = Index::new();

/// The index of SSL_SESSION_set_app_data(3).
const APP_DATA: c_int = 0;

/// The longest secret of a ticket, that of SHA-512. Of a longer one the beginning is taken.
const MOST_SECRET: usize = 64;

/// Our memory of a session. It fits the slot itself, so that SSL_SESSION_dup(3), by which TLS 1.3
/// makes the next session, carries it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When its chain of resumptions began, in seconds since 1970.
    pub first_authenticated: u32,
    /// [`NAME_BITS`] of a hash of the server name under which it was made.
    pub name: u32,
    /// It was made by another context: before a restart, in another program or on another host.
    pub is_foreign: bool,
    /// It, and whatever comes of it, is shared with no other process.
    pub is_private: bool,
    /// Our data is behind the application's in its ticket data.
    pub has_trailer: bool,
}

/// How many bits of a hash a mark keeps.
pub const NAME_BITS: u32 = 29;

impl Mark {
    /// The slot's value: never 0 after 1970.
    pub fn pack(self) -> u64 {
        let flags = [self.is_foreign, self.is_private, self.has_trailer];
        let flags = flags.into_iter().fold(0, |bits, flag| bits << 1 | u64::from(flag));
        let name = u64::from(self.name) & ((1 << NAME_BITS) - 1);
        u64::from(self.first_authenticated) << 32 | flags << NAME_BITS | name
    }

    /// The mark of this session once the application has brought its end nearer. It is private then,
    /// and what comes of it is not. No other session is both foreign and private.
    pub fn ended_early(self) -> Mark {
        Mark { is_foreign: true, is_private: true, ..self }
    }

    /// Whether [`Mark::ended_early`] made it.
    pub fn is_ended_early(self) -> bool {
        self.is_foreign && self.is_private
    }

    /// Whether whatever comes of the session is private.
    pub fn makes_private(self) -> bool {
        self.is_private && !self.is_foreign
    }

    /// The mark of such a value; `None` of 0.
    pub fn unpack(value: u64) -> Option<Mark> {
        let has = |place: u32| value >> (NAME_BITS + place) & 1 == 1;
        (value != 0).then_some(Mark {
            first_authenticated: u32::try_from(value >> 32).ok()?,
            name: u32::try_from(value & ((1 << NAME_BITS) - 1)).ok()?,
            is_foreign: has(2),
            is_private: has(1),
            has_trailer: has(0),
        })
    }
}

/// Takes the index on SSL_SESSION, if it was not: before the application's first, see
/// `overlay::lifecycle`.
pub fn take_mark_index(libssl: &'static Libssl) -> Option<c_int> {
    MARK.take(libssl, CLASS_SSL_SESSION, None, free_mark as ExFree)
}

/// Whether an index with this free function is ours.
pub fn is_mark_index(free: CRYPTO_EX_free) -> bool {
    free as usize == free_mark as *const () as usize
}

/// A mark is the slot's pointer: nothing is to be freed.
unsafe extern "C-unwind" fn free_mark(
    _session: *mut c_void,
    _mark: *mut c_void,
    _ad: *mut CRYPTO_EX_DATA,
    _index: c_int,
    _argl: c_long,
    _argp: *mut c_void,
) {
}

impl SessionRef<'_> {
    /// The length of the session's DER.
    pub fn der_length(self) -> Result<usize, Failed> {
        let encode = present(self.libssl().i2d_SSL_SESSION)?;
        // SAFETY: a valid session; asks for the length.
        let length = unsafe { encode(self.as_ptr(), ptr::null_mut()) };
        usize::try_from(length).ok().filter(|length| *length > 0).ok_or(Failed::Refused)
    }

    /// Appends the session's DER to `out`: with its master secret, so `out` is to be wiped.
    pub fn append_der(self, out: &mut Wiped) -> Result<(), Failed> {
        let encode = present(self.libssl().i2d_SSL_SESSION)?;
        let length = self.der_length()?;
        out.reserve(length).ok_or(Failed::NoMemory)?;
        let mut place = out.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: a valid session and room for the length that was asked for.
        let written = unsafe { encode(self.as_ptr(), &raw mut place) };
        if usize::try_from(written) != Ok(length) {
            return Err(Failed::Refused);
        }
        let length = out.len() + length;
        // SAFETY: written above.
        unsafe { out.set_len(length) };
        Ok(())
    }

    /// Whether it has a session id context.
    pub fn has_id_context(self) -> bool {
        let mut length: c_uint = 0;
        let Some(id_context) = self.libssl().SSL_SESSION_get0_id_context else { return false };
        // SAFETY: a valid session and a place for the length.
        unsafe { id_context(self.as_ptr(), &raw mut length) };
        length != 0
    }

    /// Its session id context; empty if it has none.
    pub fn id_context(&self) -> &[u8] {
        let mut length: c_uint = 0;
        let Some(id_context) = self.libssl().SSL_SESSION_get0_id_context else { return &[] };
        // SAFETY: a valid session and a place for the length.
        let id_context = unsafe { id_context(self.as_ptr(), &raw mut length) };
        // SAFETY: OpenSSL's id context is `length` bytes inside the session.
        unsafe { bytes(id_context, length as usize) }.unwrap_or_default()
    }

    /// Sets its session id context. For a session that no other thread knows.
    pub fn set_id_context(self, id_context: &[u8]) -> bool {
        let Some(set) = self.libssl().SSL_SESSION_set1_id_context else { return false };
        let Ok(length) = c_uint::try_from(id_context.len()) else { return false };
        // SAFETY: a valid session and that many bytes.
        unsafe { set(self.as_ptr(), id_context.as_ptr(), length) == 1 }
    }

    /// The data that travels with it in a ticket, beside the session; empty if there is none.
    pub fn ticket_appdata(&self) -> &[u8] {
        let (mut data, mut length) = (ptr::null_mut(), 0);
        let Some(get) = self.libssl().SSL_SESSION_get0_ticket_appdata else { return &[] };
        // SAFETY: a valid session and places for the answers.
        if unsafe { get(self.as_ptr(), &raw mut data, &raw mut length) } != 1 {
            return &[];
        }
        // SAFETY: OpenSSL's data is `length` bytes that belong to the session.
        unsafe { bytes(data.cast_const().cast(), length) }.unwrap_or_default()
    }

    /// Sets the data that travels with it in a ticket; false without memory. For a session that no
    /// other thread knows.
    pub fn set_ticket_appdata(self, data: &[u8]) -> bool {
        let Some(set) = self.libssl().SSL_SESSION_set1_ticket_appdata else { return false };
        // SAFETY: a valid session and that many bytes.
        unsafe { set(self.as_ptr(), data.as_ptr().cast(), data.len()) == 1 }
    }

    /// A hash of its secret, for this purpose. In TLS 1.3 the secret is the shared key for which its
    /// ticket stands, and each ticket has another.
    pub fn secret_hash(self, purpose: &[u8]) -> Result<[u8; HASH_BYTES], Failed> {
        let get = present(self.libssl().SSL_SESSION_get_master_key)?;
        let mut secret = Zeroizing::new([0; MOST_SECRET]);
        // SAFETY: a valid session and that much room.
        let length = unsafe { get(self.as_ptr(), secret.as_mut_ptr(), secret.len()) };
        let secret = secret.get(..length).filter(|secret| !secret.is_empty());
        sha256(self.libssl(), &[purpose, secret.ok_or(Failed::Refused)?])
    }

    /// Whether it was made with compression.
    pub fn is_compressed(self) -> bool {
        let get = self.libssl().SSL_SESSION_get_compress_id;
        // SAFETY: a valid session.
        get.is_some_and(|get| unsafe { get(self.as_ptr()) } != 0)
    }

    /// Whether the application has put data of its own at the session, which needs no index of its own
    /// (SSL_SESSION_set_app_data(3)).
    pub fn has_app_data(self) -> bool {
        let get = self.libssl().SSL_SESSION_get_ex_data;
        // SAFETY: a valid session; any index may be asked for.
        get.is_none_or(|get| !unsafe { get(self.as_ptr(), APP_DATA) }.is_null())
    }

    /// Whether the client may send early data with it.
    pub fn is_for_early_data(self) -> bool {
        let get = self.libssl().SSL_SESSION_get_max_early_data;
        // SAFETY: a valid session.
        get.is_none_or(|get| unsafe { get(self.as_ptr()) } != 0)
    }

    /// The last second in which the client's certificate is valid; `None` if it showed none.
    pub fn peer_not_after(self) -> Option<i64> {
        // SAFETY: a valid session.
        let peer = unsafe { self.libssl().SSL_SESSION_get0_peer?(self.as_ptr()) };
        if peer.is_null() {
            return None;
        }
        // SAFETY: the session's certificate.
        let not_after = unsafe { self.libssl().X509_get0_notAfter?(peer) };
        // An end that cannot be read has come.
        Some(seconds(self.libssl(), not_after).unwrap_or(0))
    }

    /// Sets its secret; false if it is too long. For a session that no other thread knows.
    pub fn set_secret(self, secret: &[u8]) -> bool {
        let Some(set) = self.libssl().SSL_SESSION_set1_master_key else { return false };
        // SAFETY: a valid session and that many bytes.
        unsafe { set(self.as_ptr(), secret.as_ptr(), secret.len()) == 1 }
    }

    /// Sets its id; false if it is too long. For a session that no other thread knows.
    pub fn set_id(self, id: &[u8]) -> bool {
        let Some(set) = self.libssl().SSL_SESSION_set1_id else { return false };
        let Ok(length) = c_uint::try_from(id.len()) else { return false };
        // SAFETY: a valid session and that many bytes.
        unsafe { set(self.as_ptr(), id.as_ptr(), length) == 1 }
    }

    /// Sets how many seconds it lives.
    pub fn set_timeout(self, timeout: i64) {
        // SAFETY: a valid session.
        unsafe { (self.libssl().SSL_SESSION_set_timeout)(self.as_ptr(), timeout) };
    }

    /// Shortens or sets its life so that `deadline` is its last second, as
    /// SSL_SESSION_set_timeout(3).
    pub fn set_deadline(self, deadline: i64) {
        self.set_timeout(deadline.saturating_sub(self.time()));
    }

    /// How many seconds it lives.
    pub fn timeout(self) -> i64 {
        // SAFETY: a valid session.
        unsafe { (self.libssl().SSL_SESSION_get_timeout)(self.as_ptr()) }
    }

    /// When it began.
    pub fn time(self) -> i64 {
        // SAFETY: a valid session.
        unsafe { (self.libssl().SSL_SESSION_get_time)(self.as_ptr()) }
    }

    /// Its mark, if it has one.
    pub fn mark(self) -> Option<Mark> {
        // SAFETY: a valid session; any index may be asked for.
        let value = unsafe { self.libssl().SSL_SESSION_get_ex_data?(self.as_ptr(), MARK.get()?) };
        Mark::unpack(value as usize as u64)
    }

    /// Sets its mark; false without memory.
    pub fn set_mark(self, mark: Mark) -> bool {
        let value = usize::try_from(mark.pack()).ok();
        let Some((index, value)) = take_mark_index(self.libssl()).zip(value) else {
            return false;
        };
        set_of_session(self, index, ptr::without_provenance_mut::<c_void>(value))
    }
}

impl Session {
    /// The session of these bytes, and nothing behind it.
    pub fn from_der(libssl: &'static Libssl, der: &[u8]) -> Result<Session, Failed> {
        let length = c_long::try_from(der.len()).map_err(|_| Failed::Refused)?;
        let mut place = der.as_ptr();
        // SAFETY: bytes of that length.
        let session =
            unsafe { present(libssl.d2i_SSL_SESSION)?(ptr::null_mut(), &raw mut place, length) };
        // SAFETY: NULL or a new session, whose reference is ours.
        let session = unsafe { Session::from_raw(session) }.ok_or(Failed::Refused)?;
        let read = (place as usize).checked_sub(der.as_ptr() as usize);
        if read == Some(der.len()) { Ok(session) } else { Err(Failed::Refused) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_as_it_was() {
        for flags in 0..8_u8 {
            let mark = Mark {
                first_authenticated: u32::MAX - u32::from(flags),
                name: (1 << NAME_BITS) - 1 - u32::from(flags),
                is_foreign: flags & 1 != 0,
                is_private: flags & 2 != 0,
                has_trailer: flags & 4 != 0,
            };
            assert_eq!(Mark::unpack(mark.pack()), Some(mark));
        }
        assert_eq!(Mark::unpack(0), None);
    }
}

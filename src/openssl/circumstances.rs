//! What the verification of a client depends on, so that a result can be kept with it.
//!
//! All that OpenSSL's getters tell of a connection and its trust store is in it, and a hash of the
//! certificate. Trust and policies have no getter, and purposes none before OpenSSL 3.5. A trust store
//! with functions of its own depends on anything. No locks of ours.

use super::failed::{Failed, present};
use super::handle::{SessionRef, Ssl};
use super::names::encoded;
use super::reference::Reference;
use super::table::Libssl;
use super::verification::{Demands, Objects};
use libc::{c_int, c_long, c_uint, c_ulong, c_void, time_t};
use openssl_sys::{X509, X509_STORE, X509_VERIFY_PARAM};
use sesscache_core::system::seed::{Purpose, seed};
use siphasher::sip128::{Hash128, Hasher128, SipHasher24};
use std::ffi::CStr;
use std::hash::{Hash, Hasher};
use std::ptr::NonNull;

/// `X509_V_FLAG_USE_CHECK_TIME`.
const USE_CHECK_TIME: c_ulong = 2;

/// What a verification depends on, as far as OpenSSL's getters tell.
///
/// A trust store is told by its address: whoever keeps this keeps the [`Demands`] as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    certificate: (u64, u64),
    store: usize,
    objects: c_int,
    depth: c_int,
    of_connection: Rules,
    of_store: Rules,
    security_level: c_int,
    suite_b: c_long,
    library_context: usize,
}

/// The certificate alone says where to look: few differ in the rest, and to hash that would cost a
/// quarter of the look.
impl Hash for Circumstances {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.certificate.0);
    }
}

/// The rules of a connection or a trust store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rules {
    flags: c_ulong,
    inheritance: u32,
    auth_level: c_int,
    depth: c_int,
    /// From OpenSSL 3.5 on.
    purpose: c_int,
    /// If it is not the time of the verification.
    time: Option<time_t>,
    host_flags: c_uint,
    /// A keyed hash of hosts, e-mail and IP address; `None` if there are none.
    names: Option<(u64, u64)>,
}

impl Rules {
    fn of(libssl: &'static Libssl, param: *mut X509_VERIFY_PARAM) -> Result<Rules, Failed> {
        if param.is_null() {
            return Err(Failed::Refused);
        }
        // SAFETY: valid parameters.
        let flags = unsafe { present(libssl.X509_VERIFY_PARAM_get_flags)?(param) };
        let get_time = present(libssl.X509_VERIFY_PARAM_get_time)?;
        Ok(Rules {
            flags,
            // SAFETY: valid parameters.
            inheritance: unsafe { present(libssl.X509_VERIFY_PARAM_get_inh_flags)?(param) },
            // SAFETY: valid parameters.
            auth_level: unsafe { present(libssl.X509_VERIFY_PARAM_get_auth_level)?(param) },
            // SAFETY: valid parameters.
            depth: unsafe { present(libssl.X509_VERIFY_PARAM_get_depth)?(param) },
            // SAFETY: valid parameters.
            purpose: libssl.X509_VERIFY_PARAM_get_purpose.map_or(0, |get| unsafe { get(param) }),
            // SAFETY: valid parameters.
            time: (flags & USE_CHECK_TIME != 0).then(|| unsafe { get_time(param) }),
            // SAFETY: valid parameters.
            host_flags: unsafe { present(libssl.X509_VERIFY_PARAM_get_hostflags)?(param) },
            // SAFETY: valid parameters.
            names: unsafe { names(libssl, param) }?,
        })
    }
}

/// A keyed hash of the hosts, the e-mail and the IP address that a certificate must be for, if any.
///
/// # Safety
/// `param` points to parameters that nobody changes meanwhile.
unsafe fn names(
    libssl: &'static Libssl,
    param: *mut X509_VERIFY_PARAM,
) -> Result<Option<(u64, u64)>, Failed> {
    let get_host = present(libssl.X509_VERIFY_PARAM_get0_host)?;
    let get_email = present(libssl.X509_VERIFY_PARAM_get0_email)?;
    let get_ip = present(libssl.X509_VERIFY_PARAM_get1_ip_asc)?;
    let free = present(libssl.CRYPTO_free)?;
    let mut hash = None;
    // SAFETY: the caller's promise; past the last it is NULL.
    for host in (0..).map(|n| unsafe { get_host(param, n) }).take_while(|host| !host.is_null()) {
        // SAFETY: a C string of the parameters.
        add(&mut hash, b'h', unsafe { CStr::from_ptr(host) })?;
    }
    // SAFETY: the caller's promise.
    let email = unsafe { get_email(param) };
    if !email.is_null() {
        // SAFETY: as a host.
        add(&mut hash, b'e', unsafe { CStr::from_ptr(email) })?;
    }
    // SAFETY: the caller's promise.
    let ip = unsafe { get_ip(param) };
    if !ip.is_null() {
        // SAFETY: a C string of ours.
        let added = add(&mut hash, b'i', unsafe { CStr::from_ptr(ip) });
        // SAFETY: made by the getter for us.
        unsafe { free(ip.cast(), c"".as_ptr(), 0) };
        added?;
    }
    Ok(hash.map(finished))
}

/// Adds a name of this kind to the hash, which is made with the first.
fn add(hash: &mut Option<SipHasher24>, kind: u8, name: &CStr) -> Result<(), Failed> {
    let hash = match hash {
        Some(hash) => hash,
        None => hash.insert(keyed().ok_or(Failed::Refused)?),
    };
    hash.write_u8(kind);
    hash.write(name.to_bytes_with_nul());
    Ok(())
}

/// A client's certificate, and what tells it from all others.
#[derive(Debug)]
pub struct Certificate {
    held: Reference<X509>,
    hash: (u64, u64),
}

impl Certificate {
    /// That of the client of this session, if it has shown one.
    pub fn of(session: SessionRef<'_>) -> Option<Certificate> {
        let held = Reference::new(session.libssl(), session.peer()?).ok()?;
        let hash = told_apart(session.libssl(), held.address())?;
        Some(Certificate { held, hash })
    }

    /// A keyed hash of it.
    pub fn hash(&self) -> (u64, u64) {
        self.hash
    }

    /// Where it is: no other can be there as long as this is kept.
    pub fn address(&self) -> usize {
        self.held.as_ptr() as usize
    }
}

impl Circumstances {
    /// Those in which a client would be verified whose certificate has this hash. `None` if they
    /// cannot be told.
    pub fn of(
        ssl: Ssl<'_>,
        certificate: (u64, u64),
        demands: &Demands,
        library_context: *mut c_void,
    ) -> Option<Circumstances> {
        let libssl = ssl.libssl();
        let store = demands.store.as_ref()?;
        if has_functions(libssl, store)? {
            return None;
        }
        let param = libssl.X509_STORE_get0_param?;
        // SAFETY: a valid trust store, whose parameters they are.
        let param = unsafe { param(store.as_ptr()) };
        Some(Circumstances {
            certificate,
            store: store.as_ptr() as usize,
            objects: Objects::of(libssl, store)?.count(),
            depth: demands.depth,
            of_connection: Rules::of(libssl, ssl.param()).ok()?,
            of_store: Rules::of(libssl, param).ok()?,
            security_level: ssl.security_level()?,
            suite_b: ssl.suite_b()?,
            library_context: library_context as usize,
        })
    }
}

/// Whether the application has given the trust store functions in place of libcrypto's. They may look
/// at the connection, or ask somebody else. `None` if it cannot be told.
fn has_functions(libssl: &Libssl, store: &Reference<X509_STORE>) -> Option<bool> {
    let getters = [
        libssl.X509_STORE_get_verify?,
        libssl.X509_STORE_get_get_issuer?,
        libssl.X509_STORE_get_check_issued?,
        libssl.X509_STORE_get_check_revocation?,
        libssl.X509_STORE_get_get_crl?,
        libssl.X509_STORE_get_check_crl?,
        libssl.X509_STORE_get_cert_crl?,
        libssl.X509_STORE_get_check_policy?,
        libssl.X509_STORE_get_lookup_certs?,
        libssl.X509_STORE_get_lookup_crls?,
    ];
    // SAFETY: a valid trust store. NULL is no function of the application's.
    Some(getters.into_iter().any(|get| !unsafe { get(store.as_ptr()) }.is_null()))
}

/// A keyed hash of a certificate. With SHA-256 a look would cost three times as much: 25,000
/// instructions, not 8,000, with a certificate of 450 bytes.
fn told_apart(libssl: &'static Libssl, certificate: NonNull<X509>) -> Option<(u64, u64)> {
    let encode = libssl.i2d_X509?;
    // SAFETY: a valid certificate.
    let der = encoded(|place| unsafe { encode(certificate.as_ptr(), place) }).ok()?;
    let mut hash = keyed()?;
    hash.write(&der);
    Some(finished(hash))
}

/// A hash of which this process and those it forks alone have the key, so that nobody can look for
/// bytes that are taken for others.
fn keyed() -> Option<SipHasher24> {
    let [first, second] = seed(Purpose::Certificates)?;
    Some(SipHasher24::new_with_keys(first, second))
}

fn finished(hash: SipHasher24) -> (u64, u64) {
    let Hash128 { h1, h2 } = hash.finish128();
    (h1, h2)
}

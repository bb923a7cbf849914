//! A ticket key in the hands of libcrypto, set up as the ticket key callback must.
//!
//! As in the example of SSL_CTX_set_tlsext_ticket_key_evp_cb(3), and as libssl itself does:
//! AES-256-CBC with HMAC-SHA256 (RFC 5077 4). No locks of ours.

use super::algorithms::Algorithms;
use super::failed::{Failed, present, succeeded};
use super::generator::Generator;
use super::table::Libssl;
use super::types::{EvpMacCtx, HmacCtx, Param};
use libc::{c_char, c_int, c_uint, c_void};
use openssl_sys::{EVP_CIPHER, EVP_CIPHER_CTX};
use sesscache_core::system::process::random_bytes;
use std::fmt;
use std::ptr;
use zeroize::Zeroize;

/// Bytes of a key's name.
pub const NAME_BYTES: usize = 16;
/// Bytes of an initialisation vector (`EVP_MAX_IV_LENGTH`).
pub const IV_BYTES: usize = 16;
/// Bytes of a key that an application sets.
pub const APPLICATION_KEY_BYTES: usize = 80;

/// A ticket key.
#[derive(Clone, Default)]
pub struct TicketKey {
    /// By which it is found.
    pub name: [u8; NAME_BYTES],
    /// Of the cipher.
    pub cipher: [u8; 32],
    /// Of the authentication.
    pub mac: [u8; 32],
    /// Of the hash of a server name in the ticket.
    pub server_names: [u8; 16],
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey")
    }
}

impl Drop for TicketKey {
    fn drop(&mut self) {
        self.cipher.zeroize();
        self.mac.zeroize();
        self.server_names.zeroize();
    }
}

/// `OSSL_PARAM_UTF8_STRING`.
const UTF8_STRING: c_uint = 4;
/// `OSSL_PARAM_OCTET_STRING`.
const OCTET_STRING: c_uint = 5;

/// The context of the MAC, which is of the kind that the callback for ticket keys wants.
#[derive(Clone, Copy, Debug)]
pub enum MacContext {
    /// That of SSL_CTX_set_tlsext_ticket_key_evp_cb(3).
    Evp(*mut EvpMacCtx),
    /// That of SSL_CTX_set_tlsext_ticket_key_cb(3).
    Hmac(*mut HmacCtx),
}

/// The contexts that libssl passes to the callback for ticket keys.
#[derive(Debug)]
pub struct Contexts {
    generator: Generator,
    cipher: *mut EVP_CIPHER_CTX,
    mac: MacContext,
}

impl Contexts {
    /// libssl's two contexts, and the generator for initialisation vectors.
    ///
    /// # Safety
    /// Both are valid for as long as the result lives.
    pub unsafe fn of_libssl(
        generator: Generator,
        cipher: *mut EVP_CIPHER_CTX,
        mac: MacContext,
    ) -> Contexts {
        Contexts { generator, cipher, mac }
    }
}

/// EVP_EncryptInit_ex(3) and EVP_DecryptInit_ex(3).
type CipherInit = unsafe extern "C-unwind" fn(
    *mut EVP_CIPHER_CTX,
    *const EVP_CIPHER,
    *mut c_void,
    *const u8,
    *const u8,
) -> c_int;

impl TicketKey {
    /// A new key; `None` without randomness.
    pub fn random() -> Option<TicketKey> {
        let mut key = TicketKey::default();
        let parts =
            [&mut key.name[..], &mut key.cipher[..], &mut key.mac[..], &mut key.server_names[..]];
        let is_filled = parts.into_iter().all(random_bytes);
        is_filled.then_some(key)
    }

    /// The key of these bytes, as SSL_CTX_set_tlsext_ticket_keys(3) wants them: name, MAC, cipher.
    pub fn from_bytes(bytes: &[u8; APPLICATION_KEY_BYTES]) -> Option<TicketKey> {
        let (name, rest) = bytes.split_first_chunk()?;
        let (mac, rest) = rest.split_first_chunk()?;
        let cipher = rest.first_chunk()?;
        Some(TicketKey { name: *name, cipher: *cipher, mac: *mac, server_names: [0; 16] })
    }

    /// Sets both contexts up to seal a ticket, with a fresh `iv`.
    pub fn seal(&self, iv: &mut [u8; IV_BYTES], contexts: &Contexts) -> Result<(), Failed> {
        contexts.generator.fill(iv)?;
        self.set_up(present(contexts.generator.libssl().EVP_EncryptInit_ex)?, iv, contexts)
    }

    /// Sets both contexts up to open a ticket.
    pub fn open(&self, iv: &[u8; IV_BYTES], contexts: &Contexts) -> Result<(), Failed> {
        self.set_up(present(contexts.generator.libssl().EVP_DecryptInit_ex)?, iv, contexts)
    }

    fn set_up(
        &self,
        init: CipherInit,
        iv: &[u8; IV_BYTES],
        contexts: &Contexts,
    ) -> Result<(), Failed> {
        let kind = Algorithms::get(contexts.generator.libssl())?.cbc.as_ptr();
        let (key, iv) = (self.cipher.as_ptr(), iv.as_ptr());
        // SAFETY: a valid context; key and vector of that cipher's lengths.
        succeeded(unsafe { init(contexts.cipher, kind, ptr::null_mut(), key, iv) })?;
        self.authenticate(contexts)
    }

    fn authenticate(&self, contexts: &Contexts) -> Result<(), Failed> {
        let libssl = contexts.generator.libssl();
        match contexts.mac {
            MacContext::Evp(mac) => self.authenticate_by_evp(libssl, mac),
            MacContext::Hmac(mac) => self.authenticate_by_hmac(libssl, mac),
        }
    }

    fn authenticate_by_hmac(
        &self,
        libssl: &'static Libssl,
        mac: *mut HmacCtx,
    ) -> Result<(), Failed> {
        let digest = Algorithms::get(libssl)?.sha256.as_ptr();
        let length = c_int::try_from(self.mac.len()).map_err(|_| Failed::Refused)?;
        let init = present(libssl.HMAC_Init_ex)?;
        // SAFETY: a valid context, a key of that length, and a hash that stays.
        succeeded(unsafe { init(mac, self.mac.as_ptr().cast(), length, digest, ptr::null_mut()) })
    }

    fn authenticate_by_evp(
        &self,
        libssl: &'static Libssl,
        mac: *mut EvpMacCtx,
    ) -> Result<(), Failed> {
        let param = |key: *const c_char, data_type, data: *const c_void, data_size| Param {
            key,
            data_type,
            data: data.cast_mut(),
            data_size,
            return_size: 0,
        };
        let digest = c"SHA256";
        let parameters = [
            param(c"key".as_ptr(), OCTET_STRING, self.mac.as_ptr().cast(), self.mac.len()),
            param(c"digest".as_ptr(), UTF8_STRING, digest.as_ptr().cast(), 6),
            param(ptr::null(), 0, ptr::null(), 0),
        ];
        let set = present(libssl.EVP_MAC_CTX_set_params)?;
        // SAFETY: a valid context; parameters as openssl/core.h has them, ended by a NULL key,
        // which are only read.
        succeeded(unsafe { set(mac, parameters.as_ptr()) })
    }
}

//! SHA-256 through libcrypto, and HKDF of it (RFC 5869).
//!
//! For work that is done once a context or a key, not once a handshake. No locks of ours.

use super::algorithms::Algorithms;
use super::failed::{Failed, present, succeeded};
use super::table::Libssl;
use libc::c_uint;
use openssl_sys::EVP_MD_CTX;
use std::ptr::{self, NonNull};
use zeroize::Zeroizing;

/// Bytes of a SHA-256.
pub const HASH_BYTES: usize = 32;

/// HKDF's key without a salt (RFC 5869 2.2).
const NO_SALT: [u8; HASH_BYTES] = [0; HASH_BYTES];

/// HKDF-SHA256 without a salt: fills `out` with the first block of what `secret` gives for `info`.
pub fn hkdf_sha256(
    libssl: &'static Libssl,
    secret: &[u8],
    info: &[u8],
    out: &mut [u8; HASH_BYTES],
) -> Result<(), Failed> {
    let mut extracted = Zeroizing::new([0; HASH_BYTES]);
    hmac_sha256(libssl, &NO_SALT, secret, &mut extracted)?;
    let mut message = Vec::new();
    message.try_reserve_exact(info.len() + 1).map_err(|_| Failed::NoMemory)?;
    message.extend_from_slice(info);
    message.push(1);
    hmac_sha256(libssl, extracted.as_slice(), &message, out)
}

fn hmac_sha256(
    libssl: &'static Libssl,
    key: &[u8],
    message: &[u8],
    out: &mut [u8; HASH_BYTES],
) -> Result<(), Failed> {
    let context = Algorithms::get(libssl)?.library_context();
    let (hmac, sha256) = (c"HMAC".as_ptr(), c"SHA256".as_ptr());
    let (room, place, mut written) = (out.len(), out.as_mut_ptr(), 0);
    let quick = present(libssl.EVP_Q_mac)?;
    // SAFETY: a library context, C strings, no properties or parameters, key and message of these
    // lengths, and room for the hash's length.
    let returned = unsafe {
        quick(
            context,
            hmac,
            ptr::null(),
            sha256,
            ptr::null(),
            key.as_ptr().cast(),
            key.len(),
            message.as_ptr(),
            message.len(),
            place,
            room,
            &raw mut written,
        )
    };
    if !returned.is_null() && written == HASH_BYTES { Ok(()) } else { Err(Failed::Refused) }
}

/// SHA-256 over `parts`, one after the other: where one ends does not count.
pub fn sha256(libssl: &'static Libssl, parts: &[&[u8]]) -> Result<[u8; HASH_BYTES], Failed> {
    let hash = Hash::new(libssl)?;
    for part in parts {
        // SAFETY: an initialised context and a slice's bytes.
        let ok = unsafe {
            present(libssl.EVP_DigestUpdate)?(hash.ctx.as_ptr(), part.as_ptr().cast(), part.len())
        };
        succeeded(ok)?;
    }
    let mut out = [0; HASH_BYTES];
    let mut written: c_uint = 0;
    let finish = present(libssl.EVP_DigestFinal_ex)?;
    // SAFETY: an initialised context and room for the hash's length.
    succeeded(unsafe { finish(hash.ctx.as_ptr(), out.as_mut_ptr(), &raw mut written) })?;
    if written as usize == HASH_BYTES { Ok(out) } else { Err(Failed::Refused) }
}

/// An EVP_MD_CTX.
struct Hash {
    libssl: &'static Libssl,
    ctx: NonNull<EVP_MD_CTX>,
}

impl Hash {
    fn new(libssl: &'static Libssl) -> Result<Hash, Failed> {
        // Whoever made one must be able to free it.
        present(libssl.EVP_MD_CTX_free)?;
        // SAFETY: takes nothing.
        let ctx = NonNull::new(unsafe { present(libssl.EVP_MD_CTX_new)?() });
        let ctx = ctx.ok_or(Failed::NoMemory)?;
        let hash = Hash { libssl, ctx };
        let sha256 = Algorithms::get(libssl)?.sha256.as_ptr();
        let initialise = present(libssl.EVP_DigestInit_ex)?;
        // SAFETY: a context just made and a hash.
        succeeded(unsafe { initialise(ctx.as_ptr(), sha256, ptr::null_mut()) })?;
        Ok(hash)
    }
}

impl Drop for Hash {
    fn drop(&mut self) {
        if let Some(free) = self.libssl.EVP_MD_CTX_free {
            // SAFETY: made in `new`, which nobody else frees.
            unsafe { free(self.ctx.as_ptr()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openssl::libssl::libssl_in_test;

    #[test]
    fn sha256_is_that_of_fips_180() {
        let libssl = libssl_in_test();
        let abc = [
            0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae,
            0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61,
            0xf2, 0x00, 0x15, 0xad,
        ];
        assert_eq!(sha256(libssl, &[b"abc"]), Ok(abc));
        assert_eq!(sha256(libssl, &[b"a", b"", b"bc"]), Ok(abc));
        assert_ne!(sha256(libssl, &[]), Ok(abc));
    }

    #[test]
    fn hkdf_is_that_of_rfc_5869_test_case_3() {
        let mut out = [0; HASH_BYTES];
        hkdf_sha256(libssl_in_test(), &[0x0b; 22], b"", &mut out).unwrap();
        let first_block = [
            0x8d, 0xa4, 0xe7, 0x75, 0xa5, 0x63, 0xc1, 0x8f, 0x71, 0x5f, 0x80, 0x2a, 0x06, 0x3c,
            0x5a, 0x31, 0xb8, 0xa1, 0x1f, 0x5c, 0x5e, 0xe1, 0x87, 0x9e, 0xc3, 0x45, 0x4e, 0x5f,
            0x3c, 0x73, 0x8d, 0x2d,
        ];
        assert_eq!(out, first_block);
    }
}

//! AES-256 through libcrypto, a block at a time and as AES-256-GCM, and random bytes.
//!
//! The parts that `seal` makes its algorithm of. The two ciphers are fetched once and kept for the
//! life of the process; a failed fetch is not remembered. No locks of ours.

use super::failed::{Failed, present, succeeded};
use super::libssl::libssl;
use super::table::Libssl;
use libc::{c_int, c_void};
use once_cell::sync::OnceCell;
use openssl_sys::{EVP_CIPHER, EVP_CIPHER_CTX, EVP_CTRL_GCM_GET_TAG, EVP_CTRL_GCM_SET_TAG};
use std::ffi::CStr;
use std::ptr::{self, NonNull};

/// Bytes of a key of AES-256.
pub const KEY_BYTES: usize = 32;
/// Bytes of a nonce of AES-GCM.
pub const GCM_NONCE_BYTES: usize = 12;
/// Bytes of a tag of AES-GCM.
pub const TAG_BYTES: usize = 16;
/// `TAG_BYTES` as OpenSSL takes it.
const TAG_LENGTH: c_int = 16;

/// A reference to an algorithm of a provider.
#[derive(Debug)]
struct Cipher(NonNull<EVP_CIPHER>);

// SAFETY: a fetched EVP_CIPHER is not changed but for its reference count, which is atomic.
unsafe impl Send for Cipher {}
// SAFETY: as above.
unsafe impl Sync for Cipher {}

impl Cipher {
    fn fetch(libssl: &'static Libssl, name: &CStr) -> Result<Cipher, Failed> {
        let fetch = present(libssl.EVP_CIPHER_fetch)?;
        // SAFETY: the default library context, a C string, no properties.
        let cipher = unsafe { fetch(ptr::null_mut(), name.as_ptr(), ptr::null()) };
        NonNull::new(cipher).map(Cipher).ok_or(Failed::Refused)
    }
}

impl Drop for Cipher {
    fn drop(&mut self) {
        if let Some(free) = libssl().and_then(|libssl| libssl.EVP_CIPHER_free) {
            // SAFETY: the reference this value owns.
            unsafe { free(self.0.as_ptr()) };
        }
    }
}

#[derive(Debug)]
struct Ciphers {
    blocks: Cipher,
    gcm: Cipher,
}

static CIPHERS: OnceCell<Ciphers> = OnceCell::new();

impl Ciphers {
    #[inline]
    fn get(libssl: &'static Libssl) -> Result<&'static Ciphers, Failed> {
        CIPHERS.get().map_or_else(|| Ciphers::fetch(libssl), Ok)
    }

    #[cold]
    fn fetch(libssl: &'static Libssl) -> Result<&'static Ciphers, Failed> {
        // Not inside the cell: a provider may be loaded in here, see `libssl::fill`.
        let blocks = Cipher::fetch(libssl, c"AES-256-ECB")?;
        let gcm = Cipher::fetch(libssl, c"AES-256-GCM")?;
        Ok(CIPHERS.get_or_init(|| Ciphers { blocks, gcm }))
    }
}

/// An EVP_CIPHER_CTX, which is used for all steps of an operation, because making and keying one is
/// most of the cost of a short record. OpenSSL wipes the key in it when it is keyed anew or freed.
#[derive(Debug)]
pub struct Aes {
    libssl: &'static Libssl,
    ciphers: &'static Ciphers,
    ctx: NonNull<EVP_CIPHER_CTX>,
}

impl Aes {
    /// Without a key.
    pub fn new(libssl: &'static Libssl) -> Result<Aes, Failed> {
        let ciphers = Ciphers::get(libssl)?;
        // Whoever made one must be able to free it.
        present(libssl.EVP_CIPHER_CTX_free)?;
        // SAFETY: takes nothing.
        let ctx = NonNull::new(unsafe { present(libssl.EVP_CIPHER_CTX_new)?() });
        let ctx = ctx.ok_or(Failed::NoMemory)?;
        Ok(Aes { libssl, ciphers, ctx })
    }

    /// AES itself: each 16 bytes of `from` by themselves. The two are as long as each other.
    pub fn encrypt_blocks(
        &mut self,
        key: &[u8; KEY_BYTES],
        from: &[u8],
        to: &mut [u8],
    ) -> Result<(), Failed> {
        self.key_to_encrypt(&self.ciphers.blocks, key, ptr::null())?;
        self.encrypt(from, to)
    }

    /// Encrypts `from` to `to`, which is as long, and returns the tag over it and `associated`.
    #[expect(clippy::too_many_arguments, reason = "an AEAD's inputs: RFC 5116 2.1")]
    pub fn gcm_seal(
        &mut self,
        key: &[u8; KEY_BYTES],
        nonce: &[u8; GCM_NONCE_BYTES],
        associated: &[u8],
        from: &[u8],
        to: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], Failed> {
        self.key_to_encrypt(&self.ciphers.gcm, key, nonce.as_ptr())?;
        let length = c_int::try_from(associated.len()).map_err(|_| Failed::Refused)?;
        let mut written: c_int = 0;
        if length > 0 {
            let (update, ctx) = (present(self.libssl.EVP_EncryptUpdate)?, self.ctx.as_ptr());
            let data = associated.as_ptr();
            // SAFETY: a keyed context; no place to write to says that these are associated data.
            let ok = unsafe { update(ctx, ptr::null_mut(), &raw mut written, data, length) };
            succeeded(ok)?;
        }
        self.encrypt(from, to)?;
        let mut tag = [0; TAG_BYTES];
        let finish = present(self.libssl.EVP_EncryptFinal_ex)?;
        // SAFETY: a keyed context and a block's room, of which GCM uses nothing.
        let ok = unsafe { finish(self.ctx.as_ptr(), tag.as_mut_ptr(), &raw mut written) };
        succeeded(ok)?;
        self.tag(EVP_CTRL_GCM_GET_TAG, &mut tag)?;
        Ok(tag)
    }

    /// Decrypts `from` to `to`, which is as long. True if the tag is right; what is in `to` is
    /// otherwise not to be looked at.
    #[expect(clippy::too_many_arguments, reason = "an AEAD's inputs: RFC 5116 2.1")]
    pub fn gcm_open(
        &mut self,
        key: &[u8; KEY_BYTES],
        nonce: &[u8; GCM_NONCE_BYTES],
        associated: &[u8],
        (from, tag): (&[u8], &[u8; TAG_BYTES]),
        to: &mut [u8],
    ) -> Result<bool, Failed> {
        let (ctx, gcm) = (self.ctx.as_ptr(), self.ciphers.gcm.0.as_ptr());
        let initialise = present(self.libssl.EVP_DecryptInit_ex)?;
        // SAFETY: a context, a fetched cipher, and a key and a nonce of the lengths it takes.
        succeeded(unsafe { initialise(ctx, gcm, ptr::null_mut(), key.as_ptr(), nonce.as_ptr()) })?;
        self.tag(EVP_CTRL_GCM_SET_TAG, &mut { *tag })?;
        let update = present(self.libssl.EVP_DecryptUpdate)?;
        let length = c_int::try_from(associated.len()).map_err(|_| Failed::Refused)?;
        let mut written: c_int = 0;
        if length > 0 {
            let data = associated.as_ptr();
            // SAFETY: a keyed context; no place to write to says that these are associated data.
            let ok = unsafe { update(ctx, ptr::null_mut(), &raw mut written, data, length) };
            succeeded(ok)?;
        }
        let length = same_length(from, to)?;
        if length > 0 {
            let (data, place) = (from.as_ptr(), to.as_mut_ptr());
            // SAFETY: a keyed context, `length` bytes to read and as many to write: GCM is a
            // stream.
            succeeded(unsafe { update(ctx, place, &raw mut written, data, length) })?;
            whole(written, length)?;
        }
        let mut block = [0; TAG_BYTES];
        let finish = present(self.libssl.EVP_DecryptFinal_ex)?;
        // SAFETY: a keyed context and a block's room, of which GCM uses nothing.
        Ok(unsafe { finish(ctx, block.as_mut_ptr(), &raw mut written) } == 1)
    }

    /// `nonce` is NULL or points to as many bytes as `cipher` takes.
    fn key_to_encrypt(
        &self,
        cipher: &Cipher,
        key: &[u8; KEY_BYTES],
        nonce: *const u8,
    ) -> Result<(), Failed> {
        let (ctx, cipher) = (self.ctx.as_ptr(), cipher.0.as_ptr());
        let initialise = present(self.libssl.EVP_EncryptInit_ex)?;
        // SAFETY: a context, a fetched cipher, and a key and a nonce of the lengths it takes.
        succeeded(unsafe { initialise(ctx, cipher, ptr::null_mut(), key.as_ptr(), nonce) })
    }

    /// Encrypts in one update. Both ciphers write their whole input at once, blocks or a stream,
    /// because ECB pads only in EVP_EncryptFinal_ex(), which is not called.
    fn encrypt(&mut self, from: &[u8], to: &mut [u8]) -> Result<(), Failed> {
        let length = same_length(from, to)?;
        if length == 0 {
            return Ok(());
        }
        let mut written: c_int = 0;
        let (update, ctx) = (present(self.libssl.EVP_EncryptUpdate)?, self.ctx.as_ptr());
        let (data, place) = (from.as_ptr(), to.as_mut_ptr());
        // SAFETY: a keyed context, `length` bytes to read and as many to write.
        succeeded(unsafe { update(ctx, place, &raw mut written, data, length) })?;
        whole(written, length)
    }

    /// Gets or sets the tag.
    fn tag(&self, command: c_int, tag: &mut [u8; TAG_BYTES]) -> Result<(), Failed> {
        let control = present(self.libssl.EVP_CIPHER_CTX_ctrl)?;
        let place = tag.as_mut_ptr().cast::<c_void>();
        // SAFETY: a keyed context and a tag of that length.
        succeeded(unsafe { control(self.ctx.as_ptr(), command, TAG_LENGTH, place) })
    }
}

impl Drop for Aes {
    fn drop(&mut self) {
        if let Some(free) = self.libssl.EVP_CIPHER_CTX_free {
            // SAFETY: made in `new`, which nobody else frees.
            unsafe { free(self.ctx.as_ptr()) };
        }
    }
}

/// Fills `out` from OpenSSL's generator, which a forked child does not share.
pub fn random(libssl: &'static Libssl, out: &mut [u8]) -> Result<(), Failed> {
    let length = c_int::try_from(out.len()).map_err(|_| Failed::Refused)?;
    // SAFETY: `length` bytes to write.
    succeeded(unsafe { present(libssl.RAND_bytes)?(out.as_mut_ptr(), length) })
}

/// How long both are, as OpenSSL takes it.
fn same_length(from: &[u8], to: &[u8]) -> Result<c_int, Failed> {
    let length = c_int::try_from(from.len()).ok().filter(|_| from.len() == to.len());
    length.ok_or(Failed::Refused)
}

/// Whether all was written.
fn whole(written: c_int, length: c_int) -> Result<(), Failed> {
    if written == length { Ok(()) } else { Err(Failed::Refused) }
}

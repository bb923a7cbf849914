//! AES-256 through libcrypto, a block at a time and as AES-256-GCM.
//!
//! The parts that `seal` makes its algorithm of. No locks of ours.

use super::algorithms::{Algorithms, Fetched};
use super::failed::{Failed, present, succeeded};
use super::table::Libssl;
use libc::{c_int, c_void};
use openssl_sys::{EVP_CIPHER, EVP_CIPHER_CTX, EVP_CTRL_GCM_GET_TAG, EVP_CTRL_GCM_SET_TAG};
use std::ptr::{self, NonNull};

/// Bytes of a key of AES-256.
pub const KEY_BYTES: usize = 32;
/// Bytes of a nonce of AES-GCM.
pub const GCM_NONCE_BYTES: usize = 12;
/// Bytes of a tag of AES-GCM.
pub const TAG_BYTES: usize = 16;
/// `TAG_BYTES` as OpenSSL takes it.
const TAG_LENGTH: c_int = 16;

/// An EVP_CIPHER_CTX, which is kept, because making one costs as much as the rest of a short record.
/// OpenSSL wipes the key in it when it is keyed anew or freed.
#[derive(Debug)]
struct Context {
    libssl: &'static Libssl,
    ctx: NonNull<EVP_CIPHER_CTX>,
    cipher: &'static Fetched<EVP_CIPHER>,
    /// Whether it was keyed before, so that it has its cipher: to name that again would empty it.
    is_set: bool,
}

// SAFETY: a context belongs to no thread; whoever has the value is alone with it.
unsafe impl Send for Context {}

/// AES itself under one key, each 16 bytes by themselves.
#[derive(Debug)]
pub struct Blocks(Context);

impl Blocks {
    /// Under this key.
    pub fn new(libssl: &'static Libssl, key: &[u8; KEY_BYTES]) -> Result<Blocks, Failed> {
        let mut context = Context::new(libssl, &Algorithms::get(libssl)?.blocks)?;
        context.initialise_to_encrypt(key.as_ptr(), ptr::null())?;
        Ok(Blocks(context))
    }

    /// Encrypts whole blocks to as many.
    pub fn encrypt(&mut self, from: &[u8], to: &mut [u8]) -> Result<(), Failed> {
        let length = same_length(from, to)?;
        // SAFETY: so many bytes to read, and as many to write.
        unsafe { self.0.encrypt(from.as_ptr(), to.as_mut_ptr(), length) }
    }
}

/// AES-256-GCM, to seal: several messages under one key.
#[derive(Debug)]
pub struct Sealing(Context);

impl Sealing {
    /// Without a key.
    pub fn new(libssl: &'static Libssl) -> Result<Sealing, Failed> {
        Context::new(libssl, &Algorithms::get(libssl)?.gcm).map(Sealing)
    }

    /// From now on under this key.
    pub fn set_key(&mut self, key: &[u8; KEY_BYTES]) -> Result<(), Failed> {
        self.0.initialise_to_encrypt(key.as_ptr(), ptr::null())
    }

    /// Encrypts `text` where it is, and returns the tag over it and `associated`. It has a key, under
    /// which no other message has this nonce.
    pub fn seal(
        &mut self,
        nonce: &[u8; GCM_NONCE_BYTES],
        associated: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], Failed> {
        let Sealing(context) = self;
        context.initialise_to_encrypt(ptr::null(), nonce.as_ptr())?;
        let length = c_int::try_from(associated.len()).map_err(|_| Failed::Refused)?;
        let mut written: c_int = 0;
        if length > 0 {
            let (update, ctx) = (present(context.libssl.EVP_EncryptUpdate)?, context.ctx.as_ptr());
            let data = associated.as_ptr();
            // SAFETY: a keyed context; no place to write to says that these are associated data.
            let ok = unsafe { update(ctx, ptr::null_mut(), &raw mut written, data, length) };
            succeeded(ok)?;
        }
        let length = c_int::try_from(text.len()).map_err(|_| Failed::Refused)?;
        // SAFETY: so many bytes to read and to write. GCM may write where it reads.
        unsafe { context.encrypt(text.as_ptr(), text.as_mut_ptr(), length) }?;
        let mut tag = [0; TAG_BYTES];
        let finish = present(context.libssl.EVP_EncryptFinal_ex)?;
        // SAFETY: a keyed context and a block's room, of which GCM uses nothing.
        let ok = unsafe { finish(context.ctx.as_ptr(), tag.as_mut_ptr(), &raw mut written) };
        succeeded(ok)?;
        context.tag(EVP_CTRL_GCM_GET_TAG, &mut tag)?;
        Ok(tag)
    }
}

/// AES-256-GCM, to open: several messages under one key.
#[derive(Debug)]
pub struct Opening(Context);

impl Opening {
    /// Without a key.
    pub fn new(libssl: &'static Libssl) -> Result<Opening, Failed> {
        Context::new(libssl, &Algorithms::get(libssl)?.gcm).map(Opening)
    }

    /// Decrypts `text` where it is, under another key or under the one it has. True if the tag is right; the text is
    /// otherwise not to be looked at.
    #[expect(clippy::too_many_arguments, reason = "an AEAD's inputs: RFC 5116 2.1")]
    pub fn open(
        &mut self,
        key: Option<&[u8; KEY_BYTES]>,
        nonce: &[u8; GCM_NONCE_BYTES],
        associated: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<bool, Failed> {
        let Opening(context) = self;
        let (ctx, gcm) = (context.ctx.as_ptr(), context.cipher_to_set());
        let initialise = present(context.libssl.EVP_DecryptInit_ex)?;
        let key = key.map_or(ptr::null(), |key| key.as_ptr());
        // SAFETY: a context, a fetched cipher or the one it has, and a nonce and a key of the lengths it
        // takes, or NULL for the key it has.
        succeeded(unsafe { initialise(ctx, gcm, ptr::null_mut(), key, nonce.as_ptr()) })?;
        context.is_set = true;
        context.tag(EVP_CTRL_GCM_SET_TAG, &mut { *tag })?;
        let update = present(context.libssl.EVP_DecryptUpdate)?;
        let length = c_int::try_from(associated.len()).map_err(|_| Failed::Refused)?;
        let mut written: c_int = 0;
        if length > 0 {
            let data = associated.as_ptr();
            // SAFETY: a keyed context; no place to write to says that these are associated data.
            let ok = unsafe { update(ctx, ptr::null_mut(), &raw mut written, data, length) };
            succeeded(ok)?;
        }
        let length = c_int::try_from(text.len()).map_err(|_| Failed::Refused)?;
        if length > 0 {
            let place = text.as_mut_ptr();
            // SAFETY: a keyed context, and so many bytes to read and to write. GCM is a stream, and may write
            // where it reads.
            succeeded(unsafe { update(ctx, place, &raw mut written, place, length) })?;
            whole(written, length)?;
        }
        let mut block = [0; TAG_BYTES];
        let finish = present(context.libssl.EVP_DecryptFinal_ex)?;
        // SAFETY: a keyed context and a block's room, of which GCM uses nothing.
        Ok(unsafe { finish(ctx, block.as_mut_ptr(), &raw mut written) } == 1)
    }
}

impl Context {
    fn new(
        libssl: &'static Libssl,
        cipher: &'static Fetched<EVP_CIPHER>,
    ) -> Result<Context, Failed> {
        // Whoever made one must be able to free it.
        present(libssl.EVP_CIPHER_CTX_free)?;
        // SAFETY: takes nothing.
        let ctx = NonNull::new(unsafe { present(libssl.EVP_CIPHER_CTX_new)?() });
        let ctx = ctx.ok_or(Failed::NoMemory)?;
        Ok(Context { libssl, ctx, cipher, is_set: false })
    }

    /// The cipher to key it with: NULL if it has that already.
    fn cipher_to_set(&self) -> *const EVP_CIPHER {
        if self.is_set { ptr::null() } else { self.cipher.as_ptr() }
    }

    /// `key` is NULL, for the key that it has, or points to `KEY_BYTES`; `nonce` is NULL or points to as
    /// many bytes as the cipher takes.
    fn initialise_to_encrypt(&mut self, key: *const u8, nonce: *const u8) -> Result<(), Failed> {
        let (ctx, cipher) = (self.ctx.as_ptr(), self.cipher_to_set());
        let initialise = present(self.libssl.EVP_EncryptInit_ex)?;
        // SAFETY: a context, a fetched cipher or the one it has, and a key and a nonce of the lengths
        // it takes.
        succeeded(unsafe { initialise(ctx, cipher, ptr::null_mut(), key, nonce) })?;
        self.is_set = true;
        Ok(())
    }

    /// Encrypts in one update. Both ciphers write their whole input at once, blocks or a stream,
    /// because ECB pads only in EVP_EncryptFinal_ex(), which is not called.
    ///
    /// # Safety
    /// `from` and `to` are so many bytes, to read and to write; a stream may have them in one place.
    unsafe fn encrypt(
        &mut self,
        from: *const u8,
        to: *mut u8,
        length: c_int,
    ) -> Result<(), Failed> {
        if length == 0 {
            return Ok(());
        }
        let mut written: c_int = 0;
        let (update, ctx) = (present(self.libssl.EVP_EncryptUpdate)?, self.ctx.as_ptr());
        // SAFETY: a keyed context, and the caller's promise.
        succeeded(unsafe { update(ctx, to, &raw mut written, from, length) })?;
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

impl Drop for Context {
    fn drop(&mut self) {
        if let Some(free) = self.libssl.EVP_CIPHER_CTX_free {
            // SAFETY: made in `new`, which nobody else frees.
            unsafe { free(self.ctx.as_ptr()) };
        }
    }
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

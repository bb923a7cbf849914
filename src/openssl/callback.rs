//! The application's callbacks: kept as it set them, called as OpenSSL calls them.
//!
//! A slot may be replaced by another thread while a handshake runs: it is one atomic word, read
//! when the event happens. No lock of ours is held around a call.

use super::constants::{
    SSL_TICKET_NO_DECRYPT, SSL_TICKET_RETURN_IGNORE_RENEW, SSL_TICKET_RETURN_USE,
    SSL_TICKET_RETURN_USE_RENEW, SSL_TICKET_SUCCESS, SSL_TICKET_SUCCESS_RENEW,
};
use super::handle::{Ctx, Session, SessionRef, Ssl, bytes};
use super::table::Libssl;
use super::types::{
    CallbackArg, DecryptTicketCb, GenerateCb, GenerateTicketCb, GetCb, HmacCtx, NewCb,
    PskFindSessionCb, PskServerCb, RemoveCb, ServernameCb, SessionSecretCb, TicketKeyCb,
};
use libc::{c_int, c_uint};
use openssl_sys::{EVP_CIPHER_CTX, SSL_SESSION};
use sesscache_core::system::thread::DuringCallback;
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{transmute, transmute_copy};
use std::ptr;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{Acquire, Release};

/// A C function pointer type that fits an atomic word.
///
/// # Safety
/// Only function pointer types implement it.
pub unsafe trait FnPtr: Copy {
    /// By which two callbacks are told apart; 0 for none.
    fn address(callback: Option<Self>) -> usize {
        // SAFETY: an optional function pointer is a pointer, NULL for None.
        unsafe { transmute_copy(&callback) }
    }
}

// SAFETY: a function pointer.
unsafe impl FnPtr for NewCb {}
// SAFETY: a function pointer.
unsafe impl FnPtr for RemoveCb {}
// SAFETY: a function pointer.
unsafe impl FnPtr for GetCb {}
// SAFETY: a function pointer.
unsafe impl FnPtr for GenerateCb {}
// SAFETY: a function pointer.
unsafe impl FnPtr for ServernameCb {}
// SAFETY: a function pointer.
unsafe impl FnPtr for GenerateTicketCb {}
// SAFETY: a function pointer.
unsafe impl FnPtr for DecryptTicketCb {}
// SAFETY: a function pointer.
unsafe impl FnPtr for PskFindSessionCb {}
// SAFETY: a function pointer.
unsafe impl FnPtr for PskServerCb {}
// SAFETY: a function pointer.
unsafe impl FnPtr for SessionSecretCb {}
// SAFETY: a function pointer.
unsafe impl<M> FnPtr for TicketKeyCb<M> {}

/// A callback that may be set, replaced and read at any time by any thread.
pub struct Callback<F>(AtomicPtr<c_void>, PhantomData<F>);

impl<F: FnPtr> Callback<F> {
    /// No callback.
    pub const fn new() -> Self {
        Callback(AtomicPtr::new(ptr::null_mut()), PhantomData)
    }

    /// Sets the callback, or none.
    pub fn set(&self, callback: Option<F>) {
        // SAFETY: an optional function pointer is a pointer, NULL for None.
        self.0.store(unsafe { transmute_copy(&callback) }, Release);
    }

    /// The callback that is set.
    pub fn get(&self) -> Option<F> {
        let callback = self.0.load(Acquire);
        // SAFETY: `set` stored an Option<F>.
        unsafe { transmute_copy(&callback) }
    }
}

impl<F: FnPtr> Default for Callback<F> {
    fn default() -> Self {
        Callback::new()
    }
}

impl<F: FnPtr> fmt::Debug for Callback<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.get().is_some() { "set" } else { "none" })
    }
}

/// Calls new_cb; not 0 if the application keeps the reference that it was given.
pub fn call_new(callback: NewCb, ssl: Ssl<'_>, session: SessionRef<'_>) -> c_int {
    let _callback = DuringCallback::new();
    // SAFETY: the application's promise by setting it; both handles are valid.
    unsafe { callback(ssl.as_ptr(), session.as_ptr()) }
}

/// Calls remove_cb.
pub fn call_remove(callback: RemoveCb, ctx: Ctx<'_>, session: SessionRef<'_>) {
    let _callback = DuringCallback::new();
    // SAFETY: the application's promise by setting it; both handles are valid.
    unsafe { callback(ctx.as_ptr(), session.as_ptr()) };
}

/// get_cb's answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The pointer, to be passed on untouched.
    pub pointer: *mut SSL_SESSION,
    /// `*copy` as get_cb left it.
    pub copy: c_int,
    /// The session, if it is one: not NULL, and not the token by which a libssl patched for
    /// asynchronous lookups (OpenResty) asks to be called again.
    pub session: Option<SessionRef<'a>>,
}

impl Answer<'_> {
    /// Does with the session what libssl does with one that it refuses.
    pub fn give_back(self) {
        if self.session.is_some() && self.copy == 0 {
            // SAFETY: a session, whose reference get_cb passed on by `*copy` 0.
            drop(unsafe { Session::from_raw(self.pointer) });
        }
    }
}

/// Calls get_cb, with `*copy` 1 on entry.
pub fn call_get<'a>(callback: GetCb, ssl: Ssl<'a>, id: &[u8]) -> Answer<'a> {
    let libssl = ssl.libssl();
    let mut copy: c_int = 1;
    let length = c_int::try_from(id.len()).unwrap_or(0);
    let _callback = DuringCallback::new();
    // SAFETY: the application's promise by setting it; valid handle, id and place for copy.
    let pointer = unsafe { callback(ssl.as_ptr(), id.as_ptr(), length, &raw mut copy) };
    let is_token = libssl.SSL_magic_pending_session_ptr.is_some_and(|token| {
        // SAFETY: it takes nothing and returns a constant.
        ptr::eq(pointer, unsafe { token() })
    });
    // SAFETY: NULL or a session that is valid until libssl has taken it.
    let session = if is_token { None } else { unsafe { SessionRef::borrow(libssl, pointer) } };
    Answer { pointer, copy, session }
}

/// Calls the application's session id generator with libssl's own arguments.
///
/// # Safety
/// `id` points to `*id_len` writable bytes, as libssl passes them.
pub unsafe fn call_generate(
    callback: GenerateCb,
    ssl: Ssl<'_>,
    id: *mut u8,
    id_len: *mut c_uint,
) -> c_int {
    let _callback = DuringCallback::new();
    // SAFETY: the application's promise by setting it, and our caller's.
    unsafe { callback(ssl.as_ptr(), id, id_len) }
}

/// Makes a call of a callback of the application whose arguments are all libssl's.
pub fn call_with_libssls<T>(call: impl FnOnce() -> T) -> T {
    let _callback = DuringCallback::new();
    call()
}

/// A servername callback, as SSL_CTX_callback_ctrl(3) passes it.
///
/// # Safety
/// `function` is the one of SSL_CTX_set_tlsext_servername_callback(3).
pub unsafe fn servername_cb(
    function: Option<unsafe extern "C-unwind" fn()>,
) -> Option<ServernameCb> {
    // SAFETY: the caller's promise; the macro has cast it to the other type.
    function.map(|function| unsafe {
        transmute::<unsafe extern "C-unwind" fn(), ServernameCb>(function)
    })
}

/// Calls the application's servername callback with libssl's own arguments.
///
/// # Safety
/// `al` is libssl's variable, and `arg` was set for this callback.
pub unsafe fn call_servername(
    callback: ServernameCb,
    ssl: Ssl<'_>,
    al: *mut c_int,
    arg: CallbackArg,
) -> c_int {
    let _callback = DuringCallback::new();
    // SAFETY: the application's promise by setting it, and our caller's.
    unsafe { callback(ssl.as_ptr(), al, arg) }
}

/// The callback that SSL_CTX_callback_ctrl(3) was given for ticket keys.
///
/// # Safety
/// `function` is the one of SSL_CTX_set_tlsext_ticket_key_cb(3).
pub unsafe fn ticket_key_cb(
    function: Option<unsafe extern "C-unwind" fn()>,
) -> Option<TicketKeyCb<HmacCtx>> {
    // SAFETY: the caller's promise; the macro has cast it to the other type.
    function.map(|function| unsafe {
        transmute::<unsafe extern "C-unwind" fn(), TicketKeyCb<HmacCtx>>(function)
    })
}

/// The arguments with which libssl asks for a ticket key: room for, or the key's name and the
/// initialisation vector, and the contexts to be set up.
#[derive(Debug)]
pub struct TicketKeyQuestion<M> {
    /// 16 bytes.
    pub key_name: *mut u8,
    /// `EVP_MAX_IV_LENGTH` bytes.
    pub iv: *mut u8,
    /// For the cipher.
    pub cipher: *mut EVP_CIPHER_CTX,
    /// For the MAC.
    pub mac: *mut M,
    /// 1: to seal, 0: to open.
    pub enc: c_int,
}

// Derived ones would want the same of M.
impl<M> Copy for TicketKeyQuestion<M> {}

impl<M> Clone for TicketKeyQuestion<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> TicketKeyQuestion<M> {
    /// Asks the application.
    ///
    /// # Safety
    /// The arguments are libssl's.
    pub unsafe fn ask(self, callback: TicketKeyCb<M>, ssl: Ssl<'_>) -> c_int {
        let TicketKeyQuestion { key_name, iv, cipher, mac, enc } = self;
        let _callback = DuringCallback::new();
        // SAFETY: the application's promise by setting it, and our caller's.
        unsafe { callback(ssl.as_ptr(), key_name, iv, cipher, mac, enc) }
    }
}

/// Calls the application's callback for the data of a new ticket; 0 ends the handshake.
///
/// # Safety
/// `arg` was set for this callback.
pub unsafe fn call_generate_ticket(
    callback: GenerateTicketCb,
    ssl: Ssl<'_>,
    arg: CallbackArg,
) -> c_int {
    let _callback = DuringCallback::new();
    // SAFETY: the application's promise by setting it, and our caller's.
    unsafe { callback(ssl.as_ptr(), arg) }
}

/// A ticket that libssl has opened, or could not open: the arguments of dec_cb in
/// SSL_CTX_set_session_ticket_cb(3).
#[derive(Clone, Copy, Debug)]
pub struct OpenedTicket {
    /// The session, or NULL.
    pub session: *mut SSL_SESSION,
    /// The first bytes of the ticket.
    pub key_name: *const u8,
    /// How many of them.
    pub key_name_length: usize,
    /// `SSL_TICKET_…`.
    pub status: c_int,
}

impl OpenedTicket {
    /// The session, and the name of the key that sealed its ticket; `None` if it was not opened.
    ///
    /// # Safety
    /// The arguments are libssl's, and valid for `'a`.
    pub unsafe fn session<'a>(self, libssl: &'static Libssl) -> Option<(SessionRef<'a>, &'a [u8])> {
        if ![SSL_TICKET_SUCCESS, SSL_TICKET_SUCCESS_RENEW].contains(&self.status) {
            return None;
        }
        // SAFETY: libssl's session, see above.
        let session = unsafe { SessionRef::borrow(libssl, self.session) }?;
        // SAFETY: libssl's ticket, see above.
        Some((session, unsafe { bytes(self.key_name, self.key_name_length) }?))
    }

    /// Whether the client has brought a ticket that no key opens.
    pub fn is_unopened(self) -> bool {
        self.status == SSL_TICKET_NO_DECRYPT
    }

    /// The same ticket for an application that is not to resume it: as if no key had opened it.
    pub fn unopened(self) -> OpenedTicket {
        OpenedTicket { session: ptr::null_mut(), status: SSL_TICKET_NO_DECRYPT, ..self }
    }

    /// Calls the application's dec_cb.
    ///
    /// # Safety
    /// The arguments are libssl's; `arg` was set for this callback.
    pub unsafe fn call(self, callback: DecryptTicketCb, ssl: Ssl<'_>, arg: CallbackArg) -> c_int {
        let OpenedTicket { session, key_name, key_name_length, status } = self;
        let _callback = DuringCallback::new();
        // SAFETY: the application's promise by setting it, and our caller's.
        unsafe { callback(ssl.as_ptr(), session, key_name, key_name_length, status, arg) }
    }

    /// The answer after which libssl goes on as without a callback (tls_decrypt_ticket).
    pub fn neutral(self) -> c_int {
        match self.status {
            SSL_TICKET_SUCCESS => SSL_TICKET_RETURN_USE,
            SSL_TICKET_SUCCESS_RENEW => SSL_TICKET_RETURN_USE_RENEW,
            _ => SSL_TICKET_RETURN_IGNORE_RENEW,
        }
    }
}

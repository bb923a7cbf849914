//! The stock functions that an overlaid function passes its call on to, by handles.
//!
//! Handles are valid, and callbacks can be called for as long as OpenSSL's manual pages want, because
//! the application promised that to OpenSSL. So these functions are safe.
//!
//! Functions that are called for the application alone go on to wrappers of others that come after
//! us. For the rest the handle decides ([`Ctx::onward`]), because we call them for ourselves, too.

use super::handle::{Ctx, SessionRef, Ssl};
use super::types::{
    AllowEarlyDataCb, CallbackArg, CertCb, CertVerifyCb, DecryptTicketCb, GenerateCb,
    GenerateTicketCb, GetCb, Lhash, NewCb, PskFindSessionCb, PskServerCb, RemoveCb,
    SessionSecretCb, TicketKeyEvpCb, VerifyCb,
};
use libc::{c_int, c_long, c_uint, c_void, time_t};
use openssl_sys::{SSL_CTX, SSL_OP_NO_TICKET};
use std::ptr;

impl Ctx<'_> {
    /// SSL_CTX_ctrl(3), for commands that take no pointer.
    pub fn stock_ctrl(self, cmd: c_int, larg: c_long) -> c_long {
        // SAFETY: a valid context; the session commands take no pointer.
        unsafe { (self.libssl().SSL_CTX_ctrl)(self.as_ptr(), cmd, larg, ptr::null_mut()) }
    }

    /// SSL_CTX_callback_ctrl(3).
    pub fn stock_callback_ctrl(
        self,
        cmd: c_int,
        fp: Option<unsafe extern "C-unwind" fn()>,
    ) -> c_long {
        // SAFETY: a valid context and the application's callback.
        unsafe { (self.onward().libssl().SSL_CTX_callback_ctrl)(self.as_ptr(), cmd, fp) }
    }

    /// SSL_CTX_add_session(3): puts a session into the stock cache; false if it was there.
    pub fn stock_add(self, session: SessionRef<'_>) -> bool {
        // SAFETY: a valid context and session; stock takes its own reference.
        unsafe { (self.libssl().SSL_CTX_add_session)(self.as_ptr(), session.as_ptr()) == 1 }
    }

    /// SSL_CTX_remove_session(3): takes a session out of the stock cache, marks it not resumable
    /// and, unless its id is empty, runs the stock context's remove hook. True if it was there.
    pub fn stock_remove(self, session: SessionRef<'_>) -> bool {
        // SAFETY: a valid context and session.
        unsafe { (self.libssl().SSL_CTX_remove_session)(self.as_ptr(), session.as_ptr()) == 1 }
    }

    /// SSL_CTX_flush_sessions_ex(3), or SSL_CTX_flush_sessions(3) before OpenSSL 3.4.
    pub fn stock_flush(self, tm: time_t) {
        let flush =
            self.libssl().SSL_CTX_flush_sessions_ex.unwrap_or(self.libssl().SSL_CTX_flush_sessions);
        // SAFETY: a valid context.
        unsafe { flush(self.as_ptr(), tm) };
    }

    /// SSL_CTX_sessions(3).
    pub fn stock_sessions(self) -> *mut Lhash {
        // SAFETY: a valid context.
        unsafe { (self.libssl().SSL_CTX_sessions)(self.as_ptr()) }
    }

    /// SSL_CTX_sess_set_new_cb(3).
    pub fn stock_set_new_cb(self, cb: Option<NewCb>) {
        // SAFETY: a valid context and the application's callback, or ours.
        unsafe { (self.libssl().SSL_CTX_sess_set_new_cb)(self.as_ptr(), cb) };
    }

    /// SSL_CTX_sess_get_new_cb(3).
    pub fn stock_new_cb(self) -> Option<NewCb> {
        // SAFETY: a valid context.
        unsafe { (self.libssl().SSL_CTX_sess_get_new_cb)(self.as_ptr()) }
    }

    /// SSL_CTX_sess_set_remove_cb(3).
    pub fn stock_set_remove_cb(self, cb: Option<RemoveCb>) {
        // SAFETY: a valid context and the application's callback, or ours.
        unsafe { (self.libssl().SSL_CTX_sess_set_remove_cb)(self.as_ptr(), cb) };
    }

    /// SSL_CTX_sess_get_remove_cb(3).
    pub fn stock_remove_cb(self) -> Option<RemoveCb> {
        // SAFETY: a valid context.
        unsafe { (self.libssl().SSL_CTX_sess_get_remove_cb)(self.as_ptr()) }
    }

    /// SSL_CTX_sess_set_get_cb(3).
    pub fn stock_set_get_cb(self, cb: Option<GetCb>) {
        // SAFETY: a valid context and the application's callback, or ours.
        unsafe { (self.libssl().SSL_CTX_sess_set_get_cb)(self.as_ptr(), cb) };
    }

    /// SSL_CTX_sess_get_get_cb(3).
    pub fn stock_get_cb(self) -> Option<GetCb> {
        // SAFETY: a valid context.
        unsafe { (self.libssl().SSL_CTX_sess_get_get_cb)(self.as_ptr()) }
    }

    /// SSL_CTX_set_generate_session_id(3).
    pub fn stock_set_generate_cb(self, cb: Option<GenerateCb>) -> c_int {
        // SAFETY: a valid context and the application's callback, or ours.
        unsafe { (self.onward().libssl().SSL_CTX_set_generate_session_id)(self.as_ptr(), cb) }
    }

    /// SSL_CTX_set_verify(3).
    pub fn stock_set_verify(self, mode: c_int, callback: Option<VerifyCb>) {
        // SAFETY: a valid context and the application's callback.
        unsafe { (self.onward().libssl().SSL_CTX_set_verify)(self.as_ptr(), mode, callback) };
    }

    /// SSL_CTX_set_cert_verify_callback(3).
    pub fn stock_set_cert_verify_cb(self, callback: Option<CertVerifyCb>, arg: CallbackArg) {
        // SAFETY: a valid context and the application's callback.
        unsafe {
            (self.onward().libssl().SSL_CTX_set_cert_verify_callback)(self.as_ptr(), callback, arg)
        };
    }

    /// SSL_CTX_set_cert_cb(3).
    pub fn stock_set_cert_cb(self, callback: Option<CertCb>, arg: CallbackArg) {
        // SAFETY: a valid context and the application's callback.
        unsafe { (self.onward().libssl().SSL_CTX_set_cert_cb)(self.as_ptr(), callback, arg) };
    }

    /// SSL_CTX_set_psk_find_session_callback(3).
    pub fn stock_set_psk_find_session_cb(self, callback: Option<PskFindSessionCb>) {
        if let Some(set) = self.onward().libssl().SSL_CTX_set_psk_find_session_callback {
            // SAFETY: a valid context and the application's callback.
            unsafe { set(self.as_ptr(), callback) };
        }
    }

    /// SSL_CTX_set_psk_server_callback(3).
    pub fn stock_set_psk_server_cb(self, callback: Option<PskServerCb>) {
        if let Some(set) = self.onward().libssl().SSL_CTX_set_psk_server_callback {
            // SAFETY: a valid context and the application's callback.
            unsafe { set(self.as_ptr(), callback) };
        }
    }

    /// SSL_CTX_set_tlsext_ticket_key_evp_cb(3); `None` where libssl lacks it.
    pub fn stock_set_ticket_key_cb(self, cb: Option<TicketKeyEvpCb>) -> Option<c_int> {
        let set = self.libssl().SSL_CTX_set_tlsext_ticket_key_evp_cb?;
        // SAFETY: a valid context and the application's callback, or ours.
        Some(unsafe { set(self.as_ptr(), cb) })
    }

    /// SSL_CTX_set_allow_early_data_cb(3).
    pub fn stock_set_allow_early_data_cb(self, cb: Option<AllowEarlyDataCb>, arg: CallbackArg) {
        // SAFETY: a valid context and the application's callback, or ours.
        unsafe { (self.libssl().SSL_CTX_set_allow_early_data_cb)(self.as_ptr(), cb, arg) };
    }

    /// SSL_CTX_set_session_ticket_cb(3).
    pub fn stock_set_ticket_data_cbs(
        self,
        generate: Option<GenerateTicketCb>,
        decrypt: Option<DecryptTicketCb>,
        arg: CallbackArg,
    ) -> c_int {
        let set = self.libssl().SSL_CTX_set_session_ticket_cb;
        // SAFETY: a valid context and the application's callbacks, or ours.
        unsafe { set(self.as_ptr(), generate, decrypt, arg) }
    }

    /// SSL_CTX_set_options(3) with `SSL_OP_NO_TICKET`: no ticket is stateless. False if it is set
    /// already.
    pub fn stock_forbid_tickets(self) -> bool {
        // SAFETY: a valid context.
        let before = unsafe { (self.libssl().SSL_CTX_get_options)(self.as_ptr()) };
        // SAFETY: a valid context.
        unsafe { (self.libssl().SSL_CTX_set_options)(self.as_ptr(), SSL_OP_NO_TICKET) };
        before & SSL_OP_NO_TICKET == 0
    }

    /// SSL_CTX_clear_options(3) with `SSL_OP_NO_TICKET`.
    pub fn stock_allow_tickets(self) {
        // SAFETY: a valid context.
        unsafe { (self.libssl().SSL_CTX_clear_options)(self.as_ptr(), SSL_OP_NO_TICKET) };
    }
}

impl Ssl<'_> {
    /// SSL_clear(3).
    pub fn stock_clear(self) -> c_int {
        // SAFETY: a valid connection.
        unsafe { (self.onward().libssl().SSL_clear)(self.as_ptr()) }
    }

    /// SSL_set_session(3).
    pub fn stock_set_session(self, session: Option<SessionRef<'_>>) -> c_int {
        let session = session.map_or(ptr::null_mut(), SessionRef::as_ptr);
        // SAFETY: a valid connection; a valid session, of which stock takes a reference, or NULL.
        unsafe { (self.onward().libssl().SSL_set_session)(self.as_ptr(), session) }
    }

    /// SSL_set_SSL_CTX(3).
    pub fn stock_set_ctx(self, ctx: Option<Ctx<'_>>) -> *mut SSL_CTX {
        let ctx = ctx.map_or(ptr::null_mut(), Ctx::as_ptr);
        // SAFETY: a valid connection; a valid context, of which stock takes a reference, or NULL.
        unsafe { (self.onward().libssl().SSL_set_SSL_CTX)(self.as_ptr(), ctx) }
    }

    /// SSL_set_purpose (ssl.h).
    pub fn stock_set_purpose(self, purpose: c_int) -> c_int {
        // SAFETY: a valid connection.
        unsafe { (self.onward().libssl().SSL_set_purpose)(self.as_ptr(), purpose) }
    }

    /// SSL_set_trust (ssl.h).
    pub fn stock_set_trust(self, trust: c_int) -> c_int {
        // SAFETY: a valid connection.
        unsafe { (self.onward().libssl().SSL_set_trust)(self.as_ptr(), trust) }
    }

    /// SSL_set_verify(3).
    pub fn stock_set_verify(self, mode: c_int, callback: Option<VerifyCb>) {
        // SAFETY: a valid connection and the application's callback.
        unsafe { (self.onward().libssl().SSL_set_verify)(self.as_ptr(), mode, callback) };
    }

    /// SSL_set_allow_early_data_cb(3).
    pub fn stock_set_allow_early_data_cb(self, cb: Option<AllowEarlyDataCb>, arg: CallbackArg) {
        // SAFETY: a valid connection and the application's callback, or ours.
        unsafe { (self.onward().libssl().SSL_set_allow_early_data_cb)(self.as_ptr(), cb, arg) };
    }

    /// SSL_set_cert_cb(3).
    pub fn stock_set_cert_cb(self, callback: Option<CertCb>, arg: CallbackArg) {
        // SAFETY: a valid connection and the application's callback.
        unsafe { (self.onward().libssl().SSL_set_cert_cb)(self.as_ptr(), callback, arg) };
    }

    /// SSL_set_psk_find_session_callback(3).
    pub fn stock_set_psk_find_session_cb(self, callback: Option<PskFindSessionCb>) {
        if let Some(set) = self.onward().libssl().SSL_set_psk_find_session_callback {
            // SAFETY: a valid connection and the application's callback.
            unsafe { set(self.as_ptr(), callback) };
        }
    }

    /// SSL_set_psk_server_callback(3).
    pub fn stock_set_psk_server_cb(self, callback: Option<PskServerCb>) {
        if let Some(set) = self.onward().libssl().SSL_set_psk_server_callback {
            // SAFETY: a valid connection and the application's callback.
            unsafe { set(self.as_ptr(), callback) };
        }
    }

    /// SSL_set_session_secret_cb of ssl.h.
    pub fn stock_set_session_secret_cb(
        self,
        callback: Option<SessionSecretCb>,
        arg: CallbackArg,
    ) -> c_int {
        let Some(set) = self.onward().libssl().SSL_set_session_secret_cb else { return 0 };
        // SAFETY: a valid connection and the application's callback.
        unsafe { set(self.as_ptr(), callback, arg) }
    }

    /// SSL_set_generate_session_id(3).
    pub fn stock_set_generate_cb(self, cb: Option<GenerateCb>) -> c_int {
        // SAFETY: a valid connection and the application's callback, or ours.
        unsafe { (self.onward().libssl().SSL_set_generate_session_id)(self.as_ptr(), cb) }
    }

    /// SSL_has_matching_session_id(3).
    pub fn stock_has_id(self, id: &[u8]) -> c_int {
        let length = c_uint::try_from(id.len()).unwrap_or(c_uint::MAX);
        // SAFETY: a valid connection and that many bytes.
        unsafe {
            (self.onward().libssl().SSL_has_matching_session_id)(self.as_ptr(), id.as_ptr(), length)
        }
    }
}

impl SessionRef<'_> {
    /// SSL_SESSION_set_ex_data(3).
    ///
    /// # Safety
    /// `data` is what the functions of this index expect.
    pub unsafe fn stock_set_ex_data(self, index: c_int, data: *mut c_void) -> c_int {
        let set = self.onward().libssl().SSL_SESSION_set_ex_data;
        // SAFETY: a valid session, and the caller's promise; libssl refuses what is no index.
        set.map_or(0, |set| unsafe { set(self.as_ptr(), index, data) })
    }

    /// SSL_SESSION_set_time(3).
    pub fn stock_set_time(self, time: c_long) -> c_long {
        // SAFETY: a valid session.
        unsafe { (self.onward().libssl().SSL_SESSION_set_time)(self.as_ptr(), time) }
    }

    /// SSL_SESSION_set_time_ex(3), or SSL_SESSION_set_time(3) before OpenSSL 3.3: on 64-bit Linux
    /// long and time_t are the same.
    pub fn stock_set_time_ex(self, time: time_t) -> time_t {
        let libssl = self.onward().libssl();
        let set = libssl.SSL_SESSION_set_time_ex.unwrap_or(libssl.SSL_SESSION_set_time);
        // SAFETY: a valid session.
        unsafe { set(self.as_ptr(), time) }
    }

    /// SSL_SESSION_set_timeout(3).
    pub fn stock_set_timeout(self, timeout: c_long) -> c_long {
        // SAFETY: a valid session.
        unsafe { (self.onward().libssl().SSL_SESSION_set_timeout)(self.as_ptr(), timeout) }
    }
}

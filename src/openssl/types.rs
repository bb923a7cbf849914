//! C types of OpenSSL that openssl-sys lacks: the callbacks that an application sets, and opaque
//! structs.

use libc::{c_char, c_int, c_long, c_uint, c_ulong, c_void};
use openssl_sys::{
    CRYPTO_EX_DATA, CRYPTO_EX_dup, CRYPTO_EX_free, CRYPTO_EX_new, EVP_CIPHER_CTX, OPENSSL_STACK,
    SSL, SSL_CIPHER, SSL_CTX, SSL_SESSION, X509_STORE_CTX,
};
use std::ptr;

/// `new_session_cb`: SSL_CTX_sess_set_new_cb(3).
pub type NewCb = unsafe extern "C-unwind" fn(ssl: *mut SSL, sess: *mut SSL_SESSION) -> c_int;
/// `remove_session_cb`: SSL_CTX_sess_set_remove_cb(3).
pub type RemoveCb = unsafe extern "C-unwind" fn(ctx: *mut SSL_CTX, sess: *mut SSL_SESSION);
/// `get_session_cb`: SSL_CTX_sess_set_get_cb(3).
pub type GetCb = unsafe extern "C-unwind" fn(
    ssl: *mut SSL,
    data: *const u8,
    len: c_int,
    copy: *mut c_int,
) -> *mut SSL_SESSION;
/// `GEN_SESSION_CB`: SSL_CTX_set_generate_session_id(3).
pub type GenerateCb =
    unsafe extern "C-unwind" fn(ssl: *mut SSL, id: *mut u8, id_len: *mut c_uint) -> c_int;

/// `SSL_verify_cb`: SSL_CTX_set_verify(3).
pub type VerifyCb =
    unsafe extern "C-unwind" fn(preverify_ok: c_int, x509_ctx: *mut X509_STORE_CTX) -> c_int;

/// The pointer that an application has handed over for its callback. It is only handed on.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct CallbackArg(*mut c_void);

impl CallbackArg {
    /// The argument of a callback that wants none.
    pub const NONE: CallbackArg = CallbackArg(ptr::null_mut());

    /// The argument that is this pointer.
    pub fn new(pointer: *mut c_void) -> CallbackArg {
        CallbackArg(pointer)
    }

    /// The pointer.
    pub fn as_ptr(self) -> *mut c_void {
        self.0
    }
}

/// `cert_cb`: SSL_CTX_set_cert_cb(3).
pub type CertCb = unsafe extern "C-unwind" fn(ssl: *mut SSL, arg: CallbackArg) -> c_int;
/// The callback of SSL_CTX_set_cert_verify_callback(3).
pub type CertVerifyCb =
    unsafe extern "C-unwind" fn(x509_ctx: *mut X509_STORE_CTX, arg: CallbackArg) -> c_int;
/// `SSL_psk_find_session_cb_func`: SSL_CTX_set_psk_find_session_callback(3).
pub type PskFindSessionCb = unsafe extern "C-unwind" fn(
    ssl: *mut SSL,
    identity: *const u8,
    identity_len: usize,
    sess: *mut *mut SSL_SESSION,
) -> c_int;
/// `SSL_psk_server_cb_func`: SSL_CTX_set_psk_server_callback(3).
pub type PskServerCb = unsafe extern "C-unwind" fn(
    ssl: *mut SSL,
    identity: *const c_char,
    psk: *mut u8,
    max_psk_len: c_uint,
) -> c_uint;
/// `SSL_psk_client_cb_func` (ssl.h).
pub type PskClientCb = unsafe extern "C-unwind" fn(
    ssl: *mut SSL,
    hint: *const c_char,
    identity: *mut c_char,
    max_identity_len: c_uint,
    psk: *mut u8,
    max_psk_len: c_uint,
) -> c_uint;
/// `tls_session_secret_cb_fn` (ssl.h).
pub type SessionSecretCb = unsafe extern "C-unwind" fn(
    ssl: *mut SSL,
    secret: *mut c_void,
    secret_len: *mut c_int,
    peer_ciphers: *mut OPENSSL_STACK,
    cipher: *mut *const SSL_CIPHER,
    arg: CallbackArg,
) -> c_int;
/// `SSL_allow_early_data_cb_fn`: SSL_CTX_set_allow_early_data_cb(3).
pub type AllowEarlyDataCb = unsafe extern "C-unwind" fn(ssl: *mut SSL, arg: CallbackArg) -> c_int;
/// The callback of SSL_CTX_set_tlsext_servername_callback(3).
pub type ServernameCb =
    unsafe extern "C-unwind" fn(ssl: *mut SSL, al: *mut c_int, arg: CallbackArg) -> c_int;
/// `SSL_CTX_generate_session_ticket_fn`: SSL_CTX_set_session_ticket_cb(3).
pub type GenerateTicketCb = unsafe extern "C-unwind" fn(ssl: *mut SSL, arg: CallbackArg) -> c_int;
/// `SSL_CTX_decrypt_session_ticket_fn`: SSL_CTX_set_session_ticket_cb(3).
pub type DecryptTicketCb = unsafe extern "C-unwind" fn(
    ssl: *mut SSL,
    ss: *mut SSL_SESSION,
    keyname: *const u8,
    keyname_length: usize,
    status: c_int,
    arg: CallbackArg,
) -> c_int;

/// An `EVP_MAC_CTX`, opaque as in OpenSSL.
#[repr(C)]
#[derive(Debug)]
pub struct EvpMacCtx {
    _opaque: [u8; 0],
}

/// An `HMAC_CTX`, opaque as in OpenSSL.
#[repr(C)]
#[derive(Debug)]
pub struct HmacCtx {
    _opaque: [u8; 0],
}

/// The callback of SSL_CTX_set_tlsext_ticket_key_evp_cb(3) or, with an `HMAC_CTX`, that of
/// SSL_CTX_set_tlsext_ticket_key_cb(3).
pub type TicketKeyCb<M> = unsafe extern "C-unwind" fn(
    ssl: *mut SSL,
    key_name: *mut u8,
    iv: *mut u8,
    ctx: *mut EVP_CIPHER_CTX,
    hctx: *mut M,
    enc: c_int,
) -> c_int;
/// The former.
pub type TicketKeyEvpCb = TicketKeyCb<EvpMacCtx>;

/// An `OPENSSL_LHASH`, opaque as in OpenSSL.
#[repr(C)]
#[derive(Debug)]
pub struct Lhash {
    _opaque: [u8; 0],
}

pub(super) type LhashHash = unsafe extern "C-unwind" fn(*const c_void) -> c_ulong;
pub(super) type LhashCompare = unsafe extern "C-unwind" fn(*const c_void, *const c_void) -> c_int;

/// `OPENSSL_LH_DOALL_FUNC`.
pub type LhashVisit = unsafe extern "C-unwind" fn(node: *mut c_void);
/// `OPENSSL_LH_DOALL_FUNCARG`.
pub type LhashVisitWith = unsafe extern "C-unwind" fn(node: *mut c_void, arg: *mut c_void);
// The thunks of OpenSSL 3.3 and later, which call such functions by their own types.
pub(super) type LhashHashThunk = unsafe extern "C-unwind" fn(*const c_void, LhashHash) -> c_ulong;
pub(super) type LhashCompareThunk =
    unsafe extern "C-unwind" fn(*const c_void, *const c_void, LhashCompare) -> c_int;
pub(super) type LhashVisitThunk = unsafe extern "C-unwind" fn(*mut c_void, LhashVisit);
pub(super) type LhashVisitWithThunk =
    unsafe extern "C-unwind" fn(*mut c_void, *mut c_void, LhashVisitWith);

/// `CRYPTO_get_ex_new_index`, the one libcrypto function that is overlaid.
pub type GetExNewIndex = unsafe extern "C-unwind" fn(
    class_index: c_int,
    argl: c_long,
    argp: *mut c_void,
    new_func: Option<CRYPTO_EX_new>,
    dup_func: Option<CRYPTO_EX_dup>,
    free_func: Option<CRYPTO_EX_free>,
) -> c_int;

/// The `ex_data` free function, with the pointers as OpenSSL passes them.
pub type ExFree = unsafe extern "C-unwind" fn(
    *mut c_void,
    *mut c_void,
    *mut CRYPTO_EX_DATA,
    c_int,
    c_long,
    *mut c_void,
);

/// `OSSL_PARAM` (openssl/core.h).
#[repr(C)]
#[derive(Debug)]
pub struct Param {
    pub(super) key: *const c_char,
    pub(super) data_type: c_uint,
    pub(super) data: *mut c_void,
    pub(super) data_size: usize,
    pub(super) return_size: usize,
}

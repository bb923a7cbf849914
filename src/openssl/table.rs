//! The table of stock functions, and how it is filled from a library.
//!
//! Nothing here is linked: a preloaded library gets into programs without libssl. The table is the
//! only way to call OpenSSL, because a plain call of an overlaid name would come back to us.

use super::library::Library;
use super::objects::extent_of;
use super::scope::library_reached;
use super::types::{
    AllowEarlyDataCb, CallbackArg, CertCb, CertVerifyCb, DecryptTicketCb, EvpMacCtx, GenerateCb,
    GenerateTicketCb, GetCb, HmacCtx, Lhash, LhashCompare, LhashCompareThunk, LhashHash,
    LhashHashThunk, LhashVisitThunk, LhashVisitWithThunk, NewCb, Param, PskClientCb,
    PskFindSessionCb, PskServerCb, RemoveCb, SessionSecretCb, TicketKeyEvpCb, VerifyCb,
};
use libc::{c_char, c_int, c_long, c_uint, c_ulong, c_void, time_t};
use openssl_sys::{
    ASN1_STRING, ASN1_TIME, BIO, CRYPTO_EX_DATA, CRYPTO_EX_dup, CRYPTO_EX_free, CRYPTO_EX_new,
    EVP_CIPHER, EVP_CIPHER_CTX, EVP_MD, EVP_MD_CTX, EVP_PKEY, OPENSSL_STACK, SSL, SSL_CIPHER,
    SSL_CTX, SSL_METHOD, SSL_SESSION, X509, X509_CRL, X509_NAME, X509_NAME_ENTRY, X509_OBJECT,
    X509_STORE, X509_STORE_CTX, X509_VERIFY_PARAM,
};
use std::mem::transmute_copy;
use std::ptr::{self, NonNull};

/// Declares the table and how it is filled: a field a function, `Option` where a supported
/// OpenSSL may lack it.
macro_rules! table {
    (
        required { $($name:ident: fn($($arg:ty),*) $(-> $ret:ty)?;)* }
        optional { $($opt_name:ident: fn($($opt_arg:ty),*) $(-> $opt_ret:ty)?;)* }
    ) => {
        /// The stock functions we call, each with OpenSSL's own signature.
        #[expect(non_snake_case, reason = "the fields are OpenSSL's names")]
        #[expect(missing_docs, reason = "OpenSSL's manual pages describe them")]
        #[derive(Debug)]
        pub struct Libssl {
            /// Whether this OpenSSL is one whose cache we replace; else we only pass calls on.
            pub is_supported: bool,
            /// Where this libssl is mapped.
            pub base: Option<usize>,
            /// The functions that the application's calls go on to, if wrappers of others come
            /// after us.
            pub wrapped: Option<&'static Libssl>,
            $(pub $name: unsafe extern "C-unwind" fn($($arg),*) $(-> $ret)?,)*
            $(pub $opt_name: Option<unsafe extern "C-unwind" fn($($opt_arg),*) $(-> $opt_ret)?>,)*
        }

        impl Libssl {
            /// Fills a table of this library with the functions that are found for the names.
            pub(super) fn fill_by(
                library: &Library,
                find: impl Fn(&str) -> Option<NonNull<c_void>>,
            ) -> Libssl {
                let mut is_supported = library.is_openssl_3_or_4();
                Libssl {
                    $($name: {
                        let found = find(concat!(stringify!($name), "\0"));
                        is_supported &= found.is_some();
                        let found = found.unwrap_or(MISSING);
                        // SAFETY: the symbol of this name has this signature since OpenSSL 1.1.1.
                        // A missing function is not called: no context gets a state, and a program
                        // calls nothing that its own libssl lacks.
                        unsafe { transmute_copy(&found) }
                    },)*
                    $($opt_name: {
                        let found = find(concat!(stringify!($opt_name), "\0"));
                        // SAFETY: as above; a missing symbol is the null pointer, which is None.
                        unsafe { transmute_copy(&found.map_or(ptr::null_mut(), NonNull::as_ptr)) }
                    },)*
                    is_supported,
                    base: library.base(),
                    wrapped: None,
                }
            }
        }
    };
}

impl Libssl {
    /// The functions that the application's calls go on to.
    #[inline]
    pub fn onward(&'static self) -> &'static Libssl {
        self.wrapped.unwrap_or(self)
    }

    /// The library's own functions, and those of the libcrypto that it calls. With two of them in the
    /// process that need not be the one that it was linked with.
    pub(super) fn fill(library: &Library) -> Libssl {
        let place = library.find("SSL_CTX_new\0").map_or(0, |found| found.as_ptr() as usize);
        let own = extent_of(place).unwrap_or(0..0);
        let libcrypto = library_reached(place, &[c"CRYPTO_new_ex_data", c"CRYPTO_free_ex_data"]);
        Libssl::fill_by(library, |name| {
            let found = library.find(name);
            let is_own = found.is_some_and(|found| own.contains(&(found.as_ptr() as usize)));
            let libcrypto = libcrypto.as_ref().filter(|_| !is_own);
            libcrypto.and_then(|libcrypto| libcrypto.find(name)).or(found)
        })
    }

    /// The functions of a libssl that calls are passed on to, and nothing else: we have no slot in
    /// its objects, and what lies under our indexes there is not ours.
    pub(super) fn passing_on(library: &Library) -> Libssl {
        unsafe extern "C-unwind" fn of_no_ctx(_: *const SSL_CTX, _: c_int) -> *mut c_void {
            ptr::null_mut()
        }
        unsafe extern "C-unwind" fn of_no_ssl(_: *const SSL, _: c_int) -> *mut c_void {
            ptr::null_mut()
        }
        Libssl {
            is_supported: false,
            SSL_CTX_get_ex_data: of_no_ctx,
            SSL_get_ex_data: of_no_ssl,
            ..Libssl::fill(library)
        }
    }
}

/// Stands for a function that an unsupported libssl lacks.
extern "C-unwind" fn missing() -> usize {
    0
}

const MISSING: NonNull<c_void> = {
    let function: extern "C-unwind" fn() -> usize = missing;
    // SAFETY: a function is not at address zero.
    unsafe { NonNull::new_unchecked(function as *mut c_void) }
};

table! {
    required {
        SSL_CTX_new: fn(*const SSL_METHOD) -> *mut SSL_CTX;
        SSL_CTX_sess_set_new_cb: fn(*mut SSL_CTX, Option<NewCb>);
        SSL_CTX_sess_set_remove_cb: fn(*mut SSL_CTX, Option<RemoveCb>);
        SSL_CTX_sess_set_get_cb: fn(*mut SSL_CTX, Option<GetCb>);
        SSL_CTX_sess_get_new_cb: fn(*mut SSL_CTX) -> Option<NewCb>;
        SSL_CTX_sess_get_remove_cb: fn(*mut SSL_CTX) -> Option<RemoveCb>;
        SSL_CTX_sess_get_get_cb: fn(*mut SSL_CTX) -> Option<GetCb>;
        SSL_CTX_add_session: fn(*mut SSL_CTX, *mut SSL_SESSION) -> c_int;
        SSL_CTX_remove_session: fn(*mut SSL_CTX, *mut SSL_SESSION) -> c_int;
        SSL_CTX_flush_sessions: fn(*mut SSL_CTX, c_long);
        SSL_CTX_sessions: fn(*mut SSL_CTX) -> *mut Lhash;
        SSL_CTX_ctrl: fn(*mut SSL_CTX, c_int, c_long, *mut c_void) -> c_long;
        SSL_CTX_set_generate_session_id: fn(*mut SSL_CTX, Option<GenerateCb>) -> c_int;
        SSL_free: fn(*mut SSL);
        SSL_clear: fn(*mut SSL) -> c_int;
        SSL_set_session: fn(*mut SSL, *mut SSL_SESSION) -> c_int;
        SSL_CTX_callback_ctrl: fn(*mut SSL_CTX, c_int, Option<unsafe extern "C-unwind" fn()>) -> c_long;
        SSL_CTX_set_options: fn(*mut SSL_CTX, u64) -> u64;
        SSL_CTX_clear_options: fn(*mut SSL_CTX, u64) -> u64;
        SSL_CTX_get_options: fn(*const SSL_CTX) -> u64;
        SSL_CTX_get_ex_data: fn(*const SSL_CTX, c_int) -> *mut c_void;
        SSL_CTX_set_ex_data: fn(*mut SSL_CTX, c_int, *mut c_void) -> c_int;
        SSL_set_generate_session_id: fn(*mut SSL, Option<GenerateCb>) -> c_int;
        SSL_has_matching_session_id: fn(*const SSL, *const u8, c_uint) -> c_int;
        SSL_CTX_set_verify: fn(*mut SSL_CTX, c_int, Option<VerifyCb>);
        SSL_set_verify: fn(*mut SSL, c_int, Option<VerifyCb>);
        SSL_CTX_set_cert_verify_callback: fn(*mut SSL_CTX, Option<CertVerifyCb>, CallbackArg);
        SSL_CTX_set_cert_cb: fn(*mut SSL_CTX, Option<CertCb>, CallbackArg);
        SSL_set_cert_cb: fn(*mut SSL, Option<CertCb>, CallbackArg);
        SSL_CTX_set_session_id_context: fn(*mut SSL_CTX, *const u8, c_uint) -> c_int;
        SSL_set_session_id_context: fn(*mut SSL, *const u8, c_uint) -> c_int;
        SSL_CTX_set_session_ticket_cb: fn(
            *mut SSL_CTX,
            Option<GenerateTicketCb>,
            Option<DecryptTicketCb>,
            CallbackArg
        ) -> c_int;
        SSL_set_purpose: fn(*mut SSL, c_int) -> c_int;
        SSL_set_trust: fn(*mut SSL, c_int) -> c_int;
        SSL_set1_param: fn(*mut SSL, *mut X509_VERIFY_PARAM) -> c_int;
        SSL_get0_param: fn(*mut SSL) -> *mut X509_VERIFY_PARAM;
        SSL_set_SSL_CTX: fn(*mut SSL, *mut SSL_CTX) -> *mut SSL_CTX;
        SSL_get_SSL_CTX: fn(*const SSL) -> *mut SSL_CTX;
        SSL_get_ex_data: fn(*const SSL, c_int) -> *mut c_void;
        SSL_set_ex_data: fn(*mut SSL, c_int, *mut c_void) -> c_int;
        SSL_get_max_early_data: fn(*const SSL) -> u32;
        SSL_CTX_set_allow_early_data_cb: fn(*mut SSL_CTX, Option<AllowEarlyDataCb>, CallbackArg);
        SSL_set_allow_early_data_cb: fn(*mut SSL, Option<AllowEarlyDataCb>, CallbackArg);
        SSL_get_options: fn(*const SSL) -> u64;
        SSL_is_server: fn(*const SSL) -> c_int;
        SSL_version: fn(*const SSL) -> c_int;
        SSL_SESSION_free: fn(*mut SSL_SESSION);
        SSL_SESSION_up_ref: fn(*mut SSL_SESSION) -> c_int;
        SSL_SESSION_get_id: fn(*const SSL_SESSION, *mut c_uint) -> *const u8;
        SSL_SESSION_get_protocol_version: fn(*const SSL_SESSION) -> c_int;
        SSL_SESSION_get_time: fn(*const SSL_SESSION) -> c_long;
        SSL_SESSION_get_timeout: fn(*const SSL_SESSION) -> c_long;
        SSL_SESSION_set_time: fn(*mut SSL_SESSION, c_long) -> c_long;
        SSL_SESSION_set_timeout: fn(*mut SSL_SESSION, c_long) -> c_long;
        SSL_SESSION_is_resumable: fn(*const SSL_SESSION) -> c_int;
        CRYPTO_get_ex_new_index: fn(
            c_int,
            c_long,
            *mut c_void,
            Option<CRYPTO_EX_new>,
            Option<CRYPTO_EX_dup>,
            Option<CRYPTO_EX_free>
        ) -> c_int;
        OPENSSL_LH_new: fn(Option<LhashHash>, Option<LhashCompare>) -> *mut Lhash;
        OPENSSL_LH_insert: fn(*mut Lhash, *mut c_void) -> *mut c_void;
        OPENSSL_LH_flush: fn(*mut Lhash);
        OPENSSL_LH_free: fn(*mut Lhash);
        ERR_set_mark: fn() -> c_int;
        ERR_pop_to_mark: fn() -> c_int;
    }
    optional {
        CRYPTO_get_ex_data: fn(*const CRYPTO_EX_DATA, c_int) -> *mut c_void;
        SSL_CTX_up_ref: fn(*mut SSL_CTX) -> c_int;
        SSL_CTX_free: fn(*mut SSL_CTX);
        SSL_CTX_new_ex: fn(*mut c_void, *const c_char, *const SSL_METHOD) -> *mut SSL_CTX;
        // A libssl may be built without shared keys.
        SSL_CTX_set_psk_find_session_callback: fn(*mut SSL_CTX, Option<PskFindSessionCb>);
        SSL_set_psk_find_session_callback: fn(*mut SSL, Option<PskFindSessionCb>);
        SSL_CTX_set_psk_server_callback: fn(*mut SSL_CTX, Option<PskServerCb>);
        SSL_set_psk_server_callback: fn(*mut SSL, Option<PskServerCb>);
        SSL_set_session_secret_cb: fn(*mut SSL, Option<SessionSecretCb>, CallbackArg) -> c_int;
        // Sharing with other processes needs these.
        i2d_SSL_SESSION: fn(*const SSL_SESSION, *mut *mut u8) -> c_int;
        d2i_SSL_SESSION: fn(*mut *mut SSL_SESSION, *mut *const u8, c_long) -> *mut SSL_SESSION;
        SSL_SESSION_get0_hostname: fn(*const SSL_SESSION) -> *const c_char;
        SSL_SESSION_get0_alpn_selected: fn(*const SSL_SESSION, *mut *const u8, *mut usize);
        SSL_SESSION_has_ticket: fn(*const SSL_SESSION) -> c_int;
        SSL_SESSION_get_ticket_lifetime_hint: fn(*const SSL_SESSION) -> c_ulong;
        SSL_SESSION_get_max_early_data: fn(*const SSL_SESSION) -> u32;
        SSL_SESSION_get_max_fragment_length: fn(*const SSL_SESSION) -> u8;
        SSL_get_psk_identity: fn(*const SSL) -> *const c_char;
        SSL_get_psk_identity_hint: fn(*const SSL) -> *const c_char;
        OPENSSL_version_major: fn() -> c_uint;
        OPENSSL_version_minor: fn() -> c_uint;
        // A connection of our own.
        TLS_method: fn() -> *const SSL_METHOD;
        SSL_CTX_set_cipher_list: fn(*mut SSL_CTX, *const c_char) -> c_int;
        SSL_CTX_set_psk_client_callback: fn(*mut SSL_CTX, Option<PskClientCb>);
        SSL_set_accept_state: fn(*mut SSL);
        SSL_set_connect_state: fn(*mut SSL);
        SSL_set_bio: fn(*mut SSL, *mut BIO, *mut BIO);
        SSL_do_handshake: fn(*mut SSL) -> c_int;
        SSL_set_shutdown: fn(*mut SSL, c_int);
        BIO_new_bio_pair: fn(*mut *mut BIO, usize, *mut *mut BIO, usize) -> c_int;
        SSL_SESSION_dup: fn(*const SSL_SESSION) -> *mut SSL_SESSION;
        SSL_SESSION_set1_id: fn(*mut SSL_SESSION, *const u8, c_uint) -> c_int;
        SSL_SESSION_set1_master_key: fn(*mut SSL_SESSION, *const u8, usize) -> c_int;
        SSL_SESSION_get_ex_data: fn(*const SSL_SESSION, c_int) -> *mut c_void;
        SSL_SESSION_set_ex_data: fn(*mut SSL_SESSION, c_int, *mut c_void) -> c_int;
        SSL_SESSION_get0_id_context: fn(*const SSL_SESSION, *mut c_uint) -> *const u8;
        SSL_SESSION_set1_id_context: fn(*mut SSL_SESSION, *const u8, c_uint) -> c_int;
        SSL_SESSION_get0_ticket_appdata: fn(*mut SSL_SESSION, *mut *mut c_void, *mut usize) -> c_int;
        SSL_SESSION_set1_ticket_appdata: fn(*mut SSL_SESSION, *const c_void, usize) -> c_int;
        SSL_SESSION_get_master_key: fn(*const SSL_SESSION, *mut u8, usize) -> usize;
        SSL_SESSION_get0_peer: fn(*mut SSL_SESSION) -> *mut X509;
        SSL_CTX_get0_certificate: fn(*const SSL_CTX) -> *mut X509;
        SSL_CTX_get_verify_mode: fn(*const SSL_CTX) -> c_int;
        SSL_CTX_get_ssl_method: fn(*const SSL_CTX) -> *const SSL_METHOD;
        TLS_client_method: fn() -> *const SSL_METHOD;
        DTLS_client_method: fn() -> *const SSL_METHOD;
        TLS_server_method: fn() -> *const SSL_METHOD;
        DTLS_server_method: fn() -> *const SSL_METHOD;
        SSL_SESSION_get_compress_id: fn(*const SSL_SESSION) -> c_uint;
        SSL_CTX_get_timeout: fn(*const SSL_CTX) -> c_long;
        SSL_CTX_get_cert_store: fn(*const SSL_CTX) -> *mut X509_STORE;
        SSL_CTX_get_client_CA_list: fn(*const SSL_CTX) -> *mut OPENSSL_STACK;
        SSL_get_session: fn(*const SSL) -> *mut SSL_SESSION;
        SSL_in_init: fn(*const SSL) -> c_int;
        SSL_in_before: fn(*const SSL) -> c_int;
        SSL_get_servername: fn(*const SSL, c_int) -> *const c_char;
        SSL_get_verify_mode: fn(*const SSL) -> c_int;
        SSL_client_hello_get0_ext: fn(*mut SSL, c_uint, *mut *const u8, *mut usize) -> c_int;
        X509_STORE_up_ref: fn(*mut X509_STORE) -> c_int;
        X509_STORE_free: fn(*mut X509_STORE);
        X509_STORE_get1_all_certs: fn(*mut X509_STORE) -> *mut OPENSSL_STACK;
        X509_up_ref: fn(*mut X509) -> c_int;
        X509_free: fn(*mut X509);
        X509_get0_notAfter: fn(*const X509) -> *const ASN1_TIME;
        X509_NAME_get0_der: fn(*const X509_NAME, *mut *const u8, *mut usize) -> c_int;
        ASN1_TIME_to_tm: fn(*const ASN1_TIME, *mut libc::tm) -> c_int;
        OPENSSL_sk_num: fn(*const OPENSSL_STACK) -> c_int;
        OPENSSL_sk_value: fn(*const OPENSSL_STACK, c_int) -> *mut c_void;
        OPENSSL_sk_free: fn(*mut OPENSSL_STACK);
        ERR_get_next_error_library: fn() -> c_int;
        ERR_new: fn();
        // Variadic: see `error_queue::put`.
        ERR_set_error: fn(c_int, c_int, *const c_char);
        SSL_CTX_flush_sessions_ex: fn(*mut SSL_CTX, time_t);
        SSL_SESSION_set_time_ex: fn(*mut SSL_SESSION, time_t) -> time_t;
        OPENSSL_LH_set_thunks: fn(
            *mut Lhash,
            Option<LhashHashThunk>,
            Option<LhashCompareThunk>,
            LhashVisitThunk,
            LhashVisitWithThunk
        ) -> *mut Lhash;
        SSL_magic_pending_session_ptr: fn() -> *mut SSL_SESSION;
        OSSL_LIB_CTX_new: fn() -> *mut c_void;
        OSSL_LIB_CTX_free: fn(*mut c_void);
        OSSL_PROVIDER_load: fn(*mut c_void, *const c_char) -> *mut c_void;
        OSSL_PROVIDER_unload: fn(*mut c_void) -> c_int;
        RAND_bytes_ex: fn(*mut c_void, *mut u8, usize, c_uint) -> c_int;
        EVP_CIPHER_fetch: fn(*mut c_void, *const c_char, *const c_char) -> *mut EVP_CIPHER;
        EVP_CIPHER_free: fn(*mut EVP_CIPHER);
        EVP_CIPHER_CTX_new: fn() -> *mut EVP_CIPHER_CTX;
        EVP_CIPHER_CTX_free: fn(*mut EVP_CIPHER_CTX);
        EVP_CIPHER_CTX_ctrl: fn(*mut EVP_CIPHER_CTX, c_int, c_int, *mut c_void) -> c_int;
        EVP_EncryptInit_ex: fn(
            *mut EVP_CIPHER_CTX,
            *const EVP_CIPHER,
            *mut c_void,
            *const u8,
            *const u8
        ) -> c_int;
        EVP_EncryptUpdate: fn(*mut EVP_CIPHER_CTX, *mut u8, *mut c_int, *const u8, c_int) -> c_int;
        EVP_EncryptFinal_ex: fn(*mut EVP_CIPHER_CTX, *mut u8, *mut c_int) -> c_int;
        EVP_DecryptInit_ex: fn(
            *mut EVP_CIPHER_CTX,
            *const EVP_CIPHER,
            *mut c_void,
            *const u8,
            *const u8
        ) -> c_int;
        EVP_DecryptUpdate: fn(*mut EVP_CIPHER_CTX, *mut u8, *mut c_int, *const u8, c_int) -> c_int;
        EVP_DecryptFinal_ex: fn(*mut EVP_CIPHER_CTX, *mut u8, *mut c_int) -> c_int;
        EVP_MAC_CTX_set_params: fn(*mut EvpMacCtx, *const Param) -> c_int;
        SSL_CTX_set_tlsext_ticket_key_evp_cb: fn(*mut SSL_CTX, Option<TicketKeyEvpCb>) -> c_int;
        EVP_MD_fetch: fn(*mut c_void, *const c_char, *const c_char) -> *mut EVP_MD;
        EVP_MD_free: fn(*mut EVP_MD);
        HMAC_Init_ex: fn(
            *mut HmacCtx,
            *const c_void,
            c_int,
            *const EVP_MD,
            *mut c_void
        ) -> c_int;
        EVP_MD_CTX_new: fn() -> *mut EVP_MD_CTX;
        EVP_MD_CTX_free: fn(*mut EVP_MD_CTX);
        EVP_DigestInit_ex: fn(*mut EVP_MD_CTX, *const EVP_MD, *mut c_void) -> c_int;
        EVP_DigestUpdate: fn(*mut EVP_MD_CTX, *const c_void, usize) -> c_int;
        EVP_DigestFinal_ex: fn(*mut EVP_MD_CTX, *mut u8, *mut c_uint) -> c_int;
        EVP_Q_mac: fn(
            *mut c_void,
            *const c_char,
            *const c_char,
            *const c_char,
            *const Param,
            *const c_void,
            usize,
            *const u8,
            usize,
            *mut u8,
            usize,
            *mut usize
        ) -> *mut u8;
        // A server's names.
        SSL_new: fn(*mut SSL_CTX) -> *mut SSL;
        SSL_ctrl: fn(*mut SSL, c_int, c_long, *mut c_void) -> c_long;
        SSL_get_certificate: fn(*const SSL) -> *mut X509;
        SSL_CTX_get0_privatekey: fn(*const SSL_CTX) -> *mut EVP_PKEY;
        SSL_CTX_get0_server_cert_type: fn(*const SSL_CTX, *mut *mut u8, *mut usize) -> c_int;
        OSSL_QUIC_server_method: fn() -> *const SSL_METHOD;
        X509_get_ext_d2i: fn(*const X509, c_int, *mut c_int, *mut c_int) -> *mut c_void;
        GENERAL_NAME_get0_value: fn(*const c_void, *mut c_int) -> *mut c_void;
        GENERAL_NAMES_free: fn(*mut OPENSSL_STACK);
        X509_get_subject_name: fn(*const X509) -> *mut X509_NAME;
        X509_NAME_get_index_by_NID: fn(*const X509_NAME, c_int, c_int) -> c_int;
        X509_NAME_get_entry: fn(*const X509_NAME, c_int) -> *mut X509_NAME_ENTRY;
        X509_NAME_ENTRY_get_data: fn(*const X509_NAME_ENTRY) -> *mut ASN1_STRING;
        ASN1_STRING_get0_data: fn(*const ASN1_STRING) -> *const u8;
        ASN1_STRING_length: fn(*const ASN1_STRING) -> c_int;
        ASN1_STRING_to_UTF8: fn(*mut *mut u8, *const ASN1_STRING) -> c_int;
        CRYPTO_malloc: fn(usize, *const c_char, c_int) -> *mut c_void;
        CRYPTO_free: fn(*mut c_void, *const c_char, c_int);
        CRYPTO_get_mem_functions: fn(*mut *const c_void, *mut *const c_void, *mut *const c_void);
        X509_get0_pubkey: fn(*const X509) -> *mut EVP_PKEY;
        EVP_PKEY_up_ref: fn(*mut EVP_PKEY) -> c_int;
        EVP_PKEY_free: fn(*mut EVP_PKEY);
        i2d_PUBKEY: fn(*const EVP_PKEY, *mut *mut u8) -> c_int;
        // A client's certificate, and its session's cipher.
        SSL_get_verify_depth: fn(*const SSL) -> c_int;
        SSL_get_verify_result: fn(*const SSL) -> c_long;
        SSL_get_security_level: fn(*const SSL) -> c_int;
        SSL_session_reused: fn(*const SSL) -> c_int;
        SSL_get_client_random: fn(*const SSL, *mut u8, usize) -> usize;
        SSL_get_server_random: fn(*const SSL, *mut u8, usize) -> usize;
        SSL_get_peer_finished: fn(*const SSL, *mut c_void, usize) -> usize;
        SSL_get_ex_data_X509_STORE_CTX_idx: fn() -> c_int;
        SSL_get_ciphers: fn(*const SSL) -> *mut OPENSSL_STACK;
        SSL_SESSION_get0_cipher: fn(*const SSL_SESSION) -> *const SSL_CIPHER;
        SSL_SESSION_get0_peer_rpk: fn(*mut SSL_SESSION) -> *mut EVP_PKEY;
        SSL_CIPHER_get_bits: fn(*const SSL_CIPHER, *mut c_int) -> c_int;
        SSL_CIPHER_get_kx_nid: fn(*const SSL_CIPHER) -> c_int;
        SSL_CIPHER_get_auth_nid: fn(*const SSL_CIPHER) -> c_int;
        SSL_CIPHER_get_digest_nid: fn(*const SSL_CIPHER) -> c_int;
        X509_new_ex: fn(*mut c_void, *const c_char) -> *mut X509;
        i2d_X509: fn(*const X509, *mut *mut u8) -> c_int;
        d2i_X509: fn(*mut *mut X509, *mut *const u8, c_long) -> *mut X509;
        X509_verify_cert: fn(*mut X509_STORE_CTX) -> c_int;
        X509_STORE_CTX_new_ex: fn(*mut c_void, *const c_char) -> *mut X509_STORE_CTX;
        X509_STORE_CTX_free: fn(*mut X509_STORE_CTX);
        X509_STORE_CTX_init: fn(
            *mut X509_STORE_CTX,
            *mut X509_STORE,
            *mut X509,
            *mut OPENSSL_STACK
        ) -> c_int;
        X509_STORE_CTX_get0_param: fn(*const X509_STORE_CTX) -> *mut X509_VERIFY_PARAM;
        X509_STORE_CTX_set_flags: fn(*mut X509_STORE_CTX, c_ulong);
        X509_STORE_CTX_set_ex_data: fn(*mut X509_STORE_CTX, c_int, *mut c_void) -> c_int;
        X509_STORE_CTX_set_default: fn(*mut X509_STORE_CTX, *const c_char) -> c_int;
        X509_STORE_CTX_set_verify_cb: fn(*mut X509_STORE_CTX, Option<VerifyCb>);
        X509_VERIFY_PARAM_set1: fn(*mut X509_VERIFY_PARAM, *const X509_VERIFY_PARAM) -> c_int;
        X509_VERIFY_PARAM_set_auth_level: fn(*mut X509_VERIFY_PARAM, c_int);
        X509_VERIFY_PARAM_set_depth: fn(*mut X509_VERIFY_PARAM, c_int);
        X509_VERIFY_PARAM_get_flags: fn(*const X509_VERIFY_PARAM) -> c_ulong;
        X509_VERIFY_PARAM_get_auth_level: fn(*const X509_VERIFY_PARAM) -> c_int;
        X509_VERIFY_PARAM_get_depth: fn(*const X509_VERIFY_PARAM) -> c_int;
        X509_VERIFY_PARAM_get_purpose: fn(*const X509_VERIFY_PARAM) -> c_int;
        X509_VERIFY_PARAM_get_inh_flags: fn(*const X509_VERIFY_PARAM) -> u32;
        X509_VERIFY_PARAM_get_time: fn(*const X509_VERIFY_PARAM) -> time_t;
        X509_VERIFY_PARAM_get_hostflags: fn(*const X509_VERIFY_PARAM) -> c_uint;
        X509_VERIFY_PARAM_get0_host: fn(*mut X509_VERIFY_PARAM, c_int) -> *mut c_char;
        X509_VERIFY_PARAM_get0_email: fn(*mut X509_VERIFY_PARAM) -> *mut c_char;
        X509_VERIFY_PARAM_get1_ip_asc: fn(*mut X509_VERIFY_PARAM) -> *mut c_char;
        X509_STORE_get0_param: fn(*const X509_STORE) -> *mut X509_VERIFY_PARAM;
        X509_STORE_get0_objects: fn(*const X509_STORE) -> *mut OPENSSL_STACK;
        X509_STORE_get_verify: fn(*const X509_STORE) -> *const c_void;
        X509_STORE_get_get_issuer: fn(*const X509_STORE) -> *const c_void;
        X509_STORE_get_check_issued: fn(*const X509_STORE) -> *const c_void;
        X509_STORE_get_check_revocation: fn(*const X509_STORE) -> *const c_void;
        X509_STORE_get_get_crl: fn(*const X509_STORE) -> *const c_void;
        X509_STORE_get_check_crl: fn(*const X509_STORE) -> *const c_void;
        X509_STORE_get_cert_crl: fn(*const X509_STORE) -> *const c_void;
        X509_STORE_get_check_policy: fn(*const X509_STORE) -> *const c_void;
        X509_STORE_get_lookup_certs: fn(*const X509_STORE) -> *const c_void;
        X509_STORE_get_lookup_crls: fn(*const X509_STORE) -> *const c_void;
        X509_STORE_lock: fn(*mut X509_STORE) -> c_int;
        X509_STORE_unlock: fn(*mut X509_STORE) -> c_int;
        X509_OBJECT_get_type: fn(*const X509_OBJECT) -> c_int;
        X509_OBJECT_get0_X509_CRL: fn(*const X509_OBJECT) -> *mut X509_CRL;
        X509_CRL_get0_nextUpdate: fn(*const X509_CRL) -> *const ASN1_TIME;
    }
}

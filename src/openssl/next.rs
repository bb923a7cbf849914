//! The stock functions: one table, filled at first use from the libssl that is in the process. (What
//! a module brought beside it, `other` has tables for.)
//!
//! Nothing here is linked: a preloaded library gets into programs without libssl. The table is the
//! only way to call OpenSSL; a plain call of an overlaid name would come back to us. A failed
//! attempt is not remembered, because libssl may be loaded later. No locks of ours.

use super::other;
use super::ticket::Param;
use crate::log::Once;
use libc::{c_char, c_int, c_long, c_uint, c_ulong, c_void, time_t};
use once_cell::sync::OnceCell;
use openssl_sys::{
    ASN1_TIME, CRYPTO_EX_DATA, CRYPTO_EX_dup, CRYPTO_EX_free, CRYPTO_EX_new, EVP_CIPHER,
    EVP_CIPHER_CTX, EVP_MD, EVP_MD_CTX, OPENSSL_STACK, SSL, SSL_CTX, SSL_METHOD, SSL_SESSION, X509,
    X509_NAME, X509_STORE, X509_STORE_CTX,
};
use sesscache_core::system::errno::KeepErrno;
use std::ffi::CStr;
use std::mem::{MaybeUninit, transmute_copy};
use std::ptr::{self, NonNull};

/// `new_session_cb`: SSL_CTX_sess_set_new_cb(3).
pub type NewCb = unsafe extern "C" fn(ssl: *mut SSL, sess: *mut SSL_SESSION) -> c_int;
/// `remove_session_cb`: SSL_CTX_sess_set_remove_cb(3).
pub type RemoveCb = unsafe extern "C" fn(ctx: *mut SSL_CTX, sess: *mut SSL_SESSION);
/// `get_session_cb`: SSL_CTX_sess_set_get_cb(3).
pub type GetCb = unsafe extern "C" fn(
    ssl: *mut SSL,
    data: *const u8,
    len: c_int,
    copy: *mut c_int,
) -> *mut SSL_SESSION;
/// `GEN_SESSION_CB`: SSL_CTX_set_generate_session_id(3).
pub type GenerateCb =
    unsafe extern "C" fn(ssl: *mut SSL, id: *mut u8, id_len: *mut c_uint) -> c_int;

/// `SSL_verify_cb`: SSL_CTX_set_verify(3).
pub type VerifyCb =
    unsafe extern "C" fn(preverify_ok: c_int, x509_ctx: *mut X509_STORE_CTX) -> c_int;

/// An `EVP_MAC_CTX`, opaque as in OpenSSL.
#[repr(C)]
#[derive(Debug)]
pub struct EvpMacCtx {
    _opaque: [u8; 0],
}

/// The callback of SSL_CTX_set_tlsext_ticket_key_evp_cb(3).
pub type TicketKeyEvpCb = unsafe extern "C" fn(
    ssl: *mut SSL,
    key_name: *mut u8,
    iv: *mut u8,
    ctx: *mut EVP_CIPHER_CTX,
    hctx: *mut EvpMacCtx,
    enc: c_int,
) -> c_int;

/// An `OPENSSL_LHASH`, opaque as in OpenSSL.
#[repr(C)]
#[derive(Debug)]
pub struct Lhash {
    _opaque: [u8; 0],
}

type LhashHash = unsafe extern "C" fn(*const c_void) -> c_ulong;
type LhashCompare = unsafe extern "C" fn(*const c_void, *const c_void) -> c_int;

/// `OPENSSL_LH_DOALL_FUNC`.
pub type LhashVisit = unsafe extern "C" fn(node: *mut c_void);
/// `OPENSSL_LH_DOALL_FUNCARG`.
pub type LhashVisitWith = unsafe extern "C" fn(node: *mut c_void, arg: *mut c_void);
// The thunks of OpenSSL 3.3 and later, which call such functions by their own types.
type LhashHashThunk = unsafe extern "C" fn(*const c_void, LhashHash) -> c_ulong;
type LhashCompareThunk = unsafe extern "C" fn(*const c_void, *const c_void, LhashCompare) -> c_int;
type LhashVisitThunk = unsafe extern "C" fn(*mut c_void, LhashVisit);
type LhashVisitWithThunk = unsafe extern "C" fn(*mut c_void, *mut c_void, LhashVisitWith);

/// `CRYPTO_get_ex_new_index`, the one libcrypto function that is overlaid.
pub type GetExNewIndex = unsafe extern "C" fn(
    class_index: c_int,
    argl: c_long,
    argp: *mut c_void,
    new_func: Option<CRYPTO_EX_new>,
    dup_func: Option<CRYPTO_EX_dup>,
    free_func: Option<CRYPTO_EX_free>,
) -> c_int;

/// The `ex_data` free function, with the pointers as OpenSSL passes them.
pub type ExFree =
    unsafe extern "C" fn(*mut c_void, *mut c_void, *mut CRYPTO_EX_DATA, c_int, c_long, *mut c_void);

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
        pub struct Next {
            /// Whether this OpenSSL is one whose cache we replace; else we only pass calls on.
            pub is_supported: bool,
            /// Where this libssl is mapped.
            pub object: Option<usize>,
            $(pub $name: unsafe extern "C" fn($($arg),*) $(-> $ret)?,)*
            $(pub $opt_name: Option<unsafe extern "C" fn($($opt_arg),*) $(-> $opt_ret)?>,)*
        }

        impl Next {
            fn fill(library: &Library) -> Next {
                let mut is_supported = library.is_openssl_3_or_4();
                Next {
                    $($name: {
                        let found = library.find(concat!(stringify!($name), "\0"));
                        is_supported &= found.is_some();
                        let found = found.unwrap_or(MISSING);
                        // SAFETY: the symbol of this name has this signature since OpenSSL 1.1.1.
                        // What is missing is not called: no context gets a state, and a program
                        // calls nothing that its own libssl lacks.
                        unsafe { transmute_copy(&found) }
                    },)*
                    $($opt_name: {
                        let found = library.find(concat!(stringify!($opt_name), "\0"));
                        // SAFETY: as above; a missing symbol is the null pointer, which is None.
                        unsafe { transmute_copy(&found.map_or(ptr::null_mut(), NonNull::as_ptr)) }
                    },)*
                    is_supported,
                    object: library.object(),
                }
            }
        }
    };
}

impl Next {
    /// The functions of a libssl that calls are passed on to, and nothing else: we have no slot in
    /// its objects, and what lies under our indexes there is not ours.
    pub(super) fn passing_on(library: &Library) -> Next {
        unsafe extern "C" fn of_no_ctx(_: *const SSL_CTX, _: c_int) -> *mut c_void {
            ptr::null_mut()
        }
        unsafe extern "C" fn of_no_ssl(_: *const SSL, _: c_int) -> *mut c_void {
            ptr::null_mut()
        }
        Next {
            is_supported: false,
            SSL_CTX_get_ex_data: of_no_ctx,
            SSL_get_ex_data: of_no_ssl,
            ..Next::fill(library)
        }
    }
}

/// Stands for a function that an unsupported libssl lacks.
extern "C" fn missing() -> usize {
    0
}

const MISSING: NonNull<c_void> = {
    let function: extern "C" fn() -> usize = missing;
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
        SSL_CTX_callback_ctrl: fn(*mut SSL_CTX, c_int, Option<unsafe extern "C" fn()>) -> c_long;
        SSL_CTX_set_options: fn(*mut SSL_CTX, u64) -> u64;
        SSL_CTX_get_options: fn(*const SSL_CTX) -> u64;
        SSL_CTX_get_ex_data: fn(*const SSL_CTX, c_int) -> *mut c_void;
        SSL_CTX_set_ex_data: fn(*mut SSL_CTX, c_int, *mut c_void) -> c_int;
        SSL_set_generate_session_id: fn(*mut SSL, Option<GenerateCb>) -> c_int;
        SSL_has_matching_session_id: fn(*const SSL, *const u8, c_uint) -> c_int;
        SSL_CTX_set_verify: fn(*mut SSL_CTX, c_int, Option<VerifyCb>);
        SSL_set_SSL_CTX: fn(*mut SSL, *mut SSL_CTX) -> *mut SSL_CTX;
        SSL_get_SSL_CTX: fn(*const SSL) -> *mut SSL_CTX;
        SSL_get_ex_data: fn(*const SSL, c_int) -> *mut c_void;
        SSL_set_ex_data: fn(*mut SSL, c_int, *mut c_void) -> c_int;
        SSL_get_max_early_data: fn(*const SSL) -> u32;
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
            Option<ExFree>
        ) -> c_int;
        OPENSSL_LH_new: fn(Option<LhashHash>, Option<LhashCompare>) -> *mut Lhash;
        OPENSSL_LH_insert: fn(*mut Lhash, *mut c_void) -> *mut c_void;
        OPENSSL_LH_flush: fn(*mut Lhash);
        OPENSSL_LH_free: fn(*mut Lhash);
        ERR_set_mark: fn() -> c_int;
        ERR_pop_to_mark: fn() -> c_int;
    }
    optional {
        SSL_CTX_new_ex: fn(*mut c_void, *const c_char, *const SSL_METHOD) -> *mut SSL_CTX;
        // What sharing with other processes needs.
        i2d_SSL_SESSION: fn(*const SSL_SESSION, *mut *mut u8) -> c_int;
        d2i_SSL_SESSION: fn(*mut *mut SSL_SESSION, *mut *const u8, c_long) -> *mut SSL_SESSION;
        SSL_SESSION_get_ex_data: fn(*const SSL_SESSION, c_int) -> *mut c_void;
        SSL_SESSION_set_ex_data: fn(*mut SSL_SESSION, c_int, *mut c_void) -> c_int;
        SSL_SESSION_get0_id_context: fn(*const SSL_SESSION, *mut c_uint) -> *const u8;
        SSL_SESSION_get0_peer: fn(*mut SSL_SESSION) -> *mut X509;
        SSL_CTX_get0_certificate: fn(*const SSL_CTX) -> *mut X509;
        SSL_CTX_get_verify_mode: fn(*const SSL_CTX) -> c_int;
        SSL_CTX_get_ssl_method: fn(*const SSL_CTX) -> *const SSL_METHOD;
        TLS_client_method: fn() -> *const SSL_METHOD;
        DTLS_client_method: fn() -> *const SSL_METHOD;
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
        X509_digest: fn(*const X509, *const EVP_MD, *mut u8, *mut c_uint) -> c_int;
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
        RAND_bytes: fn(*mut u8, c_int) -> c_int;
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
        EVP_aes_256_cbc: fn() -> *const EVP_CIPHER;
        EVP_MAC_CTX_set_params: fn(*mut EvpMacCtx, *const Param) -> c_int;
        SSL_CTX_set_tlsext_ticket_key_evp_cb: fn(*mut SSL_CTX, Option<TicketKeyEvpCb>) -> c_int;
        EVP_sha256: fn() -> *const EVP_MD;
        EVP_MD_CTX_new: fn() -> *mut EVP_MD_CTX;
        EVP_MD_CTX_free: fn(*mut EVP_MD_CTX);
        EVP_DigestInit_ex: fn(*mut EVP_MD_CTX, *const EVP_MD, *mut c_void) -> c_int;
        EVP_DigestUpdate: fn(*mut EVP_MD_CTX, *const c_void, usize) -> c_int;
        EVP_DigestFinal_ex: fn(*mut EVP_MD_CTX, *mut u8, *mut c_uint) -> c_int;
        HMAC: fn(
            *const EVP_MD,
            *const c_void,
            c_int,
            *const u8,
            usize,
            *mut u8,
            *mut c_uint
        ) -> *mut u8;
    }
}

/// A libssl and, behind it, the libcrypto it was linked with.
#[derive(Debug)]
pub struct Library(NonNull<c_void>);

impl Library {
    /// The libssl that our callers' calls would go to without us: what comes after us in the order
    /// of search, else what a module brought in with RTLD_LOCAL, as in Python and Perl.
    fn libssl() -> Option<Library> {
        after_us(c"SSL_CTX_new")
            .and_then(|found| Library::loaded(object_of(found.as_ptr() as usize)?.1))
            .or_else(|| Library::loaded(c"libssl.so.3"))
            .or_else(|| Library::loaded(c"libssl.so.4"))
            .or_else(|| Library::loaded(c"libssl.so.1.1"))
    }

    /// The library that a method lies in, which made it: TLS_method() and its like.
    pub fn of_method(method: *const SSL_METHOD) -> Option<Library> {
        Library::loaded(object_of(method as usize)?.1)
    }

    /// A library that is in the process already. It is kept there: our hooks are known to it.
    fn loaded(path: &CStr) -> Option<Library> {
        // SAFETY: a valid C string; RTLD_NOLOAD runs no code of the library.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        if handle.is_null() {
            forget_dlerror();
        }
        NonNull::new(handle).map(Library)
    }

    /// Where it is mapped.
    fn object(&self) -> Option<usize> {
        let function = self.find("SSL_CTX_new\0")?;
        Some(object_of(function.as_ptr() as usize)?.0 as usize)
    }

    /// The function of this name, which ends with NUL.
    pub fn find(&self, name: &str) -> Option<NonNull<c_void>> {
        search(self.0.as_ptr(), CStr::from_bytes_until_nul(name.as_bytes()).ok()?)
    }

    fn is_openssl_3_or_4(&self) -> bool {
        let Some(found) = self.find("OPENSSL_version_major\0") else { return false };
        // SAFETY: unsigned int OPENSSL_version_major(void), in every OpenSSL since 3.0.
        let major: unsafe extern "C" fn() -> c_uint = unsafe { transmute_copy(&found) };
        // SAFETY: it takes nothing and reads a constant.
        let major = unsafe { major() };
        (3..=4).contains(&major)
    }
}

/// The definition of `name` that comes after ours in the order of search.
fn after_us(name: &CStr) -> Option<NonNull<c_void>> {
    search(libc::RTLD_NEXT, name)
}

/// The definition of `name` that the program's calls go to.
pub fn first_in_search(name: &CStr) -> Option<NonNull<c_void>> {
    search(libc::RTLD_DEFAULT, name)
}

fn search(scope: *mut c_void, name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: one of dlsym's own scopes or a handle from dlopen, and a valid C string.
    let found = NonNull::new(unsafe { libc::dlsym(scope, name.as_ptr()) });
    if found.is_none() {
        forget_dlerror();
    }
    found
}

/// Takes the message of a failed question of ours away: the program's next dlerror() is not to
/// report it.
fn forget_dlerror() {
    // SAFETY: it takes nothing; the message it returns is not used.
    unsafe { libc::dlerror() };
}

/// Where the object is mapped that `address` lies in, and its path.
pub fn object_of(address: usize) -> Option<(*mut c_void, &'static CStr)> {
    let mut info = MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: dladdr takes any address and fills the struct when it returns non-zero.
    if unsafe { libc::dladdr(address as *const c_void, info.as_mut_ptr()) } == 0 {
        return None;
    }
    // SAFETY: filled, see above.
    let info = unsafe { info.assume_init() };
    if info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: a C string that lives as long as the object is loaded; we ask about objects that
    // stay (the program, ourselves, a pinned libssl).
    Some((info.dli_fbase, unsafe { CStr::from_ptr(info.dli_fname) }))
}

static NEXT: OnceCell<Next> = OnceCell::new();

/// The stock functions; `None` while no libssl is known.
#[inline]
pub fn next() -> Option<&'static Next> {
    NEXT.get().or_else(fill)
}

/// The functions of the libssl that a context or a connection comes from.
///
/// # Safety
/// `object` is a valid SSL_CTX or SSL, or NULL.
#[inline]
pub unsafe fn next_of<T>(object: *const T) -> Option<&'static Next> {
    // SAFETY: the caller's promise.
    unsafe { other::of_object(object) }.or_else(next)
}

#[cold]
fn fill() -> Option<&'static Next> {
    // Where there is none, files are looked for.
    let _errno = KeepErrno::new();
    // The dynamic linker's lock is taken in here: not inside the cell, for which another thread may
    // wait that holds this lock (a plugin's constructor that calls us).
    let Some(library) = Library::libssl() else { return other::first() };
    let mut filled = Next::fill(&library);
    // Where the program's indexes come from another libcrypto, ours would be the same numbers.
    let is_ours = |from: &GetExNewIndex| *from as usize == filled.CRYPTO_get_ex_new_index as usize;
    if !INDEXES.iter().take(OUR_CLASSES).filter_map(OnceCell::get).all(is_ours) {
        static SAID: Once = Once::new();
        SAID.say("this program uses two libcrypto libraries at once: no session cache is replaced");
        filled.is_supported = false;
    }
    Some(NEXT.get_or_init(|| filled))
}

/// Classes of ex_data: `CRYPTO_EX_INDEX__COUNT` is 17 or 18.
const CLASSES: usize = 32;
/// SSL, SSL_CTX and SSL_SESSION are the first, see `ex_data`.
const OUR_CLASSES: usize = 3;
/// Where the program's ex_data indexes of each class come from: from one libcrypto for as long as it
/// runs, so that no two are the same.
static INDEXES: [OnceCell<GetExNewIndex>; CLASSES] = [const { OnceCell::new() }; CLASSES];

/// The stock `CRYPTO_get_ex_new_index` for this class, also in a process with libcrypto alone.
pub fn stock_get_ex_new_index(class: c_int) -> Option<GetExNewIndex> {
    let known = INDEXES.get(usize::try_from(class).unwrap_or(CLASSES));
    if let Some(known) = known.and_then(OnceCell::get) {
        return Some(*known);
    }
    // Not inside the cell, see `fill`.
    let found = after_us(c"CRYPTO_get_ex_new_index")
        .or_else(|| Library::loaded(c"libcrypto.so.3")?.find("CRYPTO_get_ex_new_index\0"));
    let found = match found {
        // SAFETY: libcrypto's function of this name has had this signature since 1.1.0.
        Some(found) => unsafe { transmute_copy(&found) },
        None => NEXT.get().or_else(other::first)?.CRYPTO_get_ex_new_index,
    };
    Some(known.map_or(found, |known| *known.get_or_init(|| found)))
}

/// The stock functions for a unit test, which is linked with no OpenSSL: it brings one in.
#[cfg(test)]
pub(crate) fn next_in_test() -> &'static Next {
    let loaded = [c"libssl.so.3", c"libssl.so.4"].into_iter().any(|name| {
        // SAFETY: a valid C string; libssl's constructors may run at any time.
        !unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) }.is_null()
    });
    assert!(loaded, "the test wants OpenSSL's shared libraries on this machine");
    next().expect("the libssl just loaded")
}

//! Clients whose certificates were good in a handshake, on servers that know more since.

use super::*;
use crate::openssl::circumstances::{Certificate, Circumstances};
use crate::openssl::handle::{Ctx, Session};
use crate::openssl::libssl::libssl_in_test;
use crate::openssl::tests::{Connection, Context, EC, Folder, stock};
use crate::openssl::types::VerifyCb;
use libc::{c_char, c_uint, time_t};
use sesscache_core::system::seed;
use sesscache_core::system::wipe::Wiped;
use std::collections::HashSet;
use std::ffi::CStr;
use std::path::Path;

/// An authority, a server of it, and the session of a client that it has certified.
struct Scene {
    folder: Folder,
    ca: std::path::PathBuf,
    client: std::path::PathBuf,
    session: Session,
}

impl Scene {
    fn new(name: &str, extension: &str) -> Scene {
        // Which a new context of ours does; these are stock's.
        seed::draw();
        let folder = Folder::new(name);
        let ca = folder.certificate("ca", "/CN=ca", EC, &[]);
        let client = folder.issued("client", &ca, extension);
        let server = Context::new(&[&ca]);
        server.trust(&ca);
        set_verify(server.ctx(), VERIFY_PEER);
        let clients = Context::new(&[&client]);
        let (here, there) = (server.connection(), clients.connection());
        here.accept(&there);
        let libssl = libssl_in_test();
        let mut der = Wiped::default();
        here.ssl().session().unwrap().append_der(&mut der).unwrap();
        let session = Session::from_der(libssl, &der).unwrap();
        drop((here, there));
        Scene { folder, ca, client, session }
    }

    fn session(&self) -> SessionRef<'_> {
        self.session.as_ref(libssl_in_test())
    }

    /// Until when a server that trusts this would remember that it lets the client in.
    fn judge(&self, trusted: &Path, prepare: impl Fn(&Connection<'_>)) -> Option<i64> {
        let server = Context::new(&[&self.ca]);
        server.trust(trusted);
        let connection = server.connection();
        prepare(&connection);
        let demands = connection.ssl().demands(true);
        verify_again(connection.ssl(), self.session(), &demands, ptr::null_mut())
    }
}

fn set_verify(ctx: Ctx<'_>, mode: c_int) {
    // SAFETY: a valid context, no callback.
    unsafe { (ctx.libssl().SSL_CTX_set_verify)(ctx.as_ptr(), mode, None) };
}

fn set_flags(connection: &Connection<'_>, flags: c_ulong) {
    let set = stock!(X509_VERIFY_PARAM_set_flags: fn(*mut X509_VERIFY_PARAM, c_ulong) -> c_int);
    // SAFETY: the connection's parameters.
    assert_eq!(unsafe { set(connection.ssl().param(), flags) }, 1);
}

fn nothing(_: &Connection<'_>) {}

const CLIENTS: &str = "extendedKeyUsage=clientAuth";

#[test]
fn who_would_be_let_in_is_let_in() {
    let scene = Scene::new("verify", CLIENTS);
    assert!(scene.session().has_peer());
    assert!(!scene.session().has_raw_public_key());
    let until = scene.judge(&scene.ca, nothing).unwrap();
    assert!((now()..=now() + KEPT_SECONDS).contains(&until));
    let other = scene.folder.certificate("other", "/CN=ca", EC, &[]);
    assert_eq!(scene.judge(&other, nothing), None);
    // Level 4 wants more than P-256.
    let set_level = stock!(SSL_set_security_level: fn(*mut openssl_sys::SSL, c_int));
    // SAFETY: a valid connection.
    let strict = |connection: &Connection<'_>| unsafe { set_level(connection.as_ptr(), 4) };
    assert_eq!(scene.judge(&scene.ca, strict), None);
}

#[test]
fn the_callbacks_of_connection_and_trust_store_do_not_run() {
    unsafe extern "C-unwind" fn let_in(_: c_int, _: *mut X509_STORE_CTX) -> c_int {
        1
    }
    let scene = Scene::new("callback", CLIENTS);
    let other = scene.folder.certificate("other", "/CN=ca", EC, &[]);
    let server = Context::new(&[&scene.ca]);
    server.trust(&other);
    let ctx = server.ctx();
    // SAFETY: a valid context and a function of the right type.
    unsafe { (ctx.libssl().SSL_CTX_set_verify)(ctx.as_ptr(), VERIFY_PEER, Some(let_in)) };
    // SAFETY: a valid context, whose trust store it is.
    let store = unsafe { ctx.libssl().SSL_CTX_get_cert_store.unwrap()(ctx.as_ptr()) };
    let set = stock!(X509_STORE_set_verify_cb: fn(*mut X509_STORE, Option<VerifyCb>));
    // SAFETY: a valid trust store and a function of the right type.
    unsafe { set(store, Some(let_in)) };
    let connection = server.connection();
    let demands = connection.ssl().demands(true);
    assert!(demands.asks());
    assert_eq!(verify_again(connection.ssl(), scene.session(), &demands, ptr::null_mut()), None);
}

#[test]
fn purpose_and_revocation_count() {
    let wrong = Scene::new("purpose", CLIENTS);
    let check = |connection: &Connection<'_>| set_flags(connection, CRL_CHECK);
    assert_eq!(wrong.judge(&wrong.ca, check), None);
    let good = wrong.folder.with_revocations("good", &wrong.ca, "5", None);
    let until = wrong.judge(&good, check).unwrap();
    assert!(until <= now() + 5, "the list's next update comes first");
    assert!(wrong.judge(&good, nothing).unwrap() >= until);
    let bad = wrong.folder.with_revocations("bad", &wrong.ca, "3600", Some(&wrong.client));
    assert_eq!(wrong.judge(&bad, check), None);
    assert!(wrong.judge(&bad, nothing).is_some());
    let set = stock!(X509_VERIFY_PARAM_set_purpose: fn(*mut X509_VERIFY_PARAM, c_int) -> c_int);
    let as_server = |connection: &Connection<'_>| {
        // SAFETY: the connection's parameters; 2 is X509_PURPOSE_SSL_SERVER.
        assert_eq!(unsafe { set(connection.ssl().param(), 2) }, 1);
    };
    assert_eq!(wrong.judge(&wrong.ca, as_server), None);
}

#[test]
fn demands_are_those_of_the_connection() {
    let scene = Scene::new("demands", CLIENTS);
    let server = Context::new(&[&scene.ca]);
    let connection = server.connection();
    assert!(!connection.ssl().demands(false).asks());
    let set = stock!(SSL_set_verify: fn(*mut openssl_sys::SSL, c_int, *const c_void));
    let ask = |mode| {
        // SAFETY: a valid connection, no callback.
        unsafe { set(connection.as_ptr(), mode, ptr::null()) };
        [false, true].map(|is_tls13| connection.ssl().demands(is_tls13).asks())
    };
    assert_eq!(ask(VERIFY_PEER), [true, true]);
    assert_eq!(ask(VERIFY_PEER | VERIFY_POST_HANDSHAKE), [true, false]);
    assert_eq!(ask(VERIFY_POST_HANDSHAKE), [false, false]);
    let demands = connection.ssl().demands(true);
    assert_eq!(demands.clone(), demands);
    let other = Context::new(&[&scene.ca]);
    assert_ne!(other.connection().ssl().demands(true), demands);
    let set_depth = stock!(SSL_set_verify_depth: fn(*mut openssl_sys::SSL, c_int));
    // SAFETY: a valid connection.
    unsafe { set_depth(connection.as_ptr(), 3) };
    assert_ne!(connection.ssl().demands(true), demands);
}

#[test]
fn what_changes_the_verdict_changes_the_circumstances() {
    let scene = Scene::new("circumstances", CLIENTS);
    let server = Context::new(&[&scene.ca]);
    server.trust(&scene.ca);
    let connection = server.connection();
    let look = || {
        let (ssl, demands) = (connection.ssl(), connection.ssl().demands(true));
        let certificate = Certificate::of(scene.session()).unwrap().hash();
        Circumstances::of(ssl, certificate, &demands, ptr::null_mut()).unwrap()
    };
    let before = look();
    assert_eq!(look(), before);
    set_flags(&connection, CRL_CHECK);
    let flagged = look();
    assert_ne!(flagged, before);
    let good = scene.folder.with_revocations("good", &scene.ca, "3600", None);
    server.trust(&good);
    assert_ne!(look(), flagged);
}

type Param = *mut X509_VERIFY_PARAM;
type SetText = unsafe extern "C-unwind" fn(Param, *const c_char, usize) -> c_int;
type Change = Box<dyn Fn(Param)>;

fn text(set: SetText, value: &'static CStr, length: usize) -> Change {
    // SAFETY: valid parameters, a C string that is no shorter than that.
    Box::new(move |param| assert_eq!(unsafe { set(param, value.as_ptr(), length) }, 1))
}

/// Each gives the parameters something that they had not.
fn changes() -> [Change; 8] {
    let host = stock!(X509_VERIFY_PARAM_set1_host: fn(Param, *const c_char, usize) -> c_int);
    let add_host = stock!(X509_VERIFY_PARAM_add1_host: fn(Param, *const c_char, usize) -> c_int);
    let email = stock!(X509_VERIFY_PARAM_set1_email: fn(Param, *const c_char, usize) -> c_int);
    let ip = stock!(X509_VERIFY_PARAM_set1_ip: fn(Param, *const c_char, usize) -> c_int);
    let host_flags = stock!(X509_VERIFY_PARAM_set_hostflags: fn(Param, c_uint));
    let inheritance = stock!(X509_VERIFY_PARAM_set_inh_flags: fn(Param, u32) -> c_int);
    let time = stock!(X509_VERIFY_PARAM_set_time: fn(Param, time_t));
    [
        text(host, c"a.test", 0),
        text(host, c"b.test", 0),
        text(add_host, c"a.test", 0),
        text(email, c"a@b.test", 0),
        text(ip, c"four", 4),
        // SAFETY: valid parameters.
        Box::new(move |param| unsafe { host_flags(param, 4) }),
        // SAFETY: valid parameters.
        Box::new(move |param| assert_eq!(unsafe { inheritance(param, 4) }, 1)),
        // SAFETY: valid parameters.
        Box::new(move |param| unsafe { time(param, 1_000_000_000) }),
    ]
}

#[test]
fn names_and_time_are_circumstances() {
    let scene = Scene::new("kept", CLIENTS);
    let server = Context::new(&[&scene.ca]);
    let connection = server.connection();
    let (ssl, demands) = (connection.ssl(), connection.ssl().demands(true));
    let certificate = Certificate::of(scene.session()).unwrap().hash();
    let look = || Circumstances::of(ssl, certificate, &demands, ptr::null_mut()).unwrap();
    let store = demands.store.as_ref().unwrap();
    // SAFETY: a valid trust store.
    let of_store = unsafe { ssl.libssl().X509_STORE_get0_param.unwrap()(store.as_ptr()) };
    let mut seen = HashSet::from([look()]);
    for param in [ssl.param(), of_store] {
        for (number, change) in changes().iter().enumerate() {
            change(param);
            assert!(seen.insert(look()), "{number}");
            assert_eq!(look(), look());
        }
    }
}

#[test]
fn another_library_context_decodes_the_certificate_anew() {
    let scene = Scene::new("libctx", CLIENTS);
    let server = Context::new(&[&scene.ca]);
    server.trust(&scene.ca);
    let connection = server.connection();
    let new = stock!(OSSL_LIB_CTX_new: fn() -> *mut c_void);
    // SAFETY: takes nothing.
    let own = unsafe { new() };
    let demands = connection.ssl().demands(true);
    assert!(verify_again(connection.ssl(), scene.session(), &demands, own).is_some());
    let call = stock!(OSSL_LIB_CTX_free: fn(*mut c_void));
    // SAFETY: made above.
    unsafe { call(own) };
}

#[test]
fn a_cipher_is_negotiated_by_list_and_level() {
    let scene = Scene::new("cipher", CLIENTS);
    let server = Context::new(&[&scene.ca]);
    let connection = server.connection();
    let (ssl, session) = (connection.ssl(), scene.session());
    assert!(!session.is_by_shared_key());
    assert!(ssl.would_negotiate(session));
    let set = stock!(SSL_set_ciphersuites: fn(*mut openssl_sys::SSL, *const libc::c_char) -> c_int);
    // SAFETY: a valid connection and a C string.
    let set = |name: &CStr| unsafe { set(connection.as_ptr(), name.as_ptr()) };
    assert_eq!(set(c"TLS_AES_128_GCM_SHA256"), 1);
    assert!(!ssl.would_negotiate(session));
    assert_eq!(set(c"TLS_AES_256_GCM_SHA384"), 1);
    assert!(ssl.would_negotiate(session));
    assert!(!ssl.is_resumed());
}

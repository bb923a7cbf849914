//! With certificates that the openssl command makes.

use super::*;
use crate::openssl::identity::Identity;
use crate::openssl::library::Library;
use crate::openssl::libssl::libssl_in_test;
use libc::c_char;
use std::ffi::CString;
use std::mem::transmute;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::{env, fs};

/// A folder of certificates that the test makes with the openssl command.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = env::temp_dir().join(format!("sesscache-{name}-{}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn certificate(&self, file: &str, subject: &str, kind: &str, names: &[&str]) -> PathBuf {
        let path = self.0.join(file);
        let mut command = Command::new("openssl");
        command.args("req -x509 -nodes -days 2 -newkey".split(' ')).args(kind.split(' '));
        command.args(["-subj", subject]).env("OPENSSL_CONF", "/dev/null");
        command.arg("-out").arg(&path).arg("-keyout").arg(path.with_extension("key"));
        for name in names {
            command.args(["-addext", name]);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

const EC: &str = "ec -pkeyopt ec_paramgen_curve:P-256";
const RSA: &str = "rsa:2048";

/// A context with these certificates.
struct Context {
    ctx: NonNull<SSL_CTX>,
    free: unsafe extern "C" fn(*mut SSL_CTX),
}

fn found(name: &str) -> NonNull<c_void> {
    Library::libssl().unwrap().find(name).unwrap()
}

impl Context {
    fn new(certificates: &[&Path]) -> Context {
        let libssl = libssl_in_test();
        // SAFETY: const SSL_METHOD *TLS_method(void).
        let method: unsafe extern "C" fn() -> *const openssl_sys::SSL_METHOD =
            unsafe { transmute(found("TLS_method\0")) };
        // SAFETY: takes nothing and returns a constant.
        let method = unsafe { method() };
        // SAFETY: a valid method.
        let ctx = NonNull::new(unsafe { (libssl.SSL_CTX_new)(method) }).unwrap();
        // SAFETY: void SSL_CTX_free(SSL_CTX *ctx).
        let free: unsafe extern "C" fn(*mut SSL_CTX) =
            unsafe { transmute(found("SSL_CTX_free\0")) };
        let context = Context { ctx, free };
        certificates.iter().for_each(|path| context.load(path));
        context
    }

    fn load(&self, path: &Path) {
        let key = path.with_extension("key");
        for (name, path) in
            [("SSL_CTX_use_certificate_file\0", path), ("SSL_CTX_use_PrivateKey_file\0", &key)]
        {
            // SAFETY: int of a context, a file and a type.
            let load: unsafe extern "C" fn(*mut SSL_CTX, *const c_char, c_int) -> c_int =
                unsafe { transmute(found(name)) };
            let path = CString::new(path.to_str().unwrap()).unwrap();
            // SAFETY: a valid context and a path; 1 is PEM.
            assert_eq!(unsafe { load(self.ctx.as_ptr(), path.as_ptr(), 1) }, 1);
        }
    }

    fn ctx(&self) -> Ctx<'_> {
        // SAFETY: valid as long as `self`.
        unsafe { Ctx::borrow(libssl_in_test(), self.ctx.as_ptr()) }.unwrap()
    }

    fn names(&self) -> Vec<(u8, Vec<u8>)> {
        let names = Names::of(self.ctx()).unwrap();
        names.0.into_iter().map(|name| (name[0], name[9..].to_vec())).collect()
    }

    fn namespace(&self, namespace: &str, alone: Option<u64>) -> [u8; HASH_BYTES] {
        Identity::by_names(self.ctx(), namespace, alone).unwrap().server.namespace
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: made in `new`, and freed once.
        unsafe { (self.free)(self.ctx.as_ptr()) };
    }
}

#[test]
fn names_of_all_certificates_in_any_order() {
    let folder = Folder::new("names");
    let san = ["subjectAltName=DNS:B.test,DNS:a.test,IP:127.0.0.1,email:x@y.test"];
    let ec = folder.certificate("ec", "/CN=c.test", EC, &san);
    let rsa = folder.certificate("rsa", "/CN=c.test", RSA, &["subjectAltName=DNS:d.test"]);
    let context = Context::new(&[&ec, &rsa]);
    let shown = context.ctx().certificate();
    let expected = [
        (b'd', b"B.test".to_ascii_lowercase()),
        (b'd', b"a.test".to_vec()),
        (b'd', b"d.test".to_vec()),
        (b'i', vec![127, 0, 0, 1]),
    ];
    let mut names = context.names();
    names.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(context.ctx().certificate(), shown);
    let other = Context::new(&[&rsa, &ec]);
    assert_ne!(other.ctx().certificate(), None);
    assert_eq!(context.namespace("", None), other.namespace("", None));
    assert_ne!(context.namespace("", None), Context::new(&[&ec]).namespace("", None));
}

#[test]
fn a_renewed_certificate_is_the_same_server_and_another_name_is_not() {
    let folder = Folder::new("renewed");
    let make = |file, names| folder.certificate(file, "/CN=x", EC, &[names]);
    let old = Context::new(&[&make("old", "subjectAltName=DNS:a.test,DNS:b.test")]);
    let new = Context::new(&[&make("new", "subjectAltName=DNS:b.test,DNS:A.TEST")]);
    let wildcard = Context::new(&[&make("wild", "subjectAltName=DNS:*.test")]);
    assert_eq!(old.namespace("", None), new.namespace("", None));
    assert_ne!(old.namespace("", None), wildcard.namespace("", None));
    assert_ne!(old.namespace("", None), new.namespace("x", None));
    let identity = Identity::by_names(old.ctx(), "", None).unwrap();
    assert!(identity.is_current_of(old.ctx()));
    assert!(!identity.is_current_of(new.ctx()));
    old.load(&folder.0.join("new"));
    assert!(!identity.is_current_of(old.ctx()));
}

#[test]
fn without_alternative_names_the_common_name_or_the_certificate_counts() {
    let folder = Folder::new("common");
    let other = ["subjectAltName=email:x@y.test"];
    let common = Context::new(&[&folder.certificate("cn", "/O=o/CN=A.test/CN=b", EC, &other)]);
    assert_eq!(common.names(), [(b'c', b"b".to_vec()), (b'c', b"a.test".to_vec())]);
    let dns = folder.certificate("dns", "/CN=x", EC, &["subjectAltName=DNS:a.test,DNS:b"]);
    assert_ne!(Context::new(&[&dns]).namespace("", None), common.namespace("", None));
    let nameless = folder.certificate("none", "/O=o", EC, &[]);
    let names = Context::new(&[&nameless]).names();
    assert_eq!(
        names.iter().map(|name| (name.0, name.1.len())).collect::<Vec<_>>(),
        [(b'x', HASH_BYTES)]
    );
    let again = folder.certificate("again", "/O=o", EC, &[]);
    assert_ne!(Context::new(&[&again]).names(), names);
}

#[test]
fn a_context_alone_is_its_number_or_what_the_operator_says() {
    let (one, other) = (Context::new(&[]), Context::new(&[]));
    assert!(!Identity::by_names(one.ctx(), "", None).unwrap().server.has_certificate);
    assert!(Identity::by_names(one.ctx(), "", Some(7)).unwrap().server.has_certificate);
    assert_ne!(one.namespace("", Some(7)), other.namespace("", Some(8)));
    assert_eq!(one.namespace("", Some(7)), one.namespace("", Some(7)));
    assert_eq!(one.namespace("x", Some(7)), other.namespace("x", Some(8)));
    assert_ne!(one.namespace("x", Some(7)), one.namespace("x", None));
    assert_ne!(one.namespace("x", Some(7)), one.namespace("y", Some(7)));
}

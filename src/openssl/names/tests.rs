//! With certificates that the openssl command makes.

use super::*;
use crate::openssl::identity::Identity;
use crate::openssl::libssl::libssl_in_test;
use crate::openssl::tests::{Context, EC, Folder, RSA, stock};

impl Context {
    fn names(&self) -> Vec<(u8, Vec<u8>)> {
        let names = Names::of(self.ctx()).unwrap();
        names.0.into_iter().map(|name| (name[0], name[9..].to_vec())).collect()
    }

    fn namespace(&self, namespace: &str, alone: Option<u64>) -> [u8; HASH_BYTES] {
        Identity::of(self.ctx(), namespace, alone).unwrap().server.namespace
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
    let identity = Identity::of(old.ctx(), "", None).unwrap();
    assert!(identity.is_of(old.ctx()));
    assert!(!identity.is_of(new.ctx()));
    old.load(&folder.0.join("new"));
    assert!(!identity.is_of(old.ctx()));
}

#[test]
fn without_alternative_names_the_common_name_or_the_certificate_counts() {
    let folder = Folder::new("common");
    let other = ["subjectAltName=email:x@y.test"];
    let common = Context::new(&[&folder.certificate("cn", "/O=o/CN=A.test/CN=b", EC, &other)]);
    assert_eq!(common.names(), [(b'd', b"b".to_vec()), (b'd', b"a.test".to_vec())]);
    let dns = folder.certificate("dns", "/CN=x", EC, &["subjectAltName=DNS:a.test,DNS:b"]);
    assert_eq!(Context::new(&[&dns]).namespace("", None), common.namespace("", None));
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
    assert!(!Identity::of(one.ctx(), "", None).unwrap().server.has_certificate);
    assert!(Identity::of(one.ctx(), "", Some(7)).unwrap().server.has_certificate);
    assert_ne!(one.namespace("", Some(7)), other.namespace("", Some(8)));
    assert_eq!(one.namespace("", Some(7)), one.namespace("", Some(7)));
    assert_eq!(one.namespace("x", Some(7)), other.namespace("x", Some(8)));
    assert_ne!(one.namespace("x", Some(7)), one.namespace("x", None));
    assert_ne!(one.namespace("x", Some(7)), one.namespace("y", Some(7)));
}

/// From OpenSSL 3.2 on.
#[test]
fn a_raw_public_key_is_part_of_the_identity() {
    if libssl_in_test().SSL_CTX_get0_server_cert_type.is_none() {
        return;
    }
    let folder = Folder::new("raw");
    let a = folder.certificate("a", "/CN=x", EC, &["subjectAltName=DNS:a.test"]);
    let renewed = folder.certificate("b", "/CN=x", EC, &["subjectAltName=DNS:a.test"]);
    let (context, other) = (Context::new(&[&a]), Context::new(&[&renewed]));
    assert_eq!(context.namespace("", None), other.namespace("", None));
    let before = Identity::of(context.ctx(), "", None).unwrap();
    let show = stock!(SSL_CTX_set1_server_cert_type: fn(*mut SSL_CTX, *const u8, usize) -> c_int);
    for context in [&context, &other] {
        let kinds = [RAW_PUBLIC_KEY, 0];
        // SAFETY: a valid context and a list, of which it takes a copy.
        assert_eq!(unsafe { show(context.ctx().as_ptr(), kinds.as_ptr(), kinds.len()) }, 1);
    }
    assert!(!before.is_of(context.ctx()));
    assert_ne!(context.namespace("", None), before.server.namespace);
    assert_ne!(context.namespace("", None), other.namespace("", None));
    assert_eq!(context.names().iter().filter(|name| name.0 == KEY).count(), 1);
    let now = Identity::of(context.ctx(), "", None).unwrap();
    assert!(now.is_of(context.ctx()));
    context.load(&renewed);
    assert!(!now.is_of(context.ctx()));
    assert_eq!(context.namespace("", None), other.namespace("", None));
}

/// From OpenSSL 3.5 on.
#[test]
fn a_quic_server_s_context_is_asked_itself() {
    let Some(method) = libssl_in_test().OSSL_QUIC_server_method else { return };
    let folder = Folder::new("quic");
    let ec = folder.certificate("ec", "/CN=x", EC, &["subjectAltName=DNS:a.test"]);
    let rsa = folder.certificate("rsa", "/CN=x", RSA, &["subjectAltName=DNS:b.test"]);
    // SAFETY: takes nothing and returns a constant.
    let context = Context::of_method(unsafe { method() }, &[&ec, &rsa]);
    let shown = context.ctx().certificate();
    assert_eq!(context.names(), [(DNS_NAME, b"a.test".to_vec()), (DNS_NAME, b"b.test".to_vec())]);
    assert_eq!(context.ctx().certificate(), shown);
    assert_eq!(context.namespace("", None), Context::new(&[&ec, &rsa]).namespace("", None));
    // SAFETY: takes nothing and returns a constant.
    assert_eq!(Context::of_method(unsafe { method() }, &[]).names(), []);
}

//! With certificates that the openssl command makes.

use super::*;
use crate::openssl::identity::Identity;
use crate::openssl::tests::{Context, EC, Folder, RSA};

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
    assert!(!Identity::of(one.ctx(), "", None).unwrap().server.has_certificate);
    assert!(Identity::of(one.ctx(), "", Some(7)).unwrap().server.has_certificate);
    assert_ne!(one.namespace("", Some(7)), other.namespace("", Some(8)));
    assert_eq!(one.namespace("", Some(7)), one.namespace("", Some(7)));
    assert_eq!(one.namespace("x", Some(7)), other.namespace("x", Some(8)));
    assert_ne!(one.namespace("x", Some(7)), one.namespace("x", None));
    assert_ne!(one.namespace("x", Some(7)), one.namespace("y", Some(7)));
}

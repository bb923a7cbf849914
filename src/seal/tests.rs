//! Sealing and opening, on the OpenSSL of this machine.

use super::*;
use crate::openssl::libssl::libssl_in_test;
use std::collections::HashSet;

const NAME: &[u8] = b"session id and namespace";

fn generator() -> Generator {
    Generator::new(libssl_in_test(), std::ptr::null_mut())
}

fn keys(secrets: &[u8]) -> Keys {
    let secrets: Vec<_> = secrets.iter().map(|byte| Secret::new([*byte; KEY_BYTES])).collect();
    Keys::derive(libssl_in_test(), &secrets).unwrap()
}

fn seal(keys: &Keys, plain: &[u8]) -> Vec<u8> {
    seal_with(keys, NAME, plain)
}

fn seal_with(keys: &Keys, associated: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut text = Wiped::new([&[0xff; HEAD_BYTES], plain].concat());
    keys.seal(generator(), associated, &mut text).unwrap();
    text.to_vec()
}

fn open(keys: &Keys, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    open_with(keys, NAME, sealed)
}

fn open_with(keys: &Keys, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut record = Wiped::new(sealed.to_vec());
    keys.open(libssl_in_test(), associated, &mut record).map(<[u8]>::to_vec)
}

#[test]
fn what_is_sealed_opens() {
    let keys = keys(&[1]);
    for length in [0, 1, 15, 16, 17, 135, 4096, 65536] {
        let plain: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let sealed = seal(&keys, &plain);
        assert_eq!(sealed.len(), length + OVERHEAD);
        assert_eq!(open(&keys, &sealed), Ok(plain));
    }
}

#[test]
fn records_of_a_process_share_half_a_nonce() {
    let keys = keys(&[1]);
    let sealed: Vec<_> = (0..200).map(|_| seal(&keys, b"a session")).collect();
    let half = |of: &Vec<u8>, at: usize| of[KEY_ID_BYTES + at..][..NONCE_BYTES / 2].to_vec();
    let firsts: HashSet<_> = sealed.iter().map(|of| half(of, 0)).collect();
    let seconds: HashSet<_> = sealed.iter().map(|of| half(of, NONCE_BYTES / 2)).collect();
    assert_eq!((firsts.len(), seconds.len()), (1, 200));
    for sealed in &sealed {
        assert_eq!(open(&keys, sealed).as_deref(), Ok(b"a session".as_slice()));
    }
    assert_eq!(half(&seal(&keys, b"another"), 0), half(sealed.last().unwrap(), 0), "after an open");
}

#[test]
fn what_has_no_room_for_a_head_is_not_sealed() {
    let mut text = Wiped::new(vec![7; HEAD_BYTES - 1]);
    let sealed = keys(&[1]).seal(generator(), NAME, &mut text);
    assert_eq!((sealed, text.len()), (Err(SealError::Failed), HEAD_BYTES - 1));
}

/// Made by another implementation, pyca/cryptography, of what is written at the head of mod.rs:
/// the secret 00 01 … 1f, the nonce A to X.
#[test]
fn the_format_is_what_it_was() {
    let mut secret = [0; KEY_BYTES];
    secret.iter_mut().zip(0..).for_each(|(byte, value)| *byte = value);
    let keys = Keys::derive(libssl_in_test(), &[Secret::new(secret)]).unwrap();
    let mut sealed = b"\x28\xf8\x4d\x55ABCDEFGHIJKLMNOPQRSTUVWX".to_vec();
    sealed.extend([
        0xea, 0x86, 0x3f, 0xb1, 0x3f, 0x46, 0x4e, 0xc9, 0x7d, 0x2f, 0x30, 0xb5, 0x6a, 0x30, 0x0a,
        0xad, 0x20, 0x2f, 0x7f, 0x96, 0x28, 0x63, 0x10, 0x96, 0xbe,
    ]);
    assert_eq!(open_with(&keys, b"sid", &sealed).as_deref(), Ok(b"a session".as_slice()));
}

#[test]
fn a_changed_bit_anywhere_is_noticed() {
    let keys = keys(&[1, 2]);
    let sealed = seal(&keys, b"a session of some bytes");
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut changed = sealed.clone();
            changed[at] ^= 1 << bit;
            let expected = match at {
                0..KEY_ID_BYTES => OpenError::UnknownKey,
                _ => OpenError::NotAuthentic,
            };
            assert_eq!(open(&keys, &changed), Err(expected), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn a_record_cut_anywhere_is_noticed() {
    let keys = keys(&[1]);
    let sealed = seal(&keys, b"a session of some bytes");
    for length in 0..sealed.len() {
        let expected =
            if length < OVERHEAD { OpenError::Truncated } else { OpenError::NotAuthentic };
        assert_eq!(open(&keys, &sealed[..length]), Err(expected), "{length} bytes");
    }
    let longer = [sealed.as_slice(), b"\0"].concat();
    assert_eq!(open(&keys, &longer), Err(OpenError::NotAuthentic));
}

#[test]
fn other_associated_data_do_not_open() {
    let keys = keys(&[1]);
    let sealed = seal_with(&keys, b"", b"plain");
    assert!(open_with(&keys, b"", &sealed).is_ok());
    for other in [b"\0".as_slice(), NAME] {
        assert_eq!(open_with(&keys, other, &sealed), Err(OpenError::NotAuthentic));
    }
    let sealed = seal(&keys, b"plain");
    for other in [b"".as_slice(), &NAME[1..], &NAME[..NAME.len() - 1]] {
        assert_eq!(open_with(&keys, other, &sealed), Err(OpenError::NotAuthentic));
    }
}

#[test]
fn older_keys_open_and_the_newest_seals() {
    let (old, rotated, new) = (keys(&[1]), keys(&[2, 1]), keys(&[2]));
    let before = seal(&old, b"before");
    assert_eq!(open(&rotated, &before).as_deref(), Ok(b"before".as_slice()));
    assert_eq!(open(&new, &before), Err(OpenError::UnknownKey));
    let after = seal(&rotated, b"after");
    assert_eq!(open(&new, &after).as_deref(), Ok(b"after".as_slice()));
    assert_eq!(open(&old, &after), Err(OpenError::UnknownKey));
}

#[test]
fn keys_of_one_id_are_all_tried() {
    let mut keys = keys(&[2, 1]);
    let by_second = seal(&self::keys(&[1]), b"plain");
    keys.0[0].id = keys.0[1].id;
    assert_eq!(open(&keys, &by_second).as_deref(), Ok(b"plain".as_slice()));
    keys.0[1].id = [0; KEY_ID_BYTES];
    assert_eq!(open(&keys, &by_second), Err(OpenError::NotAuthentic));
}

#[test]
fn random_keys_and_nonces_differ() {
    let (a, b) = (Keys::random(generator()).unwrap(), Keys::random(generator()).unwrap());
    let sealed = seal(&a, b"plain");
    assert!(open(&a, &sealed).is_ok());
    assert!(open(&b, &sealed).is_err());
    let nonce = |sealed: &[u8]| sealed[KEY_ID_BYTES..][..NONCE_BYTES].to_vec();
    assert_ne!(nonce(&sealed), nonce(&seal(&a, b"plain")));
}

#[test]
fn no_secret_is_no_keys_and_none_is_shown() {
    assert!(Keys::derive(libssl_in_test(), &[]).is_err());
    assert_eq!(format!("{:?}", keys(&[0xab])), "Keys");
}

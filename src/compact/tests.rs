//! Sessions of every shape come back byte for byte; bytes of any content restore to a session or to
//! none.

use super::*;

const ID: &[u8] = &[0x1d; 32];
const NAME: &[u8] = b"www.example.org";
const BEGAN: u32 = 1_764_000_000;
const DEADLINE: u64 = BEGAN as u64 + 300;
const KNOWN: Known<'_> =
    Known { version: 0x303, id: ID, name: NAME, began: BEGAN, deadline: DEADLINE };
/// A record's head, which stays as it is: the origin.
const HEAD: &[u8] = b"origin-of-it.";

/// A DER value of any length.
fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let [.., high, middle, low] = length.to_be_bytes();
    let mut out = vec![tag];
    match length {
        0..0x80 => out.push(low),
        0x80..0x100 => out.extend([0x81, low]),
        0x100..0x1_0000 => out.extend([0x82, middle, low]),
        _ => out.extend([0x83, high, middle, low]),
    }
    out.extend(content);
    out
}

fn number(value: u64) -> Vec<u8> {
    self::value(INTEGER, Number::of(value).bytes())
}

/// A session as OpenSSL writes it, with these optional fields.
fn session(version: u16, secret: usize, fields: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut all = [number(1), number(version.into()), value(OCTETS, &[0xc0, 0x2f])].concat();
    all.extend(value(OCTETS, ID));
    all.extend(value(OCTETS, &vec![0xab; secret]));
    for (tag, inside) in fields {
        all.extend(value(FIRST_TAG + tag, inside));
    }
    value(SEQUENCE, &all)
}

/// The shortened session without its head, after it was seen to come back.
fn short(der: &[u8], known: &Known<'_>) -> Vec<u8> {
    let mut all = Wiped::new(HEAD.to_vec());
    append_short(&mut all, der, known).unwrap();
    assert!(all.capacity() >= all.len() && all.len() <= HEAD.len() + 1 + der.len());
    let short = all.strip_prefix(HEAD).unwrap().to_vec();
    let restored = restore(&short, known).unwrap();
    assert!(*restored == *der);
    assert_eq!(restored.capacity(), restored.len(), "it never grew: nothing was left behind");
    short
}

fn octets(length: usize) -> Vec<u8> {
    value(OCTETS, &vec![7; length])
}

fn usual() -> Vec<(u8, Vec<u8>)> {
    vec![(1, number(u64::from(BEGAN))), (2, number(300))]
}

/// One plain slot of the store has 176 bytes, 44 of them of the seal.
#[test]
fn a_plain_session_fits_into_a_slot() {
    let mut fields = usual();
    fields.push((4, octets(32)));
    fields.push((6, value(OCTETS, NAME)));
    fields.push((13, number(1)));
    fields.push((16, value(OCTETS, b"http/1.1")));
    fields.push((19, number(29)));
    let der = session(0x303, 48, &fields);
    // With the era of a flush, and a chain that began before the session.
    let later = Known { began: BEGAN - 4000, ..KNOWN };
    assert_eq!((der.len(), short(&der, &KNOWN).len(), short(&der, &later).len()), (189, 102, 106));
    const { assert!(13 + 6 + 106 + crate::seal::OVERHEAD <= 176) };
}

#[test]
fn sessions_of_every_shape_come_back() {
    let certificate = |length| value(SEQUENCE, &vec![5; length]);
    let choices: [&[(u8, Vec<u8>)]; 8] = [
        &[
            (1, number(0)),
            (1, number(u64::from(BEGAN))),
            (1, number(1 << 33)),
            (1, number(1 << 62)),
        ],
        &[(2, number(300)), (2, number(7200)), (2, number(u64::from(u32::MAX)))],
        &[(3, certificate(60)), (3, certificate(130)), (3, certificate(900))],
        &[(4, octets(0)), (4, octets(32))],
        &[(6, value(OCTETS, NAME)), (6, value(OCTETS, b"WWW.example.org")), (6, octets(200))],
        &[(9, number(7200)), (10, octets(127)), (10, octets(128)), (14, number(0xffff_ffff))],
        &[(16, octets(2)), (16, value(1, &[0xff])), (16, vec![]), (16, vec![4, 9])],
        &[(20, octets(300)), (30, value(INTEGER, &[]))],
    ];
    let mut count = 0;
    for shape in 0..choices.iter().map(|fields| fields.len() + 1).product::<usize>() {
        let mut rest = shape;
        let mut fields = Vec::new();
        for choice in choices {
            // The last is none.
            fields.extend(choice.get(rest % (choice.len() + 1)).cloned());
            rest /= choice.len() + 1;
        }
        let der = session(0x303, 48, &fields);
        assert_eq!(short(&der, &KNOWN)[0], 48, "shape {shape}");
        count += 1;
    }
    assert_eq!(count, 5 * 4 * 4 * 3 * 4 * 5 * 5 * 3);
}

#[test]
fn versions_and_secrets_of_all_kinds_come_back() {
    for version in [0x301, 0x303, 0x304, 0xfefd, 0xfeff] {
        for secret in [1, 32, 48, 127, 128, 255] {
            let known = Known { version, ..KNOWN };
            assert_eq!(short(&session(version, secret, &usual()), &known).len(), 5 + secret);
        }
    }
}

#[test]
fn an_unknown_session_travels_whole() {
    let known = session(0x303, 48, &usual());
    let [mut trailing, mut primitive, mut long] = [known.clone(), known.clone(), known.clone()];
    trailing.push(0);
    *primitive.last_mut().unwrap() = 0x80;
    long.splice(1..2, [0x81, known[1]]);
    let unknown = [
        vec![],
        vec![0; 3],
        session(0x304, 48, &usual()),
        session(0x303, 0, &usual()),
        session(0x303, 256, &usual()),
        session(0x303, 48, &[(2, number(1)), (1, number(1))]),
        session(0x303, 48, &[(1, number(1)), (1, number(1))]),
        session(0x303, 48, &[(31, number(1))]),
        session(0x303, 48, &[(3, octets(32_768))]),
        session(0x303, 48, &[(3, octets(70_000))]),
        known[..known.len() - 1].to_vec(),
        trailing,
        long,
    ];
    for (at, der) in unknown.iter().enumerate() {
        let short = short(der, &KNOWN);
        assert!(short[0] == WHOLE && short[1..] == der[..], "{at}");
    }
    assert_ne!(short(&primitive, &KNOWN)[0], WHOLE, "any content of a field is kept");
    let largest = session(0x303, 48, &[(10, octets(32_767)), (20, octets(30_000))]);
    assert_ne!(short(&largest, &KNOWN)[0], WHOLE, "a long octet string");
    let other = Known { id: &[1; 32], ..KNOWN };
    assert_eq!(short(&known, &other)[0], WHOLE, "another id");
}

/// The time from which a timeout counts is the same on both sides, whatever is there instead of it.
#[test]
fn a_time_that_is_no_number_is_none() {
    for time in
        [value(1, &[0; 4]), value(OCTETS, &[0, 0, 1, 0]), value(INTEGER, &[0x80; 3]), vec![]]
    {
        for timeout in [0, 1, 256, DEADLINE, DEADLINE - 256] {
            short(&session(0x303, 48, &[(1, time.clone()), (2, number(timeout))]), &KNOWN);
        }
    }
}

#[test]
fn a_truncated_or_changed_one_is_none_or_a_session() {
    let mut fields = usual();
    fields.extend([(3, octets(200)), (6, value(OCTETS, NAME)), (16, value(1, &[1]))]);
    let good = short(&session(0x303, 48, &fields), &KNOWN);
    for length in 0..good.len() {
        check_any(&good[..length]);
    }
    for at in 0..good.len() {
        for byte in 0..=255 {
            let mut changed = good.clone();
            changed[at] = byte;
            check_any(&changed);
        }
    }
}

/// A session that bytes restore to is shortened and comes back.
fn check_any(bytes: &[u8]) {
    if let Some(der) = restore(bytes, &KNOWN) {
        assert!(der.len() <= bytes.len() + 31 * 8 + NAME.len() + 64);
        short(&der, &KNOWN);
    }
}

#[test]
fn a_few_bytes_do_not_become_many() {
    let mut bytes = vec![1, 0, 0, 0];
    bytes.extend(std::iter::repeat_n(6 << 3 | KNOWN_FORM, 60_000));
    assert!(restore(&bytes, &KNOWN).is_none());
    assert!(restore(&[1, 0, 0, 0, 31 << 3 | 1, 0], &KNOWN).is_none(), "no such tag");
    // More than a session's length can say.
    let large = [&[1, 0, 0, 0][..], &[3 << 3, 0xff, 0xff], &[0; 32_767]].concat();
    assert!(restore(&large, &KNOWN).is_some());
    let larger = [&large[..], &[4 << 3, 0xff, 0xff], &[0; 32_767]].concat();
    assert!(restore(&larger, &KNOWN).is_none());
}

#[test]
fn numbers_are_written_as_asn1_wants_them() {
    let cases: [(u64, &[u8]); 7] = [
        (0, &[0]),
        (127, &[127]),
        (128, &[0, 128]),
        (256, &[1, 0]),
        (0x8000, &[0, 0x80, 0]),
        (u64::MAX >> 1, &[0x7f, 255, 255, 255, 255, 255, 255, 255]),
        (u64::MAX, &[0, 255, 255, 255, 255, 255, 255, 255, 255]),
    ];
    for (number, content) in cases {
        assert_eq!(Number::of(number).bytes(), content);
        assert_eq!(Number::value(content), (number >> 63 == 0).then_some(number));
    }
}

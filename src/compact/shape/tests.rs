//! A session is taken apart and put together again, as `append_short` has made it.

use super::super::{INTEGER, append_short, restore};
use super::*;
use sesscache_core::system::wipe::Wiped;
use std::collections::BTreeSet;

const BEGAN: u32 = 1_764_000_000;
const ID: &[u8] = &[0x1d; 32];
const NAME: &[u8] = b"www.example.org";
const KNOWN: Known<'_> =
    Known { version: 0x304, id: ID, name: NAME, began: BEGAN, deadline: BEGAN as u64 + 812 };

/// A value with a length below 128.
fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, content.len().try_into().unwrap()], content].concat()
}

fn number(value: u64) -> Vec<u8> {
    self::value(INTEGER, Number::of(value).bytes())
}

/// The DER of a session with these optional fields.
fn der(secret: &[u8], fields: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut all = [number(1), number(0x304), value(OCTETS, &[0x13, 1])].concat();
    all.extend([value(OCTETS, ID), value(OCTETS, secret)].concat());
    fields.iter().for_each(|(tag, inside)| all.extend(value(FIRST_TAG + tag, inside)));
    let head: &[u8] = if all.len() < 0x80 { &[0x30] } else { &[0x30, 0x81] };
    [head, &[all.len().try_into().unwrap()], &all].concat()
}

const SECRET: &[u8] = &[9; 32];

fn usual() -> Vec<(u8, Vec<u8>)> {
    let (context, alpn) = (value(OCTETS, b"context"), value(OCTETS, b"http/1.1"));
    let mask = number(0x1234_5678);
    let times = [(1, number(BEGAN.into())), (2, number(812))];
    [&times[..], &[(4, context), (6, value(OCTETS, NAME)), (14, mask), (16, alpn)]].concat()
}

fn with(changed: u8, inside: Vec<u8>) -> Vec<(u8, Vec<u8>)> {
    let mut fields = without(changed);
    fields.push((changed, inside));
    fields.sort_by_key(|(tag, _)| *tag);
    fields
}

fn without(tag: u8) -> Vec<(u8, Vec<u8>)> {
    usual().into_iter().filter(|(other, _)| *other != tag).collect()
}

fn shorten(der: &[u8], known: &Known<'_>) -> Vec<u8> {
    let mut short = Wiped::default();
    append_short(&mut short, der, known).unwrap();
    short.to_vec()
}

fn short(fields: &[(u8, Vec<u8>)], known: &Known<'_>) -> Vec<u8> {
    shorten(&der(SECRET, fields), known)
}

fn shape(short: &[u8], known: &Known<'_>) -> Option<Shape> {
    Shape::of(&Parts::of(short, known)?, known)
}

fn append(shape: &Shape, fields: &Fields<'_>, known: &Known<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(shape.most_bytes());
    let appended = shape.append(fields, known, &mut out);
    assert!(out.len() <= shape.most_bytes());
    appended.map(|()| out)
}

#[test]
fn a_session_is_put_together_as_it_was_shortened() {
    let began_before = Known { began: BEGAN - 4000, ..KNOWN };
    let ends_before = Known { deadline: BEGAN as u64 + 200, ..KNOWN };
    let other_name = Known { name: &[b'a'; 200], ..KNOWN };
    let no_name = Known { name: &[], ..KNOWN };
    for known in [KNOWN, began_before, ends_before, other_name, no_name] {
        for missing in [0, 4, 6, 16] {
            let (short, bare) = {
                let mut fields = without(missing);
                let with_mask = short(&fields, &known);
                fields.retain(|(tag, _)| *tag != 14);
                (with_mask, short(&fields, &known))
            };
            let parts = Parts::of(&short, &known).unwrap();
            assert_eq!(parts.fields, Fields { secret: SECRET, time: BEGAN.into(), timeout: 812 });
            let shape = Shape::of(&parts, &known).unwrap();
            assert!(shape.is_of(&parts, &known));
            assert_eq!(append(&shape, &parts.fields, &known).unwrap(), bare);
            let parts = Parts::of(&bare, &known).unwrap();
            assert!(shape.is_of(&parts, &known), "with a mask or without, it is one shape");
            assert_eq!(Shape::of(&parts, &known).unwrap(), shape);
            // As it would be shortened where something else is known of it.
            for other in [KNOWN, began_before, ends_before, other_name, no_name] {
                let again = append(&shape, &parts.fields, &other).unwrap();
                assert_eq!(*restore(&again, &other).unwrap(), *restore(&bare, &known).unwrap());
                assert_eq!(*again, *shorten(&restore(&again, &other).unwrap(), &other));
                let parts = Parts::of(&again, &other).unwrap();
                assert!(shape.is_of(&parts, &other));
                assert_eq!(Shape::of(&parts, &other).unwrap(), shape);
            }
        }
    }
}

#[test]
fn each_other_byte_is_of_the_shape() {
    let known = Known { name: b"another.example", ..KNOWN };
    let der = der(SECRET, &usual());
    let short = shorten(&der, &known);
    let shape = shape(&short, &known).unwrap();
    let place = |bytes: &[u8]| der.windows(bytes.len()).position(|at| at == bytes).unwrap();
    let secret = place(SECRET)..place(SECRET) + SECRET.len();
    let (time, timeout) = (place(&number(BEGAN.into())), place(&number(812)));
    let mask = place(&number(0x1234_5678));
    let is_free = |at: usize| {
        let is_of = |of: usize, length: usize| (of + 2..of + 2 + length).contains(&at);
        secret.contains(&at) || is_of(time, 4) || is_of(timeout, 2) || is_of(mask, 4)
    };
    for at in 0..der.len() {
        let mut changed = der.clone();
        changed[at] ^= 1;
        let short = shorten(&changed, &known);
        let parts = Parts::of(&short, &known);
        let has = parts.is_some_and(|parts| shape.is_of(&parts, &known));
        assert_eq!(has, is_free(at), "byte {at}");
    }
}

#[test]
fn a_shape_is_of_one_version_and_one_length_of_ids_and_secrets() {
    let fields = Fields { secret: SECRET, time: 7, timeout: 8 };
    let short = short(&usual(), &KNOWN);
    let shape = shape(&short, &KNOWN).unwrap();
    assert_eq!(shape.secret_length(), SECRET.len());
    for other in [Known { version: 0x303, ..KNOWN }, Known { id: &ID[1..], ..KNOWN }] {
        assert!(!shape.is_of(&Parts::of(&short, &other).unwrap(), &other));
        assert_eq!(append(&shape, &fields, &other), None);
    }
    let longer = Fields { secret: &[9; 33], ..fields };
    assert_eq!(append(&shape, &longer, &KNOWN), None);
    let mut out = Vec::with_capacity(shape.most_bytes() - 1);
    assert_eq!(shape.append(&fields, &KNOWN, &mut out), None, "there is no room");
    assert!(out.is_empty());
}

#[test]
fn times_that_are_none_have_no_shape() {
    let shape = shape(&short(&usual(), &KNOWN), &KNOWN).unwrap();
    let last = i64::try_from(LAST_TIME).unwrap();
    for (time, is_one) in [(0, false), (-1, false), (1, true), (last, true), (last + 1, false)] {
        let fields = Fields { secret: SECRET, time: 7, timeout: 8 };
        for fields in [Fields { time, ..fields }, Fields { timeout: time, ..fields }] {
            assert_eq!(append(&shape, &fields, &KNOWN).is_some(), is_one, "{fields:?}");
        }
        let Ok(time) = u64::try_from(time) else { continue };
        for tag in [1, 2] {
            let short = short(&with(tag, number(time)), &KNOWN);
            assert_eq!(Parts::of(&short, &KNOWN).is_some(), is_one, "{tag} {time}");
        }
    }
    for padded in [vec![0, 1], vec![0x80]] {
        let short = short(&with(1, value(INTEGER, &padded)), &KNOWN);
        assert!(Parts::of(&short, &KNOWN).is_none());
    }
    assert!(Parts::of(&short(&without(1), &KNOWN), &KNOWN).is_none());
    assert!(Parts::of(&short(&without(2), &KNOWN), &KNOWN).is_none());
}

#[test]
fn a_copy_that_would_differ_has_no_shape() {
    let has = |fields: &[(u8, Vec<u8>)]| shape(&short(fields, &KNOWN), &KNOWN).is_some();
    assert!(has(&usual()) && has(&[without(16), vec![(16, number(7))]].concat()));
    assert!(!has(&with(9, number(7))), "a hint without a ticket");
    let ticket = [with(9, number(7)), vec![(10, value(OCTETS, b"ticket"))]].concat();
    let mut ticket = ticket;
    ticket.sort_by_key(|(tag, _)| *tag);
    assert!(has(&ticket));
    assert!(!has(&with(15, number(7))), "early data");
    for mask in [value(INTEGER, &[0, 1]), value(INTEGER, &[0x80]), number(1 << 32), vec![1, 2]] {
        assert!(!has(&with(14, mask)));
    }
}

#[test]
fn bytes_that_end_anywhere_have_no_shape() {
    let short = short(&usual(), &KNOWN);
    let whole = shape(&short, &KNOWN).unwrap();
    let mut all = BTreeSet::new();
    for end in 0..short.len() {
        let parts = Parts::of(&short[..end], &KNOWN);
        assert!(!parts.as_ref().is_some_and(|parts| whole.is_of(parts, &KNOWN)));
        let shape = parts.and_then(|parts| Shape::of(&parts, &KNOWN));
        all.extend(shape.map(|shape| (shape.rest, shape.name)));
    }
    // Behind the times, the first text and the name it is another session.
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(Parts::of(&[WHOLE, 1, 2, 3], &KNOWN).is_none());
}

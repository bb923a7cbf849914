//! The DER of a session, cut into what differs from session to session and the rest, its *shape*.
//!
//! Of two sessions of one shape, all fields are equal but id, secret, times, and how the age of a
//! TLS 1.3 ticket is masked. The mask is looked at only before early data is accepted, so a session
//! for early data has no shape. Knows the order of the fields (ssl_asn1.c) and not their meaning; bytes
//! that are not as OpenSSL writes them have no shape either. No unsafe, no locks.

use std::hash::Hasher;
use zeroize::Zeroizing;

/// The tags of the fields, as OpenSSL writes them.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const TIME: u8 = 0xA1;
const TIMEOUT: u8 = 0xA2;
const LIFETIME_HINT: u8 = 0xA9;
const TICKET: u8 = 0xAA;
const AGE_MASK: u8 = 0xAE;
const MAX_EARLY_DATA: u8 = 0xAF;

/// Later times are OpenSSL's to judge: it counts nanoseconds in 64 bits.
const LAST_TIME: i64 = 1 << 33;

/// How many parts a shape has.
const PARTS: usize = 4;

/// A session's DER, cut.
#[derive(Debug)]
pub struct Cut<'a> {
    /// Where the id is.
    pub id: &'a [u8],
    /// Where the secret is.
    pub secret: &'a [u8],
    /// When it began.
    pub time: i64,
    /// How many seconds it lives.
    pub timeout: i64,
    /// The rest: until the id, until the secret, and what follows the times, before and behind the
    /// mask. Id and secret are of the lengths that the parts say.
    shape: [&'a [u8]; PARTS],
}

/// A field: its tag, its content, and its own bytes.
struct Field<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

/// Takes the next field off `rest`. `None` if it is not encoded as DER.
fn next<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    let whole = *rest;
    let (&tag, after) = whole.split_first()?;
    let (&first, after) = after.split_first()?;
    let (length, after) = match first {
        ..=0x7F => (usize::from(first), after),
        0x81 => {
            let (&length, after) = after.split_first().filter(|(length, _)| **length >= 0x80)?;
            (usize::from(length), after)
        }
        0x82 => {
            let (length, after) = after.split_first_chunk()?;
            let length = u16::from_be_bytes(*length);
            (usize::from(length), (length >= 0x100).then_some(after)?)
        }
        _ => return None,
    };
    let (content, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(Field { tag, content, whole: whole.get(..whole.len() - after.len())? })
}

fn expect<'a>(rest: &mut &'a [u8], tag: u8) -> Option<Field<'a>> {
    next(rest).filter(|field| field.tag == tag)
}

/// The bytes of `all` before `place`, which is within it.
fn until<'a>(all: &'a [u8], place: &[u8]) -> Option<&'a [u8]> {
    all.get(..(place.as_ptr() as usize).checked_sub(all.as_ptr() as usize)?)
}

/// The integer that is a field's only content, as bytes without a sign. `None` if it has one.
fn integer<'a>(field: &Field<'a>) -> Option<&'a [u8]> {
    let mut content = field.content;
    let bytes = expect(&mut content, INTEGER).filter(|_| content.is_empty())?.content;
    match *bytes {
        [0, second, ..] => bytes.get(1..).filter(|_| second >= 0x80),
        [first, ..] => Some(bytes).filter(|_| first < 0x80),
        [] => None,
    }
}

/// A time in a field. `None` before 1970, at 0, and too late.
fn time(rest: &mut &[u8], tag: u8) -> Option<i64> {
    let bytes = integer(&expect(rest, tag)?).filter(|bytes| bytes.len() < size_of::<i64>())?;
    let time = bytes.iter().fold(0_i64, |time, byte| time << 8 | i64::from(*byte));
    (1..=LAST_TIME).contains(&time).then_some(time)
}

impl<'a> Cut<'a> {
    /// Cuts a session's DER. `None` if it has no shape.
    pub fn of(der: &'a [u8]) -> Option<Cut<'a>> {
        let mut rest = der;
        let body = expect(&mut rest, SEQUENCE)?.content;
        if !rest.is_empty() {
            return None;
        }
        let mut rest = body;
        for tag in [INTEGER, INTEGER, OCTETS] {
            expect(&mut rest, tag)?;
        }
        let id = expect(&mut rest, OCTETS)?.content;
        let from_id = rest;
        let secret = expect(&mut rest, OCTETS)?.content;
        let until_secret = until(from_id, secret)?;
        let (time, timeout) = (time(&mut rest, TIME)?, time(&mut rest, TIMEOUT)?);
        let [before, behind] = without_mask(rest)?;
        let shape = [until(body, id)?, until_secret, before, behind];
        Some(Cut { id, secret, time, timeout, shape })
    }

    /// Its shape, by itself.
    pub fn shape(&self) -> Option<Shape> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(self.shape.iter().map(|part| part.len()).sum()).ok()?;
        self.shape.iter().for_each(|part| bytes.extend_from_slice(part));
        Some(Shape { bytes, lengths: self.shape.map(<[u8]>::len) })
    }

    /// Whether it has this shape.
    pub fn has(&self, shape: &Shape) -> bool {
        self.shape == shape.parts()
    }

    /// Writes its shape to a hasher.
    pub fn hash_shape(&self, hasher: &mut impl Hasher) {
        self.shape.iter().for_each(|part| hasher.write(part));
    }
}

/// A shape.
#[derive(Debug)]
pub struct Shape {
    bytes: Vec<u8>,
    lengths: [usize; PARTS],
}

/// The fields of a session that are not of its shape.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// As long as the shape's.
    pub id: &'a [u8],
    /// As long as the shape's.
    pub secret: &'a [u8],
    /// When it began.
    pub time: i64,
    /// How many seconds it lives.
    pub timeout: i64,
}

impl Shape {
    fn parts(&self) -> [&[u8]; PARTS] {
        let mut rest = self.bytes.as_slice();
        self.lengths.map(|length| {
            let (part, after) = rest.split_at_checked(length).unwrap_or_default();
            rest = after;
            part
        })
    }

    /// How many bytes [`Shape::append`] appends at most.
    fn most_bytes(&self, fields: &Fields<'_>) -> usize {
        /// A head of four bytes, and two times.
        const BESIDE: usize = 4 + 2 * TIME_BYTES;
        BESIDE + self.bytes.len() + fields.id.len() + fields.secret.len()
    }

    /// The DER of a session of this shape, without a mask. `None` without memory, or if a time is none.
    pub fn to_der(&self, fields: &Fields<'_>) -> Option<Zeroizing<Vec<u8>>> {
        let mut der = Zeroizing::new(Vec::new());
        der.try_reserve_exact(self.most_bytes(fields)).ok()?;
        self.append(fields, &mut der)?;
        Some(der)
    }

    /// Appends the DER of a session of this shape, without a mask. `None` if `out` has not the room, or
    /// if a time is none.
    fn append(&self, fields: &Fields<'_>, out: &mut Vec<u8>) -> Option<()> {
        let [until_id, until_secret, before, behind] = self.parts();
        let (time, timeout) =
            (EncodedTime::of(TIME, fields.time)?, EncodedTime::of(TIMEOUT, fields.timeout)?);
        let all = [
            until_id,
            fields.id,
            until_secret,
            fields.secret,
            time.bytes(),
            timeout.bytes(),
            before,
            behind,
        ];
        let length = all.iter().map(|part| part.len()).sum();
        if out.capacity() - out.len() < self.most_bytes(fields) {
            return None;
        }
        out.push(SEQUENCE);
        match length {
            0..0x80 => out.push(u8::try_from(length).ok()?),
            0x80..0x100 => out.extend([0x81, u8::try_from(length).ok()?]),
            _ => {
                out.push(0x82);
                out.extend(u16::try_from(length).ok()?.to_be_bytes());
            }
        }
        all.iter().for_each(|part| out.extend_from_slice(part));
        Some(())
    }
}

/// A tag and a length, twice, and an integer.
const TIME_BYTES: usize = 4 + size_of::<i64>();

struct EncodedTime {
    bytes: [u8; TIME_BYTES],
    length: usize,
}

impl EncodedTime {
    fn of(tag: u8, time: i64) -> Option<EncodedTime> {
        if !(1..=LAST_TIME).contains(&time) {
            return None;
        }
        let value = time.to_be_bytes();
        // One bit more than it has, for the sign.
        let count = (usize::try_from(time.ilog2()).ok()? + 2).div_ceil(8);
        let value = value.get(value.len() - count..)?;
        let mut bytes = [0; TIME_BYTES];
        let (outer, inner) = (u8::try_from(count + 2).ok()?, u8::try_from(count).ok()?);
        let all = [tag, outer, INTEGER, inner].into_iter().chain(value.iter().copied());
        bytes.iter_mut().zip(all).for_each(|(place, byte)| *place = byte);
        Some(EncodedTime { bytes, length: 4 + count })
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The fields after the times, before and behind the mask of a ticket's age, or its place. `None` if they
/// say that a copy would differ.
fn without_mask(all: &[u8]) -> Option<[&[u8]; 2]> {
    let (mut rest, mut last) = (all, TIMEOUT);
    let (mut before, mut behind) = (all, None);
    let mut has_hint = false;
    while !rest.is_empty() {
        let field = next(&mut rest)?;
        if field.tag <= last {
            return None;
        }
        last = field.tag;
        match field.tag {
            MAX_EARLY_DATA => return None,
            LIFETIME_HINT => has_hint = true,
            TICKET => has_hint = false,
            AGE_MASK => {
                integer(&field).filter(|mask| mask.len() <= size_of::<u32>())?;
                (before, behind) = (until(all, field.whole)?, Some(rest));
            }
            AGE_MASK.. if behind.is_none() => {
                before = until(all, field.whole)?;
                behind = all.get(before.len()..);
            }
            _ => {}
        }
    }
    // SSL_SESSION_dup(3) drops the hint of a session without a ticket.
    (!has_hint).then_some([before, behind.unwrap_or_default()])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session of TLS 1.3 with a mask and a field behind it, as OpenSSL 3.0 writes it.
    fn der(mask: &[u8]) -> Vec<u8> {
        let mut body = vec![2, 1, 1, 2, 2, 3, 4, 4, 2, 0x13, 1, 4, 2, 7, 8, 4, 3, 9, 9, 9];
        body.extend([0xA1, 6, 2, 4, 0x70, 0, 0, 0, 0xA2, 4, 2, 2, 3, 44, 0xA4, 3, 4, 1, b'x']);
        body.extend(mask);
        body.extend([0xB3, 3, 2, 1, 29]);
        let mut der = vec![0x30, body.len().try_into().unwrap()];
        der.extend(body);
        der
    }

    const MASK: [u8; 7] = [0xAE, 5, 2, 3, 5, 2, 3];

    #[test]
    fn a_session_is_cut_and_put_together_again() {
        let (with, without) = (der(&MASK), der(&[]));
        let cut = Cut::of(&with).unwrap();
        assert_eq!((cut.id, cut.secret), ([7, 8].as_slice(), [9, 9, 9].as_slice()));
        assert_eq!((cut.time, cut.timeout), (0x7000_0000, 812));
        let shape = cut.shape().unwrap();
        assert!(cut.has(&shape));
        let fields = Fields { id: cut.id, secret: cut.secret, time: cut.time, timeout: 812 };
        let mut out = Vec::with_capacity(shape.most_bytes(&fields));
        shape.append(&fields, &mut out).unwrap();
        assert_eq!(out, without);
        assert_eq!(shape.append(&fields, &mut out), None, "there is no room");
        assert!(Cut::of(&without).unwrap().has(&shape), "with a mask or without, it is one shape");
    }

    #[test]
    fn each_other_byte_is_of_the_shape() {
        let der = der(&MASK);
        let shape = Cut::of(&der).unwrap().shape().unwrap();
        let is_free = |at: usize| matches!(at, 15..17 | 19..22 | 26..30 | 34..36 | 45..48);
        for at in 0..der.len() {
            let mut changed = der.clone();
            changed[at] ^= 1;
            let has = Cut::of(&changed).is_some_and(|cut| cut.has(&shape));
            assert_eq!(has, is_free(at), "byte {at}");
        }
    }

    #[test]
    fn times_are_encoded_as_integers() {
        for (time, bytes) in [(1, 1), (127, 1), (128, 2), (32767, 2), (32768, 3), (LAST_TIME, 5)] {
            let encoded = EncodedTime::of(TIME, time).unwrap();
            assert_eq!(encoded.length, 4 + bytes, "{time}");
            assert_eq!(super::time(&mut encoded.bytes(), TIME), Some(time));
        }
        assert!([0, -1, LAST_TIME + 1].iter().all(|time| EncodedTime::of(TIME, *time).is_none()));
    }

    #[test]
    fn a_copy_that_would_differ_has_no_shape() {
        let with = |field: &[u8]| Cut::of(&der(field)).is_some();
        assert!(with(&[]) && with(&[0xA9, 3, 2, 1, 5, 0xAA, 3, 4, 1, 1]));
        assert!(!with(&[0xA9, 3, 2, 1, 5]), "a hint without a ticket");
        assert!(!with(&[0xAF, 3, 2, 1, 5]), "early data");
        assert!(!with(&[0xAA, 3, 4, 1, 1, 0xA9, 3, 2, 1, 5]), "out of order");
    }

    #[test]
    fn bytes_that_end_anywhere_have_no_shape() {
        let der = der(&MASK);
        assert!((0..der.len()).all(|end| Cut::of(&der[..end]).is_none()));
        assert!(Cut::of(&[der.as_slice(), &[0]].concat()).is_none());
    }
}

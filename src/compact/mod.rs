//! A session's DER (i2d_SSL_SESSION) in fewer bytes, for the plaintext of a record.
//!
//! Left out is whatever who looks the session up knows already, and the framing that is the same in
//! every session. The DER comes back byte for byte. A session of a shape that is not known here
//! travels whole. docs/STORE.md, "Sealing", has the format.
//!
//! The bytes to restore may come from another version of the library: nothing in them is trusted.
//! All buffers are made at once in their full size, and wiped. No OpenSSL, no locks, no unsafe.

pub mod shape;

use sesscache_core::system::wipe::Wiped;

/// The parts of a session that are known without its record.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Its protocol version.
    pub version: u16,
    /// Its id.
    pub id: &'a [u8],
    /// The server name to which its record is sealed.
    pub name: &'a [u8],
    /// When its chain of resumptions began, in seconds since 1970.
    pub began: u32,
    /// The last second of its record.
    pub deadline: u64,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 2;
const OCTETS: u8 = 4;
/// The version of OpenSSL's format (`SSL_SESSION_ASN1_VERSION`).
const FORMAT: &[u8] = &[1];

/// The tags of optional fields: \[0\] to \[30\], constructed (ssl/ssl_asn1.c).
const FIRST_TAG: u8 = 0xa0;
const LAST_TAG: u8 = 0xbe;
const TIME_TAG: u8 = FIRST_TAG + 1;
const TIMEOUT_TAG: u8 = FIRST_TAG + 2;
const NAME_TAG: u8 = FIRST_TAG + 6;

/// In place of a secret's length: the whole DER follows.
const WHOLE: u8 = 0;
/// The forms of a field: an octet string, with its length.
const OCTETS_FORM: u8 = 0;
/// From 1 to this: an integer of so many bytes.
const LONGEST_INTEGER: usize = 5;
/// It is as known.
const KNOWN_FORM: u8 = 6;
/// Any content, with its length.
const ANY_FORM: u8 = 7;

/// Appends the session `der`, shortened. `None` without memory.
pub fn append_short(out: &mut Wiped, der: &[u8], known: &Known<'_>) -> Option<()> {
    let start = out.len();
    // Nothing is longer than whole.
    out.reserve(1 + der.len())?;
    if append(out, der, known).is_none() {
        out.truncate(start);
        out.push(WHOLE);
        out.extend_from_slice(der);
    }
    Some(())
}

/// The DER of a shortened session; `None` if it is none, and without memory.
pub fn restore(short: &[u8], known: &Known<'_>) -> Option<Wiped> {
    let (&first, rest) = short.split_first()?;
    let mut out = Wiped::default();
    if first == WHOLE {
        out.try_reserve_exact(rest.len()).ok()?;
        out.extend_from_slice(rest);
        return Some(out);
    }
    let (cipher, rest) = rest.split_first_chunk::<2>()?;
    let (secret, fields) = rest.split_at_checked(usize::from(first))?;
    let version = Number::of(u64::from(known.version));
    let front = [
        (INTEGER, FORMAT),
        (INTEGER, version.bytes()),
        (OCTETS, cipher.as_slice()),
        (OCTETS, known.id),
        (OCTETS, secret),
    ];
    let mut length = front.iter().map(|(_, content)| value_length(content.len())).sum::<usize>();
    let mut walk = Walk::default();
    let mut rest = fields;
    while !rest.is_empty() {
        length += walk.split_field(&mut rest, known)?.length();
    }
    let length = u16::try_from(length).ok()?;
    out.try_reserve_exact(value_length(usize::from(length))).ok()?;
    put_header(&mut out, SEQUENCE, usize::from(length));
    front.iter().for_each(|(tag, content)| put_value(&mut out, *tag, content));
    let mut walk = Walk::default();
    let mut rest = fields;
    while !rest.is_empty() {
        walk.split_field(&mut rest, known)?.put(&mut out);
    }
    Some(out)
}

/// `None` if the session has a shape that is not known.
fn append(out: &mut Vec<u8>, der: &[u8], known: &Known<'_>) -> Option<()> {
    let mut after = der;
    let mut rest = expect_value(&mut after, SEQUENCE)?;
    let is_known = after.is_empty()
        && expect_value(&mut rest, INTEGER)? == FORMAT
        && expect_value(&mut rest, INTEGER)? == Number::of(u64::from(known.version)).bytes();
    let cipher = expect_value(&mut rest, OCTETS)?;
    if !is_known || cipher.len() != 2 || expect_value(&mut rest, OCTETS)? != known.id {
        return None;
    }
    let secret = expect_value(&mut rest, OCTETS)?;
    let length = u8::try_from(secret.len()).ok().filter(|length| *length != WHOLE)?;
    out.push(length);
    out.extend_from_slice(cipher);
    out.extend_from_slice(secret);
    let mut walk = Walk::default();
    while !rest.is_empty() {
        let (tag, content) = split_value(&mut rest)?;
        walk.append_field(out, tag, content, known)?;
    }
    Some(())
}

/// A walk over a session's optional fields, in their order. No tag comes twice, so a few bytes do
/// not become many.
#[derive(Default)]
struct Walk {
    last_tag: u8,
    /// When the session began: its timeout counts from there.
    time: u64,
}

impl Walk {
    /// Notes a field that was met. `None` if it is out of order.
    fn note(&mut self, tag: u8, content: &[u8]) -> Option<()> {
        let in_order = tag > self.last_tag && (FIRST_TAG..=LAST_TAG).contains(&tag);
        self.last_tag = tag;
        if tag == TIME_TAG {
            self.time = Number::value(content).unwrap_or_default();
        }
        in_order.then_some(())
    }

    /// The value of a field as it is known.
    fn known<'a>(&self, tag: u8, known: &Known<'a>) -> Option<(u8, Content<'a>)> {
        let number = |value| Some((INTEGER, Content::Number(Number::of(value))));
        match tag {
            TIME_TAG => number(u64::from(known.began)),
            TIMEOUT_TAG => number(known.deadline.checked_sub(self.time)?),
            NAME_TAG => Some((OCTETS, Content::Bytes(known.name))),
            _ => None,
        }
    }

    /// Appends a field of the DER, shortened.
    fn append_field(
        &mut self,
        out: &mut Vec<u8>,
        tag: u8,
        content: &[u8],
        known: &Known<'_>,
    ) -> Option<()> {
        let mut rest = content;
        let inside = split_value(&mut rest).filter(|_| rest.is_empty());
        let expected = self.known(tag, known);
        let is_known = |kind, value| {
            expected.as_ref().is_some_and(|(k, content)| (*k, content.bytes()) == (kind, value))
        };
        let (form, content) = match inside {
            Some((kind, value)) if is_known(kind, value) => (KNOWN_FORM, value),
            Some((INTEGER, value)) if (1..=LONGEST_INTEGER).contains(&value.len()) => {
                (u8::try_from(value.len()).ok()?, value)
            }
            Some((OCTETS, value)) => (OCTETS_FORM, value),
            _ => (ANY_FORM, content),
        };
        self.note(tag, content)?;
        out.push((tag - FIRST_TAG) << 3 | form);
        if matches!(form, OCTETS_FORM | ANY_FORM) {
            put_length(out, content.len())?;
        }
        if form != KNOWN_FORM {
            out.extend_from_slice(content);
        }
        Some(())
    }

    /// The first of the shortened fields, which is taken away.
    fn split_field<'a>(&mut self, rest: &mut &'a [u8], known: &Known<'a>) -> Option<Field<'a>> {
        let (&head, after) = rest.split_first()?;
        *rest = after;
        let (tag, form) = (FIRST_TAG + (head >> 3), head & 7);
        let (kind, content) = match form {
            KNOWN_FORM => self.known(tag, known).map(|(kind, content)| (Some(kind), content))?,
            OCTETS_FORM => (Some(OCTETS), Content::Bytes(split_counted(rest)?)),
            ANY_FORM => (None, Content::Bytes(split_counted(rest)?)),
            length => (Some(INTEGER), Content::Bytes(split(rest, usize::from(length))?)),
        };
        self.note(tag, content.bytes())?;
        Some(Field { tag, kind, content })
    }
}

/// An optional field of a session.
struct Field<'a> {
    tag: u8,
    /// The tag of the one value inside, unless the content is all that is inside.
    kind: Option<u8>,
    content: Content<'a>,
}

impl Field<'_> {
    fn inside(&self) -> usize {
        let length = self.content.bytes().len();
        if self.kind.is_some() { value_length(length) } else { length }
    }

    /// Its length in DER.
    fn length(&self) -> usize {
        value_length(self.inside())
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_header(out, self.tag, self.inside());
        match self.kind {
            Some(kind) => put_value(out, kind, self.content.bytes()),
            None => out.extend_from_slice(self.content.bytes()),
        }
    }
}

/// The content of a value.
enum Content<'a> {
    Bytes(&'a [u8]),
    Number(Number),
}

impl Content<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Content::Bytes(bytes) => bytes,
            Content::Number(number) => number.bytes(),
        }
    }
}

/// The content of an INTEGER that is not negative.
struct Number {
    bytes: [u8; 9],
    /// The bytes before it, which are 0.
    before: usize,
}

impl Number {
    fn of(value: u64) -> Number {
        let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
        let bytes = [0, a, b, c, d, e, f, g, h];
        // One bit more than the value has: the sign.
        Number { bytes, before: (value.leading_zeros() as usize).div_ceil(8) }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(self.before..).unwrap_or_default()
    }

    /// The value of such a content; `None` if it is negative or has more than 63 bits.
    fn value(content: &[u8]) -> Option<u64> {
        let fits = (1..=8).contains(&content.len()) && content.first()? & 0x80 == 0;
        fits.then(|| content.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }
}

/// The length of a value in DER, with its tag and length, if that fits 65,535 bytes.
fn value_length(content: usize) -> usize {
    content
        + if content < 0x80 {
            2
        } else if content < 0x100 {
            3
        } else {
            4
        }
}

/// For a content of up to 65,535 bytes.
fn put_header(out: &mut Vec<u8>, tag: u8, content: usize) {
    out.push(tag);
    let [.., high, low] = content.to_be_bytes();
    match content {
        0..=0x7f => out.push(low),
        0x80..=0xff => out.extend_from_slice(&[0x81, low]),
        _ => out.extend_from_slice(&[0x82, high, low]),
    }
}

fn put_value(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    put_header(out, tag, content.len());
    out.extend_from_slice(content);
}

/// Takes that many bytes.
fn split<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn split_byte(rest: &mut &[u8]) -> Option<u8> {
    split(rest, 1)?.first().copied()
}

/// Takes a DER value of up to 65,535 bytes: its tag and its content. `None` if its length is not
/// written in the shortest way, which would not come back.
fn split_value<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (tag, first) = (split_byte(rest)?, split_byte(rest)?);
    let (length, least) = match first {
        0..=0x7f => (usize::from(first), 0),
        0x81 => (usize::from(split_byte(rest)?), 0x80),
        0x82 => (usize::from(split_byte(rest)?) << 8 | usize::from(split_byte(rest)?), 0x100),
        _ => return None,
    };
    (length >= least).then_some(())?;
    Some((tag, split(rest, length)?))
}

/// Takes a DER value with this tag.
fn expect_value<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    split_value(rest).and_then(|(found, content)| (found == tag).then_some(content))
}

/// A length in one byte, or from 128 on in two, the first with its highest bit set. `None` from
/// 32,768 on.
fn put_length(out: &mut Vec<u8>, length: usize) -> Option<()> {
    let length = u16::try_from(length).ok().filter(|length| length >> 15 == 0)?;
    let [high, low] = length.to_be_bytes();
    if length >= 0x80 {
        out.push(high | 0x80);
    }
    out.push(low);
    Some(())
}

/// Takes bytes whose length is before them.
fn split_counted<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let first = split_byte(rest)?;
    let length = if first & 0x80 == 0 {
        usize::from(first)
    } else {
        usize::from(first & 0x7f) << 8 | usize::from(split_byte(rest)?)
    };
    split(rest, length)
}

#[cfg(test)]
mod tests;

//! What the shortened sessions of one *shape* have in common, and what each has by itself.
//!
//! Of two sessions of one shape, all fields are equal but id, secret, times, and how the age of a
//! TLS 1.3 ticket is masked. The mask is looked at only before early data is accepted, so a session
//! for early data has no shape. Knows the tags of the fields (ssl/ssl_asn1.c) and not what they mean to
//! libssl. No unsafe, no locks.

use super::{
    FIRST_TAG, KNOWN_FORM, Known, NAME_TAG, Number, OCTETS, OCTETS_FORM, TIME_TAG, TIMEOUT_TAG,
    WHOLE, Walk, put_length, split_counted,
};
const HINT_TAG: u8 = FIRST_TAG + 9;
const TICKET_TAG: u8 = FIRST_TAG + 10;
const AGE_MASK_TAG: u8 = FIRST_TAG + 14;
const MAX_EARLY_DATA_TAG: u8 = FIRST_TAG + 15;

/// Later times are OpenSSL's to judge: it counts nanoseconds in 64 bits.
const LAST_TIME: u64 = 1 << 33;

/// The fields of a session that are not of its shape, beside its id, which is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields<'a> {
    /// The secret.
    pub secret: &'a [u8],
    /// When it began, in seconds since 1970.
    pub time: i64,
    /// How many seconds it lives.
    pub timeout: i64,
}

/// A shortened session, taken apart.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The fields that are not of its shape.
    pub fields: Fields<'a>,
    cipher: [u8; 2],
    /// What follows the times.
    rest: &'a [u8],
}

/// A shape. Its sessions are shortened without being encoded.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    version: u16,
    cipher: [u8; 2],
    id_length: usize,
    secret_length: usize,
    /// The server name in it.
    name: Option<Vec<u8>>,
    /// What follows the times in a shortened session, without name and mask.
    rest: Vec<u8>,
    /// Where the name was.
    name_at: usize,
    /// Where the mask may be.
    mask_at: usize,
}

/// The head of a shortened field.
const fn head(tag: u8, form: u8) -> u8 {
    (tag - FIRST_TAG) << 3 | form
}

impl<'a> Parts<'a> {
    /// Takes a session apart that [`append_short`](super::append_short) has shortened. `None` if it travels
    /// whole, or has times that are none.
    pub fn of(short: &'a [u8], known: &Known<'_>) -> Option<Parts<'a>> {
        let (&length, rest) = short.split_first().filter(|(length, _)| **length != WHOLE)?;
        let (&cipher, rest) = rest.split_first_chunk()?;
        let (secret, mut rest) = rest.split_at_checked(usize::from(length))?;
        let time = split_time(&mut rest, TIME_TAG, Some(known.began.into()))?;
        let timeout = split_time(&mut rest, TIMEOUT_TAG, known.deadline.checked_sub(time))?;
        let (time, timeout) = (i64::try_from(time).ok()?, i64::try_from(timeout).ok()?);
        Some(Parts { fields: Fields { secret, time, timeout }, cipher, rest })
    }
}

/// Takes a field that is a time. `known`: what it is if it is known.
fn split_time(rest: &mut &[u8], tag: u8, known: Option<u64>) -> Option<u64> {
    let (&first, after) = rest.split_first()?;
    let (time, after) = match first.wrapping_sub(head(tag, 0)) {
        KNOWN_FORM => (known?, after),
        length @ 1..KNOWN_FORM => {
            let (content, after) = after.split_at_checked(usize::from(length))?;
            (integer(content)?, after)
        }
        _ => return None,
    };
    *rest = after;
    (1..=LAST_TIME).contains(&time).then_some(time)
}

/// The value of an INTEGER's content, if it is encoded as OpenSSL does.
fn integer(content: &[u8]) -> Option<u64> {
    Number::value(content).filter(|value| Number::of(*value).bytes() == content)
}

/// Whether a shortened field is the mask of a ticket's age.
fn is_mask(field: &[u8]) -> bool {
    let is = |(first, content): (&u8, &[u8])| {
        first.checked_sub(head(AGE_MASK_TAG, 0)).map(usize::from) == Some(content.len())
            && integer(content).is_some_and(|mask| u32::try_from(mask).is_ok())
    };
    field.split_first().is_some_and(is)
}

impl Shape {
    /// The shape of a shortened session. `None` if it has none, and without memory.
    pub fn of(parts: &Parts<'_>, known: &Known<'_>) -> Option<Shape> {
        let mut shape = Shape {
            version: known.version,
            cipher: parts.cipher,
            id_length: known.id.len(),
            secret_length: parts.fields.secret.len(),
            name: None,
            rest: Vec::new(),
            name_at: 0,
            mask_at: 0,
        };
        shape.rest.try_reserve_exact(parts.rest.len()).ok()?;
        let mut walk = Walk { last_tag: TIMEOUT_TAG, time: 0 };
        let (mut rest, mut has_hint) = (parts.rest, false);
        while !rest.is_empty() {
            let all = rest;
            let field = walk.split_field(&mut rest, known)?;
            let whole = all.get(..all.len() - rest.len())?;
            match field.tag {
                MAX_EARLY_DATA_TAG => return None,
                NAME_TAG if field.kind == Some(OCTETS) => {
                    shape.name = Some(copy(field.content.bytes())?);
                    continue;
                }
                AGE_MASK_TAG => {
                    is_mask(whole).then_some(())?;
                    continue;
                }
                HINT_TAG => has_hint = true,
                TICKET_TAG => has_hint = false,
                _ => {}
            }
            shape.rest.extend_from_slice(whole);
            if field.tag < NAME_TAG {
                shape.name_at = shape.rest.len();
            }
            if field.tag < AGE_MASK_TAG {
                shape.mask_at = shape.rest.len();
            }
        }
        // SSL_SESSION_dup(3) drops the hint of a session without a ticket.
        (!has_hint).then_some(shape)
    }

    /// Whether it is the shape of this session.
    pub fn is_of(&self, parts: &Parts<'_>, known: &Known<'_>) -> bool {
        self.version == known.version
            && self.cipher == parts.cipher
            && self.id_length == known.id.len()
            && self.secret_length == parts.fields.secret.len()
            && self.has_rest(parts.rest, known).is_some()
    }

    fn has_rest(&self, rest: &[u8], known: &Known<'_>) -> Option<()> {
        let (before, behind) = self.rest.split_at_checked(self.mask_at)?;
        let (first, second) = before.split_at_checked(self.name_at)?;
        let mut rest = rest.strip_prefix(first)?;
        if let Some(name) = &self.name {
            (split_name(&mut rest, known)? == name).then_some(())?;
        }
        let rest = rest.strip_prefix(second)?;
        (rest == behind || rest.strip_suffix(behind).is_some_and(is_mask)).then_some(())
    }

    /// How long the secrets of its sessions are.
    pub fn secret_length(&self) -> usize {
        self.secret_length
    }

    /// How many bytes [`Shape::append`] appends at most.
    pub fn most_bytes(&self) -> usize {
        /// The length of the secret, the cipher, a head and five bytes of each time, and a head and a
        /// length of the name.
        const BESIDE: usize = 1 + 2 + 2 * 6 + 3;
        BESIDE + self.secret_length + self.name.as_ref().map_or(0, Vec::len) + self.rest.len()
    }

    /// Appends a session of this shape, shortened, without a mask. `None`, and then some of it may be
    /// there, if `out` has not the room, or if there is no such session.
    pub fn append(&self, fields: &Fields<'_>, known: &Known<'_>, out: &mut Vec<u8>) -> Option<()> {
        let is_one = self.version == known.version
            && self.id_length == known.id.len()
            && self.secret_length == fields.secret.len();
        if !is_one || out.capacity() - out.len() < self.most_bytes() {
            return None;
        }
        let (before, behind) = self.rest.split_at_checked(self.name_at)?;
        let (time, timeout) =
            (u64::try_from(fields.time).ok()?, u64::try_from(fields.timeout).ok()?);
        out.push(u8::try_from(fields.secret.len()).ok()?);
        out.extend_from_slice(&self.cipher);
        out.extend_from_slice(fields.secret);
        put_time(out, TIME_TAG, time, Some(known.began.into()))?;
        put_time(out, TIMEOUT_TAG, timeout, known.deadline.checked_sub(time))?;
        out.extend_from_slice(before);
        if let Some(name) = &self.name {
            put_name(out, name, known)?;
        }
        out.extend_from_slice(behind);
        Some(())
    }
}

fn copy(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).ok()?;
    copy.extend_from_slice(bytes);
    Some(copy)
}

/// Appends a field that is a time. `known`: what it is if it is known.
fn put_time(out: &mut Vec<u8>, tag: u8, time: u64, known: Option<u64>) -> Option<()> {
    if !(1..=LAST_TIME).contains(&time) {
        return None;
    }
    if known == Some(time) {
        out.push(head(tag, KNOWN_FORM));
    } else {
        let number = Number::of(time);
        out.push(head(tag, u8::try_from(number.bytes().len()).ok()?));
        out.extend_from_slice(number.bytes());
    }
    Some(())
}

fn put_name(out: &mut Vec<u8>, name: &[u8], known: &Known<'_>) -> Option<()> {
    if name == known.name {
        out.push(head(NAME_TAG, KNOWN_FORM));
    } else {
        out.push(head(NAME_TAG, OCTETS_FORM));
        put_length(out, name.len())?;
        out.extend_from_slice(name);
    }
    Some(())
}

/// Takes a field that is a server name.
fn split_name<'a>(rest: &mut &'a [u8], known: &Known<'a>) -> Option<&'a [u8]> {
    let (&first, after) = rest.split_first()?;
    *rest = after;
    match first.checked_sub(head(NAME_TAG, 0))? {
        KNOWN_FORM => Some(known.name),
        OCTETS_FORM => split_counted(rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

//! The head of a record in the ring: kind, length, deadline, locator.
//!
//! The payload behind the head is opaque here (sealed bytes). Everything read from the mapping is
//! checked before it is believed. docs/STORE.md has the layout, byte by byte.

/// The key of a session in a store: a hash of namespace, version and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locator(pub [u8; 16]);

impl Locator {
    /// The locator of two halves.
    pub(super) fn of(low: u64, high: u64) -> Locator {
        let mut bytes = [0; 16];
        let (first, second) = bytes.split_at_mut(8);
        first.copy_from_slice(&low.to_le_bytes());
        second.copy_from_slice(&high.to_le_bytes());
        Locator(bytes)
    }

    /// The half that chooses the tag.
    #[inline]
    pub(super) fn low(&self) -> u64 {
        self.half(0)
    }

    /// The half that chooses the bucket.
    #[inline]
    pub(super) fn high(&self) -> u64 {
        self.half(8)
    }

    #[inline]
    fn half(&self, at: usize) -> u64 {
        self.0.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |&b| u64::from_le_bytes(b))
    }
}

/// The kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A session.
    Put,
    /// A session that may not be resumed any more.
    Removal,
}

/// Bytes of a head.
pub(super) const HEAD_BYTES: usize = 36;
/// Records start at multiples of this, and their lengths are counted in it.
pub(super) const UNIT: usize = 8;
/// The largest record, with its head.
pub(super) const MOST_BYTES: usize = 64 << 10;

/// The record stays on this host; other hosts are not told.
pub const LOCAL: u8 = 1 << 4;
/// The session's client has come back: the session stays longer.
pub const CAME_BACK: u8 = 1 << 6;
/// Another host wrote the record, so that this host does not tell it.
pub(super) const APPLIED: u8 = 1 << 5;
/// The bits for the number of bytes at the end that are not part of the record.
const PADDING: u8 = 7;

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Its kind.
    pub(super) kind: Kind,
    /// As they travel: none.
    pub(super) flags: u8,
    /// Bytes that follow the head.
    pub(super) payload: usize,
    /// The last second (since 1970) in which it is good.
    pub(super) deadline: u64,
    /// The time of its writing, in milliseconds since 1970.
    pub(super) written: u64,
    /// The session's locator.
    pub(super) locator: Locator,
}

impl Head {
    /// Bytes of the whole record in the ring.
    pub(super) fn size(&self) -> usize {
        (HEAD_BYTES + self.payload).next_multiple_of(UNIT)
    }

    /// The head as bytes; an error if the record would be too large.
    pub(super) fn to_bytes(self) -> Option<[u8; HEAD_BYTES]> {
        let size = self.size();
        if size > MOST_BYTES {
            return None;
        }
        let units = u16::try_from(size / UNIT).ok()?;
        let padding = u8::try_from(size - HEAD_BYTES - self.payload).ok()?;
        let mut bytes = [0; HEAD_BYTES];
        let mut rest = bytes.as_mut_slice();
        let mut push = |part: &[u8]| {
            if let Some((place, after)) = std::mem::take(&mut rest).split_at_mut_checked(part.len())
            {
                place.copy_from_slice(part);
                rest = after;
            }
        };
        push(&units.to_le_bytes());
        push(&[self.kind.code(), self.flags & !PADDING | padding]);
        push(&self.deadline.to_le_bytes());
        push(&self.written.to_le_bytes());
        push(&self.locator.0);
        Some(bytes)
    }

    /// Reads a head; `None` if it cannot be one.
    pub(super) fn from_bytes(bytes: &[u8; HEAD_BYTES]) -> Option<Head> {
        let rest = bytes.as_slice();
        let (units, rest) = rest.split_first_chunk()?;
        let (&[kind, flags], rest) = rest.split_first_chunk()?;
        let (deadline, rest) = rest.split_first_chunk()?;
        let (written, rest) = rest.split_first_chunk()?;
        let locator = rest.first_chunk()?;
        let size = usize::from(u16::from_le_bytes(*units)) * UNIT;
        let payload = size.checked_sub(HEAD_BYTES + usize::from(flags & PADDING))?;
        (size <= MOST_BYTES).then_some(Head {
            kind: Kind::of(kind)?,
            flags: flags & !PADDING,
            payload,
            deadline: u64::from_le_bytes(*deadline),
            written: u64::from_le_bytes(*written),
            locator: Locator(*locator),
        })
    }
}

impl Kind {
    pub(super) fn code(self) -> u8 {
        match self {
            Kind::Put => 1,
            Kind::Removal => 2,
        }
    }

    pub(super) fn of(code: u8) -> Option<Kind> {
        match code {
            1 => Some(Kind::Put),
            2 => Some(Kind::Removal),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(payload: usize) -> Head {
        Head {
            kind: Kind::Put,
            flags: LOCAL,
            payload,
            deadline: 0x0102_0304_0506_0708,
            written: 1_700_000_000_123,
            locator: Locator(*b"0123456789abcdef"),
        }
    }

    #[test]
    fn a_head_is_read_as_it_was_written() {
        for payload in [0, 1, 3, 4, 5, 135, MOST_BYTES - HEAD_BYTES] {
            let bytes = head(payload).to_bytes().unwrap();
            assert_eq!(Head::from_bytes(&bytes), Some(head(payload)));
        }
        assert_eq!(head(MOST_BYTES - HEAD_BYTES + 1).to_bytes(), None);
    }

    #[test]
    fn what_cannot_be_a_head_is_damage() {
        assert_eq!(Head::from_bytes(&[0; HEAD_BYTES]), None);
        assert_eq!(Head::from_bytes(&[0xFF; HEAD_BYTES]), None);
        let mut bytes = head(100).to_bytes().unwrap();
        bytes[2] = 9;
        assert_eq!(Head::from_bytes(&bytes), None);
    }
}

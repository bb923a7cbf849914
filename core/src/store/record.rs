//! The head of a record in the ring: kind, length, deadline, locator.
//!
//! The payload behind the head is opaque here (sealed bytes). Everything read from the mapping is
//! checked before it is believed. docs/STORE.md has the layout, byte by byte.

use super::damaged::Damaged;

/// The key of a session in a store: a hash of namespace, version and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locator(pub [u8; 16]);

impl Locator {
    /// The half that chooses shard and tag.
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
    /// The rest of the ring before it starts again.
    Filler,
    /// A session that was removed or replaced; its bytes are wiped.
    Dead,
}

/// Bytes of a head.
pub(super) const HEAD_BYTES: usize = 36;
/// Records start at multiples of this, and their lengths are counted in it.
pub(super) const UNIT: usize = 8;
/// The largest record, with its head.
pub(super) const MOST_BYTES: usize = 64 << 10;

/// The record stays on this host; other hosts are not told.
pub const LOCAL: u8 = 1 << 4;
/// Another host wrote the record, so that this host does not tell it.
pub(super) const APPLIED: u8 = 1 << 5;
/// A removal that was written again because the ring came round.
pub(super) const MOVED: u8 = 1 << 3;
/// The bits for the number of bytes at the end that are not part of the record.
const PADDING: u8 = 7;

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Its kind.
    pub(super) kind: Kind,
    /// [`LOCAL`], [`MOVED`].
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
    pub(super) fn to_bytes(self) -> Result<[u8; HEAD_BYTES], Damaged> {
        let size = self.size();
        if size > MOST_BYTES {
            return Err(Damaged::Head);
        }
        let units = u16::try_from(size / UNIT).map_err(|_| Damaged::Head)?;
        let padding = u8::try_from(size - HEAD_BYTES - self.payload).map_err(|_| Damaged::Head)?;
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
        Ok(bytes)
    }

    /// Reads a head.
    pub(super) fn from_bytes(bytes: &[u8; HEAD_BYTES]) -> Result<Head, Damaged> {
        Head::parse(bytes).ok_or(Damaged::Head)
    }

    fn parse(bytes: &[u8; HEAD_BYTES]) -> Option<Head> {
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
            Kind::Filler => 3,
            Kind::Dead => 4,
        }
    }

    pub(super) fn of(code: u8) -> Option<Kind> {
        match code {
            1 => Some(Kind::Put),
            2 => Some(Kind::Removal),
            3 => Some(Kind::Filler),
            4 => Some(Kind::Dead),
            _ => None,
        }
    }
}

/// The first bytes of a record, which is all that a filler has room for.
pub(super) const START_BYTES: usize = 4;

/// The start of a filler of `size` bytes, fewer than a whole record.
pub(super) fn filler(size: u64) -> Result<[u8; START_BYTES], Damaged> {
    let units = u16::try_from(size / UNIT as u64).map_err(|_| Damaged::Length)?;
    let [low, high] = units.to_le_bytes();
    Ok([low, high, Kind::Filler.code(), 0])
}

/// Kind and size of the record that starts so.
pub(super) fn start(bytes: [u8; START_BYTES]) -> Result<(Kind, usize), Damaged> {
    let [low, high, kind, _] = bytes;
    let size = usize::from(u16::from_le_bytes([low, high])) * UNIT;
    let kind = Kind::of(kind).ok_or(Damaged::Head)?;
    let least = if kind == Kind::Filler { UNIT } else { HEAD_BYTES };
    if (least..=MOST_BYTES).contains(&size) { Ok((kind, size)) } else { Err(Damaged::Head) }
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
            assert_eq!(Head::from_bytes(&bytes), Ok(head(payload)));
            let started = start(*bytes.first_chunk().unwrap());
            assert_eq!(started, Ok((Kind::Put, head(payload).size())));
        }
        assert_eq!(head(MOST_BYTES - HEAD_BYTES + 1).to_bytes(), Err(Damaged::Head));
    }

    #[test]
    fn what_cannot_be_a_head_is_damage() {
        assert_eq!(Head::from_bytes(&[0; HEAD_BYTES]), Err(Damaged::Head));
        assert_eq!(Head::from_bytes(&[0xFF; HEAD_BYTES]), Err(Damaged::Head));
        assert_eq!(start([4, 0, 1, 0]), Err(Damaged::Head), "shorter than its head");
        assert_eq!(start([1, 0, 3, 0]), Ok((Kind::Filler, 8)));
        assert_eq!(start([0, 0, 3, 0]), Err(Damaged::Head));
        let mut bytes = head(100).to_bytes().unwrap();
        bytes[2] = 9;
        assert_eq!(Head::from_bytes(&bytes), Err(Damaged::Head));
    }
}

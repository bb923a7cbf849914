//! XAES-256-GCM (c2sp.org/XAES-256-GCM): AES-256-GCM with nonces long enough to be drawn at random.
//!
//! A record's own key is made by a CMAC from the key and half of the nonce; with it and the other half
//! the record is sealed by AES-256-GCM. The records that one thread seals one after the other share
//! the first half, and so the key: to make it and to set it costs as much as to seal a short record.
//! The other halves are drawn at random, each by itself. A forked child begins with a key of its own, as
//! with its stock of nonces. Whoever opens records keeps the keys of a few halves. No unsafe.
//!
//! Locks: those of `lanes`, for the length of a record.

use super::lanes::Lanes;
use super::nonces::{NONCE_BYTES, Nonces};
use crate::openssl::aead::{Blocks, KEY_BYTES, Opening, Sealing, TAG_BYTES};
use crate::openssl::boxed;
use crate::openssl::failed::Failed;
use crate::openssl::generator::Generator;
use crate::openssl::table::Libssl;
use zeroize::Zeroizing;

const BLOCK_BYTES: usize = 16;
/// So many records share the first half of their nonces. NIST SP 800-38D, 8.3, allows 2^32 under one key with
/// nonces drawn at random.
const BATCH: u32 = 1 << 16;
/// The halves for which a thread keeps the key with which it opens. Each thread that seals has one at a time.
const MOST_KEPT: usize = 32;

/// A key, and what the CMAC mixes into its only block (K1 in NIST SP 800-38B).
pub(super) struct Key {
    key: Zeroizing<[u8; KEY_BYTES]>,
    mix: Zeroizing<[u8; BLOCK_BYTES]>,
    /// They go with the key: OpenSSL wipes what it knows of it.
    tools: Lanes<Tools>,
}

/// What sealing and opening are done with. To make it costs more than a record.
struct Tools {
    /// Under the key.
    blocks: Blocks,
    sealing: Sealing,
    /// The half of which the key in `sealing` is made, and how many records may still have it.
    batch: Option<(Half, u32)>,
    openings: Openings,
    /// Made with the first record that is sealed.
    nonces: Option<Nonces>,
}

impl Tools {
    fn new(libssl: &'static Libssl, key: &[u8; KEY_BYTES]) -> Result<Tools, Failed> {
        Ok(Tools {
            blocks: Blocks::new(libssl, key)?,
            sealing: Sealing::new(libssl)?,
            batch: None,
            openings: Openings { kept: Vec::new(), uses: 0 },
            nonces: None,
        })
    }

    /// A new nonce, whose first half is that of the batch as long as there is one.
    fn nonce(&mut self, generator: Generator) -> Result<[u8; NONCE_BYTES], Failed> {
        let nonces = self.nonces.get_or_insert_with(Nonces::new);
        let (mut nonce, is_same_process) = nonces.draw(generator)?;
        if !is_same_process {
            self.batch = None;
        }
        if let (Some((half, 1..)), Some(place)) = (self.batch, nonce.first_chunk_mut()) {
            *place = half;
        }
        Ok(nonce)
    }
}

/// What records are opened with, a few halves each with its key.
struct Openings {
    kept: Vec<Kept>,
    /// Records that came to be opened.
    uses: u64,
}

struct Kept {
    /// The half whose key `opening` has.
    half: Option<Half>,
    /// Of the numbers of records, that of the last one.
    last_use: u64,
    opening: Opening,
}

impl Openings {
    /// The one of this half, or else one that is to get its key: a new one, or the one that was used longest ago.
    fn of(&mut self, libssl: &'static Libssl, half: &Half) -> Result<&mut Kept, Failed> {
        self.uses += 1;
        let place = match self.kept.iter().position(|kept| kept.half.as_ref() == Some(half)) {
            Some(place) => place,
            None if self.kept.len() < MOST_KEPT => {
                self.kept.try_reserve(1).map_err(|_| Failed::NoMemory)?;
                let opening = Opening::new(libssl)?;
                self.kept.push(Kept { half: None, last_use: 0, opening });
                self.kept.len() - 1
            }
            None => {
                let oldest = self.kept.iter().enumerate().min_by_key(|(_, kept)| kept.last_use);
                oldest.map_or(0, |(place, _)| place)
            }
        };
        let kept = self.kept.get_mut(place).ok_or(Failed::Refused)?;
        kept.last_use = self.uses;
        Ok(kept)
    }
}

impl Key {
    /// All zeroes, until [`Key::set`]: a key is made where it stays, so that no copy is left.
    pub(super) fn empty() -> Key {
        Key {
            key: Zeroizing::new([0; KEY_BYTES]),
            mix: Zeroizing::new([0; BLOCK_BYTES]),
            tools: Lanes::new(),
        }
    }

    /// Lets `fill` write the key.
    pub(super) fn set(
        &mut self,
        libssl: &'static Libssl,
        fill: impl FnOnce(&mut [u8; KEY_BYTES]) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        self.tools = Lanes::new();
        fill(&mut self.key)?;
        let mut block = Zeroizing::new([0; BLOCK_BYTES]);
        Blocks::new(libssl, &self.key)?.encrypt(&[0; BLOCK_BYTES], block.as_mut_slice())?;
        // Doubled in the field of 2^128 elements, without a branch on a secret.
        let block = u128::from_be_bytes(*block);
        *self.mix = ((block << 1) ^ ((block >> 127) * 0x87)).to_be_bytes();
        Ok(())
    }

    /// Does something with tools that nobody else uses meanwhile. They are kept, unless it fails.
    fn with_tools<T>(
        &self,
        libssl: &'static Libssl,
        use_them: impl FnOnce(&mut Tools) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let make = || Tools::new(libssl, &self.key);
        let Some(mut lane) = self.tools.take() else { return use_them(&mut make()?) };
        let mut tools = match lane.take() {
            Some(tools) => tools,
            None => boxed::try_new(make()?).ok_or(Failed::NoMemory)?,
        };
        let result = use_them(&mut tools)?;
        *lane = Some(tools);
        Ok(result)
    }

    /// The record's own key.
    fn derive(
        &self,
        blocks: &mut Blocks,
        half: &Half,
    ) -> Result<Zeroizing<[u8; KEY_BYTES]>, Failed> {
        let mut input = Zeroizing::new([0; 2 * BLOCK_BYTES]);
        for (block, counter) in input.as_chunks_mut::<BLOCK_BYTES>().0.iter_mut().zip(1..) {
            let bytes = [0, counter, b'X', 0].into_iter().chain(*half);
            for ((byte, input), mix) in block.iter_mut().zip(bytes).zip(self.mix.iter()) {
                *byte = input ^ mix;
            }
        }
        let mut derived = Zeroizing::new([0; KEY_BYTES]);
        blocks.encrypt(input.as_slice(), derived.as_mut_slice())?;
        Ok(derived)
    }

    /// Encrypts `text` where it is, and returns a new nonce and the tag.
    pub(super) fn seal(
        &self,
        generator: Generator,
        associated: &[u8],
        text: &mut [u8],
    ) -> Result<([u8; NONCE_BYTES], [u8; TAG_BYTES]), Failed> {
        self.with_tools(generator.libssl(), |tools| {
            let nonce = tools.nonce(generator)?;
            Ok((nonce, self.seal_with(tools, &nonce, associated, text)?))
        })
    }

    fn seal_with(
        &self,
        tools: &mut Tools,
        nonce: &[u8; NONCE_BYTES],
        associated: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], Failed> {
        let (half, nonce) = halves(nonce).ok_or(Failed::Refused)?;
        match &mut tools.batch {
            Some((of_batch, left @ 1..)) if of_batch == half => *left -= 1,
            _ => {
                let key = self.derive(&mut tools.blocks, half)?;
                tools.sealing.set_key(&key)?;
                tools.batch = Some((*half, BATCH - 1));
            }
        }
        tools.sealing.seal(nonce, associated, text)
    }

    /// Decrypts `text` where it is; true if the tag is right.
    #[expect(clippy::too_many_arguments, reason = "an AEAD's inputs: RFC 5116 2.1")]
    pub(super) fn open(
        &self,
        libssl: &'static Libssl,
        nonce: &[u8; NONCE_BYTES],
        associated: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<bool, Failed> {
        let (half, nonce) = halves(nonce).ok_or(Failed::Refused)?;
        self.with_tools(libssl, |tools| {
            let kept = tools.openings.of(libssl, half)?;
            if kept.half.as_ref() == Some(half) {
                return kept.opening.open(None, nonce, associated, text, tag);
            }
            kept.half = None;
            // Moved nowhere else, because what it moves from is not wiped.
            let key = self.derive(&mut tools.blocks, half)?;
            let is_right = kept.opening.open(Some(&key), nonce, associated, text, tag)?;
            kept.half = Some(*half);
            Ok(is_right)
        })
    }
}

type Half = [u8; NONCE_BYTES / 2];

/// The half from which the record's key is made, and the half that is its nonce.
fn halves(nonce: &[u8; NONCE_BYTES]) -> Option<(&Half, &Half)> {
    Some((nonce.first_chunk()?, nonce.last_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openssl::libssl::libssl_in_test;

    const NONCE: &[u8; NONCE_BYTES] = b"ABCDEFGHIJKLMNOPQRSTUVWX";
    const PLAIN: &[u8; 12] = b"XAES-256-GCM";

    /// Seals `PLAIN` with a key of one byte, repeated, and opens it again.
    fn sealed(byte: u8, associated: &[u8]) -> Vec<u8> {
        let libssl = libssl_in_test();
        let key = key_of(byte);
        let mut tools = Tools::new(libssl, &key.key).unwrap();
        let mut out = PLAIN.to_vec();
        let tag = key.seal_with(&mut tools, NONCE, associated, &mut out).unwrap();
        let mut opened = out.clone();
        let is_authentic = key.open(libssl, NONCE, associated, &mut opened, &tag);
        assert_eq!((is_authentic, opened.as_slice()), (Ok(true), PLAIN.as_slice()));
        out.extend(tag);
        out
    }

    // The two vectors of the specification: the top bit of the CMAC's first block clear, and set.
    #[test]
    fn a_key_that_doubles_without_carry() {
        let expected = [
            0xce, 0x54, 0x6e, 0xf6, 0x3c, 0x9c, 0xc6, 0x07, 0x65, 0x92, 0x36, 0x09, 0xb3, 0x3a,
            0x9a, 0x19, 0x74, 0xe9, 0x6e, 0x52, 0xda, 0xf2, 0xfc, 0xf7, 0x07, 0x5e, 0x22, 0x71,
        ];
        assert_eq!(sealed(1, b""), expected);
    }

    #[test]
    fn a_key_that_doubles_with_carry() {
        let expected = [
            0x98, 0x6e, 0xc1, 0x83, 0x25, 0x93, 0xdf, 0x54, 0x43, 0xa1, 0x79, 0x43, 0x7f, 0xd0,
            0x83, 0xbf, 0x3f, 0xdb, 0x41, 0xab, 0xd7, 0x40, 0xa2, 0x1f, 0x71, 0xeb, 0x76, 0x9d,
        ];
        assert_eq!(sealed(3, b"c2sp.org/XAES-256-GCM"), expected);
    }

    /// The key of this byte, repeated.
    fn key_of(byte: u8) -> Key {
        let mut key = Key::empty();
        let fill = |key: &mut [u8; KEY_BYTES]| {
            key.fill(byte);
            Ok(())
        };
        key.set(libssl_in_test(), fill).unwrap();
        key
    }

    /// A nonce with the first half of this number, and the other of that one.
    fn nonce(half: u8, other: u8) -> [u8; NONCE_BYTES] {
        std::array::from_fn(|place| if place < NONCE_BYTES / 2 { half } else { other })
    }

    /// More halves than are kept, each met again while it is kept, when it is the next to go, and afterwards.
    #[test]
    fn what_is_opened_with_a_kept_key_is_the_same() {
        let (libssl, key) = (libssl_in_test(), key_of(7));
        let halves = u8::try_from(MOST_KEPT + 2).unwrap();
        let records: Vec<_> = (0..halves)
            .flat_map(|half| [0, 1].map(|other| nonce(half, other)))
            .map(|nonce| {
                let mut text = PLAIN.to_vec();
                let mut tools = Tools::new(libssl, &key.key).unwrap();
                let tag = key.seal_with(&mut tools, &nonce, &nonce[..5], &mut text).unwrap();
                (nonce, text, tag)
            })
            .collect();
        let open = |record: &([u8; NONCE_BYTES], Vec<u8>, [u8; TAG_BYTES])| {
            let (nonce, mut text, tag) = record.clone();
            let is_right = key.open(libssl, &nonce, &nonce[..5], &mut text, &tag).unwrap();
            is_right && text == PLAIN
        };
        for round in 0..3 {
            for (number, record) in records.iter().enumerate() {
                assert!(open(record), "{round}, {number}");
                assert!(open(&records[number % 4]), "{round}, {number}: one that is always kept");
                let (nonce, mut text, tag) = record.clone();
                text[0] ^= 1;
                assert!(!open(&(nonce, text, tag)), "{round}, {number}: another text");
            }
        }
    }

    #[test]
    fn the_half_that_was_met_longest_ago_makes_room() {
        let (libssl, mut openings) = (libssl_in_test(), Openings { kept: Vec::new(), uses: 0 });
        let halves = u8::try_from(MOST_KEPT).unwrap();
        let mut is_new = |half: u8| {
            let half = [half; NONCE_BYTES / 2];
            let kept = openings.of(libssl, &half).unwrap();
            kept.half.replace(half) != Some(half)
        };
        assert!((0..halves).all(&mut is_new));
        assert!(!is_new(0), "it is kept, and not the oldest any more");
        assert!(is_new(halves) && is_new(1), "the oldest has made room");
        assert!(!is_new(0) && !is_new(halves));
        assert_eq!(openings.kept.len(), MOST_KEPT);
    }

    /// Neither the half nor the key changes from one record to the next, until there were too many.
    #[test]
    fn records_share_a_half_as_long_as_they_may() {
        let key = key_of(7);
        let generator = Generator::new(libssl_in_test(), std::ptr::null_mut());
        let half = || {
            let (nonce, _) = key.seal(generator, b"", &mut PLAIN.to_vec()).unwrap();
            *halves(&nonce).unwrap().0
        };
        let first = half();
        // The page of nonces is filled anew several times meanwhile, which is the same process still.
        assert!((1..BATCH).all(|_| half() == first));
        assert_ne!(half(), first);
    }
}

//! The text of a key file: a key a line, plain or the state of a ratchet.

use super::{Epoch, FileKey, KEY_BYTES, KeyFileError, MAX_KEYS};

/// The keys in the text of a key file, newest first.
pub fn parse(text: &[u8]) -> Result<Vec<FileKey>, KeyFileError> {
    let mut keys = Vec::new();
    // Reserved at once, for the same reason as in `contents`.
    keys.try_reserve_exact(MAX_KEYS).map_err(|_| KeyFileError::NoMemory)?;
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        if keys.len() == MAX_KEYS {
            return Err(KeyFileError::TooManyKeys);
        }
        keys.push(FileKey::empty());
        let word = line.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        keys.last_mut().and_then(|key| fill(word, key)).ok_or(KeyFileError::Line(index + 1))?;
    }
    if keys.is_empty() { Err(KeyFileError::NoKey) } else { Ok(keys) }
}

/// Fills a key from the first word of its line: hex digits, or an epoch, a colon and hex digits.
fn fill(word: &[u8], key: &mut FileKey) -> Option<()> {
    let digits = match word.iter().position(|byte| *byte == b':') {
        None => word,
        Some(colon) => {
            let (number, rest) = word.split_at(colon);
            key.epoch = Some(epoch(number)?);
            rest.get(1..)?
        }
    };
    unhex(digits, key.secret.bytes_mut())
}

fn epoch(digits: &[u8]) -> Option<Epoch> {
    // Not `parse` alone, which takes a sign.
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(digits).ok().filter(|_| is_number)?;
    text.parse().ok().map(Epoch)
}

/// Fills `out` from exactly as many pairs of hex digits.
fn unhex(digits: &[u8], out: &mut [u8; KEY_BYTES]) -> Option<()> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    if pairs.len() != out.len() {
        return None;
    }
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(())
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(byte: u8) -> String {
        format!("{byte:02x}").repeat(KEY_BYTES)
    }

    /// The first byte of each key.
    fn firsts(keys: &[FileKey]) -> Vec<u8> {
        keys.iter().map(|key| key.secret.bytes()[0]).collect()
    }

    fn parsed(text: &str) -> Result<Vec<u8>, KeyFileError> {
        parse(text.as_bytes()).map(|keys| firsts(&keys))
    }

    #[test]
    fn a_key_is_64_hex_digits_of_either_case() {
        let text = format!("{}{}", "0123456789abcdef".repeat(2), "0123456789ABCDEF".repeat(2));
        let keys = parse(text.as_bytes()).unwrap();
        let expected = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef].repeat(4);
        assert!(matches!(keys.as_slice(), [one] if *one.secret.bytes() == *expected));
    }

    #[test]
    fn order_comments_blank_lines_and_crlf() {
        let (a, b, c) = (line(0xa1), line(0xb2), line(0xc3));
        let text = format!("# mine\r\n\r\n{a} 2026-11-25\r\n \t\n{b}\tolder # {c}\n#{c}\n{c}");
        assert_eq!(parsed(&text), Ok(vec![0xa1, 0xb2, 0xc3]));
    }

    #[test]
    fn junk_is_named_by_its_line() {
        let good = line(1);
        let long = format!("{good}0");
        let glued = format!("{good}#");
        for junk in [&good[1..], &good[2..], &long, &glued, &good.replacen('0', "g", 1), "\u{e9}"] {
            assert_eq!(parsed(&format!("# one\n{good}\n{junk}\n")), Err(KeyFileError::Line(3)));
        }
        assert_eq!(parsed(&format!("\u{feff}{good}")), Err(KeyFileError::Line(1)));
    }

    #[test]
    fn from_one_to_sixteen_keys() {
        assert_eq!(parsed(""), Err(KeyFileError::NoKey));
        assert_eq!(parsed("# nothing\n\n"), Err(KeyFileError::NoKey));
        let lines = format!("{}\n", line(5)).repeat(MAX_KEYS);
        assert_eq!(parsed(&lines), Ok(vec![5; MAX_KEYS]));
        assert_eq!(parsed(&(lines + &line(6))), Err(KeyFileError::TooManyKeys));
    }

    #[test]
    fn a_state_has_the_number_of_its_epoch_before_it() {
        let (a, b, c) = (line(1), line(2), line(3));
        let text = format!("83143:{a} 2026-11-28\n{b}\n0:{c} next\n4294967295:{a}\n");
        let keys = parse(text.as_bytes()).unwrap();
        let epochs: Vec<_> = keys.iter().map(|key| key.epoch.map(|epoch| epoch.0)).collect();
        assert_eq!(firsts(&keys), [1, 2, 3, 1]);
        assert_eq!(epochs, [Some(83_143), None, Some(0), Some(u32::MAX)]);
    }

    #[test]
    fn no_other_number_is_an_epoch() {
        let state = line(1);
        for number in ["", "+1", "-1", "1.5", "0x1", "1 ", "4294967296", "1:2", "a"] {
            let text = format!("{number}:{state}\n");
            assert_eq!(parsed(&text), Err(KeyFileError::Line(1)), "{number:?}");
        }
        for rest in ["", &state[1..], &format!("{state}0"), &format!(" {state}")] {
            assert_eq!(parsed(&format!("1:{rest}")), Err(KeyFileError::Line(1)), "{rest:?}");
        }
    }

    #[test]
    fn a_line_that_was_half_written_is_none() {
        let whole = format!("83143:{}", line(1));
        for length in 1..whole.len() {
            assert_eq!(parsed(&whole[..length]), Err(KeyFileError::Line(1)), "{length} bytes");
        }
    }
}

//! The text of key files: their head, lines with keys, and where a new one goes.
//!
//! Text with keys is in buffers that are wiped and never grow, as growing leaves copies behind.

use sesscache::seal::key_file::{KEY_BYTES, MAX_KEYS};
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// How a new key file begins.
pub(crate) const HEADER: &str = "\
# Keys of sesscache, which seal TLS sessions in a store: whoever reads this file can read them.
# One key a line, 64 hex digits. The first seals, all of them open. Made by `sesscache keygen`;
# `sesscache keygen --rotate FILE` puts a new key in front.
";

/// Room for a line with a key.
const LINE_BYTES: usize = 2 * KEY_BYTES + 16;

/// The text of a key file with a new key line before its first one, and at most MAX_KEYS of them;
/// how many keys it has then and how many were dropped. Comments stay where they are.
pub(crate) fn with_new_key(old: &[u8], line: &[u8]) -> (Zeroizing<Vec<u8>>, usize, usize) {
    let mut text = Zeroizing::new(Vec::with_capacity(old.len() + line.len() + 1));
    let (mut keys, mut dropped) = (0, 0);
    let put_new = |text: &mut Vec<u8>| {
        if text.last().is_some_and(|last| *last != b'\n') {
            text.push(b'\n');
        }
        text.extend_from_slice(line);
    };
    for old in old.split_inclusive(|byte| *byte == b'\n') {
        if old.trim_ascii().is_empty() || old.trim_ascii().starts_with(b"#") {
            text.extend_from_slice(old);
            continue;
        }
        if keys == 0 {
            put_new(&mut text);
            keys = 1;
        }
        if keys < MAX_KEYS {
            text.extend_from_slice(old);
            keys += 1;
        } else {
            dropped += 1;
        }
    }
    if keys == 0 {
        put_new(&mut text);
        keys = 1;
    }
    (text, keys, dropped)
}

/// A line with a new key and the day.
pub(crate) fn key_line() -> Result<Zeroizing<Vec<u8>>, getrandom::Error> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    getrandom::fill(key.as_mut_slice())?;
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES));
    for byte in key.iter() {
        for digit in [byte >> 4, byte & 15] {
            line.push(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit });
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    line.push(b' ');
    line.extend_from_slice(day(now.as_secs()).as_bytes());
    line.push(b'\n');
    Ok(line)
}

/// The day (UTC) of a time in seconds since 1970, as 2026-11-25.
fn day(seconds: u64) -> String {
    // Years from March on, so that a leap day ends one; 146,097 days are 400 years.
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = (era * 400 + year + month / 10, (month + 2) % 12 + 1);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sesscache::seal::key_file;

    #[test]
    fn days_are_counted_right() {
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(951_782_400), "2000-02-29");
        assert_eq!(day(951_868_800), "2000-03-01");
        assert_eq!(day(1_795_651_199), "2026-11-25");
        assert_eq!(day(4_102_444_800), "2100-01-01");
    }

    #[test]
    fn a_new_key_comes_first_and_the_rest_stays() {
        let rotated = |old: &[u8]| {
            let (text, keys, dropped) = with_new_key(old, b"new\n");
            (String::from_utf8(text.to_vec()).unwrap(), keys, dropped)
        };
        let (text, keys, dropped) = rotated(b"# a\n\nold 1\n# b\nold 2\n");
        assert_eq!(text, "# a\n\nnew\nold 1\n# b\nold 2\n");
        assert_eq!((keys, dropped), (3, 0));
        assert_eq!(rotated(b"old").0, "new\nold");
        assert_eq!(rotated(b"# a").0, "# a\nnew\n");
        assert_eq!(rotated(b""), ("new\n".into(), 1, 0));
    }

    #[test]
    fn the_oldest_keys_are_dropped() {
        let old: String = (0..=MAX_KEYS).map(|key| format!("{key}\n")).collect();
        let (text, keys, dropped) = with_new_key(old.as_bytes(), b"new\n");
        assert_eq!((keys, dropped), (MAX_KEYS, 2));
        assert!(text.starts_with(b"new\n0\n"));
        assert!(text.ends_with(format!("{}\n", MAX_KEYS - 2).as_bytes()));
    }

    #[test]
    fn a_key_line_is_a_key_and_fits_its_room() {
        let line = key_line().unwrap();
        assert!(key_file::parse(&line).is_ok_and(|keys| keys.len() == 1));
        assert_eq!(line.len(), 2 * KEY_BYTES + " 2026-11-25\n".len());
        assert_eq!(line.capacity(), LINE_BYTES);
        assert_ne!(*line, *key_line().unwrap());
    }
}

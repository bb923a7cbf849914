//! The text of key files: the header, and how key lines are added, moved, stepped on and dropped.
//! Comments stay.
//!
//! Text with keys is in buffers that are wiped and never grow, because growing leaves copies
//! behind.

use sesscache_core::key_file::epoch::Epoch;
use sesscache_core::key_file::{self, FileKey, KEY_BYTES, KeyFileError, MAX_KEYS};
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// The first lines of a new key file.
pub(crate) const HEADER: &str = "\
# Keys of sesscache, which seal TLS sessions: whoever reads this file can read them.
# One key a line. The first seals, all of them open. `sesscache ratchet` steps them on every six hours.
# `sesscache keygen --help` says how keys are changed, on one host and on many.
";

/// The last word of a key line marks the key that --promote makes the first. The library ignores
/// it. Without the mark, a second --promote would turn the keys back.
const NEXT: &[u8] = b"next";

/// The longest number of an epoch, and its colon.
const EPOCH_BYTES: usize = "4294967295:".len();

/// The longest key line that we write.
const LINE_BYTES: usize = EPOCH_BYTES + 2 * KEY_BYTES + " 2026-11-25 next\n".len();

/// The most bytes that a change adds: a key line, two line feeds where the last line had none, and
/// digits of epochs.
const CHANGE_BYTES: usize = LINE_BYTES + 2 + MAX_KEYS * EPOCH_BYTES;

/// Text with keys.
pub(crate) type Text = Zeroizing<Vec<u8>>;

/// No key is marked `next`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoNext;

/// The key marked `next` would be dropped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DropsNext;

/// The text with a new key line before its first, and the number of key lines dropped to keep
/// MAX_KEYS.
pub(crate) fn with_first(old: &[u8], new: &[u8]) -> (Text, usize) {
    let mut text = room_for(old);
    let (mut keys, mut dropped) = (0, 0);
    for line in lines(old) {
        if is_key(line) {
            if keys == 0 {
                put(&mut text, new);
            }
            keys += 1;
            if keys >= MAX_KEYS {
                dropped += 1;
                continue;
            }
        }
        put(&mut text, line);
    }
    if keys == 0 {
        put(&mut text, new);
    }
    (text, dropped)
}

/// The text with a new key line behind its first.
pub(crate) fn with_second(old: &[u8], new: &[u8]) -> Text {
    let mut text = room_for(old);
    let mut keys = 0;
    for line in lines(old) {
        put(&mut text, line);
        if is_key(line) {
            keys += 1;
            if keys == 1 {
                put(&mut text, new);
            }
        }
    }
    text
}

/// The text with the next key as the first, no longer marked.
pub(crate) fn promoted(old: &[u8]) -> Result<Text, NoNext> {
    let (index, next) = lines(old).enumerate().find(|(_, line)| is_next(line)).ok_or(NoNext)?;
    let mut text = room_for(old);
    let mut is_put = false;
    for (number, line) in lines(old).enumerate() {
        if is_key(line) && !is_put {
            is_put = true;
            put(&mut text, not_next(next));
            text.push(b'\n');
        }
        if number != index {
            put(&mut text, line);
        }
    }
    Ok(text)
}

/// The text with its first `keep` keys only, and how many were dropped.
pub(crate) fn with_only(old: &[u8], keep: usize) -> Result<(Text, usize), DropsNext> {
    let mut text = room_for(old);
    let mut keys = 0;
    for line in lines(old) {
        if is_key(line) {
            keys += 1;
            if keys > keep {
                if is_next(line) {
                    return Err(DropsNext);
                }
                continue;
            }
        }
        put(&mut text, line);
    }
    Ok((text, keys.saturating_sub(keep)))
}

/// The text after `change` has seen each key. The lines of those whose epoch it changes are written
/// anew, but for what is behind the key.
pub(crate) fn with_states(
    old: &[u8],
    mut change: impl FnMut(&mut FileKey),
) -> Result<Text, KeyFileError> {
    let mut text = room_for(old);
    for line in lines(old) {
        let word = line.trim_ascii_start();
        let end = word.iter().position(u8::is_ascii_whitespace).unwrap_or(word.len());
        let (word, rest) = word.split_at(end);
        let mut keys = if is_key(line) { key_file::parse(word)? } else { Vec::new() };
        let key = keys.first_mut().and_then(|key| changed(key, &mut change));
        match key {
            Some(key) => {
                put(&mut text, b"");
                put_key(&mut text, key);
                text.extend_from_slice(rest);
            }
            None => put(&mut text, line),
        }
    }
    Ok(text)
}

/// The key, if `change` has changed its epoch.
fn changed<'a>(key: &'a mut FileKey, change: &mut impl FnMut(&mut FileKey)) -> Option<&'a FileKey> {
    let before = key.epoch;
    change(key);
    (key.epoch != before).then_some(key)
}

/// Whether a key is marked `next`.
pub(crate) fn has_next(text: &[u8]) -> bool {
    lines(text).any(is_next)
}

/// Each line with its line feed, which the last may lack.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

fn is_key(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    !line.is_empty() && !line.starts_with(b"#")
}

fn is_next(line: &[u8]) -> bool {
    is_key(line) && not_next(line).len() < line.trim_ascii_end().len()
}

/// A key line without its mark and its line end.
fn not_next(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii_end();
    match line.strip_suffix(NEXT) {
        Some(rest) if rest.last().is_some_and(u8::is_ascii_whitespace) => rest.trim_ascii_end(),
        _ => line,
    }
}

fn room_for(old: &[u8]) -> Text {
    Zeroizing::new(Vec::with_capacity(old.len() + CHANGE_BYTES))
}

/// Adds a line, and before it a missing line feed.
fn put(text: &mut Text, line: &[u8]) {
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    text.extend_from_slice(line);
}

/// Writes a key: the number of its epoch, if it has one, and hex digits.
fn put_key(text: &mut Text, key: &FileKey) {
    if let Some(Epoch(number)) = key.epoch {
        text.extend_from_slice(format!("{number}:").as_bytes());
    }
    for byte in key.secret.bytes() {
        for digit in [byte >> 4, byte & 15] {
            text.push(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit });
        }
    }
}

/// A line with a new key, a ratchet that begins in this epoch, and the day, marked `next` if asked.
pub(crate) fn key_line(epoch: Epoch, is_next: bool) -> Result<Text, getrandom::Error> {
    let mut key = FileKey::empty();
    key.epoch = Some(epoch);
    getrandom::fill(key.secret.bytes_mut())?;
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES));
    put_key(&mut line, &key);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    line.push(b' ');
    line.extend_from_slice(day(now.as_secs()).as_bytes());
    if is_next {
        line.push(b' ');
        line.extend_from_slice(NEXT);
    }
    line.push(b'\n');
    Ok(line)
}

/// The day (UTC) of a time in seconds since 1970, as 2026-11-25.
pub(crate) fn day(seconds: u64) -> String {
    // Years begin in March, so that a leap day ends a year; 146,097 days are 400 years.
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

    #[test]
    fn days_are_counted_right() {
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(951_782_400), "2000-02-29");
        assert_eq!(day(951_868_800), "2000-03-01");
        assert_eq!(day(1_795_651_199), "2026-11-25");
        assert_eq!(day(4_102_444_800), "2100-01-01");
    }

    fn shown(text: Text) -> String {
        String::from_utf8(text.to_vec()).unwrap()
    }

    #[test]
    fn a_new_key_comes_first_and_the_rest_stays() {
        let rotated = |old: &[u8]| {
            let (text, dropped) = with_first(old, b"new\n");
            (shown(text), dropped)
        };
        let (text, dropped) = rotated(b"# a\n\nold 1\n# b\nold 2\n");
        assert_eq!((text.as_str(), dropped), ("# a\n\nnew\nold 1\n# b\nold 2\n", 0));
        assert_eq!(rotated(b"old").0, "new\nold");
        assert_eq!(rotated(b"# a").0, "# a\nnew\n");
        assert_eq!(rotated(b""), ("new\n".into(), 0));
    }

    #[test]
    fn the_oldest_keys_are_dropped() {
        let old: String = (0..=MAX_KEYS).map(|key| format!("{key}\n")).collect();
        let (text, dropped) = with_first(old.as_bytes(), b"new\n");
        assert_eq!((lines(&text).count(), dropped), (MAX_KEYS, 2));
        assert!(text.starts_with(b"new\n0\n"));
        assert!(text.ends_with(format!("{}\n", MAX_KEYS - 2).as_bytes()));
    }

    #[test]
    fn a_next_key_comes_second() {
        let with = |old: &[u8]| shown(with_second(old, b"new\n"));
        assert_eq!(with(b"# a\nold 1\n# b\nold 2"), "# a\nold 1\nnew\n# b\nold 2");
        assert_eq!(with(b"old"), "old\nnew\n");
    }

    #[test]
    fn the_next_key_becomes_the_first_where_the_first_is() {
        let promoted = |old: &[u8]| promoted(old).map(shown);
        assert_eq!(
            promoted(b"# a\n\nold 1\n# b\nnew day next \r\n# c\nold 2\n").as_deref(),
            Ok("# a\n\nnew day\nold 1\n# b\n# c\nold 2\n")
        );
        assert_eq!(promoted(b"old 1\nnew next").as_deref(), Ok("new\nold 1\n"));
        // The key was already moved, by hand.
        assert_eq!(promoted(b"new next\nold").as_deref(), Ok("new\nold"));
        // Two marked keys are promoted one by one.
        assert_eq!(promoted(b"a\nb next\nc next\n").as_deref(), Ok("b\na\nc next\n"));
    }

    #[test]
    fn what_is_not_called_next_is_not_promoted() {
        for old in ["", "# next\n", "a\nb\n", "a\nb nextday\n", "a\nb not-next\n", "a\nb next 1\n"]
        {
            assert_eq!(promoted(old.as_bytes()), Err(NoNext), "{old:?}");
            assert!(!has_next(old.as_bytes()), "{old:?}");
        }
        assert!(has_next(b"a\nb\tnext\r\n"));
    }

    #[test]
    fn the_first_keys_are_kept_and_comments() {
        let only = |old: &[u8], keep| with_only(old, keep).map(|(text, gone)| (shown(text), gone));
        let old = b"# a\n1\n# b\n2\n3\n\n# c";
        assert_eq!(only(old, 1), Ok(("# a\n1\n# b\n\n# c".into(), 2)));
        assert_eq!(only(old, 2), Ok(("# a\n1\n# b\n2\n\n# c".into(), 1)));
        for keep in [3, 4, MAX_KEYS + 1] {
            assert_eq!(only(old, keep), Ok((String::from_utf8_lossy(old).into(), 0)));
        }
        assert_eq!(only(b"1\n2 next\n3\n", 2), Ok(("1\n2 next\n".into(), 1)));
        assert_eq!(only(b"1\n2 next\n3\n", 1), Err(DropsNext));
    }

    #[test]
    fn no_change_outgrows_its_room() {
        let line = key_line(Epoch(u32::MAX), true).unwrap();
        let whole = [b"# a\n".as_slice(), &line, &line].concat();
        for old in [whole.trim_ascii_end(), line.trim_ascii_end(), &whole, b"# a", b""] {
            let room = old.len() + CHANGE_BYTES;
            let texts = [
                Some(with_first(old, &line).0),
                Some(with_second(old, &line)),
                promoted(old).ok(),
                with_only(old, 16).map(|(text, _)| text).ok(),
            ];
            for text in texts.into_iter().flatten() {
                assert_eq!(text.capacity(), room);
            }
        }
    }

    #[test]
    fn a_key_line_is_a_key_and_fits_its_room() {
        for is_next in [false, true] {
            let line = key_line(Epoch(83_143), is_next).unwrap();
            assert!(key_file::parse(&line).is_ok_and(|keys| keys.len() == 1));
            assert_eq!(has_next(&line), is_next);
            assert_eq!(line.capacity(), LINE_BYTES);
            assert!(line.ends_with(b"\n"));
            assert_ne!(*line, *key_line(Epoch(83_143), is_next).unwrap());
        }
    }
}

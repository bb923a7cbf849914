//! Times on the command line: a number of seconds, or one with s, m, h or d behind it.

use std::time::Duration;

/// The text is no time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotATime;

/// The time that the text says.
pub(crate) fn parse(text: &str) -> Result<Duration, NotATime> {
    let (number, unit) = match text.char_indices().find(|(_, c)| !c.is_ascii_digit()) {
        Some((at, _)) => text.split_at(at),
        None => (text, "s"),
    };
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(NotATime),
    };
    let number: u64 = number.parse().map_err(|_| NotATime)?;
    Ok(Duration::from_secs(number.checked_mul(seconds).ok_or(NotATime)?))
}

/// A number of seconds as such a text, in the largest unit that divides it.
pub(crate) fn shown(seconds: u64) -> String {
    let units = [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "m")];
    let found =
        units.into_iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    let (unit, name) = found.unwrap_or((1, "s"));
    format!("{}{name}", seconds / unit)
}

/// The same as seconds, for an option.
pub(crate) fn seconds(text: &str) -> Result<u32, &'static str> {
    let seconds = parse(text).ok().and_then(|time| u32::try_from(time.as_secs()).ok());
    seconds.ok_or("a time like 90s, 30m, 1h or 2d")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, seconds) in [("0", 0), ("90", 90), ("30m", 1800), ("1h", 3600), ("2d", 172_800)]
        {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "h", "1w", "1 h", "-1s", "1.5h", "99999999999999999999s", "1e9d"] {
            assert_eq!(parse(text), Err(NotATime), "{text}");
        }
        for text in ["0s", "59s", "90s", "1m", "15m", "12h", "1d", "3d"] {
            assert_eq!(shown(parse(text).unwrap().as_secs()), text);
        }
        assert_eq!(seconds("7d"), Ok(604_800));
        assert!(seconds("49711d").is_err() && seconds("x").is_err());
    }
}

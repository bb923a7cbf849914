//! Errors of the system in words, for a line that an operator reads.

use std::fmt::{self, Display};
use std::io;

/// What std writes before an error's number.
const NUMBER: &str = " (os error ";

/// An error without its number: `No such file or directory`.
#[derive(Debug)]
pub struct Words<'a>(pub &'a io::Error);

impl Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_numbers(&self.0.to_string()))
    }
}

/// The text without the numbers of errors of the system.
pub fn without_numbers(text: &str) -> String {
    let mut parts = text.split(NUMBER);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|digit: char| digit == '-' || digit.is_ascii_digit());
        match rest.strip_prefix(')') {
            Some(rest) if rest.len() + 1 < part.len() => whole.push_str(rest),
            _ => {
                whole.push_str(NUMBER);
                whole.push_str(part);
            }
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_errors_are_left_out() {
        let error = io::Error::from_raw_os_error(libc::ENOENT);
        assert!(error.to_string().contains(NUMBER), "std writes it otherwise now");
        assert_eq!(Words(&error).to_string(), "No such file or directory");
        assert_eq!(without_numbers("a: b (os error 2); c (os error 13)"), "a: b; c");
        for other in ["", "a (os error )", "a (os error x)", "a (os error 2", "(os error 2)"] {
            assert_eq!(without_numbers(other), other);
        }
    }
}

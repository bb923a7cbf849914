//! Where the agent's lines go: to systemd's journal if systemd connected it to stderr, else to stderr.
//!
//! The journal keeps a line's level as its priority, and has the time of each line anyway.

use rustix::fs::{Stat, fstat};
use std::env;
use std::io;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Systemd's variable: the device and inode of the socket that it made stderr.
const VARIABLE: &str = "JOURNAL_STREAM";

/// Has the lines of this process written from now on. The agent goes on when one cannot be written,
/// and does not report that on stderr either.
pub(super) fn begin() {
    let is_journal = fstat(io::stderr())
        .is_ok_and(|stderr| names(&env::var(VARIABLE).unwrap_or_default(), &stderr));
    let journal = is_journal.then(tracing_journald::layer).and_then(Result::ok);
    let _began = match journal {
        // Without the filter, the crates that we use would be heard at each level.
        Some(layer) => {
            tracing_subscriber::registry().with(layer).with(LevelFilter::INFO).try_init().is_ok()
        }
        None => tracing_subscriber::fmt()
            .with_writer(io::stderr)
            .with_ansi(false)
            .with_target(false)
            .log_internal_errors(false)
            .try_init()
            .is_ok(),
    };
}

/// Whether the variable names this file.
fn names(variable: &str, file: &Stat) -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    let named = variable.split_once(':').map(|(device, inode)| (number(device), number(inode)));
    named == Some((Some(file.st_dev), Some(file.st_ino)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        let null = fstat(std::fs::File::open("/dev/null").unwrap()).unwrap();
        let (device, inode) = (null.st_dev, null.st_ino);
        assert!(names(&format!("{device}:{inode}"), &null));
        for other in ["", ":", "x", &format!("{device}:"), &format!("{inode}:{device}0")] {
            assert!(!names(other, &null), "{other}");
        }
    }
}

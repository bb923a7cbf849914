//! Lines for people: `say` on stderr, `print` on stdout. They never contain key material.

use rustix::fs::{FileType, Stat, fstat};
use sesscache_core::system::words::without_numbers;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::IntoRawFd;

/// Prints one line on stderr, without the numbers of errors.
pub(crate) fn say(line: &str) {
    if stderr_is_a_client() {
        return;
    }
    // An error here cannot be reported anywhere.
    let line = without_numbers(line).replace('\n', " ");
    drop(writeln!(io::stderr(), "sesscache: {line}"));
}

/// Writes text to stdout, ending with a line feed.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Bytes as hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Opens the closed ones of descriptors 0 to 2 until exec. Else a file of ours would get such a
/// number, and then our messages.
pub(crate) fn hold_standard_descriptors() {
    while let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let number = null.into_raw_fd();
        if number > 2 {
            break;
        }
    }
}

/// Whether stderr is a client's connection, which a line would break: inetd makes descriptors 0 to
/// 2 the connection.
fn stderr_is_a_client() -> bool {
    let (Ok(input), Ok(error)) = (fstat(io::stdin()), fstat(io::stderr())) else {
        return false;
    };
    let file = |stat: &Stat| (stat.st_dev, stat.st_ino);
    FileType::from_raw_mode(error.st_mode) == FileType::Socket && file(&input) == file(&error)
}

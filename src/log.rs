//! The few lines an operator should see: to the system's log, or where SESSCACHE_LOG says.
//!
//! Never to descriptors 0 to 2 unasked, since they may be the client's socket (vsftpd, inetd), and
//! not by syslog(3), whose connection belongs to the program. Nothing stays open. Failure to log
//! is silent.

use crate::config::{Log, config};
use sesscache_core::system::errno::KeepErrno;
use sesscache_core::system::thread::BlockSigpipe;
use std::fmt::{self, Display, Write as _};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Facility daemon, severity warning (RFC 5424 6.2.1).
const PRIORITY: u8 = 3 << 3 | 4;

/// A message that is logged at most once in the life of the process.
#[derive(Debug)]
pub struct Once(AtomicBool);

impl Once {
    /// Not logged yet.
    pub const fn new() -> Self {
        Once(AtomicBool::new(false))
    }

    /// Logs `message` the first time.
    pub fn say(&self, message: impl Display) {
        if !self.0.swap(true, Relaxed) {
            say(message);
        }
    }
}

impl Default for Once {
    fn default() -> Self {
        Once::new()
    }
}

/// A line, on the stack: there may be no memory, which would end the server. A message that is too
/// long is cut.
struct Line {
    bytes: [u8; 1024],
    length: usize,
}

impl Line {
    fn new(message: impl Display) -> Line {
        let mut line = Line { bytes: [0; 1024], length: 0 };
        // It fails when the line is full, and what fits is there.
        let _ = write!(line, "<{PRIORITY}>sesscache[{}]: {message}", std::process::id());
        line
    }

    /// As syslog wants it.
    fn with_priority(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// As a file wants it.
    fn with_newline(&mut self) -> &[u8] {
        if let Some(end) = self.bytes.get_mut(self.length) {
            *end = b'\n';
        }
        let start = self.bytes.iter().position(|&byte| byte == b'>').map_or(0, |end| end + 1);
        self.bytes.get(start..self.length + 1).unwrap_or_default()
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // The last byte is for the end of the line.
        let room = self.bytes.len() - 1 - self.length;
        let fits = text.len().min(room);
        let place = self.bytes.get_mut(self.length..self.length + fits);
        if let Some((place, text)) = place.zip(text.as_bytes().get(..fits)) {
            place.copy_from_slice(text);
            self.length += fits;
        }
        if fits == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Logs one line.
pub fn say(message: impl Display) {
    let _errno = KeepErrno::new();
    let mut line = Line::new(message);
    // A log that cannot be written is no reason to disturb the server.
    let _sigpipe = BlockSigpipe::new();
    drop(write(&config().log, &mut line));
}

fn write(log: &Log, line: &mut Line) -> io::Result<()> {
    match log {
        Log::Off => Ok(()),
        Log::Stderr => io::stderr().write_all(line.with_newline()),
        Log::Syslog => {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.send_to(line.with_priority(), "/dev/log").map(drop)
        }
        Log::File(path) => {
            let mut options = OpenOptions::new();
            // O_NONBLOCK: a FIFO that nobody reads must not hold the server up.
            options.append(true).create(true).mode(0o600).custom_flags(libc::O_NONBLOCK);
            options.open(path)?.write_all(line.with_newline())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_whole_or_cut() {
        let pid = std::process::id();
        let mut line = Line::new("a > b");
        assert_eq!(line.with_priority(), format!("<28>sesscache[{pid}]: a > b").as_bytes());
        assert_eq!(line.with_newline(), format!("sesscache[{pid}]: a > b\n").as_bytes());
        let mut line = Line::new("x".repeat(5000));
        assert_eq!(line.with_priority().len(), 1023);
        assert!(line.with_newline().ends_with(b"xx\n"));
    }
}

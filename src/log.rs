//! The few lines an operator should see: to the system's log, or where SESSCACHE_LOG says.
//!
//! Never to descriptors 0 to 2 unasked, since they may be the client's socket (vsftpd, inetd), and
//! not by syslog(3), whose connection belongs to the program. Nothing stays open. Failure to log
//! is silent.
//!
//! A line is *held* until [`write_held`], for two reasons. A server may have entered a sandbox that
//! kills it for open(2) or socket(2), and nothing in memory tells. So a handshake writes no line:
//! lines are written while an SSL_CTX is made or set up. And the variables of a server are inherited
//! by what it starts: a process that never serves writes none ([`note_serving`]).
//!
//! Locks: one for the held lines, for the length of a copy. Nobody waits for it long.

use crate::config::{Log, config};
use parking_lot::{Mutex, MutexGuard};
use sesscache_core::system::errno::KeepErrno;
use sesscache_core::system::thread::{BlockWriteSignals, HoldCancel};
use std::fmt::{self, Display, Write as _};
use std::fs::OpenOptions;
use std::hint::spin_loop;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Facility daemon, severity warning (RFC 5424 6.2.1).
const PRIORITY: u8 = 3 << 3 | 4;

/// How many lines are remembered. A line that is there is not said again.
const MOST_LINES: usize = 16;
/// The longest line, without what is put before it.
const MOST_BYTES: usize = 960;
/// The longest line as it is written.
const MOST_WRITTEN: usize = 1024;

/// The lines of this process, oldest first.
static LINES: Mutex<Lines> = Mutex::new(Lines {
    lines: [const { Text { bytes: [0; MOST_BYTES], length: 0 } }; MOST_LINES],
    count: 0,
    written: 0,
});
/// Whether a line is held: most processes have none, and look no further.
static IS_HELD: AtomicBool = AtomicBool::new(false);
/// Whether this process is a server, which stays so.
static SERVES: AtomicBool = AtomicBool::new(false);

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
        // Handshakes come here again and again: the line is written to but once.
        if !self.0.load(Relaxed) && !self.0.swap(true, Relaxed) {
            say(message);
        }
    }
}

impl Default for Once {
    fn default() -> Self {
        Once::new()
    }
}

/// Text of a bounded length: there may be no memory, which would end the server. What does not fit
/// is cut.
#[derive(Clone, Copy)]
struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    fn new(text: impl Display) -> Self {
        let mut line = Text { bytes: [0; N], length: 0 };
        // It fails when the line is full, and what fits is there.
        let _ = write!(line, "{text}");
        line
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn text(&self) -> &str {
        str::from_utf8(self.bytes()).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.len() - self.length;
        let mut fits = text.len().min(room);
        while !text.is_char_boundary(fits) {
            fits -= 1;
        }
        let place = self.bytes.get_mut(self.length..self.length + fits);
        if let Some((place, text)) = place.zip(text.as_bytes().get(..fits)) {
            place.copy_from_slice(text);
            self.length += fits;
        }
        if fits == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// A line as it was said.
type Line = Text<MOST_BYTES>;

struct Lines {
    lines: [Line; MOST_LINES],
    count: usize,
    /// The first so many have been written.
    written: usize,
}

impl Lines {
    /// Remembers a line, unless it is there. In place of the oldest, if that was written; without
    /// room it is lost.
    fn hold(&mut self, line: &Line) {
        let known = self.lines.get(..self.count).unwrap_or_default();
        if known.iter().any(|known| known.bytes() == line.bytes()) {
            return;
        }
        if self.count == MOST_LINES && self.written > 0 {
            self.lines.rotate_left(1);
            self.count -= 1;
            self.written -= 1;
        }
        if let Some(place) = self.lines.get_mut(self.count) {
            *place = *line;
            self.count += 1;
        }
    }

    /// The oldest that was not written; it counts as written from now on.
    fn next(&mut self) -> Option<Line> {
        let line = self.lines.get(..self.count)?.get(self.written).copied();
        self.written += usize::from(line.is_some());
        line
    }
}

/// `None` after many tries, because a fork may have left the lock held for ever.
fn lines() -> Option<MutexGuard<'static, Lines>> {
    (0..10_000).find_map(|_| {
        spin_loop();
        LINES.try_lock()
    })
}

/// Says one line, which is held until it can be written.
pub fn say(message: impl Display) {
    let line = Line::new(message);
    if let Some(mut lines) = lines() {
        lines.hold(&line);
        IS_HELD.store(lines.written < lines.count, Relaxed);
    }
}

/// Writes a line at once, in a process that will make no SSL_CTX of ours. Not in a handshake.
pub fn write_now(message: impl Display) {
    write(&Line::new(message));
}

/// This process is a server.
#[inline]
pub fn note_serving() {
    if !is_serving() {
        SERVES.store(true, Relaxed);
    }
}

/// Whether this process is known to be a server.
#[inline]
pub fn is_serving() -> bool {
    SERVES.load(Relaxed)
}

/// Writes the lines that are held, if this process is a server. Called while an SSL_CTX is made or
/// set up, and never in a handshake.
#[inline]
pub fn write_held() {
    if IS_HELD.load(Relaxed) && is_serving() {
        write_all();
    }
}

#[cold]
fn write_all() {
    IS_HELD.store(false, Relaxed);
    // The lock is not held while a line is written.
    while let Some(line) = lines().and_then(|mut lines| lines.next()) {
        write(&line);
    }
}

fn write(line: &Line) {
    let _errno = KeepErrno::new();
    // A thread can be cancelled in open(2) and its like.
    let _cancel = HoldCancel::new();
    // A log that cannot be written is no reason to disturb the server.
    let _signals = BlockWriteSignals::new();
    drop(write_to(&config().log, line));
}

fn write_to(log: &Log, line: &Line) -> io::Result<()> {
    match log {
        Log::Off => Ok(()),
        Log::Stderr => io::stderr().write_all(with_newline(line).bytes()),
        Log::Syslog => {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.send_to(with_priority(line).bytes(), "/dev/log").map(drop)
        }
        Log::File(path) => {
            let mut options = OpenOptions::new();
            // O_NONBLOCK: a FIFO that nobody reads must not hold the server up.
            options.append(true).create(true).mode(0o600).custom_flags(libc::O_NONBLOCK);
            options.open(path)?.write_all(with_newline(line).bytes())
        }
    }
}

/// As syslog wants it.
fn with_priority(line: &Line) -> Text<MOST_WRITTEN> {
    let text = line.text();
    Text::new(format_args!("<{PRIORITY}>sesscache[{}]: {text}", std::process::id()))
}

/// As a file wants it.
fn with_newline(line: &Line) -> Text<MOST_WRITTEN> {
    let text = line.text();
    Text::new(format_args!("sesscache[{}]: {text}\n", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_whole_or_cut() {
        let pid = std::process::id();
        let line = Line::new("a > b");
        assert_eq!(with_priority(&line).bytes(), format!("<28>sesscache[{pid}]: a > b").as_bytes());
        assert_eq!(with_newline(&line).bytes(), format!("sesscache[{pid}]: a > b\n").as_bytes());
        let line = Line::new("x".repeat(5000));
        assert_eq!(line.bytes().len(), MOST_BYTES);
        assert!(with_priority(&line).bytes().ends_with(b"xx"));
        assert!(with_newline(&line).bytes().ends_with(b"xx\n"));
        // A cut character is not written half.
        let line = Line::new("\u{e9}".repeat(MOST_BYTES));
        assert_eq!(line.text().len(), MOST_BYTES);
        let line = Line::new(format_args!("x{}", "\u{e9}".repeat(MOST_BYTES)));
        assert_eq!(line.text().len(), MOST_BYTES - 1);
    }

    fn empty() -> Box<Lines> {
        let line = Line { bytes: [0; MOST_BYTES], length: 0 };
        Box::new(Lines { lines: [line; MOST_LINES], count: 0, written: 0 })
    }

    #[test]
    fn each_line_is_written_once_and_in_order() {
        let mut lines = empty();
        for text in ["one", "two", "one"] {
            lines.hold(&Line::new(text));
        }
        assert_eq!(lines.next().unwrap().bytes(), b"one");
        lines.hold(&Line::new("one"));
        assert_eq!(lines.next().unwrap().bytes(), b"two");
        assert!(lines.next().is_none());
    }

    #[test]
    fn a_line_takes_the_place_of_a_written_one_alone() {
        let mut lines = empty();
        (0..MOST_LINES + 3).for_each(|number| lines.hold(&Line::new(number)));
        assert_eq!(lines.next().unwrap().bytes(), b"0");
        lines.hold(&Line::new("later"));
        let rest: Vec<_> = std::iter::from_fn(|| lines.next()).collect();
        assert_eq!(rest.len(), MOST_LINES);
        assert_eq!(rest.last().unwrap().bytes(), b"later");
    }
}

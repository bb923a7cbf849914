//! The few lines an operator should see: to the system's log, or where SESSCACHE_LOG says.
//!
//! Never to descriptors 0 to 2 unasked, since they may be the client's socket (vsftpd, inetd), and
//! not by syslog(3), whose connection belongs to the program. Nothing stays open. Failure to log
//! is silent.

use crate::config::{Log, config};
use crate::openssl::errno::KeepErrno;
use crate::openssl::process::without_sigpipe;
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
    pub fn say(&self, message: &str) {
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

/// Logs one line.
pub fn say(message: &str) {
    let _errno = KeepErrno::new();
    // A log that cannot be written is no reason to disturb the server.
    drop(without_sigpipe(|| write(&config().log, message)));
}

fn write(log: &Log, message: &str) -> io::Result<()> {
    let line = format!("sesscache[{}]: {message}", std::process::id());
    match log {
        Log::Off => Ok(()),
        Log::Stderr => writeln!(io::stderr(), "{line}"),
        Log::Syslog => {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.send_to(format!("<{PRIORITY}>{line}").as_bytes(), "/dev/log").map(drop)
        }
        Log::File(path) => {
            let mut options = OpenOptions::new();
            // O_NONBLOCK: a FIFO that nobody reads must not hold the server up.
            options.append(true).create(true).mode(0o600).custom_flags(libc::O_NONBLOCK);
            options.open(path)?.write_all(format!("{line}\n").as_bytes())
        }
    }
}

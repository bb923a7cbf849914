//! A connection of the probe: a handshake, the tickets behind it, and an orderly end.
//!
//! It lasts a limited time, whatever the server sends.

use super::sessions::Sessions;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, ClientConnection, Error, HandshakeKind};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the server may take to send tickets and to close, after the handshake.
const LINGER: Duration = Duration::from_secs(1);
/// The part of a server's first flight that is looked at, for a ticket of TLS 1.2.
const MOST_FLIGHT_BYTES: usize = 256 * 1024;
/// Types of records and of handshake messages: RFC 5246, A.1 and A.4; RFC 5077, 3.3.
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const NEW_SESSION_TICKET: u8 = 4;

/// The outcome of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) was_offered: bool,
    pub(super) resumed: bool,
    /// Whether the server has sent a ticket of TLS 1.2.
    pub(super) has_ticket: bool,
}

/// The reasons why there was no connection.
#[derive(Debug)]
pub(super) enum Failed {
    /// The address cannot be reached, so no other connection to it is tried.
    Unreachable(io::Error),
    /// The server does not speak this version of TLS.
    NotSpoken,
    /// The handshake failed, with the reason.
    Handshake(String),
}

/// A way to connect: the configuration and the sessions that it offers.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) config: Arc<ClientConfig>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) name: ServerName<'static>,
    pub(super) timeout: Duration,
}

impl Dialer {
    /// Connects, and offers a session if there is one.
    pub(super) fn dial(&self, address: SocketAddr) -> Result<Done, Failed> {
        let end = Instant::now() + self.timeout;
        let socket =
            TcpStream::connect_timeout(&address, self.timeout).map_err(Failed::Unreachable)?;
        // Handshakes are small, and each waits for the one before.
        let _ = socket.set_nodelay(true);
        let mut wire = Wire { socket, end, flight: Vec::new() };
        let _ = self.sessions.take_offered();
        let mut tls = ClientConnection::new(Arc::clone(&self.config), self.name.clone())
            .map_err(|error| Failed::Handshake(error.to_string()))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut wire).map_err(failed)?;
        }
        let done = Done {
            was_offered: self.sessions.take_offered(),
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
            has_ticket: has_ticket(&wire.flight),
        };
        finish(&mut tls, &mut wire);
        Ok(done)
    }
}

/// Says goodbye, and reads what the server still sends: tickets, and its own goodbye. A server
/// forgets a session whose connection ends without one.
fn finish(tls: &mut ClientConnection, wire: &mut Wire) {
    wire.end = wire.end.min(Instant::now() + LINGER);
    tls.send_close_notify();
    while tls.wants_write() {
        if tls.write_tls(wire).is_err() {
            return;
        }
    }
    let _ = wire.socket.shutdown(Shutdown::Write);
    // Content is read and dropped, because rustls holds only so much of it.
    let mut dropped = [0; 4096];
    while tls.read_tls(wire).is_ok_and(|count| count > 0) {
        match tls.process_new_packets() {
            Ok(state) if !state.peer_has_closed() => {}
            _ => return,
        }
        while tls.reader().read(&mut dropped).is_ok_and(|count| count > 0) {}
    }
}

/// A handshake's error, as rustls put it into one of input and output.
fn failed(error: io::Error) -> Failed {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(AlertDescription::ProtocolVersion)) => Failed::NotSpoken,
        Some(inner) => Failed::Handshake(inner.to_string()),
        None => Failed::Handshake(match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => "no answer in time".to_owned(),
            ErrorKind::UnexpectedEof => "closed by the server: does it speak TLS?".to_owned(),
            kind => kind.to_string(),
        }),
    }
}

/// The socket, until a time, and the first bytes that were read from it.
struct Wire {
    socket: TcpStream,
    end: Instant,
    flight: Vec<u8>,
}

impl Wire {
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.end.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        let count = self.socket.read(buffer)?;
        let room = MOST_FLIGHT_BYTES.saturating_sub(self.flight.len());
        self.flight.extend(buffer.iter().take(count.min(room)));
        Ok(count)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// Whether a TLS 1.2 server's first flight, which is in clear, has a ticket in it. rustls does not
/// tell whether a session is to be resumed by its id or by a ticket.
fn has_ticket(flight: &[u8]) -> bool {
    let mut messages = Vec::new();
    let mut rest = flight;
    while let [kind, _, _, high, low, more @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((body, behind)) = more.split_at_checked(length) else { break };
        match *kind {
            CHANGE_CIPHER_SPEC => break,
            HANDSHAKE => messages.extend_from_slice(body),
            _ => {}
        }
        rest = behind;
    }
    let mut rest = messages.as_slice();
    while let [kind, high, middle, low, more @ ..] = rest {
        let length = u32::from_be_bytes([0, *high, *middle, *low]);
        let Some((body, behind)) =
            usize::try_from(length).ok().and_then(|n| more.split_at_checked(n))
        else {
            break;
        };
        // A hint of the lifetime, the length of the ticket, the ticket.
        if *kind == NEW_SESSION_TICKET && body.len() > 6 {
            return true;
        }
        rest = behind;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&[kind, 3, 3], &length[..], body].concat()
    }

    #[test]
    fn a_ticket_is_found_before_the_change_of_ciphers() {
        let hello = [2, 0, 0, 1, 9];
        let ticket = [4, 0, 0, 8, 0, 0, 0, 1, 0, 2, 5, 5];
        let empty = [4, 0, 0, 6, 0, 0, 0, 1, 0, 0];
        let both = [&hello[..], &ticket].concat();
        assert!(has_ticket(&record(HANDSHAKE, &both)));
        // A message may lie in two records.
        let (one, two) = both.split_at(7);
        assert!(has_ticket(&[record(HANDSHAKE, one), record(HANDSHAKE, two)].concat()));
        assert!(!has_ticket(&record(HANDSHAKE, &empty)));
        assert!(!has_ticket(&[record(20, &[1]), record(HANDSHAKE, &ticket)].concat()));
        for length in 0..record(HANDSHAKE, &both).len() {
            assert!(!has_ticket(&record(HANDSHAKE, &both)[..length]));
        }
    }
}

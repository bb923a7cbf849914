//! `sesscache probe`: finds out from outside what resumes at a server, address by address.
//!
//! At each address a full connection of each way to resume is followed by connections that offer
//! what the one before was given. One more offers a session of this address at each other one. The
//! client is rustls, in this process, without threads.

mod certificate;
mod connection;
mod report;
mod sessions;
mod target;

use crate::arguments::Probe;
use crate::output;
use crate::way::Way;
use certificate::{Certificate, Witness};
use connection::{Dialer, Failed};
use rustls::client::{Resumption, Tls12Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};
use sessions::Sessions;
use std::ffi::c_int;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use target::Target;
pub(crate) use target::TargetError;

/// More addresses of a name are not asked.
const MOST_ADDRESSES: usize = 16;

/// The reasons why there is no report, or not a good one.
#[derive(Debug)]
pub(crate) enum ProbeError {
    /// HOST, or the name for SNI, is none.
    Target(TargetError),
    /// rustls refuses its own settings.
    Tls(rustls::Error),
    /// The report could not be written.
    Output(io::Error),
    /// The report is written: not everything has resumed.
    Incomplete,
    /// The report is written: there was nothing to offer.
    NothingOffered,
}

impl ProbeError {
    /// The exit status.
    pub(crate) fn exit_code(&self) -> c_int {
        match self {
            ProbeError::Target(TargetError::Host(_) | TargetError::Name(_)) => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeError::Target(error) => write!(f, "{error}"),
            ProbeError::Tls(error) => write!(f, "{error}"),
            ProbeError::Output(error) => write!(f, "stdout: {error}"),
            ProbeError::Incomplete => write!(f, "not every session that was offered has resumed"),
            ProbeError::NothingOffered => write!(f, "no session was offered; the table says why"),
        }
    }
}

/// The protocol version of a way.
fn version(way: Way) -> &'static SupportedProtocolVersion {
    match way {
        Way::Id | Way::Ticket12 => &TLS12,
        Way::Tls13 => &TLS13,
    }
}

/// The outcome of a way at an address.
#[derive(Debug, Default)]
struct Row {
    /// How many connections offered a session, and how many of these resumed.
    offered: u32,
    resumed: u32,
    /// Why there was nothing to offer, or no more.
    trouble: Option<Trouble>,
    /// The other addresses, and whether a session of this one resumed there.
    elsewhere: Vec<(SocketAddr, bool)>,
}

/// The reasons why nothing was offered, or nothing more.
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    NotSpoken,
    NothingGiven,
    Failed(String),
}

impl Row {
    /// Whether the row says nothing against the server. A way that it does not offer is its choice.
    fn is_good(&self) -> bool {
        !matches!(self.trouble, Some(Trouble::Failed(_)))
            && self.resumed == self.offered
            && self.elsewhere.iter().all(|(_, resumed)| *resumed)
    }
}

/// An address, its certificate, and what came of each way there.
#[derive(Debug)]
struct Place {
    address: SocketAddr,
    certificate: Option<Certificate>,
    rows: Vec<(Way, Row)>,
}

/// Runs `sesscache probe HOST[:PORT]`.
pub(crate) fn probe(options: &Probe) -> Result<(), ProbeError> {
    let target = Target::of(&options.host, options.name.as_deref()).map_err(ProbeError::Target)?;
    let mut addresses = target.addresses().map_err(ProbeError::Target)?;
    let left_out = addresses.len().saturating_sub(MOST_ADDRESSES);
    addresses.truncate(MOST_ADDRESSES);
    let provider = Arc::new(ring::default_provider());
    let witness = Arc::new(Witness::new(Arc::clone(&provider)));
    let ways = if options.way.is_empty() { Way::ALL.to_vec() } else { options.way.clone() };
    let dialer = |way| dialer(way, &provider, &witness, &target, options.timeout);
    let dialers: Vec<(Way, Dialer)> = ways
        .into_iter()
        .map(|way| Ok((way, dialer(way)?)))
        .collect::<Result<_, rustls::Error>>()
        .map_err(ProbeError::Tls)?;
    let places: Vec<Place> =
        addresses.iter().map(|one| place(*one, &dialers, &witness, options.count)).collect();
    let places = with_elsewhere(places, &dialers);
    let report = report::Report { target: &target, places: &places, left_out, options };
    let text = if options.json { report.json().to_string() } else { report.table() };
    output::print(&text).map_err(ProbeError::Output)?;
    match (report.is_good(), report.has_offers()) {
        (true, _) => Ok(()),
        (false, true) => Err(ProbeError::Incomplete),
        (false, false) => Err(ProbeError::NothingOffered),
    }
}

/// A way's own configuration, sessions and manner to connect.
fn dialer(
    way: Way,
    provider: &Arc<CryptoProvider>,
    witness: &Arc<Witness>,
    target: &Target,
    timeout: Duration,
) -> Result<Dialer, rustls::Error> {
    let sessions = Arc::new(Sessions::default());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[version(way)])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Witness>::clone(witness))
        .with_no_client_auth();
    let tls12 = match way {
        Way::Id => Tls12Resumption::SessionIdOnly,
        Way::Ticket12 | Way::Tls13 => Tls12Resumption::SessionIdOrTickets,
    };
    config.resumption =
        Resumption::store(Arc::<Sessions>::clone(&sessions)).tls12_resumption(tls12);
    Ok(Dialer { config: Arc::new(config), sessions, name: target.name.clone(), timeout })
}

/// Asks one address, in each way, but once if it cannot be reached.
fn place(address: SocketAddr, dialers: &[(Way, Dialer)], witness: &Witness, count: u32) -> Place {
    let mut unreachable = None;
    let rows = dialers.iter().map(|(way, dialer)| {
        let mut row = Row::default();
        let failed = match &unreachable {
            Some(why) => Some(Trouble::Failed(String::clone(why))),
            None => ask(*way, dialer, address, count, &mut row)
                .err()
                .map(|failed| trouble(failed, &mut unreachable)),
        };
        row.trouble = failed;
        (*way, row)
    });
    let rows = rows.collect();
    Place { address, certificate: witness.take(), rows }
}

fn trouble(failed: Option<Failed>, unreachable: &mut Option<String>) -> Trouble {
    match failed {
        None => Trouble::NothingGiven,
        Some(Failed::NotSpoken) => Trouble::NotSpoken,
        Some(Failed::Handshake(why)) => Trouble::Failed(why),
        Some(Failed::Unreachable(error)) => {
            let why = match error.kind() {
                io::ErrorKind::TimedOut => "no answer in time".to_owned(),
                kind => kind.to_string(),
            };
            *unreachable = Some(why.clone());
            Trouble::Failed(why)
        }
    }
}

/// A full connection, and `count` that offer what the one before was given. An error of `None`: the
/// server has given nothing.
fn ask(
    way: Way,
    dialer: &Dialer,
    address: SocketAddr,
    count: u32,
    row: &mut Row,
) -> Result<(), Option<Failed>> {
    dialer.sessions.forget();
    let full = dialer.dial(address).map_err(Some)?;
    if way == Way::Ticket12 && !full.has_ticket {
        dialer.sessions.forget();
    }
    for _ in 0..count {
        if !dialer.sessions.has_any() {
            return Err(None);
        }
        let done = dialer.dial(address).map_err(Some)?;
        row.offered += u32::from(done.was_offered);
        row.resumed += u32::from(done.resumed);
    }
    Ok(())
}

/// Offers a session of each address at each other one, where both have given sessions.
fn with_elsewhere(mut places: Vec<Place>, dialers: &[(Way, Dialer)]) -> Vec<Place> {
    for (number, (way, dialer)) in dialers.iter().enumerate() {
        let able: Vec<SocketAddr> = places
            .iter()
            .filter(|place| place.rows.get(number).is_some_and(|(_, row)| row.trouble.is_none()))
            .map(|place| place.address)
            .collect();
        for place in &mut places {
            let Some((_, row)) = place.rows.get_mut(number) else { continue };
            if row.trouble.is_some() {
                continue;
            }
            for other in able.iter().filter(|other| **other != place.address) {
                match cross(*way, dialer, place.address, *other) {
                    Ok(resumed) => row.elsewhere.push((*other, resumed)),
                    Err(failed) => {
                        row.trouble = Some(trouble(failed, &mut None));
                        break;
                    }
                }
            }
        }
    }
    places
}

/// Whether a session of one address resumes at another.
fn cross(
    way: Way,
    dialer: &Dialer,
    from: SocketAddr,
    to: SocketAddr,
) -> Result<bool, Option<Failed>> {
    dialer.sessions.forget();
    let full = dialer.dial(from).map_err(Some)?;
    if !dialer.sessions.has_any() || way == Way::Ticket12 && !full.has_ticket {
        return Err(None);
    }
    dialer.dial(to).map(|done| done.resumed).map_err(Some)
}

//! The server to probe: its name or address, its port, its addresses, and the name for SNI.

use rustls::pki_types::ServerName;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

const HTTPS: u16 = 443;

/// The server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    /// For SNI. An IP address is not sent.
    pub(super) name: ServerName<'static>,
}

/// The reasons why there is no server to ask.
#[derive(Debug)]
pub(crate) enum TargetError {
    /// HOST[:PORT] is no name or address, or its port is none.
    Host(String),
    /// --name is no DNS name.
    Name(String),
    /// The name has no address.
    Unknown(String, io::Error),
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetError::Host(text) => {
                write!(
                    f,
                    "{text:?}: a name or address, as example.org, 192.0.2.1:8443 or [::1]:443"
                )
            }
            TargetError::Name(text) => write!(f, "--name {text:?}: no DNS name"),
            TargetError::Unknown(host, error) => {
                write!(f, "{host}: no address: {}", error.to_string().to_lowercase())
            }
        }
    }
}

impl Target {
    pub(super) fn of(text: &str, name: Option<&str>) -> Result<Target, TargetError> {
        let wrong = || TargetError::Host(text.to_owned());
        let (host, port) = split(text).ok_or_else(wrong)?;
        let own = ServerName::try_from(host.to_owned()).map_err(|_| wrong());
        let name = match name {
            Some(name) => ServerName::try_from(name.to_owned())
                .map_err(|_| TargetError::Name(name.to_owned())),
            None => own,
        };
        Ok(Target { host: host.to_owned(), port, name: name? })
    }

    /// Its addresses, in the resolver's order, each once.
    pub(super) fn addresses(&self) -> Result<Vec<SocketAddr>, TargetError> {
        let unknown = |error| TargetError::Unknown(self.host.clone(), error);
        let mut addresses = Vec::new();
        for address in (self.host.as_str(), self.port).to_socket_addrs().map_err(unknown)? {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        match addresses.is_empty() {
            true => Err(unknown(io::ErrorKind::NotFound.into())),
            false => Ok(addresses),
        }
    }
}

/// Host and port. An IPv6 address with a port is in brackets.
fn split(text: &str) -> Option<(&str, u16)> {
    if text.parse::<IpAddr>().is_ok() {
        return Some((text, HTTPS));
    }
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None if rest.is_empty() => HTTPS,
        None => return None,
    };
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_ports() {
        for (text, host, port) in [
            ("example.org", "example.org", 443),
            ("example.org:8443", "example.org", 8443),
            ("192.0.2.1:1", "192.0.2.1", 1),
            ("::1", "::1", 443),
            ("[::1]:99", "::1", 99),
            ("[::1]", "::1", 443),
        ] {
            assert_eq!(split(text), Some((host, port)), "{text}");
        }
        for text in ["", ":443", "a:", "a:x", "a:0", "a:65536", "[::1", "[::1]x", "a:1:2"] {
            assert_eq!(split(text), None, "{text}");
        }
    }

    #[test]
    fn the_name_for_sni_is_the_host_or_given() {
        assert_eq!(Target::of("a.test", None).unwrap().name.to_str(), "a.test");
        assert_eq!(Target::of("127.0.0.1:1", Some("b.test")).unwrap().name.to_str(), "b.test");
        assert!(matches!(Target::of("a b", None), Err(TargetError::Host(_))));
        assert!(matches!(Target::of("a", Some("b c")), Err(TargetError::Name(_))));
    }
}

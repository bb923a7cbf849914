//! The address of the metrics' server: HOST:PORT, where HOST is an IP address, a name or nothing.

use std::fmt;
use std::io::{self, ErrorKind};
use tokio::net::{TcpListener, lookup_host};

/// A host and a port. Without a host, all addresses of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// The address that a text means.
    ///
    /// # Errors
    /// The forms that it may have.
    pub(crate) fn parse(text: &str) -> Result<Address, &'static str> {
        const FORMS: &str =
            "an ADDRESS:PORT like 127.0.0.1:9464, [::1]:9464, localhost:9464 or :9464";
        let (host, port) = text.rsplit_once(':').ok_or(FORMS)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_name =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'*');
        if bracketed.is_none() && !host.bytes().all(is_name) {
            return Err(FORMS);
        }
        let host = bracketed.unwrap_or(host).trim_matches('*').to_owned();
        // Not "+80", which a number may be.
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| is_number).ok_or(FORMS)?;
        Ok(Address { host, port })
    }

    /// Listens at each address that the host has. Of those, one that this machine lacks is passed
    /// over, if there is another.
    pub(crate) async fn listen(&self) -> io::Result<Vec<TcpListener>> {
        if self.host.is_empty() {
            return self.listen_everywhere().await;
        }
        let (mut listeners, mut failure) = (Vec::new(), None);
        for address in lookup_host((self.host.as_str(), self.port)).await? {
            match TcpListener::bind(address).await {
                Ok(listener) => listeners.push(listener),
                Err(error) if error.kind() == ErrorKind::AddrInUse => return Err(error),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if listeners.is_empty() => Err(error),
            _ => Ok(listeners),
        }
    }

    /// IPv6 serves IPv4 as well, unless the system is set otherwise or has no IPv6.
    async fn listen_everywhere(&self) -> io::Result<Vec<TcpListener>> {
        let six = TcpListener::bind(("::", self.port)).await;
        if six.as_ref().is_err_and(|error| error.kind() == ErrorKind::AddrInUse) {
            return six.map(|listener| vec![listener]);
        }
        let four = TcpListener::bind(("0.0.0.0", self.port)).await;
        match (six, four) {
            (Ok(six), Ok(four)) => Ok(vec![six, four]),
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(vec![one]),
            (Err(_), Err(error)) => Err(error),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_names_and_ports_alone() {
        for (text, shown) in [
            ("127.0.0.1:9464", "127.0.0.1:9464"),
            ("[::1]:9464", "[::1]:9464"),
            ("localhost:1", "localhost:1"),
            (":9464", ":9464"),
            ("*:9464", ":9464"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), shown);
        }
        for text in ["", "9464", "a", "::1:9464", "a b:1", "a:", "a:+1", "a:65536", "http://a:1"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}

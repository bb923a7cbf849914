//! `rustls-client URL COUNT CA`: one configuration, whose default is a cache of sessions in memory.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, count, authority] = arguments.as_slice() else {
        return Err("usage: rustls-client URL COUNT CA".into());
    };
    let (place, path) = url
        .strip_prefix("https://")
        .and_then(|rest| rest.split_once('/'))
        .ok_or("no https:// URL with a path")?;
    let (host, _) = place.split_once(':').ok_or("no port")?;
    let name = ServerName::try_from(host.to_owned())?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let config = Arc::new(config);
    for _ in 0..count.parse::<u32>()? {
        let connection = ClientConnection::new(Arc::clone(&config), name.clone())?;
        let mut stream = StreamOwned::new(connection, TcpStream::connect(place)?);
        write!(stream, "GET /{path} HTTP/1.0\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
    }
    Ok(())
}

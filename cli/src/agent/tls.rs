//! TLS to Redis: which certificates the agent trusts, and the one that it shows.
//!
//! The files are read for each connection, so that new certificates need no restart.

use super::failure::{Failure, RedisState};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use webpki::{EndEntityCert, KeyUsage};
use zeroize::Zeroizing;

/// The files with certificates, as the command line names them.
#[derive(Clone, Debug, Default)]
pub(super) struct TlsFiles {
    /// The certificates to trust instead of the system's.
    pub(super) ca: Option<PathBuf>,
    /// A certificate chain to show, and its private key.
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    /// All files that are named.
    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let client = self.client.iter().flat_map(|(certificate, key)| [certificate, key]);
        self.ca.iter().chain(client)
    }

    /// Reads the files.
    pub(super) fn config(&self) -> Result<ClientConfig, Failure> {
        let trusted = match &self.ca {
            Some(path) => certificates(path)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let verifier = Verifier::new(trusted)?;
        let builder = ClientConfig::builder()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let Some((certificate, key)) = &self.client else {
            return Ok(builder.with_no_client_auth());
        };
        builder
            .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
            .map_err(|error| unusable(key, &error))
    }
}

/// A failure because of a file, which the operator must mend.
pub(super) fn unusable(path: &Path, reason: &dyn fmt::Display) -> Failure {
    Failure::new(RedisState::Denied, &format!("{}: {reason}", path.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let text = fs::read(path).map_err(|error| unusable(path, &error))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(path, &error))?;
    if found.is_empty() {
        return Err(unusable(path, &"no certificate in PEM"));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Failure> {
    let text = Zeroizing::new(fs::read(path).map_err(|error| unusable(path, &error))?);
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| unusable(path, &"no private key in PEM, or one with a passphrase"))
}

/// Verifies as rustls does, and also trusts a self-signed certificate that is itself in the list.
/// But of the list, only authorities issue certificates for others.
///
/// `openssl req -x509` marks such a certificate as that of an authority, and rustls refuses any
/// server that shows one. OpenSSL's clients accept it.
#[derive(Debug)]
struct Verifier {
    /// For servers that show a certificate of the list.
    listed: Arc<WebPkiServerVerifier>,
    /// For all others; `None` if the list has no authority.
    issued: Option<Arc<WebPkiServerVerifier>>,
    trusted: Vec<CertificateDer<'static>>,
}

impl Verifier {
    fn new(trusted: Vec<CertificateDer<'static>>) -> Result<Verifier, Failure> {
        let listed = chains(trusted.iter()).map_err(|error| {
            Failure::new(RedisState::Denied, &format!("certificates to trust: {error}"))
        })?;
        let issued = chains(trusted.iter().filter(|one| may_issue(one))).ok();
        Ok(Verifier { listed, issued, trusted })
    }
}

/// Verifies chains that end at one of these.
fn chains<'a>(
    roots: impl Iterator<Item = &'a CertificateDer<'static>>,
) -> Result<Arc<WebPkiServerVerifier>, VerifierBuilderError> {
    let mut store = RootCertStore::empty();
    // The system's list may hold certificates that rustls cannot read.
    store.add_parsable_certificates(roots.cloned());
    WebPkiServerVerifier::builder(Arc::new(store)).build()
}

/// Whether a trusted certificate is that of an authority, or so old a version that it cannot say.
/// To rustls any certificate in the list is an authority: one server's key could speak for all.
fn may_issue(certificate: &CertificateDer<'_>) -> bool {
    let Ok(server) = EndEntityCert::try_from(certificate) else { return true };
    let as_server = |now| {
        server.verify_for_usage(&[], &[], &[], now, KeyUsage::server_auth(), None, None).err()
    };
    let result = match as_server(UnixTime::now()) {
        // The dates come first. As in rustls, those of an authority in the list do not matter.
        Some(webpki::Error::CertExpired { not_after, .. }) => as_server(not_after),
        Some(webpki::Error::CertNotValidYet { not_before, .. }) => as_server(not_before),
        result => result,
    };
    matches!(result, Some(webpki::Error::CaUsedAsEndEntity))
}

/// Whether the certificate was refused only because it is that of an authority. Its dates are
/// checked before that.
fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        revocation: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.trusted.iter().any(|one| one == shown) {
            let issued = self.issued.as_ref().ok_or(CertificateError::UnknownIssuer)?;
            return issued.verify_server_cert(shown, between, name, revocation, now);
        }
        match self.listed.verify_server_cert(shown, between, name, revocation, now) {
            Err(error) if is_authority(&error) => {
                verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.listed.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.listed.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.listed.supported_verify_schemes()
    }
}

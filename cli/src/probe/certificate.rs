//! The certificate that a server shows. The probe accepts any, and says what it was.

use crate::output::hex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, PoisonError};
use webpki::EndEntityCert;

/// A certificate that a server has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// SHA-256 of its bytes, in hex.
    pub(super) sha256: String,
    /// The DNS names that it is for.
    pub(super) names: Vec<String>,
    /// The reason why the system's authorities do not vouch for it under the server's name.
    pub(super) untrusted: Option<String>,
}

/// Accepts any certificate whose key the server has, and keeps what it was.
#[derive(Debug)]
pub(super) struct Witness {
    /// `None` if the system trusts nobody.
    trust: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Certificate>>,
}

impl Witness {
    pub(super) fn new(provider: Arc<CryptoProvider>) -> Witness {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        Witness { trust: builder.build().ok(), provider, seen: Mutex::default() }
    }

    /// The last certificate since this question was asked before.
    pub(super) fn take(&self) -> Option<Certificate> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Why a certificate is not trusted, in a few words.
fn reason(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => "unknown issuer".to_owned(),
        Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "expired".to_owned(),
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "for another name".to_owned(),
        Error::InvalidCertificate(CertificateError::Other(other)) => other.to_string(),
        other => other.to_string(),
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        revocation: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = match &self.trust {
            Some(trust) => trust.verify_server_cert(shown, between, name, revocation, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        let names = EndEntityCert::try_from(shown)
            .map(|one| one.valid_dns_names().map(str::to_owned).collect())
            .unwrap_or_default();
        let certificate = Certificate {
            sha256: hex(&Sha256::digest(shown)),
            names,
            untrusted: verdict.err().map(|error| reason(&error)),
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(certificate);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

//! The causes for which Redis cannot be used, in words that name the mend.

use redis::{ErrorKind, RedisError};
use rustls::{AlertDescription, CertificateError, Error};
use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

/// Said of a port that gives no answer to TLS, which Redis does not without it.
pub(super) const NO_TLS: &str = "it does not speak TLS; a port without TLS needs redis:";
/// Said of a port that ends a connection without TLS.
pub(super) const ONLY_TLS: &str =
    "it ends the connection before its first answer; a port with TLS needs rediss:";

/// The cause in words; `None` if the error's own text says it.
pub(super) fn words(error: &RedisError) -> Option<String> {
    if let Some(cause) = tls_error(error) {
        return Some(of_tls(cause));
    }
    let text = match (error.code(), error.kind()) {
        (Some("READONLY" | "UNBLOCKED"), _) => {
            "it is a replica, which takes no entries; name its master"
        }
        (Some("WRONGPASS"), _) | (_, ErrorKind::AuthenticationFailed) => {
            "it refuses the user or the password; see --user and --password-file"
        }
        (Some("NOAUTH"), _) => "it asks for a password; give --password-file",
        _ => return None,
    };
    Some(text.to_owned())
}

/// The error of TLS that is behind an error. The client library has the system's error in an Arc, and
/// that has the one of TLS.
fn tls_error(error: &RedisError) -> Option<&Error> {
    let shared = error.source()?.downcast_ref::<Arc<dyn StdError + Send + Sync>>()?;
    shared.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
}

fn of_tls(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(cause) => of_certificate(cause),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::InvalidMessage(_) => NO_TLS.to_owned(),
        other => other.to_string(),
    }
}

fn of_certificate(cause: &CertificateError) -> String {
    let text = match cause {
        CertificateError::UnknownIssuer => {
            "the issuer of its certificate is not trusted; name the certificate with --tls-ca"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is not for the name that --redis has"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired, or a clock is wrong"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet, or a clock is wrong"
        }
        other => return format!("its certificate is refused: {other}"),
    };
    text.to_owned()
}

fn of_alert(alert: AlertDescription) -> String {
    let text = match alert {
        AlertDescription::CertificateRequired => {
            "it asks for a client certificate; give --tls-cert and --tls-key"
        }
        // TLS 1.2 has no alert of its own for that.
        AlertDescription::HandshakeFailure => {
            "it refuses the TLS handshake; it may ask for a client certificate: --tls-cert"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => {
            "it refuses the certificate of --tls-cert, which its authority must have issued"
        }
        other => return format!("it ends TLS by the alert {other:?}"),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of(error: Error) -> Option<String> {
        words(&RedisError::from(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    #[test]
    fn errors_of_tls_name_their_mends() {
        let alert = |alert| words_of(Error::AlertReceived(alert)).unwrap();
        assert!(alert(AlertDescription::CertificateRequired).contains("--tls-key"));
        assert!(alert(AlertDescription::UnknownCA).contains("--tls-cert"));
        assert_eq!(
            alert(AlertDescription::InternalError),
            "it ends TLS by the alert InternalError"
        );
        let certificate = |cause| words_of(Error::InvalidCertificate(cause)).unwrap();
        assert!(certificate(CertificateError::UnknownIssuer).contains("--tls-ca"));
        assert!(certificate(CertificateError::NotValidForName).contains("--redis"));
    }

    #[test]
    fn other_errors_speak_for_themselves() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(words(&RedisError::from(refused)), None);
    }
}

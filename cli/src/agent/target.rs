//! The address of Redis and the login there, from the command line.
//!
//! No log line and no error contains a password.

use super::sentinel::{self, Service};
use super::tls::TlsFiles;
use crate::arguments::Agent;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Errors of --redis and of the options that belong to it.
#[derive(Debug)]
pub(crate) enum TargetError {
    /// --redis is no URL, or has another scheme.
    Url,
    /// There are several nodes without --cluster.
    Several,
    /// A cluster's node is a unix socket or a Sentinel, or has a database.
    ClusterUrl,
    /// A user is given without a password.
    NoPassword,
    /// An option for TLS is given for a connection without it.
    TlsOption,
    /// A file cannot be read.
    File(PathBuf, io::Error),
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetError::Url => write!(
                f,
                "--redis takes redis://HOST:PORT, rediss://HOST:PORT (TLS), unix:///PATH or \
                 redis+sentinel://HOST:PORT/SERVICE"
            ),
            TargetError::Several => write!(f, "several --redis need --cluster"),
            TargetError::ClusterUrl => {
                write!(f, "a cluster has no unix sockets, numbered databases or Sentinels")
            }
            TargetError::NoPassword => write!(
                f,
                "a user needs a password, in --password-file or the URL; without one there is no \
                 login, and Redis takes its default user"
            ),
            TargetError::TlsOption => {
                write!(f, "--tls-ca, --tls-cert and --tls-key are for rediss: URLs")
            }
            TargetError::File(path, error) => {
                write!(f, "{}, which an option names: {error}", path.display())
            }
        }
    }
}

fn is_tls(node: &ConnectionInfo) -> bool {
    matches!(node.addr(), ConnectionAddr::TcpTls { .. })
}

fn parse_urls(urls: &[String]) -> Option<(Vec<ConnectionInfo>, Option<Service>)> {
    if sentinel::is_url(urls) {
        return sentinel::parse(urls).map(|(nodes, service)| (nodes, Some(service)));
    }
    let nodes = urls.iter().map(|url| url.as_str().into_connection_info().ok());
    Some((nodes.collect::<Option<_>>()?, None))
}

/// Whether there is a user without a password. A Sentinel's URL is not the login at Redis.
fn lacks_password(options: &Agent, node: &ConnectionInfo, is_sentinel: bool) -> bool {
    let (user, password) = (node.redis_settings().username(), node.redis_settings().password());
    let (given_user, given_password) = (options.user.is_some(), options.password_file.is_some());
    if is_sentinel {
        return (user.is_some() && password.is_none()) || (given_user && !given_password);
    }
    (given_user || user.is_some()) && !(given_password || password.is_some())
}

/// The nodes of Redis and the login there.
#[derive(Debug)]
pub(crate) struct Target {
    /// The nodes of Redis; with a service, its Sentinels.
    pub(super) nodes: Vec<ConnectionInfo>,
    pub(super) service: Option<Service>,
    pub(super) is_cluster: bool,
    pub(super) user: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) tls: TlsFiles,
}

impl Target {
    pub(crate) fn parse(options: &Agent) -> Result<Target, TargetError> {
        let (nodes, service) = parse_urls(&options.redis).ok_or(TargetError::Url)?;
        if nodes.len() > 1 && !options.cluster && service.is_none() {
            return Err(TargetError::Several);
        }
        let odd = |node: &ConnectionInfo| {
            matches!(node.addr(), ConnectionAddr::Unix(_)) || node.redis_settings().db() != 0
        };
        if options.cluster && (service.is_some() || nodes.iter().any(odd)) {
            return Err(TargetError::ClusterUrl);
        }
        if nodes.iter().any(|node| lacks_password(options, node, service.is_some())) {
            return Err(TargetError::NoPassword);
        }
        let tls = TlsFiles {
            ca: options.tls_ca.clone(),
            client: options.tls_cert.clone().zip(options.tls_key.clone()),
        };
        if tls.paths().next().is_some() && !nodes.iter().all(is_tls) {
            return Err(TargetError::TlsOption);
        }
        Ok(Target {
            nodes,
            service,
            is_cluster: options.cluster,
            user: options.user.clone(),
            password_file: options.password_file.clone(),
            tls,
        })
    }

    /// Whether a connection needs TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.nodes.iter().any(is_tls)
    }

    /// Logs unsafe permissions, and fails if a file cannot be read, before the first connection.
    pub(crate) fn check(&self) -> Result<(), TargetError> {
        if self.nodes.iter().any(|node| node.redis_settings().password().is_some()) {
            // A Sentinel's password has no file.
            let advice = match self.service {
                None => "; --password-file keeps it private",
                Some(_) => "",
            };
            tracing::warn!("the password in --redis can be read by everybody on this host{advice}");
        }
        for path in self.password_file.iter().chain(self.tls.paths()) {
            let failed = |error| TargetError::File(path.clone(), error);
            fs::File::open(path).map_err(failed)?;
        }
        let key = self.tls.client.as_ref().map(|(_, key)| key);
        for path in self.password_file.iter().chain(key) {
            if fs::metadata(path).is_ok_and(|file| file.mode() & 0o007 != 0) {
                tracing::warn!("{} can be read by everybody on this host", path.display());
            }
        }
        Ok(())
    }

    /// A text that differs between one Redis and another.
    pub(crate) fn identity(&self) -> String {
        let database = |node: &ConnectionInfo| node.redis_settings().db();
        let mut nodes: Vec<String> =
            self.nodes.iter().map(|node| format!("{}/{}", node.addr(), database(node))).collect();
        nodes.sort();
        match &self.service {
            None => nodes.join(","),
            Some(service) => format!("{}/{}@{}", service.name, service.database, nodes.join(",")),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(service) = &self.service {
            write!(f, "{} by Sentinel at ", service.name)?;
        }
        for (number, node) in self.nodes.iter().enumerate() {
            let between = if number == 0 { "" } else { ", " };
            write!(f, "{between}{}", node.addr())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Arguments, Command};
    use clap::Parser;

    fn target(words: &[&str]) -> Result<Target, TargetError> {
        let words = [&["sesscache", "agent", "--store", "/x"], words].concat();
        match Arguments::try_parse_from(words).unwrap().command {
            Command::Agent(options) => Target::parse(&options),
            _ => unreachable!(),
        }
    }

    #[test]
    fn urls_of_redis_are_understood() {
        let shown = |url| target(&["--redis", url]).unwrap().to_string();
        assert_eq!(shown("redis://127.0.0.1"), "127.0.0.1:6379");
        assert_eq!(shown("rediss://user:secret@redis.example:7000/1"), "redis.example:7000");
        assert_eq!(shown("unix:///run/redis.sock"), "/run/redis.sock");
        assert_eq!(shown("redis+unix:///run/redis.sock"), "/run/redis.sock");
        assert!(matches!(target(&["--redis", "http://x"]), Err(TargetError::Url)));
        assert!(matches!(target(&["--redis", "x:secret@y"]), Err(TargetError::Url)));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let several = "redis://a,redis://b";
        assert!(matches!(target(&["--redis", several]), Err(TargetError::Several)));
        let cluster = target(&["--redis", several, "--cluster"]).unwrap();
        assert_eq!(cluster.to_string(), "a:6379, b:6379");
        for url in ["unix:///x", "redis+sentinel://a/main"] {
            let cluster = target(&["--redis", url, "--cluster"]);
            assert!(matches!(cluster, Err(TargetError::ClusterUrl)), "{url}");
        }
        for user in [&["--redis", "redis://u@a"][..], &["--redis", "redis://a", "--user", "u"]] {
            assert!(matches!(target(user), Err(TargetError::NoPassword)));
            assert!(target(&[user, &["--password-file", "/x"]].concat()).is_ok());
        }
        let ca = target(&["--redis", "redis://a", "--tls-ca", "/x"]);
        assert!(matches!(ca, Err(TargetError::TlsOption)));
        let pair = ["--redis", "redis://a", "--tls-cert", "/x", "--tls-key", "/y"];
        assert!(matches!(target(&pair), Err(TargetError::TlsOption)));
    }

    #[test]
    fn a_sentinel_leads_to_a_service() {
        let sentinels = target(&["--redis", "redis+sentinel://u:p@a,b/main"]).unwrap();
        assert_eq!(sentinels.to_string(), "main by Sentinel at a:26379, b:26379");
        assert!(matches!(target(&["--redis", "redis+sentinel://a"]), Err(TargetError::Url)));
        // The password at the Sentinel is none at Redis.
        let user = target(&["--redis", "redis+sentinel://u:p@a/main", "--user", "x"]);
        assert!(matches!(user, Err(TargetError::NoPassword)));
    }

    #[test]
    fn databases_are_different_places() {
        let identity = |url| target(&["--redis", url]).unwrap().identity();
        assert_ne!(identity("redis://a/1"), identity("redis://a/2"));
        assert_eq!(identity("redis://u:p@a"), identity("redis://a"));
        assert!(!identity("redis://u:secret@a").contains("secret"));
    }
}

//! Where Redis is, who we are there, and connections to it.
//!
//! Passwords are read at each connection, so that a new one needs no restart; they are in no line
//! and no error.

use super::failure::{Failure, RedisState};
use crate::arguments::Agent;
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    ProtocolVersion, TlsCertificates, Value,
};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// How long an answer may take, on top of what Redis was asked to wait.
const ANSWER: Duration = Duration::from_secs(3);

/// What is wrong with what says where Redis is.
#[derive(Debug)]
pub(crate) enum TargetError {
    /// Not a URL, or of something else.
    Url,
    /// Several without a cluster.
    Several,
    /// A cluster has neither unix sockets nor databases.
    ClusterUrl,
    /// Certificates for a connection without TLS.
    CaWithoutTls,
    /// Files that cannot be read.
    File(PathBuf, io::Error),
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetError::Url => write!(
                f,
                "--redis takes redis://HOST:PORT, rediss://HOST:PORT (TLS) or unix:///PATH"
            ),
            TargetError::Several => write!(f, "several --redis need --cluster"),
            TargetError::ClusterUrl => {
                write!(f, "a cluster has neither unix sockets nor numbered databases")
            }
            TargetError::CaWithoutTls => write!(f, "--tls-ca is for rediss: URLs"),
            TargetError::File(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

/// Where Redis is.
#[derive(Debug)]
pub(crate) struct Target {
    nodes: Vec<ConnectionInfo>,
    is_cluster: bool,
    user: Option<String>,
    password_file: Option<PathBuf>,
    ca: Option<PathBuf>,
}

/// A connection, of which copies share the socket.
#[derive(Clone)]
pub(crate) enum Link {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Target {
    pub(crate) fn parse(options: &Agent) -> Result<Target, TargetError> {
        let nodes: Vec<ConnectionInfo> = options
            .redis
            .iter()
            .map(|url| url.as_str().into_connection_info().map_err(|_| TargetError::Url))
            .collect::<Result<_, _>>()?;
        let is_tls = |node: &ConnectionInfo| matches!(node.addr(), ConnectionAddr::TcpTls { .. });
        if nodes.len() > 1 && !options.cluster {
            return Err(TargetError::Several);
        }
        let odd = |node: &ConnectionInfo| {
            matches!(node.addr(), ConnectionAddr::Unix(_)) || node.redis_settings().db() != 0
        };
        if options.cluster && nodes.iter().any(odd) {
            return Err(TargetError::ClusterUrl);
        }
        if options.tls_ca.is_some() && !nodes.iter().all(is_tls) {
            return Err(TargetError::CaWithoutTls);
        }
        Ok(Target {
            nodes,
            is_cluster: options.cluster,
            user: options.user.clone(),
            password_file: options.password_file.clone(),
            ca: options.tls_ca.clone(),
        })
    }

    /// Tells what is unwise or cannot work, before anything is tried.
    pub(crate) fn check(&self) -> Result<(), TargetError> {
        if self.nodes.iter().any(|node| node.redis_settings().password().is_some()) {
            tracing::warn!(
                "the password in --redis can be read by everybody on this host; --password-file \
                 keeps it private"
            );
        }
        for path in self.password_file.iter().chain(&self.ca) {
            let failed = |error| TargetError::File(path.clone(), error);
            fs::File::open(path).map_err(failed)?;
        }
        if let Some(path) = &self.password_file
            && fs::metadata(path).is_ok_and(|file| file.mode() & 0o007 != 0)
        {
            tracing::warn!("{} can be read by everybody on this host", path.display());
        }
        Ok(())
    }

    /// Tells one Redis from another.
    pub(crate) fn identity(&self) -> String {
        let database = |node: &ConnectionInfo| node.redis_settings().db();
        let mut nodes: Vec<String> =
            self.nodes.iter().map(|node| format!("{}/{}", node.addr(), database(node))).collect();
        nodes.sort();
        nodes.join(",")
    }

    /// A connection that answers, of its own. `patience` is how long Redis will be asked to wait.
    pub(crate) async fn connect(&self, patience: Duration) -> Result<Link, Failure> {
        let connecting = async {
            if self.is_cluster { self.cluster(patience).await } else { self.single(patience).await }
        };
        // Names are looked up, certificates read, passwords checked: each with no limit of its own.
        tokio::time::timeout(CONNECT * 2, connecting).await.unwrap_or(Err(Failure::silence()))
    }

    async fn single(&self, patience: Duration) -> Result<Link, Failure> {
        let node = self.nodes.first().ok_or(Failure::silence())?;
        let info = self.with_credentials(node)?;
        let client = match self.certificates()? {
            Some(certificates) => Client::build_with_tls(info, certificates)?,
            None => Client::open(info)?,
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(patience + ANSWER));
        Ok(Link::Single(client.get_multiplexed_async_connection_with_config(&config).await?))
    }

    async fn cluster(&self, patience: Duration) -> Result<Link, Failure> {
        let nodes: Vec<ConnectionInfo> =
            self.nodes.iter().map(|node| self.with_credentials(node)).collect::<Result<_, _>>()?;
        let mut builder = ClusterClient::builder(nodes)
            .connection_timeout(CONNECT)
            .response_timeout(patience + ANSWER)
            .tcp_settings(TcpSettings::default().set_nodelay(true))
            // For an entry that moved to another node; what lasts longer is ours to try again.
            .retries(3)
            .max_retry_wait(200);
        if let Some(certificates) = self.certificates()? {
            builder = builder.certs(certificates);
        }
        Ok(Link::Cluster(builder.build()?.get_async_connection().await?))
    }

    fn certificates(&self) -> Result<Option<TlsCertificates>, Failure> {
        let Some(path) = &self.ca else { return Ok(None) };
        let root_cert = Some(fs::read(path).map_err(|error| unreadable(path, &error))?);
        Ok(Some(TlsCertificates { client_tls: None, root_cert }))
    }

    fn with_credentials(&self, node: &ConnectionInfo) -> Result<ConnectionInfo, Failure> {
        let mut settings = node
            .redis_settings()
            .clone()
            // What we parse.
            .set_protocol(ProtocolVersion::RESP2)
            // One command less that a user must be allowed.
            .set_skip_set_lib_name();
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        if let Some(path) = &self.password_file {
            let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
            let text = Zeroizing::new(text);
            settings = settings.set_password(text.lines().next().unwrap_or_default());
        }
        let tcp = TcpSettings::default().set_nodelay(true);
        Ok(node.clone().set_redis_settings(settings).set_tcp_settings(tcp))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, node) in self.nodes.iter().enumerate() {
            let between = if number == 0 { "" } else { ", " };
            write!(f, "{between}{}", node.addr())?;
        }
        Ok(())
    }
}

fn unreadable(path: &std::path::Path, error: &io::Error) -> Failure {
    Failure::new(RedisState::Denied, &format!("{}: {error}", path.display()))
}

impl Link {
    pub(crate) async fn ask(&mut self, command: &Cmd) -> Result<Value, Failure> {
        let answer = match self {
            Link::Single(connection) => command.query_async(connection).await,
            Link::Cluster(connection) => command.query_async(connection).await,
        };
        Ok(answer?)
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
        let unix = target(&["--redis", "unix:///x", "--cluster"]);
        assert!(matches!(unix, Err(TargetError::ClusterUrl)));
        let ca = target(&["--redis", "redis://a", "--tls-ca", "/x"]);
        assert!(matches!(ca, Err(TargetError::CaWithoutTls)));
    }

    #[test]
    fn databases_are_different_places() {
        let identity = |url| target(&["--redis", url]).unwrap().identity();
        assert_ne!(identity("redis://a/1"), identity("redis://a/2"));
        assert_eq!(identity("redis://u:p@a"), identity("redis://a"));
        assert!(!identity("redis://u:secret@a").contains("secret"));
    }
}

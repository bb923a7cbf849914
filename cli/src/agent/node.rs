//! A connection to one server of Redis, alone or as a node of a cluster.
//!
//! Without TLS the client library makes it. With TLS it is made here, because the library's TLS
//! has no place for our rules about certificates.
//!
//! The client of a cluster chooses the node for a command, and follows a redirection without a
//! word. So a connection marks its answers to XADD with its own number.

use super::cause::{NO_TLS, ONLY_TLS};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::Connect;
use redis::{
    Arg, AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo, Pipeline, RedisError, RedisFuture, RedisResult, Value, cmd,
};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The longest time that making a connection may take.
pub(super) const CONNECT: Duration = Duration::from_secs(3);

/// How long a failed connection to a node is remembered.
const REMEMBER: Duration = Duration::from_secs(10);

/// The cluster, for the connections to its nodes.
struct Cluster {
    tls: Option<Arc<ClientConfig>>,
    /// The addresses that the operator gave.
    given: Vec<String>,
    /// Addresses at which no connection could be made, and when and why.
    failed: BTreeMap<String, (Instant, String)>,
}

/// It is a static because the library makes the connections to nodes by itself, at any time, and
/// hands on nothing of ours. An agent has one cluster.
static CLUSTER: Mutex<Cluster> =
    Mutex::new(Cluster { tls: None, given: Vec::new(), failed: BTreeMap::new() });

fn cluster() -> MutexGuard<'static, Cluster> {
    CLUSTER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the TLS of connections to nodes of the cluster from now on, and the addresses that the
/// operator gave.
pub(super) fn set_cluster(tls: Option<Arc<ClientConfig>>, given: Vec<String>) {
    let mut cluster = cluster();
    (cluster.tls, cluster.given) = (tls, given);
}

/// An address that only the cluster told us and at which no connection can be made, and why. The
/// library says no more than that it has no connection.
pub(super) fn unreachable_node() -> Option<String> {
    let cluster = cluster();
    let mut failed = cluster.failed.iter();
    let (address, (_, why)) = failed.find(|(address, (when, _))| {
        when.elapsed() < REMEMBER && !cluster.given.contains(address)
    })?;
    Some(format!("the cluster announces {address}, where no connection can be made: {why}"))
}

/// The number of the last connection.
static LAST: AtomicI64 = AtomicI64::new(0);

/// A connection. Copies of it share the socket.
#[derive(Clone)]
pub(super) struct Node {
    connection: MultiplexedConnection,
    /// From 1, another one for each connection.
    number: i64,
}

/// The number of the connection that gave an answer to XADD, and what Redis said.
pub(super) fn answer(answer: &Value) -> (i64, &Value) {
    match answer {
        Value::Array(parts) => match parts.as_slice() {
            [Value::Int(number), said] => (*number, said),
            _ => (0, answer),
        },
        _ => (0, answer),
    }
}

impl Node {
    /// Connects and logs in. `tls` is for the addresses that need it.
    pub(super) async fn connect(
        info: ConnectionInfo,
        config: AsyncConnectionConfig,
        tls: Option<Arc<ClientConfig>>,
    ) -> RedisResult<Node> {
        let connection = match info.addr() {
            ConnectionAddr::TcpTls { host, port, .. } => {
                let tls = tls.ok_or_else(|| invalid("TLS without its settings"))?;
                let mut is_there = false;
                let made = timeout(CONNECT, async {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    is_there = true;
                    connect_tls(host, stream, &info, config, tls).await
                });
                let made = made.await;
                // Redis without TLS waits for more than a ClientHello.
                made.map_err(|_| if is_there { no_answer(NO_TLS) } else { silent() })??
            }
            ConnectionAddr::Tcp(..) => connect_plain(info, config).await?,
            _ => Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await?,
        };
        Ok(Node { connection, number: LAST.fetch_add(1, Relaxed) + 1 })
    }
}

/// Connects without TLS, and asks for the time: a port that speaks TLS ends such a connection then.
async fn connect_plain(
    info: ConnectionInfo,
    config: AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    let connect = async {
        let client = Client::open(info)?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        match connection.send_packed_command(&cmd("TIME")).await {
            // Any other answer is one.
            Err(error) if error.is_io_error() => Err(error),
            _ => Ok(connection),
        }
    };
    connect.await.map_err(|error: RedisError| match error.is_connection_dropped() {
        true if !error.is_timeout() && !error.is_connection_refusal() => {
            RedisError::from(io::Error::new(io::ErrorKind::ConnectionReset, ONLY_TLS))
        }
        _ => error,
    })
}

/// Speaks TLS over a connection.
async fn connect_tls(
    host: &str,
    stream: TcpStream,
    info: &ConnectionInfo,
    config: AsyncConnectionConfig,
    tls: Arc<ClientConfig>,
) -> RedisResult<MultiplexedConnection> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| invalid("the host's name is no name that a certificate can have"))?;
    stream.set_nodelay(true)?;
    let stream = TlsConnector::from(tls).connect(name, stream).await?;
    let settings = info.redis_settings();
    let (connection, work) =
        MultiplexedConnection::new_with_config(settings, stream, config).await?;
    // It ends when the last copy of the connection is dropped.
    tokio::spawn(work);
    Ok(connection)
}

/// No answer in time.
pub(super) fn silent() -> RedisError {
    RedisError::from(io::Error::from(io::ErrorKind::TimedOut))
}

fn no_answer(why: &'static str) -> RedisError {
    RedisError::from(io::Error::new(io::ErrorKind::TimedOut, why))
}

fn invalid(text: &'static str) -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, text))
}

impl Connect for Node {
    fn connect_with_config<'a, T>(info: T, config: AsyncConnectionConfig) -> RedisFuture<'a, Self>
    where
        T: IntoConnectionInfo + Send + 'a,
    {
        let tls = cluster().tls.clone();
        Box::pin(async move {
            let info = info.into_connection_info()?;
            let address = info.addr().to_string();
            let result = Node::connect(info, config, tls).await;
            let failed = &mut cluster().failed;
            failed.retain(|_, (when, _)| when.elapsed() < REMEMBER);
            match &result {
                Ok(_) => drop(failed.remove(&address)),
                Err(error) => drop(failed.insert(address, (Instant::now(), error.to_string()))),
            }
            result
        })
    }
}

impl ConnectionLike for Node {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        let is_marked = matches!(command.args_iter().next(), Some(Arg::Simple(b"XADD")));
        let asked = self.connection.req_packed_command(command);
        let number = Value::Int(self.number);
        Box::pin(async move {
            let said = asked.await?;
            Ok(if is_marked { Value::Array(vec![number, said]) } else { said })
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.connection.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}

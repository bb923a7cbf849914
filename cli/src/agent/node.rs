//! A connection to one server of Redis, alone or as a node of a cluster.
//!
//! Without TLS the client library makes it. With TLS it is made here, because the library's TLS
//! has no place for our rules about certificates.
//!
//! The client of a cluster chooses the node for a command, and follows a redirection without a
//! word. So a connection marks its answers to XADD with its own number.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::Connect;
use redis::{
    Arg, AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo, Pipeline, RedisError, RedisFuture, RedisResult, Value,
};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The longest time that making a connection may take.
pub(super) const CONNECT: Duration = Duration::from_secs(3);

/// The TLS of connections to nodes of a cluster, as the newest connection to the cluster set it.
///
/// It is a static because the library makes these connections by itself, at any time, and hands on
/// nothing of ours. An agent has one cluster.
static CLUSTER_TLS: Mutex<Option<Arc<ClientConfig>>> = Mutex::new(None);

/// Sets the TLS of connections to nodes of the cluster from now on.
pub(super) fn set_cluster_tls(config: Option<Arc<ClientConfig>>) {
    *CLUSTER_TLS.lock().unwrap_or_else(PoisonError::into_inner) = config;
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
                let made = connect_tls(host, *port, &info, config, tls);
                timeout(CONNECT, made).await.map_err(|_| silent())??
            }
            _ => Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await?,
        };
        Ok(Node { connection, number: LAST.fetch_add(1, Relaxed) + 1 })
    }
}

async fn connect_tls(
    host: &str,
    port: u16,
    info: &ConnectionInfo,
    config: AsyncConnectionConfig,
    tls: Arc<ClientConfig>,
) -> RedisResult<MultiplexedConnection> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| invalid("the host's name is no name that a certificate can have"))?;
    let stream = TcpStream::connect((host, port)).await?;
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
    RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))
}

fn invalid(text: &'static str) -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, text))
}

impl Connect for Node {
    fn connect_with_config<'a, T>(info: T, config: AsyncConnectionConfig) -> RedisFuture<'a, Self>
    where
        T: IntoConnectionInfo + Send + 'a,
    {
        let tls = CLUSTER_TLS.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move { Node::connect(info.into_connection_info()?, config, tls).await })
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

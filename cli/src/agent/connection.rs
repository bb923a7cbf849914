//! Connections to Redis: how they are made, and the commands sent over them.
//!
//! Passwords and certificates are read for each connection, so that new ones need no restart. No
//! log line and no error contains a password.

use super::failure::{Failure, RedisState};
use super::node::{self, CONNECT, Node};
use super::sentinel::Service;
use super::target::Target;
use super::tls::unusable;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisError, RedisResult, Value,
};
use rustls::ClientConfig;
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// The longest time that an answer may take, beyond the time that Redis was asked to wait.
const ANSWER: Duration = Duration::from_secs(3);

/// The longest time that a Sentinel may take.
const ASK_SENTINEL: Duration = Duration::from_secs(1);

/// A connection. Copies of it share the socket.
#[derive(Clone)]
pub(crate) enum Connection {
    Single(Node),
    Cluster(ClusterConnection<Node>),
}

impl Target {
    /// Makes a connection and waits for its first answer. `patience` is the longest time that a
    /// command will ask Redis to wait.
    pub(crate) async fn connect(&self, patience: Duration) -> Result<Connection, Failure> {
        let connecting = async {
            if self.is_cluster { self.cluster(patience).await } else { self.single(patience).await }
        };
        // The lookup of names, TLS and the login have no time limit of their own.
        timeout(CONNECT * 2, connecting).await.unwrap_or_else(|_| Err(at_node(Failure::silence())))
    }

    async fn single(&self, patience: Duration) -> Result<Connection, Failure> {
        let tls = self.tls_config()?;
        let info = match &self.service {
            Some(service) => self.master(service, tls.clone()).await?,
            None => self.nodes.first().ok_or(Failure::silence())?.clone(),
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(patience + ANSWER));
        let info = self.with_credentials(&info)?;
        Ok(Connection::Single(Node::connect(info, config, tls).await?))
    }

    /// Asks the Sentinels, one after the other, which Redis is the master now.
    async fn master(
        &self,
        service: &Service,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<ConnectionInfo, Failure> {
        let mut result = Err(Failure::silence());
        for number in service.order(self.nodes.len()) {
            let Some(sentinel) = self.nodes.get(number) else { continue };
            let asked = ask_sentinel(prepared(sentinel), service, tls.clone());
            // So that the next one can be asked in time.
            let answer = timeout(ASK_SENTINEL, asked).await.unwrap_or_else(|_| Err(node::silent()));
            result = service.address(answer).map(|(host, port)| {
                let login = RedisConnectionInfo::default().set_db(service.database);
                let address = match sentinel.addr() {
                    ConnectionAddr::TcpTls { .. } => {
                        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
                    }
                    _ => ConnectionAddr::Tcp(host, port),
                };
                sentinel.clone().set_addr(address).set_redis_settings(login)
            });
            if result.is_ok() {
                break;
            }
        }
        result
    }

    async fn cluster(&self, patience: Duration) -> Result<Connection, Failure> {
        let nodes: Vec<ConnectionInfo> =
            self.nodes.iter().map(|node| self.with_credentials(node)).collect::<Result<_, _>>()?;
        let given = self.nodes.iter().map(|node| node.addr().to_string()).collect();
        node::set_cluster(self.tls_config()?, given);
        let client = ClusterClient::builder(nodes)
            .connection_timeout(CONNECT)
            .response_timeout(patience + ANSWER)
            .tcp_settings(TcpSettings::default().set_nodelay(true))
            // Retries for an entry that moved to another node. Our callers retry after longer
            // failures.
            .retries(3)
            .max_retry_wait(200)
            .build()?;
        let connection = client.get_async_generic_connection().await.map_err(cluster_failure)?;
        Ok(Connection::Cluster(connection))
    }

    fn tls_config(&self) -> Result<Option<Arc<ClientConfig>>, Failure> {
        self.is_tls().then(|| self.tls.config().map(Arc::new)).transpose()
    }

    fn with_credentials(&self, node: &ConnectionInfo) -> Result<ConnectionInfo, Failure> {
        let node = prepared(node);
        let mut settings = node.redis_settings().clone();
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        if let Some(path) = &self.password_file {
            let text = fs::read_to_string(path).map_err(|error| unusable(path, &error))?;
            let text = Zeroizing::new(text);
            settings = settings.set_password(text.lines().next().unwrap_or_default());
        }
        Ok(node.set_redis_settings(settings))
    }
}

/// How we speak to any node.
fn prepared(node: &ConnectionInfo) -> ConnectionInfo {
    let settings = node
        .redis_settings()
        .clone()
        // The code that reads answers expects RESP2.
        .set_protocol(ProtocolVersion::RESP2)
        // So a user needs no permission for CLIENT SETINFO.
        .set_skip_set_lib_name();
    let tcp = TcpSettings::default().set_nodelay(true);
    node.clone().set_redis_settings(settings).set_tcp_settings(tcp)
}

fn cluster_failure(error: RedisError) -> Failure {
    at_node(Failure::of_cluster(error))
}

/// The failure, which names the node that a cluster announces if that is the reason.
fn at_node(failure: Failure) -> Failure {
    match node::unreachable_node() {
        Some(text) if failure.state == RedisState::Unreachable => failure.with_text(&text),
        _ => failure,
    }
}

async fn ask_sentinel(
    sentinel: ConnectionInfo,
    service: &Service,
    tls: Option<Arc<ClientConfig>>,
) -> RedisResult<Value> {
    let mut node = Node::connect(sentinel, AsyncConnectionConfig::new(), tls).await?;
    service.question().query_async(&mut node).await
}

impl Connection {
    pub(crate) async fn ask(&mut self, command: &Cmd) -> Result<Value, Failure> {
        let answer = match self {
            Connection::Single(connection) => {
                command.query_async(connection).await.map_err(Failure::from)
            }
            Connection::Cluster(connection) => {
                command.query_async(connection).await.map_err(cluster_failure)
            }
        };
        answer.map_err(|failure| failure.at_key(command))
    }

    /// Asks Redis, or all masters of a cluster.
    pub(crate) async fn ask_all(&mut self, command: &Cmd) -> Result<Vec<Value>, Failure> {
        let Connection::Cluster(connection) = self else {
            return Ok(vec![self.ask(command).await?]);
        };
        let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        match connection.route_command(command.clone(), all).await? {
            Value::Map(answers) => Ok(answers.into_iter().map(|(_, answer)| answer).collect()),
            _ => Ok(Vec::new()),
        }
    }
}

//! The server of /metrics and /healthz.

use super::exposition::Exposition;
use super::health::Health;
use super::store_metrics::CurrentStore;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The most connections at a time. One more ends the oldest, because a page is served at once: a
/// connection that stays is idle, or a client that does not read.
const MOST_CONNECTIONS: usize = 16;
/// The longest time until a request has arrived, and of a whole connection.
const ASK: Duration = Duration::from_secs(5);
const STAY: Duration = Duration::from_secs(60);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// A task that ends with this handle.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The server, with everything that its pages show.
#[derive(Debug)]
pub(crate) struct HttpServer {
    pub(crate) exposition: Exposition,
    pub(crate) health: Arc<Health>,
    pub(crate) current_store: Arc<CurrentStore>,
}

impl HttpServer {
    /// Serves until the future is dropped.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let server = Arc::new(self);
        let mut connections = VecDeque::new();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    connections.retain(|one: &AbortOnDrop| !one.0.is_finished());
                    while connections.len() >= MOST_CONNECTIONS {
                        connections.pop_front();
                    }
                    let server = Arc::clone(&server);
                    connections.push_back(AbortOnDrop(tokio::spawn(async move {
                        // A client that does not speak HTTP is of no interest.
                        let _ = timeout(STAY, server.serve_connection(stream)).await;
                    })));
                }
                // The process is out of descriptors, or the like, which passes.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn serve_connection(self: Arc<Self>, stream: TcpStream) -> Result<(), hyper::Error> {
        let service = service_fn(move |request| {
            let response = self.respond(&request);
            async { Ok::<_, Infallible>(response) }
        });
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(ASK)
            .serve_connection(TokioIo::new(stream), service)
            .await
    }

    fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "GET or HEAD\n".into());
        }
        match request.uri().path() {
            "/metrics" => match self.exposition.text() {
                Ok(metrics) => text(StatusCode::OK, OPEN_METRICS, metrics),
                Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "no metrics\n".into()),
            },
            "/healthz" => match self.problem() {
                None => text(StatusCode::OK, PLAIN, "ok\n".into()),
                Some(line) => text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, line + "\n"),
            },
            _ => text(StatusCode::NOT_FOUND, PLAIN, "/metrics or /healthz\n".into()),
        }
    }

    fn problem(&self) -> Option<String> {
        if self.current_store.get().is_none() {
            return Some("the store is not there".into());
        }
        self.health.problem()
    }
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    if let Ok(kind) = kind.parse() {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}

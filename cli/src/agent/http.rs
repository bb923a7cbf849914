//! The server of /metrics, /live and /ready.

use super::accept::{self, Format};
use super::error::AgentError;
use super::exposition::Exposition;
use super::health::Health;
use super::settings::Local;
use super::shared::Monitoring;
use super::store_metrics::CurrentStore;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, VARY};
use hyper::http::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// The most connections at a time. One more ends the oldest, because a page is served at once: a
/// connection that stays is idle, or a client that does not read.
const MOST_CONNECTIONS: usize = 16;
/// The longest time until a request has arrived, and of a whole connection.
const ASK: Duration = Duration::from_secs(5);
const STAY: Duration = Duration::from_secs(60);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
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
struct HttpServer {
    exposition: Exposition,
    /// Of the agent with Redis.
    health: Option<Arc<Health>>,
    current_store: Arc<CurrentStore>,
}

/// Serves the pages at the address of the settings, if there is one, until the set is dropped.
/// `monitoring`: of an agent with Redis.
///
/// # Errors
/// The address cannot be bound.
pub(crate) async fn start(
    local: &Local,
    monitoring: Option<&Monitoring>,
    current_store: &Arc<CurrentStore>,
) -> Result<JoinSet<()>, AgentError> {
    let mut tasks = JoinSet::new();
    let Some(address) = &local.metrics else { return Ok(tasks) };
    let failed = |error| AgentError::Metrics(address.clone(), error);
    let listeners = address.listen().await.map_err(failed)?;
    let server = Arc::new(HttpServer {
        exposition: Exposition::new(local, monitoring, current_store),
        health: monitoring.map(|monitoring| Arc::clone(&monitoring.health)),
        current_store: Arc::clone(current_store),
    });
    for listener in listeners {
        tasks.spawn(Arc::clone(&server).serve(listener));
    }
    Ok(tasks)
}

impl HttpServer {
    async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut connections = VecDeque::new();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    connections.retain(|one: &AbortOnDrop| !one.0.is_finished());
                    while connections.len() >= MOST_CONNECTIONS {
                        connections.pop_front();
                    }
                    let server = Arc::clone(&self);
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
            "/metrics" => self.metrics(request),
            "/live" => verdict(self.stuck()),
            "/ready" | "/healthz" => verdict(self.problem()),
            _ => text(StatusCode::NOT_FOUND, PLAIN, "/metrics, /live or /ready\n".into()),
        }
    }

    fn metrics(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let wanted: Vec<&str> = request
            .headers()
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let format = accept::format(&wanted.join(","));
        let kind = match format {
            Format::OpenMetrics => OPEN_METRICS,
            Format::Text => PROMETHEUS,
        };
        let mut response = match self.exposition.text(format) {
            Ok(metrics) => text(StatusCode::OK, kind, metrics),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "no metrics\n".into()),
        };
        response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
        response
    }

    /// The reason why the agent does not do its work now.
    fn problem(&self) -> Option<String> {
        if self.current_store.get().is_none() {
            return Some("the store is not there".into());
        }
        self.health.as_ref().and_then(|health| health.problem())
    }

    /// The reason to start the agent again. Neither a missing store nor Redis is one.
    fn stuck(&self) -> Option<String> {
        self.current_store.get()?;
        self.health.as_ref().and_then(|health| health.stuck())
    }
}

fn verdict(problem: Option<String>) -> Response<Full<Bytes>> {
    match problem {
        None => text(StatusCode::OK, PLAIN, "ok\n".into()),
        Some(line) => text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, line + "\n"),
    }
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

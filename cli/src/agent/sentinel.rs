//! Redis Sentinel: its URLs, and the question which Redis is the master now.
//!
//! The question is asked for each connection, so a failover needs nothing else: the old master
//! refuses an entry or is away, and the next connection goes to the new one.

use super::failure::{Failure, RedisState};
use redis::{Cmd, ConnectionInfo, IntoConnectionInfo, RedisResult, Value, cmd};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// The port of a Sentinel whose URL has none.
const PORT: u16 = 26379;

/// A service that Sentinels watch.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: String,
    /// The number of the database in the master.
    pub(super) database: i64,
    /// The Sentinel to ask first. It changes each time, because one that is cut off from the others
    /// answers with the old master.
    first: AtomicUsize,
}

/// Whether these are URLs of Sentinels.
pub(super) fn is_url(urls: &[String]) -> bool {
    urls.first().is_some_and(|url| split_scheme(url).is_some())
}

/// The scheme of the same URL without Sentinels, and the rest.
fn split_scheme(url: &str) -> Option<(&'static str, &str)> {
    let tls = url.strip_prefix("rediss+sentinel://").map(|rest| ("rediss", rest));
    tls.or_else(|| Some(("redis", url.strip_prefix("redis+sentinel://")?)))
}

/// Parses `redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DATABASE`, which was split at its commas,
/// or several such URLs. `None` if it is no such thing.
pub(super) fn parse(urls: &[String]) -> Option<(Vec<ConnectionInfo>, Service)> {
    let (scheme, _) = split_scheme(urls.first()?)?;
    let mut nodes = Vec::new();
    let mut found: Option<&str> = None;
    for url in urls {
        let rest = match split_scheme(url) {
            Some((one, rest)) if one == scheme => rest,
            None if !url.contains("://") => url,
            _ => return None,
        };
        let (node, service) = rest.split_once('/').unwrap_or((rest, ""));
        nodes.push(parse_node(scheme, node)?);
        if !service.is_empty() && *found.get_or_insert(service) != service {
            return None;
        }
    }
    let (name, database) = found?.split_once('/').unwrap_or((found?, "0"));
    let is_named = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    let database = database.parse().ok().filter(|number| *number >= 0)?;
    let service = Service { name: name.to_owned(), database, first: AtomicUsize::new(0) };
    is_named.then_some((nodes, service))
}

fn parse_node(scheme: &str, node: &str) -> Option<ConnectionInfo> {
    let host = node.rsplit_once('@').map_or(node, |(_, host)| host);
    let after_address = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
    let port = if after_address.contains(':') { String::new() } else { format!(":{PORT}") };
    format!("{scheme}://{node}{port}").into_connection_info().ok().filter(|_| !host.is_empty())
}

impl Service {
    /// The numbers of the Sentinels, in the order in which to ask them.
    pub(super) fn order(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let first = self.first.fetch_add(1, Relaxed);
        (0..count).map(move |number| first.wrapping_add(number) % count)
    }

    pub(super) fn question(&self) -> Cmd {
        let mut ask = cmd("SENTINEL");
        ask.arg("get-master-addr-by-name").arg(&self.name);
        ask
    }

    /// The master's address in a Sentinel's answer.
    pub(super) fn address(&self, answer: RedisResult<Value>) -> Result<(String, u16), Failure> {
        let answer = answer.map_err(|error| {
            let failure = Failure::from(error);
            let text = format!("Sentinel: {}", failure.text());
            failure.with_text(&text)
        })?;
        if answer == Value::Nil {
            let text = format!("Sentinel does not know the service {}", self.name);
            return Err(Failure::new(RedisState::Refused, &text));
        }
        redis::from_redis_value::<(String, u16)>(answer)
            .map_err(|_| Failure::new(RedisState::Refused, "Sentinel did not return an address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Option<(Vec<String>, String, i64)> {
        let urls: Vec<String> = url.split(',').map(str::to_owned).collect();
        let (nodes, service) = parse(&urls)?;
        let nodes = nodes.iter().map(|node| node.addr().to_string()).collect();
        Some((nodes, service.name, service.database))
    }

    #[test]
    fn a_url_names_sentinels_and_a_service() {
        let one = parsed("redis+sentinel://a/main").unwrap();
        assert_eq!(one, (vec!["a:26379".into()], "main".into(), 0));
        let joined = parsed("rediss+sentinel://a:1,u:p@b,c:3/main/2").unwrap();
        let nodes = ["a:1", "b:26379", "c:3"].map(str::to_owned).to_vec();
        assert_eq!(joined, (nodes, "main".into(), 2));
        let repeated = "redis+sentinel://a/main,redis+sentinel://b/main";
        assert_eq!(parsed(repeated).unwrap().0, ["a:26379", "b:26379"]);
        for wrong in [
            "redis+sentinel://a",
            "redis+sentinel:///main",
            "redis+sentinel://a/ma in",
            "redis+sentinel://a/main/x",
            "redis+sentinel://a/main/-1",
            "redis+sentinel://a/main,redis+sentinel://b/other",
            "redis+sentinel://a/main,rediss+sentinel://b/main",
            "redis+sentinel://a/main,redis://b",
            "redis://a/main",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn each_time_another_is_asked_first() {
        let (_, service) = parse(&["redis+sentinel://a/main".to_owned()]).unwrap();
        let order = || service.order(3).collect::<Vec<_>>();
        assert_eq!([order(), order(), order()], [[0, 1, 2], [1, 2, 0], [2, 0, 1]]);
        assert_eq!(service.order(0).count(), 0);
    }
}

//! The settings of the agent: the command line, checked.

use super::notes::MOST_STREAMS;
use super::target::{Target, TargetError};
use crate::address::Address;
use crate::arguments::Agent;
use crate::store_folder;
use crate::time::{self, NotATime};
use sesscache_core::store::{Medium, StoreUrl, UrlError};
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

/// With a shorter retention, a host that reconnects would miss too much.
const LEAST_RETENTION: Duration = Duration::from_secs(10);
/// A year is more than any session lives.
const MOST_RETENTION: Duration = Duration::from_secs(366 * 24 * 60 * 60);
pub(super) const MOST_NAME_BYTES: usize = 100;

/// Errors of the command line.
#[derive(Debug)]
pub(crate) enum AgentSettingsError {
    /// --store is a malformed URL.
    Store(UrlError),
    /// --store is in the memory of a server.
    Memory,
    /// --retention is no time, or out of range.
    Retention(String),
    /// --name has characters with a meaning in a key.
    Name(String),
    /// --redis, or an option that belongs to it, is wrong.
    Target(TargetError),
}

impl fmt::Display for AgentSettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AgentSettingsError::Store(error) => write!(f, "{error}"),
            AgentSettingsError::Memory => {
                write!(f, "a shm: store is seen only by its server; the agent needs a file: store")
            }
            AgentSettingsError::Retention(text) => {
                write!(f, "--retention {text}: a time like 90s, 30m, 1h or 2d, at least 10s")
            }
            AgentSettingsError::Name(text) => write!(
                f,
                "--name {text:?}: letters, digits and -._ only, at most {MOST_NAME_BYTES}"
            ),
            AgentSettingsError::Target(error) => write!(f, "{error}"),
        }
    }
}

/// The settings that have nothing to do with Redis.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub(crate) store: PathBuf,
    pub(crate) name: String,
    pub(crate) metrics: Option<Address>,
}

impl Local {
    pub(crate) fn of(options: &Agent) -> Result<Local, AgentSettingsError> {
        let store = store(&options.store)?;
        let name = match &options.name {
            Some(name) if is_name(name) => name.clone(),
            Some(name) => return Err(AgentSettingsError::Name(name.clone())),
            None => store_folder::name_of(&store),
        };
        Ok(Local { store, name, metrics: options.metrics.clone() })
    }
}

/// The settings.
#[derive(Debug)]
pub(crate) struct AgentSettings {
    pub(crate) local: Local,
    pub(crate) target: Target,
    pub(crate) streams: usize,
    pub(crate) retention: Duration,
    /// What this host is called by others, if not by the system's name.
    pub(crate) host: Option<String>,
    pub(crate) once: bool,
}

impl AgentSettings {
    pub(crate) fn of(options: &Agent) -> Result<AgentSettings, AgentSettingsError> {
        let local = Local::of(options)?;
        let retention = retention(&options.retention)
            .map_err(|NotATime| AgentSettingsError::Retention(options.retention.clone()))?;
        Ok(AgentSettings {
            local,
            target: Target::parse(options).map_err(AgentSettingsError::Target)?,
            streams: usize::from(options.streams).clamp(1, MOST_STREAMS),
            retention,
            host: options.host.clone(),
            once: options.once,
        })
    }

    /// A hash of the settings on which the notes in the store depend: FNV-1a, never 0.
    pub(crate) fn hash(&self) -> u64 {
        let text = format!("{}\n{}\n{}", self.local.name, self.streams, self.target.identity());
        let hash = text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        hash.max(1)
    }
}

fn store(text: &OsStr) -> Result<PathBuf, AgentSettingsError> {
    let url = text.to_string_lossy();
    if url.starts_with("file:") || url.starts_with("shm:") {
        return match StoreUrl::parse(&url).map_err(AgentSettingsError::Store)?.medium {
            Medium::File(path) => Ok(path),
            Medium::Memory => Err(AgentSettingsError::Memory),
        };
    }
    Ok(absolute(text).unwrap_or_else(|_| Path::new(text).to_owned()))
}

/// Whether a host may have this name.
pub(super) fn is_name(text: &str) -> bool {
    let fits = (1..=MOST_NAME_BYTES).contains(&text.len());
    fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// The time after which entries leave the streams.
fn retention(text: &str) -> Result<Duration, NotATime> {
    let time = time::parse(text)?;
    if (LEAST_RETENTION..=MOST_RETENTION).contains(&time) { Ok(time) } else { Err(NotATime) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Arguments, Command};
    use clap::Parser;

    fn settings(words: &[&str]) -> Result<AgentSettings, AgentSettingsError> {
        let words = [&["sesscache", "agent", "--redis", "redis://a"], words].concat();
        match Arguments::try_parse_from(words).unwrap().command {
            Command::Agent(options) => AgentSettings::of(&options),
            _ => unreachable!(),
        }
    }

    #[test]
    fn entries_stay_from_ten_seconds_to_a_year() {
        for (text, seconds) in [("10s", 10), ("1h", 3600), ("366d", 366 * 86_400)] {
            assert_eq!(retention(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "9s", "367d", "9999d"] {
            assert_eq!(retention(text), Err(NotATime), "{text}");
        }
    }

    #[test]
    fn the_name_is_that_of_the_store() {
        let found = settings(&["--store", "file:/run/sesscache/web?size=64MiB"]).unwrap();
        assert_eq!(
            (found.local.store.to_str(), found.local.name.as_str()),
            (Some("/run/sesscache/web"), "web")
        );
        assert_eq!(found.retention, Duration::from_secs(3600));
        assert_eq!(
            settings(&["--store", "/x", "--name", "web-1.eu"]).unwrap().local.name,
            "web-1.eu"
        );
    }

    #[test]
    fn what_is_wrong_is_told() {
        let error = |words: &[&str]| settings(words).unwrap_err();
        assert!(matches!(error(&["--store", "shm:"]), AgentSettingsError::Memory));
        assert!(matches!(error(&["--store", "file:x"]), AgentSettingsError::Store(UrlError::Path)));
        for name in ["", "a{b}", "a b", "a:b"] {
            assert!(matches!(
                error(&["--store", "/x", "--name", name]),
                AgentSettingsError::Name(_)
            ));
        }
        let short = error(&["--store", "/x", "--retention", "5s"]);
        assert!(matches!(short, AgentSettingsError::Retention(_)));
    }

    #[test]
    fn other_settings_have_another_hash() {
        let hash = |words: &[&str]| settings(&[&["--store", "/x"], words].concat()).unwrap().hash();
        assert_eq!(hash(&[]), hash(&["--name", "x", "--retention", "2h"]));
        assert_ne!(hash(&[]), hash(&["--streams", "5"]));
        assert_ne!(hash(&[]), hash(&["--name", "y"]));
    }
}

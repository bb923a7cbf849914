//! The command line: its options, the help that teaches them, and errors in one line.

mod examples;
#[cfg(test)]
mod pages;

use crate::address::Address;
use crate::time;
use crate::way::Way;
use clap::builder::{NonEmptyStringValueParser, OsStringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{ArgGroup, Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use examples::{
    AGENT_EXAMPLES, COMPLETIONS_EXAMPLES, DISABLE_EXAMPLES, DOCTOR_EXAMPLES, ENABLE_EXAMPLES,
    EXAMPLES, KEYGEN_EXAMPLES, PROBE_EXAMPLES, RATCHET_EXAMPLES, RUN_EXAMPLES, STATS_EXAMPLES,
};
use sesscache_core::store::{MOST_HOST_NAME, is_host_name};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Makes TLS sessions resume across workers, restarts and hosts: C servers on OpenSSL, unchanged.
#[derive(Debug, Parser)]
#[command(name = "sesscache", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Keygen(Keygen),
    Ratchet(Ratchet),
    Run(Run),
    Enable(Enable),
    Disable(Disable),
    Stats(Stats),
    Doctor(Doctor),
    Probe(Probe),
    Agent(Agent),
    Completions(Completions),
}

/// Make a key file, or change the keys of one
#[derive(Args, Debug)]
#[command(after_help = KEYGEN_EXAMPLES)]
pub(crate) struct Keygen {
    /// The key file: made with mode 0600, never overwritten
    pub(crate) file: PathBuf,
    /// Put a new key before those in the file; of 16 keys, the oldest is dropped
    #[arg(long, group = "change")]
    pub(crate) rotate: bool,
    /// Put a new key behind the first one, marked `next`: it opens and does not seal yet
    #[arg(long, group = "change")]
    pub(crate) next: bool,
    /// Make the key marked `next` the first one: it seals from now on
    #[arg(long, group = "change")]
    pub(crate) promote: bool,
    /// Keep the first N keys and drop those behind them, the oldest
    #[arg(long, group = "change", value_name = "N",
          value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) keep: Option<u8>,
    /// As for `ratchet`, because a change steps the keys on, too
    #[arg(long, value_name = "TIME", value_parser = time::seconds)]
    pub(crate) max_lifetime: Option<u32>,
}

/// Step key files on, so that nobody opens old sessions with them later
#[derive(Args, Debug)]
#[command(after_help = RATCHET_EXAMPLES)]
pub(crate) struct Ratchet {
    /// The key files
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// How long sessions live, as 90s, 1h or 7d [default: SESSCACHE_MAX_LIFETIME, or 1d]
    #[arg(long, value_name = "TIME", value_parser = time::seconds)]
    pub(crate) max_lifetime: Option<u32>,
    /// Step over more than 30 days at once: the clock is right
    #[arg(long)]
    pub(crate) force: bool,
}

/// Start a server with the library preloaded and a store for its sessions
#[derive(Args, Debug)]
#[command(after_help = RUN_EXAMPLES, override_usage = "sesscache run [OPTIONS] -- CMD [ARGS]...")]
pub(crate) struct Run {
    /// Where sessions are kept: file:/PATH or shm:, and ?size=64MiB [default: see below]
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// The keys that seal sessions [default: the store's path and .key, made if missing]
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Servers share sessions only within one namespace [default: empty]
    #[arg(long, value_name = "TEXT")]
    pub(crate) namespace: Option<OsString>,
    /// new_cb returned 0: `remove` or `keep` the session [default: see sesscache-run(1)]
    #[arg(long, value_name = "DO", value_parser = ["remove", "keep"], hide_possible_values = true)]
    pub(crate) new_cb_zero: Option<String>,
    /// The library, if it is not where this command expects it
    #[arg(long, value_name = "FILE")]
    pub(crate) library: Option<PathBuf>,
    /// Start CMD without asking whether it can be overlaid
    #[arg(long)]
    pub(crate) force: bool,
    /// The server and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// Give a server of systemd the library, a store and a key, from its next start on
#[derive(Args, Debug)]
#[command(after_help = ENABLE_EXAMPLES)]
pub(crate) struct Enable {
    /// nginx, haproxy, apache, dovecot, postfix or a unit
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) server: String,
    /// Say what would be made, and make nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The keys that seal sessions [default: /etc/sesscache/SERVER.key, made if missing]
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Servers share sessions only within one namespace [default: empty]
    #[arg(long, value_name = "TEXT")]
    pub(crate) namespace: Option<String>,
    /// The library, if it is not where this command expects it
    #[arg(long, value_name = "FILE")]
    pub(crate) library: Option<PathBuf>,
    /// Work on the file system in this folder; other paths are inside it
    #[arg(long, value_name = "PATH")]
    pub(crate) root: Option<PathBuf>,
}

/// Take away all that `enable` made
#[derive(Args, Debug)]
#[command(after_help = DISABLE_EXAMPLES)]
pub(crate) struct Disable {
    /// The name that `enable` was given
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) server: String,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Work on the file system in this folder
    #[arg(long, value_name = "PATH")]
    pub(crate) root: Option<PathBuf>,
}

/// Show the counters of a store
#[derive(Args, Debug)]
#[command(after_help = STATS_EXAMPLES)]
pub(crate) struct Stats {
    /// A store's path or file: URL [default: all in /run/sesscache and $XDG_RUNTIME_DIR/sesscache]
    #[arg(value_parser = OsStringValueParser::new().try_map(not_empty))]
    pub(crate) store: Option<OsString>,
    /// Print one JSON object, for programs
    #[arg(long)]
    pub(crate) json: bool,
    /// Show one store live, each second, until Ctrl-C
    #[arg(long, conflicts_with = "json")]
    pub(crate) watch: bool,
}

/// Say why the sessions of a running server do not resume
#[derive(Args, Debug)]
#[command(after_help = DOCTOR_EXAMPLES)]
pub(crate) struct Doctor {
    /// A process, unit or program [default: all with the library]
    #[arg(value_name = "PID | UNIT | COMMAND", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) server: Option<String>,
    /// Print one JSON object, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// Ask a server from outside what resumes, at each of its addresses
#[derive(Args, Debug)]
#[command(after_help = PROBE_EXAMPLES)]
pub(crate) struct Probe {
    /// A name or an IP address; the port is 443 unless it is given
    #[arg(value_name = "HOST[:PORT]", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) host: String,
    /// The server name to ask for (SNI) [default: HOST; none if that is an IP address]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Only this way to resume: tls1.2-id, tls1.2-ticket or tls1.3; may be repeated
    #[arg(long, value_name = "WAY", value_parser = way)]
    pub(crate) way: Vec<Way>,
    /// How many sessions to offer at each address in each way
    #[arg(long, value_name = "COUNT", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) count: u32,
    /// How long a connection may take, at most 1m
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = patience)]
    pub(crate) timeout: Duration,
    /// Print one JSON object, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

fn not_empty(text: OsString) -> Result<OsString, &'static str> {
    if text.is_empty() { Err("it is empty") } else { Ok(text) }
}

fn way(text: &str) -> Result<Way, &'static str> {
    let found = Way::ALL.into_iter().find(|way| way.name() == text);
    found.ok_or("tls1.2-id, tls1.2-ticket or tls1.3")
}

fn patience(text: &str) -> Result<Duration, &'static str> {
    let range = Duration::from_secs(1)..=Duration::from_secs(60);
    time::parse(text).ok().filter(|time| range.contains(time)).ok_or("a time from 1s to 1m")
}

/// Carry a store's sessions between hosts, through Redis or Valkey
#[derive(Args, Debug)]
#[command(after_help = AGENT_EXAMPLES)]
#[command(group = ArgGroup::new("purpose").args(["redis", "metrics"]).required(true).multiple(true))]
pub(crate) struct Agent {
    /// The store of this host's servers, a path or file: URL; waited for if missing
    #[arg(long, value_name = "STORE", value_parser = OsStringValueParser::new().try_map(not_empty))]
    pub(crate) store: OsString,
    /// A redis, rediss, unix or redis+sentinel URL; with --cluster one or more nodes
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub(crate) redis: Vec<String>,
    /// The nodes are of a Redis Cluster
    #[arg(long, requires = "redis")]
    pub(crate) cluster: bool,
    /// The user to log in as [default: the URL's, or Redis's default user]
    #[arg(long, value_name = "USER", requires = "redis")]
    pub(crate) user: Option<String>,
    /// A file with the user's password in its first line, read at each connection
    #[arg(long, value_name = "FILE", requires = "redis")]
    pub(crate) password_file: Option<PathBuf>,
    /// For rediss: trust the certificates in this PEM file instead of the system's
    #[arg(long, value_name = "FILE", requires = "redis")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// For rediss: show the certificate in this PEM file, read at each connection
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "redis"])]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert, in PEM, without a passphrase
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Hosts exchange sessions within one name [default: the store's file name]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// This host's name in what agents say of each other [default: the system's]
    #[arg(long, value_name = "NAME", requires = "redis", value_parser = host)]
    pub(crate) host: Option<String>,
    /// Streams to spread sessions over, the same on all hosts
    #[arg(long, value_name = "COUNT", default_value_t = 4, requires = "redis",
          value_parser = clap::value_parser!(u8).range(1..=63))]
    pub(crate) streams: u8,
    /// How long entries stay in streams: seconds, or with s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "1h", requires = "redis")]
    pub(crate) retention: String,
    /// Serve /metrics, /live and /ready there; without --redis that is all it does
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = Address::parse)]
    pub(crate) metrics: Option<Address>,
    /// Step the keys in FILE on every six hours, as `ratchet` does; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Vec<PathBuf>,
    /// With --key-file, as for `ratchet` [default: SESSCACHE_MAX_LIFETIME, or 1d]
    #[arg(long, value_name = "TIME", value_parser = time::seconds, requires = "key_file")]
    pub(crate) max_lifetime: Option<u32>,
    /// Send and apply all that is there, then end
    #[arg(long, requires = "redis")]
    pub(crate) once: bool,
}

fn host(text: &str) -> Result<String, String> {
    let is_good = is_host_name(text);
    is_good
        .then(|| text.to_owned())
        .ok_or_else(|| format!("letters, digits and -._ only, at most {MOST_HOST_NAME}"))
}

/// Print what a shell needs to complete these commands
#[derive(Args, Debug)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}

/// The text of clap's error, without the usage that clap puts below it.
pub(crate) fn one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let commands = Arguments::command();
        let names: Vec<&str> = commands.get_subcommands().map(clap::Command::get_name).collect();
        return format!("which command: {}? (see --help)", names.join(", "));
    }
    let text = error.to_string();
    let words: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty() && !line.starts_with("Usage:"))
        .collect();
    let line = words.join(" ");
    format!("{} (see --help)", line.strip_prefix("error: ").unwrap_or(&line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arguments: &[&str]) -> String {
        one_line(&Arguments::try_parse_from(arguments).unwrap_err())
    }

    #[test]
    fn errors_are_one_line() {
        assert_eq!(
            line(&["sesscache", "keygen"]),
            "the following required arguments were not provided: <FILE> (see --help)"
        );
        assert_eq!(line(&["sesscache", "stat"]), "unrecognized subcommand 'stat' (see --help)");
        assert_eq!(
            line(&["sesscache"]),
            "which command: keygen, ratchet, run, enable, disable, stats, doctor, probe, agent, \
             completions? (see --help)"
        );
        assert_eq!(
            line(&["sesscache", "stats", ""]),
            "invalid value '' for '[STORE]': it is empty (see --help)"
        );
        assert_eq!(
            line(&["sesscache", "disable", ""]),
            "a value is required for '<SERVER>' but none was supplied (see --help)"
        );
        assert_eq!(
            line(&["sesscache", "run", "--sotre", "x", "--", "y"]),
            "unexpected argument '--sotre' found (see --help)"
        );
        assert_eq!(
            line(&["sesscache", "keygen", "--next", "--keep", "1", "x"]),
            "the argument '--next' cannot be used with '--keep <N>' (see --help)"
        );
        assert_eq!(
            line(&["sesscache", "agent", "--store", "x"]),
            "the following required arguments were not provided: <--redis <URL>|--metrics \
             <ADDRESS:PORT>> (see --help)"
        );
        assert_eq!(
            line(&["sesscache", "keygen", "--keep", "0", "x"]),
            "invalid value '0' for '--keep <N>': 0 is not in 1..=255 (see --help)"
        );
    }

    #[test]
    fn what_follows_the_command_is_its_own() {
        for between in [&["--"][..], &[]] {
            let words =
                [&["sesscache", "run", "--force"], between, &["x", "--store", "y"]].concat();
            let Command::Run(run) = Arguments::try_parse_from(words).unwrap().command else {
                unreachable!()
            };
            assert_eq!(
                (run.command, run.store),
                (vec!["x".into(), "--store".into(), "y".into()], None)
            );
        }
    }
}

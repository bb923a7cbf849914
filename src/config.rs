//! SESSCACHE_* from the environment, copied once when the library is loaded.
//!
//! Later is too late: nginx overwrites its environment block and Redis clears it. In a set-user-ID
//! program the variables count as unset (secure_getenv).

use once_cell::sync::OnceCell;
use sesscache_core::store::StoreUrl;
use sesscache_core::system::loader::is_dependency_of_program;
use sesscache_core::system::process::{cpus, environment_variable};
use std::ffi::CStr;
use std::path::PathBuf;

/// The fate of a session for which new_cb returned 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewCbZero {
    /// It leaves the internal cache, as OpenSSL's manual says.
    Remove,
    /// It stays, as OpenSSL does.
    Keep,
}

impl NewCbZero {
    /// No OpenSSL does what its manual says. So a program that was not linked with us was built on
    /// OpenSSL's way, and the author of one that was has read our contract.
    fn unless_told(is_linked: bool) -> NewCbZero {
        if is_linked { NewCbZero::Remove } else { NewCbZero::Keep }
    }
}

/// Where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Log {
    /// The system's log.
    Syslog,
    /// Descriptor 2: only ever on request, because it may be a client's socket.
    Stderr,
    /// Appended to a file.
    File(PathBuf),
    /// Nowhere.
    Off,
}

/// The effect of an unclean close on a session in the host store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UncleanClose {
    /// Nothing (RFC 5246 7.2.1): one forged RST must not forget a session everywhere.
    Keep,
    /// It is removed.
    Forget,
}

/// The keys that seal stateless tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketMode {
    /// Keys that follow from the key file, unless the application sets its own.
    Shared,
    /// The same, and the application's own open the tickets that they have sealed.
    Override,
    /// None: SSL_OP_NO_TICKET is set on every new context, so that sessions are found by id.
    Off,
    /// The application's or OpenSSL's.
    Application,
}

impl TicketMode {
    /// Whether the keys follow from the key file.
    pub fn needs_key_file(self) -> bool {
        matches!(self, TicketMode::Shared | TicketMode::Override)
    }
}

/// How a session in which the client has shown a certificate resumes in other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCerts {
    /// On trust in what the other server has found.
    Share,
    /// After the certificate was verified again.
    Verify,
    /// Not at all.
    Never,
}

/// Whose session id context a session has that another process made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdContextMode {
    /// That of the connection on which it is to resume: it is put in.
    Ours,
    /// That of the connection that made it.
    Theirs,
}

/// Whether a program that keeps data of its own with sessions shares them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideDataMode {
    /// No: ex_data cannot travel, and the program may reject a session without it, or let the client
    /// in without a question.
    Refuse,
    /// Yes: it can do without.
    Share,
}

/// The settings of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// SESSCACHE_NEW_CB_ZERO: `remove` or `keep`. If unset, `remove` in a program that was linked with
    /// the library, and `keep` in one that nobody told of it.
    pub new_cb_zero: NewCbZero,
    /// SESSCACHE_LOG: `syslog` (the default), `stderr`, `off`, or the path of a file.
    pub log: Log,
    /// SESSCACHE_STORE: the host store, if there is to be one and its URL is good.
    pub store: Option<StoreUrl>,
    /// SESSCACHE_KEY_FILE: its keys seal the records in the store.
    pub key_file: Option<PathBuf>,
    /// SESSCACHE_NAMESPACE: sessions of different namespaces never meet.
    pub namespace: String,
    /// SESSCACHE_MAX_LIFETIME: seconds after the first authentication.
    pub max_lifetime: u32,
    /// Whether the operator has set SESSCACHE_MAX_LIFETIME, so that it holds for a process's own
    /// sessions too.
    pub max_lifetime_is_set: bool,
    /// SESSCACHE_CLIENT_CERTS: `verify` (the default), `share` or `never`.
    pub client_certs: ClientCerts,
    /// SESSCACHE_ID_CONTEXT: `theirs` (the default) or `ours`.
    pub id_context: IdContextMode,
    /// SESSCACHE_EX_DATA: `refuse` (the default) or `share`.
    pub side_data: SideDataMode,
    /// SESSCACHE_TICKETS: `shared`, `override`, `off` or `application`; if unset, `shared` with a key
    /// file.
    pub tickets: Option<TicketMode>,
    /// SESSCACHE_LIVE_SESSIONS: how many sessions a context with a store keeps as objects, if the
    /// application cannot tell. `None`: all.
    pub live_sessions: Option<usize>,
    /// SESSCACHE_UNCLEAN_CLOSE: `keep` (the default) or `forget`.
    pub unclean_close: UncleanClose,
    /// Processors this process may use.
    pub cpus: usize,
    /// Wrong values, to be reported once the log can be used.
    pub complaints: Vec<String>,
}

/// How long a session may be resumed after its first authentication: a day, as RFC 5246 F.1.4 has
/// it.
const MAX_LIFETIME: u32 = 24 * 60 * 60;

/// So few take no room in comparison, and the connections of a client that opens several find the
/// session live.
const LIVE_SESSIONS: usize = 64;
const MOST_LIVE_SESSIONS: usize = 1 << 20;

static CONFIG: OnceCell<Config> = OnceCell::new();

/// The settings, read when first asked for.
pub fn config() -> &'static Config {
    CONFIG.get_or_init(|| Config::from(environment_variable, is_dependency_of_program, cpus()))
}

impl Config {
    fn from(
        variable: impl Fn(&CStr) -> Option<String>,
        is_linked: impl FnOnce() -> bool,
        cpus: usize,
    ) -> Config {
        let set = |name: &CStr| variable(name).filter(|value| !value.is_empty());
        let mut complaints = Vec::new();
        let key_file = set(c"SESSCACHE_KEY_FILE").map(PathBuf::from);
        let lifetime = max_lifetime(set(c"SESSCACHE_MAX_LIFETIME"), &mut complaints);
        Config {
            new_cb_zero: new_cb_zero(set(c"SESSCACHE_NEW_CB_ZERO"), &mut complaints)
                .unwrap_or_else(|| NewCbZero::unless_told(is_linked())),
            log: log(set(c"SESSCACHE_LOG"), &mut complaints),
            store: store(set(c"SESSCACHE_STORE"), &mut complaints),
            namespace: variable(c"SESSCACHE_NAMESPACE").unwrap_or_default(),
            unclean_close: either(
                "SESSCACHE_UNCLEAN_CLOSE",
                set(c"SESSCACHE_UNCLEAN_CLOSE"),
                [("keep", UncleanClose::Keep), ("forget", UncleanClose::Forget)],
                &mut complaints,
            ),
            tickets: tickets(set(c"SESSCACHE_TICKETS"), key_file.is_some(), &mut complaints),
            max_lifetime: lifetime.unwrap_or(MAX_LIFETIME),
            max_lifetime_is_set: lifetime.is_some(),
            client_certs: client_certs(set(c"SESSCACHE_CLIENT_CERTS"), &mut complaints),
            side_data: either(
                "SESSCACHE_EX_DATA",
                set(c"SESSCACHE_EX_DATA"),
                [("refuse", SideDataMode::Refuse), ("share", SideDataMode::Share)],
                &mut complaints,
            ),
            id_context: either(
                "SESSCACHE_ID_CONTEXT",
                set(c"SESSCACHE_ID_CONTEXT"),
                [("theirs", IdContextMode::Theirs), ("ours", IdContextMode::Ours)],
                &mut complaints,
            ),
            live_sessions: live_sessions(set(c"SESSCACHE_LIVE_SESSIONS"), &mut complaints),
            key_file,
            cpus,
            complaints,
        }
    }
}

/// `None` if it is not set, or not understood.
fn new_cb_zero(value: Option<String>, complaints: &mut Vec<String>) -> Option<NewCbZero> {
    match value.as_deref() {
        None => None,
        Some("remove") => Some(NewCbZero::Remove),
        Some("keep") => Some(NewCbZero::Keep),
        Some(other) => {
            complaints.push(format!(
                "SESSCACHE_NEW_CB_ZERO={other} is neither remove nor keep; taken as unset"
            ));
            None
        }
    }
}

fn log(value: Option<String>, complaints: &mut Vec<String>) -> Log {
    match value.as_deref() {
        None | Some("syslog") => Log::Syslog,
        Some("stderr") => Log::Stderr,
        Some("off") => Log::Off,
        Some(path) if path.starts_with('/') => Log::File(PathBuf::from(path)),
        Some(other) => {
            complaints.push(format!(
                "SESSCACHE_LOG={other} is none of syslog, stderr, off or a path from /; taken as \
                 syslog"
            ));
            Log::Syslog
        }
    }
}

fn store(value: Option<String>, complaints: &mut Vec<String>) -> Option<StoreUrl> {
    let url = value?;
    let complain =
        |error| complaints.push(format!("SESSCACHE_STORE={url}: {error}; no store is used"));
    StoreUrl::parse(&url).map_err(complain).ok()
}

/// The meaning of a variable that has one of two words, of which the first is usual.
fn either<T>(
    variable: &str,
    value: Option<String>,
    [(usual, first), (other, second)]: [(&str, T); 2],
    complaints: &mut Vec<String>,
) -> T {
    match value {
        Some(value) if value == other => second,
        Some(value) if value != usual => {
            complaints.push(format!(
                "{variable}={value} is neither {usual} nor {other}; taken as {usual}"
            ));
            first
        }
        _ => first,
    }
}

fn tickets(
    value: Option<String>,
    has_key_file: bool,
    complaints: &mut Vec<String>,
) -> Option<TicketMode> {
    let mode = match value.as_deref() {
        None => return has_key_file.then_some(TicketMode::Shared),
        Some("shared") => TicketMode::Shared,
        Some("override") => TicketMode::Override,
        Some("off") => TicketMode::Off,
        Some("application") => TicketMode::Application,
        Some(other) => {
            complaints.push(format!(
                "SESSCACHE_TICKETS={other} is none of shared, override, off and application; taken \
                 as application"
            ));
            TicketMode::Application
        }
    };
    if mode.needs_key_file() && !has_key_file {
        let mode = value.unwrap_or_default();
        complaints.push(format!("SESSCACHE_TICKETS={mode} needs SESSCACHE_KEY_FILE"));
    }
    Some(mode)
}

/// `None` if it is not set, or not understood.
fn max_lifetime(value: Option<String>, complaints: &mut Vec<String>) -> Option<u32> {
    let text = value?;
    let complain = |_| {
        complaints.push(format!(
            "SESSCACHE_MAX_LIFETIME={text} is not a number of seconds; taken as {MAX_LIFETIME}"
        ));
    };
    text.parse().map_err(complain).ok()
}

/// `None`: all.
fn live_sessions(value: Option<String>, complaints: &mut Vec<String>) -> Option<usize> {
    let number = match value.as_deref() {
        None => return Some(LIVE_SESSIONS),
        Some("all") => return None,
        Some(text) => text.parse().ok().filter(|&number| number <= MOST_LIVE_SESSIONS),
    };
    if number.is_none() {
        complaints.push(format!(
            "SESSCACHE_LIVE_SESSIONS={} is neither all nor a number up to {MOST_LIVE_SESSIONS}; taken as \
             {LIVE_SESSIONS}",
            value.unwrap_or_default()
        ));
    }
    number.or(Some(LIVE_SESSIONS))
}

fn client_certs(value: Option<String>, complaints: &mut Vec<String>) -> ClientCerts {
    match value.as_deref() {
        None | Some("verify") => ClientCerts::Verify,
        Some("share") => ClientCerts::Share,
        Some("never") => ClientCerts::Never,
        Some(other) => {
            complaints.push(format!(
                "SESSCACHE_CLIENT_CERTS={other} is none of verify, share and never; taken as never"
            ));
            ClientCerts::Never
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &CStr, value: &str) -> Config {
        Config::from(|asked| (asked == name).then(|| value.to_owned()), || true, 2)
    }

    #[test]
    fn unset_means_the_contract_and_syslog() {
        let config = Config::from(|_| None, || true, 2);
        assert_eq!((config.new_cb_zero, config.log), (NewCbZero::Remove, Log::Syslog));
        assert!(config.complaints.is_empty());
    }

    #[test]
    fn a_program_that_was_not_linked_with_us_has_openssls_way() {
        let preloaded = |zero: &str| {
            let variable =
                |name: &CStr| (name == c"SESSCACHE_NEW_CB_ZERO").then(|| zero.to_owned());
            Config::from(variable, || false, 2).new_cb_zero
        };
        assert_eq!(Config::from(|_| None, || false, 2).new_cb_zero, NewCbZero::Keep);
        assert_eq!(preloaded("maybe"), NewCbZero::Keep);
        assert_eq!(preloaded("remove"), NewCbZero::Remove);
    }

    #[test]
    fn values_are_understood_and_others_named() {
        assert_eq!(with(c"SESSCACHE_NEW_CB_ZERO", "keep").new_cb_zero, NewCbZero::Keep);
        assert_eq!(with(c"SESSCACHE_LOG", "off").log, Log::Off);
        assert_eq!(with(c"SESSCACHE_LOG", "stderr").log, Log::Stderr);
        assert_eq!(with(c"SESSCACHE_LOG", "/tmp/x").log, Log::File("/tmp/x".into()));
        let wrong = with(c"SESSCACHE_NEW_CB_ZERO", "maybe");
        assert_eq!(wrong.new_cb_zero, NewCbZero::Remove);
        assert!(matches!(wrong.complaints.as_slice(), [one] if one.contains("maybe")));
        assert_eq!(with(c"SESSCACHE_LOG", "here").complaints.len(), 1);
        assert_eq!(with(c"SESSCACHE_UNCLEAN_CLOSE", "forget").unclean_close, UncleanClose::Forget);
        assert_eq!(with(c"SESSCACHE_UNCLEAN_CLOSE", "?").complaints.len(), 1);
        assert_eq!(with(c"SESSCACHE_TICKETS", "off").tickets, Some(TicketMode::Off));
        assert_eq!(with(c"SESSCACHE_TICKETS", "shared").complaints.len(), 1, "no key file");
        let without = with(c"SESSCACHE_TICKETS", "override");
        assert_eq!(without.tickets, Some(TicketMode::Override));
        assert!(matches!(without.complaints.as_slice(), [one] if one.contains("=override needs")));
        assert_eq!(with(c"SESSCACHE_TICKETS", "none").complaints.len(), 1);
        assert_eq!(with(c"SESSCACHE_KEY_FILE", "/k").tickets, Some(TicketMode::Shared));
        assert_eq!(with(c"SESSCACHE_MAX_LIFETIME", "60").max_lifetime, 60);
        assert!(with(c"SESSCACHE_MAX_LIFETIME", "60").max_lifetime_is_set);
        assert_eq!(with(c"SESSCACHE_CLIENT_CERTS", "share").client_certs, ClientCerts::Share);
        assert_eq!(with(c"SESSCACHE_CLIENT_CERTS", "").client_certs, ClientCerts::Verify);
        let wrong = with(c"SESSCACHE_CLIENT_CERTS", "no");
        assert_eq!((wrong.client_certs, wrong.complaints.len()), (ClientCerts::Never, 1));
        assert_eq!(with(c"SESSCACHE_ID_CONTEXT", "ours").id_context, IdContextMode::Ours);
        let wrong = with(c"SESSCACHE_ID_CONTEXT", "mine");
        assert_eq!((wrong.id_context, wrong.complaints.len()), (IdContextMode::Theirs, 1));
        assert_eq!(with(c"SESSCACHE_EX_DATA", "").side_data, SideDataMode::Refuse);
        assert_eq!(with(c"SESSCACHE_EX_DATA", "share").side_data, SideDataMode::Share);
        let wrong = with(c"SESSCACHE_EX_DATA", "1");
        assert_eq!((wrong.side_data, wrong.complaints.len()), (SideDataMode::Refuse, 1));
        let wrong = with(c"SESSCACHE_MAX_LIFETIME", "-1");
        assert_eq!((wrong.max_lifetime, wrong.complaints.len()), (MAX_LIFETIME, 1));
        assert!(!wrong.max_lifetime_is_set);
        assert!(with(c"SESSCACHE_STORE", "shm:").store.is_some());
        let wrong = with(c"SESSCACHE_STORE", "shm");
        assert_eq!((wrong.store, wrong.complaints.len()), (None, 1));
        assert_eq!(with(c"SESSCACHE_KEY_FILE", "/k").key_file, Some("/k".into()));
    }

    #[test]
    fn live_sessions_are_a_number_or_all() {
        assert_eq!(with(c"SESSCACHE_LIVE_SESSIONS", "").live_sessions, Some(LIVE_SESSIONS));
        assert_eq!(with(c"SESSCACHE_LIVE_SESSIONS", "0").live_sessions, Some(0));
        assert_eq!(with(c"SESSCACHE_LIVE_SESSIONS", "all").live_sessions, None);
        let wrong = with(c"SESSCACHE_LIVE_SESSIONS", "1048577");
        assert_eq!((wrong.live_sessions, wrong.complaints.len()), (Some(LIVE_SESSIONS), 1));
    }
}

//! `sesscache run`: starts a server with the library preloaded and a store chosen.
//!
//! This process becomes the server, which finds the rest as its caller left it: arguments,
//! descriptors, signals, and the rest of the environment.

use crate::arguments::Run;
use crate::overlay_check::{self, Refusal, Warning};
use crate::program::{self, FindError};
use crate::run_settings::{RunSettings, RunSettingsError};
use crate::start::{Advice, Start};
use crate::{id_context, library, nginx, output, settings, side_data, ticket_keys};
use rustix::fs::{FileType, fstat};
use rustix::process::geteuid;
use std::env;
use std::ffi::{CString, NulError, OsStr, OsString, c_int};
use std::fmt;
use std::fs;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf, absolute};

/// The reasons why the server was not started.
#[derive(Debug)]
pub(crate) enum RunError {
    /// The command was not found, or cannot be executed.
    Command(OsString, FindError),
    /// The kernel refuses to start the program.
    Exec(PathBuf, nix::errno::Errno),
    /// The program cannot be overlaid.
    Refused(String, Refusal),
    /// --library names no file.
    NoLibrary(PathBuf),
    /// LD_PRELOAD cannot contain the library's path.
    LibraryName(PathBuf),
    /// There is no store.
    Settings(RunSettingsError),
    /// A word contains a zero byte.
    Nul(NulError),
}

impl RunError {
    /// The exit status: a shell's, if CMD cannot be started.
    pub(crate) fn exit_code(&self) -> c_int {
        match self {
            RunError::Command(_, FindError::Missing)
            | RunError::Exec(_, nix::errno::Errno::ENOENT) => 127,
            RunError::Command(..) | RunError::Exec(..) => 126,
            RunError::Settings(RunSettingsError::Url(_) | RunSettingsError::TwoKeyFiles) => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Command(command, error) => write!(f, "{}: {error}", command.display()),
            RunError::Exec(path, errno) => write!(f, "{}: {}", path.display(), errno.desc()),
            RunError::Refused(path, refusal) => {
                write!(f, "{path} {refusal} (--force starts it all the same)")
            }
            RunError::NoLibrary(path) => write!(f, "{}: no such library", path.display()),
            RunError::LibraryName(path) => write!(
                f,
                "'{}': LD_PRELOAD cannot name a path with a space or a colon",
                path.display()
            ),
            RunError::Settings(error) => write!(f, "{error}"),
            RunError::Nul(error) => write!(f, "{error}"),
        }
    }
}

/// Runs `sesscache run … -- CMD`. Returns only if CMD cannot be started.
pub(crate) fn run(options: Run) -> Result<(), RunError> {
    let user = geteuid().as_raw();
    let command = options.command.first().map(OsString::as_os_str).unwrap_or_default();
    let settings = RunSettings::choose(&options, Path::new(command), user);
    let settings = settings.map_err(RunError::Settings)?;
    let program =
        program::find(command).map_err(|error| RunError::Command(command.to_owned(), error))?;
    let runs = program::interpreter(&program);
    let arguments = options.command.get(1..).unwrap_or_default();
    let start = Start { program: &program, runs: &runs, arguments };
    let library = library(options.library.as_deref())?;
    let mut environment = Environment::inherited();
    let names = environment.0.iter().map(|(name, _)| name.as_os_str());
    settings::unknown(names).iter().for_each(|line| output::say(line));
    environment.preload(&library)?;
    if !options.force {
        check(&start, &library, &environment, settings.shares())?;
    }
    for (name, value) in settings.apply(user).map_err(RunError::Settings)? {
        environment.set(name, value);
    }
    if let Some(namespace) = options.namespace {
        environment.set("SESSCACHE_NAMESPACE", namespace);
    }
    if let Some(zero) = options.new_cb_zero {
        environment.set("SESSCACHE_NEW_CB_ZERO", zero.into());
    }
    environment.set_id_context(&start);
    environment.set_tickets(&start);
    environment.set_side_data(&start);
    let reaches_stderr =
        || io::stderr().is_terminal() || is_without_syslog(io::stderr(), Path::new("/dev/log"));
    if environment.get("SESSCACHE_LOG").is_none() && reaches_stderr() {
        environment.set("SESSCACHE_LOG", "stderr".into());
    }
    let mut command = options.command.clone();
    if nginx::is_started(&start) {
        prepare_nginx(&start, &mut command, &environment);
    }
    exec(program, command, environment)
}

/// Whether nobody reads the system's log, as in most containers, and stderr can take its lines. If that
/// is a socket, it may be a client's (inetd).
fn is_without_syslog(stderr: impl AsFd, syslog: &Path) -> bool {
    let has_syslog = fs::metadata(syslog).is_ok_and(|found| found.file_type().is_socket());
    let kind = fstat(stderr).map(|found| FileType::from_raw_mode(found.st_mode));
    !has_syslog && kind.is_ok_and(|kind| kind != FileType::Socket)
}

/// Changes the words of an nginx so that the library stays, and says if it keeps no sessions.
fn prepare_nginx(start: &Start, words: &mut Vec<OsString>, environment: &Environment) {
    let has_store = environment.given("SESSCACHE_STORE").is_some();
    if let Some(line) = nginx::without_cache(start).filter(|_| has_store) {
        output::say(&line);
    }
    let names = environment.0.iter().map(|(name, _)| name.as_os_str());
    nginx::keep_through_upgrade(words, start.program, names);
}

/// The library's path, checked for LD_PRELOAD.
fn library(named: Option<&Path>) -> Result<PathBuf, RunError> {
    let path = match named {
        Some(path) if !path.is_file() => return Err(RunError::NoLibrary(path.to_owned())),
        Some(path) => absolute(path).map_err(|_| RunError::NoLibrary(path.to_owned()))?,
        None => library::find(env::current_exe().ok().as_deref().and_then(Path::parent)),
    };
    let bytes = path.as_os_str().as_bytes();
    if bytes.iter().any(|byte| *byte == b':' || byte.is_ascii_whitespace()) {
        return Err(RunError::LibraryName(path));
    }
    Ok(path)
}

/// Checks that the program can be overlaid, and that it may share. Prints a warning if that is in
/// doubt.
fn check(
    start: &Start,
    library: &Path,
    environment: &Environment,
    shares: bool,
) -> Result<(), RunError> {
    let Start { program, runs, .. } = *start;
    let refused = |refusal| RunError::Refused(start.shown(), refusal);
    if shares {
        overlay_check::may_share(program).map_err(refused)?;
        overlay_check::may_share(&program.canonicalize().unwrap_or_default()).map_err(refused)?;
    }
    match overlay_check::examine(runs, library, &environment.0).map_err(refused)? {
        // A shell uses no libssl, and tells nothing of the server that its script starts.
        Some(Warning::NoLibssl) if start.is_of_a_shell() => output::say(&format!(
            "{} is a script of {}: the program that it starts was not checked",
            program.display(),
            runs.display()
        )),
        Some(warning) => output::say(&format!("{} {warning}", start.shown())),
        None => {}
    }
    Ok(())
}

/// Replaces this process by the program.
fn exec(
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Environment,
) -> Result<(), RunError> {
    let c = |text: OsString| CString::new(text.into_vec()).map_err(RunError::Nul);
    let arguments: Vec<CString> = arguments.into_iter().map(c).collect::<Result<_, _>>()?;
    let variables = environment.0.into_iter().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        c(name)
    });
    let variables: Vec<CString> = variables.collect::<Result<_, _>>()?;
    let path = c(program.clone().into_os_string())?;
    match nix::unistd::execvpe(&path, &arguments, &variables) {
        Err(errno) => Err(RunError::Exec(program, errno)),
    }
}

/// The environment that the server gets.
struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    fn inherited() -> Environment {
        Environment(env::vars_os().collect())
    }

    fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
    }

    /// The value, if it is set and not empty: the library takes an empty one as unset.
    fn given(&self, name: &str) -> Option<&OsStr> {
        self.get(name).filter(|value| !value.is_empty())
    }

    fn set(&mut self, name: &str, value: OsString) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.into(), value));
    }

    /// Lets a program that draws its session id context at random resume after a restart, unless the
    /// variable is set.
    fn set_id_context(&mut self, start: &Start) {
        if self.shares() && self.get(id_context::VARIABLE).is_none() {
            let why = |name| format!("{name} draws its session id context at random");
            let name = id_context::random_in([start.program, start.runs]);
            self.follow(id_context::VARIABLE, id_context::OURS, name.map(why).map(Advice::Set));
        }
    }

    /// Puts the key file's ticket keys before those of a server whose own end with it, unless the
    /// variable is set or the server was given keys.
    fn set_tickets(&mut self, start: &Start) {
        let has_keys = self.given("SESSCACHE_KEY_FILE").is_some();
        if has_keys && self.get(ticket_keys::VARIABLE).is_none() {
            self.follow(ticket_keys::VARIABLE, ticket_keys::OVERRIDE, ticket_keys::advise(start));
        }
    }

    /// Shares the sessions of a program that keeps data with them, unless the variable is set or the
    /// program may need the data.
    fn set_side_data(&mut self, start: &Start) {
        if self.shares() && self.get(side_data::VARIABLE).is_none() {
            self.follow(side_data::VARIABLE, side_data::SHARE, side_data::advise(start));
        }
    }

    /// Whether the program will share sessions.
    fn shares(&self) -> bool {
        self.given("SESSCACHE_STORE").or(self.given("SESSCACHE_KEY_FILE")).is_some()
    }

    /// Sets a variable if that is the advice, and says so.
    fn follow(&mut self, variable: &str, value: &str, advice: Option<Advice>) {
        match advice {
            Some(Advice::Set(why)) => {
                output::say(&format!("{variable}={value}, because {why}"));
                self.set(variable, value.into());
            }
            Some(Advice::Leave(why)) => {
                output::say(&format!("{variable} is not set, because {why}"));
            }
            None => {}
        }
    }

    /// Puts the library before other preloaded ones.
    fn preload(&mut self, library: &Path) -> Result<(), RunError> {
        let mut value = library.as_os_str().to_owned();
        if let Some(others) = self.given("LD_PRELOAD") {
            let others = others.as_bytes();
            let first = others.split(|byte| *byte == b':' || *byte == b' ').next();
            if first == Some(value.as_bytes()) {
                return Ok(());
            }
            value.push(":");
            value.push(OsStr::from_bytes(others));
        }
        self.set("LD_PRELOAD", value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_system_log_lines_go_to_stderr_unless_it_is_a_socket() {
        use std::os::unix::net::{UnixDatagram, UnixStream};
        let syslog = env::temp_dir().join(format!("sesscache-log-{}", std::process::id()));
        let (client, _other) = UnixStream::pair().unwrap();
        let file = fs::File::open("/dev/null").unwrap();
        assert!(is_without_syslog(&file, &syslog));
        assert!(!is_without_syslog(&client, &syslog));
        let _reader = UnixDatagram::bind(&syslog).unwrap();
        assert!(!is_without_syslog(&file, &syslog));
        fs::remove_file(&syslog).unwrap();
    }

    #[test]
    fn the_library_comes_first_and_once() {
        let mut environment = Environment(vec![("LD_PRELOAD".into(), "a.so b.so".into())]);
        for _ in 0..2 {
            environment.preload(Path::new("/x.so")).unwrap();
            assert_eq!(environment.get("LD_PRELOAD"), Some(OsStr::new("/x.so:a.so b.so")));
        }
        let mut empty = Environment(vec![("LD_PRELOAD".into(), "".into())]);
        empty.preload(Path::new("/x.so")).unwrap();
        assert_eq!(empty.0, [("LD_PRELOAD".into(), "/x.so".into())]);
    }

    #[test]
    fn setting_a_variable_replaces_it() {
        let mut environment = Environment(vec![("A".into(), "1".into()), ("B".into(), "2".into())]);
        environment.set("A", "3".into());
        assert_eq!(environment.0.len(), 2);
        assert_eq!(environment.get("A"), Some(OsStr::new("3")));
    }

    #[test]
    fn a_store_or_a_key_file_shares() {
        let shares =
            |name: &str, value: &str| Environment(vec![(name.into(), value.into())]).shares();
        assert!(shares("SESSCACHE_STORE", "shm:") && shares("SESSCACHE_KEY_FILE", "/k"));
        assert!(!shares("SESSCACHE_STORE", "") && !shares("OTHER", "x"));
    }

    #[test]
    fn a_library_that_ld_preload_cannot_name_is_refused() {
        let folder = env::temp_dir().join(format!("sesscache run {}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("x.so");
        assert!(matches!(library(Some(&path)), Err(RunError::NoLibrary(_))));
        std::fs::write(&path, "").unwrap();
        assert!(matches!(library(Some(&path)), Err(RunError::LibraryName(_))));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

//! `sesscache doctor`: looks at running servers, and says why their sessions do not resume.
//!
//! It reads /proc and the stores, and changes nothing.

mod findings;
mod judge;
mod process;
mod store_findings;
mod unit;

use crate::arguments::Doctor;
use crate::output;
use findings::{Finding, Grade};
use judge::{asks_for_library, judge};
use process::Process;
use serde_json::{Value, json};
use std::ffi::c_int;
use std::fmt::{self, Write};
use std::io;

/// The reasons why there is no report, or not a good one.
#[derive(Debug)]
pub(crate) enum DoctorError {
    /// No process is meant.
    Nobody(String),
    /// No process of this host has the library, and none was named.
    NoServer,
    /// The process is gone, or another user's.
    Process(u32, io::Error),
    /// The report could not be written.
    Output(io::Error),
    /// The report is written: something keeps sessions from resuming.
    Ill,
}

impl DoctorError {
    /// The exit status.
    pub(crate) fn exit_code(&self) -> c_int {
        1
    }
}

impl fmt::Display for DoctorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DoctorError::Nobody(name) => write!(
                f,
                "{name}: no such process, program or unit runs that this user may look at; to ask \
                 whether a program can be overlaid: sesscache run -- {name}"
            ),
            DoctorError::NoServer => {
                write!(f, "no process that this user may look at has the library; name one")
            }
            DoctorError::Process(pid, error) => match error.kind() {
                io::ErrorKind::NotFound => write!(f, "process {pid}: it does not run"),
                io::ErrorKind::PermissionDenied => {
                    write!(f, "process {pid}: this user may not look at it")
                }
                _ => write!(f, "process {pid}: {error}"),
            },
            DoctorError::Output(error) => write!(f, "stdout: {error}"),
            DoctorError::Ill => write!(f, "something keeps sessions from resuming"),
        }
    }
}

/// A server: a process, and those that came from it.
struct Server {
    name: String,
    pid: u32,
    findings: Vec<Finding>,
}

/// Runs `sesscache doctor [PID | UNIT | COMMAND]`.
pub(crate) fn doctor(options: &Doctor) -> Result<(), DoctorError> {
    let own = std::process::id();
    // Processes of other users are passed over, unless their ids are given.
    let mut everybody: Vec<Process> = process::all()
        .into_iter()
        .filter(|pid| *pid != own)
        .filter_map(|pid| Process::read(pid).ok())
        .collect();
    let roots = roots(options.server.as_deref(), &everybody)?;
    let servers: Vec<Server> =
        roots.into_iter().filter_map(|pid| examine(pid, &mut everybody)).collect();
    if servers.is_empty() {
        return Err(DoctorError::NoServer);
    }

    let text = match options.json {
        true => json(&servers).to_string(),
        false => table(&servers),
    };
    output::print(&text).map_err(DoctorError::Output)?;
    if is_well(&servers) { Ok(()) } else { Err(DoctorError::Ill) }
}

/// The processes that are meant, without those that came from another one of them.
fn roots(named: Option<&str>, everybody: &[Process]) -> Result<Vec<u32>, DoctorError> {
    let Some(name) = named else {
        let found = outermost(everybody, asks_for_library);
        return if found.is_empty() { Err(DoctorError::NoServer) } else { Ok(found) };
    };
    if let Ok(pid) = name.parse::<u32>() {
        Process::read(pid).map_err(|error| DoctorError::Process(pid, error))?;
        return Ok(vec![pid]);
    }
    // The unit comes first: `mariadb` is the client's program, and the server's unit.
    let of_unit = unit::processes(name, everybody);
    let found = outermost(everybody, |one| of_unit.contains(&one.pid));
    if !found.is_empty() {
        return Ok(found);
    }
    let found = outermost(everybody, |one| one.name == name || findings::program_name(one) == name);
    if found.is_empty() { Err(DoctorError::Nobody(name.to_owned())) } else { Ok(found) }
}

fn outermost(everybody: &[Process], is_meant: impl Fn(&Process) -> bool) -> Vec<u32> {
    let meant: Vec<&Process> = everybody.iter().filter(|one| is_meant(one)).collect();
    let has_parent = |one: &Process| meant.iter().any(|other| other.pid == one.parent);
    meant.iter().filter(|one| !has_parent(one)).map(|one| one.pid).collect()
}

/// Takes a process and its descendants out of the list, and judges them.
fn examine(pid: u32, everybody: &mut Vec<Process>) -> Option<Server> {
    let mut pids = vec![pid];
    let mut known = 0;
    while known < pids.len() {
        known = pids.len();
        for one in everybody.iter() {
            if pids.contains(&one.parent) && !pids.contains(&one.pid) {
                pids.push(one.pid);
            }
        }
    }
    let (mut family, others) =
        std::mem::take(everybody).into_iter().partition::<Vec<_>, _>(|one| pids.contains(&one.pid));
    *everybody = others;
    family.sort_by_key(|one| (one.pid != pid, one.pid));
    // None, if the process has ended meanwhile.
    let name = family.first().filter(|first| first.pid == pid).map(findings::program_name)?;
    Some(Server { name, pid, findings: judge(&family) })
}

fn is_well(servers: &[Server]) -> bool {
    servers.iter().flat_map(|server| &server.findings).all(|finding| finding.grade != Grade::Bad)
}

fn table(servers: &[Server]) -> String {
    let mut text = String::new();
    for server in servers {
        let _ = writeln!(text, "{} (process {})", server.name, server.pid);
        for finding in &server.findings {
            let _ =
                writeln!(text, "  {:<4}  {}{}", finding.grade.name(), finding.text, of(finding));
            if let Some(mend) = &finding.mend {
                let _ = writeln!(text, "        mend: {mend}");
            }
        }
    }
    text
}

/// The processes of a bad finding.
fn of(finding: &Finding) -> String {
    if finding.grade == Grade::Good {
        return String::new();
    }
    let pids: Vec<String> = finding.pids.iter().map(u32::to_string).collect();
    format!(" (process {})", pids.join(", "))
}

fn json(servers: &[Server]) -> Value {
    let servers_json: Vec<Value> = servers
        .iter()
        .map(|server| {
            json!({
                "name": server.name,
                "pid": server.pid,
                "findings": server.findings.iter().map(|finding| json!({
                    "code": finding.code,
                    "grade": finding.grade.name().to_lowercase(),
                    "text": finding.text,
                    "mend": finding.mend,
                    "pids": finding.pids,
                })).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({ "is_well": is_well(servers), "servers": servers_json })
}

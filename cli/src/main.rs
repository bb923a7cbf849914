//! The `sesscache` command: makes key files, starts servers with the overlay, shows counters,
//! asks servers from outside, carries sessions between hosts.
//!
//! Exit status: 0; 1 for a failure; 2 for bad input; as in a shell, 126 and 127 for a program that
//! cannot be started. An error is one line on stderr. Only the agent has threads and locks.

#![cfg_attr(not(test), no_main)]
#![deny(unsafe_code)]

mod address;
mod agent;
mod arguments;
mod completions;
mod connections;
mod difference;
mod doctor;
mod elf;
mod enable;
mod id_context;
mod key_change;
mod key_text;
mod keygen;
mod library;
mod nginx;
mod output;
mod overlay_check;
mod probe;
mod program;
mod ratchet;
mod run;
mod run_settings;
mod settings;
mod side_data;
mod start;
mod stats;
mod store_folder;
mod table;
mod ticket_keys;
mod time;
mod watch;
mod way;

use arguments::{Arguments, Command};
use clap::Parser;
use clap::error::ErrorKind;
use std::ffi::{OsString, c_char, c_int};
use std::fmt::Display;

/// C's main in place of Rust's, which would ignore SIGPIPE. A server that `run` starts must find
/// its signals as our caller left them: systemd ignores SIGPIPE, a shell does not.
#[cfg_attr(not(test), allow(unsafe_code, reason = "the program's entry, defined once"))]
#[cfg_attr(not(test), unsafe(no_mangle))]
extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    output::hold_standard_descriptors();
    // The arguments are not needed here, because glibc hands them to std's initialiser.
    execute(std::env::args_os())
}

fn execute(arguments: impl Iterator<Item = OsString>) -> c_int {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error)
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
        {
            return ended(output::print(&error.to_string()), |_| 1);
        }
        Err(error) => {
            output::say(&arguments::one_line(&error));
            return 2;
        }
    };
    match arguments.command {
        Command::Keygen(options) => ended(keygen::keygen(&options), |_| 1),
        Command::Ratchet(options) => ended(ratchet::ratchet(&options), |_| 1),
        Command::Run(options) => ended(run::run(options), run::RunError::exit_code),
        Command::Enable(options) => ended(enable::enable(&options), enable::EnableError::exit_code),
        Command::Disable(options) => {
            ended(enable::disable(&options), enable::EnableError::exit_code)
        }
        Command::Stats(options) => ended(stats::stats(&options), stats::StatsError::exit_code),
        Command::Doctor(options) => ended(doctor::doctor(&options), doctor::DoctorError::exit_code),
        Command::Probe(options) => ended(probe::probe(&options), probe::ProbeError::exit_code),
        Command::Completions(options) => ended(completions::completions(&options), |_| 1),
        Command::Agent(options) => ended(agent::agent(&options), agent::AgentError::exit_code),
    }
}

/// Prints the error, if any. Returns the exit status.
fn ended<E: Display>(result: Result<(), E>, code: impl FnOnce(&E) -> c_int) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => {
            output::say(&error.to_string());
            code(&error)
        }
    }
}

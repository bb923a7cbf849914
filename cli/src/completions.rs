//! `sesscache completions`: what a shell needs to complete the command's words.

use crate::arguments::{Arguments, Completions};
use crate::output;
use clap::CommandFactory;
use std::io;

/// Runs `sesscache completions SHELL`.
pub(crate) fn completions(options: &Completions) -> Result<(), io::Error> {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut Arguments::command(), "sesscache", &mut text);
    output::print(&String::from_utf8_lossy(&text))
}

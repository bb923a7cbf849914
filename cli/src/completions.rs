//! `sesscache completions`: what a shell needs to complete the command's words.

use crate::arguments::Arguments;
use crate::output;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io;

const EXAMPLES: &str = "\
`make install` and the package put these where bash, zsh and fish look for them.

Examples:
  sesscache completions bash > ~/.local/share/bash-completion/completions/sesscache
  sesscache completions fish > ~/.config/fish/completions/sesscache.fish";

/// Print what a shell needs to complete these commands
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

/// Runs `sesscache completions SHELL`.
pub(crate) fn completions(options: &Completions) -> Result<(), io::Error> {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut Arguments::command(), "sesscache", &mut text);
    output::print(&String::from_utf8_lossy(&text))
}

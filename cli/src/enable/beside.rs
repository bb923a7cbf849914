//! Files that a server needs beside the variables of its unit, so that they reach its processes.

use super::EnableError;
use super::files::{Changes, mark};
use super::postfix;
use super::root::Root;
use super::servers::{Kind, Target};
use super::unit::Unit;
use crate::nginx::{self, Configuration, VALUED};
use crate::start::Start;
use std::io;
use std::path::{Path, PathBuf};

/// The file that nginx includes at its top level, where Debian's nginx.conf has it.
const NGINX_FILE: &str = "/etc/nginx/modules-enabled/90-sesscache.conf";
const NGINX_INCLUDE: &str = "/etc/nginx/modules-enabled/*.conf";
const DOVECOT_MAIN: &str = "/etc/dovecot/dovecot.conf";
/// Behind the files of the package, because a later line extends what an earlier one set.
const DOVECOT_FILE: &str = "/etc/dovecot/conf.d/99-sesscache.conf";

/// The names of the variables that a unit will hand to its server.
type Names<'a> = &'a [String];

/// Writes what this server needs.
pub(super) fn write(
    changes: &mut Changes,
    root: &Root,
    (target, unit): (&Target, &Unit),
    names: Names,
) -> Result<(), EnableError> {
    match target.kind {
        Kind::Nginx => nginx(changes, root, target, (unit, names)),
        Kind::Dovecot => dovecot(changes, root, target, names),
        Kind::Postfix => postfix::add(changes, root, names),
        Kind::Other => Ok(()),
    }
}

/// Removes it again.
pub(super) fn remove(changes: &mut Changes, root: &Root, kind: Kind) -> Result<(), EnableError> {
    let file = match kind {
        Kind::Nginx => NGINX_FILE,
        Kind::Dovecot => DOVECOT_FILE,
        Kind::Postfix => return postfix::remove(changes, root),
        Kind::Other => return Ok(()),
    };
    match changes.ours(Path::new(file))? {
        Some(_) => changes.remove(Path::new(file)),
        None => Ok(()),
    }
}

/// The configuration that an nginx reads: the one that its unit names, or the usual one.
pub(super) fn nginx_configuration(root: &Root, unit: &Unit) -> Configuration {
    let words = unit.command();
    let (program, arguments) = match words.split_first() {
        Some((program, arguments)) => (Path::new(program), arguments),
        None => (Path::new("nginx"), words.as_slice()),
    };
    let start = Start { program, runs: program, arguments };
    let main = start.option(b'c', VALUED).map_or("/etc/nginx/nginx.conf".into(), PathBuf::from);
    Configuration::inside(main, root.shown(Path::new("/")))
}

/// nginx hands down to a new binary (USR2) only the variables that an `env` line names.
fn nginx(
    changes: &mut Changes,
    root: &Root,
    target: &Target,
    (unit, names): (&Unit, Names),
) -> Result<(), EnableError> {
    let configuration = nginx_configuration(root, unit);
    let lines: Vec<String> = names.iter().map(|name| format!("env {name};")).collect();
    let includes = configuration
        .first_with(|name, value| name == "include" && value == NGINX_INCLUDE)
        .map_err(|error| EnableError::Configuration(error.to_string()))?;
    if includes.is_some() {
        let text = format!(
            "{}# Lets a new binary (USR2, as at an upgrade of the package) keep the library.\n{}\n",
            mark(&target.word),
            lines.join("\n")
        );
        changes.common_file(Path::new(NGINX_FILE), &text)?;
    } else {
        changes.said.push(format!(
            "{} does not include {NGINX_INCLUDE}: for upgrades of the binary (USR2) put these lines \
             at its top: {}",
            configuration.main.display(),
            lines.join(" ")
        ));
    }
    changes.said.extend(nginx::without_cache_in(&configuration));
    Ok(())
}

/// Dovecot's master hands down only the variables that import_environment names.
fn dovecot(
    changes: &mut Changes,
    root: &Root,
    target: &Target,
    names: Names,
) -> Result<(), EnableError> {
    let main = root.text(Path::new(DOVECOT_MAIN)).map_err(|error| {
        EnableError::File(root.shown(Path::new(DOVECOT_MAIN)), io::Error::other(error))
    })?;
    // Since 2.4 each configuration says for which version it was written.
    let is_list = main.lines().any(|line| line.trim_start().starts_with("dovecot_config_version"));
    let body = match is_list {
        true => {
            let pairs = names.iter().map(|name| format!("  {name} = %{{env:{name}}}\n"));
            format!("import_environment {{\n{}}}\n", pairs.collect::<String>())
        }
        false => format!("import_environment = $import_environment {}\n", names.join(" ")),
    };
    let includes = |line: &str| {
        let mut words = line.split_whitespace();
        let is_include = words.next().is_some_and(|word| word.starts_with("!include"));
        is_include && words.next().is_some_and(|file| file.ends_with("conf.d/*.conf"))
    };
    if !main.lines().any(includes) {
        return Err(EnableError::Configuration(format!(
            "{} does not include conf.d/*.conf; add to it, and try again: !include conf.d/*.conf",
            root.shown(Path::new(DOVECOT_MAIN)).display()
        )));
    }
    let why = "# Dovecot's master hands down only the variables that are named here.\n";
    changes.common_file(Path::new(DOVECOT_FILE), &format!("{}{why}{body}", mark(&target.word)))
}

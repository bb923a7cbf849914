//! The variables of a server's drop-in.

use super::EnableError;
use super::beside::nginx_configuration;
use super::files::Changes;
use super::root::Root;
use super::servers::{Kind, NEED_NAMESPACE, Target};
use super::store::{self, Place};
use super::unit::Unit;
use super::unit_files::DROP_IN;
use crate::arguments::Enable;
use crate::start::{Advice, Start};
use crate::{id_context, library, overlay_check, program, settings, side_data, ticket_keys};
use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The choice's grounds.
pub(super) struct Wanted<'a> {
    pub(super) target: &'a Target,
    pub(super) unit: &'a Unit,
    pub(super) options: &'a Enable,
    pub(super) place: &'a Place,
    pub(super) key_file: &'a Path,
}

/// The folders where another root may have this command, beside the library's.
pub(super) const COMMANDS: [&str; 2] = ["/usr/local/bin", "/usr/bin"];

/// Chooses the variables and their values. One that the unit sets already stays as it is.
pub(super) fn choose(
    changes: &mut Changes,
    root: &Root,
    wanted: &Wanted,
) -> Result<Vec<(String, String)>, EnableError> {
    check_what_wins(root, wanted.unit)?;
    changes.said.extend(wanted.unit.other_root().map(|setting| {
        format!(
            "{} has {setting}: the library, the key file and {} have to be in there, as by BindPaths=",
            wanted.unit.name,
            store::FOLDER
        )
    }));
    let names = wanted.unit.variables();
    changes.said.extend(settings::unknown(names.iter().map(|(name, _)| OsStr::new(name))));
    let library = library(root, wanted.options.library.as_deref())?;
    let mut variables = vec![("LD_PRELOAD".to_owned(), preload(wanted.unit, &library))];
    check_program(changes, root, wanted, &library)?;
    let mut wishes = vec![
        ("SESSCACHE_STORE", wanted.place.url()),
        ("SESSCACHE_KEY_FILE", wanted.key_file.to_string_lossy().into_owned()),
    ];
    wishes.extend(namespace(changes, wanted).map(|text| ("SESSCACHE_NAMESPACE", text)));
    for (name, value, advice) in advice(root, wanted) {
        match advice {
            Advice::Set(why) => {
                changes.said.push(format!("{name}={value}, because {why}"));
                wishes.push((name, value.to_owned()));
            }
            Advice::Leave(why) => changes.said.push(format!("{name} is not set, because {why}")),
        }
    }
    for (name, value) in wishes {
        match wanted.unit.variable(name) {
            Some(_) => changes.said.push(format!("{name} stays as {} sets it", wanted.unit.name)),
            None => variables.push((name.to_owned(), value)),
        }
    }
    for (name, value) in &variables {
        if value.chars().any(char::is_control) {
            return Err(EnableError::Usage(format!("{name} cannot have a line feed or the like")));
        }
    }
    Ok(variables)
}

/// Refuses a unit in which something wins over our drop-in.
fn check_what_wins(root: &Root, unit: &Unit) -> Result<(), EnableError> {
    if let Some((file, name)) = unit.overriding_file(root) {
        return Err(EnableError::Configuration(format!(
            "{} sets {name}, which would win over a drop-in; remove that line, and try again",
            root.shown(&file).display()
        )));
    }
    if let Some(name) = unit.unset_variable() {
        return Err(EnableError::Configuration(format!(
            "{} has UnsetEnvironment={name}, which takes it from a drop-in, too; take {name} out of \
             that, and try again",
            unit.name
        )));
    }
    if let Some((file, line)) = unit.overriding_drop_in() {
        return Err(EnableError::Configuration(format!(
            "{} has {line}, and systemd reads it after {DROP_IN}, so it would win; give it a name \
             that sorts before, and try again",
            root.shown(&file).display()
        )));
    }
    Ok(())
}

/// The namespace: the operator's, or that of a server which shares nothing without one.
fn namespace(changes: &mut Changes, wanted: &Wanted) -> Option<String> {
    if wanted.options.namespace.is_some() || wanted.unit.variable("SESSCACHE_NAMESPACE").is_some() {
        return wanted.options.namespace.clone();
    }
    let command = wanted.unit.command();
    let program = Path::new(command.first()?);
    let server = program::known(NEED_NAMESPACE.into_iter(), [program, program])?;
    let name = &wanted.target.name;
    changes.said.push(format!(
        "SESSCACHE_NAMESPACE={name}, because {server} sets its certificates for each connection"
    ));
    Some(name.clone())
}

/// A line of a drop-in that sets a variable.
pub(super) fn line(name: &str, value: &str) -> String {
    format!("Environment={}\n", quoted(&format!("{name}={value}")))
}

/// A word of a setting, in systemd's quotes if it needs them.
pub(super) fn quoted(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_-.:=?&+,@".contains(c);
    match escaped.chars().all(plain) {
        true => escaped,
        false => format!("\"{escaped}\""),
    }
}

/// The library's path inside the root.
fn library(root: &Root, named: Option<&Path>) -> Result<PathBuf, EnableError> {
    let own = env::current_exe().ok().and_then(|own| own.parent().map(Path::to_owned));
    let candidates: Vec<PathBuf> = match (named, root.is_host()) {
        (Some(path), _) => vec![std::path::absolute(path).unwrap_or(path.to_owned())],
        (None, true) => own.iter().flat_map(|folder| library::candidates(folder)).collect(),
        (None, false) => {
            COMMANDS.iter().flat_map(|at| library::candidates(Path::new(at))).collect()
        }
    };
    let is_file = |path: &&PathBuf| root.find(path).is_ok_and(|path| path.is_file());
    let Some(path) = candidates.iter().find(is_file) else {
        let usual = candidates.last().map(PathBuf::as_path).unwrap_or(Path::new("/"));
        return Err(EnableError::NoLibrary(root.shown(usual)));
    };
    let text = path.to_string_lossy();
    if text.contains(|c: char| c == ':' || c.is_whitespace()) {
        return Err(EnableError::Usage(format!(
            "'{text}': LD_PRELOAD cannot name a path with a space or a colon"
        )));
    }
    Ok(path.clone())
}

/// LD_PRELOAD: the library before those that the unit preloads already.
fn preload(unit: &Unit, library: &Path) -> String {
    let library = library.to_string_lossy();
    match unit.variable("LD_PRELOAD").filter(|others| !others.is_empty()) {
        Some(others) => format!("{library}:{others}"),
        None => library.into_owned(),
    }
}

/// Refuses a program that cannot be overlaid. In another root its loader cannot be asked.
fn check_program(
    changes: &mut Changes,
    root: &Root,
    wanted: &Wanted,
    library: &Path,
) -> Result<(), EnableError> {
    if !root.is_host() {
        return Ok(());
    }
    if wanted.unit.command().first().is_some_and(|file| Path::new(file).ends_with("sesscache")) {
        return Err(EnableError::Configuration(format!(
            "{} starts its server by `sesscache run` already; take that out of its ExecStart=, or \
             leave it at that",
            wanted.unit.name
        )));
    }
    let Some(file) = wanted.unit.file() else { return Ok(()) };
    let file = &file.map_err(|(file, error)| {
        EnableError::Configuration(format!("{}: {error}", file.display()))
    })?;
    let runs = program::interpreter(file);
    let environment = [("LD_PRELOAD".into(), library.into())];
    match overlay_check::examine(&runs, library, &environment) {
        Err(refusal) => Err(EnableError::Refused(format!("{} {refusal}", file.display()))),
        // The masters of servers that are known start programs that use it.
        Ok(Some(warning)) if wanted.target.kind == Kind::Other && runs == *file => {
            changes.said.push(format!("{} {warning}", file.display()));
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

/// The advice about variables that some servers need, as `sesscache run` has it.
fn advice(root: &Root, wanted: &Wanted) -> Vec<(&'static str, &'static str, Advice)> {
    let tickets = |advice| (ticket_keys::VARIABLE, ticket_keys::OVERRIDE, advice);
    match wanted.target.kind {
        Kind::Nginx => {
            let configuration = nginx_configuration(root, wanted.unit);
            let advice = ticket_keys::advise_nginx(&configuration);
            return advice.into_iter().map(tickets).collect();
        }
        Kind::Postfix => return ticket_keys::advise_postfix().into_iter().map(tickets).collect(),
        Kind::Dovecot => return Vec::new(),
        Kind::Other => {}
    }
    let command = wanted.unit.command();
    let Some((program, arguments)) = command.split_first() else { return Vec::new() };
    let program = Path::new(program);
    let runs = match root.is_host() {
        true => program::interpreter(program),
        false => program.to_owned(),
    };
    let start = Start { program, runs: &runs, arguments };
    let mut found = Vec::new();
    if let Some(name) = id_context::random_in([program, &runs]) {
        let why = Advice::Set(format!("{name} draws its session id context at random"));
        found.push((id_context::VARIABLE, id_context::OURS, why));
    }
    // The other two run the program or read its files, which another root has not at their paths.
    if root.is_host() {
        found.extend(ticket_keys::advise(&start).map(tickets));
        let side_data = side_data::advise(&start);
        found.extend(side_data.map(|advice| (side_data::VARIABLE, side_data::SHARE, advice)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_for_systemd() {
        assert_eq!(line("A", "file:/run/x?size=1MiB"), "Environment=A=file:/run/x?size=1MiB\n");
        assert_eq!(line("A", "a b%\"\\"), "Environment=\"A=a b%%\\\"\\\\\"\n");
    }
}

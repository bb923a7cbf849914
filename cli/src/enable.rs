//! `sesscache enable` and `disable`: the library in a server that systemd starts.
//!
//! The unit's commands stay as they are: a drop-in adds variables. A file that hands them down is
//! written for the servers that need one. All that is made is listed, and `disable` removes it.

mod beside;
mod files;
mod key;
mod postfix;
mod root;
mod servers;
mod store;
mod unit;
mod unit_files;
mod variables;

use crate::arguments::{Disable, Enable};
use crate::key_change::KeyChangeError;
use crate::output;
use files::{Changes, mark};
use root::Root;
use servers::Target;
use std::ffi::c_int;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use unit::Unit;
use unit_files::DROP_IN;

/// The operator's units and drop-ins.
const UNITS: &str = "/etc/systemd/system";
/// The words before a folder in the drop-in's list of those that were made.
const MADE: &str = "# made: ";

/// The reasons why a server was not enabled or disabled.
#[derive(Debug)]
pub(crate) enum EnableError {
    /// The argument is no service's name, or an option has no usable value.
    Usage(String),
    /// The server must not, or cannot, have the library.
    Refused(String),
    /// There is no such unit.
    NoUnit(String),
    /// There is no library.
    NoLibrary(PathBuf),
    /// A file that `enable` would write is somebody else's.
    NotOurs(PathBuf),
    /// A file that `enable` would write, or `disable` remove, is another server's.
    OfAnother(PathBuf, String),
    /// The configuration of the unit or the server has to be changed first.
    Configuration(String),
    /// The key file cannot be made.
    Keygen(KeyChangeError),
    /// A file could not be read or written.
    File(PathBuf, io::Error),
    /// The lines about it could not be written.
    Output(io::Error),
}

impl EnableError {
    /// The exit status.
    pub(crate) fn exit_code(&self) -> c_int {
        match self {
            EnableError::Usage(_) => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for EnableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EnableError::Usage(why)
            | EnableError::Refused(why)
            | EnableError::Configuration(why) => write!(f, "{why}"),
            EnableError::NoUnit(name) => write!(
                f,
                "there is no {name}; is the server installed? `systemctl list-unit-files` has all \
                 names"
            ),
            EnableError::NoLibrary(path) => {
                write!(f, "{}: no such library; name it with --library", path.display())
            }
            EnableError::NotOurs(path) => write!(
                f,
                "{} was not written by `sesscache enable`; move it away, and try again",
                path.display()
            ),
            EnableError::OfAnother(path, other) => write!(
                f,
                "{} was written by `sesscache enable {other}`; `sesscache disable {other}` first",
                path.display()
            ),
            EnableError::Keygen(error) => write!(f, "{error}"),
            EnableError::File(path, error) if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "{}: {error}; this needs root", path.display())
            }
            EnableError::File(path, error) => write!(f, "{}: {error}", path.display()),
            EnableError::Output(error) => write!(f, "stdout: {error}"),
        }
    }
}

/// Runs `sesscache enable SERVER`.
pub(crate) fn enable(options: &Enable) -> Result<(), EnableError> {
    let root = open(options.root.as_deref())?;
    let target = Target::find(&root, &options.server).map_err(EnableError::Usage)?;
    refuse(&options.server, None)?;
    let unit =
        Unit::read(&root, &target.unit).ok_or_else(|| Unit::obstacle(&root, &target.unit))?;
    let command = unit.command();
    refuse(&options.server, command.first().map(Path::new))?;
    let mut changes = Changes::new(&root, options.dry_run, folders_of_others(&root, &target));
    let done = make(&mut changes, &root, (&target, &unit), options);
    if let Err(error) = done {
        changes.take_back();
        return Err(error);
    }
    if changes.is_change {
        changes.said.push(next(&target, &root));
    } else {
        changes.said.push(format!("{} is enabled already", target.word));
    }
    output::print(&changes.said.join("\n")).map_err(EnableError::Output)
}

/// Makes all that is missing, the drop-in last: what lies there without it has no effect.
fn make(
    changes: &mut Changes,
    root: &Root,
    (target, unit): (&Target, &Unit),
    options: &Enable,
) -> Result<(), EnableError> {
    let drop_in = drop_in_of(target);
    let old = changes.ours_for(&drop_in, &target.word)?;
    if let Some(other) = others(root, target).iter().find(|other| other.name == target.name) {
        return Err(EnableError::Configuration(format!(
            "{} and {} would both have the name {} in {}; `sesscache disable {1}` first",
            target.word,
            other.word,
            target.name,
            store::FOLDER
        )));
    }
    let place = store::Place::of(target, unit, root)?;
    let key_file = options.key_file.clone();
    let key_file = key_file.map_or_else(|| key::default_path(&target.name), Ok)?;
    let wanted = variables::Wanted { target, unit, options, place: &place, key_file: &key_file };
    let variables = variables::choose(changes, root, &wanted)?;
    let names: Vec<String> = variables.iter().map(|(name, _)| name.clone()).collect();
    place.make(changes, root, old.is_some())?;
    key::make(changes, root, target, (&key_file, place.user()), options)?;
    beside::write(changes, root, (target, unit), &names)?;
    let folder = drop_in.parent().unwrap_or(Path::new("/"));
    changes.folder(folder, 0o755, None)?;
    let mut made = folders_in(&old.unwrap_or_default());
    made.retain(|folder| !changes.gone.contains(folder));
    for folder in &changes.folders {
        if !made.contains(folder) {
            made.push(folder.clone());
        }
    }
    let text = drop_in_text(target, &made, &variables, place.drop_in_lines());
    changes.file(&drop_in, &text)
}

/// The text of the drop-in.
fn drop_in_text(
    target: &Target,
    made: &[PathBuf],
    variables: &[(String, String)],
    more: &str,
) -> String {
    let mut text = mark(&target.word);
    for folder in made {
        text.push_str(&format!("{MADE}{}\n", folder.display()));
    }
    text.push_str("[Service]\n");
    for (name, value) in variables {
        text.push_str(&variables::line(name, value));
    }
    text.push_str(more);
    text
}

/// Runs `sesscache disable SERVER`.
pub(crate) fn disable(options: &Disable) -> Result<(), EnableError> {
    let root = open(options.root.as_deref())?;
    let target = Target::find(&root, &options.server).map_err(EnableError::Usage)?;
    let mut changes = Changes::new(&root, options.dry_run, Vec::new());
    let drop_in = drop_in_of(&target);
    let old = changes.ours_for(&drop_in, &target.word)?;
    let others = others(&root, &target);
    if !others.iter().any(|other| other.kind == target.kind) {
        beside::remove(&mut changes, &root, target.kind)?;
    }
    let is_shared = others.iter().any(|other| other.name == target.name);
    if let Some(old) = &old {
        changes.remove(&drop_in)?;
        store::remove(&mut changes, &root, &target, is_shared)?;
        key::remove(&mut changes, &root, &target)?;
        let needed = folders_of_others(&root, &target);
        for folder in folders_in(old).iter().rev().filter(|folder| !needed.contains(folder)) {
            changes.remove_made_folder(folder);
        }
    } else if !is_shared {
        store::remove_left(&mut changes, &root, &target)?;
    }
    if old.is_some() {
        changes.said.push(next(&target, &root));
    } else {
        changes.said.push(format!("{} is not enabled", target.word));
    }
    output::print(&changes.said.join("\n")).map_err(EnableError::Output)
}

/// The unit of a server by the name that `enable` has for it.
pub(crate) fn unit_of(server: &str) -> Option<String> {
    let root = Root::open(None).ok()?;
    Target::find(&root, server).ok().map(|target| target.unit)
}

fn open(folder: Option<&Path>) -> Result<Root, EnableError> {
    let failed = |error| EnableError::File(folder.unwrap_or(Path::new("/")).to_owned(), error);
    Root::open(folder).map_err(failed)
}

fn refuse(word: &str, program: Option<&Path>) -> Result<(), EnableError> {
    servers::refusal(word, program).map_or(Ok(()), |why| Err(EnableError::Refused(why)))
}

/// The drop-in of a unit.
fn drop_in_of(target: &Target) -> PathBuf {
    Path::new(UNITS).join(format!("{}.d", target.unit)).join(DROP_IN)
}

/// The texts of our drop-ins of all other servers.
fn drop_ins_of_others(root: &Root, target: &Target) -> Vec<Vec<u8>> {
    let folders = root.find(Path::new(UNITS)).and_then(std::fs::read_dir);
    let drop_ins = folders
        .into_iter()
        .flatten()
        .flatten()
        .map(|folder| root.find(&Path::new(UNITS).join(folder.file_name()).join(DROP_IN)));
    let texts = drop_ins.filter_map(|file| std::fs::read(file.ok()?).ok());
    texts.filter(|text| files::server_in(text).is_some_and(|word| word != target.word)).collect()
}

/// The folders that they list.
fn folders_of_others(root: &Root, target: &Target) -> Vec<PathBuf> {
    drop_ins_of_others(root, target).iter().flat_map(|text| folders_in(text)).collect()
}

/// The other servers that are enabled. Two may have one name for a store: `a@b` and `a_b`.
fn others(root: &Root, target: &Target) -> Vec<Target> {
    let texts = drop_ins_of_others(root, target);
    let words = texts.iter().filter_map(|text| files::server_in(text));
    words.filter_map(|word| Target::find(root, word).ok()).collect()
}

/// The folders that a drop-in lists, the outer ones first.
fn folders_in(text: &[u8]) -> Vec<PathBuf> {
    let text = String::from_utf8_lossy(text);
    text.lines().filter_map(|line| line.strip_prefix(MADE)).map(PathBuf::from).collect()
}

/// The last line: what the operator does next.
fn next(target: &Target, root: &Root) -> String {
    let reload = if root.is_host() { "systemctl daemon-reload && " } else { "" };
    format!("next: {reload}systemctl restart {}", target.restart)
}

//! The key file of a server that systemd starts.
//!
//! It outlives a boot, because clients keep their tickets. A comment in it says that `enable` made it:
//! `disable` removes no other.

use super::EnableError;
use super::files::Changes;
use super::root::Root;
use super::servers::Target;
use crate::arguments::Enable;
use crate::key_change::KeyChangeError;
use crate::keygen;
use sesscache_core::key_file;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

/// The folder of key files.
const FOLDER: &str = "/etc/sesscache";

/// The comment in a key file that `enable` made.
fn comment(name: &str) -> String {
    format!("# Made by `sesscache enable {name}`; `sesscache disable {name}` removes it.\n")
}

/// The key file of a server by its name.
pub(super) fn default_path(name: &str) -> Result<PathBuf, EnableError> {
    Ok(Path::new(FOLDER).join(format!("{name}.key")))
}

/// Makes the key file if it is missing. One that exists is checked.
pub(super) fn make(
    changes: &mut Changes,
    root: &Root,
    target: &Target,
    (path, user): (&Path, Option<(&str, u32)>),
    options: &Enable,
) -> Result<(), EnableError> {
    let shown = root.shown(path);
    let failed = |error| EnableError::File(shown.clone(), error);
    match root.find_link(path) {
        Ok(_) => {}
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Err(_) if options.key_file.is_some() => {
            let error = KeyChangeError::Missing(shown.clone());
            return Err(EnableError::Keygen(error));
        }
        Err(_) => {
            // A user other than root must reach its own file, and cannot list the others.
            changes.folder(Path::new(FOLDER), 0o711, None)?;
            let made = match options.dry_run {
                true => None,
                false => Some(create(root, target, (path, user))?),
            };
            changes.made_file(path, made);
        }
    }
    if options.dry_run && root.find_link(path).is_err() {
        return Ok(());
    }
    check(root, (path, user))
}

fn create(
    root: &Root,
    target: &Target,
    (path, user): (&Path, Option<(&str, u32)>),
) -> Result<PathBuf, EnableError> {
    let shown = root.shown(path);
    let place = root.place(path).map_err(|error| EnableError::File(shown.clone(), error))?;
    keygen::create_with(&place, &comment(&target.word)).map_err(EnableError::Keygen)?;
    if let Some((_, number)) = user
        && let Err(error) = chown(&place, Some(number), None)
    {
        drop(fs::remove_file(&place));
        return Err(EnableError::File(shown, error));
    }
    Ok(place)
}

/// Checks that the server can read a key file, and that nobody else can.
fn check(root: &Root, (path, user): (&Path, Option<(&str, u32)>)) -> Result<(), EnableError> {
    let shown = root.shown(path);
    let failed = |error| EnableError::File(shown.clone(), error);
    let file = root.find_link(path).map_err(failed)?;
    let unusable = |why: String| Err(EnableError::Configuration(why));
    let Some((name, number)) = user else {
        // The server begins as the user of this command, and its library asks the same.
        let read = key_file::read(&file).map(drop);
        return read.or_else(|error| unusable(format!("{} {error}", shown.display())));
    };
    let found = file.symlink_metadata().map_err(failed)?;
    let shown = shown.display();
    if !found.is_file() {
        return unusable(format!("{shown} is not a regular file"));
    }
    if found.mode() & 0o077 != 0 {
        return unusable(format!("{shown} is open to other users; mend it: chmod 600 {shown}"));
    }
    if found.uid() != number {
        return unusable(format!("{shown} is not {name}'s; mend it: chown {name} {shown}"));
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mode = root.find(folder).and_then(fs::metadata).map_err(failed)?.mode();
    if mode & 0o001 == 0 {
        let folder = root.shown(folder);
        return unusable(format!(
            "{name} cannot reach {shown}; mend it: chmod 711 {}",
            folder.display()
        ));
    }
    Ok(())
}

/// Removes the key file if `enable` made it.
pub(super) fn remove(
    changes: &mut Changes,
    root: &Root,
    target: &Target,
) -> Result<(), EnableError> {
    let path = default_path(&target.name)?;
    let Ok(text) = root.find_link(&path).and_then(fs::read) else { return Ok(()) };
    let text = zeroize::Zeroizing::new(text);
    let comment = comment(&target.word);
    let is_made = text.split(|c| *c == b'\n').any(|line| line == comment.trim_end().as_bytes());
    if is_made {
        changes.remove(&path)?;
    } else {
        changes.said.push(format!("{} stays: it was there before", root.shown(&path).display()));
    }
    Ok(())
}

//! The store of a server that systemd starts, and its folder.
//!
//! A server that begins as root has its store in /run/sesscache, which the library makes when it is
//! missing. Another user's server has a folder there. `/run` is empty after each boot, so a file of
//! tmpfiles.d makes that folder again. The store's agent has to be that user, too.

use super::files::{Changes, mark};
use super::root::Root;
use super::servers::Target;
use super::unit::Unit;
use super::unit_files::DROP_IN;
use super::variables::quoted;
use super::{EnableError, UNITS};
use crate::store_folder::KEY_ENDING;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The folder of the host's stores.
pub(super) const FOLDER: &str = "/run/sesscache";

/// Where a server's store is.
#[derive(Debug)]
pub(super) struct Place {
    name: String,
    /// The server's name for `disable`.
    word: String,
    /// The user of the unit, by name and number, if it is not root.
    user: Option<(String, u32)>,
    /// Whether the unit sees a file system that it cannot write to.
    is_read_only: bool,
    /// Whether the unit names a store itself.
    is_theirs: bool,
}

impl Place {
    pub(super) fn of(target: &Target, unit: &Unit, root: &Root) -> Result<Place, EnableError> {
        if unit.is_on("DynamicUser") {
            return Err(EnableError::Refused(format!(
                "{} has DynamicUser=yes, and a store needs a user that stays: set DynamicUser=no \
                 and User= in a drop-in",
                unit.name
            )));
        }
        let number = |name: &str| {
            root.user(name).ok_or_else(|| {
                let file = root.shown(Path::new("/etc/passwd"));
                EnableError::Configuration(format!(
                    "{} runs as {name}, who is not in {}",
                    unit.name,
                    file.display()
                ))
            })
        };
        let user = unit.user().map(|name| Ok((name.to_owned(), number(name)?))).transpose()?;
        let is_read_only = unit.last("ProtectSystem") == Some("strict");
        let is_theirs = unit.variable("SESSCACHE_STORE").is_some();
        let (name, word) = (target.name.clone(), target.word.clone());
        Ok(Place { name, word, user, is_read_only, is_theirs })
    }

    /// The number of the unit's user, if it is not root.
    pub(super) fn user(&self) -> Option<(&str, u32)> {
        self.user.as_ref().map(|(name, number)| (name.as_str(), *number))
    }

    /// The store's URL.
    pub(super) fn url(&self) -> String {
        match self.user {
            Some(_) => format!("file:{FOLDER}/{0}/{0}", self.name),
            None => format!("file:{FOLDER}/{}", self.name),
        }
    }

    /// Refuses a place where something lies that was made while the unit had another user.
    fn check(&self, root: &Root, is_enabled: bool) -> Result<(), EnableError> {
        let folder = own_folder(&self.name);
        let found = root.find(&folder).and_then(|path| Ok((path.metadata()?, path)));
        let Ok((found, path)) = found else { return Ok(()) };
        let fits = match &self.user {
            Some((_, number)) => found.is_dir() && (self.is_theirs || found.uid() == *number),
            None => !found.is_dir() || self.is_theirs || is_empty(&path),
        };
        if fits { Ok(()) } else { Err(self.in_the_way(root, is_enabled)) }
    }

    fn in_the_way(&self, root: &Root, is_enabled: bool) -> EnableError {
        let why = match &self.user {
            Some((user, _)) => format!("is not a folder of {user}'s"),
            None => "is the folder of a user, and not empty".to_owned(),
        };
        let mend = match is_enabled {
            true => format!("`sesscache disable {}` first", self.word),
            false => "remove it, and try again".to_owned(),
        };
        let shown = root.shown(&own_folder(&self.name));
        EnableError::Configuration(format!("{} {why}; {mend}", shown.display()))
    }

    /// Makes the folder, now and at each boot. What was made for a user goes if the unit has none.
    pub(super) fn make(
        &self,
        changes: &mut Changes,
        root: &Root,
        is_enabled: bool,
    ) -> Result<(), EnableError> {
        self.check(root, is_enabled)?;
        changes.folder(Path::new(FOLDER), 0o755, None)?;
        if self.user.is_none() {
            self.clear(changes)?;
            let folder = own_folder(&self.name);
            let is_left = root.find(&folder).is_ok_and(|path| path.is_dir());
            // Something may have come into it meanwhile, or is mounted there.
            if is_left && !self.is_theirs && !changes.gone.contains(&folder) {
                return Err(self.in_the_way(root, is_enabled));
            }
        }
        self.make_agent_drop_in(changes)?;
        let mut lines = format!("d {FOLDER} 0755 root root -\n");
        if let Some((name, number)) = &self.user {
            changes.folder(&own_folder(&self.name), 0o700, Some(*number))?;
            lines.push_str(&format!("d {FOLDER}/{} 0700 {name} - -\n", self.name));
        }
        if self.user.is_none() && !self.is_read_only {
            return Ok(());
        }
        changes.folder(Path::new("/etc/tmpfiles.d"), 0o755, None)?;
        changes.file(&at_boot(&self.name), &(mark(&self.word) + &lines))
    }

    /// Removes what was made while the unit had a user.
    fn clear(&self, changes: &mut Changes) -> Result<(), EnableError> {
        let agent = agent_drop_in(&self.name);
        if changes.remove_of(&agent, &self.word)? {
            changes.remove_folder(agent.parent().unwrap_or(Path::new("/")));
        }
        if !self.is_read_only {
            changes.remove_of(&at_boot(&self.name), &self.word)?;
        }
        if !self.is_theirs {
            changes.remove_folder(&own_folder(&self.name));
        }
        Ok(())
    }

    /// Has sesscache-agent@NAME follow a store of another user as that user.
    fn make_agent_drop_in(&self, changes: &mut Changes) -> Result<(), EnableError> {
        let Some((user, _)) = &self.user else { return Ok(()) };
        let drop_in = agent_drop_in(&self.name);
        changes.folder(drop_in.parent().unwrap_or(Path::new("/")), 0o755, None)?;
        let text = agent_lines(user, &changes.own_command(), &self.name);
        changes.file(&drop_in, &(mark(&self.word) + &text))
    }

    /// Lines of the drop-in beside the variables.
    pub(super) fn drop_in_lines(&self) -> &'static str {
        if self.is_read_only { "ReadWritePaths=/run/sesscache\n" } else { "" }
    }
}

/// The agent's lines: it runs as the store's user. Its `RuntimeDirectory=` would give that user
/// the folder of all stores.
fn agent_lines(user: &str, command: &Path, name: &str) -> String {
    format!(
        "[Service]\nUser={user}\nRuntimeDirectory=\nExecStart=\nExecStart={} agent --store \
         {FOLDER}/{name}/{name} $AGENT_OPTIONS $STORE_OPTIONS\n",
        quoted(&command.to_string_lossy()),
    )
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut files| files.next().is_none())
}

fn own_folder(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

fn agent_drop_in(name: &str) -> PathBuf {
    Path::new(UNITS).join(format!("sesscache-agent@{name}.service.d")).join(DROP_IN)
}

fn at_boot(name: &str) -> PathBuf {
    PathBuf::from(format!("/etc/tmpfiles.d/sesscache-{name}.conf"))
}

/// Removes what makes the store's folder, and the store, if it is no other server's. A server that
/// runs keeps its memory, and finds nothing of it after its restart.
pub(super) fn remove(
    changes: &mut Changes,
    root: &Root,
    target: &Target,
    is_shared: bool,
) -> Result<(), EnableError> {
    for file in [at_boot(&target.name), agent_drop_in(&target.name)] {
        changes.remove_of(&file, &target.word)?;
    }
    if is_shared {
        return Ok(());
    }
    let folder = own_folder(&target.name);
    match root.find_link(&folder) {
        Ok(path) if path.is_dir() => changes.remove(&folder.join(&target.name)),
        Ok(_) => changes.remove(&folder),
        Err(_) => Ok(()),
    }
}

/// Removes a store that the server made again between `disable` and its restart. A store of `sesscache run`
/// has its key file beside it, and stays, as does a store that a process uses.
pub(super) fn remove_left(
    changes: &mut Changes,
    root: &Root,
    target: &Target,
) -> Result<(), EnableError> {
    let store = own_folder(&target.name);
    let key = PathBuf::from(format!("{}{KEY_ENDING}", store.display()));
    let is_file = root.find_link(&store).is_ok_and(|path| path.is_file());
    if !is_file || root.find_link(&key).is_ok() || (root.is_host() && is_used(&store)) {
        return Ok(());
    }
    changes.remove(&store)?;
    changes.remove_folder(Path::new(FOLDER));
    Ok(())
}

/// Whether a process, whose memory we may see, has a store in it.
fn is_used(store: &Path) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let maps = processes.filter_map(|process| fs::read(process.path().join("maps")).ok());
    let name = store.as_os_str().as_encoded_bytes();
    maps.into_iter().any(|maps| maps.split(|c| *c == b'\n').any(|line| line.ends_with(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_quoted_for_systemd() {
        for (path, word) in [
            ("/usr/local/bin/sesscache", "/usr/local/bin/sesscache"),
            ("/opt/my tools/sesscache", "\"/opt/my tools/sesscache\""),
            ("/opt/5%n/sesscache", "\"/opt/5%%n/sesscache\""),
            ("/opt/a\"b\\c/sesscache", "\"/opt/a\\\"b\\\\c/sesscache\""),
        ] {
            let line =
                format!("\nExecStart={word} agent --store /run/sesscache/x/x $AGENT_OPTIONS");
            let lines = agent_lines("web", Path::new(path), "x");
            assert!(lines.contains(&line), "{lines}");
        }
    }
}

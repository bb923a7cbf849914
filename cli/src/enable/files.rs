//! Files and folders that `enable` makes and `disable` removes.
//!
//! A file appears whole or not at all. Its first line says who wrote it; a file without that line is
//! never replaced or removed. If a run fails, all that it made is taken away again.

use super::EnableError;
use super::root::Root;
use super::variables::COMMANDS;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// This command's file.
const NAME: &str = "sesscache";
/// The first words of each file that `enable` writes.
const MARK: &str = "# Written by `sesscache enable ";

/// The first line of a file. All our files take `#` for a comment.
pub(super) fn mark(name: &str) -> String {
    format!("{MARK}{name}`; `sesscache disable {name}` removes it. Changes are lost.\n")
}

/// The server that such a line names, if a text begins with one.
pub(super) fn server_in(text: &[u8]) -> Option<&str> {
    let rest = text.strip_prefix(MARK.as_bytes())?;
    std::str::from_utf8(rest.split(|c| *c == b'`').next()?).ok()
}

/// A change that was made, for the case that a later one fails.
enum Undo {
    RemoveFile(PathBuf),
    RemoveFolder(PathBuf),
    PutBack(PathBuf, Vec<u8>),
    MakeFolder(PathBuf, Metadata),
}

/// The changes of one run, or, if it is dry, what they would be.
pub(super) struct Changes<'a> {
    root: &'a Root,
    is_dry: bool,
    undo: Vec<Undo>,
    /// A line about each change, and about each thing that is as it was.
    pub(super) said: Vec<String>,
    /// Folders that `enable` made for other servers: the last one that is disabled removes them.
    known: Vec<PathBuf>,
    /// The folders that were made, as paths inside the root, and those of them that were needed.
    pub(super) folders: Vec<PathBuf>,
    /// The files and folders that were removed.
    pub(super) gone: Vec<PathBuf>,
    /// Whether anything was changed, or would be.
    pub(super) is_change: bool,
}

impl<'a> Changes<'a> {
    pub(super) fn new(root: &'a Root, is_dry: bool, known: Vec<PathBuf>) -> Changes<'a> {
        let (undo, said, folders, gone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Changes { root, is_dry, undo, said, known, folders, gone, is_change: false }
    }

    /// This command's path, as a unit inside the root has to name it. Where the root has none, it is
    /// where the package will put it.
    pub(super) fn own_command(&self) -> PathBuf {
        let own = std::env::current_exe().ok().filter(|_| self.root.is_host());
        let is_there = |path: &PathBuf| self.root.find(path).is_ok_and(|path| path.is_file());
        own.or_else(|| {
            COMMANDS.map(|folder| Path::new(folder).join(NAME)).into_iter().find(is_there)
        })
        .unwrap_or_else(|| Path::new("/usr/bin").join(NAME))
    }

    /// Says what was done to a path: "made", "wrote", "removed".
    fn note(&mut self, done: &str, inside: &Path) {
        self.is_change = true;
        let would = if self.is_dry { "not done, because of --dry-run: " } else { "" };
        self.said.push(format!("{would}{done} {}", self.root.shown(inside).display()));
    }

    fn failed(&self, inside: &Path, error: io::Error) -> EnableError {
        EnableError::File(self.root.shown(inside), error)
    }

    /// Makes a folder, and those above it that are missing. One that exists stays as it is.
    pub(super) fn folder(
        &mut self,
        inside: &Path,
        mode: u32,
        owner: Option<u32>,
    ) -> Result<(), EnableError> {
        match self.root.find(inside) {
            Ok(found) if found.is_dir() => {
                if self.known.iter().any(|known| known == inside) {
                    self.folders.push(inside.to_owned());
                }
                return Ok(());
            }
            Ok(_) => return Err(self.failed(inside, io::Error::other("not a folder"))),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.failed(inside, error));
            }
            Err(_) => {}
        }
        if let Some(above) = inside.parent() {
            self.folder(above, 0o755, None)?;
        }
        if !self.is_dry {
            let failed = |error| EnableError::File(self.root.shown(inside), error);
            let path = self.root.place(inside).map_err(failed)?;
            DirBuilder::new().mode(mode).create(&path).map_err(failed)?;
            self.undo.push(Undo::RemoveFolder(path.clone()));
            // The umask may have taken bits away.
            fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(failed)?;
            if owner.is_some() {
                chown(&path, owner, None).map_err(failed)?;
            }
        }
        self.folders.push(inside.to_owned());
        self.note("made the folder", inside);
        Ok(())
    }

    /// Notes a file that the caller made.
    pub(super) fn made_file(&mut self, inside: &Path, path: Option<PathBuf>) {
        self.undo.extend(path.map(Undo::RemoveFile));
        self.note("made the key file", inside);
    }

    /// Writes a file of ours. One that is not ours, or another server's, is refused.
    pub(super) fn file(&mut self, inside: &Path, text: &str) -> Result<(), EnableError> {
        let old = self.ours_for(inside, server_in(text.as_bytes()).unwrap_or_default())?;
        self.write(inside, text, old)
    }

    /// Writes a file of ours that all instances of a server have in common.
    pub(super) fn common_file(&mut self, inside: &Path, text: &str) -> Result<(), EnableError> {
        let old = self.ours(inside)?;
        self.write(inside, text, old)
    }

    fn write(
        &mut self,
        inside: &Path,
        text: &str,
        old: Option<Vec<u8>>,
    ) -> Result<(), EnableError> {
        if old.as_deref() == Some(text.as_bytes()) {
            self.said.push(format!("{} is as it was", self.root.shown(inside).display()));
            return Ok(());
        }
        self.put(inside, text.as_bytes(), old)?;
        self.note("wrote", inside);
        if self.is_dry {
            self.said.extend(text.lines().map(|line| format!("    {line}")));
        }
        Ok(())
    }

    /// The bytes of a file of ours, if it is there. A file of somebody else's is an error.
    pub(super) fn ours(&self, inside: &Path) -> Result<Option<Vec<u8>>, EnableError> {
        let path = match self.root.find_link(inside) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(inside, error)),
        };
        let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file());
        let text = if is_file { fs::read(&path) } else { Ok(Vec::new()) };
        match text {
            Ok(text) if server_in(&text).is_some() => Ok(Some(text)),
            Ok(_) => Err(EnableError::NotOurs(self.root.shown(inside))),
            Err(error) => Err(self.failed(inside, error)),
        }
    }

    /// The same of a file that one server has for itself. Another server's is an error, too.
    pub(super) fn ours_for(
        &self,
        inside: &Path,
        server: &str,
    ) -> Result<Option<Vec<u8>>, EnableError> {
        let found = self.ours(inside)?;
        match found.as_deref().and_then(server_in).filter(|other| *other != server) {
            Some(other) => Err(EnableError::OfAnother(self.root.shown(inside), other.to_owned())),
            None => Ok(found),
        }
    }

    /// Removes a file that is this server's, and says whether it was there. Any other one stays.
    pub(super) fn remove_of(&mut self, inside: &Path, server: &str) -> Result<bool, EnableError> {
        let found = match self.ours(inside) {
            Err(EnableError::NotOurs(_)) => None,
            found => found?.filter(|text| server_in(text) == Some(server)),
        };
        let Some(old) = found else { return Ok(false) };
        let path = self.root.find_link(inside).map_err(|error| self.failed(inside, error))?;
        self.remove(inside)?;
        if !self.is_dry {
            self.undo.push(Undo::PutBack(path, old));
        }
        Ok(true)
    }

    /// Replaces the text of somebody else's file, which keeps its owner and mode.
    pub(super) fn edit(&mut self, inside: &Path, old: &str, new: &str) -> Result<(), EnableError> {
        self.put(inside, new.as_bytes(), Some(old.as_bytes().to_vec()))?;
        self.note("changed", inside);
        Ok(())
    }

    /// Puts a file in place in one step. `old` is what is there now, for the case of a failure.
    fn put(&mut self, inside: &Path, new: &[u8], old: Option<Vec<u8>>) -> Result<(), EnableError> {
        if self.is_dry {
            return Ok(());
        }
        let path = self.root.find(inside).or_else(|_| self.root.place(inside));
        let path = path.map_err(|error| self.failed(inside, error))?;
        write_whole(&path, new, old.is_some()).map_err(|error| self.failed(inside, error))?;
        self.undo.push(match old {
            Some(old) => Undo::PutBack(path, old),
            None => Undo::RemoveFile(path),
        });
        Ok(())
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&mut self, inside: &Path) -> Result<(), EnableError> {
        let path = match self.root.find_link(inside) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.failed(inside, error)),
        };
        if !self.is_dry {
            fs::remove_file(path).map_err(|error| self.failed(inside, error))?;
        }
        self.gone.push(inside.to_owned());
        self.note("removed", inside);
        Ok(())
    }

    /// Removes a folder if it is empty.
    pub(super) fn remove_folder(&mut self, inside: &Path) {
        let Ok(path) = self.root.find_link(inside) else { return };
        let Some(found) = path.symlink_metadata().ok().filter(Metadata::is_dir) else { return };
        if self.rest_of(inside, &path).is_some() {
            return;
        }
        if !self.is_dry {
            if fs::remove_dir(&path).is_err() {
                return;
            }
            self.undo.push(Undo::MakeFolder(path, found));
        }
        self.gone.push(inside.to_owned());
        self.note("removed the folder", inside);
    }

    /// The same of a folder that `enable` has made: if it stays, a line says why.
    pub(super) fn remove_made_folder(&mut self, inside: &Path) {
        self.remove_folder(inside);
        let Ok(path) = self.root.find_link(inside) else { return };
        let is_left = path.is_dir() && !self.gone.iter().any(|gone| gone == inside);
        if let Some(name) = self.rest_of(inside, &path).filter(|_| is_left) {
            let folder = self.root.shown(inside);
            self.said.push(format!(
                "the folder {} stays, because {} is in it",
                folder.display(),
                name.display()
            ));
        }
    }

    /// The first name in a folder that was not removed.
    fn rest_of(&self, inside: &Path, path: &Path) -> Option<OsString> {
        let names = fs::read_dir(path).into_iter().flatten().flatten().map(|file| file.file_name());
        names.filter(|name| !self.gone.contains(&inside.join(name))).min()
    }

    /// Takes all changes back, the last one first. What fails here is left to the next run.
    pub(super) fn take_back(&mut self) {
        while let Some(undo) = self.undo.pop() {
            drop(match undo {
                Undo::RemoveFile(path) => fs::remove_file(path),
                Undo::RemoveFolder(path) => fs::remove_dir(path),
                Undo::PutBack(path, old) => write_whole(&path, &old, path.exists()),
                Undo::MakeFolder(path, old) => make_again(&path, &old),
            });
        }
    }
}

/// Makes a folder as it was.
fn make_again(path: &Path, old: &Metadata) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    chown(path, Some(old.uid()), Some(old.gid()))?;
    fs::set_permissions(path, old.permissions())
}

/// Writes a file under another name and renames it. `replace` says whether one is there, whose owner
/// and mode it keeps; without, a file that appeared meanwhile is an error.
fn write_whole(path: &Path, bytes: &[u8], replace: bool) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(".sesscache-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    let (mode, owner) = match replace {
        true => {
            let old = path.metadata()?;
            (old.mode() & 0o7777, Some((old.uid(), old.gid())))
        }
        false => (0o644, None),
    };
    let made = file.as_file().metadata()?;
    if let Some((user, group)) = owner.filter(|owner| *owner != (made.uid(), made.gid())) {
        std::os::unix::fs::fchown(file.as_file(), Some(user), Some(group))?;
    }
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    match replace {
        true => file.persist(path)?,
        false => file.persist_noclobber(path)?,
    };
    fs::File::open(folder)?.sync_all()
}

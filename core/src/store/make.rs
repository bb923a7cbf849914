//! The making of a store's file, and of its folder.
//!
//! A file is made under another name and linked into place when it is whole, so that no process ever
//! sees half of it. Its maker holds a lock on it meanwhile. So a file of such a name without a lock
//! was left by a process that was killed, and the next one to open the store removes it.

use super::Store;
use super::layout::Geometry;
use super::mapping::{Mapping, Outside};
use super::open_error::{OpenError, system};
use super::size::Limits;
use super::url::{Sharing, StoreUrl};
use crate::system::files::{
    access_list, is_network_filesystem, reserve, set_length, try_exclusive_lock, try_lock_now,
    unlock,
};
use crate::system::process::{effective_user, random_bytes};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Root's folder of stores.
pub const HOST_FOLDER: &str = "/run/sesscache";

/// The end of the name under which a file is made.
const ENDING: &[u8] = b".new";
/// The hexadecimal digits before that.
const DIGITS: usize = 32;

/// The device and inode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId(u64, u64);

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> FileId {
        FileId(metadata.dev(), metadata.ino())
    }
}

/// A file that is to be made.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) path: &'a Path,
    pub(super) url: &'a StoreUrl,
    /// The file of another version in whose place it goes.
    pub(super) before: Option<FileId>,
}

/// Makes the file; `None` if another process was faster.
pub(super) fn file(wanted: &Wanted<'_>) -> Result<Option<Store>, OpenError> {
    let Wanted { path, url, before } = *wanted;
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.exists() {
        make_folder(folder, url)?;
    }
    check_folder(folder)?;
    // A process id would not do: two threads have the same, and so have the servers of two
    // containers.
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{:032x}.new", u128::from_ne_bytes(random_id())));
    let unfinished = Unfinished(PathBuf::from(name));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&unfinished.0)
        .map_err(system("cannot make it"))?;
    if is_network_filesystem(&file) {
        return Err(OpenError::Network);
    }
    // Fails if it is taken for left over in this instant. Then the link below fails, too.
    try_lock_now(&file);
    let size = Limits::of_file(&file).size(url.size)?;
    reserve_heads(&file, size).map_err(|_| OpenError::NoRoom)?;
    let mapping = Mapping::of_file(&file, size).map_err(system("cannot map it"))?;
    let id = FileId::of(&file.metadata().map_err(system("cannot look at it"))?);
    let store = Store::made(mapping, size, Some(id))?;
    store.begin_room(url.size, before.is_some()).map_err(|Outside| OpenError::Layout)?;
    share(&file, url.sharing)?;
    let linked = match before {
        None => fs::hard_link(&unfinished.0, path),
        Some(before) => replace(&unfinished.0, path, before),
    };
    unlock(&file);
    match linked {
        Ok(()) => Ok(Some(store)),
        Err(error) => match error.kind() {
            // There is one, or this one was taken for left over in the instant before the lock.
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound => Ok(None),
            _ => Err(OpenError::System("cannot make it", error)),
        },
    }
}

/// Lets the file's group use it, if it is to. A folder may have given it a list of more users (acl(5)).
fn share(file: &File, sharing: Sharing) -> Result<(), OpenError> {
    if sharing == Sharing::Owner {
        return Ok(());
    }
    if access_list(file, &mut []).is_some() {
        return Err(OpenError::Mode);
    }
    file.set_permissions(Permissions::from_mode(0o660)).map_err(system("cannot share it"))
}

/// Looks whether a file can be made here, if its folder may be written to.
pub(super) fn look(
    path: &Path,
    asked: Option<usize>,
    key_file: Option<&Path>,
) -> Result<(), OpenError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.exists() {
        return if makes_folder(folder, key_file) { Ok(()) } else { Err(OpenError::NoFolder) };
    }
    check_folder(folder)?;
    let folder = File::open(folder).map_err(system("cannot look at its folder"))?;
    if is_network_filesystem(&folder) {
        return Err(OpenError::Network);
    }
    Limits::of_file(&folder).size(asked).map(|_| ())
}

/// Takes the room that the making needs. The rest is the work of `room`.
fn reserve_heads(file: &File, size: usize) -> io::Result<()> {
    set_length(file, size)?;
    let geometry = Geometry::of(size).ok_or(io::ErrorKind::InvalidInput)?;
    geometry.heads().try_for_each(|(offset, length)| reserve(file, offset, length))
}

/// Puts a finished file in the place of another one, unless that is not there any more. Processes that
/// have the other one mapped keep it.
fn replace(unfinished: &Path, path: &Path, before: FileId) -> io::Result<()> {
    // Not the file's own lock, which an agent may hold. Held until the folder is closed.
    let folder = File::open(path.parent().unwrap_or(Path::new("/")))?;
    if !try_exclusive_lock(&folder) {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    if FileId::of(&fs::symlink_metadata(path)?) == before {
        fs::rename(unfinished, path)
    } else {
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// Whether nobody else can put a file in the place of ours.
fn check_folder(folder: &Path) -> Result<(), OpenError> {
    check_folder_of(effective_user(), folder)
}

/// Whether only `owner` and root can put a file in the place of `owner`'s. In a sticky folder somebody else
/// could, as long as there is none: `owner` need not be the user whose file is meant, unless it is us.
pub(super) fn check_folder_of(owner: u32, folder: &Path) -> Result<(), OpenError> {
    let folder = fs::metadata(folder).map_err(system("cannot look at its folder"))?;
    let trusted = folder.uid() == owner || folder.uid() == 0;
    let is_shared = folder.mode() & 0o022 != 0;
    let is_sticky = folder.mode() & 0o1000 != 0 && owner == effective_user();
    if trusted && (!is_shared || is_sticky) { Ok(()) } else { Err(OpenError::Folder) }
}

pub(super) fn random_id() -> [u8; 16] {
    let mut id = [0; 16];
    random_bytes(&mut id);
    id
}

/// A file under its first name, which it loses in any case.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// Whether this folder is made for a store if it is missing. Elsewhere a path into a missing folder is
/// mistyped. /run is empty after a start of the machine, and nobody else looks into a folder that its
/// user alone may enter. The folder of the key file is the operator's choice.
pub fn makes_folder(folder: &Path, key_file: Option<&Path>) -> bool {
    let is_private = |outer: &Path| {
        fs::metadata(outer)
            .is_ok_and(|outer| outer.uid() == effective_user() && outer.mode() & 0o077 == 0)
    };
    let has_key = |outer: &Path| key_file.and_then(Path::parent) == Some(outer) && outer.exists();
    folder == Path::new(HOST_FOLDER)
        || folder.parent().is_some_and(|outer| is_private(outer) || has_key(outer))
}

fn make_folder(folder: &Path, url: &StoreUrl) -> Result<(), OpenError> {
    if !makes_folder(folder, url.key_file.as_deref()) {
        return Err(OpenError::NoFolder);
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) if url.sharing == Sharing::Group => open_to_group(folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
    .map_err(system("cannot make its folder"))
}

/// Lets the group enter a folder that was just made. Its set-group-ID bit stays.
fn open_to_group(folder: &Path) -> io::Result<()> {
    let mode = fs::metadata(folder)?.mode();
    fs::set_permissions(folder, Permissions::from_mode(mode | 0o050))
}

/// Removes the files that killed makers of this store have left.
pub(super) fn clear(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    let Ok(files) = folder.read_dir() else { return };
    let left = |file: &fs::DirEntry| is_unfinished(&file.file_name(), name);
    files.take(MOST_FILES).flatten().filter(left).for_each(|file| remove_left(&file.path(), path));
}

/// The most files of a folder that are looked at: one in /dev/shm may have many neighbours.
const MOST_FILES: usize = 1000;

/// Whether a file is of the name under which the store `name` is made.
fn is_unfinished(file: &OsStr, name: &OsStr) -> bool {
    let digits = file
        .as_bytes()
        .strip_prefix(name.as_bytes())
        .and_then(|rest| rest.strip_prefix(b"."))
        .and_then(|rest| rest.strip_suffix(ENDING));
    digits.is_some_and(|text| text.len() == DIGITS && text.iter().all(u8::is_ascii_hexdigit))
}

fn remove_left(left: &Path, path: &Path) {
    let own = |found: &fs::Metadata| found.is_file() && found.uid() == effective_user();
    let Some(found) = fs::symlink_metadata(left).ok().filter(own) else { return };
    let id = FileId::of(&found);
    // A second name of the finished file. An agent may hold its lock.
    let is_finished = || fs::symlink_metadata(path).is_ok_and(|store| FileId::of(&store) == id);
    if is_finished() || File::open(left).is_ok_and(|file| try_lock_now(&file)) {
        drop(fs::remove_file(left));
    }
}

#[cfg(test)]
mod tests;

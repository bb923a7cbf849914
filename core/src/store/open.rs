//! Opening a store: anonymous memory, a new file, or an existing file.
//!
//! A new file is the work of `make`, and so is one in the place of a file of another version. An existing
//! file is checked and not changed. The descriptor is closed at once.

use super::Store;
use super::layout::{BYTE_ORDER, Geometry, HEADER_BYTES, MAGIC, VERSION, header};
use super::make::{self, FileId, Wanted, check_folder_of, random_id};
use super::mapping::{Mapping, Outside};
use super::open_error::{OpenError, system};
use super::size::Limits;
use super::url::{Medium, Sharing, StoreUrl};
use crate::system::files::{access_list, is_network_filesystem};
use crate::system::process::{effective_user, is_in_group};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The first bytes of a file.
type Header = [u8; header::ID];

impl Store {
    /// Opens the store of a URL, and takes its room. A missing file is made.
    ///
    /// # Errors [`OpenError`]; an existing file is left as it is.
    pub fn open(url: &StoreUrl) -> Result<Store, OpenError> {
        let store = Store::map(url, OtherVersion::Replace)?;
        store.take_room(&url.medium)?;
        Ok(store)
    }

    /// Maps the store of a URL. A missing file is made, as large as there is room for. It is used after
    /// [`Store::take_room`].
    ///
    /// # Errors [`OpenError`]; an existing file is left as it is.
    pub fn map(url: &StoreUrl, other: OtherVersion) -> Result<Store, OpenError> {
        let Medium::File(path) = &url.medium else { return Store::in_memory(url.size) };
        let whose = Whose::of(url.sharing);
        loop {
            let before = match open_file(path, whose) {
                Ok(file) => match Store::of_file(&file, url.size, whose) {
                    Err(OpenError::Version) if other == OtherVersion::Replace => {
                        Some(FileId::of(&file.metadata().map_err(system("cannot look at it"))?))
                    }
                    result => {
                        make::clear(path);
                        return result;
                    }
                },
                Err(OpenError::System(_, error)) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            // They may have all the room.
            make::clear(path);
            if let Some(store) = make::file(&Wanted { path, url, before })? {
                return Ok(store);
            }
            // Another process was faster, and its file is there now.
        }
    }

    /// Opens an existing file, which may be shared with a group of this process. Root may open every
    /// user's, to look at it.
    ///
    /// # Errors [`OpenError`], also if there is no file.
    pub fn open_existing(path: &Path) -> Result<Store, OpenError> {
        let whose = if effective_user() == 0 { Whose::Anybody } else { Whose::Group };
        Store::of_file(&open_file(path, whose)?, None, whose)
    }

    /// Looks whether a store of this URL can be opened, and makes nothing. A file of another version
    /// counts, because a new one takes its place.
    ///
    /// # Errors [`OpenError`], as [`Store::open`] would have it.
    pub fn look(url: &StoreUrl) -> Result<(), OpenError> {
        let Medium::File(path) = &url.medium else { return Ok(()) };
        let whose = Whose::of(url.sharing);
        match open_file(path, whose) {
            Ok(file) => match Store::of_file(&file, url.size, whose) {
                Ok(_) | Err(OpenError::Version) => Ok(()),
                Err(error) => Err(error),
            },
            Err(OpenError::System(_, error)) if error.kind() == io::ErrorKind::NotFound => {
                make::look(path, url.size, url.key_file.as_deref())
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the path still names this store's file. A store in memory is always in place.
    pub fn is_in_place(&self, medium: &Medium) -> bool {
        let Medium::File(path) = medium else { return true };
        fs::symlink_metadata(path).is_ok_and(|found| self.file == Some(FileId::of(&found)))
    }

    /// Lets go of the memory, for example of a file that was removed. Whoever still uses this store
    /// finds nothing in it. For a store that is kept until the process ends.
    pub fn let_go(&self) {
        self.mapping.let_go();
    }

    fn in_memory(asked: Option<usize>) -> Result<Store, OpenError> {
        let size = Limits::of_memory().size(asked)?;
        let mapping = Mapping::anonymous(size).map_err(system("no memory for it"))?;
        let store = Store::made(mapping, size, None)?;
        store.begin_room(asked, false).map_err(|Outside| OpenError::Layout)?;
        Ok(store)
    }

    /// Writes the head of a store into fresh memory.
    pub(super) fn made(
        mut mapping: Mapping,
        size: usize,
        file: Option<FileId>,
    ) -> Result<Store, OpenError> {
        let geometry = Geometry::of(size).ok_or(OpenError::Layout)?;
        mapping.lay_out(&geometry);
        let store = Store { mapping, geometry, file };
        store.write_header().map_err(|Outside| OpenError::Layout)?;
        Ok(store)
    }

    fn write_header(&self) -> Result<(), Outside> {
        self.mapping.write(header::ID, &random_id())?;
        self.begin_record_format()?;
        self.mapping.write(header::DESCRIPTION, &self.geometry.header())?;
        self.mapping.write(header::MAGIC, &MAGIC)
    }

    fn of_file(file: &File, asked: Option<usize>, whose: Whose) -> Result<Store, OpenError> {
        let metadata = file.metadata().map_err(system("cannot look at it"))?;
        // First, because no other mend is right for a file of another kind.
        let first = head_of(file, &metadata)?;
        whose.check(file, &metadata)?;
        if is_network_filesystem(file) {
            return Err(OpenError::Network);
        }
        match version_of(&first) {
            Some(VERSION) => {}
            Some(_) => return Err(OpenError::Version),
            None => return Err(OpenError::Layout),
        }
        let size = usize::try_from(metadata.len()).map_err(|_| OpenError::Layout)?;
        let geometry = Geometry::of(size).ok_or(OpenError::Layout)?;
        if first.get(header::DESCRIPTION..header::ID) != Some(&geometry.header()) {
            return Err(OpenError::Layout);
        }
        let mut mapping = Mapping::of_file(file, size).map_err(system("cannot map it"))?;
        mapping.lay_out(&geometry);
        let store = Store { mapping, geometry, file: Some(FileId::of(&metadata)) };
        let is_other = |asked: &usize| *asked != size && !store.was_asked_for(*asked);
        if let Some(asked) = asked.filter(is_other) {
            return Err(OpenError::Size { is: size as u64, asked: asked as u64 });
        }
        let takes_room = whose != Whose::Anybody && !store.has_room();
        if takes_room && !Limits::of_file(file).allow(size) {
            return Err(OpenError::NoRoom);
        }
        Ok(store)
    }
}

/// The treatment of a file of another version of the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherVersion {
    /// A new file takes its place. Processes that have it mapped keep it.
    Replace,
    /// It is an error: this process has a store of its own version, and would take turns with the other
    /// version.
    Refuse,
}

/// Whose files are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// The own user's, which nobody else may use.
    Own,
    /// Also those that all members of a group of ours may use, whoever of them has made the file.
    Group,
    /// Everybody's.
    Anybody,
}

impl Whose {
    fn of(sharing: Sharing) -> Whose {
        match sharing {
            Sharing::Owner => Whose::Own,
            Sharing::Group => Whose::Group,
        }
    }

    /// Whether the members of the file's group are as good as its owner. For a file of our own the group
    /// is our choice. A list of more users (acl(5)) is nobody's.
    fn trusts_group(self, file: &File, found: &Metadata) -> bool {
        let is_ours = || found.uid() == effective_user() || is_in_group(found.gid());
        let is_asked_for = match self {
            Whose::Own => false,
            Whose::Group => is_ours(),
            Whose::Anybody => true,
        };
        is_asked_for && found.mode() & 0o077 == 0o060 && access_list(file, &mut []).is_none()
    }

    /// Other users could have put a file of theirs in place, and truncate it under us.
    fn check(self, file: &File, found: &Metadata) -> Result<(), OpenError> {
        if self.trusts_group(file, found) {
            return Ok(());
        }
        if found.uid() != effective_user() && self != Whose::Anybody {
            Err(OpenError::Owner)
        } else if found.mode() & 0o077 != 0 {
            Err(OpenError::Mode)
        } else {
            Ok(())
        }
    }
}

/// The version of the layout, if it is of a machine like this one.
fn version_of(first: &Header) -> Option<u32> {
    let half = |at: usize| first.get(at..)?.first_chunk().map(|&bytes| u32::from_ne_bytes(bytes));
    let is_of_this_order = half(header::DESCRIPTION + 4) == Some(BYTE_ORDER);
    half(header::DESCRIPTION).filter(|_| is_of_this_order)
}

fn open_file(path: &Path, whose: Whose) -> Result<File, OpenError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP) => OpenError::Link,
            Some(libc::EISDIR | libc::ENXIO) => OpenError::NotAFile,
            _ => OpenError::System("cannot open it", error),
        })?;
    if whose != Whose::Anybody {
        let found = file.metadata().map_err(system("cannot look at it"))?;
        let is_shared = whose.trusts_group(&file, &found);
        check_folder_of(if is_shared { found.uid() } else { effective_user() }, folder)?;
    }
    Ok(file)
}

/// The first bytes of a file that begins as a store does.
fn head_of(mut file: &File, metadata: &Metadata) -> Result<Header, OpenError> {
    if !metadata.is_file() {
        return Err(OpenError::NotAFile);
    }
    let mut first: Header = [0; header::ID];
    let is_long_enough = metadata.len() >= HEADER_BYTES as u64;
    let is_store =
        is_long_enough && file.read_exact(&mut first).is_ok() && first.starts_with(&MAGIC);
    is_store.then_some(first).ok_or(OpenError::NotAStore)
}

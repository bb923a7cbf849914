//! Opening a store: anonymous memory, a new file, or an existing file.
//!
//! A file is made under another name and linked into place when it is whole, so that no process
//! ever sees half of it. An existing file is checked and not changed. But after a restart of the
//! machine its locks are made anew, because they mean nothing in another boot. The descriptor is
//! closed at once.

use super::Store;
use super::layout::{Geometry, HEADER_BYTES, MAGIC, header, shard};
use super::mapping::{Mapping, Outside};
use super::url::{DEFAULT_SIZE, Medium, StoreUrl};
use crate::system::files::{is_network_filesystem, reserve, try_exclusive_lock};
use crate::system::process::{effective_user, random_bytes};
use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why a store could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The system refuses: the attempt, and the reason.
    System(&'static str, io::Error),
    /// The path is a symbolic link.
    Link,
    /// The path is not a regular file.
    NotAFile,
    /// The file belongs to another user than this process runs as.
    Owner,
    /// Users other than the owner may read or write it.
    Mode,
    /// Other users may put files into its folder.
    Folder,
    /// It lies on a network file system, where locks and memory are not shared.
    Network,
    /// It does not begin as a store does.
    NotAStore,
    /// It is a store of another version or machine, or of another size than it says.
    Layout,
    /// It is a store of another size than the URL asks for.
    Size {
        /// The file's.
        is: u64,
        /// The URL's.
        asked: u64,
    },
    /// Another process renews its locks after a restart, and does not finish.
    Busy,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::System(what, error) => write!(f, "{what}: {error}"),
            OpenError::Link => write!(f, "it is a symbolic link; name the file itself"),
            OpenError::NotAFile => write!(f, "it is not a regular file; name another path"),
            OpenError::Owner => {
                write!(f, "it belongs to another user; remove it or start as its owner")
            }
            OpenError::Mode => write!(f, "others may read or write it; chmod 600 or remove it"),
            OpenError::Folder => {
                write!(
                    f,
                    "others may write to its folder; use one that only the owner may write to"
                )
            }
            OpenError::Network => write!(f, "it is on a network file system; use /run or /dev/shm"),
            OpenError::NotAStore => write!(f, "it is not a store of sesscache"),
            OpenError::Layout => {
                write!(f, "it is a store of another version of sesscache or is damaged; remove it")
            }
            OpenError::Size { is, asked } => write!(
                f,
                "it has {is} bytes and size={asked} is asked for; leave size out, or stop its \
                 servers and remove it"
            ),
            OpenError::Busy => write!(f, "another process holds it locked; start again"),
        }
    }
}

impl std::error::Error for OpenError {}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    move |error| OpenError::System(what, error)
}

/// The first bytes of a file.
type Header = [u8; header::BOOT + BOOT_BYTES];

/// `/proc/sys/kernel/random/boot_id` is this long.
const BOOT_BYTES: usize = 36;

impl Store {
    /// Opens the store of a URL. A missing file is made.
    ///
    /// # Errors [`OpenError`]; an existing file is left as it is.
    pub fn open(url: &StoreUrl) -> Result<Store, OpenError> {
        match &url.medium {
            Medium::Memory => Store::in_memory(url.size.unwrap_or(DEFAULT_SIZE)),
            Medium::File(path) => loop {
                match open_file(path, false) {
                    Ok(file) => return Store::of_file(&file, url.size, false),
                    Err(OpenError::System(_, error)) if error.kind() == io::ErrorKind::NotFound => {
                    }
                    Err(error) => return Err(error),
                }
                if let Some(store) = make_file(path, url.size.unwrap_or(DEFAULT_SIZE))? {
                    return Ok(store);
                }
                // Another process was faster, and its file is there now.
            },
        }
    }

    /// Opens an existing file. Root may open every user's, to look at it.
    ///
    /// # Errors [`OpenError`], also if there is no file.
    pub fn open_existing(path: &Path) -> Result<Store, OpenError> {
        let any_owner = effective_user() == 0;
        Store::of_file(&open_file(path, any_owner)?, None, any_owner)
    }

    fn in_memory(size: usize) -> Result<Store, OpenError> {
        let mapping = Mapping::anonymous(size).map_err(system("no memory for it"))?;
        Store::made(mapping, size)
    }

    /// Writes the head words and locks of a store into fresh memory.
    fn made(mapping: Mapping, size: usize) -> Result<Store, OpenError> {
        let geometry = Geometry::of(size).ok_or(OpenError::Layout)?;
        let store = Store { mapping, geometry };
        store.init_locks()?;
        store.write_header().map_err(|Outside| OpenError::Layout)?;
        Ok(store)
    }

    fn write_header(&self) -> Result<(), Outside> {
        self.mapping.write(header::BOOT, &boot_id())?;
        self.mapping.write(header::ID, &random_id())?;
        self.mapping.write(header::DESCRIPTION, &self.geometry.header())?;
        self.mapping.write(header::MAGIC, &MAGIC)
    }

    fn init_locks(&self) -> Result<(), OpenError> {
        for number in 0..self.geometry.shards {
            let lock = self.geometry.shard(number) + shard::LOCK;
            self.mapping.init_lock(lock).map_err(system("cannot make its locks"))?;
        }
        Ok(())
    }

    fn of_file(file: &File, asked: Option<usize>, any_owner: bool) -> Result<Store, OpenError> {
        let metadata = file.metadata().map_err(system("cannot look at it"))?;
        check(&metadata, any_owner)?;
        if is_network_filesystem(file) {
            return Err(OpenError::Network);
        }
        let size = usize::try_from(metadata.len()).map_err(|_| OpenError::Layout)?;
        let mut first: Header = [0; header::BOOT + BOOT_BYTES];
        let mut reader = file;
        if size < HEADER_BYTES || reader.read_exact(&mut first).is_err() {
            return Err(OpenError::NotAStore);
        }
        if !first.starts_with(&MAGIC) {
            return Err(OpenError::NotAStore);
        }
        let geometry = Geometry::of(size).ok_or(OpenError::Layout)?;
        if first.get(header::DESCRIPTION..header::ID) != Some(&geometry.header()) {
            return Err(OpenError::Layout);
        }
        if let Some(asked) = asked.filter(|asked| *asked != size) {
            return Err(OpenError::Size { is: size as u64, asked: asked as u64 });
        }
        let mapping = Mapping::of_file(file, size).map_err(system("cannot map it"))?;
        let store = Store { mapping, geometry };
        store.renew_locks(file)?;
        Ok(store)
    }

    /// After a restart of the machine the locks are made anew, by one process.
    fn renew_locks(&self, file: &File) -> Result<(), OpenError> {
        let ours = boot_id();
        // Zeroes if it was made, or is opened, where /proc is hidden. Nobody can tell the boot
        // then.
        let unknown = [0; BOOT_BYTES];
        if ours == unknown || self.boot() == Ok(ours) || self.boot() == Ok(unknown) {
            return Ok(());
        }
        if !try_exclusive_lock(file) {
            // An agent holds the lock for as long as it runs, and was faster.
            return if self.boot() == Ok(ours) { Ok(()) } else { Err(OpenError::Busy) };
        }
        // The lock goes with the descriptor.
        if self.boot() != Ok(ours) {
            self.init_locks()?;
            self.mapping.write(header::BOOT, &ours).map_err(|Outside| OpenError::Layout)?;
        }
        Ok(())
    }

    fn boot(&self) -> Result<[u8; BOOT_BYTES], Outside> {
        let mut boot = [0; BOOT_BYTES];
        self.mapping.read(header::BOOT, &mut boot)?;
        Ok(boot)
    }
}

fn open_file(path: &Path, any_owner: bool) -> Result<File, OpenError> {
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
    if !any_owner {
        check_folder(folder)?;
    }
    Ok(file)
}

/// Other users could have put a file of theirs in place, and truncate it under us.
fn check(file: &Metadata, any_owner: bool) -> Result<(), OpenError> {
    if !file.is_file() {
        Err(OpenError::NotAFile)
    } else if file.uid() != effective_user() && !any_owner {
        Err(OpenError::Owner)
    } else if file.mode() & 0o077 != 0 {
        Err(OpenError::Mode)
    } else {
        Ok(())
    }
}

fn check_folder(folder: &Path) -> Result<(), OpenError> {
    let folder = fs::metadata(folder).map_err(system("cannot look at its folder"))?;
    let trusted = folder.uid() == effective_user() || folder.uid() == 0;
    let is_shared = folder.mode() & 0o022 != 0;
    let is_sticky = folder.mode() & 0o1000 != 0;
    if trusted && (!is_shared || is_sticky) { Ok(()) } else { Err(OpenError::Folder) }
}

/// Makes the file; `None` if another process was faster.
fn make_file(path: &Path, size: usize) -> Result<Option<Store>, OpenError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.exists() {
        // /run is empty after a start of the machine. Only the last folder is made: if more are
        // missing, the path is mistyped.
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(OpenError::System("cannot make its folder", error));
            }
            _ => {}
        }
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
    // Missing room would be a fault in the middle of a handshake later.
    reserve(&file, size).map_err(system("no room for it"))?;
    let mapping = Mapping::of_file(&file, size).map_err(system("cannot map it"))?;
    let store = Store::made(mapping, size)?;
    match fs::hard_link(&unfinished.0, path) {
        Ok(()) => Ok(Some(store)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(OpenError::System("cannot make it", error)),
    }
}

/// A file under its first name, which it loses in any case.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// All zeroes if the boot is unknown (in a chroot without /proc).
fn boot_id() -> [u8; BOOT_BYTES] {
    let mut id = [0; BOOT_BYTES];
    let read =
        File::open("/proc/sys/kernel/random/boot_id").and_then(|mut f| f.read_exact(&mut id));
    if read.is_ok() { id } else { [0; BOOT_BYTES] }
}

fn random_id() -> [u8; 16] {
    let mut id = [0; 16];
    random_bytes(&mut id);
    id
}

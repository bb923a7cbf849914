//! Files: locks, room on the disk, and the kind of file system below them.

use super::thread::BlockWriteSignals;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// Whether a file is on a file system that other machines write to as well.
pub fn is_network_filesystem(file: &File) -> bool {
    // linux/magic.h; the libc crate has not all of them.
    const NFS: u32 = 0x6969;
    const CIFS: u32 = 0xFF53_4D42;
    const SMB2: u32 = 0xFE53_4D42;
    const CEPH: u32 = 0x00C3_6400;
    let mut about = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: an open descriptor and a place for what is asked.
    if unsafe { libc::fstatfs(file.as_raw_fd(), about.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: filled, see above.
    let kind = unsafe { about.assume_init() }.f_type;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "32-bit magic")]
    let kind = kind as u32;
    matches!(kind, NFS | CIFS | SMB2 | CEPH)
}

/// Gives a new file its length. No room is taken for it.
///
/// # Errors
/// As ftruncate(2).
pub fn set_length(file: &File, length: usize) -> io::Result<()> {
    // Beyond RLIMIT_FSIZE the kernel sends SIGXFSZ, which would end the program.
    let _signals = BlockWriteSignals::new();
    file.set_len(length as u64)
}

/// Takes the room on the disk that a part of a new file needs.
///
/// # Errors
/// As posix_fallocate(3).
pub fn reserve(file: &File, offset: usize, length: usize) -> io::Result<()> {
    let (offset, length) = (off_t(offset)?, off_t(length)?);
    let _signals = BlockWriteSignals::new();
    // SAFETY: an open descriptor.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), offset, length) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Takes the room for the first `length` bytes of a file that others use: its bytes stay.
///
/// # Errors
/// As fallocate(2), also where the file system has no such thing.
pub fn allocate(file: &File, length: usize) -> io::Result<()> {
    let length = off_t(length)?;
    let _signals = BlockWriteSignals::new();
    // SAFETY: an open descriptor.
    let done = unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length) } == 0;
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn off_t(number: usize) -> io::Result<libc::off_t> {
    libc::off_t::try_from(number).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Writes the path that a link holds to `into`, and returns its length.
///
/// # Errors
/// As readlink(2), and ENAMETOOLONG if there is no room.
pub fn read_link(link: &Path, into: &mut [u8]) -> io::Result<usize> {
    let too_long = || io::Error::from_raw_os_error(libc::ENAMETOOLONG);
    let bytes = link.as_os_str().as_bytes();
    let mut path = [0; libc::PATH_MAX as usize];
    let place = path.get_mut(..bytes.len()).ok_or_else(too_long)?;
    place.copy_from_slice(bytes);
    let path = CStr::from_bytes_until_nul(&path).map_err(|_| too_long())?;
    // SAFETY: a C string, and that many bytes to write.
    let length = unsafe { libc::readlink(path.as_ptr(), into.as_mut_ptr().cast(), into.len()) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    if length < into.len() { Ok(length) } else { Err(too_long()) }
}

/// Writes the list of users who may access a file (acl(5)) to `into`, as the kernel has it, and returns
/// its length. 0 if it is longer. `None` if the file's mode tells all.
pub fn access_list(file: &File, into: &mut [u8]) -> Option<usize> {
    let (name, place) = (c"system.posix_acl_access", into.as_mut_ptr());
    // SAFETY: an open descriptor, a C string, and that many bytes to write.
    let length =
        unsafe { libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), place.cast(), into.len()) };
    let errno = io::Error::last_os_error().raw_os_error();
    match usize::try_from(length) {
        Ok(length) => Some(length),
        Err(_) if matches!(errno, Some(libc::ENODATA | libc::EOPNOTSUPP)) => None,
        Err(_) => Some(0),
    }
}

/// Takes the file's lock, which goes with its descriptor; false if another one holds it.
pub fn try_lock_now(file: &File) -> bool {
    // SAFETY: an open descriptor.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) == 0 }
}

/// Gives the lock back. A mapping of the file keeps it after the descriptor is closed.
pub fn unlock(file: &File) {
    // SAFETY: an open descriptor.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_UN) };
}

/// Takes the file's lock; false if others keep it for a second.
pub fn try_exclusive_lock(file: &File) -> bool {
    const TRIES: u32 = 100;
    (0..TRIES).any(|_| {
        let taken = try_lock_now(file);
        if !taken {
            sleep(Duration::from_millis(10));
        }
        taken
    })
}

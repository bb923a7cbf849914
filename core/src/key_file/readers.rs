//! Who may read a key file beside its owner: the process's own groups, as a secret of a container is
//! mounted, and nobody else.
//!
//! A file may have a list of more users (acl(5)), as systemd gives one to a credential. Then the mode's
//! bits for the group are a mask, and the list tells. No locks.

use super::KeyFileError;
use crate::system::files::access_list;
use crate::system::process::is_in_group;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;

/// The permission to read, of others and of a group.
const READ: u16 = 4;
/// The longest list that is looked at: some 30 entries.
const MOST_BYTES: usize = 256;

/// Tags of the entries (linux/posix_acl.h).
const USER_OBJ: u16 = 1;
const USER: u16 = 2;
const GROUP_OBJ: u16 = 4;
const GROUP: u16 = 8;
const MASK: u16 = 16;

/// Refuses a file that is open to users whom `user` does not trust.
pub(super) fn check(file: &File, found: &Metadata, user: u32) -> Result<(), KeyFileError> {
    let mode = found.mode();
    let of_group = mode >> 3 & 0o7;
    if mode & 0o7 != 0 || of_group & !u32::from(READ) != 0 {
        return Err(KeyFileError::Permissions(mode));
    }
    if of_group == 0 {
        return Ok(());
    }
    let mut bytes = [0; MOST_BYTES];
    let refused = match access_list(file, &mut bytes) {
        None => !is_in_group(found.gid()),
        Some(length) => {
            let list = bytes.get(..length).unwrap_or_default();
            !is_closed(list, user, found.gid(), is_in_group)
        }
    };
    if refused { Err(KeyFileError::Group(mode, found.gid())) } else { Ok(()) }
}

/// Whether a list lets nobody read or write but the owner, root, `user` and its groups. A version (4
/// bytes), and entries of tag (2), permissions (2) and id (4), in little endian.
fn is_closed(list: &[u8], user: u32, group: u32, is_own: impl Fn(u32) -> bool) -> bool {
    let Some((version, entries)) = list.split_first_chunk::<4>() else { return false };
    let (entries, rest) = entries.as_chunks::<8>();
    let is_harmless = |entry: &[u8; 8]| {
        let [t0, t1, p0, p1, id @ ..] = *entry;
        let (tag, permissions) = (u16::from_le_bytes([t0, t1]), u16::from_le_bytes([p0, p1]));
        let id = u32::from_le_bytes(id);
        let is_trusted = match tag {
            USER_OBJ | MASK => true,
            USER => id == 0 || id == user,
            GROUP_OBJ => is_own(group),
            GROUP => is_own(id),
            _ => false,
        };
        permissions == 0 || is_trusted
    };
    *version == 2_u32.to_le_bytes() && rest.is_empty() && entries.iter().all(is_harmless)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list of a credential of systemd for user 33, and one more entry.
    fn is_closed_with(tag: u16, permissions: u16, id: u32) -> bool {
        let entries = [(1, 4, u32::MAX), (2, 4, 33), (4, 0, u32::MAX), (16, 4, u32::MAX)];
        let mut list = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries.into_iter().chain([(tag, permissions, id)]) {
            list.extend(u16::to_le_bytes(tag));
            list.extend(u16::to_le_bytes(permissions));
            list.extend(u32::to_le_bytes(id));
        }
        is_closed(&list, 33, 0, |group| group == 44)
    }

    #[test]
    fn a_list_names_who_may_read() {
        assert!(is_closed_with(32, 0, u32::MAX), "others may do nothing");
        assert!(!is_closed_with(32, 4, u32::MAX), "others may read");
        assert!(is_closed_with(2, 4, 0), "root");
        assert!(!is_closed_with(2, 4, 34) && is_closed_with(2, 0, 34), "another user");
        assert!(is_closed_with(8, 4, 44) && !is_closed_with(8, 4, 45), "a group");
        assert!(!is_closed_with(4, 4, u32::MAX), "the file's group, which is another");
        assert!(!is_closed_with(64, 4, 0), "an unknown tag");
    }

    #[test]
    fn a_list_that_is_none_is_refused() {
        for list in [&[][..], &[1, 0, 0, 0], &[2, 0, 0, 0, 1]] {
            assert!(!is_closed(list, 33, 0, |_| true));
        }
    }
}

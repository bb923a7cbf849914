//! The default folder of stores, which only its user can change, and the name of a program's store.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The ending of the key file beside a store.
pub(crate) const KEY_ENDING: &str = ".key";
/// The longest name taken from a program.
const MOST_NAME_BYTES: usize = 100;

/// A folder of stores, and the mode that it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreFolder {
    pub(crate) path: PathBuf,
    mode: u32,
}

/// The reasons why the default folder is not used.
#[derive(Debug)]
pub(crate) enum StoreFolderError {
    /// The folder cannot be made.
    Unmade(PathBuf, io::Error),
    /// Other users could put files in the place of stores.
    Unsafe(PathBuf),
}

impl fmt::Display for StoreFolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreFolderError::Unmade(path, error) => write!(f, "{}: {error}", path.display()),
            StoreFolderError::Unsafe(path) => write!(
                f,
                "{} is not a folder that only this user can write to; mend it or give --store",
                path.display()
            ),
        }
    }
}

/// Root's folder of stores. Other users may list it, because the files have mode 0600. An
/// administrator may give a service that does not run as root a folder of its own there.
pub(crate) fn of_host() -> StoreFolder {
    StoreFolder { path: PathBuf::from("/run/sesscache"), mode: 0o755 }
}

/// A user's folder of stores in `$XDG_RUNTIME_DIR`, if that is set.
pub(crate) fn of_user(runtime: Option<&OsStr>) -> Option<StoreFolder> {
    let runtime = Path::new(runtime?);
    runtime.is_absolute().then(|| StoreFolder { path: runtime.join("sesscache"), mode: 0o700 })
}

impl StoreFolder {
    /// Makes the folder, or checks the one that exists.
    pub(crate) fn make(&self, user: u32) -> Result<(), StoreFolderError> {
        let unmade = |error| StoreFolderError::Unmade(self.path.clone(), error);
        match DirBuilder::new().mode(self.mode).create(&self.path) {
            // The umask may have taken bits away.
            Ok(()) => {
                fs::set_permissions(&self.path, Permissions::from_mode(self.mode)).map_err(unmade)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let found = fs::symlink_metadata(&self.path).map_err(unmade)?;
                if found.is_dir() && found.uid() == user && found.mode() & 0o022 == 0 {
                    Ok(())
                } else {
                    Err(StoreFolderError::Unsafe(self.path.clone()))
                }
            }
            Err(error) => Err(unmade(error)),
        }
    }
}

/// Scripts that start a server of another name, which `enable` uses, too.
const STARTERS: [(&str, &str); 2] = [("apachectl", "apache"), ("apache2ctl", "apache")];

/// The name of a program's store: the program's file name, without characters that have a meaning
/// in a URL. A script that starts a known server has the server's.
pub(crate) fn name_of(program: &Path) -> String {
    let name = program.file_name().unwrap_or(OsStr::new("program"));
    let starter = STARTERS.iter().find(|(script, _)| name == *script);
    let name = starter.map_or(name, |(_, server)| OsStr::new(server)).as_bytes();
    let mut name: String = name
        .iter()
        .take(MOST_NAME_BYTES)
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(*byte),
            _ => '_',
        })
        .collect();
    if name.starts_with('.') {
        name.replace_range(..1, "_");
    }
    if name.ends_with(KEY_ENDING) {
        name.push('_');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_nothing_but_themselves() {
        let name = |path: &str| name_of(Path::new(path));
        assert_eq!(name("/usr/sbin/nginx"), "nginx");
        assert_eq!(name("python3.11"), "python3.11");
        assert_eq!(name("my server?size=1&x"), "my_server_size_1_x");
        assert_eq!(name("../.hidden"), "_hidden");
        assert_eq!(name("web.key"), "web.key_");
        assert_eq!(name("/"), "program");
        assert_eq!(name("/usr/sbin/apachectl"), "apache");
    }

    #[test]
    fn a_user_without_a_runtime_folder_has_none() {
        let of = |runtime| of_user(runtime).map(|folder| folder.path);
        assert_eq!(of(None), None);
        assert_eq!(of(Some(OsStr::new(""))), None);
        assert_eq!(of(Some(OsStr::new("run"))), None);
        assert_eq!(of(Some(OsStr::new("/run/user/5"))), Some("/run/user/5/sesscache".into()));
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let path =
            std::env::temp_dir().join(format!("sesscache-store-folder-{}", std::process::id()));
        let folder = StoreFolder { path: path.clone(), mode: 0o755 };
        let user = rustix::process::geteuid().as_raw();
        assert!(folder.make(user).is_ok());
        assert!(folder.make(user).is_ok());
        assert!(matches!(folder.make(user + 1), Err(StoreFolderError::Unsafe(_))));
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(folder.make(user), Err(StoreFolderError::Unsafe(_))));
        fs::remove_dir(&path).unwrap();
        assert!(matches!(
            StoreFolder { path: path.join("x"), mode: 0o755 }.make(user),
            Err(StoreFolderError::Unmade(..))
        ));
    }
}

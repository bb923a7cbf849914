//! The store and keys of a server: from options, else the environment, else defaults.

use crate::arguments::Run;
use crate::key_change::KeyChangeError;
use crate::keygen;
use crate::output;
use crate::store_folder::{self, KEY_ENDING, StoreFolder, StoreFolderError};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use sesscache_core::key_file::{self, KeyFileError};
use sesscache_core::store::{Medium, OpenError, Store, StoreUrl, UrlError};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf, absolute};

/// The reasons why a server does not get a store.
#[derive(Debug)]
pub(crate) enum RunSettingsError {
    /// The store's URL is malformed.
    Url(UrlError),
    /// The URL names a key file, and --key-file another.
    TwoKeyFiles,
    /// The current folder is unknown, so a relative path has no meaning.
    Path(PathBuf, io::Error),
    /// The store's path is mistyped: what is there is no store, or its folder is missing.
    Store(PathBuf, OpenError),
    /// The folder of default stores is not safe.
    Folder(StoreFolderError),
    /// The default key file cannot be made.
    Keygen(KeyChangeError),
    /// The key file cannot be used.
    KeyFile(PathBuf, KeyFileError),
}

impl fmt::Display for RunSettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunSettingsError::Url(error) => write!(f, "{error}"),
            RunSettingsError::TwoKeyFiles => {
                write!(f, "two key files: one by key= in the store's URL, one by --key-file")
            }
            RunSettingsError::Path(path, error) => write!(f, "{}: {error}", path.display()),
            RunSettingsError::Store(path, error) => write!(f, "{}: {error}", path.display()),
            RunSettingsError::Folder(error) => write!(f, "{error}"),
            RunSettingsError::Keygen(error) => write!(f, "{error}"),
            RunSettingsError::KeyFile(path, error) => write!(f, "{} {error}", path.display()),
        }
    }
}

/// The choice for a server. Nothing is made for it yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RunSettings {
    /// SESSCACHE_STORE, or `None` if the environment sets it to nothing, which stays.
    store: Option<(OsString, StoreUrl)>,
    /// SESSCACHE_KEY_FILE, if an option or the environment names one.
    key_file: Option<PathBuf>,
    /// The folder of the default store, to be made.
    folder: Option<StoreFolder>,
    /// Whether the default store is in memory, because the user has no folder for it.
    lacks_folder: bool,
}

impl RunSettings {
    /// Chooses for a program. Makes nothing yet.
    pub(crate) fn choose(
        options: &Run,
        program: &Path,
        user: u32,
    ) -> Result<RunSettings, RunSettingsError> {
        let set = |name| env::var_os(name);
        let key_file = match (&options.key_file, set("SESSCACHE_KEY_FILE")) {
            (Some(path), _) => Some(path.clone()),
            (None, variable) => variable.filter(|path| !path.is_empty()).map(PathBuf::from),
        };
        let key_file =
            key_file.map(|path| absolute(&path).map_err(|e| RunSettingsError::Path(path, e)));
        let folder = match user {
            0 => Some(store_folder::of_host()),
            _ => store_folder::of_user(set("XDG_RUNTIME_DIR").as_deref()),
        };
        let given = options.store.clone().map(OsString::from).or_else(|| set("SESSCACHE_STORE"));
        let settings = RunSettings::of(given, folder, &store_folder::name_of(program))?;
        let url_key = settings.store.as_ref().and_then(|(_, url)| url.key_file.as_ref());
        if url_key.is_some() && options.key_file.is_some() {
            return Err(RunSettingsError::TwoKeyFiles);
        }
        Ok(RunSettings { key_file: key_file.transpose()?, ..settings })
    }

    /// Chooses the given store, else a file of that name in the folder, else memory.
    fn of(
        given: Option<OsString>,
        folder: Option<StoreFolder>,
        name: &str,
    ) -> Result<RunSettings, RunSettingsError> {
        let lacks_folder = given.is_none() && folder.is_none();
        let (text, folder) = match (given, folder) {
            (Some(text), _) if text.is_empty() => {
                return Ok(RunSettings { store: None, key_file: None, folder: None, lacks_folder });
            }
            (Some(text), _) => (text, None),
            (None, Some(folder)) => {
                let mut text = OsString::from("file:");
                text.push(folder.path.join(name));
                (text, Some(folder))
            }
            (None, None) => ("shm:".into(), None),
        };
        let url = StoreUrl::parse(&text.to_string_lossy()).map_err(RunSettingsError::Url)?;
        Ok(RunSettings { store: Some((text, url)), key_file: None, folder, lacks_folder })
    }

    /// Whether there is a store.
    pub(crate) fn shares(&self) -> bool {
        self.store.is_some()
    }

    /// Makes the missing folder and key file. Returns the variables for the library.
    pub(crate) fn apply(
        mut self,
        user: u32,
    ) -> Result<Vec<(&'static str, OsString)>, RunSettingsError> {
        let in_memory = |why: &dyn fmt::Display| {
            output::say(&format!("{why}; the store is shm:, which ends with the server"));
        };
        if self.lacks_folder {
            in_memory(&"there is neither --store nor a folder in XDG_RUNTIME_DIR");
        }
        match self.folder.take().map(|folder| folder.make(user)) {
            Some(Err(error @ StoreFolderError::Unmade(..))) => {
                in_memory(&error);
                self = RunSettings {
                    key_file: self.key_file,
                    ..RunSettings::of(Some("shm:".into()), None, "")?
                };
            }
            Some(Err(error)) => return Err(RunSettingsError::Folder(error)),
            Some(Ok(())) | None => {}
        }
        let Some((text, url)) = self.store else { return Ok(Vec::new()) };
        if let Medium::File(path) = &url.medium {
            let key_file = url.key_file.clone().or(self.key_file.clone());
            check_store(path, &StoreUrl { key_file, ..url.clone() })?;
        }
        let mut variables = vec![("SESSCACHE_STORE", text)];
        let named = url.key_file.or(self.key_file);
        let key_file = match (named, url.medium) {
            (Some(path), _) => path,
            (None, Medium::File(store)) => default_key_file(&store)?,
            (None, Medium::Memory) => return Ok(variables),
        };
        if let Err(error) = key_file::read(&key_file) {
            return Err(RunSettingsError::KeyFile(key_file, error));
        }
        variables.push(("SESSCACHE_KEY_FILE", key_file.into()));
        Ok(variables)
    }
}

/// Refuses a store that cannot work until somebody mends its path, owner or mode, before anything is
/// made beside it. Damage and a lack of room are not the server's fault, which starts without a store.
fn check_store(path: &Path, url: &StoreUrl) -> Result<(), RunSettingsError> {
    let refused = |error| Err(RunSettingsError::Store(path.to_owned(), error));
    let is_there = path.symlink_metadata().is_ok();
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !is_there
        && folder.exists()
        && let Err(errno) =
            accessat(CWD, folder, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
    {
        return refused(OpenError::System("cannot be made in its folder", errno.into()));
    }
    match Store::look(url) {
        Ok(()) => Ok(()),
        Err(error @ (OpenError::NoRoom | OpenError::Layout)) => {
            output::say(&format!("{}: {error}; no session is shared until then", path.display()));
            Ok(())
        }
        Err(error) => refused(error),
    }
}

/// The key file beside a store, made if it is missing.
fn default_key_file(store: &Path) -> Result<PathBuf, RunSettingsError> {
    let mut path = store.as_os_str().to_owned();
    path.push(OsStr::new(KEY_ENDING));
    let path = PathBuf::from(path);
    if path.symlink_metadata().is_err() {
        match keygen::create(&path) {
            Ok(()) => output::say(&format!("made the key file {}", path.display())),
            // Another server was started at the same time and made it.
            Err(KeyChangeError::Exists(_)) => {}
            Err(error) => return Err(RunSettingsError::Keygen(error)),
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(given: Option<&str>, folder: Option<StoreFolder>) -> Option<OsString> {
        RunSettings::of(given.map(OsString::from), folder, "web")
            .unwrap()
            .store
            .map(|(text, _)| text)
    }

    #[test]
    fn what_is_given_beats_the_default() {
        assert_eq!(
            store(Some("shm:?size=1MiB"), Some(store_folder::of_host())),
            Some("shm:?size=1MiB".into())
        );
        assert_eq!(store(Some(""), Some(store_folder::of_host())), None);
        assert_eq!(
            store(None, Some(store_folder::of_host())),
            Some("file:/run/sesscache/web".into())
        );
        assert_eq!(store(None, None), Some("shm:".into()));
    }

    #[test]
    fn a_wrong_url_is_told() {
        let wrong = RunSettings::of(Some("redis://x".into()), None, "web");
        assert!(matches!(wrong, Err(RunSettingsError::Url(UrlError::Scheme))));
    }
}

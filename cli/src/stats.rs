//! `sesscache stats`: finds stores and shows their counters.

use crate::arguments::Stats;
use crate::output;
use crate::store_folder::{self, KEY_ENDING};
use crate::table::{Figures, json, table};
use crate::watch::{WatchError, watch};
use serde_json::{Map, Value};
use sesscache_core::store::{Medium, OpenError, Store, StoreUrl, UrlError};
use std::env;
use std::ffi::{OsString, c_int};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf, absolute};

/// The reasons why counters are not shown, or not those of all stores.
#[derive(Debug)]
pub(crate) enum StatsError {
    /// STORE is a malformed URL.
    Url(UrlError),
    /// STORE is in the memory of a server.
    Memory,
    /// The store cannot be opened.
    Store(PathBuf, OpenError),
    /// No store was named, and there is none in the usual folders.
    NoStore,
    /// With --watch: there are several stores.
    Several,
    /// The text could not be written.
    Output(io::Error),
}

impl StatsError {
    /// The exit status.
    pub(crate) fn exit_code(&self) -> c_int {
        match self {
            StatsError::Url(_) | StatsError::Memory | StatsError::Several => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for StatsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StatsError::Url(error) => write!(f, "{error}"),
            StatsError::Memory => write!(f, "a shm: store is seen only by its server"),
            StatsError::Store(path, error) => write!(f, "{}: {error}", path.display()),
            StatsError::NoStore => {
                write!(f, "no store in /run/sesscache or $XDG_RUNTIME_DIR/sesscache; name one")
            }
            StatsError::Several => {
                write!(f, "there are several stores; --watch takes one: name it")
            }
            StatsError::Output(error) => write!(f, "stdout: {error}"),
        }
    }
}

/// Runs `sesscache stats [STORE] [--json | --watch]`.
pub(crate) fn stats(options: &Stats) -> Result<(), StatsError> {
    if let Some(store) = &options.store {
        let path = path_of(store)?;
        if options.watch {
            return live(&path);
        }
        let figures = read(&path)?;
        let text = match options.json {
            true => json(&path, &figures).to_string(),
            false => table(&path, &figures),
        };
        return output::print(&text).map_err(StatsError::Output);
    }
    let runtime = env::var_os("XDG_RUNTIME_DIR");
    let folders = [Some(store_folder::of_host()), store_folder::of_user(runtime.as_deref())];
    let paths: Vec<PathBuf> =
        folders.into_iter().flatten().flat_map(|folder| stores_in(&folder.path)).collect();
    match (options.watch, paths.as_slice()) {
        (false, paths) => all(paths, options.json),
        (true, []) => Err(StatsError::NoStore),
        (true, [path]) => live(path),
        (true, _) => Err(StatsError::Several),
    }
}

fn live(path: &Path) -> Result<(), StatsError> {
    watch(path).map_err(|error| match error {
        WatchError::Store(error) => StatsError::Store(path.to_owned(), error),
        WatchError::Output(error) => StatsError::Output(error),
    })
}

/// Shows all stores that can be opened. Prints the errors of the others, and returns the last.
fn all(paths: &[PathBuf], as_json: bool) -> Result<(), StatsError> {
    let mut seen = Vec::new();
    let mut errors = Vec::new();
    for path in paths {
        match read(path) {
            Ok(figures) => seen.push((path, figures)),
            Err(error) => errors.push(error),
        }
    }
    if seen.is_empty() && errors.is_empty() {
        return Err(StatsError::NoStore);
    }
    let text = if as_json {
        let stores = seen.iter().map(|(path, figures)| json(path, figures)).collect();
        Value::Object(Map::from_iter([("stores".to_owned(), Value::Array(stores))])).to_string()
    } else {
        let tables: Vec<String> = seen.iter().map(|(path, figures)| table(path, figures)).collect();
        tables.join("\n")
    };
    if as_json || !seen.is_empty() {
        output::print(&text).map_err(StatsError::Output)?;
    }
    let last = errors.pop();
    for error in errors {
        output::say(&error.to_string());
    }
    last.map_or(Ok(()), Err)
}

fn read(path: &Path) -> Result<Figures, StatsError> {
    match Store::open_existing(path) {
        Ok(store) => Ok(Figures::of(&store)),
        Err(error) => Err(StatsError::Store(path.to_owned(), error)),
    }
}

/// The path of a store's file, from a path or a URL.
fn path_of(store: &OsString) -> Result<PathBuf, StatsError> {
    let text = store.to_string_lossy();
    if text.starts_with("file:") || text.starts_with("shm:") {
        return match StoreUrl::parse(&text).map_err(StatsError::Url)?.medium {
            Medium::File(path) => Ok(path),
            Medium::Memory => Err(StatsError::Memory),
        };
    }
    Ok(absolute(store).unwrap_or_else(|_| PathBuf::from(store)))
}

/// The files in a folder that may be stores, in the order of their names. A store of a user who is not the
/// folder's is in a folder of its own name.
fn stores_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(files) = folder.read_dir() else { return Vec::new() };
    let mut stores: Vec<PathBuf> = files
        .flatten()
        .filter_map(|file| match file.file_type().ok()? {
            kind if kind.is_file() => Some(file.path()),
            kind if kind.is_dir() => {
                Some(file.path().join(file.file_name())).filter(|path| path.is_file())
            }
            _ => None,
        })
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            !name.starts_with(b".") && !name.ends_with(KEY_ENDING.as_bytes())
        })
        .collect();
    stores.sort();
    stores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_of_other_users_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for own in ["mariadb", "empty"] {
            std::fs::create_dir(at(own)).unwrap();
        }
        for file in ["nginx", "nginx.key", ".hidden", "mariadb/mariadb", "mariadb/other"] {
            std::fs::write(at(file), "").unwrap();
        }
        assert_eq!(stores_in(folder.path()), [at("mariadb/mariadb"), at("nginx")]);
    }

    #[test]
    fn a_store_is_a_path_or_a_url() {
        let path = |text: &str| path_of(&text.into());
        assert_eq!(path("file:/run/x?size=1MiB").unwrap(), Path::new("/run/x"));
        assert_eq!(path("/run/x").unwrap(), Path::new("/run/x"));
        assert!(path("x").unwrap().is_absolute());
        assert!(matches!(path("shm:"), Err(StatsError::Memory)));
        assert!(matches!(path("file:x"), Err(StatsError::Url(UrlError::Path))));
    }
}

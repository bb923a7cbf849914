//! Store URLs, as in `SESSCACHE_STORE`: the medium, its size and the key file.

use std::fmt;
use std::path::PathBuf;

/// The size of a store whose URL names none.
pub const DEFAULT_SIZE: usize = 64 << 20;
/// The least size, because a ring must hold several of the largest records.
pub const LEAST_SIZE: usize = 1 << 20;

/// The kind of memory that a store lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Medium {
    /// Anonymous memory, shared with the processes that are forked.
    Memory,
    /// A mapped file.
    File(PathBuf),
}

/// The users of a store's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Its owner alone.
    Owner,
    /// All members of its group, as in a pod whose containers have users of their own.
    Group,
}

/// A store as a `shm:` or `file:` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreUrl {
    /// The memory it lies in.
    pub medium: Medium,
    /// Its size in bytes. With `None`, an existing file is taken as it is; a new store has
    /// [`DEFAULT_SIZE`].
    pub size: Option<usize>,
    /// The key file, if the URL names one.
    pub key_file: Option<PathBuf>,
    /// The users of its file.
    pub sharing: Sharing,
}

/// The fault of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// Neither `shm:` nor `file:`.
    Scheme,
    /// `file:` without a path that starts with `/`.
    Path,
    /// `shm:` with a path.
    MemoryPath,
    /// A parameter that is not known.
    Parameter(String),
    /// A size that is not a number of bytes, KiB, MiB or GiB.
    Size(String),
    /// A size below [`LEAST_SIZE`], or beyond what this machine can map.
    SizeRange(String),
    /// A key file's path that does not start with `/`.
    KeyFile,
    /// Something else than `group` to share a file with, or `shm:`.
    Share,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UrlError::Scheme => {
                write!(
                    f,
                    "a store is shm: or file:/PATH, as in file:/run/sesscache/nginx?size=64MiB"
                )
            }
            UrlError::Path => write!(f, "file: needs a path that starts with /"),
            UrlError::MemoryPath => write!(f, "shm: takes no path, only ?size=…"),
            UrlError::Parameter(name) => {
                write!(
                    f,
                    "'{name}' is not a parameter of a store: size=…, key=… and share=group are"
                )
            }
            UrlError::Size(text) => {
                write!(f, "'{text}' is not a size: a number, with KiB, MiB or GiB behind it")
            }
            UrlError::SizeRange(text) => write!(f, "size={text}: a store has 1MiB to 1024GiB"),
            UrlError::KeyFile => write!(f, "key= needs a path that starts with /"),
            UrlError::Share => write!(f, "share=group is for the members of a file's group"),
        }
    }
}

impl std::error::Error for UrlError {}

impl StoreUrl {
    /// Reads a URL.
    ///
    /// # Errors Its fault, in one line.
    pub fn parse(text: &str) -> Result<StoreUrl, UrlError> {
        let (scheme, rest) = text.split_once(':').ok_or(UrlError::Scheme)?;
        let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let medium = match scheme {
            "shm" if path.is_empty() => Medium::Memory,
            "shm" => return Err(UrlError::MemoryPath),
            "file" if path.starts_with('/') => Medium::File(PathBuf::from(path)),
            "file" => return Err(UrlError::Path),
            _ => return Err(UrlError::Scheme),
        };
        let mut url = StoreUrl { medium, size: None, key_file: None, sharing: Sharing::Owner };
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=').unwrap_or((parameter, "")) {
                ("size", value) => url.size = Some(size(value)?),
                ("key", value) if value.starts_with('/') => url.key_file = Some(value.into()),
                ("key", _) => return Err(UrlError::KeyFile),
                ("share", "group") if url.medium != Medium::Memory => url.sharing = Sharing::Group,
                ("share", _) => return Err(UrlError::Share),
                (name, _) => return Err(UrlError::Parameter(name.to_owned())),
            }
        }
        Ok(url)
    }
}

fn size(text: &str) -> Result<usize, UrlError> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text.get(digits.len()..).unwrap_or_default() {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return Err(UrlError::Size(text.to_owned())),
    };
    let number: usize = digits.parse().map_err(|_| UrlError::Size(text.to_owned()))?;
    number
        .checked_mul(1 << shift)
        .filter(|bytes| (LEAST_SIZE..=1 << 40).contains(bytes))
        .ok_or_else(|| UrlError::SizeRange(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_sizes_and_key_files() {
        let parse = |text| StoreUrl::parse(text).unwrap();
        assert_eq!(parse("shm:").medium, Medium::Memory);
        assert_eq!(parse("shm:?size=2MiB").size, Some(2 << 20));
        let url = parse("file:/run/x?size=1G&key=/etc/k");
        assert_eq!(url.medium, Medium::File("/run/x".into()));
        assert_eq!((url.size, url.key_file), (Some(1 << 30), Some("/etc/k".into())));
        assert_eq!(
            (parse("file:/run/x").size, parse("file:/run/x").sharing),
            (None, Sharing::Owner)
        );
        assert_eq!(parse("file:/run/x?share=group").sharing, Sharing::Group);
        assert_eq!(parse("file:/run/x?size=1048576").size, Some(1 << 20));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |text| StoreUrl::parse(text).unwrap_err();
        assert_eq!(wrong(""), UrlError::Scheme);
        assert_eq!(wrong("redis://x"), UrlError::Scheme);
        assert_eq!(wrong("file:x"), UrlError::Path);
        assert_eq!(wrong("shm:/x"), UrlError::MemoryPath);
        assert_eq!(wrong("shm:?sise=1M"), UrlError::Parameter("sise".into()));
        assert_eq!(wrong("shm:?size=much"), UrlError::Size("much".into()));
        assert_eq!(wrong("shm:?size="), UrlError::Size(String::new()));
        assert_eq!(wrong("shm:?size=-1M"), UrlError::Size("-1M".into()));
        assert_eq!(wrong("shm:?size=1023KiB"), UrlError::SizeRange("1023KiB".into()));
        assert!(matches!(wrong("shm:?size=18014398509481984K"), UrlError::SizeRange(_)));
        assert_eq!(wrong("shm:?key=x"), UrlError::KeyFile);
        assert_eq!(wrong("shm:?share=group"), UrlError::Share);
        assert_eq!(wrong("file:/x?share=all"), UrlError::Share);
    }
}

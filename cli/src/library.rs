//! Finds libsesscache.so.0.

use std::env::consts::ARCH;
use std::path::{Path, PathBuf};

/// The name that the loader searches for when the library was not found here.
const SONAME: &str = "libsesscache.so.0";

/// The library for a command in `folder`. It may lie beside the command as cargo builds it, or
/// where `make install` and packages put it. Else the name alone is left, for the loader's search.
pub(crate) fn find(folder: Option<&Path>) -> PathBuf {
    folder
        .into_iter()
        .flat_map(candidates)
        .find(|path| path.is_file())
        .unwrap_or_else(|| PathBuf::from(SONAME))
}

/// Where the library may be for a command in `folder`, the likeliest first.
pub(crate) fn candidates(folder: &Path) -> Vec<PathBuf> {
    let above = folder.parent().unwrap_or(folder);
    vec![
        folder.join("libsesscache.so"),
        above.join("lib").join(multiarch()).join(SONAME),
        above.join("lib64").join(SONAME),
        above.join("lib").join(SONAME),
    ]
}

/// Debian's name for this machine's folder of libraries.
fn multiarch() -> String {
    let machine = match ARCH {
        "x86" => "i386",
        "powerpc64" => "powerpc64le",
        other => other,
    };
    format!("{machine}-linux-gnu")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_looks_where_nothing_was_found() {
        assert_eq!(find(None), Path::new(SONAME));
        assert_eq!(find(Some(Path::new("/nowhere/bin"))), Path::new(SONAME));
    }

    #[test]
    fn the_library_of_the_same_prefix_is_looked_for() {
        let paths = candidates(Path::new("/opt/x/bin"));
        assert!(paths.contains(&"/opt/x/lib/libsesscache.so.0".into()));
        assert!(paths.contains(&"/opt/x/bin/libsesscache.so".into()));
    }
}

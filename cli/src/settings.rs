//! The names of the library's settings, so that a misspelt one does not go unnoticed.

use std::ffi::OsStr;

/// All variables that the library reads.
const NAMES: [&str; 12] = [
    "SESSCACHE_CLIENT_CERTS",
    "SESSCACHE_EX_DATA",
    "SESSCACHE_ID_CONTEXT",
    "SESSCACHE_KEY_FILE",
    "SESSCACHE_LIVE_SESSIONS",
    "SESSCACHE_LOG",
    "SESSCACHE_MAX_LIFETIME",
    "SESSCACHE_NAMESPACE",
    "SESSCACHE_NEW_CB_ZERO",
    "SESSCACHE_STORE",
    "SESSCACHE_TICKETS",
    "SESSCACHE_UNCLEAN_CLOSE",
];
/// How alike two names are, of 1, if one may be meant by the other.
const ALIKE: f64 = 0.8;

/// A line about each name that begins like a setting and is none.
pub(crate) fn unknown<'a>(names: impl Iterator<Item = &'a OsStr>) -> Vec<String> {
    let names = names.filter_map(OsStr::to_str);
    let unknown = names.filter(|name| name.starts_with("SESSCACHE_") && !NAMES.contains(name));
    unknown.map(line).collect()
}

fn line(name: &str) -> String {
    let end = |name: &str| name.trim_start_matches("SESSCACHE_").to_owned();
    let ends = |known: &str| strsim::jaro(&end(known), &end(name));
    let nearest = NAMES.into_iter().max_by(|a, b| ends(a).total_cmp(&ends(b)));
    match nearest.filter(|known| ends(known) >= ALIKE) {
        Some(known) => format!("{name} is no setting; is {known} meant?"),
        None => format!("{name} is no setting; sesscache(7) has a list"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_are_told() {
        let told = |name: &str| unknown([OsStr::new(name)].into_iter()).pop();
        assert_eq!(
            told("SESSCACHE_STROE").as_deref(),
            Some("SESSCACHE_STROE is no setting; is SESSCACHE_STORE meant?")
        );
        assert_eq!(
            told("SESSCACHE_KEYFILE").as_deref(),
            Some("SESSCACHE_KEYFILE is no setting; is SESSCACHE_KEY_FILE meant?")
        );
        assert!(told("SESSCACHE_XYZ").is_some_and(|line| line.ends_with("has a list")));
        for name in NAMES.into_iter().chain(["PATH", "SESSCACHE"]) {
            assert_eq!(told(name), None);
        }
    }

    #[test]
    fn page_and_readme_have_each_name_and_no_other() {
        let entries = |text: &'static str, begin: &str, end: char| {
            let found = text.lines().filter_map(|line| line.strip_prefix(begin)?.split(end).next());
            let mut found: Vec<_> = found.filter(|name| name.starts_with("SESSCACHE_")).collect();
            found.sort_unstable();
            found.dedup();
            found
        };
        let page = include_str!("../../man/sesscache.7");
        assert_eq!(entries(page, ".B ", ' '), NAMES);
        assert_eq!(entries(include_str!("../../README.md"), "| `", '`'), NAMES);
    }

    #[test]
    fn these_are_the_names_that_the_library_reads() {
        let source = include_str!("../../src/config.rs");
        let (code, _) = source.split_once("#[cfg(test)]").unwrap_or((source, ""));
        let word = |text: &str| {
            text.split(|c: char| !c.is_ascii_uppercase() && c != '_').next().map(str::to_owned)
        };
        let mut read: Vec<String> = code.split("SESSCACHE_").skip(1).filter_map(word).collect();
        read.retain(|name| !name.is_empty());
        read.sort();
        read.dedup();
        assert_eq!(read, NAMES.map(|name| name.trim_start_matches("SESSCACHE_").to_owned()));
    }
}

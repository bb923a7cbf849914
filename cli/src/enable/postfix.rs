//! Lines in Postfix's main.cf, which can include no other file.
//!
//! They stand between two marks at the end of the file. Removing them leaves the file as it was. A
//! setting that the operator made stays: a line of ours for it would be a second one.

use super::EnableError;
use super::files::Changes;
use super::root::Root;
use std::path::Path;

const MAIN: &str = "/etc/postfix/main.cf";
const BEGIN: &str =
    "# sesscache enable postfix: begin; `sesscache disable postfix` removes these lines";
/// The same, if the file had no line feed at its end.
const BEGIN_AFTER_LINE: &str = "# sesscache enable postfix: begin, behind a line feed that was missing; \
                                `sesscache disable postfix` removes these lines";
const END: &str = "# sesscache enable postfix: end\n";

/// The default of import_environment in Postfix 3.4 to 3.10. A name that is not set costs nothing.
const IMPORTED: &str = "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ XAUTHORITY DISPLAY LANG=C \
                        POSTLOG_SERVICE POSTLOG_HOSTNAME";
const IMPORT: &str = "import_environment";
/// Without it Postfix has OpenSSL keep no sessions, so the store would get none.
const CACHE: &str = "smtpd_tls_session_cache_database";
const CACHE_FILE: &str = "btree:${data_directory}/smtpd_scache";

/// Adds the lines, or brings them up to date.
pub(super) fn add(changes: &mut Changes, root: &Root, names: &[String]) -> Result<(), EnableError> {
    let old = text(root)?;
    let rest = without(&old);
    if let Some(value) = value_of(&rest, IMPORT) {
        let missing: Vec<&str> =
            names.iter().map(String::as_str).filter(|name| !has_word(&value, name)).collect();
        if !missing.is_empty() {
            return Err(EnableError::Configuration(format!(
                "{} sets {IMPORT} already; add to it, and try again: {}",
                root.shown(Path::new(MAIN)).display(),
                missing.join(" ")
            )));
        }
    }
    let new = with(&rest, names);
    if new == old {
        changes.said.push(format!("{} is as it was", root.shown(Path::new(MAIN)).display()));
        return Ok(());
    }
    changes.edit(Path::new(MAIN), &old, &new)
}

/// Removes the lines.
pub(super) fn remove(changes: &mut Changes, root: &Root) -> Result<(), EnableError> {
    let Ok(old) = text(root) else { return Ok(()) };
    let new = without(&old);
    if new == old { Ok(()) } else { changes.edit(Path::new(MAIN), &old, &new) }
}

fn text(root: &Root) -> Result<String, EnableError> {
    let failed = |error| EnableError::File(root.shown(Path::new(MAIN)), error);
    let bytes = root.find(Path::new(MAIN)).and_then(std::fs::read).map_err(failed)?;
    String::from_utf8(bytes).map_err(|_| failed(std::io::Error::other("not UTF-8")))
}

/// The text with our lines at its end.
fn with(rest: &str, names: &[String]) -> String {
    let mut lines = Vec::new();
    if value_of(rest, IMPORT).is_none() {
        lines.push(format!("{IMPORT} = {IMPORTED} {}\n", names.join(" ")));
    }
    if value_of(rest, CACHE).is_none() {
        lines.push(format!("{CACHE} = {CACHE_FILE}\n"));
    }
    if lines.is_empty() {
        return rest.to_owned();
    }
    let (feed, begin) = match rest.is_empty() || rest.ends_with('\n') {
        true => ("", BEGIN),
        false => ("\n", BEGIN_AFTER_LINE),
    };
    format!("{rest}{feed}{begin}\n{}{END}", lines.concat())
}

/// The text without our lines.
fn without(text: &str) -> String {
    for (feed, begin) in [("", BEGIN), ("\n", BEGIN_AFTER_LINE)] {
        let begin = format!("{feed}{begin}\n");
        let found = text.split_once(&begin).and_then(|(before, behind)| {
            let (_, rest) = behind.split_once(END)?;
            Some(format!("{before}{rest}"))
        });
        if let Some(rest) = found {
            return rest;
        }
    }
    text.to_owned()
}

/// The last value of a setting. A line that begins with a space continues the one before.
fn value_of(text: &str, name: &str) -> Option<String> {
    let mut found = None;
    let mut is_inside = false;
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        if line.starts_with([' ', '\t']) {
            if let Some(value) = Option::as_mut(&mut found).filter(|_| is_inside) {
                String::push_str(value, line);
            }
            continue;
        }
        let setting = line.split_once('=').filter(|(known, _)| known.trim() == name);
        is_inside = setting.is_some();
        if let Some((_, value)) = setting {
            found = Some(value.trim().to_owned());
        }
    }
    found
}

/// Whether a list of variables has this one, perhaps with a value.
fn has_word(list: &str, name: &str) -> bool {
    let words = list.split(|c: char| c.is_whitespace() || c == ',');
    words.map(|word| word.split_once('=').map_or(word, |(word, _)| word)).any(|word| word == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["LD_PRELOAD".into(), "SESSCACHE_STORE".into()]
    }

    #[test]
    fn the_lines_come_and_go() {
        for text in ["", "a = b\n", "a = b", "# import_environment = x\n\n"] {
            let changed = with(text, &names());
            assert!(changed.contains("\nsmtpd_tls_session_cache_database = btree:"), "{changed}");
            assert!(changed.contains(" LD_PRELOAD SESSCACHE_STORE\n"), "{changed}");
            assert_eq!(without(&changed), text);
            assert_eq!(with(&without(&changed), &names()), changed);
        }
    }

    #[test]
    fn settings_of_the_operator_stay() {
        let text = "import_environment = A\n  LD_PRELOAD, SESSCACHE_STORE=x\n\
                    smtpd_tls_session_cache_database=memcache:/x\n";
        assert_eq!(with(text, &names()), text);
        let value = value_of(text, IMPORT).unwrap();
        assert!(names().iter().all(|name| has_word(&value, name)));
        assert!(!has_word(&value, "SESSCACHE"));
        assert_eq!(value_of("b = 1\n a = 2\n", "a"), None);
    }

    #[test]
    fn lines_behind_ours_stay() {
        let changed = with("a = b\n", &names()) + "c = d\n";
        assert_eq!(without(&changed), "a = b\nc = d\n");
    }
}

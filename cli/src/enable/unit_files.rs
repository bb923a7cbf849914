//! The files of a unit: where systemd looks for it, for its template and for its drop-ins.

use super::root::Root;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where units are, in the order in which systemd prefers them.
const FOLDERS: [&str; 8] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
    "/run/systemd/transient",
];

/// The name of our drop-in. systemd reads drop-ins by name, so it comes after `override.conf`, which
/// `systemctl edit` writes: an LD_PRELOAD there does not take the library away.
pub(super) const DROP_IN: &str = "sesscache.conf";

/// The name of a unit, and of its template.
pub(super) fn with_template(name: &str) -> Vec<String> {
    [name.to_owned()].into_iter().chain(template_of(name)).collect()
}

/// The paths that units of these names may have, the preferred ones first.
pub(super) fn places(names: &[String]) -> impl Iterator<Item = PathBuf> {
    names.iter().flat_map(|name| FOLDERS.map(|folder| Path::new(folder).join(name)))
}

/// The template of an instance: `x@.service` of `x@1.service`.
fn template_of(name: &str) -> Option<String> {
    let (before, instance) = name.split_once('@')?;
    let (_, kind) = instance.rsplit_once('.')?;
    Some(format!("{before}@.{kind}"))
}

/// The names whose drop-ins a unit has: its own, those of its prefixes that end in a dash, and that of
/// all services.
fn with_prefixes(name: &str) -> Vec<String> {
    let Some((stem, kind)) = name.rsplit_once('.') else { return vec![name.to_owned()] };
    let dashes = stem.rmatch_indices('-').map(|(at, _)| format!("{}.{kind}", &stem[..=at]));
    let own = [name.to_owned()].into_iter();
    own.chain(dashes.filter(|prefix| prefix != name)).chain([kind.to_owned()]).collect()
}

/// The drop-ins of these names, with their texts, in systemd's order. Of two with one file name, the
/// preferred one counts. Ours is left out, so that a second run finds what the first one found.
pub(super) fn drop_ins(root: &Root, names: &[String]) -> Vec<(PathBuf, String)> {
    let mut found: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    let names: Vec<String> = names.iter().flat_map(|name| with_prefixes(name)).collect();
    for (name, folder) in names.iter().flat_map(|name| FOLDERS.map(|folder| (name, folder))) {
        let folder = Path::new(folder).join(format!("{name}.d"));
        let Ok(files) = root.find(&folder).and_then(std::fs::read_dir) else { continue };
        for file in files.flatten().map(|file| file.file_name()) {
            let is_ours = file == DROP_IN;
            if Path::new(&file).extension().is_some_and(|end| end == "conf") && !is_ours {
                found.entry(file.clone()).or_insert_with(|| folder.join(file));
            }
        }
    }
    let text = |file: PathBuf| root.text(&file).ok().map(|text| (file, text));
    found.into_values().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_are_those_of_prefixes_and_of_all_services_too() {
        let names = ["a-b-c.service", "a-b-.service", "a-.service", "service"];
        assert_eq!(with_prefixes("a-b-c.service"), names);
        assert_eq!(with_prefixes("a-.service"), ["a-.service", "service"]);
        assert_eq!(with_prefixes("nginx.service"), ["nginx.service", "service"]);
    }

    #[test]
    fn an_instance_has_a_template() {
        assert_eq!(template_of("postfix@-.service").as_deref(), Some("postfix@.service"));
        assert_eq!(template_of("nginx.service"), None);
    }
}

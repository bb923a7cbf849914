//! The arrows between folders and files, as the paths in the source draw them, point one way.
//!
//! - core names nothing of src, and its parts name only the floors below them.
//! - Each folder or file of src names only floors below its own.
//! - Inside a folder no circle of files names itself. A mod.rs, which holds a folder together, and
//!   test code are left out.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The floors of a crate, from the top. Rooms of one floor do not name each other.
const SRC: &[&[&str]] =
    &[&["overlay"], &["context"], &["seal"], &["openssl"], &["compact", "log"], &["config"]];
const CORE: &[&[&str]] =
    &[&["cache", "store", "key_file", "slots"], &["schedules", "sync", "system"]];

type Arrows = BTreeMap<String, BTreeSet<String>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Source without comments, and without the module of unit tests at its end.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The place of a file in its crate: `context/host/keys.rs` is context, host, keys.
fn module(crate_folder: &Path, file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(crate_folder).unwrap().with_extension("");
    let mut parts: Vec<_> = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib") {
        parts.pop();
    }
    parts
}

/// Every path that begins with `crate::` or `super::`, from the root of the crate, with `use`
/// groups opened: `use super::{a, b::C}` in context/life.rs gives context::a and context::b::C.
fn paths(code: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (start, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let before = code[..start].chars().next_back().unwrap_or(' ');
        if before.is_alphanumeric() || before == '_' || before == ':' {
            continue;
        }
        let mut rest = &code[start..];
        let mut base: Vec<String> = Vec::new();
        if let Some(after) = rest.strip_prefix("crate::") {
            rest = after;
        } else {
            base = module.to_vec();
            while let Some(after) = rest.strip_prefix("super::") {
                base.pop();
                rest = after;
            }
        }
        open(rest, &base, &mut found);
    }
    found
}

/// One branch of a `use` tree, or one path; returns what is behind it.
fn open<'a>(text: &'a str, base: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut group) = text.strip_prefix('{') {
        loop {
            group = open(group, base, found).trim_start();
            match group.strip_prefix(',') {
                Some(after) => group = after,
                None => return group.strip_prefix('}').unwrap_or(group),
            }
            if let Some(after) = group.trim_start().strip_prefix('}') {
                return after;
            }
        }
    }
    let end = text.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let mut path = base.to_vec();
    path.push(name.to_owned());
    match rest.strip_prefix("::") {
        Some(deeper) if !name.is_empty() => open(deeper, &path, found),
        _ => {
            found.push(path);
            rest
        }
    }
}

/// The arrows between the rooms right below `folder`, by their names there.
fn arrows(crate_folder: &Path, folder: &Path) -> Arrows {
    let depth = module(crate_folder, &folder.join("mod.rs"));
    let mut arrows = Arrows::new();
    for file in sources(folder) {
        let here = module(crate_folder, &file);
        let is_test =
            here.last().is_some_and(|name| name.ends_with("tests") || name == "interleavings");
        let Some(from) = here.get(depth.len()).filter(|_| !is_test) else { continue };
        let targets = arrows.entry(from.clone()).or_default();
        for path in paths(&code(&file), &here) {
            if let Some(to) = path.get(depth.len()).filter(|_| path.starts_with(&depth)) {
                targets.insert(to.clone());
            }
        }
    }
    let rooms: BTreeSet<_> = arrows.keys().cloned().collect();
    for (from, targets) in &mut arrows {
        targets.retain(|to| rooms.contains(to) && to != from);
    }
    arrows
}

/// Every arrow that does not lead to a lower floor.
fn wrong(floors: &[&[&str]], arrows: &Arrows) -> Vec<String> {
    let floor = |room: &String| floors.iter().position(|floor| floor.contains(&room.as_str()));
    let mut wrong = Vec::new();
    for (from, targets) in arrows {
        if floor(from).is_none() {
            wrong.push(format!("{from} is on no floor"));
        }
        let upward = targets.iter().filter(|to| floor(to) <= floor(from));
        wrong.extend(upward.map(|to| format!("{from} names {to}")));
    }
    wrong
}

/// A circle of rooms that name each other, if there is one.
fn circle(arrows: &Arrows) -> Option<Vec<String>> {
    fn walk<'a>(arrows: &'a Arrows, at: &'a str, way: &mut Vec<&'a str>) -> Option<Vec<String>> {
        if let Some(start) = way.iter().position(|room| *room == at) {
            return Some(way[start..].iter().map(|room| (*room).to_owned()).collect());
        }
        way.push(at);
        let found = arrows.get(at).into_iter().flatten().find_map(|to| walk(arrows, to, way));
        way.pop();
        found
    }
    arrows.keys().find_map(|room| walk(arrows, room, &mut Vec::new()))
}

#[test]
fn floors_name_only_lower_floors() {
    for (crate_folder, floors) in [("src", SRC), ("core/src", CORE)] {
        let folder = root().join(crate_folder);
        assert_eq!(wrong(floors, &arrows(&folder, &folder)), [] as [String; 0], "{crate_folder}");
    }
}

#[test]
fn core_names_nothing_of_the_overlay() {
    for file in sources(&root().join("core/src")) {
        let code = code(&file);
        for name in ["sesscache::", "openssl_sys", "std::env::var", "no_mangle", "SESSCACHE_"] {
            // A message may name a setting.
            let named = code.lines().any(|line| line.contains(name) && !line.contains('"'));
            assert!(!named, "{} names {name}", file.display());
        }
    }
}

#[test]
fn no_circle_of_files_in_a_folder() {
    for crate_folder in ["src", "core/src", "cli/src"] {
        let crate_folder = root().join(crate_folder);
        let mut folders = vec![crate_folder.clone()];
        let heads = sources(&crate_folder).into_iter().filter(|file| file.ends_with("mod.rs"));
        folders.extend(heads.map(|file| file.parent().unwrap().to_owned()));
        for folder in folders {
            let arrows = arrows(&crate_folder, &folder);
            assert_eq!(circle(&arrows), None, "in {}", folder.display());
        }
    }
}

#[test]
fn an_arrow_back_is_seen() {
    let life = ["context".to_owned(), "life".to_owned()];
    let code = "use super::event::Event;\nuse crate::{log::say, overlay::{guard, hooks::X}};";
    let found: Vec<_> = paths(code, &life).iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["log::say", "overlay::guard", "overlay::hooks::X", "context::event::Event"]);
    let draw = |from: &str, to: &str| (from.to_owned(), BTreeSet::from([to.to_owned()]));
    let back = Arrows::from([draw("context", "overlay"), draw("overlay", "context")]);
    assert_eq!(wrong(SRC, &back), ["context names overlay"]);
    assert!(circle(&back).is_some());
    assert_eq!(circle(&Arrows::from([draw("overlay", "context")])), None);
}

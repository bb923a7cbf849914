//! tests/exports.txt is the list of exported functions. `make check` compares it with the library,
//! and build.rs makes the header's excludes of it. This test compares the other places where the
//! names stand.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The exported names that are OpenSSL's.
fn overlaid() -> BTreeSet<String> {
    let names = read("tests/exports.txt");
    names.lines().filter(|name| !name.starts_with("sesscache_")).map(str::to_owned).collect()
}

/// The word behind each `prefix`.
fn words_behind(text: &str, prefix: &str) -> BTreeSet<String> {
    let word = |text: &str| {
        text.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect::<String>()
    };
    text.split(prefix).skip(1).map(word).collect()
}

#[test]
fn clippy_bans_each_overlaid_name_and_no_other() {
    assert_eq!(words_behind(&read("clippy.toml"), "openssl_sys::"), overlaid());
}

/// With the ABI that a thread's end may pass, see `overlay::unwinding`.
#[test]
fn each_overlaid_function_is_exported_by_its_source() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/overlay");
    let mut sources = String::new();
    for file in fs::read_dir(folder).unwrap() {
        sources += &fs::read_to_string(file.unwrap().path()).unwrap();
    }
    let exported = words_behind(&sources, "pub unsafe extern \"C-unwind\" fn ");
    let missing: Vec<_> = overlaid().difference(&exported).cloned().collect();
    assert_eq!(missing, [] as [String; 0]);
}

#[test]
fn the_stock_table_has_each_overlaid_function() {
    let table = read("src/openssl/table.rs");
    let missing: Vec<_> = overlaid()
        .into_iter()
        .filter(|name| !table.contains(&format!("        {name}: fn(")))
        .collect();
    assert_eq!(missing, [] as [String; 0]);
}

#[test]
fn parity_has_a_row_for_each_overlaid_function() {
    let page = read("docs/PARITY.md");
    let rows: String = page.lines().filter(|line| line.starts_with("| `")).collect();
    // A row of two names the second by its end: `SSL_CTX_sess_set_new_cb`, `_get_new_cb`.
    let has = |name: &str| {
        rows.contains(&format!("`{name}`"))
            || name
                .strip_prefix("SSL_CTX_sess")
                .is_some_and(|end| rows.contains(&format!("`{end}`")))
    };
    let missing: Vec<_> = overlaid().into_iter().filter(|name| !has(name)).collect();
    assert_eq!(missing, [] as [String; 0]);
}

#[test]
fn each_overlaid_function_is_called_with_null() {
    let calls = read("c-tests/null.c");
    let is_called = |name: &String| {
        let call = format!("({name}(");
        calls.split(&call).skip(1).any(|text| text.split(';').next().unwrap().contains("NULL"))
    };
    let missing: Vec<_> = overlaid().into_iter().filter(|name| !is_called(name)).collect();
    assert_eq!(missing, [] as [String; 0]);
}

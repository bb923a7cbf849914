//! Key files and URLs of any content: an error that says what is wrong and tells no secret, or a
//! value that keeps the rules.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sesscache_core::key_file::{self, MAX_KEYS};
use sesscache_core::store::{LEAST_SIZE, Medium, StoreUrl};
use std::path::Path;

fn key_file(text: &[u8]) {
    match key_file::parse(text) {
        Ok(keys) => {
            assert!((1..=MAX_KEYS).contains(&keys.len()));
            // A state has its epoch before a colon, and no other key has a colon.
            let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
            for (key, line) in keys.iter().zip(lines) {
                let word = line.split(u8::is_ascii_whitespace).next().unwrap_or_default();
                assert_eq!(key.epoch.is_some(), word.contains(&b':'));
            }
        }
        Err(error) => {
            let says = error.to_string();
            assert!(!says.is_empty());
            let mut words = text.split(|byte| !byte.is_ascii_hexdigit());
            assert!(!words.any(|word| word.len() >= 8 && says.as_bytes().starts_with(word)));
        }
    }
}

fn url(text: &str) {
    let url = match StoreUrl::parse(text) {
        Ok(url) => url,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(url.size.is_none_or(|size| (LEAST_SIZE..=1 << 40).contains(&size)));
    assert!(url.key_file.as_deref().is_none_or(Path::is_absolute));
    // Written out again it is the same.
    let mut again = match &url.medium {
        Medium::Memory => "shm:?".to_owned(),
        Medium::File(path) => format!("file:{}?", path.display()),
    };
    assert!(!matches!(&url.medium, Medium::File(path) if !path.is_absolute()));
    if let Some(size) = url.size {
        again.push_str(&format!("size={size}&"));
    }
    if let Some(key) = &url.key_file {
        again.push_str(&format!("key={}", key.display()));
    }
    assert_eq!(StoreUrl::parse(&again).as_ref(), Ok(&url));
}

fuzz_target!(|data: &[u8]| {
    key_file(data);
    if let Ok(text) = std::str::from_utf8(data) {
        url(text);
    }
});

//! A folder for the store of one fuzzing process, and the bytes of an input one by one.

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::{env, fs, process};

/// Where this process's store is: in a folder of its own, where run.sh wants it and tidies up.
pub fn store_path(name: &str) -> PathBuf {
    let folder = env::temp_dir().join(format!("{name}-{}", process::id()));
    drop(fs::remove_dir_all(&folder));
    fs::DirBuilder::new().mode(0o700).create(&folder).expect("a folder of ours");
    folder.join("store")
}

/// The rest of an input; zeroes after its end.
pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    pub fn half(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    pub fn word(&mut self) -> u64 {
        u64::from_le_bytes([(); 8].map(|()| self.byte()))
    }
}

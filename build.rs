//! Names the library for the dynamic linker, keeps libssl and libcrypto out of its dependencies,
//! and writes the C header to OUT_DIR (`make header` copies it to include/).

use std::env;
use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=cbindgen.toml");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libsesscache.so.0");
    // libcrypto knows our functions for as long as it lives: dlclose must not take them away.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // openssl-sys asks for -lssl -lcrypto; nothing refers to them, so they are dropped.
    println!("cargo:rustc-cdylib-link-arg=-Wl,--as-needed");

    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml"))?;
    cbindgen::Builder::new()
        .with_crate(&root)
        .with_config(config)
        .generate()?
        .write_to_file(out.join("sesscache.h"));
    Ok(())
}

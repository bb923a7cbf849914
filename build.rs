//! Names the library for the dynamic linker, keeps libssl and libcrypto out of its dependencies,
//! and writes the C header to OUT_DIR (`make header` copies it to include/).

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=cbindgen.toml");
    println!("cargo:rerun-if-changed=tests/exports.txt");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libsesscache.so.0");
    // libcrypto knows our functions for as long as it lives: dlclose must not take them away.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // openssl-sys asks for -lssl -lcrypto; nothing refers to them, so they are dropped.
    println!("cargo:rustc-cdylib-link-arg=-Wl,--as-needed");

    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml"))?;
    let exports = fs::read_to_string(root.join("tests/exports.txt"))?;
    config
        .export
        .exclude
        .extend(exports.lines().filter(|name| !is_ours_to_declare(name)).map(str::to_owned));
    let mut header = Vec::new();
    cbindgen::Builder::new().with_crate(&root).with_config(config).generate()?.write(&mut header);
    fs::write(out.join("sesscache.h"), for_c89(&String::from_utf8(header)?))?;
    Ok(())
}

/// cbindgen writes line comments of its own, which C89 does not have. And it has no place for text
/// at the end of the guarded part: there end the warnings that cbindgen.toml turns off.
fn for_c89(header: &str) -> String {
    let header = header.replace("// __cplusplus", "/* __cplusplus */");
    let header = header.replace("// extern \"C\"", "/* extern \"C\" */");
    let end = "#endif  /* SESSCACHE_H */";
    let warnings = "#ifdef __GNUC__\n#pragma GCC diagnostic pop\n#endif\n\n";
    header.replace(end, &format!("{warnings}{end}"))
}

/// Whether the header declares an exported function: our own, and the six callback functions, whose
/// documented types <openssl/ssl.h> and this header both give. All others are OpenSSL's to declare.
fn is_ours_to_declare(name: &str) -> bool {
    name.starts_with("sesscache_") || name.starts_with("SSL_CTX_sess_")
}

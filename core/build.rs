//! Refuses processors for which nothing here is made, before anything is compiled.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_POINTER_WIDTH").as_deref() != Ok("64") {
        println!("cargo::error=needs a processor of 64 bits");
    }
}

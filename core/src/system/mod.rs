//! The C library and the kernel, as the rest of core and the overlay ask them. Nothing of OpenSSL.

pub mod clock;
pub mod errno;
pub mod files;
pub mod limits;
pub mod loader;
pub mod memory;
pub mod process;
pub mod seed;
pub mod thread;
pub mod wipe;
pub mod wiped;
pub mod words;

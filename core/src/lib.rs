//! sesscache-core: the parts of sesscache that know nothing of OpenSSL.
//!
//! ```text
//!   cache/       this process: sharded map, expiry, eviction            safe
//!   store/       this host: one mapped file or anonymous mapping        two unsafe corners
//!   key_file.rs  the secrets of a key file                              safe
//!   slots.rs     a value that is replaced while threads use it          safe
//!   sync.rs      locks and atomics, or those of shuttle and loom        safe
//!   system/      clock, files, loader, thread, ...                      unsafe
//! ```
//!
//! The library (`src/`) and the `sesscache` command (`cli/`) are built on it. It exports no C
//! symbol and reads no setting. tests/arrows.rs checks that it names nothing above itself.

#[forbid(unsafe_code)]
pub mod cache;
#[forbid(unsafe_code)]
pub mod key_file;
#[cfg(all(test, shuttle))]
#[forbid(unsafe_code)]
mod schedules;
#[forbid(unsafe_code)]
pub mod slots;
#[deny(unsafe_code)]
pub mod store;
#[forbid(unsafe_code)]
mod sync;
pub mod system;

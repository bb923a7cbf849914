//! libsesscache: TLS session caching for C servers, as an overlay on the system's OpenSSL.
//!
//! ```text
//!   overlay/   C calls this: the exported names, and our hooks        unsafe
//!   context/   one State per SSL_CTX: settings, rules, counters       safe
//!   seal/      records are encrypted before they leave                safe
//!   openssl/   we call this: stock functions, handles, callbacks      unsafe
//!   compact/   a session's DER in fewer bytes, and its shape          safe
//!   log.rs     lines for the operator                                 safe
//!   config.rs  SESSCACHE_*, read once                                 safe
//! ```
//!
//! Each names only the floors below it (tests/arrows.rs), and `sesscache_core`, which holds the
//! cache and the host store. docs/ARCHITECTURE.md tells the life of a session.

#[cfg(not(panic = "unwind"))]
compile_error!("a panic must unwind into overlay::guard: build with panic = \"unwind\"");

#[forbid(unsafe_code)]
pub mod compact;
#[forbid(unsafe_code)]
pub mod config;
#[forbid(unsafe_code)]
pub mod context;
#[forbid(unsafe_code)]
pub mod log;
pub mod openssl;
pub mod overlay;
#[forbid(unsafe_code)]
pub mod seal;

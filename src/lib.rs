//! libsesscache: TLS session caching for C servers, as an overlay on the system's OpenSSL.
//!
//! ```text
//!   overlay/   what C calls: the exported names, and our hooks        unsafe
//!   openssl/   what we call: stock functions, handles, callbacks      unsafe
//!   context/   one State per SSL_CTX: settings, rules, counters       safe
//!   seal/      records are encrypted before they leave the process    safe
//! ```
//!
//! Arrows point down: overlay, context, cache; `openssl` stands at the side. docs/ARCHITECTURE.md
//! tells the life of a session.

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

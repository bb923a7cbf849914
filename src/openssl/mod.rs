//! What we call: the stock functions, behind handles that own what they should.
//!
//! All of OpenSSL is reached through [`libssl`]. Above this layer a session, a connection and a
//! context are safe values; reference counts are kept by `Clone` and `Drop`. No locks of ours.

pub mod aead;
pub mod callback;
pub mod codec;
pub mod constants;
pub mod error_queue;
pub mod ex_data;
pub mod failed;
pub mod handle;
pub mod identity;
pub mod kdf;
pub mod lhash;
pub mod library;
pub mod libssl;
pub mod other;
pub mod stock;
pub mod table;
pub mod ticket;
pub mod types;

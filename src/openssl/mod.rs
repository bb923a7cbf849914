//! What we call: the stock functions, behind handles that own what they should.
//!
//! All of OpenSSL is reached through [`next`]. Above this layer a session, a connection and a
//! context are safe values; reference counts are kept by `Clone` and `Drop`. No locks of ours.

pub mod aead;
pub mod callback;
pub mod codec;
pub mod constants;
pub mod error_queue;
pub mod ex_data;
pub mod handle;
pub mod identity;
pub mod kdf;
pub mod lhash;
pub mod next;
pub mod other;
pub mod ticket;

//! The stock functions that we call, behind handles that own their references.
//!
//! All of OpenSSL is reached through a table of functions: types, library, table, [`libssl`], from
//! the ground up. Above this layer a session, a connection and a context are safe values; `Clone`
//! and `Drop` keep the reference counts. No locks of ours.

pub mod aead;
pub mod algorithms;
mod asn1_time;
pub mod boxed;
pub mod bytes;
pub mod callback;
pub mod callers;
mod cells;
mod cipher;
pub mod circumstances;
pub mod codec;
pub mod constants;
pub mod early_data;
pub mod error_queue;
pub mod ex_data;
pub mod facts;
pub mod failed;
pub mod generator;
pub mod handle;
pub mod identity;
pub mod kdf;
pub mod kept;
pub mod lhash;
pub mod library;
pub mod libssl;
pub mod memory;
mod names;
pub mod objects;
pub mod other;
pub mod packed;
mod reference;
mod scope;
pub mod scratch;
mod shapes;
pub mod side_data;
pub mod stock;
pub mod table;
pub mod template;
pub mod ticket;
pub mod types;
pub mod verification;
mod wrappers;

#[cfg(test)]
mod tests;

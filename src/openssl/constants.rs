//! Constants of ssl.h that openssl_sys lacks; the same in OpenSSL 3 and 4.

use libc::{c_int, c_long};

/// A session's time is set anew when it is used.
pub const SSL_SESS_CACHE_UPDATE_TIME: c_long = 0x400;
/// Early data is accepted without libssl's own protection against replay.
pub const SSL_OP_NO_ANTI_REPLAY: u64 = 1 << 24;
/// Asks SSL_CTX_ctrl for the cache mode.
pub const SSL_CTRL_GET_SESS_CACHE_MODE: c_int = 45;
/// Asks SSL_CTX_ctrl how many sessions are cached.
pub const SSL_CTRL_SESS_NUMBER: c_int = 20;
/// Asks SSL_CTX_ctrl how many sessions get_cb provided.
pub const SSL_CTRL_SESS_CB_HIT: c_int = 28;
/// Asks SSL_CTX_ctrl how many sessions were not found.
pub const SSL_CTRL_SESS_MISSES: c_int = 29;
/// Asks SSL_CTX_ctrl how many sessions had to make room.
pub const SSL_CTRL_SESS_CACHE_FULL: c_int = 31;
/// Gives SSL_CTX_ctrl the application's own ticket keys.
pub const SSL_CTRL_SET_TLSEXT_TICKET_KEYS: c_int = 59;

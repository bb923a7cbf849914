//! Constants of ssl.h that openssl_sys lacks; the same in OpenSSL 3 and 4.

use libc::{c_int, c_long};

/// A session's time is set anew when it is used.
pub const SSL_SESS_CACHE_UPDATE_TIME: c_long = 0x400;
/// The extended master secret is not used (RFC 7627).
pub const SSL_OP_NO_EXTENDED_MASTER_SECRET: u64 = 1;
/// Early data is accepted without libssl's own protection against replay.
pub const SSL_OP_NO_ANTI_REPLAY: u64 = 1 << 24;
/// DTLS 1.3 (RFC 9147), which no libssl has yet. Its sessions go by ticket, as those of TLS 1.3 do.
pub const DTLS1_3_VERSION: c_int = 0xFEFC;
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
/// Asks SSL_CTX_ctrl for the ticket keys.
pub const SSL_CTRL_GET_TLSEXT_TICKET_KEYS: c_int = 58;
/// Gives SSL_CTX_callback_ctrl the servername callback.
pub const SSL_CTRL_SET_TLSEXT_SERVERNAME_CB: c_int = 53;
/// A servername callback ends the handshake by an alert.
pub const SSL_TLSEXT_ERR_ALERT_FATAL: c_int = 2;
/// A servername callback does not acknowledge the name; the same as having no callback.
pub const SSL_TLSEXT_ERR_NOACK: c_int = 3;
/// The alert of a client that is not to be let in (RFC 8446 6.2).
pub const SSL_AD_ACCESS_DENIED: c_int = 49;
/// `SSL_TICKET_STATUS`: a ticket was opened.
pub const SSL_TICKET_SUCCESS: c_int = 5;
/// `SSL_TICKET_STATUS`: a ticket was opened and is to be renewed.
pub const SSL_TICKET_SUCCESS_RENEW: c_int = 6;
/// `SSL_TICKET_RETURN`: a full handshake, with a new ticket.
pub const SSL_TICKET_RETURN_IGNORE_RENEW: c_int = 2;
/// `SSL_TICKET_RETURN`: the session is resumed.
pub const SSL_TICKET_RETURN_USE: c_int = 3;
/// `SSL_TICKET_RETURN`: the session is resumed, with a new ticket.
pub const SSL_TICKET_RETURN_USE_RENEW: c_int = 4;
/// The status of a ticket that no key opens.
pub const SSL_TICKET_NO_DECRYPT: c_int = 4;

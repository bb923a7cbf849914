//! A connection of our own, by which a session is asked for fields that have no getter.
//!
//! SSL_get_extms_support(3), for one, tells it of a connection's session, but only once the handshake is
//! over, and a session is published before that. So the session is lent to a connection between two
//! ends of ours whose handshake is over: TLS 1.2 with a shared key, which takes no certificate. It was
//! shut down, so that libssl does not take the session for one that was broken off.
//!
//! It is made in the library context of our algorithms, and used by one thread at a time. No locks of
//! ours, and no callback of the application, but for its functions for new connections.

use super::algorithms::Algorithms;
use super::handle::SessionRef;
use super::table::Libssl;
use libc::{c_char, c_int, c_long, c_uint};
use openssl_sys::{BIO, SSL, SSL_CTX, SSL_SESS_CACHE_OFF, TLS1_2_VERSION};
use std::ffi::CStr;
use std::ptr::{self, NonNull};

/// `SSL_CTRL_…` (ssl.h).
const SET_SESS_CACHE_MODE: c_int = 44;
const GET_EXTMS_SUPPORT: c_int = 122;
const SET_MIN_PROTO_VERSION: c_int = 123;
const SET_MAX_PROTO_VERSION: c_int = 124;
const GET_NEGOTIATED_GROUP: c_int = 134;
/// `SSL_SENT_SHUTDOWN` and `SSL_RECEIVED_SHUTDOWN`.
const SHUT_DOWN: c_int = 3;

const CIPHERS: &CStr = c"PSK-AES256-GCM-SHA384:PSK-AES128-GCM-SHA256:@SECLEVEL=0";
/// Of a handshake in memory, that takes four.
const MOST_FLIGHTS: usize = 10;
/// The last version whose sessions were looked through for fields.
const LAST_KNOWN: (c_uint, c_uint) = (4, 0);
/// It protects nothing.
const SHARED_KEY: [u8; 16] = *b"of a scratch ssl";

/// The connection: the server's end.
#[derive(Debug)]
pub struct Scratch {
    ssl: End,
}

/// What only a connection tells of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// `X509_V_…`.
    pub verify_result: c_long,
    /// The group of the key exchange, as libssl numbers it.
    pub group: c_long,
    /// 1 with an extended master secret, 0 without.
    pub extended_master_secret: c_long,
}

#[derive(Debug)]
struct End {
    libssl: &'static Libssl,
    ssl: NonNull<SSL>,
}

// SAFETY: a connection belongs to no thread; whoever has the value is alone with it.
unsafe impl Send for End {}

impl Drop for End {
    fn drop(&mut self) {
        // SAFETY: made in `new`, which nobody else frees.
        unsafe { (self.libssl.SSL_free)(self.ssl.as_ptr()) };
    }
}

struct Context {
    libssl: &'static Libssl,
    ctx: NonNull<SSL_CTX>,
}

impl Drop for Context {
    fn drop(&mut self) {
        if let Some(free) = self.libssl.SSL_CTX_free {
            // SAFETY: made in `new`, which nobody else frees; its connections have references.
            unsafe { free(self.ctx.as_ptr()) };
        }
    }
}

impl Context {
    fn new(libssl: &'static Libssl) -> Option<Context> {
        let library_context = Algorithms::get(libssl).ok()?.library_context();
        libssl.SSL_CTX_free?;
        // SAFETY: takes nothing and returns a constant.
        let method = unsafe { libssl.TLS_method?() };
        // SAFETY: a library context or NULL, no properties, a method.
        let ctx = unsafe { libssl.SSL_CTX_new_ex?(library_context.cast(), ptr::null(), method) };
        let context = Context { libssl, ctx: NonNull::new(ctx)? };
        let ctx = context.ctx.as_ptr();
        let version = c_long::from(TLS1_2_VERSION);
        for (command, value) in [
            (SET_MIN_PROTO_VERSION, version),
            (SET_MAX_PROTO_VERSION, version),
            (SET_SESS_CACHE_MODE, SSL_SESS_CACHE_OFF),
        ] {
            // SAFETY: a context of ours, and what the command takes.
            unsafe { (libssl.SSL_CTX_ctrl)(ctx, command, value, ptr::null_mut()) };
        }
        // SAFETY: a context of ours and a C string.
        let is_set = unsafe { libssl.SSL_CTX_set_cipher_list?(ctx, CIPHERS.as_ptr()) } == 1;
        // SAFETY: a context of ours, and a callback of the type that it takes.
        unsafe { libssl.SSL_CTX_set_psk_server_callback?(ctx, Some(shared_key_of_client)) };
        // SAFETY: as above.
        unsafe { libssl.SSL_CTX_set_psk_client_callback?(ctx, Some(shared_key_of_server)) };
        is_set.then_some(context)
    }

    fn end(&self) -> Option<End> {
        // SAFETY: a context of ours.
        let ssl = unsafe { self.libssl.SSL_new?(self.ctx.as_ptr()) };
        Some(End { libssl: self.libssl, ssl: NonNull::new(ssl)? })
    }
}

/// Writes the key; returns its length, or 0 without room.
fn put_key(place: *mut u8, room: c_uint) -> c_uint {
    let length = c_uint::try_from(SHARED_KEY.len()).unwrap_or(0);
    if room < length {
        return 0;
    }
    // SAFETY: libssl's room for a key.
    unsafe { ptr::copy_nonoverlapping(SHARED_KEY.as_ptr(), place, SHARED_KEY.len()) };
    length
}

unsafe extern "C-unwind" fn shared_key_of_client(
    _ssl: *mut SSL,
    _identity: *const c_char,
    key: *mut u8,
    room: c_uint,
) -> c_uint {
    put_key(key, room)
}

unsafe extern "C-unwind" fn shared_key_of_server(
    _ssl: *mut SSL,
    _hint: *const c_char,
    identity: *mut c_char,
    identity_room: c_uint,
    key: *mut u8,
    room: c_uint,
) -> c_uint {
    if identity_room < 2 {
        return 0;
    }
    // SAFETY: libssl's room for a name, and its end.
    unsafe { identity.cast::<[u8; 2]>().write(*b"s\0") };
    put_key(key, room)
}

impl Scratch {
    /// Makes a handshake. `None` if libssl makes none, or if its sessions may have fields that are not
    /// known here.
    pub fn new(libssl: &'static Libssl) -> Option<Scratch> {
        if version(libssl)? > LAST_KNOWN {
            return None;
        }
        let context = Context::new(libssl)?;
        let (server, client) = (context.end()?, context.end()?);
        join(libssl, &server, &client)?;
        let shake = libssl.SSL_do_handshake?;
        let is_over = (0..MOST_FLIGHTS).any(|_| {
            // SAFETY: a connection of ours.
            let client = unsafe { shake(client.ssl.as_ptr()) };
            // SAFETY: as above.
            let server = unsafe { shake(server.ssl.as_ptr()) };
            client == 1 && server == 1
        });
        let ssl = server.ssl.as_ptr();
        // SAFETY: a connection of ours.
        unsafe { libssl.SSL_set_shutdown?(ssl, SHUT_DOWN) };
        // SAFETY: as above; it lets go of its end of the pair.
        unsafe { libssl.SSL_set_bio?(ssl, ptr::null_mut(), ptr::null_mut()) };
        // SAFETY: as above: without a session.
        let is_empty = unsafe { (libssl.SSL_set_session)(ssl, ptr::null_mut()) } == 1;
        (is_over && is_empty).then_some(Scratch { ssl: server })
    }

    /// What a connection tells of a session. `None` if the session has the name of a shared key, or if
    /// it is not told.
    pub fn ask(&mut self, session: SessionRef<'_>) -> Option<Told> {
        let (libssl, ssl) = (self.ssl.libssl, self.ssl.ssl.as_ptr());
        let set = libssl.SSL_set_session;
        // SAFETY: a connection of ours that was shut down, and a session, of which it takes a reference.
        let is_set = unsafe { set(ssl, session.as_ptr()) } == 1;
        let told = is_set.then(|| self.told()).flatten();
        // SAFETY: as above. It gives the reference back.
        unsafe { set(ssl, ptr::null_mut()) };
        told
    }

    fn told(&self) -> Option<Told> {
        let (libssl, ssl) = (self.ssl.libssl, self.ssl.ssl.as_ptr());
        let names = [libssl.SSL_get_psk_identity?, libssl.SSL_get_psk_identity_hint?];
        // SAFETY: a connection of ours.
        let has_name = names.into_iter().any(|get| !unsafe { get(ssl) }.is_null());
        let control = libssl.SSL_ctrl?;
        // SAFETY: a connection of ours, and a command that takes nothing.
        let told = |command| unsafe { control(ssl, command, 0, ptr::null_mut()) };
        let extended_master_secret = told(GET_EXTMS_SUPPORT);
        // SAFETY: a connection of ours.
        let verify_result = unsafe { libssl.SSL_get_verify_result?(ssl) };
        let group = told(GET_NEGOTIATED_GROUP);
        let told = Told { verify_result, group, extended_master_secret };
        (!has_name && matches!(extended_master_secret, 0 | 1)).then_some(told)
    }
}

fn version(libssl: &Libssl) -> Option<(c_uint, c_uint)> {
    // SAFETY: takes nothing and returns a constant.
    let major = unsafe { libssl.OPENSSL_version_major?() };
    // SAFETY: as above.
    Some((major, unsafe { libssl.OPENSSL_version_minor?() }))
}

/// Joins the two ends in memory.
fn join(libssl: &'static Libssl, server: &End, client: &End) -> Option<()> {
    let (accept, connect) = (libssl.SSL_set_accept_state?, libssl.SSL_set_connect_state?);
    let set_bio = libssl.SSL_set_bio?;
    let (mut of_server, mut of_client): (*mut BIO, *mut BIO) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: places for the pair; 0 is the usual size.
    let made = unsafe { libssl.BIO_new_bio_pair?(&raw mut of_server, 0, &raw mut of_client, 0) };
    if made != 1 {
        return None;
    }
    for (end, bio) in [(server, of_server), (client, of_client)] {
        // SAFETY: a connection of ours, and a BIO that it takes over.
        unsafe { set_bio(end.ssl.as_ptr(), bio, bio) };
    }
    // SAFETY: a connection of ours.
    unsafe { accept(server.ssl.as_ptr()) };
    // SAFETY: as above.
    unsafe { connect(client.ssl.as_ptr()) };
    Some(())
}

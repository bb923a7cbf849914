//! An application's settings that decide who may resume, and for which libssl has no getter.
//!
//! The overlay notes a setting here and passes it on: libssl keeps and obeys its own copy.
//!
//! Locks: one for each id context, one for a ticket key, for the length of a copy. Handshakes ask for
//! them and do not wait long.

use super::lock::{read_soon, write_soon};
use crate::openssl::boxed;
use crate::openssl::callback::Callback;
use crate::openssl::early_data::EarlyDataCallbacks;
use crate::openssl::ticket::TicketKey;
use crate::openssl::types::{
    CallbackArg, DecryptTicketCb, EvpMacCtx, GenerateTicketCb, HmacCtx, PskFindSessionCb,
    PskServerCb, ServernameCb, TicketKeyCb,
};
use parking_lot::RwLock;
use std::ffi::c_void;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicPtr};

/// The longest id context (`SSL_MAX_SID_CTX_LENGTH`).
const MAX_ID_CONTEXT: usize = 32;

/// A session id context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdContext {
    /// With zeroes behind the last byte.
    bytes: [u8; MAX_ID_CONTEXT],
    length: u8,
}

impl IdContext {
    /// `None` if it is longer than one can be.
    pub fn new(id_context: &[u8]) -> Option<IdContext> {
        let mut bytes = [0; MAX_ID_CONTEXT];
        bytes.get_mut(..id_context.len())?.copy_from_slice(id_context);
        Some(IdContext { bytes, length: u8::try_from(id_context.len()).ok()? })
    }

    /// The bytes; empty if there is no id context.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// The id context of a connection, if that is another than its context's.
#[derive(Debug, Default)]
pub struct OwnIdContext(RwLock<Option<IdContext>>);

impl OwnIdContext {
    /// The id context; `None` if it is that of the connection's context.
    pub fn get(&self) -> Option<IdContext> {
        *read_soon(&self.0)?
    }

    /// Sets it, or has the connection follow its context.
    pub fn set(&self, id_context: Option<IdContext>) {
        if let Some(mut own) = write_soon(&self.0) {
            *own = id_context;
        }
    }
}

/// The settings of a context.
///
/// | flag | values |
/// |---|---|
/// | `context_sets_certificates` | false; true while the context has a certificate callback |
/// | `connection_sets_certificates` | false, true once a connection had one |
/// | `verifies_itself` | false; true while the application verifies certificates itself |
/// | `asks_for_shared_keys` | false, true once the context or a connection had such a callback |
/// | `withholds_tickets` | false; true while SSL_OP_NO_TICKET is set, and by us |
#[derive(Debug, Default)]
pub struct Application {
    id_context: RwLock<IdContext>,
    context_sets_certificates: AtomicBool,
    connection_sets_certificates: AtomicBool,
    verifies_itself: AtomicBool,
    asks_for_shared_keys: AtomicBool,
    withholds_tickets: AtomicBool,
    servername_cb: Callback<ServernameCb>,
    ticket_data: TicketData,
    ticket_keys: OwnTicketKeys,
    early_data: EarlyDataCallbacks,
    shared_keys: SharedKeys,
    /// The library context of SSL_CTX_new_ex(3).
    library_context: AtomicPtr<c_void>,
}

/// The arguments of SSL_CTX_set_session_ticket_cb(3).
#[derive(Debug, Default)]
pub struct TicketData {
    /// The application's gen_cb.
    pub generate_cb: Callback<GenerateTicketCb>,
    /// The application's dec_cb.
    pub decrypt_cb: Callback<DecryptTicketCb>,
    argument: AtomicPtr<c_void>,
}

impl TicketData {
    /// Sets all three.
    pub fn set(
        &self,
        generate: Option<GenerateTicketCb>,
        decrypt: Option<DecryptTicketCb>,
        argument: CallbackArg,
    ) {
        self.generate_cb.set(generate);
        self.decrypt_cb.set(decrypt);
        self.argument.store(argument.as_ptr(), Release);
    }

    /// The argument for both callbacks.
    pub fn argument(&self) -> CallbackArg {
        CallbackArg::new(self.argument.load(Acquire))
    }
}

/// The application's own ticket keys. libssl asks the first that there is.
#[derive(Debug, Default)]
pub struct OwnTicketKeys {
    /// SSL_CTX_set_tlsext_ticket_key_evp_cb(3).
    pub evp_cb: Callback<TicketKeyCb<EvpMacCtx>>,
    /// SSL_CTX_set_tlsext_ticket_key_cb(3).
    pub hmac_cb: Callback<TicketKeyCb<HmacCtx>>,
    /// SSL_CTX_set_tlsext_ticket_keys(3). Noted only where ours are used in spite of them.
    key: RwLock<Option<Box<TicketKey>>>,
}

impl OwnTicketKeys {
    /// Whether there are any.
    pub(super) fn are_set(&self) -> bool {
        self.evp_cb.get().is_some() || self.hmac_cb.get().is_some() || self.key().is_some()
    }

    /// The key that the application has set without a callback.
    pub fn key(&self) -> Option<TicketKey> {
        read_soon(&self.key)?.as_deref().cloned()
    }

    /// The application has set a key without a callback, or has taken OpenSSL's. Without memory for
    /// its first it counts as not set: ours seal, and what it has sealed is not opened.
    pub fn note_key(&self, key: TicketKey) {
        let Some(mut known) = write_soon(&self.key) else { return };
        match known.as_deref_mut() {
            Some(place) => *place = key,
            None => *known = boxed::try_new(key),
        }
    }
}

/// The application's callbacks for shared keys, of a context or a connection.
#[derive(Debug, Default)]
pub struct SharedKeys {
    /// SSL_CTX_set_psk_find_session_callback(3), SSL_set_psk_find_session_callback(3).
    pub find_session_cb: Callback<PskFindSessionCb>,
    /// SSL_CTX_set_psk_server_callback(3), SSL_set_psk_server_callback(3).
    pub server_cb: Callback<PskServerCb>,
}

impl Application {
    /// The session id context that new connections get; `None` if a fork has left its lock held.
    pub fn id_context(&self) -> Option<IdContext> {
        read_soon(&self.id_context).map(|id_context| *id_context)
    }

    /// SSL_CTX_set_session_id_context(3) has succeeded.
    pub fn note_id_context(&self, id_context: IdContext) {
        if let Some(mut known) = write_soon(&self.id_context) {
            *known = id_context;
        }
    }

    /// Whether certificates are set for each connection.
    pub fn sets_certificates(&self) -> bool {
        self.context_sets_certificates.load(Relaxed)
            || self.connection_sets_certificates.load(Relaxed)
    }

    /// The context has a certificate callback from now on, or has none.
    pub fn note_certificate_callback(&self, is_set: bool) {
        self.context_sets_certificates.store(is_set, Relaxed);
    }

    /// A connection of the context has a certificate callback.
    pub fn note_connection_sets_certificates(&self) {
        self.connection_sets_certificates.store(true, Relaxed);
    }

    /// Whether the application verifies certificates itself, in place of libssl.
    pub fn verifies_itself(&self) -> bool {
        self.verifies_itself.load(Relaxed)
    }

    /// The application verifies certificates itself from now on, or leaves that to libssl.
    pub fn note_verifies_itself(&self, verifies: bool) {
        self.verifies_itself.store(verifies, Relaxed);
    }

    /// Whether libssl has ever been told to ask the application for a client's shared key.
    pub fn asks_for_shared_keys(&self) -> bool {
        self.asks_for_shared_keys.load(Relaxed)
    }

    /// The context or a connection has a callback for shared keys.
    pub fn note_asks_for_shared_keys(&self) {
        self.asks_for_shared_keys.store(true, Relaxed);
    }

    /// Where the application's servername callback is kept.
    pub fn servername_cb(&self) -> &Callback<ServernameCb> {
        &self.servername_cb
    }

    /// Where the application's callbacks for the data in tickets are kept.
    pub fn ticket_data(&self) -> &TicketData {
        &self.ticket_data
    }

    /// Where the application's own ticket keys are kept.
    pub fn ticket_keys(&self) -> &OwnTicketKeys {
        &self.ticket_keys
    }

    /// Where the application's callbacks for early data are kept.
    pub fn early_data(&self) -> &EarlyDataCallbacks {
        &self.early_data
    }

    /// Where the application's callbacks for shared keys are kept.
    pub fn shared_keys(&self) -> &SharedKeys {
        &self.shared_keys
    }

    /// Whether the context makes no stateless tickets because we have forbidden them.
    pub fn withholds_tickets(&self) -> bool {
        self.withholds_tickets.load(Relaxed)
    }

    /// We have forbidden stateless tickets, or allow them again.
    pub fn note_withholds_tickets(&self, withholds: bool) {
        self.withholds_tickets.store(withholds, Relaxed);
    }

    /// The `OSSL_LIB_CTX` that the context was made in; NULL is the default one.
    pub fn library_context(&self) -> *mut c_void {
        self.library_context.load(Relaxed)
    }

    /// The context has just been made in this `OSSL_LIB_CTX`.
    pub fn note_library_context(&self, library_context: *mut c_void) {
        self.library_context.store(library_context, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_context_has_at_most_32_bytes() {
        assert_eq!(IdContext::new(&[7; 33]), None);
        let longest = IdContext::new(&[7; 32]).unwrap();
        assert_eq!(longest.bytes(), [7; 32]);
        let none = IdContext::new(&[]).unwrap();
        assert_eq!(none, IdContext::default());
        assert_eq!(none.bytes(), [0; 0]);
    }

    #[test]
    fn id_contexts_of_different_lengths_differ() {
        let [short, long] = [&[1, 2][..], &[1, 2, 0]].map(|bytes| IdContext::new(bytes).unwrap());
        assert_ne!(short, long);
        assert_eq!(long.bytes(), [1, 2, 0]);
    }

    #[test]
    fn a_connections_certificate_callback_stays_known() {
        let application = Application::default();
        application.note_certificate_callback(true);
        assert!(application.sets_certificates());
        application.note_certificate_callback(false);
        assert!(!application.sets_certificates());
        application.note_connection_sets_certificates();
        application.note_certificate_callback(false);
        assert!(application.sets_certificates());
    }
}

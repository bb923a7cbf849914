//! Predicts what a connection will demand of its client. libssl looks for the session before the
//! servername callback chooses the virtual host.
//!
//! A session made where nobody was asked for a certificate must not resume at a host that asks
//! (CVE-2025-23419 was such a way round). So a foreign session is judged by what the connection will
//! demand in the end:
//!
//! - what it demands now, if a ClientHello callback has switched it already, if no callback will
//!   switch it, or if nobody in this process asks for certificates (`census`);
//! - else what was demanded when the same name was asked for last, unless it has led to several hosts
//!   within a minute, or somebody began to ask since;
//! - else it is not known. The handshake is a full one, and teaches.
//!
//! After the callback the connection is looked at once more, see `admission`.
//!
//! Anybody can ask for names that he has invented. A name is kept when a client has offered a foreign
//! session that was made under it; all others take turns in a table of their own. Names are there by
//! a hash with a secret: if two had the same, one would end as a wrong prediction does.

use super::VirtualHost;
use super::census::{all_ask_the_same, changes, note_connection_asks};
use super::table::{Gone, Table};
use crate::context::event::Event;
use crate::context::lock::read_soon;
use crate::context::thread::is_in_servername;
use crate::openssl::boxed;
use crate::openssl::handle::Ssl;
use crate::openssl::verification::Demands;
use once_cell::race::OnceBox;
use parking_lot::RwLock;
use sesscache_core::system::clock::now;
use siphasher::sip::SipHasher24;
use std::hash::Hasher;
use std::mem::replace;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// Parts of the table, so that none takes long to grow. Names are spread over them by their hash.
const SHARDS: usize = 64;
/// The most names of a generation that anybody has asked for: 28,672 in all parts.
const MOST_SEEN: usize = 448;
/// The most names of a generation under which clients have come back: 229,376 in all parts. With
/// two generations of both, and 49 bytes a name in maps that are full to seven eighths, a context
/// takes 28 MiB at most.
const MOST_KEPT: usize = 3584;
/// For how many seconds a name that has led elsewhere than before is taken for one that may lead to
/// several hosts (the port decides, or the address).
const SEVERAL_SECONDS: i64 = 60;

/// The names that clients have asked a context for.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Whether the context has a servername callback.
    may_switch: AtomicBool,
    /// Whether a connection has begun to ask for a certificate in a callback that runs after the
    /// lookup and is not for the server name: for ALPN, for example.
    asks_late: AtomicBool,
    /// Empty until a name matters.
    shards: OnceBox<Vec<RwLock<Shard>>>,
}

/// What a connection will demand of its client when the virtual host is chosen.
#[derive(Clone, Debug)]
pub(in crate::context) struct Expectation {
    pub(in crate::context) demands: Demands,
    /// Whether the application verifies certificates itself (SSL_CTX_set_cert_verify_callback(3)).
    pub(in crate::context) verifies_itself: bool,
}

/// A part of the names. By the name as it was sent, because an application may tell upper case from
/// lower. Before TLS 1.3 and in it they are others, because a host that asks after the handshake
/// does so in TLS 1.3 alone.
#[derive(Debug)]
struct Shard {
    /// The changes of policies that were known when this was learned; see `census`.
    changes: u64,
    names: Table<Led>,
}

/// Where a name has led.
#[derive(Debug, Default)]
struct Led {
    /// `None` if that is not known. The trust store is there only if `needs_store` says so.
    last: Option<Expectation>,
    /// The last second in which that is not certain, because it led elsewhere before.
    several_until: i64,
    /// Whether a client with a certificate has come where none is asked for. A trust store that is
    /// kept lives on, so it is kept only where it is used.
    keeps_store: bool,
}

impl Expectation {
    /// What the connection demands as it is now. `None` if its context is not one of ours.
    pub(in crate::context) fn now(event: &Event<'_>) -> Option<Expectation> {
        Some(Expectation {
            demands: event.ssl.demands(event.is_tls13()),
            verifies_itself: event.current.application?.verifies_itself(),
        })
    }
}

impl Led {
    /// Whether the trust store of this is kept.
    fn needs_store(&self, reached: &Expectation) -> bool {
        self.keeps_store || reached.demands.asks()
    }

    /// What the name leads to, for a client with a certificate or without; `None` if that is not
    /// certain.
    fn expected(&self, has_certificate: bool) -> Option<Expectation> {
        let last = self.last.as_ref()?;
        let is_known = !has_certificate || self.needs_store(last);
        (is_known && self.several_until < now()).then(|| last.clone())
    }

    /// A client with a certificate has come.
    fn need_store(&mut self) {
        if self.last.as_ref().is_none_or(|last| !self.needs_store(last)) {
            self.keeps_store = true;
            self.last = None;
        }
    }

    fn has_led_to(&self, reached: &Expectation) -> bool {
        self.last.as_ref().is_some_and(|last| {
            last.verifies_itself == reached.verifies_itself
                && last.demands.equals(&reached.demands, self.needs_store(reached))
        })
    }

    /// The same name, which has led there now.
    fn then(&self, reached: &Expectation) -> Led {
        let demands = reached.demands.clone();
        let demands = if self.needs_store(reached) { demands } else { demands.without_store() };
        Led {
            last: Some(Expectation { demands, ..*reached }),
            several_until: match self.last {
                Some(_) => now() + SEVERAL_SECONDS,
                None => self.several_until,
            },
            keeps_store: self.keeps_store,
        }
    }
}

impl Shard {
    fn new() -> Shard {
        Shard { changes: 0, names: Table::new(MOST_SEEN, MOST_KEPT) }
    }

    /// The names as they are after so many changes. What was learned before is over, and is returned.
    fn after(&mut self, changes: u64) -> (&mut Table<Led>, Option<Table<Led>>) {
        let is_over = replace(&mut self.changes, changes) != changes;
        let names = &mut self.names;
        let over = is_over.then(|| replace(names, Table::new(MOST_SEEN, MOST_KEPT)));
        (names, over)
    }
}

impl Names {
    /// Calls `run` with the part for this hash. `None` if it has no result, without memory, and if
    /// a fork has left a lock held.
    fn with_shard<T>(&self, hash: u64, run: impl FnOnce(&RwLock<Shard>) -> T) -> Option<T> {
        let make = || {
            let mut shards = Vec::new();
            shards.try_reserve_exact(SHARDS).map_err(drop)?;
            shards.resize_with(SHARDS, || RwLock::new(Shard::new()));
            boxed::try_new(shards).ok_or(())
        };
        let shards = self.shards.get_or_try_init(make).ok()?;
        // The maps use the lowest and the highest bits.
        let number = usize::try_from(hash >> 32).ok()? % SHARDS;
        shards.get(number).map(run)
    }

    /// Looks at what is known of a name.
    fn look<T>(
        &self,
        hash: u64,
        changes: u64,
        look: impl FnOnce(&Table<Led>) -> Option<T>,
    ) -> Option<T> {
        self.with_shard(hash, |shard| {
            let shard = read_soon(shard)?;
            if shard.changes == changes { look(&shard.names) } else { None }
        })?
    }

    /// Changes the names, if nobody else has them. What goes is dropped after the locks: a trust
    /// store may have functions of the application's.
    fn change(&self, hash: u64, changes: u64, change: impl FnOnce(&mut Table<Led>) -> Gone<Led>) {
        let gone = self.with_shard(hash, |shard| {
            let mut shard = shard.try_write()?;
            let (names, over) = shard.after(changes);
            Some((change(names), over))
        });
        drop(gone);
    }
}

impl VirtualHost {
    /// The context has a servername callback from now on, or has none.
    pub fn set_may_switch(&self, may_switch: bool) {
        self.names.may_switch.store(may_switch, Relaxed);
    }

    /// A connection that started with this context asks for a certificate, after its session was
    /// looked up. `context_asks`: so does the context that it is in, where the name has led.
    pub fn note_connection_asks(&self, ssl: Ssl<'_>, context_asks: bool) {
        if !is_in_servername(ssl) {
            self.names.asks_late.store(true, Relaxed);
        } else if context_asks && self.name_matters() {
            // That is learned by the name.
            return;
        }
        note_connection_asks();
    }

    /// What the connection will demand when it asks for this name; `None` if it cannot be told. Its
    /// client has offered a foreign session that was made under it, with a certificate or without.
    pub(in crate::context) fn expected(
        &self,
        event: &Event<'_>,
        name: &[u8],
        has_certificate: bool,
    ) -> Option<Expectation> {
        if self.names.asks_late.load(Relaxed) {
            return None;
        }
        if event.current.is_final || !self.name_matters() {
            return Expectation::now(event);
        }
        let (hash, changes) = (self.hash(event, name), changes());
        let settled = |names: &Table<Led>| names.settled(hash)?.expected(has_certificate);
        if let Some(expected) = self.names.look(hash, changes, settled) {
            return Some(expected);
        }
        let known = |names: &Table<Led>| names.get(hash)?.expected(has_certificate);
        let expected = self.names.look(hash, changes, known);
        self.names.change(hash, changes, |names| {
            names.keep(hash, |led| {
                if has_certificate {
                    led.need_store();
                }
            })
        });
        expected
    }

    /// The servername callback has run: remembers what the name has led to. Returns that; `None` if
    /// it cannot be told.
    pub(in crate::context) fn reached(
        &self,
        event: &Event<'_>,
        name: &[u8],
    ) -> Option<Expectation> {
        // First: a change that comes later must not pass for known.
        let changes = changes();
        let reached = Expectation::now(event)?;
        if self.name_matters() {
            self.learn(event, name, changes, &reached);
        }
        Some(reached)
    }

    /// Forgotten without memory.
    fn learn(&self, event: &Event<'_>, name: &[u8], changes: u64, reached: &Expectation) {
        let hash = self.hash(event, name);
        let is_known = |names: &Table<Led>| names.get(hash)?.has_led_to(reached).then_some(());
        if self.names.look(hash, changes, is_known).is_none() {
            self.names.change(hash, changes, |names| {
                let led = names
                    .get(hash)
                    .map_or_else(|| Led::default().then(reached), |led| led.then(reached));
                names.see(hash, led)
            });
        }
    }

    fn hash(&self, event: &Event<'_>, name: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_keys(self.number, 0);
        hasher.write(name);
        hasher.write_u8(event.is_tls13().into());
        hasher.finish()
    }

    /// Whether a server name may lead to hosts of different demands.
    pub(in crate::context) fn name_matters(&self) -> bool {
        self.names.may_switch.load(Relaxed) && !all_ask_the_same()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_knows_many_names_in_a_few_mebibytes() {
        const CONTROL_BYTE: usize = 1;
        let bytes = size_of::<(u64, Led)>() + CONTROL_BYTE;
        // A map has a power of two of places, of which an eighth is empty.
        let places = [MOST_SEEN, MOST_KEPT].map(|most| most / 7 * 8);
        assert!(places.iter().all(|places| places.is_power_of_two()));
        assert!(2 * SHARDS * places.iter().sum::<usize>() * bytes <= 28 << 20);
    }
}

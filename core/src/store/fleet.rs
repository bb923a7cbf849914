//! The facts that hosts compare, and what came of it: for whoever looks at the store.
//!
//! Servers note the ids of their keys and the hashes of their namespaces and certificate names. An
//! agent tells these to other hosts, and keeps here what differs. Nothing is decided by any of it,
//! and nothing of it is secret.
//!
//! No locks. A value whose check does not fit is half written or damaged, and is not there.

use super::layout::header;
use super::{Now, Store};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// The most ids of keys that are noted: as many as a key file has keys.
const MOST_IDS: usize = 16;
/// Check, epoch, count.
const KEYS_HEAD: usize = 3;
/// The most servers that are noted: virtual hosts of different names.
const MOST_SERVICES: usize = 32;
/// Check, namespace, names.
const SERVICE_WORDS: usize = 3;
/// The most hosts that are kept as different.
pub const MOST_HOSTS: usize = 16;
/// Check, time, hosts that were seen, count.
const HOSTS_HEAD: usize = 4;
const NAME_WORDS: usize = 4;
/// The longest name of a host that is kept.
pub const MOST_HOST_NAME: usize = NAME_WORDS * 8;
/// The name, and what differs.
const HOST_WORDS: usize = NAME_WORDS + 1;

/// The ids of the keys that open what is sealed in an epoch; the first seals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyIds {
    /// The epoch of the ratchets; 0 if all keys are plain, whose ids stay.
    pub epoch: u32,
    /// Ids as they stand before sealed records.
    pub ids: Vec<u32>,
}

/// A server that shares sessions, as hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// Of SESSCACHE_NAMESPACE.
    pub namespace: u64,
    /// Of the names for which its certificates are good.
    pub names: u64,
}

/// A host with which not all sessions are exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherHost {
    /// Its name: letters, digits and `-._`.
    pub name: String,
    /// A bit for each thing that differs, whose meaning is the agent's.
    pub differs: u64,
}

/// The findings of an agent about other hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherHosts {
    /// When it looked, in milliseconds since 1970.
    pub when: u64,
    /// How many other hosts there were.
    pub seen: u64,
    /// The hosts that differ, [`MOST_HOSTS`] of them at most.
    pub differing: Vec<OtherHost>,
}

impl Store {
    /// Notes the keys of this process. More than a key file can have are not noted.
    pub fn note_keys(&self, epoch: u32, ids: &[u32]) {
        let mut words = [0; KEYS_HEAD + MOST_IDS];
        let [check, since, count, places @ ..] = &mut words;
        (*since, *count) = (u64::from(epoch), ids.len() as u64);
        if ids.is_empty() || ids.len() > places.len() {
            return;
        }
        places.iter_mut().zip(ids).for_each(|(place, id)| *place = u64::from(*id));
        *check = check_of([epoch.into(), ids.len() as u64].into_iter().chain(*places));
        self.replace(header::KEY_IDS, &words);
    }

    /// The keys of the process that came last; `None` if none has said any.
    pub fn key_ids(&self) -> Option<KeyIds> {
        let [check, epoch, count, ids @ ..] =
            self.copied::<{ KEYS_HEAD + MOST_IDS }>(header::KEY_IDS)?;
        let is_whole = check == check_of([epoch, count].into_iter().chain(ids));
        let ids = ids.get(..usize::try_from(count).ok()?).filter(|ids| is_whole && !ids.is_empty());
        let ids = ids?.iter().map(|id| u32::try_from(*id).ok()).collect::<Option<_>>()?;
        Some(KeyIds { epoch: u32::try_from(epoch).ok()?, ids })
    }

    /// Notes a server that shares its sessions here. Without a free place it is not noted.
    pub fn note_service(&self, service: Service) {
        let check = service.check();
        let places = self.service_places();
        if places.iter().any(|[known, ..]| known.load(Acquire) == check) {
            return;
        }
        let claims = |[place, ..]: &&[AtomicU64; SERVICE_WORDS]| {
            place.compare_exchange(0, check, AcqRel, Relaxed).is_ok()
        };
        if let Some([_, namespace, names]) = places.iter().find(claims) {
            namespace.store(service.namespace, Release);
            names.store(service.names, Release);
        }
    }

    /// The servers that share their sessions here, or have done so.
    pub fn services(&self) -> Vec<Service> {
        let whole = |[check, namespace, names]: &[AtomicU64; SERVICE_WORDS]| {
            let (namespace, names) = (namespace.load(Acquire), names.load(Acquire));
            let service = Service { namespace, names };
            (check.load(Acquire) == service.check()).then_some(service)
        };
        self.service_places().iter().filter_map(whole).collect()
    }

    fn service_places(&self) -> &[[AtomicU64; SERVICE_WORDS]] {
        let words = self.mapping.words(header::SERVICES, MOST_SERVICES * SERVICE_WORDS);
        words.unwrap_or_default().as_chunks().0
    }

    /// Keeps what was found about other hosts, in place of what was found before. Hosts beyond
    /// [`MOST_HOSTS`], and the ends of longer names, are left out.
    pub fn keep_other_hosts(&self, seen: u64, differing: &[OtherHost], now: Now) {
        let mut words = [0; HOSTS_HEAD + MOST_HOSTS * HOST_WORDS];
        let kept = differing.get(..MOST_HOSTS).unwrap_or(differing);
        let [check, when, count, of, places @ ..] = &mut words;
        (*when, *count, *of) = (now.0, seen, kept.len() as u64);
        for (place, host) in places.as_chunks_mut::<HOST_WORDS>().0.iter_mut().zip(kept) {
            let [name @ .., differs] = place;
            *differs = host.differs;
            for (word, bytes) in name.iter_mut().zip(host.name.as_bytes().chunks(8)) {
                let mut eight = [0; 8];
                eight.iter_mut().zip(bytes).for_each(|(byte, from)| *byte = *from);
                *word = u64::from_le_bytes(eight);
            }
        }
        *check = check_of([now.0, seen, kept.len() as u64].into_iter().chain(*places));
        self.replace(header::OTHER_HOSTS, &words);
    }

    /// The last findings of an agent about other hosts; `None` if none has looked.
    pub fn other_hosts(&self) -> Option<OtherHosts> {
        let [check, when, seen, count, places @ ..] =
            self.copied::<{ HOSTS_HEAD + MOST_HOSTS * HOST_WORDS }>(header::OTHER_HOSTS)?;
        let is_whole = check == check_of([when, seen, count].into_iter().chain(places));
        let hosts = places.as_chunks::<HOST_WORDS>().0;
        let hosts = hosts.get(..usize::try_from(count).ok()?).filter(|_| is_whole && when > 0)?;
        let differing = hosts.iter().filter_map(|[name @ .., differs]| {
            let bytes: Vec<u8> = name.iter().flat_map(|word| word.to_le_bytes()).collect();
            let name = std::str::from_utf8(&bytes).ok()?.trim_end_matches('\0');
            is_host_name(name).then(|| OtherHost { name: name.to_owned(), differs: *differs })
        });
        Some(OtherHosts { when, seen, differing: differing.collect() })
    }

    /// Puts words in the place of others, unless they are there. All processes share the lines.
    fn replace(&self, offset: usize, words: &[u64]) {
        let Ok(places) = self.mapping.words(offset, words.len()) else { return };
        for (place, word) in places.iter().zip(words) {
            if place.load(Relaxed) != *word {
                place.store(*word, Release);
            }
        }
    }

    fn copied<const COUNT: usize>(&self, offset: usize) -> Option<[u64; COUNT]> {
        let places = self.mapping.words(offset, COUNT).ok()?;
        let mut words = [0; COUNT];
        words.iter_mut().zip(places).for_each(|(word, place)| *word = place.load(Acquire));
        Some(words)
    }
}

impl Service {
    fn check(self) -> u64 {
        check_of([self.namespace, self.names].into_iter())
    }
}

/// Whether this is a host's name as it may stand in a line of a log: letters, digits and `-._`.
pub fn is_host_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=MOST_HOST_NAME).contains(&name.len()) && name.bytes().all(is_plain)
}

/// A hash of words, FNV-1a by the word; never 0.
fn check_of(words: impl Iterator<Item = u64>) -> u64 {
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0100_0000_01B3).rotate_left(29);
    words.fold(0xCBF2_9CE4_8422_2325, mix).max(1)
}

/// The parts lie one behind the other, in a page of their own.
const _: () = {
    assert!(header::NOTES + super::NOTES * 8 <= header::KEY_IDS);
    assert!(header::KEY_IDS + (KEYS_HEAD + MOST_IDS) * 8 <= header::SERVICES);
    assert!(header::SERVICES + MOST_SERVICES * SERVICE_WORDS * 8 <= header::OTHER_HOSTS);
    let end = header::OTHER_HOSTS + (HOSTS_HEAD + MOST_HOSTS * HOST_WORDS) * 8;
    assert!(end <= super::layout::HEADER_BYTES);
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::layout::HEADER_BYTES;
    use crate::store::tests::{NOW, store};

    fn host(name: &str, differs: u64) -> OtherHost {
        OtherHost { name: name.to_owned(), differs }
    }

    #[test]
    fn keys_are_those_of_the_process_that_came_last() {
        let store = store();
        assert_eq!(store.key_ids(), None);
        for (epoch, ids) in [(7, vec![5]), (8, (1..=16).collect()), (0, vec![9, 0])] {
            store.note_keys(epoch, &ids);
            assert_eq!(store.key_ids(), Some(KeyIds { epoch, ids }));
        }
        store.note_keys(9, &[]);
        store.note_keys(9, &[1; 17]);
        assert_eq!(store.key_ids().unwrap().ids, [9, 0], "these were none");
    }

    #[test]
    fn servers_are_noted_once_and_as_many_as_there_is_room_for() {
        let store = store();
        let service = |names| Service { namespace: 3, names };
        assert_eq!(store.services(), []);
        for names in [5, 6, 5, 0] {
            store.note_service(service(names));
        }
        assert_eq!(store.services(), [5, 6, 0].map(service));
        (100..200).for_each(|names| store.note_service(service(names)));
        assert_eq!(store.services().len(), MOST_SERVICES);
    }

    #[test]
    fn other_hosts_are_those_of_the_last_look() {
        let store = store();
        assert_eq!(store.other_hosts(), None);
        let long = "x".repeat(MOST_HOST_NAME);
        for differing in [vec![], vec![host("web-2.eu", 5), host(&long, 1)], vec![host("b", 2)]] {
            store.keep_other_hosts(7, &differing, NOW);
            assert_eq!(store.other_hosts(), Some(OtherHosts { when: NOW.0, seen: 7, differing }));
        }
        let many: Vec<_> = (0..40).map(|number| host(&format!("h{number}"), 1)).collect();
        store.keep_other_hosts(40, &many, NOW);
        assert_eq!(store.other_hosts().unwrap().differing, many[..MOST_HOSTS]);
    }

    #[test]
    fn names_that_would_spoil_a_line_are_not_there() {
        let store = store();
        let bad = ["", "a b", "a\nb", "\u{1b}[31m", "ü"].map(|name| host(name, 1));
        store.keep_other_hosts(5, &[&bad[..], &[host("good", 1)]].concat(), NOW);
        assert_eq!(store.other_hosts().unwrap().differing, [host("good", 1)]);
    }

    #[test]
    fn of_random_words_nothing_is_there() {
        let store = store();
        let mut random = 1_u64;
        for _ in 0..100 {
            let words = (HEADER_BYTES - header::KEY_IDS) / 8;
            for word in store.mapping.words(header::KEY_IDS, words).unwrap() {
                random =
                    random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
                word.store(random, Relaxed);
            }
            assert_eq!((store.key_ids(), store.other_hosts()), (None, None));
            assert_eq!(store.services(), []);
            // Later notes are there; only a full table has no place.
            store.note_keys(1, &[2]);
            store.keep_other_hosts(0, &[], NOW);
            store.note_service(Service { namespace: 1, names: 2 });
            assert!(store.key_ids().is_some() && store.other_hosts().is_some());
        }
    }
}

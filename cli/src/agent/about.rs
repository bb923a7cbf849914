//! The facts that a host tells others about itself, and how they compare with theirs.
//!
//! Nothing of it is secret: the ids stand before each record in the streams, and the rest are hashes
//! of names that clients see. Anybody who can write to Redis may have written it, so it is checked,
//! bounded, and only ever said to an operator.

use super::settings::{MOST_NAME_BYTES, is_name};
use super::stream_entry::{EntryId, Malformed, array, bytes};
use crate::difference::Difference;
use redis::Value;
use sesscache_core::store::{KeyIds, Service, is_host_name};

/// The version of the format.
const VERSION: &str = "1";
/// The most keys and servers that are read of a host.
const MOST_KEYS: usize = 16;
const MOST_SERVICES: usize = 32;
/// The longest field.
const MOST_BYTES: usize = 2048;
/// Clocks that differ by more milliseconds are told: sessions end too early or too late.
const MOST_SKEW: u64 = 5000;

/// The facts that a host tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    /// The id of its store, in hex.
    pub(super) id: String,
    /// The host's name.
    pub(super) host: String,
    /// The name under which its agent exchanges.
    pub(super) name: String,
    /// Redis's time less its own, in milliseconds.
    pub(super) skew: i64,
    /// The keys of its servers; no ids if none has said any.
    pub(super) keys: KeyIds,
    /// Its servers.
    pub(super) services: Vec<Service>,
}

impl About {
    /// The fields of an entry.
    pub(super) fn fields(&self) -> [(&'static str, String); 7] {
        let ids: Vec<String> = self.keys.ids.iter().map(|id| format!("{id:08x}")).collect();
        let service = |one: &Service| format!("{:016x}:{:016x}", one.namespace, one.names);
        let services: Vec<String> = self.services.iter().map(service).collect();
        [
            ("v", VERSION.to_owned()),
            ("h", self.id.clone()),
            ("o", self.host.clone()),
            ("n", self.name.clone()),
            ("c", self.skew.to_string()),
            ("k", format!("{}/{}", self.keys.epoch, ids.join(","))),
            ("s", services.join(",")),
        ]
    }

    /// Parses an entry.
    pub(super) fn parse(entry: &Value) -> Result<(EntryId, About), Malformed> {
        let [id, fields] = array(entry) else { return Err(Malformed) };
        let id = EntryId::parse(id)?;
        let mut found = ["", "", "", "", "", "", ""];
        for pair in array(fields).chunks_exact(2) {
            let [name, value] = pair else { continue };
            let place = bytes(name).and_then(|name| {
                ["v", "h", "o", "n", "c", "k", "s"].iter().position(|one| one.as_bytes() == name)
            });
            let Some(place) = place.and_then(|place| found.get_mut(place)) else { continue };
            let text = bytes(value).filter(|text| text.len() <= MOST_BYTES).ok_or(Malformed)?;
            *place = std::str::from_utf8(text).map_err(|_| Malformed)?;
        }
        let [version, store, host, name, skew, keys, services] = found;
        let is_id = store.len() == 32 && store.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_good = version == VERSION && is_id && is_host_name(host) && is_name(name);
        let about = About {
            id: store.to_owned(),
            host: host.to_owned(),
            name: name.to_owned(),
            skew: skew.parse().map_err(|_| Malformed)?,
            keys: parse_keys(keys)?,
            services: list(services, MOST_SERVICES, parse_service)?,
        };
        if is_good { Ok((id, about)) } else { Err(Malformed) }
    }

    /// The bits of all that `other` has not in common with this host. `all`: everybody, with these two.
    pub(super) fn differs(&self, other: &About, all: &[&About]) -> u64 {
        let found = |is_there: bool, what: Difference| if is_there { what as u64 } else { 0 };
        if self.name != other.name {
            return found(self.should_have_the_name_of(other, all), Difference::Name);
        }
        let has = |hash: fn(&Service) -> u64| {
            self.services.iter().any(|one| other.services.iter().any(|two| hash(one) == hash(two)))
        };
        let share = self.services.iter().any(|one| other.services.contains(one));
        let is_known = !self.services.is_empty() && !other.services.is_empty();
        let (same_names, same_namespace) = (has(|one| one.names), has(|one| one.namespace));
        found(self.opens(other) == Some(false), Difference::Key)
            | found(is_known && !share && !same_names, Difference::Certificate)
            | found(is_known && !share && !same_namespace, Difference::Namespace)
            | found(self.skew.abs_diff(other.skew) > MOST_SKEW, Difference::Clock)
    }

    /// Whether each opens what the other one seals; `None` if that cannot be told, because a server
    /// has not said its keys, or has said them in another epoch.
    fn opens(&self, other: &About) -> Option<bool> {
        let ((first, ours), (second, theirs)) =
            ((self.keys.ids.first()?, &self.keys), (other.keys.ids.first()?, &other.keys));
        let is_open = theirs.ids.contains(first) && ours.ids.contains(second);
        let is_told = ours.epoch == theirs.epoch || ours.epoch == 0 || theirs.epoch == 0;
        (is_told || is_open).then_some(is_open)
    }

    /// Whether the two have all in common but the name, and neither host has an agent of the other's
    /// name: other services may well have other names.
    fn should_have_the_name_of(&self, other: &About, all: &[&About]) -> bool {
        let has =
            |host: &str, name: &str| all.iter().any(|one| one.host == host && one.name == name);
        self.opens(other) == Some(true)
            && self.services.iter().any(|one| other.services.contains(one))
            && !has(&self.host, &other.name)
            && !has(&other.host, &self.name)
    }
}

fn parse_keys(text: &str) -> Result<KeyIds, Malformed> {
    let (epoch, ids) = text.split_once('/').ok_or(Malformed)?;
    let ids = list(ids, MOST_KEYS, |id| u32::from_str_radix(id, 16).ok())?;
    Ok(KeyIds { epoch: epoch.parse().map_err(|_| Malformed)?, ids })
}

fn parse_service(text: &str) -> Option<Service> {
    let (namespace, names) = text.split_once(':')?;
    let hash = |text| u64::from_str_radix(text, 16).ok();
    Some(Service { namespace: hash(namespace)?, names: hash(names)? })
}

/// The items between commas.
fn list<T>(text: &str, most: usize, item: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Malformed> {
    let items = text.split(',').filter(|text| !text.is_empty());
    let found: Vec<T> = items.map(item).take(most + 1).collect::<Option<_>>().ok_or(Malformed)?;
    if found.len() <= most { Ok(found) } else { Err(Malformed) }
}

const _: () = assert!(MOST_NAME_BYTES <= MOST_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    fn about(host: &str) -> About {
        About {
            id: format!("{:032x}", host.len()),
            host: host.to_owned(),
            name: "web".to_owned(),
            skew: 0,
            keys: KeyIds { epoch: 7, ids: vec![1, 2] },
            services: vec![Service { namespace: 3, names: 4 }, Service { namespace: 3, names: 5 }],
        }
    }

    fn entry(fields: &[(&str, String)]) -> Value {
        let text = |text: &str| Value::BulkString(text.into());
        let fields = fields.iter().flat_map(|(name, value)| [text(name), text(value)]).collect();
        Value::Array(vec![text("5-0"), Value::Array(fields)])
    }

    fn differs(one: &About, two: &About) -> u64 {
        let found = one.differs(two, &[one, two]);
        assert_eq!(found, two.differs(one, &[one, two]), "both say the same");
        found
    }

    #[test]
    fn what_was_told_is_read() {
        let told = About { skew: -8, services: Vec::new(), ..about("web-1") };
        for told in [about("b"), told, About { keys: KeyIds::default(), ..about("c") }] {
            let (id, read) = About::parse(&entry(&told.fields())).unwrap();
            assert_eq!((id.time, read), (5, told));
        }
    }

    #[test]
    fn hostile_entries_are_none() {
        let bad = |place: usize, value: &str| {
            let mut fields = about("b").fields();
            fields[place].1 = value.to_owned();
            assert_eq!(About::parse(&entry(&fields)), Err(Malformed), "{value:.60}");
        };
        for (place, values) in [
            (0, &["", "2"][..]),
            (1, &["", "x", "zz"]),
            (2, &["", "a b", "a\nb", "\u{1b}[31m", "ü", &"x".repeat(33)]),
            (3, &["", "a{b}", &"x".repeat(101), &"x".repeat(100_000)]),
            (4, &["", "x", "99999999999999999999"]),
            (5, &["", "7", "x/1", "7/x", "7/123456789", &format!("7/{}", "1,".repeat(17))]),
            (6, &["1", "1:x", &"1:1,".repeat(33), &"1:1,".repeat(10_000)]),
        ] {
            values.iter().for_each(|value| bad(place, value));
        }
        assert_eq!(About::parse(&Value::Nil), Err(Malformed));
        assert_eq!(About::parse(&entry(&[])), Err(Malformed));
    }

    #[test]
    fn each_difference_is_told_alone() {
        let ours = about("a");
        assert_eq!(differs(&ours, &about("b")), 0);
        let keys = |epoch, ids: &[u32]| KeyIds { epoch, ids: ids.to_vec() };
        let service = |namespace, names| vec![Service { namespace, names }];
        for (what, theirs) in [
            (Difference::Key, About { keys: keys(7, &[9]), ..about("b") }),
            (Difference::Key, About { keys: keys(7, &[2]), ..about("b") }),
            (Difference::Key, About { keys: keys(0, &[9]), ..about("b") }),
            (Difference::Certificate, About { services: service(3, 9), ..about("b") }),
            (Difference::Namespace, About { services: service(9, 4), ..about("b") }),
            (Difference::Clock, About { skew: 5001, ..about("b") }),
            (Difference::Name, About { name: "x".into(), ..about("b") }),
        ] {
            assert_eq!(differs(&ours, &theirs), what as u64, "{theirs:?}");
        }
        let both = About { services: service(8, 9), ..about("b") };
        let bits = Difference::Certificate as u64 | Difference::Namespace as u64;
        assert_eq!(differs(&ours, &both), bits);
    }

    #[test]
    fn what_may_differ_is_not_told() {
        let ours = about("a");
        let keys = |epoch, ids: &[u32]| KeyIds { epoch, ids: ids.to_vec() };
        for theirs in [
            // Another order: a key that opens everywhere was promoted here only.
            About { keys: keys(7, &[2, 1]), ..about("b") },
            About { keys: keys(7, &[2, 1, 8]), ..about("b") },
            About { keys: keys(8, &[9]), ..about("b") },
            About { keys: keys(0, &[]), ..about("b") },
            // A virtual host that is there only, or of which nobody has asked here yet.
            About { services: vec![Service { namespace: 3, names: 5 }], ..about("b") },
            About { services: Vec::new(), ..about("b") },
            About { skew: 4000, ..about("b") },
            // Another service.
            About { name: "x".into(), keys: keys(7, &[9]), ..about("b") },
            About { name: "x".into(), services: Vec::new(), ..about("b") },
            About { name: "x".into(), ..about("a") },
        ] {
            assert_eq!(differs(&ours, &theirs), 0, "{theirs:?}");
        }
    }

    #[test]
    fn two_services_of_two_hosts_have_two_names() {
        let all: Vec<About> = [("a", "x"), ("a", "web"), ("b", "x"), ("b", "web"), ("c", "web")]
            .map(|(host, name)| About { name: name.to_owned(), ..about(host) })
            .into();
        let all: Vec<&About> = all.iter().collect();
        for one in &all {
            assert!(all.iter().all(|other| one.differs(other, &all) == 0), "{one:?}");
        }
    }
}

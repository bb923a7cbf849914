//! Judges the store, the key file and the settings of a server that has the library.

use super::findings::{Findings, program_name, restart};
use super::process::{Mapped, Process};
use crate::difference::{self, Difference};
use crate::settings;
use sesscache_core::key_file;
use sesscache_core::store::{Cause, Counters, KeyKind, Medium, OpenError, Store, StoreUrl};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Judges processes that have libssl and the library. `family`: all of the server, of which one
/// still has the environment.
pub(super) fn judge(overlaid: &[&Process], family: &[Process], findings: &mut Findings) {
    let told = family.iter().find(|one| {
        one.environment.iter().any(|(name, _)| name.to_string_lossy().starts_with("SESSCACHE_"))
    });
    if let Some(told) = told {
        judge_variables(told, findings);
    }
    let stores = stores(overlaid, told);
    for InUse { file: Mapped { path, is_gone, reached }, pids } in &stores {
        let Some(process) = overlaid.iter().find(|one| pids.contains(&one.pid)) else { continue };
        if *is_gone {
            let text = format!("the store {} was removed or replaced", path.display());
            findings.bad("store-gone", text, &restart(process), pids);
        } else {
            match Store::open_existing(reached) {
                Ok(store) => judge_store(path, &store, pids, findings),
                Err(error) => findings.bad(
                    "store-unusable",
                    format!("the store {}: {error}", path.display()),
                    "remove it, and restart its servers",
                    pids,
                ),
            }
        }
        let without: Vec<u32> = overlaid
            .iter()
            .filter(|one| !pids.contains(&one.pid) && !leaves_it_to_children(one, overlaid, pids))
            .map(|one| one.pid)
            .collect();
        if !without.is_empty() && stores.len() == 1 {
            let text = format!("{} is not used here, but by other processes", path.display());
            findings.bad("store-lost", text, &variables_mend(), &without);
        }
    }
    if stores.is_empty() {
        judge_absence(overlaid, told, findings);
    }
    judge_key_file(overlaid, told, findings);
}

/// Whether a process has the variable, and no store because it makes no SSL_CTX: the master of HAProxy
/// leaves all connections to its workers.
fn leaves_it_to_children(process: &Process, overlaid: &[&Process], users: &[u32]) -> bool {
    let mut children = overlaid.iter().filter(|one| one.parent == process.pid);
    process.variable("SESSCACHE_STORE").is_some() && children.any(|one| users.contains(&one.pid))
}

/// A store, and the processes that have mapped it.
struct InUse {
    file: Mapped,
    pids: Vec<u32>,
}

/// The stores that the processes have mapped.
fn stores(overlaid: &[&Process], told: Option<&Process>) -> Vec<InUse> {
    let named = told.and_then(store_url).and_then(|url| match url.medium {
        Medium::File(path) => Some(path),
        Medium::Memory => None,
    });
    let mut stores: Vec<InUse> = Vec::new();
    for process in overlaid {
        for file in &process.shared {
            let in_place = !file.is_gone && Store::open_existing(&file.reached).is_ok();
            if !in_place && named.as_ref() != Some(&file.path) {
                continue;
            }
            let is_it = |known: &&mut InUse| {
                known.file.path == file.path && known.file.is_gone == file.is_gone
            };
            match stores.iter_mut().find(is_it) {
                Some(known) => known.pids.push(process.pid),
                None => stores.push(InUse { file: file.clone(), pids: vec![process.pid] }),
            }
        }
    }
    stores
}

fn store_url(process: &Process) -> Option<StoreUrl> {
    StoreUrl::parse(process.variable("SESSCACHE_STORE")?.to_str()?).ok()
}

fn variables_mend() -> String {
    "hand LD_PRELOAD and each SESSCACHE_ variable down to all processes: `sesscache enable`".into()
}

/// Why no process has a store.
fn judge_absence(overlaid: &[&Process], told: Option<&Process>, findings: &mut Findings) {
    let pids: Vec<u32> = overlaid.iter().map(|one| one.pid).collect();
    let Some(process) = told.filter(|one| one.variable("SESSCACHE_STORE").is_some()) else {
        let name = overlaid.first().map(|one| program_name(one)).unwrap_or_default();
        let text = "there is no store: a process resumes only sessions of its own".to_owned();
        return findings.bad("no-store", text, &format!("sesscache enable {name}"), &pids);
    };
    let given = process.variable("SESSCACHE_STORE").unwrap_or_default().to_string_lossy();
    let bad = |findings: &mut Findings, why: String, mend: &str| {
        findings.bad("store-unusable", format!("SESSCACHE_STORE={given}: {why}"), mend, &pids);
    };
    let path = match StoreUrl::parse(&given) {
        Err(error) => return bad(findings, error.to_string(), "correct it, and restart"),
        Ok(StoreUrl { medium: Medium::Memory, .. }) => {
            let text = "the store is in the memory of the server".to_owned();
            return findings.good("store-memory", text, &pids);
        }
        Ok(StoreUrl { medium: Medium::File(path), .. }) => path,
    };
    match Store::open_existing(&process.path(&path)) {
        Ok(_) => {
            let mend = "restart the server, and read its first lines in the log";
            bad(findings, "no process uses it, though it can be opened".into(), mend);
        }
        Err(OpenError::System(_, error)) if error.kind() == ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(Path::new("/")).display();
            let mend = format!("make {folder}, which the server must be able to write to; restart");
            bad(findings, "there is no such store".into(), &mend);
        }
        Err(error) => bad(findings, error.to_string(), "mend or remove it, and restart"),
    }
}

fn judge_key_file(overlaid: &[&Process], told: Option<&Process>, findings: &mut Findings) {
    let pids: Vec<u32> = overlaid.iter().map(|one| one.pid).collect();
    let Some(process) = told else {
        let text = "the settings are not seen, because the server has overwritten its environment";
        let mend = "see the drop-in or the line that starts it";
        return findings.doubt("settings-unseen", text.to_owned(), mend, &pids);
    };
    let url = store_url(process);
    let in_url = url.as_ref().and_then(|url| url.key_file.clone());
    let own = process.variable("SESSCACHE_KEY_FILE").map(PathBuf::from);
    let Some(path) = in_url.or(own) else {
        if url.is_some_and(|url| matches!(url.medium, Medium::File(_))) {
            let text = "a file: store needs SESSCACHE_KEY_FILE".to_owned();
            findings.bad("no-key-file", text, "sesscache keygen FILE; set it, and restart", &pids);
        }
        return;
    };
    let found = key_file::read(&path);
    let is_other = process.user != rustix::process::geteuid().as_raw();
    let is_elsewhere = !process.sees_as_we_do(&path);
    if is_elsewhere || (is_other && found.is_err()) {
        let text =
            format!("{} is not checked, because the server sees it otherwise", path.display());
        let mend = match is_elsewhere {
            true => "run the doctor inside of the server's container".to_owned(),
            false => format!("sudo -u '#{}' sesscache doctor {}", process.user, process.pid),
        };
        return findings.doubt("key-file-unseen", text, &mend, &pids);
    }
    match found {
        Ok((keys, _)) => {
            let text = format!("{} has {}", path.display(), count(keys.len()));
            findings.good("key-file", text, &pids);
        }
        Err(error) => {
            let text = format!("{} {error}", path.display());
            findings.bad("key-file", text, "mend the file as it says, and restart", &pids);
        }
    }
}

fn count(keys: usize) -> String {
    if keys == 1 { "1 key".to_owned() } else { format!("{keys} keys") }
}

fn judge_variables(process: &Process, findings: &mut Findings) {
    let pids = [process.pid];
    let names = process.environment.iter().map(|(name, _)| name.as_os_str());
    for line in settings::unknown(names) {
        findings.doubt("variable", line, "correct its name where it is set, and restart", &pids);
    }
    if let Some(namespace) = process.variable("SESSCACHE_NAMESPACE") {
        let text = format!("the namespace is {}", namespace.to_string_lossy());
        findings.good("namespace", text, &pids);
    }
}

/// Judges what the store has counted, for all its servers.
fn judge_store(path: &Path, store: &Store, pids: &[u32], findings: &mut Findings) {
    let c = store.counters();
    findings.good("store", format!("the store {} is in use", path.display()), pids);
    if store.key_kind() == Some(KeyKind::Plain) {
        let text = "a key is plain: whoever gets the key file opens old sessions, too".to_owned();
        findings.doubt("plain-key", text, "sesscache keygen --rotate FILE, and reload", pids);
    }
    judge_other_hosts(store, pids, findings);
    let connections = store.connections();
    let resumed = connections.all_resumed();
    let offers = connections.all() - connections.full(Cause::NoOffer);
    let text = format!("of {offers} connections that offered a session, {resumed} resumed");
    findings.good("resumed", text, pids);
    for (code, count, text, mend) in counted(&c) {
        if count > 0 {
            findings.doubt(code, format!("{count} {text}"), mend, pids);
        }
    }
    if c.refused_not_asked > 0 && c.stores == 0 {
        let text = "the server turns its own session cache off, so nothing is stored".to_owned();
        let mend = "turn it on: in nginx `ssl_session_cache shared:SSL:10m;`";
        findings.bad("cache-off", text, mend, pids);
    }
}

/// Judges what the store's agent has found about other hosts.
fn judge_other_hosts(store: &Store, pids: &[u32], findings: &mut Findings) {
    let Some(found) = difference::fresh(store) else { return };
    for what in Difference::ALL {
        let hosts: Vec<&str> = found
            .differing
            .iter()
            .filter(|host| what.is_in(host.differs))
            .map(|host| host.name.as_str())
            .collect();
        if !hosts.is_empty() {
            let text = format!("{} {}", what.text(), hosts.join(", "));
            findings.bad(what.code(), text, what.mend(), pids);
        }
    }
    if found.differing.is_empty() && found.seen > 0 {
        let text = format!("{} other hosts have the same keys and names", found.seen);
        findings.good("hosts", text, pids);
    }
}

/// Counters that should be 0: the code, the count, its meaning, the mend.
fn counted(c: &Counters) -> [(&'static str, u64, &'static str, &'static str); 7] {
    [
        (
            "undecryptable",
            c.undecryptable,
            "records were sealed with other keys",
            "give all servers and hosts the same key file",
        ),
        (
            "id-context",
            c.declined_id_context,
            "sessions have another session id context",
            "SESSCACHE_ID_CONTEXT=ours",
        ),
        (
            "own-ticket-keys",
            c.application_ticket_keys,
            "contexts seal tickets with keys of the server's own",
            "SESSCACHE_TICKETS=override",
        ),
        (
            "side-data",
            c.refused_side_data,
            "sessions carry data of the server's own",
            "SESSCACHE_EX_DATA=share, if it can do without",
        ),
        (
            "shared-memory",
            c.shared_memory,
            "contexts are in memory that processes share, and keep OpenSSL's cache",
            "none: this server gains nothing",
        ),
        (
            "no-identity",
            c.refused_no_identity + c.refused_verify_without_id_context,
            "sessions were not stored for want of a certificate or session id context",
            "give the context a session id context (SSL_CTX_set_session_id_context)",
        ),
        ("evicted", c.evicted, "sessions left early for want of room", "a larger store: ?size="),
    ]
}

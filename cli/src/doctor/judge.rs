//! Judges a server's processes: their libssl and the library.

use super::findings::{Finding, Findings, program_name, restart};
use super::process::{Mapped, Process};
use super::store_findings;
use crate::elf;

/// Judges a process and those that came from it.
pub(super) fn judge(family: &[Process]) -> Vec<Finding> {
    let mut findings = Findings::default();
    let Some(first) = family.first() else { return Vec::new() };
    let users: Vec<&Process> = family.iter().filter(|one| !one.libssl.is_empty()).collect();
    if users.is_empty() {
        judge_program(first, &mut findings);
        return findings.0;
    }
    for process in &users {
        judge_libssl(process, &mut findings);
        judge_library(process, family, &mut findings);
    }
    let overlaid: Vec<&Process> = users.into_iter().filter(|one| one.library.is_some()).collect();
    if !overlaid.is_empty() {
        store_findings::judge(&overlaid, family, &mut findings);
    }
    findings.0
}

/// Why a process has no libssl.
fn judge_program(process: &Process, findings: &mut Findings) {
    let own = "its TLS cannot be overlaid; see README, Not supported";
    let pids = [process.pid];
    match elf::read(&process.path(&process.program)) {
        Ok(elf) if elf.brings_openssl => {
            findings.bad("own-openssl", "an OpenSSL is built into the program".into(), own, &pids);
        }
        Ok(elf) if elf.loader.is_none() => {
            findings.bad("static", "the program is static".into(), own, &pids);
        }
        Ok(elf) if elf.is_go => {
            findings.bad("go", "the program is written in Go".into(), own, &pids);
        }
        // A program that is started for each connection, as Dovecot's and Postfix's are.
        _ if process.library.is_some() => findings.doubt(
            "no-libssl-yet",
            "no libssl is loaded yet, here or in a process that came from it".into(),
            "ask again while a client is connected; if it is so then, turn TLS on in its \
             configuration",
            &pids,
        ),
        _ => findings.bad(
            "no-libssl",
            "no libssl is loaded, here or in a process that came from it".into(),
            "turn TLS on in its configuration, or name another process",
            &pids,
        ),
    }
}

fn judge_libssl(process: &Process, findings: &mut Findings) {
    let pids = [process.pid];
    let other = |one: &&Mapped| {
        let name = one.path.file_name().unwrap_or_default().to_string_lossy();
        !matches!(&*name, "libssl.so.3" | "libssl.so.4")
    };
    for unknown in process.libssl.iter().filter(other) {
        let text = format!("{} is not OpenSSL 3 or 4", unknown.path.display());
        findings.bad("libssl-version", text, "build the server on OpenSSL 3 or 4", &pids);
    }
    if process.libssl.len() > 1 {
        let text = "two libraries of OpenSSL are loaded; only the first is overlaid".to_owned();
        findings.doubt("libssl-twice", text, "build the modules on the system's libssl", &pids);
    }
    for libssl in process.libssl.iter().filter(|one| !other(one)) {
        let path = libssl.path.display();
        if libssl.is_gone {
            let text = format!("{path} was replaced on disk since the start");
            findings.doubt("libssl-replaced", text, &restart(process), &pids);
        } else {
            findings.good("libssl", format!("{path} is loaded"), &pids);
        }
    }
}

fn judge_library(process: &Process, family: &[Process], findings: &mut Findings) {
    let pids = [process.pid];
    let name = program_name(process);
    let Some(library) = &process.library else {
        let preload = process.variable("LD_PRELOAD").map(|value| value.to_string_lossy());
        let named = preload.filter(|value| value.contains("libsesscache"));
        if let Some(named) = named {
            let text = format!("LD_PRELOAD is {named}, and the loader has not loaded it");
            let mend = "name an existing libsesscache.so.0 of this machine, and start it again";
            findings.bad("library-refused", text, mend, &pids);
        } else if family.iter().any(asks_for_library) {
            let text = "the library is in the parent and not here: LD_PRELOAD was not handed down";
            let mend = "dovecot, postfix: import_environment, nginx: env lines, must name \
                        LD_PRELOAD and each SESSCACHE_ variable; `sesscache enable` writes them";
            findings.bad("library-lost", text.to_owned(), mend, &pids);
        } else {
            let text = "the library is not loaded".to_owned();
            let mend = format!("sesscache enable {name}; or start it by: sesscache run -- {name}");
            findings.bad("library-missing", text, &mend, &pids);
        }
        return;
    };
    if is_behind_libssl(process) {
        let text = "the program was linked with libssl before the library, which does nothing";
        findings.bad("link-order", text.to_owned(), "link with: -lsesscache -lssl", &pids);
    } else if library.is_gone {
        let text = format!("{} was replaced on disk since the start", library.path.display());
        findings.doubt("library-replaced", text, &restart(process), &pids);
    } else {
        findings.good("library", format!("{} is loaded", library.path.display()), &pids);
    }
}

/// Whether a process has the library, or was told to load it.
pub(super) fn asks_for_library(process: &Process) -> bool {
    let preload = process.variable("LD_PRELOAD").unwrap_or_default();
    process.library.is_some() || preload.to_string_lossy().contains("libsesscache")
}

/// Whether a program that was not preloaded names libssl before the library.
fn is_behind_libssl(process: &Process) -> bool {
    let Ok(elf) = elf::read(&process.path(&process.program)) else { return false };
    let at = |start: &str| elf.needed.iter().position(|name| name.starts_with(start));
    let preload = process.variable("LD_PRELOAD").unwrap_or_default();
    let is_preloaded = preload.to_string_lossy().contains("libsesscache");
    match (at("libsesscache.so"), at("libssl.so")) {
        (Some(ours), Some(libssl)) => !is_preloaded && libssl < ours,
        _ => false,
    }
}

//! Findings at a server: each finding with the line that mends it.

use super::process::Process;
use std::path::Path;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grade {
    Good,
    /// Worth a look; sessions may resume all the same.
    Doubt,
    /// Sessions that could resume do not.
    Bad,
}

impl Grade {
    pub(super) fn name(self) -> &'static str {
        match self {
            Grade::Good => "ok",
            Grade::Doubt => "look",
            Grade::Bad => "BAD",
        }
    }
}

/// A finding. The code stays the same in later versions, for scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) code: &'static str,
    pub(super) grade: Grade,
    pub(super) text: String,
    pub(super) mend: Option<String>,
    /// The processes in which it was found.
    pub(super) pids: Vec<u32>,
}

/// The findings of a server, each once.
#[derive(Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn good(&mut self, code: &'static str, text: String, pids: &[u32]) {
        let pids = pids.to_vec();
        self.add(Finding { code, grade: Grade::Good, text, mend: None, pids });
    }

    pub(super) fn doubt(&mut self, code: &'static str, text: String, mend: &str, pids: &[u32]) {
        let (mend, pids) = (Some(mend.to_owned()), pids.to_vec());
        self.add(Finding { code, grade: Grade::Doubt, text, mend, pids });
    }

    pub(super) fn bad(&mut self, code: &'static str, text: String, mend: &str, pids: &[u32]) {
        let (mend, pids) = (Some(mend.to_owned()), pids.to_vec());
        self.add(Finding { code, grade: Grade::Bad, text, mend, pids });
    }

    fn add(&mut self, finding: Finding) {
        let same = |known: &&mut Finding| known.code == finding.code && known.text == finding.text;
        match self.0.iter_mut().find(same) {
            Some(known) => known.pids.extend(finding.pids),
            None => self.0.push(finding),
        }
    }
}

pub(super) fn restart(process: &Process) -> String {
    format!("restart {}", program_name(process))
}

pub(super) fn program_name(process: &Process) -> String {
    let file = Path::file_name(&process.program).unwrap_or_default().to_string_lossy();
    file.trim_end_matches(" (deleted)").to_owned()
}

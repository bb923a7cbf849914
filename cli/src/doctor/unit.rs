//! The processes of a unit of systemd.

use super::process::Process;
use crate::enable;
use std::process::Command;

/// The processes of a unit, or of the unit that `sesscache enable` has for a server of this name: its
/// main process, or all in its control group if systemd knows none.
pub(super) fn processes(name: &str, everybody: &[Process]) -> Vec<u32> {
    let mut names = vec![name.to_owned()];
    names.extend(enable::unit_of(name));
    let found = names.iter().map(|unit| of_unit(unit, everybody));
    found.into_iter().find(|pids| !pids.is_empty()).unwrap_or_default()
}

fn of_unit(unit: &str, everybody: &[Process]) -> Vec<u32> {
    let arguments = ["show", "--property=MainPID", "--property=ControlGroup", "--", unit];
    let Ok(answer) = Command::new("systemctl").args(arguments).output() else { return Vec::new() };
    let text = String::from_utf8_lossy(&answer.stdout);
    let (main, group) = parse(&text);
    if let Some(main) = main.filter(|pid| everybody.iter().any(|one| one.pid == *pid)) {
        return vec![main];
    }
    let Some(group) = group else { return Vec::new() };
    let inside = format!("{group}/");
    let is_in = |one: &&Process| one.group == group || one.group.starts_with(&inside);
    everybody.iter().filter(is_in).map(|one| one.pid).collect()
}

/// Main process and control group in the words of `systemctl show`.
fn parse(text: &str) -> (Option<u32>, Option<&str>) {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let main = value("MainPID=").and_then(|pid| pid.parse().ok()).filter(|pid| *pid > 0);
    // The root group has everybody.
    (main, value("ControlGroup=").filter(|group| group.len() > 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_has_a_main_process_or_a_group() {
        let found = parse("MainPID=7\nControlGroup=/system.slice/nginx.service\n");
        assert_eq!(found, (Some(7), Some("/system.slice/nginx.service")));
        assert_eq!(parse("MainPID=0\nControlGroup=\n"), (None, None));
        assert_eq!(parse("MainPID=0\nControlGroup=/\n"), (None, None));
        assert_eq!(parse(""), (None, None));
    }
}

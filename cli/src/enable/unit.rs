//! A systemd unit with its drop-ins, as far as it matters to a library that is preloaded.

use super::EnableError;
use super::root::Root;
use super::unit_files::{DROP_IN, drop_ins, places, with_template};
use crate::program::{self, FindError};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

/// A service.
#[derive(Debug, Default)]
pub(super) struct Unit {
    /// Its name, as `nginx.service`.
    pub(super) name: String,
    /// The settings of `[Service]`, in their order.
    settings: Vec<(String, String)>,
    /// Those of drop-ins that systemd reads after ours, each with its file.
    behind: Vec<(PathBuf, String, String)>,
}

impl Unit {
    /// Reads a unit. An instance of a template (`x@1.service`) may have only the template's file.
    pub(super) fn read(root: &Root, name: &str) -> Option<Unit> {
        let names = with_template(name);
        let place = places(&names).find(|path| root.find_link(path).is_ok())?;
        let text = root.text(&place).ok().filter(|text| !text.is_empty())?;
        let mut settings = service_settings(&text);
        let mut behind = Vec::new();
        for (file, text) in drop_ins(root, &names) {
            let found = service_settings(&text);
            if file.file_name() > Some(OsStr::new(DROP_IN)) {
                behind.extend(found.iter().cloned().map(|(name, v)| (file.clone(), name, v)));
            }
            settings.extend(found);
        }
        Some(Unit { name: name.to_owned(), settings, behind })
    }

    /// The reason why a unit was not read.
    pub(super) fn obstacle(root: &Root, name: &str) -> EnableError {
        for path in places(&with_template(name)) {
            let is_mask =
                |path: PathBuf| path.read_link().is_ok_and(|to| to == Path::new("/dev/null"));
            let found = root.find_link(&path).map(is_mask);
            return match found.and_then(|is_mask| Ok(is_mask || root.text(&path)?.is_empty())) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => EnableError::File(root.shown(&path), error),
                Ok(_) => EnableError::Configuration(format!(
                    "{name} is masked: `systemctl unmask {name}` first"
                )),
            };
        }
        EnableError::NoUnit(name.to_owned())
    }

    /// The unit that a name is another one for: the name is a link to it among the units.
    pub(super) fn main_name(root: &Root, name: &str) -> Option<String> {
        let link = places(&[name.to_owned()]).find(|path| root.find_link(path).is_ok())?;
        let file = root.find(&link).ok()?;
        let is_other = |main: &&str| *main != name && !main.contains("@.");
        let main = file.file_name()?.to_str().filter(is_other)?;
        let is_unit = places(&[main.to_owned()])
            .any(|path| root.find(&path).is_ok_and(|found| found == file));
        is_unit.then(|| main.to_owned())
    }

    /// The values of a setting that is a list, which an empty value empties.
    fn list(&self, name: &str) -> Vec<&str> {
        let mut found = Vec::new();
        for (_, value) in self.settings.iter().filter(|(known, _)| known == name) {
            if value.is_empty() {
                found.clear();
            } else {
                found.push(value.as_str());
            }
        }
        found
    }

    /// The last value of a setting.
    pub(super) fn last(&self, name: &str) -> Option<&str> {
        self.list(name).pop()
    }

    /// The user that the service runs as, if it is not root.
    pub(super) fn user(&self) -> Option<&str> {
        self.last("User").filter(|user| !matches!(*user, "root" | "0"))
    }

    /// Whether a setting is true in systemd's words (parse_boolean in systemd's parse-util.c).
    pub(super) fn is_on(&self, name: &str) -> bool {
        let words = ["1", "yes", "y", "true", "t", "on"];
        self.last(name)
            .is_some_and(|value| words.iter().any(|word| value.eq_ignore_ascii_case(word)))
    }

    /// The variables that the unit sets, with their values.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        let lines = self.list("Environment");
        let words = lines.iter().flat_map(|line| shlex::split(line).unwrap_or_default());
        let pair = |word: String| Some(word.split_once('=')?).map(|(n, v)| (n.into(), v.into()));
        words.filter_map(pair).collect()
    }

    /// The value of a variable that the unit sets.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let mut pairs = self.variables().into_iter();
        pairs.rfind(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// A file of variables that sets one of ours, which would win over a drop-in: its path, and the
    /// variable.
    pub(super) fn overriding_file(&self, root: &Root) -> Option<(PathBuf, String)> {
        for file in self.list("EnvironmentFile") {
            let file = PathBuf::from(self.with_names(file.trim_start_matches('-')));
            let Ok(text) = root.text(&file) else { continue };
            let names = text.lines().filter_map(|line| Some(line.split_once('=')?.0.trim()));
            if let Some(name) = names.map(str::to_owned).find(|name| is_ours(name)) {
                return Some((file, name));
            }
        }
        None
    }

    /// The setting by which it sees another root than the host's.
    pub(super) fn other_root(&self) -> Option<String> {
        let set = |name| Some(name).zip(self.last(name).filter(|path| *path != "/"));
        let (name, path) = ["RootDirectory", "RootImage"].into_iter().find_map(set)?;
        Some(format!("{name}={path}"))
    }

    /// A variable of ours that `UnsetEnvironment=` takes away, which systemd does last of all.
    pub(super) fn unset_variable(&self) -> Option<String> {
        let lines = self.list("UnsetEnvironment");
        let mut names = lines.iter().flat_map(|line| shlex::split(line).unwrap_or_default());
        names.find(|name| is_ours(name) && !name.contains('='))
    }

    /// A drop-in that would take LD_PRELOAD from ours, because systemd reads it later: its path, and
    /// its words for that.
    pub(super) fn overriding_drop_in(&self) -> Option<(PathBuf, String)> {
        let takes = |(_, name, value): &&(PathBuf, String, String)| {
            let words = shlex::split(value).unwrap_or_default();
            name == "Environment"
                && (value.is_empty() || words.iter().any(|word| word.starts_with("LD_PRELOAD=")))
        };
        let (file, name, value) = self.behind.iter().find(takes)?;
        Some((file.clone(), format!("{name}={value}")))
    }

    /// Whether it starts something, and does not only stand for other units.
    pub(super) fn is_server(&self) -> bool {
        self.command().first().is_some_and(|file| !file.to_string_lossy().ends_with("/true"))
    }

    /// The words of its command, without systemd's prefixes. Of a shell's line it is the command that
    /// takes the shell's place. `$NAME` is left as it is.
    pub(super) fn command(&self) -> Vec<OsString> {
        let words = self.started();
        let words = executed(&words).unwrap_or(words);
        words.iter().map(|word| self.with_names(word).into()).collect()
    }

    /// The words of its command as they stand there.
    fn started(&self) -> Vec<String> {
        let line = self.last("ExecStart").unwrap_or_default();
        let line = line.trim_start_matches(['-', '@', ':', '+', '!', '|']);
        shlex::split(line).unwrap_or_default()
    }

    /// The file of its command, if it has one. A shell's line may name what only that shell finds: then it
    /// is the shell's file.
    pub(super) fn file(&self) -> Option<Result<PathBuf, (OsString, FindError)>> {
        let own = OsString::from(self.with_names(self.started().first()?));
        let named = self.command().into_iter().next().filter(|file| Path::new(file).is_absolute());
        let found = named.and_then(|file| program::find(&file).ok()).map(Ok);
        Some(found.unwrap_or_else(|| program::find(&own).map_err(|error| (own, error))))
    }

    /// A word with the names of this unit in place of systemd's specifiers for them; others stay.
    fn with_names(&self, word: &str) -> String {
        let name = self.name.strip_suffix(".service").unwrap_or(&self.name);
        let (prefix, instance) = name.split_once('@').unwrap_or((name, ""));
        let mut text = String::new();
        let mut rest = word;
        while let Some((before, after)) = rest.split_once('%') {
            text.push_str(before);
            let letter = after.chars().next();
            match letter {
                Some('n') => text.push_str(&self.name),
                Some('N') => text.push_str(name),
                Some('p') => text.push_str(prefix),
                Some('i') => text.push_str(instance),
                Some('%') => text.push('%'),
                other => text.extend(['%'].into_iter().chain(other)),
            }
            rest = &after[letter.map_or(0, char::len_utf8)..];
        }
        text + rest
    }
}

/// Whether a variable is one that `enable` sets.
fn is_ours(name: &str) -> bool {
    name == "LD_PRELOAD" || name.starts_with("SESSCACHE_")
}

/// The words behind the last `exec` in the line of `sh -c LINE`, as MariaDB's unit has one.
fn executed(words: &[String]) -> Option<Vec<String>> {
    let [shell, options, line, ..] = words else { return None };
    let name = Path::new(shell).file_name()?.to_str()?;
    if !matches!(name, "sh" | "bash" | "dash")
        || !options.starts_with('-')
        || !options.ends_with('c')
    {
        return None;
    }
    let line = shlex::split(line)?;
    let at = line.iter().rposition(|word| word == "exec")?;
    let mut found = Vec::new();
    for word in line.iter().skip(at + 1) {
        let plain = word.trim_end_matches(';');
        if matches!(plain, "" | "&&" | "||" | "|" | "&") {
            break;
        }
        found.push(plain.to_owned());
        if plain != word {
            break;
        }
    }
    Some(found).filter(|found| found.first().is_some_and(|word| !word.starts_with(['-', '$'])))
}

/// The settings of `[Service]`. A backslash at the end of a line continues it.
fn service_settings(text: &str) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    let mut is_service = false;
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with('[') {
            is_service = line == "[Service]";
            continue;
        }
        let mut line = line.to_owned();
        while line.ends_with('\\') {
            line.pop();
            // Comments among continued lines are left out.
            let Some(next) = lines.find(|next| !next.starts_with(['#', ';'])) else { break };
            line.push(' ');
            line.push_str(next);
        }
        if let Some((name, value)) = line.split_once('=').filter(|_| is_service) {
            settings.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(text: &str) -> Unit {
        Unit { name: "x.service".into(), settings: service_settings(text), behind: Vec::new() }
    }

    #[test]
    fn settings_are_read_as_systemd_does() {
        let unit = unit(
            "[Unit]\nUser=no\n[Service]\n# User=no\nUser = web\nExecStart=/old\nExecStart=\n\
             ExecStart=-/bin/x -g 'a b' \\\n# not this\n  -c d\nEnvironment=\"A=1 2\" B=3\n\
             Environment=LD_PRELOAD=/l.so A=4\nDynamicUser=yes\n[Install]\nUser=no\n",
        );
        assert_eq!(unit.user(), Some("web"));
        assert_eq!(unit.command(), ["/bin/x", "-g", "a b", "-c", "d"]);
        assert_eq!(unit.variable("A").as_deref(), Some("4"));
        assert_eq!(unit.variable("LD_PRELOAD").as_deref(), Some("/l.so"));
        assert_eq!(unit.variable("C"), None);
        assert!(unit.is_on("DynamicUser"));
    }

    #[test]
    fn true_has_the_words_that_systemd_has_for_it() {
        for word in ["1", "yes", "Yes", "y", "Y", "true", "True", "t", "T", "on", "ON"] {
            let unit = unit(&format!("[Service]\nDynamicUser={word}\n"));
            assert!(unit.is_on("DynamicUser"), "{word}");
        }
        for word in ["0", "no", "n", "false", "f", "off", "", "2", "yess", "yes no"] {
            let unit = unit(&format!("[Service]\nDynamicUser={word}\n"));
            assert!(!unit.is_on("DynamicUser"), "{word}");
        }
        assert!(!unit("").is_on("DynamicUser"));
    }

    #[test]
    fn root_is_no_user_of_its_own() {
        assert_eq!(unit("[Service]\nUser=root\n").user(), None);
        assert_eq!(unit("").user(), None);
    }

    #[test]
    fn specifiers_of_names_are_replaced() {
        let mut unit = unit("[Service]\nExecStart=/x /etc/%p/%i.conf %n %N 5%% %t/%é %\n");
        unit.name = "x@a.service".into();
        assert_eq!(
            unit.command(),
            ["/x", "/etc/x/a.conf", "x@a.service", "x@a", "5%", "%t/%é", "%"]
        );
        unit.name = "x.service".into();
        assert_eq!(unit.command()[1], "/etc/x/.conf");
    }

    #[test]
    fn a_shell_gives_its_place_to_the_server() {
        let command = |line: &str| unit(&format!("[Service]\nExecStart={line}\n")).command();
        // Debian 13's mariadb.service.
        assert_eq!(
            command(
                "/bin/sh -c \"set -f; [ ! -e /usr/bin/x ] && VAR= || \\\n VAR=`/usr/bin/x`; \
                 [ $? -eq 0 ] || exit 1; \\\n exec /usr/sbin/mariadbd $OPTS $VAR\""
            ),
            ["/usr/sbin/mariadbd", "$OPTS", "$VAR"]
        );
        assert_eq!(command("/bin/bash -ec 'exec /x a; exit 1'"), ["/x", "a"]);
        assert_eq!(command("/bin/sh -c 'exec /x a && exec /y b || exit'"), ["/y", "b"]);
        for line in
            ["/bin/sh -c '/x a'", "/bin/sh /x exec", "/bin/sh -c 'exec $X'", "/bin/sh -c exec"]
        {
            assert_eq!(command(line)[0], "/bin/sh", "{line}");
        }
    }

    #[test]
    fn a_command_that_only_the_shell_finds_leaves_the_shell() {
        let file = |line: &str| {
            let file = unit(&format!("[Service]\nExecStart={line}\n")).file();
            file.map(|file| file.map_err(|(file, _)| file))
        };
        for line in [
            "exec bundle exec puma",
            "cd /srv && exec ./server",
            "exec 2>/dev/null",
            "echo will exec now",
            "exec /bin/cat>/dev/null",
        ] {
            let found = file(&format!("/bin/sh -c '{line}'"));
            assert_eq!(found, Some(Ok("/bin/sh".into())), "{line}");
        }
        assert_eq!(file("/bin/sh -c 'exec /bin/cat'"), Some(Ok("/bin/cat".into())));
        assert_eq!(file("|/bin/cat"), Some(Ok("/bin/cat".into())));
        assert_eq!(file("/none/at-all"), Some(Err("/none/at-all".into())));
        assert_eq!(file(""), None);
    }
}

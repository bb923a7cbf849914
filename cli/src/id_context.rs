//! Programs that draw a session id context at random, so that nothing resumes after a restart.

use crate::program;
use std::path::Path;

/// The variable that helps.
pub(crate) const VARIABLE: &str = "SESSCACHE_ID_CONTEXT";
/// Its value: a session of another process gets the id context of the connection.
pub(crate) const OURS: &str = "ours";

/// These programs, by their file names. An id context that is drawn at random tells this run of the
/// program from others; no program here is known to tell its own services apart by it.
const PROGRAMS: [&str; 6] = ["named", "ruby", "puma", "pgbouncer", "mariadbd", "mysqld"];

/// The known program that one of these files is: the command, and the interpreter of a script.
pub(crate) fn random_in(files: [&Path; 2]) -> Option<&'static str> {
    program::known(PROGRAMS.into_iter(), files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_their_file_names() {
        let known = |command: &str, runs: &str| random_in([Path::new(command), Path::new(runs)]);
        for name in PROGRAMS {
            let path = format!("/nowhere/{name}");
            assert_eq!(known(&path, &path), Some(name));
        }
        assert_eq!(known("/usr/bin/rails", "/usr/bin/ruby3.3"), Some("ruby"));
        assert_eq!(known("/usr/bin/puma", "/usr/bin/ruby"), Some("puma"));
        for other in ["nginx", "ruby-build", "named-checkconf", "mysqldump", "pumad", "rub", ""] {
            assert_eq!(known(other, other), None, "{other}");
        }
    }

    #[test]
    fn the_file_behind_a_link_counts() {
        let folder = std::env::temp_dir().join(format!("sesscache-id-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let (link, file) = (folder.join("database"), folder.join("mariadbd"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(random_in([&link, &link]), Some("mariadbd"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

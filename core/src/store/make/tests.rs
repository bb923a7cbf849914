//! What is made for a store, and what is not.

use super::*;
use crate::store::{Medium, StoreUrl};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

/// A folder of this test, that its user alone may enter.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("sesscache-{name}-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        Folder(path)
    }

    fn names(&self) -> Vec<String> {
        let name = |file: io::Result<fs::DirEntry>| file.unwrap().file_name();
        let mut names: Vec<_> = self.0.read_dir().unwrap().map(name).collect();
        names.sort();
        names.into_iter().map(|name| name.into_string().unwrap()).collect()
    }

    fn open(&self, name: &str) -> Result<Store, OpenError> {
        let medium = Medium::File(self.0.join(name));
        Store::open(&StoreUrl { medium, size: Some(1 << 20), key_file: None })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn files_of_killed_makers_go() {
    let folder = Folder::new("left");
    let digits = "0123456789abcdef".repeat(2);
    let (left, busy) = (format!("s.{digits}.new"), format!("s.{}.new", digits.replace('0', "1")));
    let others = [format!("t.{digits}.new"), format!("s.{}.new", &digits[1..]), "s.new".into()];
    for name in others.iter().chain([&left, &busy]) {
        fs::write(folder.0.join(name), "x").unwrap();
    }
    let maker = File::open(folder.0.join(&busy)).unwrap();
    assert!(try_lock_now(&maker));
    let mut stay: Vec<String> = others.to_vec();
    stay.extend(["s".into(), busy]);
    stay.sort();
    folder.open("s").unwrap();
    assert_eq!(folder.names(), stay, "a file is missing");
    fs::write(folder.0.join(&left), "x").unwrap();
    // A killed maker may also leave its file with both names, and an agent may hold its lock.
    fs::hard_link(folder.0.join("s"), folder.0.join(format!("s.{}.new", "a".repeat(32)))).unwrap();
    let agent = File::open(folder.0.join("s")).unwrap();
    assert!(try_lock_now(&agent));
    folder.open("s").unwrap();
    assert_eq!(folder.names(), stay, "a file is there");
}

#[test]
fn a_folder_is_made_where_nobody_can_have_meant_another_one() {
    let outer = Folder::new("outer");
    outer.open("inner/s").unwrap();
    assert_eq!(outer.0.join("inner").metadata().unwrap().mode() & 0o7777, 0o700);
    assert!(matches!(outer.open("none/deeper/s"), Err(OpenError::NoFolder)));
    fs::set_permissions(&outer.0, Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(outer.open("mistyped/s"), Err(OpenError::NoFolder)));
    assert_eq!(outer.names(), ["inner"]);
    fs::create_dir(outer.0.join("mistyped")).unwrap();
    outer.open("mistyped/s").unwrap();
    assert!(makes_folder(Path::new(HOST_FOLDER), None));
    assert!(!makes_folder(Path::new("/run/sescache"), None));
    let beside = |key: &str| makes_folder(&outer.0.join("stores"), Some(&outer.0.join(key)));
    assert!(beside("key") && !beside("deeper/key"));
}

#[test]
fn a_store_knows_whether_it_is_in_place() {
    let folder = Folder::new("place");
    let medium = Medium::File(folder.0.join("s"));
    let first = folder.open("s").unwrap();
    assert!(first.is_in_place(&medium));
    fs::remove_file(folder.0.join("s")).unwrap();
    assert!(!first.is_in_place(&medium));
    let second = folder.open("s").unwrap();
    assert!(second.is_in_place(&medium) && !first.is_in_place(&medium));
    first.let_go();
    assert_eq!(first.counters().entries, 0, "what is left is empty, and no fault");
}

#[test]
fn a_look_tells_what_opening_would_and_makes_nothing() {
    let folder = Folder::new("look");
    let look = |name: &str, size| {
        let medium = Medium::File(folder.0.join(name));
        Store::look(&StoreUrl { medium, size, key_file: None })
    };
    assert!(look("s", None).is_ok());
    assert!(look("deeper/s", None).is_ok(), "a folder that would be made");
    assert!(matches!(look("none/none/s", None), Err(OpenError::NoFolder)));
    fs::set_permissions(&folder.0, Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(look("s", None), Err(OpenError::Folder)));
    fs::set_permissions(&folder.0, Permissions::from_mode(0o700)).unwrap();
    assert_eq!(folder.names(), [""; 0]);
    folder.open("s").unwrap();
    assert!(look("s", Some(1 << 20)).is_ok());
    assert!(matches!(look("s", Some(1 << 21)), Err(OpenError::Size { .. })));
    fs::set_permissions(folder.0.join("s"), Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(look("s", None), Err(OpenError::Mode)));
}

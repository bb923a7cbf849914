//! What is made for a store, and what is not.

use super::*;
use crate::store::{Medium, StoreUrl};
use std::os::unix::fs::chown;

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

    fn url(&self, name: &str, sharing: Sharing) -> StoreUrl {
        let medium = Medium::File(self.0.join(name));
        StoreUrl { medium, size: Some(1 << 20), key_file: None, sharing }
    }

    fn open(&self, name: &str) -> Result<Store, OpenError> {
        Store::open(&self.url(name, Sharing::Owner))
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.0.join(name), Permissions::from_mode(mode)).unwrap();
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
    outer.mode("", 0o755);
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
    let look =
        |name: &str, size| Store::look(&StoreUrl { size, ..folder.url(name, Sharing::Owner) });
    assert!(look("s", None).is_ok());
    assert!(look("deeper/s", None).is_ok(), "a folder that would be made");
    assert!(matches!(look("none/none/s", None), Err(OpenError::NoFolder)));
    folder.mode("", 0o777);
    assert!(matches!(look("s", None), Err(OpenError::Folder)));
    folder.mode("", 0o700);
    assert_eq!(folder.names(), [""; 0]);
    folder.open("s").unwrap();
    assert!(look("s", Some(1 << 20)).is_ok());
    assert!(matches!(look("s", Some(1 << 21)), Err(OpenError::Size { .. })));
    folder.mode("s", 0o644);
    assert!(matches!(look("s", None), Err(OpenError::Mode)));
}

#[test]
fn a_store_is_shared_with_its_group_if_both_sides_say_so() {
    let folder = Folder::new("group");
    let (own, shared) = (Sharing::Owner, Sharing::Group);
    let open = |name, sharing| Store::open(&folder.url(name, sharing));
    let mode = |name: &str| folder.0.join(name).metadata().unwrap().mode() & 0o777;
    open("inner/s", shared).unwrap();
    assert_eq!((mode("inner"), mode("inner/s")), (0o750, 0o660));
    assert!(open("inner/s", shared).is_ok());
    assert!(matches!(open("inner/s", own), Err(OpenError::Mode)));
    assert!(Store::open_existing(&folder.0.join("inner/s")).is_ok());
    for bits in [0o620, 0o640, 0o664, 0o666] {
        folder.mode("inner/s", bits);
        assert!(matches!(open("inner/s", shared), Err(OpenError::Mode)), "{bits:o}");
    }
    open("s", own).unwrap();
    assert_eq!(mode("s"), 0o600);
    assert!(open("s", shared).is_ok(), "nobody else can use it, and its owner can");
}

#[test]
fn a_store_of_another_user_is_used_if_only_he_can_have_put_it_there() {
    const STRANGER: u32 = 12345;
    let folder = Folder::new("strangers");
    if effective_user() != 0 {
        return;
    }
    let open = |sharing| Store::open(&folder.url("s", sharing));
    let owned = |user, group| chown(folder.0.join("s"), Some(user), Some(group)).unwrap();
    open(Sharing::Group).unwrap();
    owned(0, STRANGER);
    assert!(open(Sharing::Group).is_ok(), "our own choice");
    owned(STRANGER, 0);
    assert!(open(Sharing::Group).is_ok());
    assert!(matches!(open(Sharing::Owner), Err(OpenError::Owner)));
    folder.mode("s", 0o600);
    assert!(matches!(open(Sharing::Group), Err(OpenError::Owner)));
    folder.mode("s", 0o660);
    owned(STRANGER, STRANGER);
    assert!(matches!(open(Sharing::Group), Err(OpenError::Owner)), "another group's");
    owned(STRANGER, 0);
    for (owner, bits) in [(0, 0o777), (0, 0o1777), (0, 0o770), (STRANGER + 1, 0o755)] {
        chown(&folder.0, Some(owner), None).unwrap();
        folder.mode("", bits);
        assert!(matches!(open(Sharing::Group), Err(OpenError::Folder)), "{owner} {bits:o}");
    }
    chown(&folder.0, Some(STRANGER), None).unwrap();
    assert!(open(Sharing::Group).is_ok(), "his folder");
}

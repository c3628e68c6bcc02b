//! Copies into directories that others can reach.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::tree::{Ground, Passed};

fn go_on() -> Result<()> {
    Ok(())
}

struct Place {
    from: tempfile::TempDir,
    to: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let new = || tempfile::tempdir().unwrap();
        let place = Self { from: new(), to: new() };
        fs::create_dir_all(place.from.path().join("d/sub")).unwrap();
        for file in ["d/one", "d/sub/two"] {
            fs::write(place.from.path().join(file), "new").unwrap();
        }
        place
    }

    fn to(&self, path: &str) -> PathBuf {
        self.to.path().join(path)
    }

    fn put(&self, name: Option<&str>, keeps: bool) -> Result<Placed> {
        let to = RootDir::open(self.to.path()).unwrap();
        let from = RootDir::open(&self.from.path().join("d")).unwrap();
        let staging = Staging::make(&to, keeps)?;
        let manner = Manner::plain(&go_on);
        staging.copy_directory(&from, Path::new("d"), &manner, |_| {})?;
        match name {
            Some(name) => staging.place(OsStr::new(name), &go_on),
            None => staging.place_content(&go_on),
        }
    }

    fn names(&self) -> Vec<OsString> {
        let to = RootDir::open(self.to.path()).unwrap();
        to.list("").unwrap()
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.to(path)).unwrap()
    }
}

#[test]
fn a_directory_gets_its_place_and_is_put_into_one_that_is_there() {
    let place = Place::new();
    assert_eq!(place.put(Some("x"), false).unwrap(), Placed { put: 1, left: 0 });
    assert_eq!(place.names(), ["x"]);
    fs::write(place.to("x/one"), "old").unwrap();
    fs::write(place.to("x/mine"), "old").unwrap();
    fs::set_permissions(place.to("x"), fs::Permissions::from_mode(0o711)).unwrap();
    assert_eq!(place.put(Some("x"), true).unwrap(), Placed { put: 0, left: 2 });
    assert_eq!(place.read("x/one"), "old");
    assert_eq!(place.put(Some("x"), false).unwrap(), Placed { put: 2, left: 0 });
    assert_eq!((place.read("x/one"), place.read("x/mine")), ("new".into(), "old".into()));
    assert_eq!(fs::metadata(place.to("x")).unwrap().mode() & 0o777, 0o711);
    assert_eq!(place.put(None, false).unwrap(), Placed { put: 2, left: 0 });
    assert_eq!(place.names(), ["one", "sub", "x"]);
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let place = Place::new();
    fs::create_dir_all(place.to("one")).unwrap();
    let error = place.put(None, false).unwrap_err().to_string();
    assert!(error.contains("no file can take its place"), "{error}");
    fs::remove_dir(place.to("one")).unwrap();
    // The name that fits comes first.
    fs::write(place.to("one"), "old").unwrap();
    symlink("/", place.to("sub")).unwrap();
    let error = place.put(None, false).unwrap_err().to_string();
    assert!(error.contains("none can take its place"), "{error}");
    assert_eq!((place.read("one"), place.names().len()), ("old".into(), 2));
}

#[test]
fn a_link_in_the_place_is_replaced_and_not_followed() {
    let place = Place::new();
    let other = place.from.path().join("other");
    fs::write(&other, "mine").unwrap();
    symlink(&other, place.to("one")).unwrap();
    place.put(None, false).unwrap();
    assert_eq!(
        (place.read("one"), fs::read_to_string(other).unwrap()),
        ("new".into(), "mine".into())
    );
}

#[test]
fn a_directory_is_not_copied_into_itself() {
    let place = Place::new();
    let to = RootDir::open(&place.from.path().join("d/sub")).unwrap();
    let from = RootDir::open(&place.from.path().join("d")).unwrap();
    let staging = Staging::make(&to, false).unwrap();
    let manner = Manner::plain(&go_on);
    let error = staging.copy_directory(&from, Path::new("d"), &manner, |_| {}).unwrap_err();
    assert!(error.to_string().contains("into itself"), "{error}");
    drop(staging);
    assert_eq!(to.list("").unwrap(), ["two"]);
}

#[test]
fn what_a_killed_one_left_goes_and_what_lives_stays() {
    let place = Place::new();
    let left = place.to(".vserver-cp-1-0");
    let closed = |path: &Path| {
        fs::create_dir_all(path.join("copy")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    };
    closed(&left);
    // What others could have made, or only sounds like it.
    let others = [".vserver-cp-1", ".vserver-cp-1-", ".vserver-cp-mine-0", ".vserver-cp-1-1"];
    let others = others.map(|name| place.to(name));
    others.iter().for_each(|path| closed(path));
    fs::set_permissions(&others[3], fs::Permissions::from_mode(0o755)).unwrap();
    let to = RootDir::open(place.to.path()).unwrap();
    let one = Staging::make(&to, false).unwrap();
    assert!(!left.exists() && others.iter().all(|path| path.exists()));
    others.iter().for_each(|path| fs::remove_dir_all(path).unwrap());
    let two = Staging::make(&to, false).unwrap();
    assert_eq!(place.names().len(), 2);
    drop((one, two));
    assert_eq!(place.names(), [""; 0]);
}

/// Somebody exchanges a directory for a link out of the tree, again and again.
#[test]
fn a_tree_that_moves_gives_nothing_of_what_lies_outside() {
    let place = Place::new();
    let outside = place.from.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("two"), "secret").unwrap();
    let link = place.from.path().join("link");
    symlink(&outside, &link).unwrap();
    let done = AtomicBool::new(false);
    let swap = || {
        let cwd = fs::canonicalize(place.from.path()).unwrap();
        let here = fs::File::open(cwd).unwrap();
        while !done.load(Ordering::Relaxed) {
            let _ = rustix::fs::renameat_with(
                &here,
                "d/sub",
                &here,
                "link",
                rustix::fs::RenameFlags::EXCHANGE,
            );
        }
    };
    let (mut directories, mut links) = (0u32, 0u32);
    /// Also when something is wrong, or the other thread would go on for ever.
    struct Ends<'a>(&'a AtomicBool);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        scope.spawn(swap);
        let _ends = Ends(&done);
        let end = Instant::now() + Duration::from_secs(10);
        while (directories < 20 || links < 20) && Instant::now() < end {
            let to = RootDir::open(place.to.path()).unwrap();
            let from = RootDir::open(&place.from.path().join("d")).unwrap();
            let gone = RefCell::new(Vec::new());
            let passed = |path: &Path, why| gone.borrow_mut().push((path.to_owned(), why));
            let ground = Ground { mounts: true, moving: true };
            let manner = Manner { ground, passed: &passed, ..Manner::plain(&go_on) };
            let staging = Staging::make(&to, false).unwrap();
            staging.copy_directory(&from, Path::new("d"), &manner, |_| {}).unwrap();
            let copy = place.to(".").join(&staging.name).join(COPY);
            assert!(gone.into_inner().iter().all(|(_, why)| *why == Passed::Gone));
            match fs::symlink_metadata(copy.join("sub")) {
                Ok(meta) if meta.is_dir() => {
                    directories += 1;
                    let two = fs::read_to_string(copy.join("sub/two"));
                    assert!(two.is_err() || two.is_ok_and(|two| two == "new"));
                }
                Ok(meta) => {
                    links += 1;
                    assert!(meta.is_symlink());
                }
                Err(_) => {}
            }
        }
    });
    assert!(directories > 0 && links > 0, "{directories} directories and {links} links were met");
}

/// What a stream brings may say of its own directory that all may use it.
#[test]
fn the_directory_around_a_copy_stays_closed() {
    let place = Place::new();
    let to = RootDir::open(place.to.path()).unwrap();
    let staging = Staging::make(&to, false).unwrap();
    let inner = staging.inner(Path::new("x")).unwrap();
    rustix::fs::fchmod(&inner, Mode::from_raw_mode(0o777)).unwrap();
    let around = fs::metadata(place.to(staging.name.to_str().unwrap())).unwrap();
    assert_eq!(around.mode() & 0o777, 0o700);
}

/// As a guest can that runs, and as logrotate(8)'s copytruncate does.
#[test]
fn what_changes_while_it_is_copied_is_no_mistake() {
    let place = Place::new();
    let file = fs::canonicalize(place.from.path()).unwrap().join("d/one");
    let done = AtomicBool::new(false);
    let change = || {
        while !done.load(Ordering::Relaxed) {
            let opened = fs::File::options().write(true).open(&file).unwrap();
            opened.set_len(0).unwrap();
            opened.set_len(1 << 30).unwrap();
            let _ = opened.write_all_at(b"x", 1 << 29);
        }
    };
    let name = || {
        while !done.load(Ordering::Relaxed) {
            for length in [1, 100, 1000] {
                let value = vec![b'x'; length];
                let _ =
                    rustix::fs::setxattr(&file, "user.a", &value, rustix::fs::XattrFlags::empty());
            }
            let _ = rustix::fs::removexattr(&file, "user.a");
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(change);
        scope.spawn(name);
        let copies = || {
            let from = RootDir::open(place.from.path()).unwrap();
            let to = RootDir::open(place.to.path()).unwrap();
            let ground = Ground { moving: true, ..Ground::default() };
            let manner = Manner { ground, ..Manner::plain(&go_on) };
            for _ in 0..200 {
                let staging = Staging::make(&to, false)?;
                staging.copy_directory(&from, Path::new("x"), &manner, |_| {})?;
            }
            Ok::<_, Error>(())
        };
        let copied = copies();
        done.store(true, Ordering::Relaxed);
        copied.unwrap();
    });
}

/// Each sweeps what it takes for left.
#[test]
fn many_at_a_time_leave_each_other_alone() {
    let place = Place::new();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let to = RootDir::open(place.to.path()).unwrap();
                for _ in 0..200 {
                    // Of another thread's, with the same number, the names are taken.
                    let staging = Staging::make(&to, false).unwrap();
                    staging.directory().write("x", b"x", 0o600).unwrap();
                    std::thread::yield_now();
                    assert!(staging.directory().exists("x"));
                }
            });
        }
    });
    assert!(place.names().is_empty());
}

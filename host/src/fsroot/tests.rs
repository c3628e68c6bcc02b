//! Tests of paths inside a hostile root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::*;

/// A root next to a file that must stay as it is.
struct Scene {
    _directory: tempfile::TempDir,
    outside: PathBuf,
    root: RootDir,
}

fn scene() -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let outside = directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "untouched").unwrap();
    fs::create_dir(directory.path().join("root")).unwrap();
    let root = RootDir::open(&directory.path().join("root")).unwrap();
    Scene { _directory: directory, outside, root }
}

impl Scene {
    fn unharmed(&self) -> bool {
        fs::read_dir(&self.outside).unwrap().count() == 1
            && fs::read(self.outside.join("secret")).unwrap() == b"untouched"
    }
}

#[test]
fn a_written_file_is_read_back_with_its_permissions() {
    let scene = scene();
    scene.root.create_dir_all("/etc/deep", 0o755).unwrap();
    scene.root.write("/etc/deep/file", b"text", 0o640).unwrap();
    assert_eq!(scene.root.read("etc/deep/file", 4).unwrap().as_deref(), Some(&b"text"[..]));
    let stat = scene.root.stat("etc/deep/file").unwrap().unwrap();
    assert_eq!(stat.st_mode & 0o7777, 0o640);
    assert!(scene.root.read("etc/deep/file", 3).is_err());
    assert_eq!(scene.root.read("etc/none", 3).unwrap(), None);
}

#[test]
fn links_lead_nowhere_but_inside() {
    let scene = scene();
    let path = scene.root.path().to_owned();
    symlink(&scene.outside, path.join("absolute")).unwrap();
    symlink("../outside", path.join("relative")).unwrap();
    for directory in ["absolute", "relative"] {
        let file = Path::new(directory).join("secret");
        assert!(!scene.root.exists(&file), "{file:?} was seen");
        assert!(scene.root.write(&file, b"x", 0o600).is_err());
        assert!(scene.root.create_dir_all(&file, 0o755).is_err());
        scene.root.remove(&file).unwrap();
    }
    assert!(scene.root.write("../outside/secret", b"x", 0o600).is_err());
    assert!(scene.unharmed());
}

/// However long the path is.
#[test]
fn links_lead_nowhere_but_inside_behind_the_longest_path() {
    let scene = scene();
    let name = "n".repeat(200);
    let low: PathBuf = std::iter::repeat_n(name.as_str(), 25).collect();
    scene.root.create_dir_all(&low, 0o755).unwrap();
    scene.root.symlink(&scene.outside, low.join("absolute")).unwrap();
    scene.root.symlink(format!("{}../outside", "../".repeat(25)), low.join("relative")).unwrap();
    for link in ["absolute", "relative"] {
        let file = low.join(link).join("secret");
        assert!(!scene.root.exists(&file), "{link} was followed");
        assert!(scene.root.write(&file, b"x", 0o600).is_err());
        assert!(scene.root.read_link(low.join(link)).unwrap().is_some());
    }
    let up = low.join("../".repeat(26)).join("outside/secret");
    assert!(!scene.root.exists(&up));
    // Links of its beginning are followed as ever.
    scene.root.symlink(&name, "beginning").unwrap();
    let below: PathBuf = low.iter().skip(1).collect();
    assert!(scene.root.is_dir(Path::new("beginning").join(below)));
    scene.root.remove(low.join("absolute")).unwrap();
    assert_eq!(scene.root.list(&low).unwrap(), ["relative"]);
    assert!(scene.unharmed());
}

#[test]
fn what_was_just_made_is_remembered() {
    let scene = scene();
    scene.root.create_dir_all("/run/deep", 0o755).unwrap();
    symlink("nowhere", scene.root.path().join("run/deep/link")).unwrap();
    symlink(&scene.outside, scene.root.path().join("outside")).unwrap();
    for (path, there) in [("run/deep/link", true), ("run/none", false), ("outside/secret", false)] {
        assert_eq!(scene.root.remembers(Path::new(path)), there, "{path}");
    }
}

#[test]
fn a_link_of_the_name_is_replaced_and_not_followed() {
    let scene = scene();
    let path = scene.root.path().to_owned();
    fs::write(path.join("target"), "old").unwrap();
    symlink("target", path.join("link")).unwrap();
    scene.root.write("link", b"new", 0o644).unwrap();
    assert_eq!(fs::read(path.join("target")).unwrap(), b"old");
    assert!(!path.join("link").is_symlink());
    scene.root.symlink("elsewhere", "link").unwrap();
    assert_eq!(scene.root.read_link("link").unwrap(), Some("elsewhere".into()));
    assert_eq!(scene.root.read_link("target").unwrap(), None);
}

#[test]
fn a_fifo_is_not_read() {
    let scene = scene();
    let fifo = scene.root.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert!(scene.root.read("fifo", 10).is_err());
}

#[test]
fn a_tree_is_removed_and_what_its_links_point_to_is_not() {
    let scene = scene();
    let path = scene.root.path().to_owned();
    let mut deep = path.join("tree");
    for _ in 0..350 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    symlink(&scene.outside, deep.join("link")).unwrap();
    fs::set_permissions(path.join("tree/d"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink(&scene.outside, path.join("top")).unwrap();
    remove_tree(&scene.root, OsStr::new("tree")).unwrap();
    remove_tree(&scene.root, OsStr::new("top")).unwrap();
    remove_tree(&scene.root, OsStr::new("none")).unwrap();
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    assert_eq!(fs::metadata(&path).unwrap().nlink(), 2);
    assert!(scene.unharmed());
}

/// Another guest that sees the same directory may exchange what is made there.
#[test]
fn a_new_directory_that_is_exchanged_gives_no_link_its_permissions() {
    let scene = scene();
    let secret = scene.outside.join("secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let shared = scene.root.path.clone();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                if fs::rename(shared.join("cache"), shared.join("away")).is_ok() {
                    let _ = symlink(&secret, shared.join("cache"));
                    let _ = fs::remove_dir(shared.join("away"));
                }
            }
        });
        for _ in 0..500 {
            let mode = Mode::from_raw_mode(0o755);
            let _ = make_directory(scene.root.as_fd(), "cache", mode);
            let _ = fs::remove_dir(shared.join("cache"));
            let _ = fs::remove_file(shared.join("cache"));
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn a_new_directory_has_all_its_permissions() {
    let scene = scene();
    for mode in [0o1777, 0o2750, 0o700] {
        let name = format!("{mode:o}");
        let wanted = Mode::from_raw_mode(mode);
        make_directory(scene.root.as_fd(), name.as_str(), wanted).unwrap();
        assert_eq!(scene.root.stat(&name).unwrap().unwrap().st_mode & 0o7777, mode);
        let again = make_directory(scene.root.as_fd(), name.as_str(), wanted);
        assert_eq!(again, Err(Errno::EXIST));
    }
}

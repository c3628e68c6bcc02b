//! A copy is compared with its source.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::*;
use crate::error::{Error, Result};
use crate::fsroot::RootDir;

fn go_on() -> Result<()> {
    Ok(())
}

fn copied(from: &Path, to: &Path) -> Result<Copied> {
    let (from, to) = (RootDir::open(from).unwrap(), RootDir::open(to).unwrap());
    copy(&from, &to, &Manner::plain(&go_on), |_| {})
}

/// Every path with what tools compare.
fn seen(root: &Path) -> Vec<(PathBuf, u32, u64, i64, i64)> {
    let mut seen = Vec::new();
    let root = RootDir::open(root).unwrap();
    walk(&root, &go_on, |step| {
        if let Step::Enter(entry, _) = step {
            let stat = entry.stat;
            let size = if entry.kind().is_dir() { 0 } else { stat.st_size.try_into().unwrap() };
            let nanoseconds = stat.st_mtime_nsec.cast_signed();
            seen.push((entry.path.to_owned(), stat.st_mode, size, stat.st_mtime, nanoseconds));
        }
        Ok(())
    })
    .unwrap();
    seen
}

#[test]
fn a_copy_is_like_its_source() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = |path: &str| from.path().join(path);
    fs::create_dir_all(file("a/closed")).unwrap();
    fs::write(file("a/one"), "one").unwrap();
    fs::write(file("a/closed/two"), "two").unwrap();
    fs::hard_link(file("a/one"), file("z")).unwrap();
    symlink("/etc/passwd", file("link")).unwrap();
    symlink("nowhere", file("a/dangling")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, file("fifo"), FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    // What anybody may make, with a second name.
    rustix::fs::mknodat(
        rustix::fs::CWD,
        file("gone"),
        FileType::CharacterDevice,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    fs::hard_link(file("gone"), file("also")).unwrap();
    let value = rustix::fs::setxattr(
        file("a/one"),
        "user.colour",
        b"green",
        rustix::fs::XattrFlags::empty(),
    );
    fs::set_permissions(file("a/closed"), fs::Permissions::from_mode(0o500)).unwrap();
    fs::set_permissions(file("a/one"), fs::Permissions::from_mode(0o4711)).unwrap();
    let done = copied(from.path(), to.path()).unwrap();
    assert_eq!(seen(from.path()), seen(to.path()));
    assert_eq!((done.files, done.shared + done.copied), (11, 2));
    let one = fs::metadata(to.path().join("a/one")).unwrap();
    assert_eq!(one.ino(), fs::metadata(to.path().join("z")).unwrap().ino());
    assert_ne!(one.ino(), fs::metadata(file("z")).unwrap().ino());
    assert_eq!(fs::read_link(to.path().join("link")).unwrap(), Path::new("/etc/passwd"));
    if value.is_ok() {
        let mut value = [0u8; 16];
        let length = rustix::fs::getxattr(to.path().join("z"), "user.colour", &mut value).unwrap();
        assert_eq!(&value[..length], b"green");
    }
}

#[test]
fn holes_stay_holes() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = from.path().join("sparse");
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(b"start").unwrap();
    file.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"middle", 32 << 20).unwrap();
    copied(from.path(), to.path()).unwrap();
    let copy = to.path().join("sparse");
    assert_eq!(fs::read(&path).unwrap(), fs::read(&copy).unwrap());
    assert!(fs::metadata(copy).unwrap().blocks() <= fs::metadata(path).unwrap().blocks() + 16);
}

#[test]
fn work_ends_when_it_is_told_to() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(from.path().join("a"), "x").unwrap();
    let no = || Err(Error::new("interrupted"));
    let (from, to) = (RootDir::open(from.path()).unwrap(), RootDir::open(to.path()).unwrap());
    assert_eq!(
        copy(&from, &to, &Manner::plain(&no), |_| {}).unwrap_err().to_string(),
        "interrupted"
    );
}

/// A tree of so many directories in each other.
fn deep(levels: usize) -> Gone {
    let tree = Gone(tempfile::tempdir().unwrap());
    lowest(tree.0.path(), "d", levels);
    tree
}

/// Makes so many directories of this name in each other; gives the innermost.
fn lowest(top: &Path, name: &str, levels: usize) -> std::os::fd::OwnedFd {
    use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
    let mut here = open(top, OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..levels {
        mkdirat(&here, name, Mode::RWXU).unwrap();
        here = openat(&here, name, OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    here
}

#[test]
fn names_of_one_file_lie_as_deep_as_they_like() {
    use rustix::fs::{AtFlags, Mode, OFlags, linkat, openat, statat};
    let (from, to) = (Gone(tempfile::tempdir().unwrap()), Gone(tempfile::tempdir().unwrap()));
    let (name, levels) = ("n".repeat(200), 25);
    let low = lowest(from.0.path(), &name, levels);
    openat(&low, "one", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
    linkat(&low, "one", &low, "two", AtFlags::empty()).unwrap();
    copied(from.0.path(), to.0.path()).unwrap();
    let path: PathBuf = std::iter::repeat_n(name.as_str(), levels).collect();
    let low = RootDir::open(to.0.path()).unwrap().open_dir(&path).unwrap();
    let [one, two] = ["one", "two"].map(|name| statat(&low, name, AtFlags::empty()).unwrap());
    assert_eq!((one.st_ino, one.st_nlink), (two.st_ino, 2));
}

/// A directory that goes, however deep it is.
struct Gone(tempfile::TempDir);

impl Drop for Gone {
    fn drop(&mut self) {
        let parent = fs::File::open(self.0.path().parent().unwrap()).unwrap();
        crate::fsroot::remove_tree(&parent, self.0.path().file_name().unwrap()).unwrap();
    }
}

#[test]
fn what_lies_too_deep_is_refused() {
    let from = deep(1100);
    let root = RootDir::open(from.0.path()).unwrap();
    let error = walk(&root, &go_on, |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("more than 1000"), "{error}");
}

/// A copy has two directories open for each on the way.
#[test]
fn a_deep_tree_takes_no_more_descriptors_than_there_are() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // As a shell gives them.
    let had = getrlimit(Resource::Nofile);
    let few = Rlimit { current: Some(1024), ..had };
    setrlimit(Resource::Nofile, few).unwrap();
    let (from, to) = (deep(990), Gone(tempfile::tempdir().unwrap()));
    assert_eq!(copied(from.0.path(), to.0.path()).unwrap().files, 991);
    // And into one that is there.
    let [from, into] = [&from, &to].map(|tree| RootDir::open(tree.0.path()).unwrap());
    let staging = Staging::make(&into, true).unwrap();
    staging.copy_directory(&from, Path::new(""), &Manner::plain(&go_on), |_| {}).unwrap();
    // With the stack that a program has.
    let placed = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(8 << 20);
        thread.spawn_scoped(scope, || staging.place_content(&go_on)).unwrap().join().unwrap()
    });
    assert_eq!(placed.unwrap().put, 0);
}

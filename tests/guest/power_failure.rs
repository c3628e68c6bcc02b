//! What is there after a power failure, of what a command has said that it is done:
//! the disk of guests' files is looked at as it is in that moment.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{DEADLINE, Disk, Guest, Host, Tree, command, eventually};

use super::provision::{begun_with, building};

on! { Busybox: [
    a_snapshot_that_is_listed_is_there,
    a_guest_that_was_put_back_is_as_it_was,
    a_guest_that_has_come_is_here,
    a_guest_that_was_made_has_its_files,
    what_a_killed_build_has_set_aside_is_back,
] }

/// Not all zero, and more than a file's inode holds.
const TEXT: &[u8] = &[b'v'; 300_000];

/// A guest on a disk that has all of it by now.
fn written<'h>(host: &'h Host, tree: Tree) -> (Disk, Guest<'h>) {
    let disk = Disk::new(host, 256, &["mkfs.ext4", "-q"], "loop");
    let web = host.guest("web").tree(tree).build();
    fs::write(web.root().join("srv/file"), TEXT).expect("it can be written");
    rustix::fs::sync();
    (disk, web)
}

/// The disk as whoever switches the machine on again finds it.
struct After {
    mounted: PathBuf,
}

impl After {
    fn look(host: &Host) -> Self {
        let [image, mounted] = ["after", "mounted"].map(|name| host.prefix().join(name));
        fs::copy(host.prefix().join("disk"), &image).expect("it can be copied");
        fs::create_dir_all(&mounted).expect("it can be made");
        let mut mount = Command::new("mount");
        command::run(mount.args(["-o", "loop"]).arg(&image).arg(&mounted), DEADLINE).ok();
        Self { mounted }
    }

    #[track_caller]
    fn has(&self, path: &str) {
        let path = self.mounted.join(path);
        let found = fs::read(&path).unwrap_or_else(|cause| panic!("{path:?}: {cause}"));
        assert!(found == TEXT, "{path:?} has {} bytes", found.len());
    }
}

impl Drop for After {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.mounted).status();
    }
}

fn a_snapshot_that_is_listed_is_there(tree: Tree) {
    let host = Host::new();
    let (_disk, web) = written(&host, tree);
    for (name, runs) in [("down", false), ("up", true)] {
        if runs {
            web.start();
        }
        host.vserver(["snapshot", "create", "web", name]).ok();
        let after = After::look(&host);
        assert!(after.mounted.join(format!(".snapshots/web/{name}.toml")).exists());
        after.has(&format!(".snapshots/web/{name}/srv/file"));
    }
    web.stop();
}

fn a_guest_that_was_put_back_is_as_it_was(tree: Tree) {
    let host = Host::new();
    let (_disk, web) = written(&host, tree);
    host.vserver(["snapshot", "create", "web", "s1"]).ok();
    fs::write(web.root().join("srv/file"), "spoilt").expect("it can be written");
    rustix::fs::sync();
    host.vserver(["snapshot", "restore", "web", "s1", "--yes"]).ok();
    After::look(&host).has("web/srv/file");
}

/// Who has sent it may delete it there.
fn a_guest_that_has_come_is_here(tree: Tree) {
    let host = Host::new();
    let (_disk, _web) = written(&host, tree);
    let file = host.prefix().join("web.tar").display().to_string();
    host.vserver(["export", "web", &file]).ok();
    host.vserver(["delete", "web", "--yes"]).ok();
    rustix::fs::sync();
    host.vserver(["import", &file]).ok();
    After::look(&host).has("web/srv/file");
    host.vserver(["delete", "web", "--yes"]).ok();
    let image = ["--storage", "image", "--size", "64M"];
    host.vserver(["import", &file].iter().chain(&image)).ok();
    let after = After::look(&host);
    let (copy, mounted) = (after.mounted.join("web"), host.prefix().join("inner"));
    look_into(&copy, &mounted);
}

/// Whoever has it may delete what it was made of.
fn a_guest_that_was_made_has_its_files(tree: Tree) {
    let host = Host::new();
    let (_disk, web) = written(&host, tree);
    host.vserver(["clone", "web", "copy"]).ok();
    After::look(&host).has("copy/srv/file");
    let root = web.root().display().to_string();
    host.vserver(["build", "moved", "--method", "directory", "--from", &root]).ok();
    After::look(&host).has("moved/srv/file");
}

/// An image of a guest, with the file.
fn look_into(image: &Path, at: &Path) {
    fs::create_dir_all(at).expect("it can be made");
    command::run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at), DEADLINE).ok();
    let inner = After { mounted: at.to_owned() };
    inner.has("srv/file");
}

/// Whatever number the disk has by then; on btrfs all roots have one inode.
fn what_a_killed_build_has_set_aside_is_back(tree: Tree) {
    for program in ["mkfs.ext4", "mkfs.btrfs"] {
        let host = Host::new();
        let disk = Disk::new(&host, 256, &[program, "-q"], "loop");
        let web = host.guest("web").tree(tree).build();
        fs::write(web.root().join("srv/file"), TEXT).expect("it can be written");
        let mut forced = building(&host, tree);
        forced.arg("--force");
        let mut build = begun_with(&host, forced);
        build.kill().expect("it is ours");
        build.wait().expect("it ends");
        eventually(DEADLINE, "all of it has ended", || host.processes().is_empty().then_some(()));
        let number = || fs::metadata(web.root()).expect("it is there").dev();
        let before = number();
        let _held = elsewhere(&host, &disk);
        assert!(number() != before || program != "mkfs.ext4", "it is the same device");
        assert!(!web.root().join("srv/file").exists(), "it is back before anybody has looked");
        host.vserver(["build", "other", "--method", "skeleton"]).ok();
        assert!(fs::read(web.root().join("srv/file")).is_ok_and(|found| found == TEXT));
        host.vserver(["status", "web"]).code(3);
        let left = fs::read_dir(disk.path()).expect("it is there").flatten();
        let left = left.filter(|entry| entry.file_name().to_string_lossy().contains("vserver-"));
        assert_eq!(left.count(), 0);
    }
}

/// Mounts a disk again by another device; as long as the old one is open, nobody else has
/// its number.
fn elsewhere(host: &Host, disk: &Disk) -> File {
    let run =
        |program: &str, words: &[&str]| command::run(Command::new(program).args(words), DEADLINE);
    let at = disk.path().to_str().expect("text");
    let old = run("findmnt", &["-n", "-o", "SOURCE", at]).ok().stdout;
    let held = File::open(old.trim()).expect("it is a device");
    eventually(DEADLINE, "nobody uses it", || (run("umount", &[at]).code == 0).then_some(()));
    let image = host.prefix().join("disk").display().to_string();
    let new = run("losetup", &["--find", "--show", &image]).ok().stdout;
    run("mount", &[new.trim(), at]).ok();
    // It goes with the mount.
    run("losetup", &["--detach", new.trim()]).ok();
    held
}

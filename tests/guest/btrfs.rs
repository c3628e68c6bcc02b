//! Guests' roots on btrfs: subvolumes, of which copies are made at once.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::same::{differences, furnish};
use tests::{DEADLINE, Host, Tree, command};

use super::storage::{MODES, another_over, beside, snapshot};

on! { Busybox: [roots_on_btrfs_are_subvolumes] }

/// A btrfs in the place of all guests' roots.
struct Btrfs {
    roots: PathBuf,
}

impl Btrfs {
    fn mount(host: &Host) -> Self {
        let (image, roots) = (host.prefix().join("disk"), host.paths().roots_dir());
        let file = fs::File::create(&image).expect("it can be made");
        file.set_len(256 << 20).expect("it is ours");
        fs::create_dir_all(&roots).expect("it can be made");
        command::run(Command::new("mkfs.btrfs").arg("-q").arg(&image), DEADLINE).ok();
        let mount = ["-o", "loop,user_subvol_rm_allowed"];
        command::run(Command::new("mount").args(mount).arg(&image).arg(&roots), DEADLINE).ok();
        Self { roots }
    }
}

impl Drop for Btrfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.roots).status();
    }
}

fn roots_on_btrfs_are_subvolumes(tree: Tree) {
    /// Of a subvolume's root directory (btrfs(5), "Inode").
    const SUBVOLUME: u64 = 256;
    let host = Host::new();
    let disk = Btrfs::mount(&host);
    let is_subvolume = |path: &Path| fs::metadata(path).is_ok_and(|found| found.ino() == SUBVOLUME);
    let web = host.guest("web").tree(tree).build();
    assert!(is_subvolume(&web.root()));
    furnish(&web);
    let made = host.vserver(["snapshot", "create", "web", "v1"]).ok();
    assert!(made.stdout.contains("blocks shared"), "{made}");
    let v1 = snapshot(&host, "web", "v1");
    assert!(is_subvolume(&v1));
    assert_eq!(differences(&web.root(), &v1), [""; 0]);
    for mode in MODES {
        host.vserver(["config", "set", "web", "security.users", mode]).ok();
        web.start();
        web.shell("rm -r /srv/one /srv/closed; echo new >/srv/new").ok();
        host.vserver(["clone", "web", "early", "--snapshot", "v1"]).ok();
        web.vserver("stop", ["--timeout", "1"]);
        let cloned = host.vserver(["clone", "web", "shop"]).ok();
        assert!(cloned.stdout.contains("blocks shared"), "{cloned}");
        for (name, there, gone) in [("shop", "new", "one"), ("early", "one", "new")] {
            let copy = web.other(name);
            assert!(is_subvolume(&copy.root()));
            copy.start();
            copy.exec(["hostname"]).ok().says(&format!("{name}\n"));
            copy.shell(&format!("ls /srv/{there}")).ok();
            copy.shell(&format!("ls /srv/{gone}")).code(1);
            copy.vserver("stop", ["--timeout", "1"]);
            host.vserver(["delete", name, "--yes"]).ok();
        }
        host.vserver(["snapshot", "restore", "web", "v1", "--yes"]).ok();
        assert!(is_subvolume(&web.root()));
        assert_eq!(differences(&v1, &web.root()), [""; 0]);
    }
    let over = another_over(&web, "over");
    over.start();
    over.vserver("stop", ["--timeout", "1"]);
    host.vserver(["delete", "over", "web", "--yes"]).ok();
    assert_eq!(beside(&host), [""; 0]);
    drop(disk);
}

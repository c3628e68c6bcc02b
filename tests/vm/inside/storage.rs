//! What a distribution's kernel can do with disks: project quotas, of which
//! xfs_quota(8) tells, and file systems that grow.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{DEADLINE, Host, Tree, command};

/// A file system with project quotas in the place of all guests' roots.
struct Disk {
    roots: PathBuf,
}

impl Disk {
    fn ext4(host: &Host, options: &str) -> Self {
        run(Command::new("modprobe").arg("quota_v2"));
        Self::mount(host, &["mkfs.ext4", "-q", "-O", "quota,project"], options)
    }

    fn xfs(host: &Host, options: &str) -> Self {
        Self::mount(host, &["mkfs.xfs", "-q"], options)
    }

    fn mount(host: &Host, mkfs: &[&str], options: &str) -> Self {
        let (image, roots) = (host.prefix().join("disk"), host.paths().roots_dir());
        let file = fs::File::create(&image).expect("it can be made");
        file.set_len(512 << 20).expect("it is ours");
        fs::create_dir_all(&roots).expect("it can be made");
        run(Command::new(mkfs[0]).args(&mkfs[1..]).arg(&image));
        run(Command::new("mount").args(["-o", options]).arg(&image).arg(&roots));
        Self { roots }
    }

    /// The kernel's limits of projects, in KiB.
    fn limits(&self) -> Vec<u64> {
        let mut report = Command::new("xfs_quota");
        report.args(["-f", "-x", "-c", "report -p -n -N -b"]).arg(&self.roots);
        let shown = command::run(&mut report, DEADLINE).ok();
        // "#PROJECT USED SOFT HARD 00 [GRACE]".
        let hard = |line: &str| line.split_whitespace().nth(3)?.parse().ok();
        shown.stdout.lines().filter_map(hard).filter(|limit| *limit > 0).collect()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.roots).status();
    }
}

fn run(wanted: &mut Command) {
    command::run(wanted, DEADLINE).ok();
}

/// A file's project, and what its directory has of it for new ones, as lsattr(1) says.
fn project(path: &Path) -> String {
    let mut shown = Command::new("lsattr");
    let shown = command::run(shown.args(["-p", "-d"]).arg(path), DEADLINE).ok();
    let words: Vec<_> = shown.stdout.split_whitespace().take(2).collect();
    words.join(" ")
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_project_quota_holds_and_is_seen_inside() {
    let host = Host::new();
    let disk = Disk::ext4(&host, "loop,prjquota");
    a_project_quota_holds(&host, &disk, &["private", "identity"], "uota exceeded");
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_project_quota_of_xfs_holds_and_is_seen_inside() {
    let host = Host::new();
    let disk = Disk::xfs(&host, "loop,prjquota");
    // xfs tells a project what it tells all when the disk is full.
    a_project_quota_holds(&host, &disk, &["private"], "No space left");
}

fn a_project_quota_holds(host: &Host, disk: &Disk, modes: &[&str], is_full: &str) {
    const FILL: &str = "dd if=/dev/zero of=/srv/big bs=1M count=60; r=$?; rm -f /srv/big; exit $r";
    // The host's own programs, as no busybox changes projects.
    let web = host.guest("web").tree(Tree::Busybox).set("mounts.bind", "/usr:/host:ro").build();
    // Less than it has, which is counted by nobody yet.
    let is_low = || web.vserver("limits", ["disk=1M"]).code(1).complains("of the disk now, more");
    is_low();
    web.vserver("limits", ["disk=40M"]).ok();
    for mode in modes {
        host.vserver(["config", "set", "web", "security.users", mode]).ok();
        web.start();
        web.shell(FILL).code(1).complains(is_full);
        web.shell("df -m / | tail -n 1 | awk '{ exit $2 != 40 }'").ok();
        assert_eq!(disk.limits(), [40 << 10], "{mode}");
        // What was there before can be renamed, links too.
        web.shell(
            "cd /bin; a=$(stat -c %i ls); mv ls ls2; b=$(stat -c %i ls2); mv ls2 ls; test $a = $b",
        )
        .ok();
        let chattr = "/host/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 --library-path \
                      /host/lib/x86_64-linux-gnu /host/bin/chattr";
        web.shell(&format!("touch /srv/own; mkdir -p /srv/dir; {chattr} +A /srv/own")).ok();
        // Whose user namespace is the first one may, for all that chattr(1) itself can do.
        let other = disk.roots.join("other");
        fs::write(&other, "").expect("it can be written");
        run(Command::new("chattr").args(["-p", "7"]).arg(&other));
        assert!(project(&other).starts_with("7 "), "{}", project(&other));
        let places = ["own", "dir"].map(|name| web.root().join("srv").join(name));
        let before = places.each_ref().map(|path| project(path));
        let [refused, flags] = ["-p 7 /srv/own", "-P /srv/dir"]
            .map(|words| web.shell(&format!("{chattr} {words}")).code(1));
        refused.complains("Invalid argument while setting project");
        flags.complains("Invalid argument while setting flags");
        assert_eq!(places.each_ref().map(|path| project(path)), before, "{mode}");
        web.vserver("stop", ["--timeout", "1"]);
        web.vserver("start", ["--ephemeral"]).ok();
        web.shell(FILL).code(1).complains(is_full);
        web.vserver("stop", ["--timeout", "1"]);
    }
    // Empty files take no space, and count all the same.
    let row = |key: &str| {
        let shown = web.vserver("limits", ["--json"]).ok();
        let shown: serde_json::Value = serde_json::from_str(&shown.stdout).expect("it is JSON");
        let rows = shown["limits"].as_array().expect("it is a list").clone();
        rows.into_iter().find(|row| row["key"] == key).expect("it is there")
    };
    let most = |row: &serde_json::Value| row["in_force"].as_u64().expect("a number");
    assert!(most(&row("inodes")) >= 10_000, "{}", row("inodes"));
    web.vserver("limits", ["inodes=1000"]).ok();
    web.start();
    let many = "mkdir /srv/many; i=0; while [ $i -lt 2000 ] && true >/srv/many/$i; do \
                i=$((i + 1)); done; test $i -lt 1000";
    web.shell(many).ok().complains(is_full);
    let full = row("inodes");
    assert_eq!((most(&full), &full["use"]), (1000, &full["in_force"]), "{full}");
    // Who has more already keeps it.
    web.vserver("limits", ["inodes=200"]).ok();
    assert_eq!(most(&row("inodes")), 1000);
    web.shell("rm -r /srv/many").ok();
    web.vserver("limits", ["inodes="]).ok();
    web.vserver("limits", ["disk=100M"]).ok();
    web.shell(FILL).ok();
    let row = row("disk");
    assert_eq!(row["in_force"], 100 << 20);
    is_low();
    web.shell("touch /srv/more").ok();
    assert!(row["use"].as_u64().is_some_and(|used| used > 1 << 20), "{row}");
    web.vserver("stop", ["--timeout", "1"]);
    host.vserver(["config", "set", "web", "security.users", "host"]).ok();
    web.vserver("start", [""; 0]).code(1).complains("security.users");
    web.vserver("limits", ["disk="]).ok();
    web.start();
    web.shell(&FILL.replace("count=60", "count=150")).ok();
    web.vserver("stop", ["--timeout", "1"]);
    assert_eq!(disk.limits(), [0; 0]);
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn an_overlay_is_held_by_a_quota_of_its_own_files() {
    let host = Host::new();
    let disk = Disk::ext4(&host, "loop,prjquota");
    let golden = host.guest("golden").build();
    golden.shell("mkdir /srv/lower").ok();
    host.vserver(["snapshot", "create", "golden", "v1"]).ok();
    let clone = ["clone", "golden", "web", "--snapshot", "v1", "--storage", "overlay"];
    host.vserver(clone).ok();
    let web = golden.other("web");
    // A whiteout, a pipe and a link are there when its files get a project.
    web.shell("mkdir /srv/x; mkfifo /srv/pipe; ln -s x /srv/link; rm -r /srv/lower").ok();
    web.vserver("limits", ["disk=20M"]).ok();
    web.start();
    web.shell("mkdir /srv/lower && mv /srv/pipe /srv/p && mv /srv/link /srv/l && test -p /srv/p")
        .ok();
    web.shell("dd if=/dev/zero of=/srv/big bs=1M count=30").code(1).complains("uota exceeded");
    web.shell("rm /srv/big && dd if=/dev/zero of=/srv/big bs=1M count=10").ok();
    web.vserver("stop", ["--timeout", "1"]);
    drop(disk);
}

/// Guests with limits are laid over a base, of one with a limit, too.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_quota_holds_for_a_guest_that_is_laid_over_a_base() {
    let host = Host::new();
    let disk = Disk::ext4(&host, "loop,prjquota");
    let [golden, web] = ["golden", "web"].map(|name| host.guest(name).tree(Tree::Busybox).build());
    for guest in [&golden, &web] {
        guest.write("/srv/both", &"same\n".repeat(1 << 20), 0o644);
        guest.shell("touch -d '2001-02-03 04:05:06' /srv/both").ok();
        guest.vserver("limits", ["disk=60M"]).ok();
        // Files get the guest's project.
        guest.start().stop();
    }
    web.write("/srv/own", &"web\n".repeat(1 << 20), 0o644);
    host.vserver(["snapshot", "create", "golden", "v1"]).ok();
    let used = || {
        let shown = web.vserver("limits", ["--json"]).ok();
        let shown: serde_json::Value = serde_json::from_str(&shown.stdout).expect("it is JSON");
        let rows = shown["limits"].as_array().expect("it is a list");
        let row = rows.iter().find(|row| row["key"] == "disk").expect("it is there");
        row["use"].as_u64().expect("a number")
    };
    let before = used();
    let done = host.vserver(["unify", "--base", "golden@v1", "web", "golden", "--json"]).ok();
    let after = used();
    // Its own file, and little else.
    assert!(
        before >= 9 << 20 && (4 << 20..6 << 20).contains(&after),
        "{before}, then {after}: {done}"
    );
    for guest in [&golden, &web] {
        guest.start();
        guest.shell("test $(wc -c </srv/both) = 5242880").ok();
        guest.shell("df -m / | tail -n 1 | awk '{ exit $2 != 60 }'").ok();
        let fill = "dd if=/dev/zero of=/srv/big bs=1M count=70; r=$?; rm -f /srv/big; exit $r";
        guest.shell(fill).code(1).complains("uota exceeded");
        // What is copied up is its own, and so charged to it.
        guest.shell("echo more >>/srv/both && mv /srv/both /srv/moved").ok();
        guest.vserver("stop", ["--timeout", "1"]);
    }
    assert!(used() >= after + (5 << 20), "{} after {after}", used());
    assert_eq!(disk.limits(), [60 << 10; 2]);
}

/// ext4 counts projects whenever it has the feature, and holds nobody to a limit
/// without the option.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn what_is_only_counted_is_no_limit() {
    let host = Host::new();
    let disk = Disk::ext4(&host, "loop");
    let web = host.guest("web").build();
    web.vserver("limits", ["disk=40M"]).code(1).complains("prjquota");
    host.vserver(["config", "set", "web", "limits.disk", "40M"]).ok();
    web.vserver("start", [""; 0]).code(1).complains("limits.disk can't be enforced");
    host.vserver(["config", "set", "web", "limits.required", "false"]).ok();
    web.vserver("start", [""; 0]).ok().complains("limits.disk can't be enforced");
    web.vserver("stop", ["--timeout", "1"]);
    drop(disk);
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn an_image_grows_with_its_limit() {
    let host = Host::new();
    let golden = host.guest("golden").build();
    host.vserver(["clone", "golden", "web", "--storage", "image", "--size", "64M"]).ok();
    let web = golden.other("web");
    web.vserver("limits", ["disk=160M"]).ok();
    web.vserver("limits", ["disk=32M"]).code(1).complains("can't become shorter");
    web.start();
    web.shell("dd if=/dev/zero of=/srv/big bs=1M count=100").ok();
    web.shell("df -m / | tail -n 1 | awk '{ exit !($2 > 130 && $2 < 161) }'").ok();
    web.vserver("stop", ["--timeout", "1"]);
    run(Command::new("fsck.ext4").args(["-f", "-n"]).arg(web.root()));
    // What an ephemeral start writes would not be in the image.
    web.vserver("start", ["--ephemeral"]).code(1).complains("limits.disk can't be enforced");
    // Elsewhere nothing holds it, and that is said.
    golden.vserver("limits", ["disk=64M"]).code(1).complains("project quotas");
    host.vserver(["config", "set", "golden", "limits.disk", "64M"]).ok();
    golden.vserver("start", [""; 0]).code(1).complains("--storage image");
}

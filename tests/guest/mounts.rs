//! `[mounts]`: the host's directories in a guest, with the owners that they
//! have, and nothing that leads elsewhere.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;

use tests::{Census, Disk, Guest, Host, Tree};

on! { Busybox: [
    files_have_the_owners_that_they_have_on_the_disk,
    what_others_could_change_is_no_source,
    a_guests_own_links_lead_nowhere,
    memory_is_a_file_system_too,
    mounts_lie_in_each_other,
    the_file_system_of_a_device_comes_in_over_the_host,
    mistakes_are_named,
] }

/// A directory of the host's that its users can't reach.
fn closed(host: &Host, name: &str) -> PathBuf {
    let above = host.prefix().join("closed");
    fs::create_dir_all(&above).expect("it can be made");
    fs::set_permissions(&above, Permissions::from_mode(0o700)).expect("it is ours");
    let directory = above.join(name);
    fs::create_dir(&directory).expect("it can be made");
    directory
}

fn binds(guest: &Guest<'_>, lines: &[String]) {
    let mut words = vec!["config", "set", guest.name(), "mounts.bind"];
    words.extend(lines.iter().map(String::as_str));
    guest.host().vserver(words).ok();
}

fn files_have_the_owners_that_they_have_on_the_disk(tree: Tree) {
    for mode in ["private", "identity", "host"] {
        let host = Host::new();
        let guest = host.guest("web").tree(tree).set("security.users", mode).build();
        let (data, read) = (closed(&host, "data"), closed(&host, "read"));
        fs::write(data.join("theirs"), "theirs\n").expect("it can be written");
        chown(data.join("theirs"), Some(1000), Some(1000)).expect("it is ours");
        fs::write(read.join("file"), "one file\n").expect("it can be written");
        binds(
            &guest,
            &[
                format!("{}:/srv/data/deep", data.display()),
                format!("{}:/mnt:ro", read.display()),
                format!("{}:/etc/one:ro", read.join("file").display()),
            ],
        );
        guest.start();
        guest.shell("stat -c %u:%g /srv/data/deep/theirs").ok().says("1000:1000\n");
        guest.shell("echo mine >/srv/data/deep/mine && chmod 4755 /srv/data/deep/mine").ok();
        assert_eq!(fs::metadata(data.join("mine")).expect("it is there").uid(), 0, "{mode}");
        guest.shell("cat /etc/one /mnt/file").ok().says("one file\none file\n");
        for attempt in ["echo x >/mnt/file", "echo x >/etc/one", "touch /mnt/new"] {
            assert_ne!(guest.shell(attempt).code, 0, "{mode}: {attempt}");
        }
        let options = guest.shell("grep ' /srv/data/deep ' /proc/mounts").ok();
        assert!(options.stdout.contains("nosuid,nodev"), "{options}");
        // The guest's own directory below it is empty, and stays.
        guest.stop();
        assert_eq!(fs::read_dir(guest.root().join("srv/data/deep")).expect("it").count(), 0);
        guest.start();
        guest.shell("cat /srv/data/deep/mine").ok().says("mine\n");
        guest.stop();
    }
}

fn what_others_could_change_is_no_source(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let data = closed(&host, "data");
    let before = Census::when_quiet(&host);
    let refused = |line: String, why: &str| {
        binds(&guest, &[line]);
        guest.vserver("start", [""; 0]).code(1).complains(why).complains("'web'");
        before.assert_unchanged(&host);
    };
    let link = host.prefix().join("link");
    symlink(&data, &link).expect("it can be made");
    refused(format!("{}:/srv", link.display()), "symbolic link on the way");
    refused(format!("{}/nothing:/srv", data.display()), "option 'optional'");
    let open = host.prefix().join("open");
    fs::create_dir(&open).expect("it can be made");
    for directory in [host.prefix(), &open] {
        fs::set_permissions(directory, Permissions::from_mode(0o755)).expect("it is ours");
    }
    refused(format!("{}:/srv", open.display()), "every user of the host");
    // What it itself permits, or a file does, the guest's root could change.
    fs::set_permissions(&open, Permissions::from_mode(0o700)).expect("it is ours");
    refused(format!("{}:/srv", open.display()), "every user of the host");
    let file = host.prefix().join("file");
    fs::write(&file, "").expect("it can be written");
    refused(format!("{}:/srv/file", file.display()), "every user of the host");
    fs::set_permissions(&open, Permissions::from_mode(0o755)).expect("it is ours");
    // What can't be written to, or belongs to nobody there, harms nobody.
    for options in ["ro", "noidmap"] {
        binds(
            &guest,
            &[
                format!("{}:/srv:{options}", open.display()),
                format!("{}/nothing:/mnt:optional", data.display()),
            ],
        );
        guest.start();
        assert_ne!(guest.shell("touch /srv/file").code, 0, "{options}");
        guest.stop();
    }
}

fn a_guests_own_links_lead_nowhere(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let data = closed(&host, "data");
    let outside = closed(&host, "outside");
    binds(&guest, &[format!("{}:/srv/a/b", data.display())]);
    symlink(&outside, guest.root().join("srv/a")).expect("it can be made");
    guest.vserver("start", [""; 0]).code(1).complains("the guest has a link or a file there");
    assert_eq!(fs::read_dir(&outside).expect("it is there").count(), 0);
    fs::remove_file(guest.root().join("srv/a")).expect("it is there");
    guest.start();
    guest.stop();
}

fn memory_is_a_file_system_too(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let lines = ["/var/cache/deep:size=4M,mode=1777,noexec", "/mnt"];
    host.vserver([&["config", "set", "web", "mounts.tmpfs"][..], &lines].concat()).ok();
    guest.start();
    guest.shell("stat -c %a:%u /var/cache/deep").ok().says("1777:0\n");
    guest.shell("stat -c %a:%u /mnt").ok().says("755:0\n");
    assert_ne!(guest.shell("head -c 5000000 /dev/zero >/var/cache/deep/x").code, 0);
    guest.shell("cp /bin/busybox /var/cache/deep/true 2>/dev/null; cp /bin/busybox /mnt/true");
    assert_eq!(guest.shell("/var/cache/deep/true").code, 126);
    guest.shell("/mnt/true").ok();
    guest.stop();
    assert_eq!(fs::read_dir(guest.root().join("mnt")).expect("it is there").count(), 0);
}

fn mounts_lie_in_each_other(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let (outer, inner) = (closed(&host, "outer"), closed(&host, "inner"));
    fs::write(inner.join("file"), "inner\n").expect("it can be written");
    binds(
        &guest,
        &[format!("{}:/srv/x/y", inner.display()), format!("{}:/srv/x", outer.display())],
    );
    guest.start();
    guest.shell("cat /srv/x/y/file").ok().says("inner\n");
    guest.stop();
    assert!(outer.join("y").is_dir(), "a place was made for it");
}

fn the_file_system_of_a_device_comes_in_over_the_host(tree: Tree) {
    for mode in ["private", "identity", "host"] {
        let host = Host::new();
        let guest = host.guest("web").tree(tree).set("security.users", mode).build();
        let data = closed(&host, "data");
        let disk = Disk::on(&data, &host, 20, &["mkfs.ext4", "-q"], "loop");
        binds(&guest, &[format!("{}:/srv/disk", data.display())]);
        guest.start();
        guest.shell("echo mine >/srv/disk/mine && chown user /srv/disk/mine").ok();
        guest.shell("df -m /srv/disk | tail -n 1 | awk '{ exit !($2 > 10 && $2 < 20) }'").ok();
        guest.stop();
        assert_eq!(fs::metadata(disk.path().join("mine")).expect("it is there").uid(), 1000);
        assert_eq!(fs::read_dir(guest.root().join("srv/disk")).expect("it").count(), 0, "{mode}");
    }
}

fn mistakes_are_named(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    for (line, why) in [
        ("srv", "a source is an absolute path"),
        ("/srv:/proc/x", "isn't below /dev, /proc or /sys"),
        ("/srv:/srv:rw", "options are of ro"),
    ] {
        host.vserver(["config", "set", "web", "mounts.bind", line]).code(2).complains(why);
    }
    host.vserver(["config", "set", "web", "mounts.bind", "/usr:/a:ro", "/etc:/a:ro"])
        .code(1)
        .complains("two mounts have the target '/a'");
    host.vserver(["config", "set", "web", "mounts.bind", "/usr/share:/srv:ro"]).ok();
    let shown = guest.vserver("start", ["--dry-run"]).ok();
    assert!(shown.stdout.contains("/usr/share:/srv:ro"), "{shown}");
}

//! Debians of old hosts, with what these have left in them: an OpenVZ private
//! area, and a tree of util-vserver's whose files `vunify` has linked. Both boot
//! as they are, and stop by their own scripts.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use tests::{DEADLINE, Finished, Host, Tree, command, eventually, tree};

use crate::moved::{listing, run, unpacked};

on! { Trixie: [an_area_of_openvzs_boots_with_all_that_is_in_it] }
on! { Bookworm: [a_tree_of_vunifys_becomes_a_guest_of_its_own] }

fn write(root: &Path, files: &[(&str, &str, u32)]) {
    for (path, text, mode) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("it can be made");
        // What was there may be a link.
        let _ = fs::remove_file(&path);
        fs::write(&path, text).expect("it can be written");
        run("chmod", &[&format!("{mode:o}")], &path);
    }
}

fn inside(host: &Host, line: &str) -> Finished {
    host.vserver(["exec", "web", "--", "sh", "-c", line])
}

#[track_caller]
fn comes_up(host: &Host) {
    host.vserver(["start", "web"]).ok();
    eventually(DEADLINE, "its services run", || {
        (inside(host, "pidof cron && pidof sshd").code == 0).then_some(())
    });
}

/// What vzctl(8) writes into a Debian: a line of inittab and a FIFO that tell it that
/// the container is up, no terminals, quotas of the second level, and an
/// interface that exists there only, with a gateway that is nobody.
const OF_OPENVZ: &[(&str, &str, u32)] = &[
    (
        "etc/inittab",
        "id:2:initdefault:\nsi::sysinit:/etc/init.d/rcS\n~~:S:wait:/sbin/sulogin\n\
         l0:0:wait:/etc/init.d/rc 0\nl1:1:wait:/etc/init.d/rc 1\nl2:2:wait:/etc/init.d/rc 2\n\
         l6:6:wait:/etc/init.d/rc 6\nz6:6:respawn:/sbin/sulogin\n\
         #1:2345:respawn:/sbin/getty 38400 tty1\n2:2345:respawn:/sbin/getty 38400 tty2\n\
         p0::powerfail:/sbin/init 0\nvz:2345:once:touch /.vzfifo\n",
        0o644,
    ),
    (
        "etc/fstab",
        "proc  /proc       proc    defaults    0    0\n\
         none  /dev/pts    devpts  rw,gid=5,mode=620    0    0\n\
         /dev/simfs / simfs rw,usrquota,grpquota 0 1\n\
         UUID=6e0b8c1e-0c5e-4b3e-9d0a-1f2e3d4c5b6a /home ext4 defaults 0 2\n",
        0o644,
    ),
    (
        "etc/init.d/vzquota",
        "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: vzquota\n# Required-Start: $local_fs\n\
         # Required-Stop: $local_fs\n# Default-Start: 2 3 4 5\n# Default-Stop: 0 6\n\
         # Short-Description: quotas of the second level\n### END INIT INFO\n\
         case $1 in start)\n  rm -f /etc/mtab\n  ln -s /proc/mounts /etc/mtab\n\
         \x20 echo started >>/var/log/vzquota\n  quotaon -aug ;;\n\
         stop) echo stopped >>/var/log/vzquota; quotaoff -aug ;;\nesac\n",
        0o755,
    ),
    (
        "etc/init.d/vzreboot",
        "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: vzreboot\n# Required-Start:\n# Required-Stop:\n\
         # Default-Start:\n# Default-Stop: 6\n### END INIT INFO\n>/reboot\n",
        0o755,
    ),
    (
        "etc/network/interfaces",
        "# This configuration file is auto-generated.\nauto lo\niface lo inet loopback\n\
         auto venet0\niface venet0 inet manual\n\
         \tup ip link set venet0 up\n\tup ip address add 127.0.0.2/32 dev venet0\n\
         \tup ip route add default dev venet0\n\
         iface venet0 inet6 manual\n\tup ip -6 route add default dev venet0\n\
         auto venet0:0\niface venet0:0 inet static\n\taddress 192.0.2.10\n\tnetmask 255.255.255.255\n",
        0o644,
    ),
    // From before scripts were ordered by what they need.
    ("etc/init.d/.legacy-bootordering", "", 0o644),
];

fn an_area_of_openvzs_boots_with_all_that_is_in_it(tree: Tree) {
    let host = Host::new();
    let root = unpacked(&host, tree, "fs/root", 0);
    let old = host.prefix().join("old");
    let copy = "tar -C \"$1\" -c . | tar -C \"$2\" -x --keep-directory-symlink
        mkfifo -m 600 \"$2/.vzfifo\"; cd \"$2/dev\"
        mknod simfs b 144 0; [ -e ptmx ] || mknod ptmx c 5 2; mknod tty2 c 4 2; mknod ptyp0 c 2 0
        mknod vzctl c 126 0; mkdir -p pts";
    let mut shell = Command::new("sh");
    shell.args(["-ec", copy, "sh"]).arg(tree::unpacked("ifupdown")).arg(&root);
    command::run(&mut shell, DEADLINE).ok();
    write(&root, OF_OPENVZ);
    write(&old, &[("ve.conf", "OSTEMPLATE=\"debian\"\n", 0o644), (".ve.layout", "", 0o644)]);
    for (link, to) in [
        ("aquota.user", "/proc/vz/vzaquota/00000090/aquota.user"),
        ("aquota.group", "/proc/vz/vzaquota/00000090/aquota.group"),
        ("etc/rc2.d/S01vzquota", "../init.d/vzquota"),
        ("etc/rc6.d/K01vzquota", "../init.d/vzquota"),
        ("etc/rc0.d/K01vzquota", "../init.d/vzquota"),
        ("etc/rc6.d/S00vzreboot", "../init.d/vzreboot"),
        ("etc/rcS.d/S12networking", "../init.d/networking"),
    ] {
        symlink(to, root.join(link)).expect("a link");
    }
    let before = listing(&old);
    let from = old.to_str().expect("text");
    let built = host.vserver(["build", "web", "--method", "directory", "--from", from]).ok();
    assert!(built.stdout.contains("OpenVZ's: it is called 'fs/root'"), "{built}");
    // Or Debian's scripts would look for those disks, and wait for somebody to say what now.
    built.complains("device nodes are left out").complains("checked at boot");
    assert_eq!(listing(&old), before, "the old one has changed");

    comes_up(&host);
    inside(&host, "stat -c '%F %a' /.vzfifo; readlink /etc/mtab; cat /var/log/vzquota")
        .ok()
        .says("fifo 600\n/proc/mounts\nstarted\n");
    // What it says of the root is not what the root is, and its interface isn't there.
    inside(&host, "grep -c simfs /proc/mounts").code(1);
    inside(&host, "ip -o link show venet0").code(1);
    inside(&host, "ping -c 1 -W 5 127.0.0.1").ok();
    // By its own scripts down and up again.
    host.vserver(["restart", "web", "--no-kill"]).ok();
    comes_up(&host);
    let log = "started\nstopped\nstarted\n";
    inside(&host, "cat /var/log/vzquota").ok().says(log);
    host.vserver(["stop", "web", "--no-kill"]).ok();
}

/// A tree of old: no device but a few, a list of mounts that is a file, all scripts of
/// hardware's gone, package data beside it, and files that are another tree's as well.
fn a_tree_of_vunifys_becomes_a_guest_of_its_own(tree: Tree) {
    let host = Host::new();
    let root = unpacked(&host, tree, "vservers/web", 0);
    let vservers = host.prefix().join("old/vservers");
    write(
        &root,
        &[
            ("etc/mtab", "/dev/hdv1 / ufs defaults 0 0\nnone /proc proc rw 0 0\n", 0o644),
            ("etc/fstab", "/dev/hdv1 / ufs defaults 0 0\nproc /proc proc defaults 0 0\n", 0o644),
        ],
    );
    write(&vservers, &[(".pkg/web/var/lib/dpkg/status", "Package: x\n", 0o644)]);
    // What is linked nobody can change; the kernel that broke such links is no more.
    let linked = "cd \"$1\"; mkdir -p other/bin other/etc
        for f in bin/ls bin/cat etc/profile; do ln \"$(readlink -f web/$f)\" other/$f; done
        chattr +i other/bin/ls other/bin/cat other/etc/profile
        rm -f web/etc/rc?.d/*hwclock* web/etc/rc?.d/*udev*; chattr +t .; chmod 000 .";
    command::run(Command::new("sh").args(["-ec", linked, "sh"]).arg(&vservers), DEADLINE).ok();
    let name = root.to_str().expect("text");
    let built = host.vserver(["build", "web", "--method", "directory", "--from", name]);
    let free = "chattr -i \"$1\"/other/bin/* \"$1\"/other/etc/*";
    command::run(Command::new("sh").args(["-ec", free, "sh"]).arg(&vservers), DEADLINE).ok();
    built.ok();
    let new = host.paths().roots_dir().join("web");
    for path in ["bin/ls", "etc/profile"] {
        let (old, new) = (fs::metadata(root.join(path)), fs::metadata(new.join(path)));
        let (old, new) = (old.expect("it is there"), new.expect("it is there"));
        assert_eq!((old.nlink(), new.nlink(), old.len()), (2, 1, new.len()), "{path}");
    }
    comes_up(&host);
    // It can do with its own files what it likes.
    inside(&host, "echo mine >>/etc/profile && cp /bin/ls /bin/ls.new && mv /bin/ls.new /bin/ls")
        .ok();
    assert!(!fs::read_to_string(root.join("etc/profile")).expect("it is there").contains("mine"));
    inside(&host, "df / && head -c 4 /dev/urandom | wc -c && test -c /dev/null && ls -d /proc/1")
        .ok();
    host.vserver(["restart", "web", "--no-kill"]).ok();
    comes_up(&host);
    host.vserver(["stop", "web", "--no-kill"]).ok();
}

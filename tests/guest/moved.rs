//! Roots of other managers: each layout is told, its owners get their own
//! numbers back, the guest boots as who it was, and what it came from is left
//! as it was.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{DEADLINE, Finished, Host, Tree, command, eventually};

on! { Busybox: [
    a_guest_of_lxcs_boots,
    a_guest_of_incuss_boots,
    a_machine_of_nspawns_boots,
    an_area_of_openvzs_boots,
    a_guest_of_util_vservers_boots,
    access_lists_and_capabilities_are_shifted,
    an_archive_of_incuss_boots,
    another_machine_boots_by_rsync,
    nothing_leads_out_of_the_directory,
    what_is_mounted_inside_is_no_part_of_it,
    its_own_names_and_name_servers_stay,
] }

on! { Bookworm, Systemd: [a_distribution_moves_in] }

const MACHINE_ID: &str = "0123456789abcdef0123456789abcdef\n";

pub(crate) fn run(program: &str, words: &[&str], path: &Path) -> Finished {
    command::run(Command::new(program).args(words).arg(path), DEADLINE).ok()
}

/// The tree in a directory below the installation, with owners shifted.
pub(crate) fn unpacked(host: &Host, tree: Tree, root: &str, shift: u32) -> PathBuf {
    let root = host.prefix().join("old").join(root);
    fs::create_dir_all(&root).expect("a directory can be made");
    let archive = tree.archive().to_string_lossy().into_owned();
    run("tar", &["--numeric-owner", "-xpf", &archive, "-C"], &root);
    fs::write(root.join("etc/machine-id"), MACHINE_ID).expect("it can be written");
    fs::create_dir_all(root.join("etc/ssh")).expect("it can be made");
    fs::write(root.join("etc/ssh/ssh_host_rsa_key"), "secret").expect("it can be written");
    for path in ["dev/zero", "etc/passwd-"] {
        let _ = fs::remove_file(root.join(path));
    }
    command::run(Command::new("mknod").arg(root.join("dev/zero")).args(["c", "1", "5"]), DEADLINE)
        .ok();
    fs::hard_link(root.join("etc/passwd"), root.join("etc/passwd-")).expect("a link");
    let mut find = Command::new("find");
    let owners = command::run(find.arg(&root).args(["-printf", "%U %G\n"]), DEADLINE).ok().stdout;
    let owners: BTreeSet<&str> = owners.lines().filter(|_| shift > 0).collect();
    for owner in owners {
        let (user, group) = owner.split_once(' ').expect("two numbers");
        let shifted = |id: &str| id.parse::<u32>().expect("a number") + shift;
        let to = format!("{}:{}", shifted(user), shifted(group));
        run("chown", &["-hR", &format!("--from={user}:{group}"), &to], &root);
    }
    root
}

/// All names with what tools see of them.
pub(crate) fn listing(directory: &Path) -> String {
    let format = "%p %U %G %m %n %s %T@ %l\n";
    let mut find = Command::new("find");
    command::run(find.arg(directory).args(["-printf", format]), DEADLINE).ok().stdout
}

fn build(host: &Host, method: &str, from: &Path) -> Finished {
    let mut build = host.command(["build", "web", "--method", method, "--from"]);
    command::run(build.arg(from), DEADLINE)
}

/// Builds a guest from `old`, and boots it.
#[track_caller]
fn boots(host: &Host, said: &str) {
    let old = host.prefix().join("old");
    let before = listing(&old);
    let built = build(host, "directory", &old).ok();
    assert!(built.stdout.contains(said), "{said:?} isn't said\n{built}");
    assert_eq!(listing(&old), before, "the old one has changed");
    is_who_it_was(host);
    built.complains("device nodes are left out: 'dev/zero'");
}

#[track_caller]
fn is_who_it_was(host: &Host) {
    let root = host.paths().roots_dir().join("web");
    let owner = |path: &str| fs::symlink_metadata(root.join(path)).expect("it is there").uid();
    assert_eq!((owner(""), owner("bin/busybox"), owner("home/user")), (0, 0, 1000));
    assert_eq!(fs::metadata(root.join("etc/passwd")).expect("it is").nlink(), 2);
    assert_eq!(fs::read_to_string(root.join("etc/machine-id")).expect("it is"), MACHINE_ID);
    let key = fs::read_to_string(root.join("etc/ssh/ssh_host_rsa_key"));
    assert_eq!(key.expect("it is there"), "secret");
    host.vserver(["start", "web"]).ok();
    host.vserver(["exec", "web", "--", "stat", "-c", "%U", "/home/user"]).ok().says("user\n");
    host.vserver(["exec", "web", "--", "hostname"]).ok().says("web\n");
    host.vserver(["stop", "web", "--no-kill"]).ok();
}

fn beside(host: &Host, name: &str) {
    let path = host.prefix().join("old").join(name);
    fs::write(path, "# theirs\n").expect("it can be written");
}

fn a_guest_of_lxcs_boots(tree: Tree) {
    let host = Host::new();
    unpacked(&host, tree, "rootfs", 100_000);
    beside(&host, "config");
    boots(&host, "LXC's: 'config' lies beside it");
}

fn a_guest_of_incuss_boots(tree: Tree) {
    let host = Host::new();
    unpacked(&host, tree, "rootfs", 1_000_000);
    beside(&host, "backup.yaml");
    boots(&host, "Incus's or LXD's");
}

fn a_machine_of_nspawns_boots(tree: Tree) {
    let host = Host::new();
    unpacked(&host, tree, "", 1_879_048_192);
    boots(&host, "a whole system");
}

fn an_area_of_openvzs_boots(tree: Tree) {
    let host = Host::new();
    unpacked(&host, tree, "fs/root", 0);
    boots(&host, "OpenVZ's");
}

fn a_guest_of_util_vservers_boots(tree: Tree) {
    let host = Host::new();
    let root = unpacked(&host, tree, "", 0);
    let vservers = host.prefix().join("vservers");
    fs::rename(&root, &vservers).expect("it can be moved");
    fs::create_dir(&root).expect("it can be made");
    symlink(&vservers, root.join("vdir")).expect("a link");
    beside(&host, "context");
    boots(&host, "util-vserver's: 'vdir' leads to it");
}

/// A Debian with sysvinit of an unprivileged LXC's, and one with systemd of nspawn's with
/// `PrivateUsers=pick`: all owners are shifted.
fn a_distribution_moves_in(tree: Tree) {
    let host = Host::new();
    let (place, shift, said) = match tree {
        Tree::Systemd => ("", 1_879_048_192, "a whole system"),
        _ => ("rootfs", 100_000, "LXC's: 'config' lies beside it"),
    };
    unpacked(&host, tree, place, shift);
    if tree != Tree::Systemd {
        beside(&host, "config");
    }
    let built = build(&host, "directory", &host.prefix().join("old")).ok();
    assert!(built.stdout.contains(said), "{said:?} isn't said\n{built}");
    host.vserver(["start", "web"]).ok();
    let inside = |line: &str| host.vserver(["exec", "web", "--", "sh", "-c", line]);
    inside("stat -c %U:%G / /var/mail /etc/shadow")
        .ok()
        .says("root:root\nroot:mail\nroot:shadow\n");
    inside("cat /etc/machine-id").ok().says(MACHINE_ID);
    eventually(DEADLINE, "its services run", || {
        (inside("pidof cron && pidof sshd").code == 0).then_some(())
    });
    host.vserver(["stop", "web", "--no-kill"]).ok();
}

fn access_lists_and_capabilities_are_shifted(tree: Tree) {
    let host = Host::new();
    let root = unpacked(&host, tree, "rootfs", 100_000);
    fs::write(root.join("srv/tool"), "x").expect("it can be written");
    fs::write(root.join("srv/foreign"), "x").expect("it can be written");
    run("setfacl", &["-m", "u:101000:rw"], &root.join("srv/tool"));
    run("setfacl", &["-d", "-m", "g:100033:rx"], &root.join("srv"));
    run("setcap", &["-n", "100000", "cap_net_raw=ep"], &root.join("srv/tool"));
    run("chown", &["70000"], &root.join("srv/foreign"));
    build(&host, "directory", &host.prefix().join("old"))
        .ok()
        .complains("owners beyond a guest's 65536 ids became nobody: 'srv/foreign'");
    let srv = host.paths().roots_dir().join("web/srv");
    let lists = run("getfacl", &["-n", "-p"], &srv.join("tool")).stdout;
    assert!(lists.contains("user:1000:rw-"), "{lists}");
    let lists = run("getfacl", &["-n", "-p"], &srv).stdout;
    assert!(lists.contains("default:group:33:r-x"), "{lists}");
    let capabilities = run("getcap", &["-n"], &srv.join("tool")).stdout;
    let is_plain = capabilities.contains("cap_net_raw=ep") && !capabilities.contains("rootid");
    assert!(is_plain, "{capabilities}");
    assert_eq!(fs::metadata(srv.join("foreign")).expect("it is there").uid(), 65534);
}

fn an_archive_of_incuss_boots(tree: Tree) {
    let host = Host::new();
    unpacked(&host, tree, "rootfs", 1_000_000);
    beside(&host, "metadata.yaml");
    fs::create_dir(host.prefix().join("old/templates")).expect("it can be made");
    let archive = host.prefix().join("image.tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(host.prefix().join("old")).arg("-cf").arg(&archive);
    command::run(tar.args(["metadata.yaml", "rootfs", "templates"]), DEADLINE).ok();
    let built = build(&host, "template", &archive).ok();
    built.complains("the root in it is Incus's or LXD's").complains("shifted by 1000000");
    let root = host.paths().roots_dir().join("web");
    for name in ["metadata.yaml", "templates", "rootfs", ".vserver-lifted"] {
        assert!(root.join(name).symlink_metadata().is_err(), "{name} is left");
    }
    let owner = |path: &str| fs::metadata(root.join(path)).expect("it is there").uid();
    assert_eq!((owner(""), owner("bin/busybox"), owner("home/user")), (0, 0, 1000));
    host.vserver(["start", "web"]).ok();
    host.vserver(["stop", "web", "--no-kill"]).ok();
}

/// What rsync takes for ssh runs the other side right here.
fn another_machine_boots_by_rsync(tree: Tree) {
    let host = Host::new();
    let old = unpacked(&host, tree, "", 0);
    let shell = host.prefix().join("ssh");
    fs::write(&shell, "#!/bin/sh\ntest \"$1\" = old || exit 9\nshift\nexec \"$@\"\n")
        .expect("it can be written");
    run("chmod", &["755"], &shell);
    fs::create_dir(old.join("srv/backup")).expect("it can be made");
    run("setfattr", &["-n", "user.colour", "-v", "green"], &old.join("etc/passwd"));
    let by = |from: &str| {
        let from = format!("{from}:{}", old.display());
        let mut build = host.command(["build", "web", "--method", "rsync", "--from", &from, "--"]);
        build.arg(format!("--rsh={}", shell.display())).arg("--exclude=/srv/backup");
        command::run(&mut build, DEADLINE)
    };
    by("elsewhere").code(1).complains("'rsync' failed");
    host.vserver(["status", "web"]).code(5);
    assert_eq!(fs::read_dir(host.paths().roots_dir()).expect("it is there").count(), 0);
    // As an overlay inside has it.
    command::run(Command::new("mknod").arg(old.join("srv/gone")).args(["c", "0", "0"]), DEADLINE)
        .ok();
    by("old").ok().complains("device nodes are left out: 'dev/zero'");
    is_who_it_was(&host);
    let root = host.paths().roots_dir().join("web");
    assert!(!root.join("srv/backup").exists() && !root.join("dev/zero").exists());
    assert!(fs::metadata(root.join("srv/gone")).is_ok_and(|gone| gone.rdev() == 0));
    let attribute = run("getfattr", &["-n", "user.colour"], &root.join("etc/passwd"));
    assert!(attribute.stdout.contains("green"), "{attribute}");
}

fn nothing_leads_out_of_the_directory(tree: Tree) {
    let host = Host::new();
    let root = unpacked(&host, tree, "elsewhere", 0);
    symlink(&root, host.prefix().join("old/rootfs")).expect("a link");
    let old = host.prefix().join("old");
    build(&host, "directory", &old).code(1).complains("holds no system");
    build(&host, "directory", &host.prefix().join("nowhere")).code(1).complains("cannot open");
    let mut into = host.command(["build", "web", "--method", "directory", "--root"]);
    into.arg(root.join("srv/web")).arg("--from").arg(&root);
    command::run(&mut into, DEADLINE).code(1).complains("itself");
    assert_eq!(fs::read_dir(root.join("srv")).expect("it is there").count(), 0);
    host.vserver(["build", "web", "--method", "directory", "--from", "/", "--shift", "1000"])
        .code(2)
        .complains("shifted by 0");
    host.vserver(["status", "web"]).code(5);
}

fn its_own_names_and_name_servers_stay(tree: Tree) {
    let resolver = "search corp.example\nnameserver 192.0.2.53\n";
    let host = Host::new();
    let root = unpacked(&host, tree, "", 0);
    let write = |path: &str, text: &str| fs::write(root.join(path), text).expect("it can be");
    write("etc/hosts", "127.0.0.1 localhost shop\n127.0.1.1 old\n192.0.2.9 db\n");
    write("etc/resolv.conf", resolver);
    let old = host.prefix().join("old");
    build(&host, "directory", &old).ok();
    let read = |path: &str| {
        let path = host.paths().roots_dir().join("web").join(path);
        fs::read_to_string(path).expect("it can be read")
    };
    assert_eq!(read("etc/resolv.conf"), resolver);
    let hosts = read("etc/hosts");
    for line in ["127.0.0.1\tlocalhost shop\n", "127.0.1.1\tweb old\n", "192.0.2.9 db\n"] {
        assert!(hosts.contains(line), "{line:?} is missing:\n{hosts}");
    }
}

fn what_is_mounted_inside_is_no_part_of_it(tree: Tree) {
    let host = Host::new();
    let srv = unpacked(&host, tree, "", 0).join("srv");
    run("mount", &["-t", "tmpfs", "tmpfs"], &srv);
    let built = build(&host, "directory", &host.prefix().join("old"));
    run("umount", &[], &srv);
    built.code(1).complains("is mounted on");
    host.vserver(["status", "web"]).code(5);
}

//! Devices that a running guest is given and that are taken from it.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use tests::{DEADLINE, Finished, Guest, Host, Tree, command};
use vserver::cgroup::GuestCgroup;
use vserver::sys::bpf::{self, Hook};

on! { Busybox: [
    a_running_guest_gets_a_device_and_loses_it,
    a_device_of_this_boot_goes_with_it,
    a_device_may_lie_in_a_directory,
    what_the_guest_has_put_there_is_not_followed,
    what_covers_dev_is_not_touched,
    what_is_taken_is_taken_whatever_stands_in_its_dev,
    what_covers_dev_keeps_no_device,
    several_can_filter_at_a_time,
    a_disk_is_for_a_guest_when_the_host_does_not_use_it,
    what_is_no_device_for_it_is_refused,
    a_reload_gives_it_what_its_file_says,
    a_reload_ends_what_a_killed_command_began,
    the_next_supervisor_and_the_next_boot_know_it,
] }

const MODES: [&str; 3] = ["private", "identity", "host"];

/// Opening it does nothing.
const CONTROL: &str = "/dev/loop-control";

fn device<'a>(guest: &Guest<'_>, words: impl IntoIterator<Item = &'a str>) -> Finished {
    let mut words: Vec<&str> = words.into_iter().collect();
    let name = guest.name().to_owned();
    words.insert(1, &name);
    guest.host().vserver(["device"].into_iter().chain(words))
}

/// Makes a node in a running guest's /dev, as only the host can.
fn make_node(guest: &Guest<'_>, name: &str, of: &str) {
    let node = fs::metadata(of).expect("the host has it");
    let numbers = (rustix::fs::major(node.rdev()), rustix::fs::minor(node.rdev()));
    let kind = if node.mode() & 0o170_000 == 0o060_000 { "b" } else { "c" };
    let path = format!("/proc/{}/root/dev/{name}", guest.init_pid());
    let mut mknod = Command::new("mknod");
    mknod.args(["-m", "0666", &path, kind, &numbers.0.to_string(), &numbers.1.to_string()]);
    command::run(&mut mknod, DEADLINE).ok();
}

fn configuration(guest: &Guest<'_>) -> String {
    guest.host().vserver(["config", "show", guest.name()]).ok().stdout
}

fn a_running_guest_gets_a_device_and_loses_it(tree: Tree) {
    for users in MODES {
        let host = Host::new();
        let guest = host.guest("web").tree(tree).set("security.users", users).build();
        guest.start();
        guest.shell(": </dev/loop-control").complains("no such file");
        device(&guest, ["add", CONTROL, "r"]).ok().says("");
        guest.shell(": </dev/loop-control").ok();
        guest.shell(": >>/dev/loop-control").complains("Operation not permitted");
        guest.exec(["stat", "-c", "%u:%g", CONTROL]).ok().says("0:0\n");
        // Other rights in place of these.
        device(&guest, ["add", CONTROL]).ok();
        guest.shell(": <>/dev/loop-control && rm /dev/loop-control").ok();
        // Its node again.
        device(&guest, ["add", CONTROL]).ok();
        guest.shell(": <>/dev/loop-control").ok();
        let list = device(&guest, ["list"]).ok();
        assert!(list.stdout.contains("/dev/loop-control  c 10:237  rw   rw"), "{list}");
        assert!(configuration(&guest).contains("allow = [\"/dev/loop-control rw\"]"));

        let sleep = "exec 3</dev/loop-control; sleep 100001 >/dev/null 2>&1 </dev/null &";
        guest.shell(&format!("{sleep} echo $! >/run/pid")).ok();
        device(&guest, ["remove", CONTROL]).ok();
        guest.exec(["test", "-e", CONTROL]).code(1);
        make_node(&guest, "again", CONTROL);
        guest.shell(": </dev/again").complains("Operation not permitted");
        // Whoever has it open keeps it.
        let open = guest.shell("readlink /proc/$(cat /run/pid)/fd/3").ok();
        assert!(open.stdout.starts_with(CONTROL), "users = {users}\n{open}");
        guest.shell(": </proc/$(cat /run/pid)/fd/3").complains("Operation not permitted");
        device(&guest, ["list"]).ok().says("");
        assert!(!configuration(&guest).contains("\nallow = [\"/dev"), "{}", configuration(&guest));
        device(&guest, ["remove", CONTROL]).code(1).complains("has no device");
        guest.stop();
    }
}

fn a_device_of_this_boot_goes_with_it(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    device(&guest, ["add", CONTROL, "--runtime"]).code(3).complains("'web' is not running");
    guest.start();
    let before = configuration(&guest);
    device(&guest, ["add", CONTROL, "--runtime"]).ok();
    assert_eq!(configuration(&guest), before);
    guest.shell(": </dev/loop-control").ok();
    guest.vserver("reload", [""; 0]).ok();
    guest.shell(": </dev/loop-control").ok();
    guest.vserver("reboot", [""; 0]).ok();
    guest.shell(": </dev/loop-control").complains("no such file");
    make_node(&guest, "again", CONTROL);
    guest.shell(": </dev/again").complains("Operation not permitted");

    device(&guest, ["add", CONTROL]).ok();
    let before = configuration(&guest);
    device(&guest, ["remove", CONTROL, "--runtime"]).ok();
    assert_eq!(configuration(&guest), before);
    guest.shell(": </dev/loop-control").complains("no such file");
    guest.vserver("reload", [""; 0]).ok();
    guest.shell(": </dev/loop-control").complains("no such file");
    make_node(&guest, "reloaded", CONTROL);
    guest.shell(": </dev/reloaded").complains("Operation not permitted");
    guest.vserver("reboot", [""; 0]).ok();
    guest.shell(": </dev/loop-control").ok();
    // Given again, it is one of its file once more.
    device(&guest, ["remove", CONTROL, "--runtime"]).ok();
    device(&guest, ["add", CONTROL]).ok();
    guest.vserver("reload", [""; 0]).ok();
    guest.shell(": </dev/loop-control").ok();
    guest.stop();
}

fn a_device_may_lie_in_a_directory(tree: Tree) {
    for users in MODES {
        let host = Host::new();
        let guest = host.guest("web").tree(tree).set("security.users", users).build();
        guest.start();
        device(&guest, ["add", "/dev/net/tun"]).ok();
        let mode = fs::metadata("/dev/net/tun").expect("this host has it").mode() & 0o777;
        let expected = format!("{mode:o} 0:0\n755 0:0\n");
        guest.exec(["stat", "-c", "%a %u:%g", "/dev/net/tun", "/dev/net"]).ok().says(&expected);
        guest.shell(": <>/dev/net/tun").ok();
        device(&guest, ["remove", "/dev/net/tun"]).ok();
        guest.exec(["test", "-e", "/dev/net"]).code(1);
        guest.stop();
    }
}

fn what_the_guest_has_put_there_is_not_followed(tree: Tree) {
    let host = Host::new();
    let aside = host.prefix().join("aside");
    fs::create_dir(&aside).expect("a directory can be made");
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let before = configuration(&guest);
    let way = aside.display();
    for trap in [
        // Where the host would end, if it followed by names.
        format!("ln -s {way} /dev/net"),
        "mkdir -p /srv/net && ln -s ../srv/net /dev/net".to_owned(),
        "touch /dev/net".to_owned(),
        format!("mkdir /dev/net && ln -s {way}/tun /dev/net/tun"),
        "mkdir /dev/net && touch /dev/net/tun".to_owned(),
        "mkdir -p /dev/net/tun".to_owned(),
        "mkdir /dev/net && ln /dev/zero /dev/net/tun".to_owned(),
    ] {
        guest.shell(&trap).ok();
        let add = device(&guest, ["add", "/dev/net/tun"]).code(1);
        add.complains("File exists").complains("has something else of that name");
        assert_eq!(configuration(&guest), before, "{trap}");
        assert_eq!(fs::read_dir(&aside).expect("it is there").count(), 0, "{trap}");
        assert!(!guest.root().join("srv/net/tun").exists(), "{trap}");
        make_node(&guest, "again", "/dev/net/tun");
        guest.shell(": </dev/again").complains("Operation not permitted");
        guest.shell("rm -rf /dev/net /dev/again /srv/net").ok();
    }
    // What it puts there later stays, and is no device.
    device(&guest, ["add", "/dev/net/tun"]).ok();
    guest.shell("mv /dev/net/tun /dev/tun && echo mine >/dev/net/tun").ok();
    let remove = device(&guest, ["remove", "/dev/net/tun"]).ok();
    assert!(remove.stderr.contains("'/dev/net/tun' of guest 'web' was not removed"), "{remove}");
    guest.exec(["cat", "/dev/net/tun"]).ok().says("mine\n");
    guest.shell(": </dev/tun").complains("Operation not permitted");
    guest.stop();
}

/// Mounts an empty directory over the guest's /dev.
fn cover_dev(guest: &Guest<'_>) {
    let pid = guest.init_pid().to_string();
    let mut cover = Command::new("nsenter");
    cover.args(["-t", &pid, "-m", "-r", "/bin/busybox", "mount", "-t", "tmpfs", "none", "/dev"]);
    command::run(&mut cover, DEADLINE).ok();
}

fn what_covers_dev_is_not_touched(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    cover_dev(&guest);
    let add = device(&guest, ["add", CONTROL]).code(1);
    add.complains("in the place of its /dev");
    guest.exec(["ls", "/dev"]).ok().says("");
    guest.stop();
}

/// Whatever a guest does to its /dev, it loses what is taken.
fn what_is_taken_is_taken_whatever_stands_in_its_dev(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let aside = "mv /dev/loop-control /dev/aside && touch /dev/loop-control";
    // Fewer rights.
    device(&guest, ["add", CONTROL]).ok();
    guest.shell(aside).ok();
    let add = device(&guest, ["add", CONTROL, "r"]).ok();
    assert!(add.stderr.contains("was not made again"), "{add}");
    guest.shell(": </dev/aside").ok();
    guest.shell(": <>/dev/aside").complains("Operation not permitted");
    assert!(configuration(&guest).contains("allow = [\"/dev/loop-control r\"]"));
    // Fewer and other ones: only those that it was to get are an error.
    guest.shell("mv /dev/aside /dev/loop-control").ok();
    device(&guest, ["add", CONTROL, "rw"]).ok();
    guest.shell(aside).ok();
    let add = device(&guest, ["add", CONTROL, "rm"]).code(1);
    add.complains("File exists").complains("what it was to lose is taken");
    guest.shell(": </dev/aside").ok();
    guest.shell(": <>/dev/aside").complains("Operation not permitted");
    let list = device(&guest, ["list"]).ok();
    assert!(list.stdout.contains("/dev/loop-control  c 10:237  r    rw"), "{list}");
    // One together with another that it can't get.
    guest.shell("touch /dev/net").ok();
    host.vserver(["config", "set", "web", "devices.allow", "/dev/net/tun"]).ok();
    guest.vserver("reload", [""; 0]).code(1).complains("File exists");
    guest.shell(": </dev/aside").complains("Operation not permitted");
    let list = device(&guest, ["list"]).ok();
    assert!(!list.stdout.contains("loop-control"), "{list}");
    assert!(list.stdout.contains("/dev/net/tun  -        -    rw"), "{list}");
    // And one that the host lacks.
    guest.shell("rm /dev/net /dev/loop-control /dev/aside").ok();
    guest.vserver("reload", [""; 0]).ok();
    guest.shell(": <>/dev/net/tun").ok();
    let absent = "/dev/no-such-device";
    host.vserver(["config", "set", "web", "devices.allow", absent]).ok();
    make_node(&guest, "aside", "/dev/net/tun");
    guest.shell(": <>/dev/aside").ok();
    guest.vserver("reload", [""; 0]).code(1).complains("No such file");
    guest.shell(": <>/dev/aside").complains("Operation not permitted");
    guest.stop();
}

fn what_covers_dev_keeps_no_device(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    device(&guest, ["add", CONTROL]).ok();
    cover_dev(&guest);
    make_node(&guest, "aside", CONTROL);
    guest.shell(": <>/dev/aside").ok();
    device(&guest, ["add", CONTROL, "r"]).ok();
    guest.shell(": <>/dev/aside").complains("Operation not permitted");
    guest.shell(": </dev/aside").ok();
    let remove = device(&guest, ["remove", CONTROL]).ok();
    assert!(remove.stderr.contains("was not removed"), "{remove}");
    guest.shell(": </dev/aside").complains("Operation not permitted");
    device(&guest, ["list"]).ok().says("");
    guest.stop();
}

/// A command and the guest's supervisor may change its filter at a time.
fn several_can_filter_at_a_time(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let name = guest.name().parse().expect("a name");
    let cgroup = || GuestCgroup::new(host.paths(), &name).expect("its cgroup");
    let rules = vserver::plan::devices::rules(&[]);
    thread::scope(|scope| {
        let change = || (0..200).try_for_each(|_| cgroup().filter_devices(&rules));
        let all: Vec<_> = (0..3).map(|_| scope.spawn(change)).collect();
        for one in all {
            one.join().expect("no panic").expect("the filter can be changed");
        }
    });
    let directory = fs::File::open(cgroup().outer()).expect("its cgroup is there");
    let there = bpf::attached(directory.as_fd(), Hook::Device).expect("it can be asked");
    assert_eq!(there.len(), 1);
    guest.stop();
}

/// A loop device on a file with a file system, and what is mounted of it.
struct Disk {
    node: String,
    directory: PathBuf,
}

impl Disk {
    fn new(host: &Host) -> Self {
        let file = host.prefix().join("disk");
        let of = |program: &str, words: &[&str]| {
            let mut command = Command::new(program);
            command.args(words);
            command::run(&mut command, DEADLINE).ok()
        };
        fs::File::create(&file).and_then(|file| file.set_len(4 << 20)).expect("a file");
        let name = file.to_string_lossy().into_owned();
        of("mkfs.ext4", &["-q", &name]);
        let node = of("losetup", &["-f", "--show", &name]).trimmed().to_owned();
        let directory = host.prefix().join("mounted");
        let disk = Self { node, directory };
        fs::create_dir(&disk.directory).expect("a directory can be made");
        of("mount", &[&disk.node, &disk.directory.to_string_lossy()]);
        disk
    }

    fn unmount(&self) {
        let mut umount = Command::new("umount");
        umount.arg(&self.directory);
        command::run(&mut umount, DEADLINE).ok();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.directory).output();
        let _ = Command::new("losetup").args(["-d", &self.node]).output();
    }
}

fn a_disk_is_for_a_guest_when_the_host_does_not_use_it(tree: Tree) {
    let host = Host::new();
    let disk = Disk::new(&host);
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let before = configuration(&guest);
    device(&guest, ["add", &disk.node]).code(1).complains("the host uses it");
    assert_eq!(configuration(&guest), before);
    guest.exec(["test", "-e", &disk.node]).code(1);
    disk.unmount();
    device(&guest, ["add", &disk.node, "r"]).ok();
    let magic =
        format!("dd if={} bs=1 skip=1080 count=2 2>/dev/null | hexdump -e '/1 \"%x\"'", disk.node);
    guest.shell(&magic).ok().says("53ef");
    guest.shell(&format!(": >>{}", disk.node)).complains("Operation not permitted");
    device(&guest, ["remove", &disk.node]).ok();
    make_node(&guest, "again", &disk.node);
    guest.shell(": </dev/again").complains("Operation not permitted");
    guest.stop();
}

fn what_is_no_device_for_it_is_refused(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let before = configuration(&guest);
    for (path, code, why) in [
        ("/dev/null", 1, "every guest has it"),
        ("/dev/no-such-device", 1, "No such file or directory"),
        ("/dev/net", 1, "is no device"),
        ("/dev/pts/0", 2, "guests don't have of their own"),
        ("/dev/../etc/passwd", 2, "without '..'"),
        ("/etc/passwd", 2, "below /dev"),
    ] {
        device(&guest, ["add", path]).code(code).complains(why);
        assert_eq!(configuration(&guest), before, "{path}");
    }
    device(&guest, ["add", CONTROL, "x"]).code(2).complains("letters r, w and m");
    device(&guest, ["list"]).ok().says("");
    guest.stop();
    // Its file only.
    device(&guest, ["add", CONTROL]).ok();
    let list = device(&guest, ["list"]).ok();
    assert!(list.stdout.contains("/dev/loop-control  -        -    rw"), "{list}");
    device(&guest, ["remove", CONTROL]).ok();
    device(&guest, ["remove", CONTROL]).code(1).complains("has no device");
    device(&guest, ["add", "/dev/no-such-device"]).ok();
    device(&guest, ["remove", "/dev/no-such-device"]).ok();
}

fn a_reload_gives_it_what_its_file_says(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let set = host.vserver(["config", "set", "web", "devices.allow", "/dev/loop-control r"]).ok();
    assert!(set.stderr.contains("vserver reload web"), "{set}");
    guest.shell(": </dev/loop-control").complains("no such file");
    guest.vserver("reload", [""; 0]).ok();
    guest.shell(": </dev/loop-control").ok();
    host.vserver(["config", "set", "web", "devices.allow", "[]"]).ok();
    guest.vserver("reload", [""; 0]).ok();
    guest.exec(["test", "-e", CONTROL]).code(1);
    guest.stop();
}

fn a_reload_ends_what_a_killed_command_began(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    device(&guest, ["add", CONTROL]).ok();
    // As it is between its note and the node.
    let note = host.prefix().join("run/vserver/web/devices-1.json");
    let text = fs::read_to_string(&note).expect("it is there");
    let begun = text.replace("\"is_under_way\":false", "\"is_under_way\":true");
    assert_ne!(begun, text);
    fs::write(&note, begun).expect("it can be written");
    guest.shell("rm /dev/loop-control").ok();
    guest.vserver("reload", [""; 0]).ok();
    guest.shell(": <>/dev/loop-control").ok();
    assert_eq!(fs::read_to_string(&note).expect("it is there"), text);
    guest.stop();
}

fn the_next_supervisor_and_the_next_boot_know_it(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    device(&guest, ["add", CONTROL, "r"]).ok();
    guest.kill_supervisor();
    device(&guest, ["add", "/dev/net/tun"]).ok();
    guest.shell(": </dev/loop-control; : <>/dev/net/tun").ok();
    let old = guest.init_pid();
    guest.exec(["reboot"]);
    guest.wait_for_reboot(old);
    guest.shell(": </dev/loop-control; : <>/dev/net/tun").ok();
    guest.stop();
    assert!(!host.prefix().join("run/vserver/web").exists());
}

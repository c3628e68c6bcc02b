//! What a guest's root is handed as files (systemd.io/CREDENTIALS).

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;

use tests::{Census, Guest, Host, Tree};

on! { Systemd, SystemdTrixie: [systemd_and_its_services_have_them_in_every_mode] }
on! { SystemdTrixie: [systemd_sets_up_a_system_by_them, a_first_boot_takes_its_answers_from_them] }
on! { Busybox: [
    its_root_alone_reads_them,
    a_command_is_told_where_they_are,
    a_file_that_is_not_roots_alone_stops_the_start,
    what_is_wrong_changes_nothing,
] }

/// A file beside the configuration, for root alone.
fn secret(host: &Host, name: &str, content: &[u8]) -> PathBuf {
    let file = host.paths().config_dir().join(name);
    fs::write(&file, content).expect("the directory is there");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("it is there");
    file
}

fn set(guest: &Guest<'_>, name: &str, value: &str) {
    let key = format!("boot.credentials.{name}");
    guest.host().vserver(["config", "set", guest.name(), &key, value]).ok();
}

fn set_file(guest: &Guest<'_>, name: &str, content: &[u8]) -> PathBuf {
    let file = secret(guest.host(), name, content);
    set(guest, name, &format!("{{ file = \"{}\" }}", file.display()));
    file
}

const LOADS: &str = "[Service]\nType=oneshot\nLoadCredential=app.token\n\
    ExecStart=/bin/sh -c 'cat $CREDENTIALS_DIRECTORY/app.token > /run/seen'\n";

fn systemd_and_its_services_have_them_in_every_mode(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    set(&guest, "app.word", "a word");
    set_file(&guest, "app.token", b"s3cret");
    guest.write("/etc/systemd/system/app.service", LOADS, 0o644);
    for users in ["private", "identity", "host"] {
        host.vserver(["config", "set", guest.name(), "security.users", users]).ok();
        guest.start();
        guest.exec(["systemd-creds", "--system", "cat", "app.token"]).ok().says("s3cret");
        guest.exec(["systemd-creds", "--system", "cat", "app.word"]).ok().says("a word");
        guest.exec(["systemctl", "start", "app"]).ok();
        guest.exec(["cat", "/run/seen"]).ok().says("s3cret");
        guest.shell("systemctl is-system-running").ok().says("running\n");
        guest.stop();
    }
}

/// By systemd-sysusers(8), systemd-tmpfiles(8) and `ImportCredential=`.
fn systemd_sets_up_a_system_by_them(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    set(&guest, "tmpfiles.extra", "f /etc/extra 0644 root root - made");
    set_file(&guest, "app.token", b"s3cret");
    let imports = LOADS.replace("LoadCredential=app.token", "ImportCredential=app.*");
    guest.write("/etc/systemd/system/app.service", &imports, 0o644);
    guest.start();
    assert_eq!(guest.read("/etc/extra"), "made");
    guest.exec(["systemctl", "start", "app"]).ok();
    guest.exec(["cat", "/run/seen"]).ok().says("s3cret");
    // Read anew at each boot.
    set_file(&guest, "app.token", b"another");
    guest.vserver("reboot", [""; 0]).ok();
    guest.exec(["systemctl", "start", "app"]).ok();
    guest.exec(["cat", "/run/seen"]).ok().says("another");
    guest.stop();
}

/// As images are delivered: without an identity, and root's password left open
/// (systemd-firstboot(1)).
fn a_first_boot_takes_its_answers_from_them(tree: Tree) {
    const HASH: &str = "$6$salt$notahashthatanypasswordhas";
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.shell("sed -i 's/^root:[^:]*:/root:!unprovisioned:/' /etc/shadow").ok();
    guest.shell("rm -f /etc/localtime /etc/locale.conf /etc/default/locale").ok();
    guest.write("/etc/machine-id", "uninitialized\n", 0o444);
    set_file(&guest, "passwd.hashed-password.root", HASH.as_bytes());
    for (name, answer) in [("timezone", "Europe/Vienna"), ("locale", "C.UTF-8"), ("keymap", "us")] {
        set(&guest, &format!("firstboot.{name}"), answer);
    }
    guest.start();
    let shadow = guest.read("/etc/shadow");
    assert!(shadow.contains(&format!("\nroot:{HASH}:")), "{shadow}");
    guest.exec(["readlink", "/etc/localtime"]).ok().says("../usr/share/zoneinfo/Europe/Vienna\n");
    guest.shell("systemctl is-system-running").ok().says("running\n");
    guest.stop();
}

fn its_root_alone_reads_them(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let binary: Vec<u8> = (0..=255).collect();
    set(&guest, "a word", "text");
    set_file(&guest, "binary", &binary);
    for users in ["private", "identity", "host"] {
        host.vserver(["config", "set", guest.name(), "security.users", users]).ok();
        guest.start();
        let shown = guest.shell("cd /run/host/credentials && stat -c '%a %u %g %n' . *").ok();
        shown.says("500 0 0 .\n400 0 0 a word\n400 0 0 binary\n");
        let mounted = guest.shell("grep /run/host/credentials /proc/mounts").ok().stdout;
        assert!(mounted.starts_with("ramfs /run/host/credentials ramfs ro,"), "{mounted}");
        for option in ["nosuid", "nodev", "noexec"] {
            assert!(mounted.contains(option), "{mounted}");
        }
        let bytes = guest.shell("od -An -v -tu1 /run/host/credentials/binary").ok().stdout;
        assert!(bytes.split_whitespace().map(|byte| byte.parse::<u8>().unwrap()).eq(0..=255));
        assert_ne!(guest.shell("echo > /run/host/credentials/new").code, 0);
        assert_ne!(guest.shell("rm -f /run/host/credentials/binary").code, 0);
        assert_ne!(guest.shell("mount -o remount,rw /run/host/credentials").code, 0);
        let nobody = ["suexec", "nobody", guest.name(), "--", "ls", "/run/host/credentials"];
        assert_ne!(host.vserver(nobody).code, 0);
        guest.stop();
    }
    // Who comes to look finds a guest without.
    guest.shell("[ ! -e /run/host/credentials ]").ok();
}

fn a_command_is_told_where_they_are(tree: Tree) {
    let host = Host::new();
    let command = r#"["/bin/sh", "-c", "cat $CREDENTIALS_DIRECTORY/word > /seen"]"#;
    let guest = host.guest("web").tree(tree).set("boot.command", command).build();
    set_file(&guest, "word", b"text");
    guest.vserver("start", [""; 0]).ok();
    guest.wait_until_stopped();
    assert_eq!(guest.read("/seen"), "text");
}

fn a_file_that_is_not_roots_alone_stops_the_start(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let file = set_file(&guest, "token", b"s3cret");
    let before = Census::after_a_boot(&guest);
    let refused = |why: &str, hint: &str| {
        let start = guest.vserver("start", [""; 0]).code(1);
        let start = start.complains("cannot start guest 'web': reading its credential 'token'");
        start.complains(&file.display().to_string()).complains(why).complains(hint);
        before.assert_unchanged(&host);
    };
    let mode = |mode| fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
    mode(0o622);
    refused("Operation not permitted", "nobody else may write");
    mode(0o600);
    chown(&file, Some(1), None).unwrap();
    refused("Operation not permitted", "nobody else may write");
    chown(&file, Some(0), None).unwrap();
    let directory = host.paths().config_dir();
    let closed = fs::metadata(&directory).unwrap().permissions();
    fs::set_permissions(&directory, Permissions::from_mode(0o1777)).unwrap();
    refused("Operation not permitted", "all directories above it");
    fs::set_permissions(&directory, closed).unwrap();
    fs::write(&file, vec![b'x'; 1 << 20]).unwrap();
    refused("File too large", "longer than 1 MiB");
    fs::remove_file(&file).unwrap();
    refused("No such file or directory", "isn't there");
    symlink("/etc/hostname", &file).unwrap();
    refused("Too many levels of symbolic links", "realpath");
    fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRUSR).unwrap();
    refused("No such device", "no ordinary file");
    fs::remove_file(&file).unwrap();
    secret(&host, "token", &vec![b'x'; (1 << 20) - "token".len()]);
    guest.start();
    guest.shell("wc -c < /run/host/credentials/token").ok().says("1048571\n");
    guest.stop();
}

fn what_is_wrong_changes_nothing(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let text = || fs::read_to_string(host.paths().config(&"web".parse().unwrap())).unwrap();
    let before = text();
    for (key, value, why) in [
        ("boot.credentials.a:b", "x", "can't be a credential's name"),
        ("boot.credentials.a", "{ file = \"x\" }", "an absolute path"),
        ("boot.credentials.passwd.plaintext-password.root", "x", "every user of the host may read"),
    ] {
        let end = host.vserver(["config", "set", guest.name(), key, value]);
        assert_ne!(end.code, 0, "{key}");
        end.complains(why);
        assert_eq!(text(), before);
    }
}

//! The Debian package on the machine's real paths: from its installation to its
//! purge, with a guest that it must not harm. The judges are dpkg and systemd.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use tests::{DEADLINE, Finished, Tree, command, process};
use vserver::journal::Kind;

use crate::turn::{self, Turn};

const PROGRAM: &str = "/usr/sbin/vserver";
const INIT_SCRIPT: &str = "/etc/init.d/vservers";

/// What is the guest's, and nobody else's to remove. No other test's guest has
/// its name, which the journal keeps.
const OF_THE_GUEST: &[&str] =
    &["/etc/vservers/shop.toml", "/var/lib/vservers/shop/etc/kept", "/var/lib/vservers/shop/bin"];

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn comes_and_goes_and_never_harms_a_guest() {
    let machine = Machine::new();
    machine.dpkg("--install", &machine.package());
    everything_is_in_its_place();
    let archive = Tree::Busybox.archive().display().to_string();
    vserver(&["build", "shop", "--quiet", "--method", "template", "--from", &archive]).ok();
    fs::write("/var/lib/vservers/shop/etc/kept", "by the guest").expect("it can be written");
    vserver(&["enable", "--now", "shop"]).ok();
    systemctl(&["is-enabled", "vserver@shop"]).ok().says("enabled\n");

    let before = Boot::now();
    machine.dpkg("--install", &machine.upgrade());
    run("dpkg-query", &["--show", "-f", "${Version}", "vserver"]).ok().says("9.9.9");
    assert_eq!(Boot::now(), before, "the guest runs on, in the same processes");
    let inode = |path: &str| fs::metadata(path).expect("it is there").ino();
    assert_eq!(inode(&format!("/proc/{}/exe", before.supervisor)), inode(PROGRAM));
    vserver(&["exec", "shop", "--", "true"]).ok();

    // What the administrator has stopped stays so, whatever is installed.
    run(INIT_SCRIPT, &["status"]).ok();
    run(INIT_SCRIPT, &["force-reload"]).ok();
    assert_eq!(Boot::now().init, before.init, "it is reloaded");
    run(INIT_SCRIPT, &["stop"]).ok();
    assert!(!process::is_alive(before.init));
    machine.dpkg("--install", &machine.upgrade());
    run(INIT_SCRIPT, &["status"]).code(3);
    run(INIT_SCRIPT, &["start"]).ok();

    // It is shut down, not killed.
    let before = Boot::now();
    let removed = machine.dpkg("--remove", "vserver");
    assert!(removed.stdout.contains("shutting down: shop"), "{removed}");
    assert!(!process::is_alive(before.init) && !process::is_alive(before.supervisor));
    let log = run("journalctl", &["-b", "-o", "cat", "SYSLOG_IDENTIFIER=vserver-shop/console"]);
    assert!(log.stdout.matches("rcK: shutdown scripts run").count() == 2, "{log}");
    assert!(!Path::new(PROGRAM).exists());

    let purged = machine.dpkg("--purge", "vserver");
    for left in ["configuration is left in /etc/vservers", "guests are left in /var/lib/vservers"] {
        assert!(purged.stdout.contains(left), "{purged}");
    }
    for path in OF_THE_GUEST {
        assert!(Path::new(path).exists(), "{path} is gone");
    }
    for path in ["/var/log/vserver", "/var/lib/vserver", "/run/vserver", INIT_SCRIPT] {
        assert!(!Path::new(path).exists(), "{path} is left");
    }
    let enabled = "/etc/systemd/system/vservers.target.wants/vserver@shop.service";
    assert!(fs::symlink_metadata(enabled).is_err(), "{enabled} is left");
    let left = systemctl(&["list-unit-files", "--no-legend", "vserver*"]);
    assert!(!left.stdout.contains("vserver@.service"), "{left}");
}

fn everything_is_in_its_place() {
    let fragment = systemctl(&["show", "-P", "FragmentPath", "vserver@shop"]).ok();
    assert!(fragment.stdout.ends_with("lib/systemd/system/vserver@.service\n"), "{fragment}");
    let started = systemctl(&["show", "-P", "ExecStart", "vserver@shop"]).ok();
    assert!(started.stdout.contains("path=/usr/sbin/vserver "), "{started}");
    systemctl(&["is-enabled", "vservers.target"]).ok().says("enabled\n");
    // The init script is for hosts without systemd; here it would start guests once more.
    systemctl(&["show", "-P", "LoadState", "vservers.service"]).ok().says("masked\n");

    let capabilities = run("getcap", &["/usr/sbin/reducecap"]).ok();
    assert!(capabilities.stdout.ends_with(" cap_setpcap=ep\n"), "{capabilities}");
    let version = run("/usr/bin/reducecap", &["--version"]).ok();
    assert!(version.stdout.starts_with("reducecap "), "{version}");
    let list = run("journalctl", &["--list-catalog"]).ok();
    assert!(list.stdout.contains(Kind::Crashed.entry().id), "{list}");
    for directory in ["/run/vserver", "/var/lib/vserver", "/var/log/vserver"] {
        assert!(Path::new(directory).is_dir(), "{directory}");
    }
    assert!(Path::new("/etc/vservers/defaults.toml").is_file());
    vserver(&["config", "check"]).ok();
    let verified = run("dpkg", &["--verify", "vserver"]).ok();
    // Manual pages and documents aren't unpacked on this machine.
    let changed = verified.stdout.lines().filter(|line| !line.contains("missing"));
    assert_eq!(changed.collect::<Vec<_>>(), [""; 0], "{verified}");
}

/// One boot of the guest, as a unit.
#[derive(Debug, PartialEq, Eq)]
struct Boot {
    init: i32,
    supervisor: i32,
    invocation: String,
}

impl Boot {
    #[track_caller]
    fn now() -> Self {
        systemctl(&["is-active", "vserver@shop"]).ok();
        let status = vserver(&["status", "shop", "--json"]).ok();
        let status: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON");
        let pid = |who: &str| {
            let pid = status[who].as_i64().unwrap_or_else(|| panic!("no {who}: {status}"));
            i32::try_from(pid).expect("it is a pid")
        };
        let show = |property: &str| {
            systemctl(&["show", "-P", property, "vserver@shop"]).ok().trimmed().to_owned()
        };
        let supervisor = pid("supervisor_pid");
        assert_eq!(show("MainPID"), supervisor.to_string());
        Self { init: pid("init_pid"), supervisor, invocation: show("InvocationID") }
    }
}

/// The machine without vserver, and without it again at the end.
struct Machine {
    _turn: Turn,
}

impl Machine {
    fn new() -> Self {
        Self { _turn: turn::bare() }
    }

    /// The package, and the same with a higher version.
    fn package(&self) -> String {
        let entries = fs::read_dir("/payload/package").expect("the payload has packages");
        let paths = entries.flatten().map(|entry| entry.path());
        let is_it = |path: &PathBuf| path.to_string_lossy().ends_with("_amd64.deb");
        paths.into_iter().find(is_it).expect("there is one").display().to_string()
    }

    fn upgrade(&self) -> String {
        "/payload/package/vserver-9.9.9.deb".to_owned()
    }

    #[track_caller]
    fn dpkg(&self, action: &str, what: &str) -> Finished {
        run("dpkg", &["--force-unsafe-io", action, what]).ok()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", run("journalctl", &["-b", "-n", "60", "-u", "vserver@shop"]));
        }
        run("dpkg", &["--purge", "vserver"]);
        for path in ["/etc/vservers", "/var/lib/vservers/shop"] {
            let _ = fs::remove_dir_all(path);
        }
        let _ = fs::remove_file("/etc/systemd/system/vservers.target.wants/vserver@shop.service");
    }
}

#[track_caller]
fn vserver(words: &[&str]) -> Finished {
    run(PROGRAM, words)
}

#[track_caller]
fn systemctl(words: &[&str]) -> Finished {
    run("systemctl", words)
}

#[track_caller]
fn run(program: &str, words: &[&str]) -> Finished {
    command::run(Command::new(program).args(words), DEADLINE + Duration::from_secs(120))
}

//! The script that Debian's package leaves for its purge, below a directory
//! (`DPKG_ROOT`, dpkg(1)).

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use tests::{DEADLINE, Finished, Host, command, executable};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../debian/vserver.postrm");

/// What is the package's own to remove.
const OWN: [&str; 3] = ["run/vserver", "var/lib/vserver", "var/log/vserver"];

/// A host below a directory, with programs of its own: no script of systemd's is found.
struct Below(Host);

impl Below {
    fn new() -> Self {
        let host = Host::without_root();
        let root = host.prefix();
        for directory in OWN.iter().chain(&["bin", "etc/vservers", "var/lib/vservers/web"]) {
            fs::create_dir_all(root.join(directory).join("in/it")).expect("it can be made");
        }
        for program in ["find", "grep", "rm", "rmdir"] {
            let at = ["/usr/bin", "/bin"].map(|bin| Path::new(bin).join(program));
            let at = at.into_iter().find(|at| at.exists()).expect("every host has it");
            symlink(at, root.join("bin").join(program)).expect("it can be linked");
        }
        Self(host)
    }

    fn purge(&self) -> Finished {
        let root = self.0.prefix();
        let mut script = Command::new("/bin/sh");
        script.args([SCRIPT, "purge"]).env("DPKG_ROOT", root).env("PATH", root.join("bin"));
        command::run(&mut script, DEADLINE).ok()
    }

    fn left(&self) -> Vec<&'static str> {
        OWN.into_iter().filter(|path| self.0.prefix().join(path).join("in/it").exists()).collect()
    }
}

#[test]
fn all_but_guests_goes() {
    let below = Below::new();
    let root = below.0.prefix();
    // Kept elsewhere, by the administrator.
    let log = root.join("var/log/vserver");
    fs::remove_dir_all(&log).expect("it can be removed");
    symlink(root.join("bin"), &log).expect("it can be linked");
    let said = below.purge();
    assert!(said.stdout.contains("guests are left in /var/lib/vservers"), "{said}");
    for path in OWN {
        assert!(root.join(path).symlink_metadata().is_err(), "{path} is left");
    }
    assert!(root.join("var/lib/vservers/web").exists() && root.join("bin/find").exists());
    // Nothing is left to be removed.
    below.purge();
}

/// In namespaces of its own, where whoever this is may mount.
#[test]
fn a_file_system_of_its_own_is_emptied() {
    let below = Below::new();
    let log = below.0.prefix().join("var/log/vserver");
    let script =
        "mount -t tmpfs none \"$2\" && mkdir -p \"$2/in/it\" && DPKG_ROOT=$3 sh \"$1\" purge &&
        find \"$2\" -mindepth 1";
    let mut purge = Command::new("unshare");
    purge.args(["--user", "--map-root-user", "--mount", "/bin/sh", "-c", script, "sh", SCRIPT]);
    let purged = command::run(purge.arg(&log).arg(below.0.prefix()), DEADLINE).ok();
    assert!(purged.stdout.contains(&format!("vserver: {} is left\n", log.display())), "{purged}");
    assert!(!purged.stdout.contains("/in"), "{purged}");
    assert_eq!(below.left(), ["var/log/vserver"], "what lies below it");
}

/// What runs under a program that came otherwise needs it.
#[test]
fn nothing_goes_from_under_guests() {
    let below = Below::new();
    let root = below.0.prefix();
    fs::create_dir_all(root.join("run/vserver/web")).expect("it can be made");
    // As `runtime::listen` makes it.
    let early = root.join("run/vserver/web/keeper.new");
    let listener = UnixListener::bind(&early).expect("it can be bound");
    fs::rename(&early, early.with_extension("")).expect("it can be renamed");
    let said = below.purge();
    assert!(
        said.stdout.contains("nothing is purged, since it is still in use: guests run"),
        "{said}"
    );
    assert_eq!(below.left(), OWN);
    // One that nobody listens on is left over.
    drop(listener);
    below.purge();
    assert_eq!(below.left(), [""; 0]);
}

#[test]
fn nothing_goes_from_under_another_program() {
    let below = Below::new();
    let program = below.0.prefix().join("usr/local/sbin/vserver");
    fs::create_dir_all(program.parent().expect("it has one")).expect("it can be made");
    executable::write(&program, "#!/bin/sh\n", 0o755);
    let said = below.purge();
    assert!(said.stdout.contains(&format!("in use: {}", program.display())), "{said}");
    assert_eq!(below.left(), OWN);
}

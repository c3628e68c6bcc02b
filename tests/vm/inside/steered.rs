//! Guests that only systemd's own commands have to do with: what starts them, what
//! they stand on, how they end and how they are held.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use tests::{DEADLINE, Tree, eventually, process};

use vserver::runtime::{Lock, RunDir};

use crate::units::{Machine, run, systemctl, vserver};

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn what_systemctl_enables_is_started_with_the_others() {
    let machine = Machine::new();
    let [web, db] = ["web", "db"].map(|name| machine.guest(name, Tree::Busybox));
    systemctl(&["enable", "--quiet", &web.unit()]).ok();
    // Two views of one thing.
    vserver(&["enable", "db"]).ok();
    systemctl(&["disable", "--quiet", &db.unit()]).ok();
    systemctl(&["start", "vservers.target"]).ok();
    assert_eq!([web.show("ActiveState"), db.show("ActiveState")], ["active", "inactive"]);
    vserver(&["stop", "web"]).ok();
    vserver(&["start", "--enabled"]).ok();
    assert_eq!([web.show("ActiveState"), db.show("ActiveState")], ["active", "inactive"]);
    systemctl(&["stop", "vservers.target"]).ok();
    web.ends();

    // Those with a mark have a target of their own, which nothing has to enable.
    vserver(&["disable", "web"]).ok();
    assert_ne!(systemctl(&["is-enabled", &web.unit()]).code, 0);
    vserver(&["config", "set", "db", "marks", "customers"]).ok();
    systemctl(&["start", "vservers.target", "vservers@customers.target"]).ok();
    assert_eq!([web.show("ActiveState"), db.show("ActiveState")], ["inactive", "active"]);
    vserver(&["start", "web"]).ok();
    systemctl(&["stop", "vservers@customers.target"]).ok();
    db.ends();
    assert_eq!([web.show("ActiveState"), db.show("Result")], ["active", "success"]);
    systemctl(&["stop", "vserver@*", "vservers.target"]).ok();
    assert_eq!(web.show("ActiveState"), "inactive", "it was waited for");

    // An administrator may want none to be started with the host.
    systemctl(&["disable", "--quiet", "vservers.target"]).ok();
    systemctl(&["is-enabled", "vservers.target"]).code(1).says("disabled\n");
    vserver(&["enable", "web"]).ok().complains("systemctl enable vservers.target");
    let wanted = systemctl(&["list-dependencies", "--plain", "multi-user.target"]).ok();
    assert!(!wanted.stdout.contains("vservers.target"), "{wanted}");
    systemctl(&["enable", "--quiet", "vservers.target"]).ok();
    assert_eq!(vserver(&["disable", "web"]).ok().stderr, "");
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn mistakes_of_one_guest_keep_no_other_from_starting() {
    let machine = Machine::new();
    let guests = ["web", "db", "mail"].map(|name| machine.guest(name, Tree::Busybox));
    // Two of them wait for each other, and one says nothing that can be read.
    vserver(&["config", "set", "web", "after", "db"]).ok();
    vserver(&["config", "set", "db", "after", "web"]).ok();
    vserver(&["config", "set", "mail", "after", "db"]).ok();
    vserver(&["config", "set", "mail", "autostart", "true"]).ok();
    vserver(&["enable", "web", "db"]).ok();
    let file = "/etc/vservers/mail.toml";
    let usual = fs::read_to_string(file).expect("it is there");
    fs::write(file, format!("{usual}\n[boot")).expect("it can be written");
    systemctl(&["daemon-reload"]).ok();
    systemctl(&["start", "vservers.target"]);
    let [web, db, mail] = &guests;
    assert_eq!([web.show("ActiveState"), db.show("ActiveState")], ["active", "active"]);
    assert_eq!(mail.show("ActiveState"), "failed", "it is seen that it should run");
    vserver(&["config", "check"]).code(1).complains("unclosed").complains("mail.toml");

    fs::write(file, &usual).expect("it can be written");
    vserver(&["start", "mail"]).ok();
    // What is wrong with it later doesn't take its place in the order from one that runs.
    fs::write(file, "after = [\"db\"\n").expect("it can be written");
    systemctl(&["daemon-reload"]).ok();
    assert!(mail.show("After").contains("vserver@db.service"));
    fs::write(file, usual).expect("it can be written");
    systemctl(&["stop", "vservers.target", "vserver@*"]).ok();
    for guest in &guests {
        assert_eq!(guest.show("Result"), "success");
    }
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_guest_may_be_in_a_slice_of_the_administrators() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    let directory = Path::new("/run/systemd/system/vserver@web.service.d");
    fs::create_dir_all(directory).expect("it can be made");
    let drop_in = directory.join("90-slice.conf");
    fs::write(&drop_in, "[Service]\nSlice=customers-gold.slice\n").expect("it can be written");
    systemctl(&["daemon-reload"]).ok();
    vserver(&["start", "web"]).ok();
    let place = "/customers.slice/customers-gold.slice/vserver@web.service";
    assert_eq!(web.show("ControlGroup"), place);
    let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", web.pid("init_pid")));
    let inside = format!("0::{place}/payload/guest-1/inside/root\n");
    assert_eq!(cgroup.expect("it runs"), inside);
    vserver(&["exec", "web", "--", "true"]).ok();
    vserver(&["limits", "web", "memory=64M"]).ok();
    web.loses_supervisor("-9");
    vserver(&["exec", "web", "--", "reboot"]).ok();
    vserver(&["wait", "web", "--for", "running"]).ok();
    vserver(&["stop", "web"]).ok();
    assert_eq!(web.show("Result"), "success");
    let cgroup = format!("/sys/fs/cgroup{place}");
    eventually(DEADLINE, "systemd has removed the cgroup", || {
        (!Path::new(&cgroup).exists()).then_some(())
    });
    fs::remove_file(drop_in).expect("it can be removed");
    systemctl(&["daemon-reload"]).ok();
}

/// A file system of the guests'; gone when it is dropped.
struct Shelf;

impl Shelf {
    const UNIT: &str = "/run/systemd/system/srv-shelf.mount";
    const FILES: &str = "/var/lib/shelf";

    fn new() -> Self {
        // Nobody else may run what guests have there.
        let mut closed = fs::DirBuilder::new();
        closed.mode(0o700).create(Self::FILES).expect("it can be made");
        let unit =
            format!("[Mount]\nWhat={}\nWhere=/srv/shelf\nType=none\nOptions=bind\n", Self::FILES);
        fs::write(Self::UNIT, unit).expect("it can be written");
        Self
    }

    fn is_there() -> bool {
        run("mountpoint", &["--quiet", "/srv/shelf"]).code == 0
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        systemctl(&["stop", "srv-shelf.mount"]);
        for path in [Self::UNIT, "/srv/shelf"] {
            let _ = fs::remove_file(path);
            let _ = fs::remove_dir(path);
        }
        let _ = fs::remove_dir_all(Self::FILES);
        systemctl(&["daemon-reload"]);
    }
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_guests_file_system_comes_before_it_and_goes_after_it() {
    let machine = Machine::new();
    let shelf = Shelf::new();
    let web = machine.guest("web", Tree::Busybox);
    fs::rename("/var/lib/vservers/web", "/var/lib/shelf/web").expect("it can be moved");
    vserver(&["config", "set", "web", "root", "/srv/shelf/web"]).ok();
    systemctl(&["daemon-reload"]).ok();
    assert!(!Shelf::is_there());
    systemctl(&["start", &web.unit()]).ok();
    assert!(Shelf::is_there());
    vserver(&["exec", "web", "--", "true"]).ok();

    let init = web.pid("init_pid");
    systemctl(&["stop", "srv-shelf.mount"]).ok();
    assert!(!process::is_alive(init) && !Shelf::is_there());
    assert_eq!(web.show("ActiveState"), "inactive");
    assert_eq!(web.show("Result"), "success");
    let ended = Path::new(Shelf::FILES).join("web/var/log/shutdowns");
    assert!(ended.exists(), "its own scripts have run to their end");
    systemctl(&["start", &web.unit()]).ok();
    drop(web);
    drop(shelf);
}

/// Not at systemd's, which would take the supervisor along.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_shutdown_that_hangs_ends_at_the_guests_own_deadline() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    let script = "/var/lib/vservers/web/etc/init.d/rcK";
    fs::write(script, "#!/bin/sh\necho never ends\nsleep 100000\n").expect("it can be written");
    vserver(&["config", "set", "web", "boot.kill_grace", "1s"]).ok();
    vserver(&["config", "set", "web", "boot.stop_timeout", "2s"]).ok();
    systemctl(&["start", &web.unit()]).ok();
    let init = web.pid("init_pid");
    systemctl(&["stop", &web.unit()]).ok();
    assert!(!process::is_alive(init));
    assert_eq!(web.show("ActiveState"), "inactive");
    assert_eq!(web.show("Result"), "success");
    let log = vserver(&["logs", "web"]).ok();
    assert!(log.stdout.contains("never ends\n"), "{log}");
}

/// All of the unit, its supervisor too.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_unit_that_was_frozen_goes_on_where_it_was() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    systemctl(&["start", &web.unit()]).ok();
    let pids = || ["init_pid", "keeper_pid", "supervisor_pid"].map(|who| web.pid(who));
    let before = pids();
    systemctl(&["freeze", &web.unit()]).ok();
    assert_eq!(web.show("FreezerState"), "frozen");
    // Nobody who could answer, and no long wait for that.
    // More of them than its socket has room for.
    thread::scope(|scope| {
        for number in 0..20 {
            let words = [["status", "web"], ["stop", "web"]][number % 2];
            scope.spawn(move || {
                let silent = vserver(&words).code(1);
                assert!(silent.stderr.contains("systemctl thaw vserver@web.service"), "{silent}");
            });
        }
    });
    let silent = vserver(&["status", "web"]).code(1);
    assert!(silent.stderr.contains(&format!("systemctl thaw {}", web.unit())), "{silent}");
    systemctl(&["thaw", &web.unit()]).ok();
    assert_eq!(pids(), before);
    vserver(&["exec", "web", "--", "true"]).ok();
    // Its own way to hold still is another one, which they don't get in the way of.
    vserver(&["pause", "web"]).ok();
    systemctl(&["freeze", &web.unit()]).ok();
    systemctl(&["thaw", &web.unit()]).ok();
    assert_eq!(web.status()["state"], "paused");
    vserver(&["resume", "web"]).ok();
    vserver(&["exec", "web", "--", "true"]).ok();
    systemctl(&["stop", &web.unit()]).ok();
    assert_eq!(web.show("Result"), "success");
    eventually(DEADLINE, "its processes have ended", || {
        before.iter().all(|pid| !process::is_alive(*pid)).then_some(())
    });
}

/// As `vserver start` does; systemd knows nothing of the locks that commands have.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_start_waits_for_who_is_at_work_with_the_files() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    run("mkfifo", &["/run/go"]).ok();
    fs::write("/var/lib/vservers/web/srv/noise", noise()).expect("it can be written");
    let mut export = slow_export();
    let lock = Path::new("/run/vserver/.rest-web");
    eventually(DEADLINE, "it is at work", || lock.exists().then_some(()));
    let started = thread::spawn(|| systemctl(&["start", "vserver@web"]));
    let text = "waiting for a command that is at work with the guest's files";
    eventually(DEADLINE, "it says what it waits for", || {
        (web.show("StatusText") == text).then_some(())
    });
    assert_eq!(web.show("ActiveState"), "activating");
    vserver(&["status", "web"]).code(3);
    fs::write("/run/go", "\n").expect("somebody reads it");
    assert!(export.wait().expect("it ends").success());
    started.join().expect("it is run").ok();
    assert_eq!(web.show("ActiveState"), "active");
    systemctl(&["stop", "vserver@web"]).ok();

    // What is asked for last counts, by whichever command.
    for stop in ["systemctl stop vserver@web", "vserver stop web", "vserver stop --all"] {
        let mut export = slow_export();
        eventually(DEADLINE, "it is at work", || lock.exists().then_some(()));
        systemctl(&["start", "--no-block", "vserver@web"]).ok();
        eventually(DEADLINE, "it waits", || (web.show("StatusText") == text).then_some(()));
        let stopped = run("sh", &["-c", stop]).ok();
        assert_eq!(stopped.stderr, "", "{stopped}");
        assert_eq!(web.show("ActiveState"), "inactive");
        assert_eq!(web.show("Result"), "success");
        fs::write("/run/go", "\n").expect("somebody reads it");
        assert!(export.wait().expect("it ends").success());
        vserver(&["status", "web"]).code(3);
    }
    vserver(&["stop", "web"]).ok().complains("guest 'web' is not running");
    fs::remove_file("/run/go").expect("it can be removed");
}

/// One that goes on when something is written to `/run/go`.
fn slow_export() -> Child {
    let mut export = Command::new("sh");
    export.args(["-c", "vserver -q export web - | { read -r go </run/go; cat >/dev/null; }"]);
    export.stderr(Stdio::null()).spawn().expect("it can be run")
}

/// What no compressor makes smaller than a pipe.
fn noise() -> Vec<u8> {
    (0..1_u32 << 18).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

/// A supervisor that is killed while it cleans up is followed by one that boots
/// nothing, unless somebody has asked for a boot.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_start_by_hand_boots_whatever_a_killed_supervisor_has_noted() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    systemctl(&["start", &web.unit()]).ok();
    systemctl(&["stop", &web.unit()]).ok();
    let lock = Lock::wait(Path::new("/var/lib/vserver/supervisors/web")).expect("it is free");
    RunDir::note_end(&lock);
    drop(lock);
    systemctl(&["start", &web.unit()]).ok();
    assert_eq!(web.show("ActiveState"), "active");
    vserver(&["running", "web"]).ok();
    systemctl(&["stop", &web.unit()]).ok();
}

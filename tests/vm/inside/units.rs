//! Guests as units of the host's systemd, by its own tools. They need the real
//! paths: the installation is the machine's own, and one test at a time has it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tests::{DEADLINE, Finished, Tree, command, eventually, executable, process};

use crate::turn::{self, Turn};

/// vserver.
pub const PROGRAM: &str = "/usr/local/bin/vserver";

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_guest_is_a_unit_and_has_its_cgroup() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    systemctl(&["start", "vserver@web"]).ok();
    systemctl(&["is-active", "vserver@web"]).ok();
    assert_eq!(web.show("StatusText"), "running, runlevel 2");
    assert_eq!(web.show("ControlGroup"), "/vserver.slice/vserver@web.service");
    let status = web.status();
    assert_eq!(status["state"], "running", "{status}");
    assert_eq!(status["supervisor_pid"].to_string(), web.show("MainPID"));
    let unit = "0::/vserver.slice/vserver@web.service";
    let cgroup = |who: &str| read(&format!("/proc/{}/cgroup", web.pid(who)));
    assert_eq!(cgroup("init_pid"), format!("{unit}/payload/guest-1/inside/root\n"));
    assert_eq!(cgroup("keeper_pid"), format!("{unit}/payload/keeper\n"));
    assert_eq!(cgroup("supervisor_pid"), format!("{unit}/supervisor\n"));
    let tree = run("systemd-cgls", &["--no-pager", "-u", "vserver@web.service"]).ok();
    assert!(tree.stdout.contains(" guest-init\n"), "{tree}");
    let top = run("systemd-cgtop", &["--batch", "--iterations=1", "--depth=3"]).ok();
    assert!(top.stdout.contains("vserver.slice/vserver@web.service"), "{top}");
    vserver(&["exec", "web", "--", "true"]).ok();
    let shown = vserver(&["vps", "ax"]).ok();
    let init = format!(" {} ", web.pid("init_pid"));
    assert!(
        shown.stdout.lines().any(|line| line.contains(&init) && line.contains(" web ")),
        "{shown}"
    );

    // The guest's own scripts run at its end, and nothing of it is left.
    systemctl(&["stop", "vserver@web"]).ok();
    assert_eq!(web.show("ActiveState"), "inactive");
    assert_eq!(web.show("Result"), "success");
    let log = vserver(&["logs", "web"]).ok();
    assert!(log.stdout.contains("rcK: shutdown scripts run"), "{log}");
    let journal = run("journalctl", &["-q", "-b", "-o", "cat", "-u", "vserver@web"]).ok();
    assert!(journal.stdout.contains("rcK: shutdown scripts run\n"), "{journal}");
    vserver(&["status", "web"]).code(3);
    let cgroup = Path::new("/sys/fs/cgroup/vserver.slice/vserver@web.service");
    eventually(DEADLINE, "systemd has removed the cgroup", || (!cgroup.exists()).then_some(()));
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn vserver_and_systemctl_see_and_do_the_same() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    vserver(&["start", "web"]).ok();
    systemctl(&["is-active", "vserver@web"]).ok();
    vserver(&["stop", "web"]).ok();
    assert_eq!(web.show("ActiveState"), "inactive", "as soon as 'stop' is done");

    systemctl(&["start", "vserver@web"]).ok();
    vserver(&["running", "web"]).ok();
    let (init, invocation) = (web.pid("init_pid"), web.show("InvocationID"));
    vserver(&["exec", "web", "--", "reboot"]).ok();
    eventually(DEADLINE, "it is up again", || {
        (web.pid("init_pid") != init && web.status()["state"] == "running").then_some(())
    });
    assert_eq!(web.show("InvocationID"), invocation, "a guest's reboot is no restart of its unit");
    assert_eq!(web.show("ActiveState"), "active");
    vserver(&["exec", "web", "--", "poweroff"]).ok();
    web.ends();
    assert_eq!(web.show("Result"), "success");
    vserver(&["restart", "web"]).ok();
    systemctl(&["is-active", "vserver@web"]).ok();
    systemctl(&["restart", "vserver@web"]).ok();
    vserver(&["running", "web"]).ok();
    vserver(&["stop", "web"]).ok();
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_supervisor_that_is_killed_is_replaced() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    vserver(&["start", "web"]).ok();
    let init = web.pid("init_pid");
    let began = run("date", &["+@%s"]).ok().stdout;
    for _ in 0..5 {
        web.loses_supervisor("-9");
        assert_eq!(web.status()["supervisor_pid"].to_string(), web.show("MainPID"));
    }
    // Nor is it needed that the guest could be booted.
    let file = "/etc/vservers/web.toml";
    let [main, aside] = [web.show("MainPID"), format!("{file}.aside")];
    fs::rename(file, &aside).expect("it can be moved");
    run("kill", &["-9", &main]).ok();
    eventually(DEADLINE, "it is replaced", || {
        let now = web.show("MainPID");
        (now != main && now != "0" && web.show("ActiveState") == "active").then_some(())
    });
    fs::rename(aside, file).expect("it can be moved back");
    vserver(&["exec", "web", "--", "true"]).ok();
    assert_eq!(web.pid("init_pid"), init);
    // No unit has failed by that.
    let since = ["-q", "-o", "cat", "-u", "vserver-adopt@web", "--since", began.trim()];
    let said = run("journalctl", &since).ok();
    assert_eq!(said.stdout, "", "the unit for those whose own has failed was started");

    // Where there is a guard, that too; then both at once.
    let unit = "/sys/fs/cgroup/vserver.slice/vserver@web.service/supervisor/cgroup.procs";
    let supervisors = || read(unit).lines().map(str::to_owned).collect::<Vec<_>>();
    let main = web.show("MainPID");
    let guard = supervisors().into_iter().find(|pid| *pid != main);
    let version = systemctl(&["--version"]).ok();
    assert_eq!(guard.is_some(), version.stdout.starts_with("systemd 252 "), "{version}");
    if let Some(guard) = guard {
        run("kill", &["-9", &guard]).ok();
        eventually(DEADLINE, "there is another guard", || {
            let now = supervisors();
            (now.len() == 2 && !now.contains(&guard)).then_some(())
        });
        vserver(&["exec", "web", "--", "true"]).ok();
        assert_eq!(web.pid("init_pid"), init);
        assert_eq!(web.show("ActiveState"), "active");
    }
    let all = supervisors();
    run("kill", &[&["-9".to_owned()], all.as_slice()].concat()).ok();
    vserver(&["exec", "web", "--", "true"]).ok();
    assert_eq!(web.pid("init_pid"), init);
    vserver(&["stop", "web"]).ok();
    assert!(!process::is_alive(init));
    systemctl(&["reset-failed", "vserver@web"]);
}

/// systemd has no `ExecStop=` for a unit that isn't active yet.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn one_that_is_not_up_yet_is_stopped_too() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    let scripts = "/var/lib/vservers/web/etc/init.d/rcS";
    let usual = read(scripts);
    fs::write(scripts, "#!/bin/sh\nsleep 1000\n").expect("it can be written");
    vserver(&["config", "set", "web", "boot.kill_grace", "1s"]).ok();
    vserver(&["config", "set", "web", "boot.stop_timeout", "2s"]).ok();
    for stop in ["systemctl", "vserver"] {
        vserver(&["start", "--no-wait", "web"]).ok();
        eventually(DEADLINE, "its script is shown", || {
            web.show("StatusText").contains("rcS").then_some(())
        });
        assert_eq!(web.show("ActiveState"), "activating");
        let init = web.pid("init_pid");
        match stop {
            "systemctl" => systemctl(&["stop", "vserver@web"]).ok(),
            _ => vserver(&["stop", "web"]).ok(),
        };
        web.ends();
        assert!(!process::is_alive(init));
        assert_eq!(web.show("NRestarts"), "0", "it was to stop");
        assert!(!Path::new("/run/vserver/web").exists());
    }

    // One that is up ends by the signal as by the order.
    fs::write(scripts, usual).expect("it can be written");
    vserver(&["start", "web"]).ok();
    run("kill", &[&web.show("MainPID")]).ok();
    web.ends();
    assert_eq!(web.show("Result"), "success");
    let log = vserver(&["logs", "web"]).ok();
    assert!(log.stdout.ends_with("rcK: shutdown scripts run\n"), "{log}");
}

/// What doesn't hear is killed with what it was to stop, but only by a stop.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_stop_that_is_not_heard_leaves_nothing() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    let drop_in = Path::new("/run/systemd/system/vserver@web.service.d/90-test.conf");
    fs::create_dir_all(drop_in.parent().expect("it has one")).expect("it can be made");
    fs::write(drop_in, "[Service]\nTimeoutStopSec=3s\n").expect("it can be written");
    systemctl(&["daemon-reload"]).ok();
    vserver(&["start", "web"]).ok();
    let (init, keeper) = (web.pid("init_pid"), web.pid("keeper_pid"));
    // systemd wakes up what it sends SIGTERM to, but nothing that is frozen.
    let frozen = Path::new("/sys/fs/cgroup/vserver.slice/vserver@web.service/supervisor");
    fs::write(frozen.join("cgroup.freeze"), "1").expect("it can be frozen");
    systemctl(&["stop", "vserver@web"]);
    // By whoever had cleaned up for systemd, a moment later.
    eventually(DEADLINE, "its processes have ended, and its directory is gone", || {
        let is_alive = [init, keeper].into_iter().any(process::is_alive);
        (!is_alive && !Path::new("/run/vserver/web").exists()).then_some(())
    });
    vserver(&["status", "web"]).code(3);
    fs::remove_file(drop_in).expect("it can be removed");
    systemctl(&["daemon-reload"]).ok();
    systemctl(&["reset-failed", "vserver@web"]);
    vserver(&["start", "web"]).ok();
    vserver(&["stop", "web"]).ok();
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn its_limits_and_systemds_hold_together() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    vserver(&["config", "set", "web", "limits.memory", "96M"]).ok();
    vserver(&["config", "set", "web", "limits.cpuset", "0"]).ok();
    vserver(&["start", "web"]).ok();
    let unit = Path::new("/sys/fs/cgroup/vserver.slice/vserver@web.service");
    let of_guest = || read_file(&unit.join("payload/guest-1/memory.max"));
    assert_eq!(of_guest(), "100663296\n");
    assert_eq!(read_file(&unit.join("payload/guest-1/cpuset.cpus")), "0\n");
    systemctl(&["set-property", "--runtime", "vserver@web", "MemoryMax=200M", "CPUWeight=50"]).ok();
    assert_eq!(read_file(&unit.join("memory.max")), "209715200\n");
    assert_eq!(read_file(&unit.join("cpu.weight")), "50\n");
    assert_eq!(of_guest(), "100663296\n");
    vserver(&["limits", "web", "memory=64M"]).ok();
    systemctl(&["daemon-reload"]).ok();
    assert_eq!(of_guest(), "67108864\n");
    assert_eq!(read_file(&unit.join("memory.max")), "209715200\n");

    vserver(&["config", "set", "web", "limits.memory", "80M"]).ok();
    assert_eq!(of_guest(), "67108864\n");
    systemctl(&["reload", "vserver@web"]).ok();
    assert_eq!(of_guest(), "83886080\n");

    // The kernel kills inside of the guest, and systemd leaves the unit alone.
    let killed = vserver(&[
        "exec",
        "web",
        "--",
        "sh",
        "-c",
        "dd if=/dev/zero of=/dev/null bs=150M count=1 2>/dev/null; echo $?",
    ]);
    killed.ok().says("137\n");
    assert_eq!(web.show("ActiveState"), "active");
    vserver(&["stop", "web"]).ok();
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn why_a_start_has_failed_is_said_by_both() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    fs::rename("/var/lib/vservers/web", "/var/lib/vservers/aside").expect("it can be renamed");
    let sentence = "opening its root directory";
    vserver(&["start", "web"]).code(1).complains(sentence);
    systemctl(&["start", "vserver@web"]).code(1);
    assert_eq!(web.show("ActiveState"), "failed");
    assert_eq!(web.show("NRestarts"), "0", "what can't start isn't tried again and again");
    let status = systemctl(&["status", "--no-pager", "vserver@web"]);
    assert!(status.stdout.contains(sentence), "{status}");
    fs::rename("/var/lib/vservers/aside", "/var/lib/vservers/web").expect("it can be renamed");
    vserver(&["start", "web"]).ok();
    vserver(&["stop", "web"]).ok();
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn an_upgrade_changes_supervisors_under_their_guests() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    vserver(&["start", "web"]).ok();
    let (init, main) = (web.pid("init_pid"), web.show("MainPID"));
    // As package managers do it: another file under the same name.
    let new = "/usr/local/bin/.vserver-new";
    executable::copy(PROGRAM, new);
    fs::rename(new, PROGRAM).expect("it can be renamed");
    let inode = |path: &str| fs::metadata(path).expect("it is there").ino();
    assert_ne!(inode(&format!("/proc/{main}/exe")), inode(PROGRAM));
    vserver(&["reexec", "--all"]).ok();
    assert_eq!(inode(&format!("/proc/{main}/exe")), inode(PROGRAM));
    assert_eq!(web.show("MainPID"), main);
    assert_eq!(web.show("ActiveState"), "active");
    assert_eq!(web.pid("init_pid"), init);
    vserver(&["exec", "web", "--", "reboot"]).ok();
    eventually(DEADLINE, "it is up again", || {
        (web.pid("init_pid") != init && web.status()["state"] == "running").then_some(())
    });
    systemctl(&["stop", "vserver@web"]).ok();
    assert_eq!(web.show("Result"), "success");
}

/// The machine's own installation, held by one test.
pub struct Machine {
    _turn: Turn,
}

impl Machine {
    /// Waits for its turn.
    pub fn new() -> Self {
        Self { _turn: turn::installed() }
    }

    /// Builds a guest.
    pub fn guest(&self, name: &str, tree: Tree) -> Guest {
        let archive = tree.archive().display().to_string();
        vserver(&["build", name, "--quiet", "--method", "template", "--from", &archive]).ok();
        Guest { name: name.to_owned() }
    }
}

/// A guest of it; gone when it is dropped.
pub struct Guest {
    name: String,
}

impl Guest {
    /// One that has been made in another way.
    pub fn made(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its unit.
    pub fn unit(&self) -> String {
        format!("vserver@{}.service", self.name)
    }

    /// A property of its unit.
    #[track_caller]
    pub fn show(&self, property: &str) -> String {
        systemctl(&["show", "-P", property, &self.unit()]).ok().trimmed().to_owned()
    }

    /// Its unit is down, or about to be.
    #[track_caller]
    pub fn ends(&self) {
        eventually(DEADLINE, "the unit has ended", || {
            (self.show("ActiveState") == "inactive").then_some(())
        });
    }

    /// Sends its unit's main process this signal: systemd gets another one, and
    /// the guest goes on.
    #[track_caller]
    pub fn loses_supervisor(&self, signal: &str) {
        let (main, pids) = (self.show("MainPID"), [self.pid("init_pid"), self.pid("keeper_pid")]);
        run("kill", &[signal, &main]).ok();
        eventually(DEADLINE, "systemd has another main process", || {
            let now = self.show("MainPID");
            (now != main && now != "0").then_some(())
        });
        vserver(&["exec", &self.name, "--", "true"]).ok();
        assert_eq!([self.pid("init_pid"), self.pid("keeper_pid")], pids, "the guest goes on");
        eventually(DEADLINE, "systemd knows that it is up", || {
            (self.show("ActiveState") == "active").then_some(())
        });
    }

    /// What 'vserver status' says.
    #[track_caller]
    pub fn status(&self) -> Value {
        let status = vserver(&["status", &self.name, "--json"]);
        serde_json::from_str(&status.stdout).unwrap_or_else(|cause| panic!("{cause}: {status}"))
    }

    /// A pid in that.
    #[track_caller]
    pub fn pid(&self, who: &str) -> i32 {
        let status = self.status();
        let pid = status[who].as_i64().unwrap_or_else(|| panic!("there is no {who}: {status}"));
        i32::try_from(pid).expect("it is a pid")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", run("journalctl", &["-b", "-n", "60", "-u", &self.unit()]));
        }
        vserver(&["stop", "--timeout", "5", &self.name]);
        systemctl(&["reset-failed", &self.unit()]);
        vserver(&["delete", "--yes", &self.name]);
    }
}

/// Runs the program that is installed.
#[track_caller]
pub fn vserver<A: AsRef<str>>(words: &[A]) -> Finished {
    run(PROGRAM, words)
}

/// Runs systemctl(1).
#[track_caller]
pub fn systemctl(words: &[&str]) -> Finished {
    // systemd 257 refuses it for a moment after it has read its units anew.
    let tries = (0..100).map(|_| run("systemctl", words));
    let answers = |end: &Finished| !end.stderr.contains("Connection refused");
    tries.into_iter().find(answers).expect("systemd answers")
}

/// Runs a program.
#[track_caller]
pub fn run<A: AsRef<str>>(program: &str, words: &[A]) -> Finished {
    let words = words.iter().map(AsRef::as_ref);
    command::run(Command::new(program).args(words), DEADLINE + Duration::from_secs(60))
}

/// A file's text.
#[track_caller]
pub fn read(path: &str) -> String {
    read_file(Path::new(path))
}

#[track_caller]
fn read_file(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|cause| panic!("cannot read {path:?}: {cause}"))
}

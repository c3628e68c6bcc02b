//! Limits in the cgroup of a unit, and controllers that a guest has for itself below
//! them.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tests::{DEADLINE, Tree, eventually};

use crate::units::{Guest, Machine, read, systemctl, vserver};

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_guests_systemd_has_its_own() {
    has_its_own(Tree::Systemd, "private");
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_guests_systemd_has_its_own_with_the_hosts_users() {
    has_its_own(Tree::Systemd, "host");
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_newer_systemd_has_its_own_in_every_mode() {
    for users in ["private", "identity", "host"] {
        has_its_own(Tree::SystemdTrixie, users);
    }
}

fn has_its_own(tree: Tree, users: &str) {
    let machine = Machine::new();
    let web = machine.guest("own", tree);
    vserver(&["config", "set", "own", "security.users", users]).ok();
    vserver(&["start", "own"]).ok();
    eventually(DEADLINE, "its systemd is up", || {
        let state = vserver(&["exec", "own", "--", "systemctl", "is-system-running"]);
        (state.trimmed() == "running").then_some(())
    });
    let failed = vserver(&["exec", "own", "--", "systemctl", "--failed", "--no-legend"]).ok();
    assert_eq!(failed.stdout, "", "units that have failed");
    let set = ["set-property", "--runtime", "cron.service", "MemoryMax=50M", "CPUWeight=20"];
    vserver(&[&["exec", "own", "--", "systemctl"], set.as_slice()].concat()).ok();
    let cron = PathBuf::from(format!(
        "/sys/fs/cgroup{}/payload/guest-1/inside/root/system.slice/cron.service",
        web.show("ControlGroup")
    ));
    let of_cron = |name: &str| read(&cron.join(name).display().to_string());
    assert_eq!(of_cron("memory.max"), "52428800\n");
    assert_eq!(of_cron("cpu.weight"), "20\n");
    // Linux 6.12 counts refused forks where the limit is, 6.1 does not.
    let set = ["set-property", "--runtime", "cron.service", "TasksMax=40"];
    vserver(&[&["exec", "own", "--", "systemctl"], set.as_slice()].concat()).ok();
    let has_pids = cron.join("pids.max").exists();
    assert_eq!(has_pids, !systemctl(&["--version"]).ok().stdout.starts_with("systemd 252 "));
    if has_pids {
        assert_eq!(of_cron("pids.max"), "40\n");
    }
    // The host's systemd looks for what has changed, and leaves it alone.
    systemctl(&["daemon-reload"]).ok();
    assert_eq!(of_cron("memory.max"), "52428800\n");
    systemctl(&["stop", "vserver@own"]).ok();
    assert_eq!(web.show("Result"), "success");
}

/// In the cgroup that systemd has handed over, with that of systemd's own around it.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn limits_hold_in_a_unit() {
    let machine = Machine::new();
    let held = machine.guest("held", Tree::Busybox);
    systemctl(&["start", &held.unit()]).ok();
    let unit = Path::new("/sys/fs/cgroup/vserver.slice/vserver@held.service");
    let limited = unit.join("payload/guest-1");
    let in_force = |file: &str| read(&limited.join(file).display().to_string());
    let inside = |line: &str| vserver(&["exec", "held", "--", "sh", "-c", line]);

    vserver(&["limits", "held", "processes=60", "cpus=0.1", "cpuset=0", "io_max=/ wbps=1M"]).ok();
    assert_eq!(in_force("pids.max"), "60\n");
    assert_eq!(in_force("cpu.max"), "10000 100000\n");
    assert_eq!(in_force("cpuset.cpus"), "0\n");
    let device = in_force("io.max");
    assert!(device.ends_with(" rbps=max wbps=1048576 riops=max wiops=max\n"), "{device}");

    inside("for i in $(seq 100); do sleep 1000 & done 2>/dev/null").code(2);
    vserver(&["exec", "held", "--", "true"]).ok();
    inside("kill $(pidof sleep)").ok();
    let throttled = || {
        let stat = in_force("cpu.stat");
        let line = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        line.and_then(|number| number.parse::<u64>().ok()).unwrap_or_else(|| panic!("{stat}"))
    };
    let before = throttled();
    inside("while :; do :; done >/dev/null 2>&1 </dev/null & echo $! >/run/burns").ok();
    eventually(DEADLINE, "the kernel holds it back", || (throttled() > before).then_some(()));
    inside("kill $(cat /run/burns)").ok();
    vserver(&["limits", "held", "cpus="]).ok();
    let begun = Instant::now();
    inside("dd if=/dev/zero of=/root/file bs=256k count=16 oflag=direct 2>/dev/null").ok();
    assert!(begun.elapsed() >= Duration::from_secs(3), "{:?} for 4 MiB", begun.elapsed());

    // What systemd is told lies around that, and reads its units anew without a word.
    let own = ["TasksMax=500", "CPUQuota=150%", "AllowedCPUs=0"];
    systemctl(&[&["set-property", "--runtime", &*held.unit()][..], &own].concat()).ok();
    systemctl(&["daemon-reload"]).ok();
    let around = |file: &str| read(&unit.join(file).display().to_string());
    assert_eq!([around("pids.max"), around("cpu.max")], ["500\n", "150000 100000\n"]);
    assert_eq!([in_force("pids.max"), in_force("cpu.max")], ["60\n", "max 100000\n"]);
    assert_eq!(in_force("io.max"), device);

    // The next boot and the next supervisor know of them.
    let init = held.pid("init_pid");
    vserver(&["reboot", "held"]).ok();
    assert_ne!(held.pid("init_pid"), init);
    let limited = unit.join("payload/guest-2");
    let in_force = |file: &str| read(&limited.join(file).display().to_string());
    held.loses_supervisor("-9");
    assert_eq!([in_force("pids.max"), in_force("io.max")], ["60\n", &*device]);
    vserver(&["limits", "held", "processes=70", "io_max="]).ok();
    assert_eq!([in_force("pids.max"), in_force("io.max")], ["70\n", ""]);
    systemctl(&["stop", &held.unit()]).ok();
    assert_eq!(held.show("Result"), "success");
}

/// What competes with another guest is the unit's cgroup, which systemd writes.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn weights_hold_between_units() {
    let machine = Machine::new();
    let guests = [machine.guest("heavy", Tree::Busybox), machine.guest("light", Tree::Busybox)];
    let [heavy, light] = &guests;
    // One is told before its start, the other while it runs.
    vserver(&["limits", "heavy", "cpuset=0", "cpu_weight=1000"]).ok();
    for guest in &guests {
        vserver(&["start", guest.name()]).ok();
    }
    vserver(&["limits", "light", "cpuset=0", "cpu_weight=100"]).ok();
    let unit = |guest: &Guest, file: &str| {
        read(&format!("/sys/fs/cgroup/vserver.slice/{}/{file}", guest.unit()))
    };
    // systemd answers before it has written all of them.
    let weigh = |wanted: [u32; 2]| {
        let wanted = wanted.map(|weight| format!("{weight}\n"));
        let weights = || guests.each_ref().map(|guest| unit(guest, "cpu.weight"));
        let what = format!("the units have the weights {wanted:?}");
        eventually(DEADLINE, &what, || (weights() == wanted).then_some(()));
    };
    weigh([1000, 100]);
    for guest in &guests {
        let burn = "while :; do :; done >/dev/null 2>&1 </dev/null &";
        vserver(&["exec", guest.name(), "--", "sh", "-c", burn]).ok();
    }
    let used = |guest: &Guest| {
        let stat = unit(guest, "payload/guest-1/cpu.stat");
        let line = stat.lines().find_map(|line| line.strip_prefix("usage_usec "));
        line.and_then(|number| number.parse::<f64>().ok()).unwrap_or_else(|| panic!("{stat}"))
    };
    // How much more of the processor the first has had in some seconds.
    let ratio = |first: &Guest, second: &Guest| {
        let before = [used(first), used(second)];
        thread::sleep(Duration::from_secs(10));
        (used(first) - before[0]) / (used(second) - before[1])
    };
    let seen = ratio(heavy, light);
    assert!(seen > 3.0, "10 was to be had, and it was {seen}");

    vserver(&["limits", "heavy", "cpu_weight=", "nice=5"]).ok();
    vserver(&["limits", "light", "cpu_weight=330"]).ok();
    weigh([33, 330]);
    let seen = ratio(light, heavy);
    assert!(seen > 3.0, "the other way round it was {seen}");

    // An administrator's word to systemd counts more, whatever the file says.
    systemctl(&["set-property", "--runtime", &light.unit(), "CPUWeight=70"]).ok();
    weigh([33, 70]);
    vserver(&["limits", "light", "cpu_weight=500"]).ok();
    systemctl(&["daemon-reload"]).ok();
    weigh([33, 70]);
    let shown = vserver(&["limits", "light"]).ok();
    let row = shown.stdout.lines().find(|line| line.starts_with("cpu_weight ")).unwrap_or_default();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["cpu_weight", "500", "70", "-", "-"]);
    systemctl(&["revert", &light.unit()]).ok();
    systemctl(&["reload", &light.unit()]).ok();
    weigh([33, 500]);
    vserver(&["limits", "light", "cpu_weight="]).ok();
    weigh([33, 100]);
}

/// The kernel takes any processors, and goes by those that the unit leaves.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn processors_are_those_that_the_unit_leaves() {
    let machine = Machine::new();
    let part = machine.guest("part", Tree::Busybox);
    vserver(&["start", "part"]).ok();
    let set = |processors: &str| {
        let property = format!("AllowedCPUs={processors}");
        systemctl(&["set-property", "--runtime", &part.unit(), &property]).ok();
        let file = "/sys/fs/cgroup/vserver.slice/vserver@part.service/cpuset.cpus.effective";
        eventually(DEADLINE, "the unit has these", || {
            let now = fs::read_to_string(file).unwrap_or_else(|_| processors.to_owned());
            (now.trim() == processors).then_some(())
        });
    };
    let in_force = || {
        let shown = vserver(&["limits", "part"]).ok();
        let row = shown.stdout.lines().find(|line| line.starts_with("cpuset ")).map(str::to_owned);
        row.unwrap_or_default().split_whitespace().nth(2).unwrap_or_default().to_owned()
    };
    set("0");
    vserver(&["limits", "part", "cpuset=0-1"]).ok().complains("leaves it fewer");
    assert_eq!(in_force(), "0");
    vserver(&["limits", "part", "cpuset=1"]).code(1).complains("AllowedCPUs");
    let file = "/sys/fs/cgroup/vserver.slice/vserver@part.service/payload/guest-1/cpuset.cpus";
    assert_eq!(read(file), "0-1\n", "nothing was changed");
    set("0-1");
    assert_eq!(in_force(), "0-1");
    vserver(&["limits", "part", "cpuset=1"]).ok();
    assert_eq!(in_force(), "1");
    vserver(&["stop", "part"]).ok();
    set("0");
    vserver(&["start", "part"]).code(1).complains("limits.cpuset: '1'");
    vserver(&["config", "set", "part", "limits.required", "false"]).ok();
    vserver(&["start", "part"]).ok();
    systemctl(&["revert", &part.unit()]).ok();
}

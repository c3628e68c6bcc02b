//! A host whose cgroups can limit everything: each limit of a guest holds, by
//! the kernel's own files, and is changed while it runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::{DEADLINE, Guest, Host, Tree, command, eventually};

/// What systemd enables in the root cgroup is its own business; what doctor
/// says about that helps.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn hold_and_are_changed_in_the_running_guest() {
    let host = Host::new();
    enable_all(&host);
    let guest = host
        .guest("web")
        .set("limits.memory", "96M")
        .set("limits.processes", "60")
        .set("limits.cpuset", "0")
        .set("limits.cpu_weight", "200")
        .set("limits.io_max", "/ wbps=50M")
        .build();
    guest.start();
    let first = limited(&host);
    assert_eq!(read(&first, "memory.max"), "100663296");
    assert_eq!(read(first.parent().expect("the outer one"), "cpu.weight"), "200");
    assert!(read(&first, "io.max").contains(" wbps=52428800 "), "{}", read(&first, "io.max"));
    guest.exec(["nproc"]).ok().says("1\n");
    memory_holds(&host, &guest);
    processes_hold(&guest, &first);
    changes_are_made_at_once(&host, &guest, &first);
    block_devices_are_slowed_down(&guest, &first);
    nothing_is_changed_when_one_cannot_be(&host, &guest, &first);
    what_is_below_present_use_is_forced_or_not_at_all(&guest, &first);

    // What was changed stays over a reboot, and so does what was counted.
    let init = guest.init_pid();
    guest.exec(["reboot"]);
    guest.wait_for_reboot(init);
    let second = limited(&host);
    assert_ne!(second, first);
    assert_eq!(read(&second, "memory.max"), "134217728");
    assert_eq!(read(&second, "cpuset.cpus"), "0-1");
    assert!(kills(&host, "usage") >= 1.0, "they are in the account");
    guest.stop();
}

/// A guest that takes too much memory loses a process of its own, and no other
/// does; with swap it takes more, and `stat` says what the kernel says of it.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn what_one_takes_too_much_of_harms_no_other() {
    let host = Host::new();
    enable_all(&host);
    let greedy = host.guest("greedy").tree(Tree::Busybox).set("limits.memory", "48M");
    let greedy = greedy.set("limits.swap", "1M").build();
    let other = host.guest("other").tree(Tree::Busybox).build();
    greedy.start();
    other.start();
    defaults_are_shares_of_the_hosts(&other);
    other.shell("sleep 7000 >/dev/null 2>&1 </dev/null &").ok();
    other.shell("dd if=/dev/urandom of=/run/held bs=1M count=24 2>/dev/null").ok();
    let state = || {
        let sum = other.exec(["md5sum", "/run/held"]).ok().stdout;
        (other.init_pid(), other.process("sleep"), sum)
    };
    let before = state();
    let hog = "dd if=/dev/zero of=/dev/null bs=150M count=1 2>/dev/null; echo $?";
    for _ in 0..3 {
        greedy.shell(hog).ok().says("137\n");
    }
    assert_eq!(state(), before);
    assert_eq!(figure(&host, "other", "memory_kills"), 0.0);
    assert!(figure(&host, "greedy", "memory_kills") >= 3.0);

    let swap = Swap::new(&host);
    let more = hog.replace("150M", "60M");
    greedy.shell(&more).ok().says("137\n");
    greedy.vserver("limits", ["swap=96M"]).ok();
    greedy.shell(&more).ok().says("0\n");
    // What a tmpfs holds can only be swapped out.
    greedy.shell("dd if=/dev/zero of=/run/file bs=1M count=64 2>/dev/null").ok();
    let own = limited_of(&greedy);
    let swapped = |directory: &Path| -> f64 {
        read(directory, "memory.swap.current").parse().expect("a number")
    };
    assert!(swapped(&own) >= 16.0 * 1_048_576.0, "{}", swapped(&own));
    eventually(DEADLINE, "stat shows what the kernel counts", || {
        let (now, shown) = (swapped(&own), figure(&host, "greedy", "swap_bytes"));
        (now - shown).abs().le(&(0.01 * now)).then_some(())
    });
    greedy.vserver("limits", ["swap=1M"]).code(1).complains("of swap now").complains("--force");
    assert_eq!(read(&own, "memory.swap.max"), "100663296");
    assert_eq!(state(), before);
    // With space for swap there is a share of it.
    other.vserver("restart", [""; 0]).ok();
    assert_ne!(read(&limited_of(&other), "memory.swap.max"), "0");
    defaults_are_shares_of_the_hosts(&other);
    greedy.shell("rm /run/file").ok();
    drop(swap);
    what_is_held_back_is_shown(&host, &greedy);
    greedy.stop();
    other.stop();
}

/// Four fifths of its memory, and half of its swap space, in whole pages.
#[track_caller]
fn defaults_are_shares_of_the_hosts(guest: &Guest<'_>) {
    const PAGE: u64 = 4096;
    let host = read(Path::new("/proc"), "meminfo");
    let whole = |key: &str| -> u64 {
        let line = host.lines().find_map(|line| line.strip_prefix(key)).expect("the kernel says");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    };
    let own = limited_of(guest);
    let shares =
        [("memory.max", whole("MemTotal:") / 5 * 4), ("memory.swap.max", whole("SwapTotal:") / 2)];
    for (file, share) in shares {
        let limit: u64 = read(&own, file).parse().expect("there is one");
        let is_share = (share.saturating_sub(2 * PAGE)..=share).contains(&limit);
        assert!(is_share && limit.is_multiple_of(PAGE), "{file}: {limit} of {share}");
    }
}

/// Throttling and pressure, by the files of the guest's cgroup.
fn what_is_held_back_is_shown(host: &Host, guest: &Guest<'_>) {
    let own = limited_of(guest);
    guest.vserver("limits", ["cpus=0.1"]).ok();
    guest.shell("while :; do :; done >/dev/null 2>&1 </dev/null & echo $! >/run/burner").ok();
    let throttled = || {
        let stat = read(&own, "cpu.stat");
        let line = stat.lines().find_map(|line| line.strip_prefix("throttled_usec "));
        let micros: f64 = line.and_then(|number| number.parse().ok()).expect("it is counted");
        micros / 1e6
    };
    eventually(DEADLINE, "it is held back", || (throttled() > 1.0).then_some(()));
    waits(host, guest, "cpu");
    let before = throttled();
    let shown = figure(host, "greedy", "throttled_seconds");
    assert!((before..=throttled() + 0.5).contains(&shown), "{shown} after {before}");
    guest.shell("kill $(cat /run/burner)").ok();
    guest.vserver("limits", ["cpus="]).ok();
    // More memory than it may have without being slowed down, and a slow disk.
    for (what, limit, line) in [
        ("memory", "memory_high=16M", "dd if=/dev/zero of=/dev/null bs=32M"),
        ("io", "io_max=/ wbps=256K", "dd if=/dev/zero of=/root/file bs=64k oflag=direct"),
    ] {
        guest.vserver("limits", [limit]).ok();
        guest.shell(&format!("{line} >/dev/null 2>&1 </dev/null & echo $! >/run/waiter")).ok();
        waits(host, guest, what);
        let key = limit.split('=').next().unwrap_or_default();
        guest.vserver("limits", [format!("{key}=")]).ok();
        guest.shell("kill $(cat /run/waiter); rm -f /root/file").ok();
    }
}

/// That a guest's processes wait for something is shown as the kernel says it.
fn waits(host: &Host, guest: &Guest<'_>, what: &str) {
    let (own, file) = (limited_of(guest), format!("{what}.pressure"));
    let pressure = || -> f64 {
        let text = read(&own, &file);
        let some = text.strip_prefix("some avg10=").and_then(|rest| rest.split(' ').next());
        some.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{text}"))
    };
    // It is a mean, made anew every two seconds; sessions have none that is greater.
    let near = |shown: f64| pressure() > 1.0 && (shown - pressure()).abs() < 0.051;
    let key = format!("{what}_pressure_percent");
    eventually(DEADLINE, &format!("stat knows the {what} pressure"), || {
        near(figure(host, "greedy", &key)).then_some(())
    });
    let columns = ["stat", "--columns", &format!("{what}-pressure")];
    eventually(DEADLINE, &format!("the table shows the {what} pressure"), || {
        let table = host.vserver(columns).ok().stdout;
        let row = table.lines().find_map(|line| line.strip_suffix(" greedy"))?;
        near(row.split_whitespace().last()?.parse().ok()?).then_some(())
    });
}

/// Swap space for a while.
struct Swap(PathBuf);

impl Swap {
    fn new(host: &Host) -> Self {
        let file = host.prefix().join("swap");
        let line = "dd if=/dev/zero of=$0 bs=1M count=128 2>/dev/null && chmod 600 $0 && \
                    /usr/sbin/mkswap -q $0 && /usr/sbin/swapon $0";
        command::run(Command::new("/bin/sh").args(["-c", line]).arg(&file), DEADLINE).ok();
        Self(file)
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let _ = Command::new("/usr/sbin/swapoff").arg(&self.0).status();
        let _ = fs::remove_file(&self.0);
    }
}

/// A figure of `vserver stat`.
#[track_caller]
fn figure(host: &Host, name: &str, field: &str) -> f64 {
    let answer = host.vserver(["stat", "--json"]).ok();
    let rows: Vec<Value> = serde_json::from_str(&answer.stdout).expect("it is JSON");
    let row = rows.iter().find(|row| row["name"] == name).expect("the guest has a row");
    row[field].as_f64().unwrap_or_else(|| panic!("no {field}: {row}"))
}

/// The cgroup with this guest's limits.
#[track_caller]
fn limited_of(guest: &Guest<'_>) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", guest.init_pid()));
    let text = text.expect("PID 1 is in a cgroup");
    let path = text.trim().strip_prefix("0::/").expect("a pure hierarchy");
    let path = Path::new("/sys/fs/cgroup").join(path);
    let has_limits = |path: &&Path| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"guest-"))
    };
    path.ancestors().find(has_limits).unwrap_or_else(|| panic!("{text}")).to_owned()
}

/// The kernel kills the process that takes too much, and nothing else.
fn memory_holds(host: &Host, guest: &Guest<'_>) {
    guest
        .shell("dd if=/dev/zero of=/dev/null bs=150M count=1 2>/dev/null; echo $?")
        .ok()
        .says("137\n");
    assert!(guest.is_running());
    assert!(kills(host, "status") >= 1.0);
    let status = guest.vserver("status", [""; 0]).ok();
    assert!(status.stdout.contains("\nKilled:               1 process for want"), "{status}");
    let text = "out of memory: the kernel has killed processes of the guest";
    eventually(DEADLINE, "the log has it", || logged(host, "web").contains(text).then_some(()));
    assert_eq!(read(&limited(host), "memory.oom.group"), "0");
}

/// A full guest can be entered, because a few are for sessions only.
fn processes_hold(guest: &Guest<'_>, limited: &Path) {
    assert_eq!(read(limited, "pids.max"), "60");
    guest.shell("for i in $(seq 100); do sleep 1000 & done 2>/dev/null").code(2);
    let events = read(&limited.join("inside"), "pids.events");
    assert!(events.starts_with("max ") && events != "max 0", "{events}");
    guest.exec(["true"]).ok();
    guest.shell("kill $(pidof sleep)").ok();
}

fn changes_are_made_at_once(host: &Host, guest: &Guest<'_>, limited: &Path) {
    let changes = [
        "cpuset=0-1",
        "memory=128M",
        "cpus=0.1",
        "processes=90",
        "nice=5",
        "cpu_weight=",
        "files=4000",
        "memory_high=112M",
        "swap=32M",
    ];
    guest.vserver("limits", changes).ok();
    assert_eq!(read(limited, "memory.max"), "134217728");
    assert_eq!(read(limited, "memory.high"), "117440512");
    assert_eq!(read(limited, "memory.swap.max"), "33554432");
    assert_eq!(read(limited, "pids.max"), "90");
    assert_eq!(read(limited, "cpu.max"), "10000 100000");
    assert_eq!(read(limited.parent().expect("the outer one"), "cpu.weight"), "33");
    guest.exec(["nproc"]).ok().says("2\n");
    let throttled = || {
        let stat = read(limited, "cpu.stat");
        let line = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        line.and_then(|number| number.parse::<u64>().ok()).unwrap_or_else(|| panic!("{stat}"))
    };
    guest.shell("while :; do :; done >/dev/null 2>&1 </dev/null &").ok();
    let before = throttled();
    eventually(DEADLINE, "the kernel holds it back", || (throttled() > before).then_some(()));
    guest.vserver("limits", ["cpus=", "nice=default", "memory_high="]).ok();
    assert_eq!(read(limited, "cpu.max"), "max 100000");
    assert_eq!(read(limited, "memory.high"), "max");
    let shown = host.vserver(["limits", "web", "--json"]).ok();
    let shown: Value = serde_json::from_str(&shown.stdout).expect("it is JSON");
    let row = |key: &str| {
        let rows = shown["limits"].as_array().expect("a list");
        rows.iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("{shown}")).clone()
    };
    assert_eq!(row("memory")["configured"], "128M");
    assert_eq!(row("memory")["in_force"], 134_217_728);
    assert!(row("memory")["peak"].as_u64() > row("memory")["use"].as_u64().map(|now| now / 2));
    assert_eq!(row("swap")["in_force"], 33_554_432);
    assert_eq!(row("cpuset")["in_force"], "0-1");
    assert_eq!((&row("nice")["in_force"], &row("files")["in_force"]), (&0.into(), &4000.into()));
}

/// By a limit, which can only make things last longer, and by a weight, once there
/// is a device that heeds it.
fn block_devices_are_slowed_down(guest: &Guest<'_>, limited: &Path) {
    guest.vserver("limits", ["io_max=/ wbps=1M"]).ok();
    let device = read(limited, "io.max");
    let device = device.strip_suffix(" rbps=max wbps=1048576 riops=max wiops=max");
    let device = device.expect("one device, and nothing else").to_owned();
    let begun = Instant::now();
    guest.shell("dd if=/dev/zero of=/root/file bs=256k count=16 oflag=direct 2>/dev/null").ok();
    let lasted = begun.elapsed();
    assert!(lasted >= Duration::from_secs(3), "4 MiB were written in {lasted:?}");
    guest.shell("rm /root/file").ok();
    guest.vserver("limits", ["io_max="]).ok();
    assert_eq!(read(limited, "io.max"), "", "its line has gone");

    let refused = guest.vserver("limits", ["io_weight=50"]).code(1);
    refused.complains("no block device of this host heeds weights");
    let costs = |enable: &str| {
        let line = format!("{device} enable={enable}");
        fs::write("/sys/fs/cgroup/io.cost.qos", line).expect("this kernel has the means");
    };
    costs("1");
    guest.vserver("limits", ["io_weight=50"]).ok();
    let outer = limited.parent().expect("the outer one");
    assert_eq!(read(outer, "io.weight"), "default 50");
    guest.vserver("limits", ["io_weight="]).ok();
    assert_eq!(read(outer, "io.weight"), "default 100");
    costs("0");
}

fn nothing_is_changed_when_one_cannot_be(host: &Host, guest: &Guest<'_>, limited: &Path) {
    let file = || fs::read_to_string(host.paths().config(&"web".parse().expect("a name")));
    let file = || file().expect("it has one");
    guest.shell("dd if=/dev/zero of=/run/hog bs=1M count=40 2>/dev/null").ok();
    let before = (file(), read(limited, "memory.max"));
    guest
        .vserver("limits", ["processes=70", "memory=24M"])
        .code(1)
        .complains("uses 4")
        .complains("more than 24.0 MiB")
        .complains("--force");
    // What is no block device is found before anything is changed.
    guest.vserver("limits", ["processes=70", "cpuset=1", "io_max=/proc wbps=1M"]).code(1);
    assert_eq!((file(), read(limited, "memory.max")), before);
    assert_eq!(read(limited, "pids.max"), "90");
    assert_eq!(read(limited, "cpuset.cpus"), "0-1");
    guest.shell("rm /run/hog").ok();
    // A file that was changed alone is applied when that is asked for.
    host.vserver(["config", "set", "web", "limits.processes", "95"]).ok().complains("--apply");
    assert_eq!(read(limited, "pids.max"), "90");
    guest.vserver("limits", ["--apply"]).ok();
    assert_eq!(read(limited, "pids.max"), "95");
}

/// Of processes; for memory and swap see above.
fn what_is_below_present_use_is_forced_or_not_at_all(guest: &Guest<'_>, limited: &Path) {
    guest.shell("for i in $(seq 10); do sleep 1000 & done >/dev/null 2>&1 </dev/null").ok();
    let before = read(limited, "pids.max");
    let refused = guest.vserver("limits", ["processes=5"]).code(1);
    refused.complains("processes and threads now, more than 5").complains("--force");
    assert_eq!(read(limited, "pids.max"), before);
    guest.vserver("limits", ["processes=5", "--force"]).ok();
    assert_eq!(read(limited, "pids.max"), "5");
    guest.vserver("limits", [format!("processes={before}")]).ok();
    assert_eq!(read(limited, "pids.max"), before);
    guest.shell("kill $(pidof sleep)").ok();
}

/// Does what doctor says, until all limits can be enforced.
fn enable_all(host: &Host) {
    eventually(DEADLINE, "all controllers are enabled", || {
        let answer = host.vserver(["doctor", "--json"]).ok();
        let findings: Value = serde_json::from_str(&answer.stdout).expect("it is JSON");
        let all = findings.as_array().expect("a list");
        let limits = all.iter().find(|one| one["topic"] == "limits").expect("it is looked at");
        if limits["grade"] == "ok" {
            return Some(());
        }
        println!("{limits}");
        let remedy = limits["remedy"].as_str().expect("there is one");
        let remedy = remedy.strip_prefix("enable it: ").expect("systemd can");
        command::run(Command::new("/bin/sh").args(["-c", remedy]), DEADLINE).ok();
        None
    });
}

/// Kills for want of memory, as `status` or `usage` count them.
fn kills(host: &Host, verb: &str) -> f64 {
    let answer = host.vserver([verb, "web", "--json"]).ok();
    let value: Value = serde_json::from_str(&answer.stdout).expect("it is JSON");
    let value = value.as_array().map_or(&value, |all| &all[0]);
    value["memory_kills"].as_f64().unwrap_or_else(|| panic!("{answer}"))
}

/// What its supervisor has said, wherever that goes on this host.
fn logged(host: &Host, name: &str) -> String {
    let file = host.prefix().join(format!("var/log/vserver/{name}.supervisor.log"));
    let identifier = format!("vserver-{name}");
    let mut journal = Command::new("journalctl");
    journal.args(["--no-pager", "--output", "cat", "--identifier", &identifier]);
    fs::read_to_string(file).unwrap_or_default() + &command::run(&mut journal, DEADLINE).stdout
}

/// The cgroup with the guest's limits.
#[track_caller]
fn limited(host: &Host) -> PathBuf {
    let all = host.cgroups();
    let is_limited = |path: &&PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"guest-"))
    };
    all.iter()
        .find(is_limited)
        .unwrap_or_else(|| panic!("a running guest has one: {all:?}"))
        .clone()
}

#[track_caller]
fn read(cgroup: &Path, file: &str) -> String {
    let text = fs::read_to_string(cgroup.join(file));
    let text = text.unwrap_or_else(|cause| panic!("no {file} in {}: {cause}", cgroup.display()));
    text.trim().to_owned()
}

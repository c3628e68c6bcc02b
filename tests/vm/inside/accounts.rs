//! What only controllers count: memory and block devices, against the truth.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::{Guest, Host, Tree};

const MIB: f64 = 1_048_576.0;

/// How much memory is held for a while.
const HELD: f64 = 48.0 * MIB;

/// How much is written to a block device, and read from it.
const MOVED: f64 = 16.0 * MIB;

/// Memory is counted for each processor in batches of 64 pages (mm/memcontrol.c,
/// MEMCG_CHARGE_BATCH); the machine has two.
const BATCHES: f64 = 2.0 * 64.0 * 4096.0;

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn memory_and_block_devices_are_counted() {
    // systemd does that on hosts with DefaultIOAccounting=yes.
    std::fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+io").expect("it can be enabled");
    let host = Host::new();
    let guest = host.guest("web").tree(Tree::Busybox).build();
    let other = host.guest("other").tree(Tree::Busybox).build();
    guest.start();
    other.start();
    memory_is_counted(&guest, &other);
    blocks_are_counted(&guest);
    guest.kill_supervisor();
    let init = guest.init_pid();
    blocks_are_counted(&guest);
    guest.exec(["reboot"]);
    guest.wait_for_reboot(init);
    memory_is_counted(&guest, &other);
    blocks_are_counted(&guest);
    assert_eq!(figure(&guest, "stat", "memory_kills"), 0.0);
    // Some shells and what they have run, by this kernel's tracepoint as well.
    assert!(figure(&guest, "usage", "processes_started") >= 6.0);
    let written = figure(&guest, "usage", "written_bytes");
    assert!(written >= 3.0 * MOVED, "{written}");
    guest.stop();
    assert!(figure(&guest, "usage", "written_bytes") >= written);
}

/// What is held, what it was at most, and for how long it was held. The guest has
/// not held as much in this boot.
fn memory_is_counted(guest: &Guest<'_>, other: &Guest<'_>) {
    let memory = |guest| figure(guest, "stat", "memory_bytes");
    // Whatever a session needs is in memory.
    guest.shell("dd if=/dev/zero of=/run/memory bs=64k count=1 2>/dev/null; rm /run/memory").ok();
    let before = (memory(guest), memory(other));
    guest.shell("dd if=/dev/zero of=/run/memory bs=64k count=768 2>/dev/null").ok();
    let (now, peak) = (memory(guest), figure(guest, "stat", "memory_peak_bytes"));
    near("held", now - before.0, HELD, BATCHES);
    near("at most", peak - before.0, HELD, 2.0 * BATCHES);
    near("of the other one", memory(other) - before.1, 0.0, 2.0 * BATCHES);

    // It was noted in the time that each of the two questions took.
    let note = || {
        let asked = Instant::now();
        let noted = figure(guest, "usage", "memory_gib_hours") * 1024.0 * MIB * 3600.0;
        (noted, asked, Instant::now())
    };
    let first = note();
    thread::sleep(Duration::from_secs(5));
    let second = note();
    let (least, most) = (second.1 - first.2, second.2 - first.1);
    let held = (now - BATCHES) * 0.99 * least.as_secs_f64();
    let held = held..=(now + BATCHES) * 1.01 * most.as_secs_f64();
    assert!(held.contains(&(second.0 - first.0)), "{} in {held:?}", second.0 - first.0);

    guest.shell("rm /run/memory").ok();
    near("given back", memory(guest) - before.0, 0.0, 0.01 * HELD + BATCHES);
}

/// Past the cache: what is written and read is so at once, and by nobody else.
fn blocks_are_counted(guest: &Guest<'_>) {
    // The file's place is written by the file system, a few blocks.
    let blocks = 16.0 * 4096.0;
    for verb in ["stat", "usage"] {
        let figures = || ["written_bytes", "read_bytes"].map(|field| figure(guest, verb, field));
        let before = figures();
        guest.shell("dd if=/dev/zero of=/root/file bs=1M count=16 oflag=direct 2>/dev/null").ok();
        let between = figures();
        guest.shell("dd if=/root/file of=/dev/null bs=1M iflag=direct 2>/dev/null").ok();
        let after = figures();
        near("written", between[0] - before[0], MOVED, blocks);
        near("read", after[1] - between[1], MOVED, blocks);
        guest.shell("rm /root/file").ok();
    }
}

/// To one in a hundred, and what the kernel doesn't tell any finer.
#[track_caller]
fn near(what: &str, counted: f64, truth: f64, grain: f64) {
    let most = truth * 0.01 + grain;
    assert!((counted - truth).abs() <= most, "{what}: {counted} counted, {truth} true");
}

/// A figure of a guest, by one of the two commands.
#[track_caller]
fn figure(guest: &Guest<'_>, verb: &str, field: &str) -> f64 {
    let answer = guest.host().vserver([verb, "--json"]).ok();
    let rows: Vec<Value> = serde_json::from_str(&answer.stdout).expect("it is JSON");
    let row = rows.iter().find(|row| row["name"] == guest.name());
    let row = row.unwrap_or_else(|| panic!("no {}: {rows:?}", guest.name()));
    row[field].as_f64().unwrap_or_else(|| panic!("no {field}: {row}"))
}

//! What only controllers count: memory and block devices.

use serde_json::Value;
use tests::{Host, Tree};

const MIB: f64 = 1_048_576.0;

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
    guest.shell("dd if=/dev/zero of=/run/memory bs=1M count=48 2>/dev/null").ok();
    guest.shell("dd if=/dev/zero of=/root/file bs=1M count=8 conv=fsync 2>/dev/null").ok();
    let rows = |verb: &str| -> Vec<Value> {
        let answer = host.vserver([verb, "--json"]).ok();
        serde_json::from_str(&answer.stdout).expect("it is JSON")
    };
    let figure = |verb: &str, name: &str, field: &str| -> f64 {
        let rows = rows(verb);
        let row = rows.iter().find(|row| row["name"] == name);
        let row = row.unwrap_or_else(|| panic!("no {name}: {rows:?}"));
        row[field].as_f64().unwrap_or_else(|| panic!("no {field}: {row}"))
    };
    assert!(figure("stat", "web", "memory_bytes") >= 48.0 * MIB, "{:?}", rows("stat"));
    assert!(figure("stat", "other", "memory_bytes") < 24.0 * MIB, "{:?}", rows("stat"));
    assert!(figure("stat", "web", "written_bytes") >= 8.0 * MIB, "{:?}", rows("stat"));
    assert_eq!(figure("stat", "web", "memory_kills"), 0.0);
    guest.shell("rm /run/memory").ok();
    assert!(figure("stat", "web", "memory_bytes") < 40.0 * MIB, "{:?}", rows("stat"));
    assert!(figure("usage", "web", "memory_gib_hours") > 0.0);
    let written = figure("usage", "web", "written_bytes");
    assert!(written >= 8.0 * MIB, "{:?}", rows("usage"));
    // Three shells and what they have run, by this kernel's tracepoint as well.
    assert!(figure("usage", "web", "processes_started") >= 6.0, "{:?}", rows("usage"));
    guest.stop();
    assert!(figure("usage", "web", "written_bytes") >= written, "{:?}", rows("usage"));
}

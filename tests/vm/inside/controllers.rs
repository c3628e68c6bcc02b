//! Controllers of cgroups that a guest has for itself, below its limits.

use std::path::PathBuf;

use tests::{DEADLINE, Tree, eventually};

use crate::units::{Machine, read, systemctl, vserver};

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_guests_systemd_has_its_own() {
    let machine = Machine::new();
    let web = machine.guest("own", Tree::Systemd);
    vserver(&["start", "own"]).ok();
    eventually(DEADLINE, "its systemd is up", || {
        let state = vserver(&["exec", "own", "--", "systemctl", "is-system-running"]);
        (state.trimmed() == "running").then_some(())
    });
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

//! The test programs that are run in the virtual machine, and which of their
//! tests.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::machine::{BOOKWORM, Kind, SELINUX, TRIXIE};

/// Guest tests that are run again in the virtual machine. They are chosen by
/// what differs there: an older kernel, pure cgroup v2, systemd as the host's
/// init, AppArmor. Everything takes ten times as long, so not all are.
const AGAIN: &[&str] = &[
    "boot::leaves_nothing_when_stopped::Busybox",
    "boot::pid_1_is_small_and_holds_nothing_of_the_host::Busybox",
    "chbind::datagrams_have_own_sources",
    "chbind::many_addresses_fit",
    "chbind::other_sockets_are_refused",
    "chbind::programs_that_look_for_linux_vserver_find_it",
    "chbind::sockets_are_bound_to_own_addresses_only",
    "chbind::the_cgroup_goes_with_its_last_process",
    "chbind::the_loopback_address_is_private",
    "chbind::two_and_the_host_serve_on_one_port",
    "crash::a_crashed_guest_is_started_again::Busybox",
    "enter::is_a_shell_with_its_own_terminal::Busybox",
    "ephemeral::every_form_can_be_ephemeral::Busybox",
    "exec::death_by_a_signal_is_128_and_the_number::Busybox",
    "exec::sessions_are_as_confined_as_the_guest::Busybox",
    "exec::suexec_takes_the_users_groups_from_the_guest::Busybox",
    "exec::the_hosts_environment_and_descriptors_stay_outside::Busybox",
    "forged::are_not_heard_beside_the_host::Busybox",
    "forged::are_not_heard_on_a_bridge::Busybox",
    "host_safe::guest_init_cannot_be_overwritten_from_inside::Busybox",
    "inside::poweroff::Busybox",
    "inside::reboot::Busybox",
    "keepers::a_guest_outlives_all_of_the_host::",
    "keepers::its_addresses_outlive_keeper_and_supervisor::Busybox",
    "pause::a_stop_thaws_first::Busybox",
    "records::what_the_kernel_records_outlives_all::Busybox",
    "routed::traffic_is_counted_on_the_link::Busybox",
    "segment::a_step_that_fails_is_undone::Busybox",
    "serving::one_socket_serves_all_addresses::Busybox",
    "shared::a_loopback_address_of_ipv6_is_its_own::Busybox",
    "shared::guests_and_the_host_serve_on_one_port::Busybox",
    "shared::low_ports_are_for_who_has_the_capability::Busybox",
    "stubborn::stop_without_kill_fails_rather_than_kills::Busybox",
    "takeover::a_guest_outlives_its_supervisor::Busybox",
    "takeover::reboot_still_reboots_under_the_next_supervisor::Busybox",
    "takeover::stop_works_without_a_supervisor::Busybox",
    "usage::what_nobody_looked_after_is_counted_once::Busybox",
];

/// Says how many supervisors are killed, and makes the machine run what takes
/// longer than a test run may.
pub const KILLS: &str = "VSERVER_TEST_KILLS";

/// Says how many guests are started at once.
pub const GUESTS: &str = "VSERVER_TEST_GUESTS";

/// What takes longer, of the guest tests.
const LONG: &[&str] = &["kills::"];

/// What is run on the other machines, each with its program. On a newer one:
/// what another version of systemd, or of the kernel's cgroups, may do
/// otherwise.
const ELSEWHERE: &[(&str, &str, &[&str])] = &[
    (
        TRIXIE.name,
        "inside",
        &[
            "controllers::",
            "exhausted::a_unit_without_room",
            "host::",
            "keepers::",
            "kills::",
            "late::",
            "machined::a",
            "machined::every",
            "machined::nothing_waits",
            "many::",
            "package::",
            "power::",
            "quota::a_user",
            "steered::a_unit",
            "storage::",
            "units::a_",
            "units::an_upgrade",
            "units::its_limits",
            "units::one_that_is_not_up_yet",
            "units::vserver_and_systemctl",
        ],
    ),
    (
        TRIXIE.name,
        "guest",
        &[
            "boot::leaves_nothing_when_stopped::Busybox",
            "inside::reboot::Busybox",
            "shared::low_ports_are_for_who_has_the_capability::Busybox",
            "takeover::a_guest_outlives_its_supervisor::Busybox",
        ],
    ),
    (SELINUX.name, "inside", &[SELINUX_ONLY]),
];

/// Tests that need SELinux in place of AppArmor.
const SELINUX_ONLY: &str = "selinux::";

/// A test program of this workspace.
pub struct Program {
    /// The name that Cargo.toml gives it.
    pub name: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Beginnings of the names of its tests that are run on the first machine.
    starts: Vec<&'static str>,
}

impl Program {
    /// The names of its tests that are run on this machine.
    ///
    /// # Panics
    /// When it can't say them, and when a beginning fits none.
    pub fn tests(&self, kind: &Kind) -> Vec<String> {
        let starts = match kind.name {
            name if name == BOOKWORM.name => &self.starts,
            _ => ELSEWHERE
                .iter()
                .find(|(machine, program, _)| *machine == kind.name && *program == self.name)
                .map_or(&[][..], |(.., starts)| starts),
        };
        let mut list = Command::new(&self.path);
        let list = list.args(["--list", "--ignored", "--format", "terse"]).output();
        let list = list.unwrap_or_else(|cause| panic!("cannot run {:?}: {cause}", self.path));
        let list = String::from_utf8_lossy(&list.stdout).into_owned();
        let all = || list.lines().filter_map(|line| line.strip_suffix(": test"));
        for start in starts {
            let any = all().any(|name| name.starts_with(start));
            assert!(any, "the program '{}' has no test '{start}'; see {}", self.name, file!());
        }
        let chosen = |name: &&str| {
            let fits = name.starts_with(SELINUX_ONLY) == (kind.name == SELINUX.name);
            fits && starts.iter().any(|start| name.starts_with(start))
        };
        all().filter(chosen).map(str::to_owned).collect()
    }

    /// What a test of it is called here.
    pub fn case(&self, test: &str) -> String {
        format!("{}::{test}", self.name)
    }
}

/// A line that cargo prints with `--message-format=json`.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// The programs, built now: cargo tells a test nothing about other tests.
///
/// # Panics
/// When one can't be built.
pub fn all() -> Vec<Program> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    build.args(["test", "--no-run", "--quiet", "--message-format=json-render-diagnostics"]);
    build.args(["-p", "tests", "--test", "inside", "--test", "guest"]).stderr(Stdio::inherit());
    let output = build.output().expect("cargo can be run");
    assert!(output.status.success(), "the test programs can't be built");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let built: Vec<_> =
        messages.filter_map(|message| Some((message.target?.name, message.executable?))).collect();
    let find = |name: &'static str, starts| {
        let path = built.iter().find(|(built, _)| built == name).map(|(_, path)| path.clone());
        Program { name, path: path.expect("cargo says where it puts what it builds"), starts }
    };
    let long = env::var_os(KILLS).map_or(&[][..], |_| LONG);
    vec![find("inside", vec![""]), find("guest", [AGAIN, long].concat())]
}

//! The test programs that are run in the virtual machine, and which of their
//! tests.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::machine::{BOOKWORM, Kind, SELINUX, TRIXIE};

use Usual::{Both, LongRun, LongRunNewer, Newer, NewerAlone, Older};

/// The machines on which `tests/run` has tests. Everything takes ten to twenty times
/// as long there, so each is run where it has most to say; on both only where what
/// differs, the version of systemd or of the kernel, may change how it goes. The long
/// run has all of them on both.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Usual {
    Older,
    Newer,
    /// In the long run, too: the other one can't show it.
    NewerAlone,
    Both,
    /// On none.
    LongRun,
    /// In the long run, on that one alone.
    LongRunNewer,
}

impl Usual {
    fn has(self, kind: &Kind) -> bool {
        match kind.name {
            name if name == BOOKWORM.name => matches!(self, Older | Both),
            name if name == TRIXIE.name => matches!(self, Newer | NewerAlone | Both),
            _ => false,
        }
    }
}

/// Beginnings of names of tests, and where those are run. Of several that fit, the
/// longest counts.
type List = &'static [(&'static str, Usual)];

/// The tests for such hosts.
const INSIDE: List = &[
    ("accounts::", Newer),
    ("adopted::a_boot", LongRun),
    ("adopted::a_guest_whose_unit_has_failed_is_stopped", Both),
    // Before systemd 254 it is a guard that counts, up to 60.
    ("adopted::a_unit_that_is_started_too_often", NewerAlone),
    ("adopted::", Newer),
    ("alone::", Older),
    ("apparmor::a_profile", Older),
    ("apparmor::busybox", Older),
    ("apparmor::debian_boots", LongRun),
    ("apparmor::denies", Older),
    ("apparmor::holds", Older),
    ("apparmor::is_enforcing", Older),
    ("apparmor::systemd_boots", LongRun),
    ("bombs::", Newer),
    ("bound::", Newer),
    ("controllers::", Newer),
    ("controllers::a_guests_systemd_has_its_own_with_the_hosts_users", LongRun),
    ("controllers::a_newer_systemd", LongRun),
    ("exhausted::", Older),
    ("harmed::", Older),
    ("host::", Both),
    ("journal::", Older),
    ("keepers::", Older),
    ("kills::", Older),
    ("late::a_boot_that_crashes", Newer),
    ("late::a_boot_that_goes_on", LongRun),
    // With a systemd that needs none.
    ("late::a_guard", LongRunNewer),
    ("late::a_shutdown", Older),
    ("late::a_stuck_supervisor", Older),
    ("limits::", Older),
    ("machined::a_", Older),
    ("machined::all_of", Both),
    ("machined::another", Older),
    ("machined::nothing_waits", Newer),
    ("machined::sysvinit", LongRun),
    ("many::", Older),
    ("mixed::", Newer),
    ("noise::", Older),
    ("package::", Newer),
    ("ordered::", Both),
    ("power::", Both),
    ("quota::", Older),
    ("renamed::", Newer),
    ("sockets::", Older),
    ("steered::a_guest_may", Older),
    ("steered::a_guests_file_system", Newer),
    ("steered::a_shutdown", Older),
    ("steered::a_start_by_hand", Newer),
    ("steered::a_start_waits", Older),
    ("steered::a_unit_that_was_frozen", Older),
    ("steered::mistakes", Newer),
    ("steered::what", Newer),
    ("storage::", Older),
    ("units::a_supervisor_that_is_killed", Both),
    ("units::an_upgrade", Both),
    ("units::", Newer),
    ("verbs::", LongRun),
    ("verbs::busybox", Older),
    ("verbs::dinit", Newer),
];

/// Tests that need SELinux in place of AppArmor, and have a machine of their own.
const SELINUX_ONLY: &str = "selinux::";

/// Guest tests that are run again in the virtual machine. They are chosen by
/// what differs there: an older kernel, pure cgroup v2, systemd as the host's
/// init, AppArmor.
const AGAIN: List = &[
    ("boot::leaves_nothing_when_stopped::Busybox", Both),
    ("boot::pid_1_is_small_and_holds_nothing_of_the_host::Busybox", Older),
    ("chbind::datagrams_have_own_sources", Older),
    ("chbind::many_addresses_fit", Older),
    ("chbind::programs_that_look_for_linux_vserver_find_it", Older),
    ("chbind::sockets_are_bound_to_own_addresses_only", Older),
    ("chbind::the_cgroup_goes_with_its_last_process", Older),
    ("chbind::the_loopback_address_is_private", Older),
    ("chbind::two_and_the_host_serve_on_one_port", Older),
    ("chbind_sockets::others_are_refused", Older),
    ("crash::a_crashed_guest_is_started_again::Busybox", LongRun),
    ("emptied::", LongRun),
    ("enter::is_a_shell_with_its_own_terminal::Busybox", LongRun),
    ("ephemeral::every_form_can_be_ephemeral::Busybox", LongRun),
    ("exec::death_by_a_signal_is_128_and_the_number::Busybox", LongRun),
    ("exec::sessions_are_as_confined_as_the_guest::Busybox", Older),
    ("exec::suexec_takes_the_users_groups_from_the_guest::Busybox", LongRun),
    ("exec::the_hosts_environment_and_descriptors_stay_outside::Busybox", LongRun),
    ("forged::are_not_heard_beside_the_host::Busybox", Older),
    ("forged::are_not_heard_on_a_bridge::Busybox", Older),
    ("hostile::descriptors_on_the_link::Busybox", Older),
    ("host_safe::guest_init_cannot_be_overwritten_from_inside::Busybox", LongRun),
    ("inside::poweroff::Busybox", LongRun),
    ("inside::reboot::Busybox", Both),
    ("keepers::a_guest_outlives_all_of_the_host::", LongRun),
    ("keepers::its_addresses_outlive_keeper_and_supervisor::Busybox", Older),
    ("pause::a_stop_thaws_first::Busybox", Newer),
    ("records::what_the_kernel_records_outlives_all::Busybox", Newer),
    ("routed::traffic_is_counted_on_the_link::Busybox", Older),
    ("segment::a_step_that_fails_is_undone::Busybox", Older),
    ("serving::one_socket_serves_all_addresses::Busybox", Older),
    ("shared::a_loopback_address_of_ipv6_is_its_own::Busybox", Older),
    ("shared::guests_and_the_host_serve_on_one_port::Busybox", Older),
    ("shared::low_ports_are_for_who_has_the_capability::Busybox", Both),
    ("stubborn::stop_without_kill_fails_rather_than_kills::Busybox", LongRun),
    ("takeover::a_guest_outlives_its_supervisor::Busybox", Newer),
    ("takeover::reboot_still_reboots_under_the_next_supervisor::Busybox", LongRun),
    ("takeover::stop_works_without_a_supervisor::Busybox", Newer),
    ("usage::what_nobody_looked_after_is_counted_once::Busybox", Older),
];

/// Has the machines run all of that, wherever it is run usually.
pub const ALL: &str = "VSERVER_TEST_ALL";

/// Says how many supervisors are killed, and makes the machine run what takes
/// longer than a test run may.
pub const KILLS: &str = "VSERVER_TEST_KILLS";

/// Says how many guests are started at once.
pub const GUESTS: &str = "VSERVER_TEST_GUESTS";

/// What takes longer, of the guest tests.
const LONG: List = &[("kills::", Older)];

/// A test program of this workspace.
pub struct Program {
    /// The name that Cargo.toml gives it.
    pub name: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Its tests that the machines run.
    list: Vec<(&'static str, Usual)>,
}

impl Program {
    /// The names of its tests that are run on this machine.
    ///
    /// # Panics
    /// When it can't say them, when a beginning fits none, and when a test for such
    /// hosts isn't in the list.
    pub fn tests(&self, kind: &Kind) -> Vec<String> {
        let output = Command::new(&self.path)
            .args(["--list", "--ignored", "--format", "terse"])
            .output()
            .unwrap_or_else(|cause| panic!("cannot run {:?}: {cause}", self.path));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let all: Vec<_> = text.lines().filter_map(|line| line.strip_suffix(": test")).collect();
        for (start, _) in &self.list {
            let any = all.iter().any(|name| name.starts_with(start));
            assert!(any, "the program '{}' has no test '{start}'; see {}", self.name, file!());
        }
        let is_chosen = |name: &str| {
            if name.starts_with(SELINUX_ONLY) {
                return kind.name == SELINUX.name;
            }
            let places = self.list.iter().filter(|(start, _)| name.starts_with(start));
            // The longest says more than the others.
            let place = places.max_by_key(|(start, _)| start.len());
            let is_known = place.is_some() || self.name != INSIDE_NAME;
            assert!(is_known, "'{name}' is run nowhere; see {}", file!());
            let everywhere = kind.name != SELINUX.name && env::var_os(ALL).is_some();
            place.is_some_and(|(_, usual)| match usual {
                LongRunNewer => everywhere && kind.name == TRIXIE.name,
                NewerAlone => usual.has(kind),
                _ => everywhere || usual.has(kind),
            })
        };
        all.into_iter().filter(|name| is_chosen(name)).map(str::to_owned).collect()
    }

    /// What a test of it is called here.
    pub fn case(&self, test: &str) -> String {
        format!("{}::{test}", self.name)
    }
}

/// The program whose tests all have a machine.
pub const INSIDE_NAME: &str = "inside";

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
    // As tests/run builds them.
    build.args(["--workspace", "--test", "inside", "--test", "guest"]).stderr(Stdio::inherit());
    let output = build.output().expect("cargo can be run");
    assert!(output.status.success(), "the test programs can't be built");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let built: Vec<_> =
        messages.filter_map(|message| Some((message.target?.name, message.executable?))).collect();
    let find = |name: &'static str, list| {
        let path = built.iter().find(|(built, _)| built == name).map(|(_, path)| path.clone());
        Program { name, path: path.expect("cargo says where it puts what it builds"), list }
    };
    let long = env::var_os(KILLS).map_or(&[][..], |_| LONG);
    vec![find(INSIDE_NAME, INSIDE.to_vec()), find("guest", [AGAIN, long].concat())]
}

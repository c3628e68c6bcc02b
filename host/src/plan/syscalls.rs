//! Which system calls a guest is refused, as data with a reason each.
//!
//! Most of them the kernel refuses to the default capability set anyway: the
//! filter is there for the day on which a check in the kernel is missing, for
//! what no capability guards, and for guests with the host's ids. Everything
//! newer than [`crate::seccomp::LAST_JUDGED`] doesn't exist inside.

use caps::Capability;
use linux_raw_sys::ioctl::{
    BTRFS_IOC_SNAP_CREATE, BTRFS_IOC_SNAP_CREATE_V2, BTRFS_IOC_SUBVOL_CREATE,
    BTRFS_IOC_SUBVOL_CREATE_V2,
};
use serde::{Deserialize, Serialize};

use crate::bpf::socket::FAMILIES;
use crate::seccomp::{Answer, Rule, When};

use Answer::{Ignored, NoSuchRequest, NotImplemented, NotPermitted};

/// What a guest's configuration and its host change about the filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowances {
    /// `security.nesting`.
    pub nesting: bool,
    /// `security.io_uring`.
    pub io_uring: bool,
    /// Does a program on the guest's cgroup judge the families of sockets?
    /// The filter can't where a call passes them in memory.
    pub families_judged: bool,
    /// Names of the capabilities that the guest's root has.
    pub capabilities: Vec<String>,
    /// Are they the host's, and not those over the guest's own user namespace?
    #[serde(default)]
    pub reach_host: bool,
}

impl Allowances {
    fn has(&self, capability: Capability) -> bool {
        self.capabilities.iter().any(|name| *name == capability.to_string())
    }
}

/// A rule, why it is there, and what lifts it.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// The rule.
    pub rule: Rule,
    /// Why.
    pub reason: &'static str,
    /// What lifts it.
    pub unless: Unless,
}

/// What lifts a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unless {
    /// Nothing.
    Never,
    /// `security.nesting`.
    Nesting,
    /// `security.io_uring`.
    IoUring,
    /// A program on the cgroup that sees what the filter doesn't.
    FamiliesJudged,
    /// The guest was given this capability, which is what the call needs.
    Has(Capability),
    /// The same, and the kernel asks for it over the host's user namespace.
    HasOnHost(Capability),
}

impl Unless {
    fn lifted(self, by: &Allowances) -> bool {
        match self {
            Self::Never => false,
            Self::Nesting => by.nesting,
            // Its sockets pass the filter.
            Self::IoUring => by.io_uring && by.families_judged,
            Self::FamiliesJudged => by.families_judged,
            Self::Has(capability) => by.has(capability),
            Self::HasOnHost(capability) => by.reach_host && by.has(capability),
        }
    }
}

const fn refuse(
    calls: &'static [&'static str],
    when: When,
    answer: Answer,
    unless: Unless,
    reason: &'static str,
) -> Refusal {
    Refusal { rule: Rule { calls, when, answer }, reason, unless }
}

/// `CLONE_NEW*` (clone(2)). `CLONE_NEWTIME` is one of unshare(2) only: in
/// clone(2) the bit belongs to the signal.
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;
const NEW_TIME: u32 = 0x80;

/// Families of sockets that a guest may use: those of the program that sees
/// more calls than the filter.
const SOCKET_FAMILIES: [u32; FAMILIES.len()] = {
    let mut families = [0; FAMILIES.len()];
    let mut place = 0;
    while place < families.len() {
        families[place] = FAMILIES[place] as u32;
        place += 1;
    }
    families
};

/// `SYS_SOCKET` and `SYS_SOCKETPAIR` (linux/net.h).
pub const SOCKETCALL_NEW: [u32; 2] = [1, 8];

/// ioctl_tty(2).
const TERMINAL_INPUT: [u32; 2] = [libc::TIOCSTI as u32, libc::TIOCLINUX as u32];

/// ioctl_tty(2).
const LINE_DISCIPLINE: [u32; 1] = [libc::TIOCSETD as u32];

/// Requests of btrfs that make a subvolume, the same on all architectures.
const SUBVOLUMES: [u32; 4] = [
    BTRFS_IOC_SUBVOL_CREATE,
    BTRFS_IOC_SUBVOL_CREATE_V2,
    BTRFS_IOC_SNAP_CREATE,
    BTRFS_IOC_SNAP_CREATE_V2,
];

/// `RLIMIT_NICE`, `RLIMIT_RTPRIO` (getrlimit(2)).
const SCHEDULING_LIMITS: [u32; 2] = [13, 14];

/// All refusals.
pub const REFUSALS: [Refusal; 34] = [
    refuse(
        &["mount", "umount", "umount2", "pivot_root"],
        When::Always,
        NotPermitted,
        Unless::Nesting,
        "mounts are the host's; in another namespace they would show what is covered",
    ),
    refuse(
        &["open_tree", "open_tree_attr", "move_mount", "mount_setattr"],
        When::Always,
        NotPermitted,
        Unless::Nesting,
        "mounts, the newer calls",
    ),
    refuse(
        &["fsopen", "fsconfig", "fsmount", "fspick"],
        When::Always,
        NotPermitted,
        Unless::Nesting,
        "mounts, the newer calls",
    ),
    refuse(
        &["unshare"],
        When::AnyBit { argument: 0, bits: NAMESPACES | NEW_TIME },
        NotPermitted,
        Unless::Nesting,
        "root of a new user namespace has every capability in it",
    ),
    refuse(
        &["clone"],
        When::AnyBit { argument: 0, bits: NAMESPACES },
        NotPermitted,
        Unless::Nesting,
        "root of a new user namespace has every capability in it",
    ),
    refuse(
        &["clone3"],
        When::Always,
        NotImplemented,
        Unless::Nesting,
        "its flags lie in memory, where a filter can't see them; libc takes clone",
    ),
    refuse(
        &["setns"],
        When::Always,
        NotPermitted,
        Unless::Nesting,
        "other namespaces are other guests'",
    ),
    refuse(
        &["init_module", "finit_module", "delete_module", "create_module", "query_module"],
        When::Always,
        NotPermitted,
        Unless::Never,
        "modules are the kernel",
    ),
    refuse(
        &["kexec_load", "kexec_file_load"],
        When::Always,
        NotPermitted,
        Unless::Never,
        "another kernel",
    ),
    refuse(
        &["bpf"],
        When::Always,
        NotPermitted,
        Unless::Has(Capability::CAP_BPF),
        "programs in the kernel",
    ),
    refuse(
        &["perf_event_open"],
        When::Always,
        NotPermitted,
        Unless::Has(Capability::CAP_PERFMON),
        "watches other processes, and has had many mistakes",
    ),
    refuse(
        &["pidfd_getfd"],
        When::Always,
        NotPermitted,
        Unless::Nesting,
        "takes descriptors out of other processes, also of one just come from the host; \
         only managers of containers need it",
    ),
    refuse(
        &["add_key", "request_key", "keyctl"],
        When::Always,
        NotPermitted,
        Unless::Nesting,
        "keyrings of a user are shared by all who have its number",
    ),
    refuse(
        &["settimeofday", "clock_settime", "clock_settime64", "stime"],
        When::Always,
        NotPermitted,
        Unless::Has(Capability::CAP_SYS_TIME),
        "the clock is the machine's",
    ),
    refuse(
        &["adjtimex", "clock_adjtime", "clock_adjtime64"],
        When::Always,
        NotPermitted,
        Unless::Has(Capability::CAP_SYS_TIME),
        "the clock is the machine's; whether a call only reads lies in memory",
    ),
    refuse(
        &["swapon", "swapoff"],
        When::Always,
        NotPermitted,
        Unless::Never,
        "swap is the machine's",
    ),
    refuse(
        &["quotactl", "quotactl_fd"],
        When::Always,
        NotPermitted,
        Unless::Never,
        "quotas are set on the host",
    ),
    refuse(
        &["open_by_handle_at"],
        When::Always,
        NotPermitted,
        Unless::Never,
        "opens any file of a file system by its number, outside the root too",
    ),
    refuse(
        &["userfaultfd"],
        When::Always,
        NotPermitted,
        Unless::Never,
        "stops the kernel where an attacker likes",
    ),
    refuse(
        &["io_uring_setup", "io_uring_enter", "io_uring_register"],
        When::Always,
        NotPermitted,
        Unless::IoUring,
        "does calls that no filter sees, and has had many mistakes",
    ),
    refuse(
        &["ioctl"],
        When::OneOf { argument: 1, values: &TERMINAL_INPUT },
        NotPermitted,
        Unless::Never,
        "types into the terminal of whoever started the program",
    ),
    refuse(
        &["ioctl"],
        When::OneOf { argument: 1, values: &LINE_DISCIPLINE },
        NotPermitted,
        Unless::HasOnHost(Capability::CAP_NET_ADMIN),
        "loads modules that drive modems and serial links, with mistakes (CVE-2017-2636); \
         what makes network interfaces of lines needs this capability over the host anyway",
    ),
    refuse(
        &["ioctl"],
        When::OneOf { argument: 1, values: &SUBVOLUMES },
        // systemd-tmpfiles and others make directories then.
        NoSuchRequest,
        Unless::Never,
        "a subvolume inside the guest's own would be missing in snapshots and copies, \
         and read-only ones can't be removed as files can",
    ),
    refuse(
        &["socket", "socketpair"],
        When::NoneOf { argument: 0, values: &SOCKET_FAMILIES },
        NotPermitted,
        Unless::Never,
        "families beside unix, inet, inet6, netlink and packet: vsock reaches past \
         the machine, alg and others have had many mistakes",
    ),
    refuse(
        &["socketcall"],
        When::OneOf { argument: 0, values: &SOCKETCALL_NEW },
        NotPermitted,
        Unless::FamiliesJudged,
        "the family lies in memory, and nothing else on this host judges it \
         (no BPF among the kernel's security modules)",
    ),
    refuse(
        &["syslog"],
        When::Always,
        NotPermitted,
        Unless::Has(Capability::CAP_SYSLOG),
        "messages of the kernel are the host's",
    ),
    refuse(
        &["iopl", "ioperm"],
        When::Always,
        NotPermitted,
        Unless::Has(Capability::CAP_SYS_RAWIO),
        "ports of the machine's devices",
    ),
    refuse(
        &["vm86", "vm86old"],
        When::Always,
        NotPermitted,
        Unless::Never,
        "a mode of old processors, with mistakes",
    ),
    refuse(
        &["acct"],
        When::Always,
        NotPermitted,
        Unless::Has(Capability::CAP_SYS_PACCT),
        "process accounting is the host's",
    ),
    refuse(
        &["modify_ldt"],
        When::Always,
        NotPermitted,
        Unless::Never,
        "segments for programs of old systems, with mistakes",
    ),
    refuse(
        &["nfsservctl", "uselib", "lookup_dcookie", "sysfs", "_sysctl", "ustat"],
        When::Always,
        NotImplemented,
        Unless::Never,
        "nobody needs them any more",
    ),
    refuse(
        &["setpriority"],
        // A negative number.
        When::AnyBit { argument: 2, bits: 1 << 31 },
        Ignored,
        Unless::Has(Capability::CAP_SYS_NICE),
        "PAM refuses a login whose nice level it can't set (util-vserver's igneg_nice)",
    ),
    refuse(
        &["setrlimit"],
        When::OneOf { argument: 0, values: &SCHEDULING_LIMITS },
        Ignored,
        Unless::Has(Capability::CAP_SYS_NICE),
        "PAM refuses a login whose limits it can't set; these two would be of no use",
    ),
    refuse(
        &["prlimit64"],
        When::OneOfAndSet { argument: 1, values: &SCHEDULING_LIMITS, pointer: 2 },
        Ignored,
        Unless::Has(Capability::CAP_SYS_NICE),
        "the same, as libc does it",
    ),
];

/// The refusals that hold for a guest.
pub fn refusals(allowances: &Allowances) -> impl Iterator<Item = &'static Refusal> {
    REFUSALS.iter().filter(|refusal| !refusal.unless.lifted(allowances))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp;

    fn calls(allowances: &Allowances) -> Vec<&'static str> {
        refusals(allowances).flat_map(|refusal| refusal.rule.calls).copied().collect()
    }

    #[test]
    fn every_set_of_rules_compiles() {
        for bits in 0..8 {
            let allowances = Allowances {
                nesting: bits & 1 != 0,
                io_uring: bits & 2 != 0,
                families_judged: bits & 4 != 0,
                ..Allowances::default()
            };
            let rules: Vec<_> = refusals(&allowances).map(|refusal| refusal.rule).collect();
            let programs = seccomp::compile(&rules).unwrap();
            assert!(programs.iter().all(|program| program.len() < 4096));
        }
    }

    #[test]
    fn options_and_capabilities_lift_what_they_are_for() {
        let plain = calls(&Allowances::default());
        assert!(plain.contains(&"mount") && plain.contains(&"io_uring_setup"));
        let nesting = calls(&Allowances { nesting: true, ..Allowances::default() });
        assert!(!nesting.contains(&"mount") && nesting.contains(&"kexec_load"));
        let capabilities = vec!["CAP_SYS_TIME".to_owned()];
        let clock = calls(&Allowances { capabilities, ..Allowances::default() });
        assert!(!clock.contains(&"clock_settime") && clock.contains(&"mount"));
        // Some are of use on the host only.
        let capabilities = vec!["CAP_NET_ADMIN".to_owned()];
        let inside = Allowances { nesting: true, capabilities, ..Allowances::default() };
        let lines = When::OneOf { argument: 1, values: &LINE_DISCIPLINE };
        let refuses = |by: &Allowances| refusals(by).any(|refusal| refusal.rule.when == lines);
        assert!(refuses(&Allowances::default()) && refuses(&inside));
        assert!(refuses(&Allowances { reach_host: true, ..Allowances::default() }));
        assert!(!refuses(&Allowances { reach_host: true, ..inside }));
    }
}

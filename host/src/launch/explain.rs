//! A failed step as one sentence, and the remedy where the cause is known.

use std::io;
use std::path::Path;

use shared::stage::{Failure, Stage};

use crate::config::parse::root_in;
use crate::config::{Credential, CredentialFile};
use crate::error::Error;
use crate::exhausted;
use crate::plan::limits::OTHER_PROCESSORS;
use crate::plan::{Door, Far, Label, Link, Network, Plan};
use crate::storage::{NO_OVERLAY, Part};

/// Says what failed. The numbers came from a process that was being built;
/// the names come from the plan. Guests' roots are usually in the directory `usual`.
pub fn explain(plan: &Plan, usual: &Path, failure: Failure) -> Error {
    let Failure { stage, step, errno } = failure;
    let object = match stage {
        Stage::Mount => plan.mounts.get(usize::from(step)).map(crate::plan::Mount::describe),
        // Step 0 is the filter itself.
        Stage::Devices => device(plan, step).map(|name| format!("at '/dev/{name}'")),
        // Step 0 are the cgroups themselves.
        Stage::Cgroup => limit(plan, step),
        Stage::Route => plan.network.addresses().get(usize::from(step)).map(ToString::to_string),
        Stage::ProcessRecords => {
            plan.process_records.as_ref().map(|file| format!("in '{}'", file.display()))
        }
        Stage::OpenBinds | Stage::IdmapBinds => {
            let bind = plan.binds.get(usize::from(step));
            bind.map(|bind| format!("'{}'", bind.source.display()))
        }
        Stage::Credentials => {
            credential(plan, step).map(|(name, credential)| format!("'{name}' ({credential})"))
        }
        Stage::IdmapRoot => Some(format!("'{}'", plan.place.root.display())),
        _ => None,
    };
    let what = match object {
        None if stage == Stage::OpenRoot => Part::of_step(step).describe(&plan.place),
        Some(object) if stage == Stage::Mount => format!("{} {object}", stage.describe()),
        Some(object) => format!("{} {object}", stage.describe()),
        None => stage.describe().to_owned(),
    };
    let cause = io::Error::from_raw_os_error(errno);
    let error = Error::os(format_args!("cannot start guest '{}': {what}", plan.name), cause);
    match hint(plan, usual, failure) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// How the guest is joined to a network of many machines.
fn door(plan: &Plan) -> Option<&Door> {
    match &plan.network {
        Network::Linked(Link { far: Far::Segment { door, .. }, .. }) => Some(door),
        _ => None,
    }
}

/// The credential that this step is about.
fn credential(plan: &Plan, step: u16) -> Option<&(String, Credential)> {
    plan.credentials.get(usize::from(step))
}

/// The configured device that this step is about.
fn device(plan: &Plan, step: u16) -> Option<&str> {
    let number = usize::from(step).checked_sub(1)?;
    plan.devices.get(number).map(|device| device.name.as_str())
}

/// The limit that this step is about.
fn limit(plan: &Plan, step: u16) -> Option<String> {
    let number = usize::from(step).checked_sub(1)?;
    let setting = plan.limits.settings.get(number)?;
    Some(format!("(limits.{}: '{}' to {})", setting.key, setting.value, setting.file))
}

fn hint(plan: &Plan, usual: &Path, failure: Failure) -> Option<String> {
    let Failure { stage, step, errno } = failure;
    let name = &plan.name;
    let lacking = match stage {
        Stage::Fork | Stage::Clone => exhausted::of_fork(name, errno),
        _ => exhausted::of_files(name, errno),
    };
    if lacking.is_some() {
        return lacking;
    }
    Some(match (stage, errno) {
        (Stage::OpenRoot, libc::ENOENT | libc::ENOTDIR) if step == Part::Root as u16 => {
            match root_in(&plan.configuration) {
                None => {
                    format!("the guest has no root directory; 'vserver build {name}' makes one")
                }
                Some(_) => format!(
                    "'root' in the guest's configuration names it, and nothing is there; say where \
                     its files are: vserver config set {name} root DIR"
                ),
            }
        }
        (Stage::OpenRoot, _) => return Part::of_step(step).hint(&plan.place, usual, errno),
        (Stage::AttachRoot, libc::EROFS) if plan.disk.bytes.is_some() => format!(
            "the kernel finds no room for its own files there: the guest may have all that \
             limits.disk allows; give it more: vserver limits {name} disk=SIZE"
        ),
        (Stage::AttachRoot, _) if plan.scratch.is_some() || plan.place.base().is_some() => {
            NO_OVERLAY.to_owned()
        }
        (Stage::Resolver, _) => {
            format!("or leave its file alone: vserver config unset {name} network.dns")
        }
        (Stage::OpenBinds, libc::ENOENT | libc::ENOTDIR) => format!(
            "mounts.bind lists it and it isn't there; make it, or let it be missing with the \
             option 'optional': vserver config edit {name}"
        ),
        (Stage::OpenBinds, libc::ELOOP) => format!(
            "there is a symbolic link on the way, which others may be able to change; give the \
             place itself, which 'realpath' tells: vserver config edit {name}"
        ),
        (Stage::OpenBinds, libc::EPERM) => format!(
            "every user of the host could run the setuid programs that the guest makes there; \
             close a directory above it (chmod 0700), or give it the option 'ro' or, with ids of \
             its own, 'noidmap': vserver config edit {name}"
        ),
        (Stage::Credentials, errno) => {
            let file = match credential(plan, step)? {
                (_, Credential::File(CredentialFile { file })) => file.display(),
                _ => return None,
            };
            match errno {
                libc::ENOENT | libc::ENOTDIR => {
                    format!("boot.credentials names '{file}' and it isn't there")
                }
                libc::ELOOP => format!(
                    "there is a symbolic link on the way, which others may be able to change; give \
                     the place itself, which 'realpath' tells: vserver config edit {name}"
                ),
                libc::EPERM => format!(
                    "others could put something else there: '{file}' and all directories above it \
                     have to be root's, and nobody else may write to them"
                ),
                libc::ENODEV => format!("'{file}' is no ordinary file"),
                libc::EFBIG => "all credentials together are longer than 1 MiB".to_owned(),
                _ => return None,
            }
        }
        (Stage::IdmapBinds, libc::EINVAL | libc::EPERM) => format!(
            "its file system can't map ids; with the option 'noidmap' files have the host's \
             owners: vserver config edit {name}"
        ),
        (Stage::Devices, libc::ENOENT | libc::ENOTDIR) => format!(
            "devices.allow lists it and the host has no such node; load its module, or change \
             the list: vserver config edit {name}"
        ),
        (Stage::Devices, libc::ENODEV) => format!(
            "what devices.allow lists there is no device; change it: vserver config edit {name}"
        ),
        (Stage::Devices, libc::EPERM | libc::EACCES | libc::EINVAL | libc::EOPNOTSUPP) => {
            "the kernel refuses eBPF programs on cgroups or device nodes; 'vserver doctor' says \
             what is missing"
                .to_owned()
        }
        (Stage::IdmapRoot, libc::EINVAL | libc::EPERM) => format!(
            "this file system can't map ids; move the guest to ext4, xfs or btrfs, or: \
             vserver config set {name} security.users identity"
        ),
        (Stage::Clone, libc::ENOSPC | libc::EUSERS) => {
            "a limit on namespaces is reached; see /proc/sys/user/max_*_namespaces".to_owned()
        }
        (Stage::Clone | Stage::TimeNamespace, libc::EINVAL) => {
            "this kernel lacks a namespace type; 'vserver doctor' says which".to_owned()
        }
        (Stage::Cgroup, libc::ENXIO) => OTHER_PROCESSORS.to_owned(),
        (Stage::Cgroup, libc::ENOENT) => {
            "this kernel has no such limit; 'vserver doctor' says which it lacks".to_owned()
        }
        (Stage::Clone | Stage::TimeNamespace | Stage::Cgroup, libc::EPERM | libc::EACCES) => {
            "vserver needs root with all capabilities; 'vserver doctor' says what is missing"
                .to_owned()
        }
        (Stage::Label, _) => match &plan.label {
            Some(Label::AppArmor(profile)) => format!(
                "AppArmor has to be active and the profile '{profile}' loaded \
                 (apparmor_parser(8)), or: vserver config unset {name} security.apparmor"
            ),
            _ => format!(
                "SELinux has to be active and know that label, or: \
                 vserver config unset {name} security.selinux"
            ),
        },
        (Stage::ExecInit, libc::EACCES | libc::EPERM) => match &plan.label {
            Some(Label::SeLinux(label)) => format!(
                "the policy has to let vserver's domain change to {label} at an execve(2), also \
                 with nosuid (process2 nosuid_transition, policycap nnp_nosuid_transition); \
                 'ausearch -m avc' tells what it has refused"
            ),
            Some(Label::AppArmor(profile)) => format!(
                "the profile '{profile}' has to allow PID 1 to be executed; the kernel's log \
                 tells what it has refused: journalctl -k --grep apparmor"
            ),
            None => return None,
        },
        (Stage::Link, libc::EEXIST) => format!(
            "the host has an interface of the link's name already ('ip link' lists them); \
             rename that one, or the guest '{name}'"
        ),
        (Stage::Link, libc::EPERM | libc::EACCES) => {
            "vserver has to make interfaces and load eBPF programs; 'vserver doctor' says what \
             is missing"
                .to_owned()
        }
        (Stage::Link, libc::ENOENT | libc::EOPNOTSUPP | libc::EINVAL) => match door(plan) {
            Some(Door::Macvlan(macvlan)) => format!(
                "the kernel needs CONFIG_MACVLAN, CONFIG_VETH, CONFIG_NET_SCH_INGRESS and \
                 CONFIG_NET_CLS_BPF, and '{}' has to be an Ethernet interface",
                macvlan.parent
            ),
            _ => "the kernel needs CONFIG_VETH, CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF"
                .to_owned(),
        },
        (Stage::Link, libc::EBUSY | libc::EADDRINUSE) => match door(plan) {
            Some(Door::Macvlan(macvlan)) => format!(
                "'{}' is used otherwise, perhaps as a bridge's port ('network.mode = \"bridge\"' \
                 joins that bridge)",
                macvlan.parent
            ),
            _ => return None,
        },
        (Stage::Route, libc::EEXIST) => format!(
            "the host has a route for it already ('ip route' lists them); give the guest \
             another: vserver config set {name} network.addresses A..."
        ),
        (Stage::Route, libc::ENODEV) => format!(
            "the host has no such interface as network.proxy_arp names; 'ip link' lists them: \
             vserver config edit {name}"
        ),
        (Stage::Addresses, libc::ENETUNREACH | libc::EHOSTUNREACH) => format!(
            "a gateway can't be reached from the guest's addresses; see network.gateway: \
             vserver config edit {name}"
        ),
        (Stage::Link | Stage::Addresses | Stage::Route, _) => {
            "addresses of IPv6 need a kernel that has it, and not switched off".to_owned()
        }
        (Stage::ProcessRecords, libc::EPROTONOSUPPORT) => format!(
            "the kernel writes records of an old form: it needs CONFIG_BSD_PROCESS_ACCT_V3; or: \
             vserver config set {name} accounting.processes false"
        ),
        (Stage::ProcessRecords, libc::EPERM | libc::ENOSYS) => format!(
            "vserver needs CAP_SYS_PACCT over the host and a kernel with CONFIG_BSD_PROCESS_ACCT_V3; \
             or: vserver config set {name} accounting.processes false"
        ),
        (Stage::SystemCalls, libc::EOPNOTSUPP) => format!(
            "io_uring makes sockets of any family unless the kernel has BPF among its security \
             modules ('vserver doctor'); or: vserver config unset {name} security.io_uring"
        ),
        (Stage::SystemCalls, libc::EINVAL | libc::ENOSYS) => {
            "the kernel needs CONFIG_SECCOMP_FILTER".to_owned()
        }
        (Stage::Mount, libc::ELOOP | libc::ENOTDIR) => {
            "the guest has a link or a file there; make it a directory".to_owned()
        }
        (Stage::FirstMessage, _) => {
            format!("its console may say more: vserver logs {name}")
        }
        _ => return None,
    })
}

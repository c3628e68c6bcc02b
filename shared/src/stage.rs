//! The steps of a guest's start, in the order in which they happen.
//!
//! A step that fails travels to the supervisor as a [`Failure`]: numbers
//! only, since a half-built child can't be trusted to format text. The
//! supervisor turns it into one sentence with [`Stage::describe`].

use serde::{Deserialize, Serialize};

/// One step of a start. The order of declaration is the order of execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    // Supervisor, before anything is cloned.
    /// The guest's run directory and sockets.
    RunDirectory,
    /// The guest's cgroups.
    Cgroup,
    /// The device filter on the guest's cgroup.
    Devices,
    /// guest-init, opened from a read-only place.
    GuestInit,
    /// The guest's root directory, as a detached mount; the failure's `step`
    /// tells what of it.
    OpenRoot,
    /// One of the host's directories for it; the failure's `step` is its number.
    OpenBinds,
    /// One of the credentials for its root; the failure's `step` is its number.
    Credentials,
    /// The process that becomes the keeper.
    Fork,
    // Launcher: the process that becomes the keeper.
    /// The keeper's place in the cgroup tree.
    KeeperCgroup,
    /// The login uid unset: in a user namespace it couldn't be.
    LoginUid,
    /// Resource limits.
    Limits,
    /// Clock offsets of the guest's time namespace.
    TimeNamespace,
    /// clone3 with all other namespaces.
    Clone,
    /// The user namespace's id maps.
    IdMap,
    /// The idmapped view of the guest's root.
    IdmapRoot,
    /// The idmapped view of one of the host's directories; the failure's `step`
    /// is its number.
    IdmapBinds,
    /// The guest's link to the host, filtered.
    Link,
    /// One of the guest's addresses routed to it; the failure's `step` is its
    /// number.
    Route,
    /// The kernel told to record its processes.
    ProcessRecords,
    // Child: PID 1 of the new namespaces.
    /// The launcher's word to go on.
    Go,
    /// User 0 of the new user namespace, no supplementary groups.
    Identity,
    /// An own session, and default signals.
    Session,
    /// The host name.
    Hostname,
    /// The loopback interface.
    Loopback,
    /// The guest's end of its link.
    Addresses,
    /// Mounts separated from the host's.
    PrivateMounts,
    /// The guest's root attached.
    AttachRoot,
    /// Its `/etc/resolv.conf`.
    Resolver,
    /// One of the plan's mounts; the failure's `step` is its number.
    Mount,
    /// The console's pseudo-terminal.
    Console,
    /// The root switched, the old one gone.
    PivotRoot,
    /// `/run/host`, which tells programs inside what runs them, and the list of
    /// interfaces that are configured.
    RunHost,
    /// The label of a security module, for what is executed next.
    Label,
    /// The system call filter.
    SystemCalls,
    /// Capabilities reduced.
    Capabilities,
    /// Descriptors of the host closed.
    CloseDescriptors,
    /// guest-init executed.
    ExecInit,
    // Launcher again.
    /// The keeper's descriptors and privileges.
    KeeperPrivileges,
    /// The keeper executed.
    ExecKeeper,
    // Supervisor again.
    /// The keeper's descriptors taken over.
    TakeOver,
    /// guest-init's first message.
    FirstMessage,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Self; 41] = [
        Self::RunDirectory,
        Self::Cgroup,
        Self::Devices,
        Self::GuestInit,
        Self::OpenRoot,
        Self::OpenBinds,
        Self::Credentials,
        Self::Fork,
        Self::KeeperCgroup,
        Self::LoginUid,
        Self::Limits,
        Self::TimeNamespace,
        Self::Clone,
        Self::IdMap,
        Self::IdmapRoot,
        Self::IdmapBinds,
        Self::Link,
        Self::Route,
        Self::ProcessRecords,
        Self::Go,
        Self::Identity,
        Self::Session,
        Self::Hostname,
        Self::Loopback,
        Self::Addresses,
        Self::PrivateMounts,
        Self::AttachRoot,
        Self::Resolver,
        Self::Mount,
        Self::Console,
        Self::PivotRoot,
        Self::RunHost,
        Self::Label,
        Self::SystemCalls,
        Self::Capabilities,
        Self::CloseDescriptors,
        Self::ExecInit,
        Self::KeeperPrivileges,
        Self::ExecKeeper,
        Self::TakeOver,
        Self::FirstMessage,
    ];

    /// A short name, for logs, fault injection and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::RunDirectory => "run-directory",
            Self::Cgroup => "cgroup",
            Self::Devices => "devices",
            Self::GuestInit => "guest-init",
            Self::OpenRoot => "open-root",
            Self::OpenBinds => "open-binds",
            Self::Credentials => "credentials",
            Self::Fork => "fork",
            Self::KeeperCgroup => "keeper-cgroup",
            Self::TimeNamespace => "time-namespace",
            Self::Clone => "clone",
            Self::IdMap => "id-map",
            Self::IdmapRoot => "idmap-root",
            Self::IdmapBinds => "idmap-binds",
            Self::Link => "link",
            Self::Route => "route",
            Self::ProcessRecords => "process-records",
            Self::Go => "go",
            Self::Identity => "identity",
            Self::Session => "session",
            Self::Hostname => "hostname",
            Self::Loopback => "loopback",
            Self::Addresses => "addresses",
            Self::PrivateMounts => "private-mounts",
            Self::AttachRoot => "attach-root",
            Self::Mount => "mount",
            Self::Resolver => "resolver",
            Self::Console => "console",
            Self::PivotRoot => "pivot-root",
            Self::RunHost => "run-host",
            Self::LoginUid => "login-uid",
            Self::Limits => "limits",
            Self::Label => "label",
            Self::SystemCalls => "system-calls",
            Self::Capabilities => "capabilities",
            Self::CloseDescriptors => "close-descriptors",
            Self::ExecInit => "exec-init",
            Self::KeeperPrivileges => "keeper-privileges",
            Self::ExecKeeper => "exec-keeper",
            Self::TakeOver => "take-over",
            Self::FirstMessage => "first-message",
        }
    }

    /// What the step does, to stand after "cannot start guest 'x': ".
    pub fn describe(self) -> &'static str {
        match self {
            Self::RunDirectory => "preparing its run directory",
            Self::Cgroup => "making its cgroups",
            Self::Devices => "filtering its devices",
            Self::GuestInit => "opening guest-init",
            Self::OpenRoot => "opening its root directory",
            Self::OpenBinds => "opening for it the host's",
            Self::Credentials => "reading its credential",
            Self::Fork => "forking",
            Self::KeeperCgroup => "moving the keeper to its cgroup",
            Self::TimeNamespace => "setting the clocks of its time namespace",
            Self::Clone => "creating its namespaces",
            Self::IdMap => "writing the id maps of its user namespace",
            Self::IdmapRoot => "mapping the ids of its root directory",
            Self::IdmapBinds => "mapping for it the ids of the host's",
            Self::Link => "linking it to the host",
            Self::Route => "routing to it the address",
            Self::ProcessRecords => "having its processes recorded",
            Self::Go => "waiting for the launcher",
            Self::Identity => "becoming root of its user namespace",
            Self::Session => "starting its session",
            Self::Hostname => "setting its host name",
            Self::Loopback => "bringing up its loopback interface",
            Self::Addresses => "giving it its addresses",
            Self::PrivateMounts => "separating its mounts from the host's",
            Self::AttachRoot => "attaching its root directory",
            Self::Mount => "mounting",
            Self::Resolver => "writing its '/etc/resolv.conf'",
            Self::Console => "making its console",
            Self::PivotRoot => "switching to its root directory",
            Self::RunHost => "filling its '/run'",
            Self::LoginUid => "resetting the login uid",
            Self::Limits => "setting its resource limits",
            Self::Label => "setting its security label",
            Self::SystemCalls => "filtering its system calls",
            Self::Capabilities => "reducing its capabilities",
            Self::CloseDescriptors => "closing the host's descriptors",
            Self::ExecInit => "executing guest-init",
            Self::KeeperPrivileges => "dropping the keeper's privileges",
            Self::ExecKeeper => "executing the keeper",
            Self::TakeOver => "connecting to its keeper",
            Self::FirstMessage => "waiting for guest-init's first message",
        }
    }

    /// The stage of this [`Stage::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }
}

/// A step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which step.
    pub stage: Stage,
    /// Which of several like it (the number of a mount), else 0.
    pub step: u16,
    /// The error number of the system call that failed (errno(3)).
    pub errno: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_stages_are_listed_once_and_in_order() {
        assert!(Stage::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(Stage::ALL.last().map(|s| *s as usize), Some(Stage::ALL.len() - 1));
        for stage in Stage::ALL {
            assert_eq!(Stage::from_name(stage.name()), Some(stage));
        }
    }
}

//! What a start will do, as data.
//!
//! [`plan`] is pure: configuration in, [`Plan`] out. Everything that can be
//! refused without asking the kernel is refused here; `launch` only executes
//! what stands in the plan, and nothing reads the configuration after it.

mod capabilities;
mod confinement;
mod credentials;
pub mod devices;
mod disk;
mod environment;
mod layers;
pub mod limits;
pub mod masks;
mod mounts;
pub mod network;
mod resolver;
pub mod syscalls;

use std::path::PathBuf;
use std::time::Duration;

use caps::Capability;
use shared::message::{BootMode, BootOrder, PROTOCOL};
use shared::name::{ContextId, GuestName};
use shared::stage::{Failure, Stage};

use crate::config::{
    Bind, Credential, DeviceRule, GuestConfig, Place, RestartPolicy, Security, UserMode,
};
use crate::error::{Error, Result};
use crate::facts::Resources;
use crate::paths::Paths;
use crate::variables;

pub use confinement::{Confinement, Label};
pub use credentials::DIRECTORY as CREDENTIALS;
pub use disk::Disk;
pub use environment::NOTIFY_SOCKET;
pub use layers::{Layer, parse_without};
pub use limits::Limits;
pub use mounts::{Access, Mount};
pub use network::{Door, Far, Link, Network};

/// Number of ids in a guest: uids and gids 0 to 65535.
pub const ID_COUNT: u32 = 65_536;

/// Everything that `launch` and the supervisor need to know of a guest.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The guest.
    pub name: GuestName,
    /// Its number.
    pub context: ContextId,
    /// Its host name.
    pub hostname: String,
    /// Its NIS domain name.
    pub domainname: Option<String>,
    /// Where its files are on the host.
    pub place: Place,
    /// Where what it writes goes in their place, if it is to be forgotten.
    pub scratch: Option<PathBuf>,
    /// Whose ids its users have on the host.
    pub ids: Ids,
    /// What is mounted, in this order.
    pub mounts: Vec<Mount>,
    /// Directories of the host's that are among them.
    pub binds: Vec<Bind>,
    /// The capabilities that its root keeps.
    pub capabilities: Vec<Capability>,
    /// Are its scripts told that its interfaces are configured? Not where its root
    /// may do it as well, and may have reasons to.
    pub tells_interfaces: bool,
    /// May it make user namespaces?
    pub nesting: bool,
    /// Is its host a guest itself?
    pub is_nested: bool,
    /// May its programs use io_uring?
    pub io_uring: bool,
    /// Device nodes that it may use besides those of every guest.
    pub devices: Vec<DeviceRule>,
    /// How much of the host it may have, as far as that can be enforced.
    pub limits: Limits,
    /// How much of the disk its files may take.
    pub disk: Disk,
    /// Where the kernel records its processes, if it does.
    pub process_records: Option<PathBuf>,
    /// How it is joined to networks.
    pub network: Network,
    /// What its `/etc/resolv.conf` says from this start on, if that is given.
    pub resolver: Option<String>,
    /// The label of everything in it.
    pub label: Option<Label>,
    /// Layers that are left out, for tests.
    pub without: Vec<Layer>,
    /// guest-init's environment.
    pub environment: Vec<(String, String)>,
    /// What the guest's root alone is handed, with its names.
    pub credentials: Vec<(String, Credential)>,
    /// The id of the guest as a machine.
    pub uuid: Option<String>,
    /// What guest-init is told first.
    pub boot: BootOrder,
    /// Where the console's log goes, and how long it grows.
    pub console: ConsoleLog,
    /// How it is stopped and restarted.
    pub lifecycle: Lifecycle,
    /// Where guest-init is kept on the host.
    pub state_directory: PathBuf,
    /// The administrator's `NAME.sh`.
    pub actions: PathBuf,
    /// The configuration that all of this is from, as a text of its form.
    pub configuration: String,
    /// A step made to fail, for tests.
    pub fault: Option<Failure>,
}

/// Whose ids a guest's users have on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// [`ID_COUNT`] ids from here on, in a user namespace.
    Private(u32),
    /// The host's own first [`ID_COUNT`] ids, in a user namespace that
    /// belongs to this id of the host, which no other guest has.
    Identity(u32),
    /// The host's ids, no user namespace.
    Host,
}

impl Ids {
    /// Host uid and gid of the guest's root.
    pub fn root(self) -> u32 {
        match self {
            Self::Private(base) => base,
            Self::Identity(_) | Self::Host => 0,
        }
    }

    /// Host uid that the user namespace belongs to, if there is one.
    pub fn owner(self) -> Option<u32> {
        match self {
            Self::Private(owner) | Self::Identity(owner) => Some(owner),
            Self::Host => None,
        }
    }

    /// Has the guest a user namespace of its own?
    pub fn has_namespace(self) -> bool {
        self != Self::Host
    }

    /// The word in configuration and `status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Private(_) => "private",
            Self::Identity(_) => "identity",
            Self::Host => "host",
        }
    }
}

/// The console's log on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleLog {
    /// Its directory.
    pub directory: PathBuf,
    /// Its file name there.
    pub name: String,
    /// Bytes after which it is rotated; 0 for no log.
    pub limit: u64,
    /// Is it kept in the file, the journal, or both?
    pub kept: crate::config::ConsoleLog,
    /// File beside it in which boots are noted.
    pub boots: PathBuf,
}

/// How a guest is stopped and restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// From the order to stop until what remains is killed, if that is given.
    pub stop_timeout: Option<Duration>,
    /// Between SIGTERM and SIGKILL at the end of a shutdown.
    pub kill_grace: Duration,
    /// What happens after a crash.
    pub restart: RestartPolicy,
}

/// What tests ask for, as text ([`variables::FAULT`], [`variables::WITHOUT`]).
#[derive(Clone, Debug, Default)]
pub struct Trial {
    /// A step to fail, as [`parse_fault`] reads it.
    pub fault: Option<String>,
    /// Layers to leave out, as [`parse_without`] reads them.
    pub without: Option<String>,
}

/// Decides everything about a start. `base` is the first id of the guest's
/// range.
///
/// # Errors
/// When the configuration has no context, names an unknown capability or a
/// limit that the host can't enforce, wants processes recorded where the kernel
/// can't, or what tests ask for can't be read.
pub fn plan(
    name: &GuestName,
    config: &GuestConfig,
    base: u32,
    mode: BootMode,
    paths: &Paths,
    host: &Resources,
    trial: &Trial,
) -> Result<Plan> {
    let context = config.context.ok_or_else(|| {
        Error::new(format!("guest '{name}' has no context"))
            .hint(format!("give it one: vserver config set {name} context N"))
    })?;
    let ids = match config.security.users {
        UserMode::Private => Ids::Private(base),
        UserMode::Identity => Ids::Identity(base),
        UserMode::Host => Ids::Host,
    };
    let without = parse_without(trial.without.as_deref().unwrap_or_default())?;
    let mut limits = limits::plan(&config.limits, host)
        .map_err(|error| error.context(format_args!("cannot start guest '{name}'")))?;
    if without.contains(&Layer::Processes) {
        limits.settings.retain(|setting| setting.key != "processes");
    }
    let disk = Disk::plan(config, base).or_else(|error| {
        if config.limits.required {
            return Err(error.context(format_args!("cannot start guest '{name}'")));
        }
        limits.warnings.push(error.to_string());
        Ok(Disk { project: base, bytes: None, inodes: None, may_leave: ids == Ids::Host })
    })?;
    if config.accounting.processes && !host.records_processes {
        let text = format!(
            "cannot start guest '{name}' with accounting.processes: the kernel has no process \
             accounting"
        );
        return Err(Error::new(text).hint(format!(
            "use a kernel with CONFIG_BSD_PROCESS_ACCT_V3, as distributions' have it, or: \
             vserver config set {name} accounting.processes false"
        )));
    }
    let capabilities = capabilities::plan(ids, &config.security)?;
    let identity =
        network::Identity { name, context, instance: &paths.instance(), machine: &host.machine };
    let network = network::plan(identity, &config.network, ids, &without);
    let mode = match mode {
        BootMode::Boot if !config.boot.command.is_empty() => {
            BootMode::Command(config.boot.command.clone())
        }
        mode => mode,
    };
    let credentials = credentials::plan(&mode, &config.boot.credentials);
    let environment = credentials::environment(&config.boot.environment, &credentials);
    let uuid = environment::uuid(identity);
    let hostname = config.hostname.clone().unwrap_or_else(|| name.to_string());
    Ok(Plan {
        name: name.clone(),
        context,
        hostname,
        domainname: config.domainname.clone(),
        place: config.place(paths, name),
        scratch: None,
        ids,
        mounts: mounts::plan(config, network.is_shared(), &without),
        binds: config.mounts.bind.clone(),
        tells_interfaces: !capabilities.contains(&Capability::CAP_NET_ADMIN),
        capabilities,
        nesting: config.security.nesting,
        is_nested: host.is_guest,
        io_uring: config.security.io_uring,
        devices: config.devices.allow.clone(),
        limits,
        disk,
        process_records: config.accounting.processes.then(|| paths.process_records(name)),
        network,
        resolver: resolver::plan(&config.network.dns),
        label: label(&config.security),
        environment: environment::variables(uuid.as_deref()),
        credentials,
        uuid,
        boot: BootOrder {
            protocol: PROTOCOL,
            mode,
            style: config.boot.style,
            rc: config.boot.rc,
            runlevel: config.boot.runlevel,
            environment,
            kill_grace_ms: milliseconds(config.boot.kill_grace),
        },
        console: ConsoleLog {
            directory: paths.log_dir(),
            name: format!("{name}.log"),
            limit: config.console.log_size,
            kept: config.console.log,
            boots: paths.boots(name),
        },
        lifecycle: Lifecycle {
            stop_timeout: config.boot.stop_timeout,
            kill_grace: config.boot.kill_grace,
            restart: config.boot.restart,
        },
        state_directory: paths.state_dir(),
        actions: paths.actions(name),
        configuration: toml::to_string(config).unwrap_or_default(),
        fault: trial.fault.as_deref().map(parse_fault).transpose()?,
        without,
    })
}

fn label(security: &Security) -> Option<Label> {
    let apparmor = security.apparmor.clone().map(Label::AppArmor);
    apparmor.or_else(|| security.selinux.clone().map(Label::SeLinux))
}

/// A duration in whole milliseconds, at most what fits a message.
pub fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// Reads `STAGE[:STEP[:ERRNO]]`: a stage's name, the number of the step if
/// it has several (default 0), an error number (default EIO).
///
/// # Errors
/// When the stage is unknown or a number isn't one.
pub fn parse_fault(text: &str) -> Result<Failure> {
    let bad =
        || Error::usage(format!("'{text}' is no STAGE[:STEP[:ERRNO]] ({})", variables::FAULT));
    let mut parts = text.split(':');
    let stage = parts.next().and_then(Stage::from_name).ok_or_else(bad)?;
    let step = parts.next().map_or(Ok(0), str::parse).map_err(|_| bad())?;
    let errno = parts.next().map_or(Ok(libc::EIO), str::parse).map_err(|_| bad())?;
    Ok(Failure { stage, step, errno })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_recorded_where_the_kernel_can() {
        let name: GuestName = "web".parse().unwrap();
        let paths = Paths::new("/p");
        let plan = |text: &str, records_processes| {
            let config = crate::config::parse::parse(&format!("context = 40000\n{text}")).unwrap();
            let host = Resources { records_processes, ..Resources::default() };
            plan(&name, &config, 1 << 20, BootMode::Boot, &paths, &host, &Trial::default())
        };
        let wanted = "[accounting]\nprocesses = true\n";
        assert_eq!(plan("", true).unwrap().process_records, None);
        assert_eq!(plan("", false).unwrap().process_records, None);
        let file = plan(wanted, true).unwrap().process_records;
        assert_eq!(file, Some("/p/var/lib/vserver/usage/web.pacct".into()));
        let error = plan(wanted, false).unwrap_err();
        assert!(error.to_string().contains("'web'"), "{error}");
        assert!(error.remedy().unwrap().contains("accounting.processes false"), "{error}");
    }
}

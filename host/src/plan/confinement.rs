//! What a guest's PID 1 and every session in it get alike, at the last
//! moment before a program is executed.

use serde::{Deserialize, Serialize};

use super::syscalls::Allowances;
use super::{Layer, Plan};

/// The parts of a plan that sessions need as well. They hold for one boot,
/// whatever the configuration says meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// What the system call filter lets through; `None` for no filter.
    pub filter: Option<Allowances>,
    /// The label of a security module.
    pub label: Option<Label>,
}

/// What is written for a security module before a program is executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Label {
    /// An AppArmor profile.
    AppArmor(String),
    /// An SELinux context.
    SeLinux(String),
}

impl Plan {
    /// The confinement of this boot. `families_judged`: is there a program on
    /// the guest's cgroup that judges the families of sockets?
    pub fn confinement(&self, families_judged: bool) -> Confinement {
        let allowances = Allowances {
            nesting: self.nesting,
            io_uring: self.io_uring,
            families_judged,
            capabilities: self.capabilities.iter().map(ToString::to_string).collect(),
            reach_host: !self.ids.has_namespace(),
        };
        let filtered = !self.without.contains(&Layer::SystemCalls);
        Confinement { filter: filtered.then_some(allowances), label: self.label.clone() }
    }
}

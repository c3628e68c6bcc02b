//! The plan of a guest's next boot, from its configuration as it is then.

use shared::message::BootMode;
use shared::name::GuestName;

use crate::build;
use crate::config::{self, GuestConfig};
use crate::error::{Error, Result};
use crate::facts;
use crate::ids;
use crate::paths::Paths;
use crate::plan::{self, Network, Plan, Trial};
use crate::runtime::{RunDir, State};
use crate::storage::Scratch;

/// Refuses to start a guest at a root that it can't have. One whose build was cut short goes
/// with the next build. One at its usual place is kept from nothing by what the configuration of another one
/// says, which isn't started then.
///
/// # Errors
/// When another guest has the same root, or one of both lies in the other; when its build
/// was killed before it had done all inside.
pub fn refuse_root(paths: &Paths, name: &GuestName, config: &GuestConfig) -> Result<()> {
    let root = config.root(paths, name);
    if build::is_cut_short(&root) {
        let text = format!("cannot start guest '{name}': its build was cut short");
        return Err(Error::new(text).hint(format!("vserver delete {name}, and build it again")));
    }
    let Some(why) = config::conflict_of_own(paths, name, &root)? else { return Ok(()) };
    let own = format!("give it a root of its own: vserver config set {name} root DIR");
    Err(Error::new(format!("cannot start guest '{name}': {why}")).hint(why.hint(&own)))
}

/// Makes plans for one guest.
#[derive(Clone, Debug)]
pub struct Planner {
    /// Where everything is.
    pub paths: Paths,
    /// The guest.
    pub name: GuestName,
    /// What it is started for.
    pub mode: BootMode,
    /// Has systemd handed a cgroup of its own to this process?
    pub in_unit: bool,
    /// Layers of isolation that are left out, for tests
    /// ([`crate::variables::WITHOUT`]).
    pub without: Option<String>,
    /// Where what it writes goes, if that is to be forgotten.
    pub scratch: Option<Scratch>,
}

impl Planner {
    /// The plan. `fault` is for tests ([`crate::variables::FAULT`]).
    ///
    /// # Errors
    /// When the configuration has mistakes, or limits that can't be enforced; when its
    /// root is another guest's as well.
    pub fn plan(&self, fault: Option<&str>) -> Result<Plan> {
        let config = config::load(&self.paths, &self.name)?;
        refuse_root(&self.paths, &self.name, &config)?;
        let ids = ids::of_start(&self.paths, &self.name, config.context)?;
        self.plan_for(config, ids.base, fault)
    }

    /// The plan of a guest that runs. What the host can't enforce any more,
    /// for a disk that is gone, is no reason to leave it alone, nor are rules
    /// that its configuration breaks: they count at its next boot. Where the
    /// file can't be read at all, what it said at the start of this boot counts. Its
    /// context is what it was then, also if the file has another one now, or none.
    ///
    /// # Errors
    /// When there is neither.
    pub fn plan_of_running(&self) -> Result<Plan> {
        let read = config::load_of_running(&self.paths, &self.name);
        let config = read.or_else(|error| self.kept().ok_or(error))?;
        let mut plan = self.plan_as_it_runs(config)?;
        // Another version may have given it another one.
        let own = State::read(&RunDir::new(&self.paths, &self.name).state()).loopback;
        if let Network::Shared(shared) = &mut plan.network {
            shared.allowed.loopback6 = own.or(shared.allowed.loopback6);
        }
        Ok(plan)
    }

    /// The plan by what the boot that runs was started with, if that is still known.
    pub fn plan_of_boot(&self) -> Option<Plan> {
        self.plan_as_it_runs(self.kept()?).ok()
    }

    fn kept(&self) -> Option<GuestConfig> {
        config::load_kept(&RunDir::new(&self.paths, &self.name).configuration())
    }

    fn plan_as_it_runs(&self, mut config: GuestConfig) -> Result<Plan> {
        let context = config.context.or_else(|| self.kept()?.context);
        let ids = ids::of_running(&self.paths, &self.name, context)?;
        config.context = Some(ids.context);
        config.limits.required = false;
        self.plan_for(config, ids.base, None)
    }

    fn plan_for(&self, config: GuestConfig, base: u32, fault: Option<&str>) -> Result<Plan> {
        let trial = Trial { fault: fault.map(str::to_owned), without: self.without.clone() };
        let mut host = facts::resources(config.limits.devices());
        if self.in_unit {
            host.is_delegated();
        }
        let (mode, paths) = (self.mode.clone(), &self.paths);
        let mut plan = plan::plan(&self.name, &config, base, mode, paths, &host, &trial)?;
        plan.scratch = self.scratch.as_ref().map(|scratch| scratch.path().to_owned());
        Ok(plan)
    }
}

//! What a command would do, for `--dry-run`.

use std::fmt::Write;

use shared::message::BootMode;
use shared::name::GuestName;

use crate::commands::{Exit, output};
use crate::config;
use crate::control::Client;
use crate::error::Result;
use crate::facts;
use crate::ids;
use crate::paths::Paths;
use crate::plan::{self, Door, Far, Link, Network, Plan, Trial};
use crate::supervisor;
use crate::systemd;

/// Shows the plan of a start, without making anything: an id range that is
/// not allocated yet is shown as 0.
pub fn start(names: &[GuestName], paths: &Paths) -> Result<Exit> {
    of_each(names, |name| {
        supervisor::refuse_root(paths, name, &config::load(paths, name)?)?;
        Ok(show(&preview(name, paths)?))
    })
}

/// Prints what there is to say about each guest, in their order; as in [`each`], one of
/// which nothing can be said keeps the others from nothing.
///
/// [`each`]: super::each
fn of_each(names: &[GuestName], say: impl Fn(&GuestName) -> Result<String>) -> Result<Exit> {
    let mut worst = Exit::DONE;
    for name in names {
        match say(name) {
            Ok(text) => output::print(&text)?,
            Err(error) if names.len() == 1 => return Err(error),
            Err(error) => {
                output::complain(&error);
                worst = worst.max(Exit::of(error.kind().exit_code()));
            }
        }
    }
    Ok(worst)
}

/// The plan of a guest's next start; nothing is made for it.
pub(super) fn preview(name: &GuestName, paths: &Paths) -> Result<Plan> {
    let config = config::load(paths, name)?;
    let base = ids::lookup(paths, name)?.map_or(0, |ids| ids.base);
    let mut host = facts::resources(config.limits.devices());
    if systemd::starts_guests(paths) {
        host.is_delegated();
    }
    plan::plan(name, &config, base, BootMode::Boot, paths, &host, &Trial::default())
}

/// Says which guests a command would touch.
pub fn running(verb: &str, names: &[GuestName], paths: &Paths) -> Result<Exit> {
    of_each(names, |name| {
        let state = match Client::find(paths, name)? {
            Some((_, status)) => status.shown_phase().name(),
            None => {
                config::load(paths, name)?;
                "stopped"
            }
        };
        Ok(format!("would {verb} guest '{name}' ({state})\n"))
    })
}

fn show(plan: &Plan) -> String {
    let mut text = format!("would start guest '{}' at context {}\n", plan.name, plan.context);
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "  {key:13}{value}");
    };
    line("root", &plan.place.root.display().to_string());
    let storage = plan.place.storage();
    let base = storage.base.map(|base| format!(" over '{}'", base.display()));
    line("storage", &format!("{}{}", storage.kind.name(), base.unwrap_or_default()));
    line("host name", &plan.hostname);
    let first = plan.ids.root();
    line("users", &format!("{} (root is {first} on the host)", plan.ids.name()));
    let capabilities: Vec<String> = plan.capabilities.iter().map(ToString::to_string).collect();
    line("capabilities", &capabilities.join(" "));
    if let Network::Linked(Link { far: Far::Segment { door, .. }, guest_mac, .. }) = &plan.network {
        let door = match door {
            Door::Bridge(bridge) => format!("bridge '{bridge}'"),
            Door::Macvlan(macvlan) => format!("macvlan on '{}'", macvlan.parent),
        };
        let mac = guest_mac.map(|byte| format!("{byte:02x}")).join(":");
        line("network", &format!("{door}, hardware address {mac}"));
    }
    for address in plan.network.addresses() {
        line("address", &address.to_string());
    }
    for device in &plan.devices {
        line("device", &device.to_string());
    }
    for bind in &plan.binds {
        line("bind", &bind.to_string());
    }
    for (name, credential) in &plan.credentials {
        line("credential", &format!("{name}: {credential}"));
    }
    for setting in &plan.limits.settings {
        line("limit", &format!("{}: {} = {}", setting.key, setting.file, setting.value));
    }
    if let Some(nice) = plan.limits.nice {
        line("limit", &format!("nice: {nice}"));
    }
    if let Some(file) = &plan.process_records {
        line("processes", &format!("recorded in {}", file.display()));
    }
    for warning in &plan.limits.warnings {
        line("warning", warning);
    }
    for mount in &plan.mounts {
        line("mount", &mount.describe());
    }
    text
}

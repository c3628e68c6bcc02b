//! What a guest's configuration comes to, for `config show --effective`: what
//! no key says by itself.

use std::fmt::Write;

use humantime::format_duration;
use serde::Serialize;

use crate::cgroup::Setting;
use crate::config::{STOP_TIMEOUT, STOP_TIMEOUT_OF_SYSTEMD};
use crate::plan::Mount;
use crate::plan::syscalls::{Unless, refusals};
use crate::plan::{Confinement, Plan, devices, masks};
use crate::seccomp::When;

/// What follows from a configuration, above all the layers of isolation, as
/// lists.
#[derive(Debug, Serialize)]
pub struct Effective {
    /// How long a shutdown may take, in words: that may depend on the guest's
    /// init.
    pub stop_timeout: String,
    /// The capabilities of its root, by their names.
    pub capabilities: Vec<String>,
    /// Refused system calls.
    pub system_calls: Vec<RefusedCalls>,
    /// What of /proc and /sys can't be opened.
    pub hidden: Vec<Covered>,
    /// What of /proc and /sys can't be written.
    pub read_only: Vec<Covered>,
    /// Device nodes in its /dev.
    pub devices: Vec<String>,
    /// How many processes it may have, and as many in its sessions; `None`
    /// where its cgroup doesn't bound them.
    pub processes: Option<u32>,
    /// What is written to its cgroups' files, by keys in `[limits]`.
    pub limits: Vec<String>,
}

/// System calls that are refused for one reason.
#[derive(Debug, Serialize)]
pub struct RefusedCalls {
    /// Their names.
    pub calls: &'static [&'static str],
    /// Which uses of them, if not all.
    pub when: Option<String>,
    /// What they return.
    pub answer: &'static str,
    /// Why.
    pub reason: &'static str,
    /// What would lift it.
    pub unless: Option<String>,
}

/// A path, and why a guest's access to it is cut.
#[derive(Debug, Serialize)]
pub struct Covered {
    /// The path.
    pub path: String,
    /// Why.
    pub reason: &'static str,
}

/// The layers of a plan. `families_judged` as in [`Plan::confinement`].
pub fn effective(plan: &Plan, families_judged: bool) -> Effective {
    let Confinement { filter, .. } = plan.confinement(families_judged);
    let covered = |wanted: &masks::Mask, is: fn(&Mount, &str) -> bool| {
        let is_there = plan.mounts.iter().any(|step| is(step, wanted.target));
        is_there.then(|| Covered { path: format!("/{}", wanted.target), reason: wanted.reason })
    };
    let hidden = |step: &Mount, place: &str| matches!(step, Mount::Hidden(at) if *at == place);
    let registers = covered(&masks::REGISTERS, |step, _| *step == Mount::HiddenRegisters);
    let read_only = |step: &Mount, place: &str| matches!(step, Mount::ReadOnly { target, .. } if *target == place);
    let usual = || {
        let [usual, systemd] = [STOP_TIMEOUT, STOP_TIMEOUT_OF_SYSTEMD].map(format_duration);
        format!("{usual}, or {systemd} where systemd is the guest's init")
    };
    let stop_timeout = plan.lifecycle.stop_timeout;
    Effective {
        stop_timeout: stop_timeout.map_or_else(usual, |time| format_duration(time).to_string()),
        capabilities: plan.capabilities.iter().map(ToString::to_string).collect(),
        system_calls: filter.iter().flat_map(refusals).map(refused).collect(),
        hidden: masks::HIDDEN
            .iter()
            .filter_map(|mask| covered(mask, hidden))
            .chain(registers)
            .collect(),
        read_only: masks::READ_ONLY.iter().filter_map(|mask| covered(mask, read_only)).collect(),
        devices: devices::NODES
            .iter()
            .map(|(name, ..)| format!("/dev/{name} rw"))
            .chain(plan.devices.iter().map(ToString::to_string))
            .collect(),
        processes: plan.limits.value("processes").and_then(|value| value.parse().ok()),
        limits: plan.limits.settings.iter().map(limit).collect(),
    }
}

fn limit(setting: &Setting) -> String {
    format!("{}: {} = {}", setting.key, setting.file, setting.value)
}

fn refused(refusal: &'static crate::plan::syscalls::Refusal) -> RefusedCalls {
    RefusedCalls {
        calls: refusal.rule.calls,
        when: when(refusal.rule.when),
        answer: refusal.rule.answer.name(),
        reason: refusal.reason,
        unless: match refusal.unless {
            Unless::Never => None,
            Unless::Nesting => Some("security.nesting".to_owned()),
            Unless::IoUring => Some("security.io_uring".to_owned()),
            Unless::FamiliesJudged => Some("BPF among the kernel's security modules".to_owned()),
            Unless::Has(capability) => Some(format!("capability {capability}")),
            Unless::HasOnHost(capability) => {
                Some(format!("capability {capability}, with security.users = \"host\""))
            }
        },
    }
}

/// In words of numbers, as strace(1) shows them with `-X raw`.
fn when(when: When) -> Option<String> {
    let list = |values: &[u32]| {
        let all: Vec<String> = values.iter().map(|value| format!("{value:#x}")).collect();
        all.join(", ")
    };
    match when {
        When::Always => None,
        When::OneOf { argument, values } => {
            Some(format!("argument {argument} is one of {}", list(values)))
        }
        When::OneOfAndSet { argument, values, pointer } => Some(format!(
            "argument {argument} is one of {}, and argument {pointer} isn't 0",
            list(values)
        )),
        When::NoneOf { argument, values } => {
            Some(format!("argument {argument} is none of {}", list(values)))
        }
        When::AnyBit { argument, bits } => {
            Some(format!("argument {argument} has a bit of {bits:#x}"))
        }
    }
}

/// The lists as comments, to stand below a configuration file's text.
pub fn text(effective: &Effective) -> String {
    let mut text = String::from("\n# What this comes to. No key is read from here on.\n#\n");
    let _ = writeln!(text, "# boot.stop_timeout:\n#   {}", effective.stop_timeout);
    let _ = writeln!(text, "#\n# Capabilities of the guest's root:");
    for names in effective.capabilities.chunks(4) {
        let _ = writeln!(text, "#   {}", names.join(" "));
    }
    let _ = writeln!(text, "#\n# Device nodes:\n#   {}", effective.devices.join(", "));
    let processes = match effective.processes {
        Some(most) => format!("at most {most}, and as many in sessions"),
        None => "not bounded by the cgroup; 'vserver doctor' says why".to_owned(),
    };
    let _ = writeln!(text, "#\n# Processes and threads:\n#   {processes}");
    let _ = writeln!(text, "#\n# Limits that this host enforces, in files of its cgroups:");
    for limit in &effective.limits {
        let _ = writeln!(text, "#   {limit}");
    }
    let _ = writeln!(
        text,
        "#\n# System calls that are refused (and all newer than the filter, ENOSYS):"
    );
    for refused in &effective.system_calls {
        let when = refused.when.as_ref().map(|when| format!(", if {when}")).unwrap_or_default();
        let unless = refused.unless.as_ref().map(|what| format!(" [lifted by {what}]"));
        let _ = writeln!(text, "#   {}{when}: {}", refused.calls.join(" "), refused.answer);
        let _ = writeln!(text, "#     {}{}", refused.reason, unless.unwrap_or_default());
    }
    for (title, list) in [("Covered", &effective.hidden), ("Read-only", &effective.read_only)] {
        if !list.is_empty() {
            let _ = writeln!(text, "#\n# {title}, where this kernel has it:");
        }
        for covered in list {
            let _ = writeln!(text, "#   {}: {}", covered.path, covered.reason);
        }
    }
    text
}

//! `vserver config`: shows, checks and changes configuration files.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::IsTerminal;
use std::path::Path;
use std::process::Command;

use shared::name::GuestName;

use crate::cli::{ConfigAction, ConfigArgs};
use crate::commands::{Exit, config_import, dry_run, output};
use crate::config::{self, NetworkMode, edit, problem::Problem};
use crate::control::{Client, Request};
use crate::error::{Error, Result};
use crate::facts;
use crate::paths::Paths;
use crate::report;
use crate::report::effective::Effective;
use crate::systemd;

/// Carries out what is asked of a configuration.
pub(super) fn run(args: &ConfigArgs, paths: &Paths) -> Result<Exit> {
    match &args.action {
        ConfigAction::Show { name, effective, json } => show(paths, name, *effective, *json),
        ConfigAction::Check { names } => check(paths, names),
        ConfigAction::Set { name, key, values, dry_run } => {
            change(paths, name, key, *dry_run, |text| edit::set(text, key, values))
        }
        ConfigAction::Unset { name, key, dry_run } => {
            change(paths, name, key, *dry_run, |text| edit::unset(text, key))
        }
        ConfigAction::Import(args) => config_import::run(args, paths),
        ConfigAction::Edit { name } => edit_file(paths, name),
    }
}

fn show(paths: &Paths, name: &GuestName, effective: bool, json: bool) -> Result<Exit> {
    let unable = |error: &dyn std::fmt::Display| {
        Error::new(format!("cannot show the configuration of '{name}': {error}"))
    };
    let text = match effective {
        true => toml::to_string(&config::effective(paths, name)?).map_err(|e| unable(&e))?,
        false => config::text(paths, name)?,
    };
    let layers = match effective {
        true => Some(layers(paths, name)?),
        false => None,
    };
    if json {
        config::load(paths, name)?;
        let table: toml::Table = text.parse().map_err(|error| unable(&error))?;
        let mut json = serde_json::to_value(&table).map_err(|error| unable(&error))?;
        if let (Some(json), Some(layers)) = (json.as_object_mut(), &layers) {
            let layers = serde_json::to_value(layers).map_err(|error| unable(&error))?;
            json.insert("isolation".to_owned(), layers);
        }
        let json = serde_json::to_string_pretty(&json).map_err(|error| unable(&error))?;
        output::print(&format!("{json}\n"))?;
    } else {
        let comments = layers.as_ref().map(report::effective::text).unwrap_or_default();
        output::print(&format!("{text}{comments}"))?;
    }
    Ok(Exit::DONE)
}

/// What the configuration comes to on this host.
fn layers(paths: &Paths, name: &GuestName) -> Result<Effective> {
    let families_judged = facts::socket_hook(&paths.run_dir()).is_some();
    let plan = dry_run::preview(name, paths)?;
    Ok(report::effective::effective(&plan, families_judged))
}

fn check(paths: &Paths, names: &[GuestName]) -> Result<Exit> {
    let all;
    let names = match names {
        [] => {
            all = config::names(paths)?;
            &all
        }
        names => names,
    };
    let mut shown: Vec<String> = Vec::new();
    for name in names {
        for mistake in config::mistakes(paths, name)? {
            // The site's defaults are judged with every guest.
            if !shown.contains(&mistake) {
                output::mistake(&mistake);
                shown.push(mistake);
            }
        }
    }
    Ok(if shown.is_empty() { Exit::DONE } else { Exit::NO })
}

fn change(
    paths: &Paths,
    name: &GuestName,
    key: &str,
    dry_run: bool,
    edit: impl FnOnce(&str) -> Result<String, Vec<Problem>>,
) -> Result<Exit> {
    let before = config::text(paths, name)?;
    let after = edit(&before).map_err(|problems| refused(key, &problems))?;
    if dry_run {
        config::judge_text(paths, name, &after)?;
        output::print(&after)?;
    } else if after != before {
        config::set_text(paths, name, &after)?;
        if IN_UNITS.contains(&key) && systemd::starts_guests(paths) {
            output::remark("systemd has not heard of this yet: systemctl daemon-reload");
        }
        if let Some((client, _)) = Client::find(paths, name)?
            && let Err(error) = take_effect(paths, name, key, &client)
        {
            config::set_text(paths, name, &before)?;
            return Err(error);
        }
    }
    Ok(Exit::DONE)
}

/// Keys that the generator turns into dependencies of the guest's unit.
const IN_UNITS: [&str; 7] =
    ["after", "autostart", "boot.kill_grace", "boot.stop_timeout", "description", "marks", "root"];

/// What a changed key means for a guest that runs.
fn take_effect(paths: &Paths, name: &GuestName, key: &str, client: &Client) -> Result<()> {
    if key.starts_with("limits.") {
        output::remark(format_args!(
            "guest '{name}' runs on with its old limits; this gives it the new ones: \
             vserver limits {name} --apply"
        ));
    } else if key == "network" || key.starts_with("network.") {
        if key == "network.addresses" && change_addresses(paths, name, client)? {
            return Ok(());
        }
        output::remark(format_args!(
            "guest '{name}' runs on with its old network; '{key}' counts from its next start or \
             reboot"
        ));
    } else if key == "devices.allow" {
        output::remark(format_args!(
            "guest '{name}' runs on with its old devices; this gives it the new ones: \
             vserver reload {name}"
        ));
    } else if key.starts_with("accounting.") {
        output::remark(format_args!(
            "guest '{name}' runs on as it was started; this counts from its next boot on: \
             vserver reboot {name}"
        ));
    }
    Ok(())
}

/// Gives a guest on the host's stack its new addresses at once. A guest's own
/// stack is made with its link, at the start: `false`.
fn change_addresses(paths: &Paths, name: &GuestName, client: &Client) -> Result<bool> {
    let network = config::load(paths, name)?.network;
    if network.mode() != NetworkMode::Shared {
        return Ok(false);
    }
    let now = client.ask(&Request::Addresses)?.addresses;
    Ok(network.addresses.iter().map(|address| address.ip).eq(now))
}

pub(super) fn refused(key: &str, problems: &[Problem]) -> Error {
    let texts: Vec<_> = problems.iter().map(|problem| problem.text.as_str()).collect();
    let text = texts.join("; ");
    // Most texts name the key; the value on the command line is wrong use.
    let named = text.contains(&format!("'{key}'"));
    let error = Error::usage(if named { text } else { format!("cannot set '{key}': {text}") });
    match problems.iter().find_map(|problem| problem.hint.clone()) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Lets the user edit a copy until it is right, then puts it in place.
fn edit_file(paths: &Paths, name: &GuestName) -> Result<Exit> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::usage("'config edit' needs a terminal")
            .hint("'vserver config set' changes single keys"));
    }
    let before = config::text(paths, name)?;
    let copy = paths.config_dir().join(format!(".{name}.toml.edit"));
    let written = fs::write(&copy, &before).map_err(|error| Error::path("write", &copy, error));
    let edited = written.and_then(|()| edit_until_right(paths, name, &copy));
    let _ = fs::remove_file(&copy);
    let Some(after) = edited? else { return Ok(Exit::NO) };
    if after != before {
        config::set_text(paths, name, &after)?;
    }
    Ok(Exit::DONE)
}

/// The right text; `None` when the user gives up.
fn edit_until_right(paths: &Paths, name: &GuestName, copy: &Path) -> Result<Option<String>> {
    loop {
        // The variable may hold options, which a shell splits, as in crontab(1).
        let mut script = editor();
        script.push(" \"$1\"");
        let status = Command::new("/bin/sh").arg("-c").arg(script).arg("sh").arg(copy).status();
        let status = status.map_err(|error| Error::os("cannot execute '/bin/sh'", error))?;
        if !status.success() {
            return Err(Error::new("the editor failed, nothing was changed"));
        }
        let text = fs::read_to_string(copy).map_err(|error| Error::path("read", copy, error))?;
        let Err(error) = config::judge_text(paths, name, &text) else { return Ok(Some(text)) };
        output::complain(&error);
        if !output::confirm("Edit again?")? {
            return Ok(None);
        }
    }
}

fn editor() -> OsString {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".into())
}

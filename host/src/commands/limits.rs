//! `vserver limits`: shows a guest's limits, and changes them in its file and
//! in the guest that runs, or in neither.

mod apply;
mod level;

use shared::name::GuestName;

use crate::cgroup::GuestCgroup;
use crate::cli::{Change, LimitsArgs};
use crate::commands::{Exit, output, turn};
use crate::config::limits::Amount;
use crate::config::{self, GuestConfig, StorageKind, edit, schema};
use crate::control::{Client, Snapshot};
use crate::error::{Error, Result};
use crate::facts;
use crate::ids;
use crate::launch;
use crate::paths::Paths;
use crate::plan::{self, Disk};
use crate::report::limits as report;
use crate::runtime::RunDir;
use crate::storage::{self, Scratch};
use crate::sys::quota::Quota;
use crate::systemd;

use apply::Running;
use level::Level;

/// Shows or changes.
pub(super) fn run(args: &LimitsArgs, paths: &Paths) -> Result<Exit> {
    if args.changes.is_empty() && !args.apply {
        return show(args, paths);
    }
    change(args, paths)
}

fn show(args: &LimitsArgs, paths: &Paths) -> Result<Exit> {
    let name = &args.name;
    let config = config::load(paths, name)?;
    let mut now = match running(paths, name)? {
        Some(status) => {
            let level = Level::of(RunDir::new(paths, name), status.boot);
            let now = look(&GuestCgroup::new(paths, name)?, &status);
            report::Now { nice: level.given().or(now.nice), ..now }
        }
        None => report::Now::default(),
    };
    let quota = limited(paths, name, &config)?;
    now.disk = quota.map(|quota| (quota.limit, quota.used));
    now.inodes = quota.and_then(|quota| quota.inodes);
    let rows = report::rows(&config.limits, &now);
    output::print(&match args.json {
        true => report::json_text(name.as_str(), &rows, &now),
        false => report::text(&rows, &now),
    })?;
    Ok(Exit::DONE)
}

/// How a guest is that has a PID 1.
fn running(paths: &Paths, name: &GuestName) -> Result<Option<Snapshot>> {
    let found = Client::find(paths, name)?.map(|(_, status)| status);
    Ok(found.filter(|status| status.init_pid > 0))
}

/// How the kernel limits it now.
fn look(cgroup: &GuestCgroup, status: &Snapshot) -> report::Now {
    let (inner, weighed) = (cgroup.limited(status.boot), cgroup.weighed());
    let read = |directory: &std::path::Path, file: &'static str| {
        std::fs::read_to_string(directory.join(file)).ok().map(|text| (file, text))
    };
    let files = report::FILES.into_iter().filter_map(|file| read(&inner, file));
    let weights = report::WEIGHTS.into_iter().filter_map(|file| read(weighed, file));
    let files = files.chain(weights);
    let pid = rustix::process::Pid::from_raw(status.init_pid);
    let process = pid.and_then(|pid| launch::limits_of(pid).ok());
    report::Now {
        files: files.collect(),
        nice: process.as_ref().map(|(_, nice)| *nice),
        open_files: process.and_then(|(limits, _)| limits.files()?.1),
        disk: None,
        inodes: None,
    }
}

/// How often a guest may have been rebooted since the command began.
const BOOTS: usize = 5;

fn change(args: &LimitsArgs, paths: &Paths) -> Result<Exit> {
    let name = &args.name;
    let _lock = turn::wait(paths, name)?;
    let before = config::text(paths, name)?;
    let after = edited(&before, &args.changes)?;
    let config = config::judge_text(paths, name, &after)?;
    let mut status = running(paths, name)?;
    if args.apply && status.is_none() {
        return Err(Error::not_running(name));
    }
    let disk = limited(paths, name, &config)?;
    // Another limit has nothing to do with it.
    let had = config::judge_text(paths, name, &before).ok().map(|before| before.limits.disk);
    let may_be_small = args.force || !args.apply && had == Some(config.limits.disk);
    if !may_be_small {
        refuse_small_disk(name, &config, disk)?;
    }
    let mut changed = match &status {
        Some(status) => apply(args, paths, &config, status)?,
        None => {
            // Said now rather than at the next start.
            decide(paths, name, &config)?;
            apply::Changed::default()
        }
    };
    if args.dry_run {
        let whom = if status.is_some() { "the running guest and its file" } else { "its file" };
        output::print(&format!("would change limits of guest '{name}': {whom}\n"))?;
        return Ok(Exit::DONE);
    }
    // Nobody boots it meanwhile, or is about to.
    let is_at_rest = Client::connect(paths, name)?.is_none();
    if let Err(error) = limit_disk(paths, name, &config, is_at_rest) {
        changed.undo();
        return Err(error);
    }
    // What wasn't counted before is now.
    let is_new = disk.is_none() && !may_be_small;
    let noted = if is_new { refuse_small_disk_now(paths, name, &config) } else { Ok(()) };
    let noted = noted.and_then(|()| note(args, paths, &config, after != before));
    if let Err(error) = noted {
        changed.undo();
        if let Ok(before) = config::load(paths, name) {
            let _ = limit_disk(paths, name, &before, is_at_rest);
        }
        return Err(error);
    }
    // A guest that has been rebooted meanwhile may have read the old file.
    for _ in 0..BOOTS {
        let now = running(paths, name)?;
        match (&status, &now) {
            (Some(then), Some(now)) if then.boot != now.boot => {
                apply(args, paths, &config, now)?;
            }
            (None, Some(now)) => {
                apply(args, paths, &config, now)?;
            }
            _ => break,
        }
        status = now;
    }
    Ok(Exit::DONE)
}

/// Writes the file, and has systemd know the shares in it; or neither.
fn note(args: &LimitsArgs, paths: &Paths, config: &GuestConfig, is_other: bool) -> Result<()> {
    let name = &args.name;
    // What others have changed meanwhile stays.
    let write = || config::change(paths, name, |text| edited(text, &args.changes));
    let written = is_other.then(write).transpose()?;
    if !systemd::starts_guests(paths) {
        return Ok(());
    }
    let told = systemd::tell_shares(name, &config.limits);
    let told = told.and_then(|()| weigh(paths, name));
    if let (Err(_), Some(written)) = (&told, written) {
        written.undo(paths, name)?;
    }
    told
}

/// Has the unit of a guest that runs the weights that systemd has noted for it.
fn weigh(paths: &Paths, name: &GuestName) -> Result<()> {
    let cgroup = GuestCgroup::new(paths, name)?;
    if !cgroup.is_in_unit() {
        return Ok(());
    }
    let fail = |error| {
        Error::os(format_args!("cannot weigh guest '{name}' anew"), error)
            .hint("its configuration is as before: try again")
    };
    cgroup.weigh(systemd::known_shares(name)?).map_err(fail)
}

/// Fails when its files are to take less than they take and may take `now`. An
/// image becomes no shorter anyway.
fn refuse_small_disk(name: &GuestName, config: &GuestConfig, now: Option<Quota>) -> Result<()> {
    let (Some(Amount::Bytes(limit)), Some(now)) = (config.limits.disk, now) else { return Ok(()) };
    let is_low = limit < now.used && (limit < now.limit || now.limit == 0);
    if !is_low || config.storage.kind == StorageKind::Image {
        return Ok(());
    }
    let [used, limit] = [now.used, limit].map(mebibytes);
    let text = format!("guest '{name}' uses {used} of the disk now, more than {limit}");
    Err(Error::new(text).hint(
        "it could write nothing more; delete what it doesn't need, or lower the limit all the \
         same: --force",
    ))
}

/// The same for files that were counted by nobody before.
fn refuse_small_disk_now(paths: &Paths, name: &GuestName, config: &GuestConfig) -> Result<()> {
    let now = limited(paths, name, config)?;
    refuse_small_disk(name, config, now.map(|now| Quota { limit: 0, ..now }))
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

/// How its files are limited, where they are counted.
fn limited(paths: &Paths, name: &GuestName, config: &GuestConfig) -> Result<Option<Quota>> {
    // Files are there when nothing runs, too.
    let project = ids::lookup(paths, name)?.map(|ids| ids.base);
    Ok(project.and_then(|base| storage::limited(&config.place(paths, name), base)))
}

/// Limits its files, at once where that can be.
fn limit_disk(paths: &Paths, name: &GuestName, config: &GuestConfig, at_rest: bool) -> Result<()> {
    let place = config.place(paths, name);
    // Without numbers it has never been built.
    let Some(ids) = ids::lookup(paths, name)? else { return Ok(()) };
    let limited = Disk::plan(config, ids.base).and_then(|disk| {
        let scratch = Scratch::new(name, &place.root);
        let scratch = scratch.is_used().then(|| scratch.path());
        match at_rest {
            true => storage::limit(&place, None, disk).map(|()| true),
            false => storage::change_limit(&place, scratch, disk),
        }
    });
    match limited {
        Ok(true) => {}
        Ok(false) => output::remark("limits.disk counts from the guest's next start on"),
        Err(error) if !config.limits.required => output::warn(error),
        Err(error) => {
            let what = format_args!("cannot change limits of guest '{name}'");
            return Err(error.context(what));
        }
    }
    Ok(())
}

fn decide(paths: &Paths, name: &GuestName, config: &GuestConfig) -> Result<plan::Limits> {
    let mut host = facts::resources(config.limits.devices());
    if GuestCgroup::new(paths, name).is_ok_and(|cgroup| cgroup.is_in_unit())
        || systemd::starts_guests(paths)
    {
        host.is_delegated();
    }
    let limits = plan::limits::plan(&config.limits, &host)
        .map_err(|error| error.context(format_args!("cannot change limits of guest '{name}'")))?;
    for warning in &limits.warnings {
        output::warn(warning);
    }
    Ok(limits)
}

fn apply(
    args: &LimitsArgs,
    paths: &Paths,
    config: &GuestConfig,
    status: &Snapshot,
) -> Result<apply::Changed> {
    let limits = decide(paths, &args.name, config)?;
    let cgroup = GuestCgroup::new(paths, &args.name)?;
    let level = Level::of(RunDir::new(paths, &args.name), status.boot);
    let guest = Running::new(&args.name, &cgroup, status, config, level);
    if !args.force {
        guest.refuse_too_low(&limits)?;
    }
    if args.dry_run {
        return Ok(apply::Changed::default());
    }
    let changed = guest.change(&limits);
    if changed.is_err() && running(paths, &args.name)?.is_none_or(|now| now.boot != status.boot) {
        // Of a boot that has ended meanwhile nothing is there to be changed.
        return Ok(apply::Changed::default());
    }
    changed
}

/// The text of the file with these changes.
fn edited(text: &str, changes: &[Change]) -> Result<String> {
    let mut text = text.to_owned();
    for (place, Change { key, value }) in changes.iter().enumerate() {
        if changes.iter().take(place).any(|earlier| earlier.key == *key) {
            let key = key.escape_debug();
            return Err(Error::usage(format!("'{key}' is given twice; name each limit once")));
        }
        let known = match schema::shape(&["limits"]) {
            Some(schema::Shape::Section(keys)) => keys,
            _ => &[],
        };
        if !known.contains(&key.as_str()) {
            let error = Error::usage(format!("there is no limit '{}'", key.escape_debug()));
            return Err(error.hint(format!("limits are: {}", known.join(", "))));
        }
        let path = format!("limits.{key}");
        let edited = match value {
            None => edit::unset(&text, &path),
            Some(value) => edit::set(&text, &path, &words(key, value)),
        };
        text = edited.map_err(|problems| super::config::refused(&path, &problems))?;
    }
    Ok(text)
}

/// Only devices are a list.
fn words(key: &str, value: &str) -> Vec<String> {
    match key {
        "io_max" => value.split(',').map(|word| word.trim().to_owned()).collect(),
        _ => vec![value.to_owned()],
    }
}

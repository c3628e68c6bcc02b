//! `vserver __complete`: what can stand at a place of the command line, one a line.

use shared::name::GuestName;

use crate::build::Snapshots;
use crate::cli::{self, CandidatesArgs, Kind};
use crate::commands::{Exit, output, select};
use crate::config::{self, schema};
use crate::error::Result;
use crate::paths::Paths;
use crate::report::info::TAGS;

/// Exit code 0: nothing else can stand there; 6: a file, too; 1: this doesn't know what can.
pub(super) fn run(args: &CandidatesArgs, paths: &Paths) -> Result<Exit> {
    let Some(wanted) = cli::wanted(&args.words) else { return Ok(Exit::NO) };
    let named = || wanted.guest.as_deref()?.parse().ok();
    let guests = || select::all(&[], paths);
    let found: Vec<String> = match wanted.kind {
        Kind::New => Vec::new(),
        Kind::Guest => guests()?.iter().map(ToString::to_string).collect(),
        Kind::Place => guests()?.iter().map(|guest| format!("{guest}:")).collect(),
        Kind::Mark => marks(paths)?,
        Kind::Snapshot => named().map(|guest| snapshots(paths, &guest)).unwrap_or_default(),
        Kind::Base => bases(&guests()?, paths),
        Kind::Key => schema::keys(),
        Kind::Limit => {
            let keys = schema::keys();
            let keys = keys.iter().filter_map(|key| key.strip_prefix("limits."));
            keys.map(|key| format!("{key}=")).collect()
        }
        Kind::Device => named().map(|guest| devices(paths, &guest)).unwrap_or_default(),
        Kind::Tag => TAGS.iter().map(|(tag, _)| (*tag).to_owned()).collect(),
    };
    // The shell reads them as words of its own.
    let is_plain = |c: char| c.is_alphanumeric() || "-_.:/@=+,".contains(c);
    let found = found.iter().filter(|found| found.chars().all(is_plain));
    output::print(&found.map(|found| format!("{found}\n")).collect::<String>())?;
    Ok(if wanted.kind == Kind::Place { Exit::INCOMPLETE } else { Exit::DONE })
}

fn marks(paths: &Paths) -> Result<Vec<String>> {
    let names = config::names(paths)?;
    let configs = names.iter().filter_map(|name| config::load(paths, name).ok());
    let mut marks: Vec<_> = configs.flat_map(|config| config.marks).collect();
    marks.sort();
    marks.dedup();
    Ok(marks)
}

fn snapshots(paths: &Paths, guest: &GuestName) -> Vec<String> {
    let Ok(config) = config::load(paths, guest) else { return Vec::new() };
    let all = Snapshots::new(guest, config.place(paths, guest)).list().unwrap_or_default();
    all.iter().map(|snapshot| snapshot.name.to_string()).collect()
}

fn bases(guests: &[GuestName], paths: &Paths) -> Vec<String> {
    let of = |guest: &GuestName| {
        snapshots(paths, guest).into_iter().map(|name| format!("{guest}@{name}")).collect()
    };
    guests.iter().flat_map(|guest| -> Vec<String> { of(guest) }).collect()
}

fn devices(paths: &Paths, guest: &GuestName) -> Vec<String> {
    let devices = config::load(paths, guest).map(|config| config.devices.allow);
    devices.unwrap_or_default().iter().map(|device| format!("/dev/{}", device.name)).collect()
}

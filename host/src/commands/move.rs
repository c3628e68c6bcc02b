//! `vserver move`: a guest to another host, where it is whole or not at all.
//!
//! Until the other host has said that it has all of it, the guest here is the
//! one that counts: a failure starts it again if it ran. Afterwards it is kept,
//! stopped, until somebody deletes it. Never are two of them started.

use std::io::BufWriter;

use shared::message::Power;
use shared::name::GuestName;

use crate::archive::{self, Head};
use crate::cli::MoveArgs;
use crate::commands::remote::{End, Remote};
use crate::commands::{Exit, at_rest, delete, enable, export, lifecycle, output};
use crate::config::{self, GuestConfig};
use crate::control::{Client, Phase};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::runtime::Lock;
use crate::storage;

/// Between two looks at the terminal.
const SHOWN_EVERY: u64 = 256;

/// As `export` has it.
const LEVEL: i32 = 3;

/// `status` of a guest that is stopped.
const STOPPED: End = End::Code(3);

/// Moves a guest.
pub(super) fn run(args: &MoveArgs, paths: &Paths) -> Result<Exit> {
    let (name, host) = (&args.name, args.host.as_str());
    let guest = config::load(paths, name)?;
    if !rustix::process::geteuid().is_root() {
        return Err(Error::of(Kind::Permission, "only root can move guests"));
    }
    let remote = Remote { host, options: &args.ssh_option, program: &args.vserver };
    let moving = Moving { args, name, guest, remote, paths };
    moving.ask_first()?;
    let ran = moving.runs()?;
    if args.dry_run {
        let how = if ran { "be stopped here, and " } else { "" };
        output::print(&format!("guest '{name}' would {how}go to '{host}', which takes it\n"))?;
        return Ok(Exit::DONE);
    }
    if ran {
        lifecycle::stop(paths, name, Power::PowerOff, &args.shutdown)?;
    }
    moving.send().map_err(|error| moving.back(ran, error))?;
    moving.start_there(ran)?;
    moving.settle(ran)?;
    Ok(Exit::DONE)
}

struct Moving<'a> {
    args: &'a MoveArgs,
    name: &'a GuestName,
    guest: GuestConfig,
    remote: Remote<'a>,
    paths: &'a Paths,
}

impl Moving<'_> {
    /// Everything that could stand in the way, while the guest still runs.
    fn ask_first(&self) -> Result<()> {
        let (name, host) = (self.name, self.remote.host);
        if self.args.delete {
            let root = self.guest.root(self.paths, name);
            if !delete::snapshots(name, &root).list()?.is_empty() {
                return Err(Error::new(format!(
                    "guest '{name}' has snapshots, which '--delete' would delete for good"
                ))
                .hint("move it without '--delete', or delete them first"));
            }
        }
        let version = self.remote.version()?;
        // A guest without files, which that host only looks at.
        let head = self.head()?;
        let words = self.import(&["--dry-run"]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (end, _) = self.remote.feed(&words, |input| {
            archive::write(input, LEVEL, &head, None, &|| Ok(()), &mut |_| ())
        })?;
        match end {
            End::Code(0) => Ok(()),
            End::Code(2) => Err(Error::new(format!(
                "vserver {version} on '{host}' doesn't understand how guest '{name}' is sent"
            ))
            .hint("install the same version on both hosts")),
            End::Code(_) => Err(Error::new(format!("'{host}' doesn't take guest '{name}'"))
                .hint("another name or context: vserver move NAME HOST NEW --context N")),
            End::Unknown => Err(Error::new(format!("the link to '{host}' broke"))),
        }
    }

    fn head(&self) -> Result<Head> {
        let mut head = export::head(self.paths, self.name, &self.guest)?;
        if !self.args.actions {
            // They aren't even sent.
            (head.actions, head.manifest.actions) = (None, false);
        }
        Ok(head)
    }

    /// The other host's command.
    fn import(&self, more: &[&str]) -> Vec<String> {
        let mut words: Vec<String> = vec!["import".into(), "-".into(), self.there().to_string()];
        words.extend(self.args.context.map(|number| format!("--context={number}")));
        words.extend(self.args.address.iter().map(|address| format!("--address={address}")));
        words.extend(self.args.actions.then(|| "--actions".into()));
        words.extend(more.iter().map(|&word| word.to_owned()));
        words
    }

    /// Its name there.
    fn there(&self) -> &GuestName {
        self.args.new.as_ref().unwrap_or(self.name)
    }

    /// Does it run? A context of sessions is no boot, and has to end first.
    fn runs(&self) -> Result<bool> {
        match Client::find(self.paths, self.name)? {
            Some((_, status)) if status.shown_phase() != Phase::Session => {
                Ok(!matches!(status.phase, Phase::Stopping | Phase::Stopped))
            }
            _ => Ok(false),
        }
    }

    /// Sends it, and hears that it is there.
    fn send(&self) -> Result<()> {
        let (name, host) = (self.name, self.remote.host);
        // While this is held, nobody starts it.
        let _lock = Lock::wait(&self.paths.lock(name))?;
        at_rest::check(self.paths, name)?;
        let root = storage::view_only(&self.guest.place(self.paths, name))?;
        let head = self.head()?;
        let interrupt =
            Interrupt::watch().map_err(|cause| Error::os("cannot watch for signals", cause))?;
        let mut progress = Progress::on_terminal();
        progress.lines("moving");
        let words = self.import(&[]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (end, written) = self.remote.feed(&words, |input| {
            let to = BufWriter::with_capacity(256 * 1024, input);
            let check = || interrupt.check();
            archive::write(to, LEVEL, &head, Some(&root), &check, &mut |files| {
                if files % SHOWN_EVERY == 0 {
                    progress.say(format!("moving: {files} files"));
                }
            })
        })?;
        progress.end();
        interrupt.check()?;
        let failed = |why: String| Err(Error::new(format!("guest '{name}' is not moved: {why}")));
        match (end, written) {
            (End::Code(0), Some(written)) => {
                export::remark_on(written);
                Ok(())
            }
            (End::Code(_), _) => failed(format!("'{host}' could not import it")),
            (End::Unknown, None) => failed(format!("the link to '{host}' broke")),
            // Its last word is lost: it may have it, stopped.
            (End::Unknown, Some(_)) => failed(format!(
                "the link to '{host}' broke before it said that it has all; see there: \
                 vserver status {}",
                self.there()
            )),
        }
    }

    /// After a failure: as it was before.
    fn back(&self, ran: bool, error: Error) -> Error {
        if !ran {
            return error;
        }
        let name = self.name;
        match lifecycle::start(self.paths, name, &lifecycle::Start::default()) {
            Ok(()) => {
                output::remark(format_args!("guest '{name}' runs here again"));
                error
            }
            Err(start) => {
                output::complain(&error);
                start.context(format_args!("guest '{name}' doesn't run here again"))
            }
        }
    }

    /// Starts it there. If it doesn't, and is down, it is started here.
    fn start_there(&self, ran: bool) -> Result<()> {
        if !ran || self.args.no_start {
            return Ok(());
        }
        let (there, host) = (self.there().as_str(), self.remote.host);
        let (end, _) = self.remote.run(&["start", there])?;
        if end == End::Code(0) {
            return Ok(());
        }
        let error = Error::new(format!("guest '{there}' is on '{host}', but doesn't start there"));
        let is_down = matches!(self.remote.run(&["status", there]), Ok((STOPPED, _)));
        // It would come up there with the next boot.
        let is_off =
            is_down && matches!(self.remote.run(&["disable", there]), Ok((End::Code(0), _)));
        if !is_off {
            // Better none than two with the same addresses.
            return Err(error.hint(format!(
                "it isn't started here, since it may yet run there: look there first, \
                 then 'vserver start {}' on one of both",
                self.name
            )));
        }
        let remedy = format!("delete it there before the next try: vserver delete {there}");
        Err(self.back(ran, error.hint(remedy)))
    }

    /// The other host has it.
    fn settle(&self, ran: bool) -> Result<()> {
        let (name, there, host) = (self.name, self.there(), self.remote.host);
        let how = if ran && !self.args.no_start { "runs" } else { "is" };
        let kept = if self.args.delete {
            delete::now(self.paths, name)
        } else {
            enable::set_all(self.paths, std::slice::from_ref(name), false)
        };
        kept.map_err(|error| {
            error.context(format_args!("guest '{there}' {how} on '{host}', but here"))
        })?;
        let here = match self.args.delete {
            true => format!("guest '{name}' is deleted here\n"),
            false => format!(
                "guest '{name}' is kept here, stopped, and not started with the host\n\
                 next: vserver delete {name}\n"
            ),
        };
        output::print(&format!("guest '{there}' {how} on '{host}'\n{here}"))
    }
}

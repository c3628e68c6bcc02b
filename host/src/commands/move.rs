//! `vserver move`: a guest to another host, where it is whole or not at all.
//!
//! Until the other host has said that it has all of it, the guest here is the
//! one that counts: a failure starts it again if it was stopped. Afterwards it
//! is kept, stopped, until somebody deletes it. Never are two of them started.

mod sending;

use shared::message::Power;
use shared::name::GuestName;

use crate::archive::{self, Head};
use crate::build;
use crate::cli::MoveArgs;
use crate::commands::remote::{End, Remote};
use crate::commands::{Exit, delete, enable, export, lifecycle, output, select, turn};
use crate::config::{self, GuestConfig, edit};
use crate::control::{Client, Phase};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::paths::Paths;
use crate::runtime::Lock;
use crate::storage::Live;

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
    // Said here as it would be there.
    args.store.of_build()?;
    let remote = Remote { host, options: &args.ssh_option, program: &args.vserver };
    let was_enabled = select::is_enabled(paths, name, &guest);
    let interrupt = Interrupt::default();
    let mut moving =
        Moving { args, name, guest, was_enabled, remote, paths, only: None, interrupt };
    let runs = moving.runs()?;
    let live = if runs { moving.live()? } else { None };
    moving.ask_first(live.is_some())?;
    if args.dry_run {
        let how = match (runs, &live) {
            (false, _) => "",
            (true, None) => "be stopped here, and ",
            (true, Some(_)) => "be stopped here when its files have come there, and ",
        };
        output::print(&format!("guest '{name}' would {how}go to '{host}', which takes it\n"))?;
        return Ok(Exit::DONE);
    }
    moving.only = Some(moving.only_one()?);
    // From here on the guest may be down because of this, and is started again.
    moving.interrupt =
        Interrupt::watch().map_err(|cause| Error::os("cannot watch for signals", cause))?;
    let moved = moving.carry_out(runs, live);
    if let Some(only) = moving.only {
        only.remove(&paths.move_lock(name));
    }
    moved.map(|()| Exit::DONE)
}

struct Moving<'a> {
    args: &'a MoveArgs,
    name: &'a GuestName,
    guest: GuestConfig,
    /// Was it started with this host?
    was_enabled: bool,
    remote: Remote<'a>,
    paths: &'a Paths,
    /// Keeps others from moving it as well, and, signed, from starting it.
    only: Option<Lock>,
    interrupt: Interrupt,
}

impl Moving<'_> {
    /// Moves it, which `runs`, and is seen meanwhile if it is `live`.
    fn carry_out(&self, runs: bool, live: Option<Live>) -> Result<()> {
        // Was it this command that stopped it?
        let mut stopped = false;
        let sent = match live.and_then(|live| self.calm(live)) {
            Some((root, calm)) => self.send_running(&root, calm, &mut stopped),
            None => self.stop_first(runs, &mut stopped).and_then(|()| self.send()),
        };
        sent.map_err(|error| if stopped { self.back(error) } else { self.stays(error) })?;
        // Whatever comes now, the next boot of this host starts no second one.
        self.enable_here(false)?;
        self.start_there(stopped)?;
        self.settle(stopped)
    }

    /// Has it started with this host, if it was, or no longer.
    fn enable_here(&self, enable: bool) -> Result<()> {
        if !self.was_enabled {
            return Ok(());
        }
        let (name, host) = (self.name, self.remote.host);
        let check = || self.interrupt.check();
        let done = enable::set_all(self.paths, std::slice::from_ref(name), enable, &check);
        done.map_err(|error| {
            let text = match enable {
                true => format!("guest '{name}' isn't started with this host any more"),
                false => format!(
                    "guest '{name}' is on '{host}', stopped, but can't be kept from being started \
                     with this host"
                ),
            };
            error.context(text)
        })
    }

    /// Stops it, if it `runs`; `stopped` tells whether that was done.
    fn stop_first(&self, runs: bool, stopped: &mut bool) -> Result<()> {
        let check = || self.interrupt.check();
        if runs {
            check()?;
            // Who is at work with it had better be while it runs.
            drop(turn::wait_unless(self.paths, self.name, &check)?);
            *stopped = self.stop()?;
        }
        check()
    }

    fn stop(&self) -> Result<bool> {
        lifecycle::stop(self.paths, self.name, Power::PowerOff, &self.args.shutdown)
    }

    /// Everything that could stand in the way, while the guest still runs.
    fn ask_first(&self, is_live: bool) -> Result<()> {
        let (name, host) = (self.name, self.remote.host);
        if self.args.delete {
            let root = self.guest.root(self.paths, name);
            if !delete::snapshots(name, &root).list()?.is_empty() {
                return Err(Error::new(format!(
                    "guest '{name}' has snapshots, which '--delete' would delete for good"
                ))
                .hint("move it without '--delete', or delete them first"));
            }
            build::real_root(&root, || format!("guest '{name}' can't be deleted then"))?;
        }
        let version = self.remote.version()?;
        // A guest without files, which that host only looks at.
        let head = self.head(is_live)?;
        let words = self.import(&["--dry-run"]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (end, _) = self.remote.feed(&words, |input, _| {
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

    /// What precedes its files, which come in two parts if it `is_live`.
    fn head(&self, is_live: bool) -> Result<Head> {
        self.head_of(&self.guest, is_live)
    }

    /// The same by this configuration.
    fn head_of(&self, guest: &GuestConfig, is_live: bool) -> Result<Head> {
        let mut head = export::head(self.paths, self.name, guest)?;
        if is_live {
            head.manifest = head.manifest.in_parts();
        }
        if !self.args.actions {
            // They aren't even sent.
            (head.actions, head.manifest.actions) = (None, false);
        }
        // It is enabled there when it is no longer here.
        head.config = edit::unset(&head.config, "autostart")
            .map_err(|problems| super::config::refused("autostart", &problems))?;
        Ok(head)
    }

    /// The other host's command.
    fn import(&self, more: &[&str]) -> Vec<String> {
        let mut words: Vec<String> = vec!["import".into(), "-".into(), self.there().to_string()];
        words.extend(self.args.context.map(|number| format!("--context={number}")));
        words.extend(self.args.address.iter().map(|address| format!("--address={address}")));
        words.extend(self.args.store.words());
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

    /// Nobody else moves it meanwhile, to a third host perhaps.
    fn only_one(&self) -> Result<Lock> {
        let path = self.paths.move_lock(self.name);
        // One that has just been removed was another's.
        let lock = Lock::try_now(&path)?.filter(|lock| lock.is_at(&path));
        if let Some(lock) = &lock {
            lock.blank();
        }
        lock.ok_or_else(|| {
            let name = self.name;
            Error::new(format!("guest '{name}' is being moved by another 'vserver move'"))
        })
    }

    /// After a failure before it was stopped.
    fn stays(&self, error: Error) -> Error {
        let name = self.name;
        match Client::find(self.paths, name) {
            Ok(Some((_, status))) if status.phase == Phase::Stopping => {
                output::remark(format_args!(
                    "guest '{name}' shuts down here: vserver start {name}"
                ));
            }
            Ok(Some(_)) => output::remark(format_args!("guest '{name}' goes on here")),
            _ => {}
        }
        error
    }

    /// After a failure: as it was before.
    fn back(&self, error: Error) -> Error {
        let name = self.name;
        // It is this host's again.
        self.only.iter().for_each(Lock::blank);
        // This is what comes of that. Asked once more, nothing else is waited for.
        self.interrupt.answer();
        let check = || self.interrupt.check();
        let start = || lifecycle::start(self.paths, name, &lifecycle::Start::default(), &check);
        let again = self.enable_here(true).and_then(|()| start());
        match again {
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
        if matches!(self.remote.run(&["start", there]), Ok((End::Code(0), _))) {
            return Ok(());
        }
        let error = Error::new(format!("guest '{there}' is on '{host}', but doesn't start there"));
        if !matches!(self.remote.run(&["status", there]), Ok((STOPPED, _))) {
            // Better none than two with the same addresses.
            return Err(error.hint(format!(
                "it isn't started here, since it may yet run there, and with neither host: look \
                 there first, then 'vserver start {0}' and 'vserver enable {0}' on one of both",
                self.name
            )));
        }
        let remedy = format!("delete it there before the next try: vserver delete {there}");
        Err(self.back(error.hint(remedy)))
    }

    /// The other host has it.
    fn settle(&self, ran: bool) -> Result<()> {
        let (name, there, host) = (self.name, self.there(), self.remote.host);
        let how = if ran && !self.args.no_start { "runs" } else { "is" };
        let is_enabled = || self.remote.run(&["enable", there.as_str()]);
        if self.was_enabled && !matches!(is_enabled(), Ok((End::Code(0), _))) {
            let text = format!("guest '{there}' {how} on '{host}', but isn't started with it");
            return Err(Error::new(text).hint(format!("there: vserver enable {there}")));
        }
        if self.args.delete {
            delete::now(self.paths, name, &|| self.interrupt.check()).map_err(|error| {
                error.context(format_args!("guest '{there}' {how} on '{host}', but here"))
            })?;
        }
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

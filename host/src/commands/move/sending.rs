//! How a guest's files go to the other host: all at once, or, while it runs, in
//! two parts, of which the second is what has changed when it is stopped.

use std::fmt::Display;
use std::io::{BufWriter, Write};
use std::os::fd::AsFd;
use std::path::Path;

use crate::archive::{self, Archive, Head, Written};
use crate::commands::import::FIRST_PART;
use crate::commands::remote::{Answer, End};
use crate::commands::{export, output, pause, turn};
use crate::config;
use crate::control::Client;
use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::progress::Progress;
use crate::runtime::Lock;
use crate::storage::{self, Live};
use crate::tree::Calm;

use super::{LEVEL, Moving};

/// Between two looks at the terminal.
const SHOWN_EVERY: u64 = 256;

impl Moving<'_> {
    /// The files of a guest that runs, if they can be sent meanwhile; else that
    /// is said.
    pub(super) fn live(&self) -> Result<Option<Live>> {
        let place = self.guest.place(self.paths, self.name);
        let live = match storage::view_live(&place) {
            Ok(Some(live)) => live,
            Ok(None) => {
                let why = "an image, or a base on another disk, can't be looked into while it runs";
                remark_on_downtime(&why);
                return Ok(None);
            }
            Err(error) => {
                remark_on_downtime(&error);
                return Ok(None);
            }
        };
        let can_be = Calm::can_be(&live.disk);
        if can_be.map_err(|cause| live.disk.error("examine", Path::new(""), cause))? {
            return Ok(Some(live));
        }
        remark_on_downtime(&"changes can't be told on its file system");
        Ok(None)
    }

    /// Sends one that is stopped, and hears that it is there.
    pub(super) fn send(&self) -> Result<()> {
        // While this is held, nobody starts it.
        let _held = turn::at_rest(self.paths, self.name, &|| self.interrupt.check())?;
        self.only.iter().for_each(Lock::sign);
        let root = storage::view_only(&self.guest.place(self.paths, self.name))?;
        self.stream(&self.head(false)?, |to, _, head| {
            let (check, shown) = (|| self.interrupt.check(), Shown::new("moving"));
            let to = BufWriter::with_capacity(256 * 1024, to);
            archive::write(to, LEVEL, head, Some(&root), &check, &mut |files| shown.at(files))
        })
    }

    /// Sends one that runs; `stopped` tells whether it has been stopped then.
    pub(super) fn send_running(
        &self,
        root: &RootDir,
        calm: Calm,
        stopped: &mut bool,
    ) -> Result<()> {
        let (paths, name) = (self.paths, self.name);
        // Held until the other side has it all: nobody starts it meanwhile.
        let mut held = None;
        self.stream(&self.head(true)?, |to, answer, head| {
            let (check, shown) = (|| self.interrupt.check(), Shown::new("moving"));
            let to = BufWriter::with_capacity(256 * 1024, to);
            let mut archive = Archive::begin(to, LEVEL, head, &check)?;
            let first = archive.first_part(root, calm, &mut |files| shown.at(files))?;
            // What the other side has no room for, it says before this one is down.
            answer.wait_for(FIRST_PART, &check)?;
            self.check_still(head)?;
            // The shutdown shows its own.
            drop(shown);
            // Who is at work with it, for how long that takes, had better be while it
            // runs.
            drop(turn::wait_unless(paths, name, &check)?);
            check()?;
            // One that has ended meanwhile is left as it is.
            *stopped = self.runs()? && self.stop()?;
            check()?;
            held = Some(turn::at_rest(paths, name, &check)?);
            self.only.iter().for_each(Lock::sign);
            self.check_still(head)?;
            // A snapshot may have been put in the place of what was sent.
            let root = storage::view_only(&self.guest.place(paths, name))?;
            let shown = Shown::new("moving what has changed");
            archive.second_part(&root, &first, &mut |files| shown.at(files))?;
            archive.end()
        })
    }

    /// Makes all further changes of a guest's files tell, as [`Calm`] says; if it
    /// can't stand still for that, this is said.
    pub(super) fn calm(&self, live: Live) -> Option<(RootDir, Calm)> {
        let calm = || -> Result<Calm> {
            let calm = Calm::begin();
            if let Some((client, _)) = Client::find(self.paths, self.name)? {
                // It ends with the connection.
                pause::hold(&client, self.name)?;
            }
            let disk = &live.disk;
            calm.settle(disk.as_fd()).map_err(|cause| disk.error("write", Path::new(""), cause))
        };
        let calm = calm().inspect_err(remark_on_downtime);
        calm.ok().map(|calm| (live.root, calm))
    }

    /// The other side has judged the configuration that it has.
    fn check_still(&self, head: &Head) -> Result<()> {
        let (paths, name) = (self.paths, self.name);
        let now = config::load(paths, name)?;
        let is_there = now.place(paths, name) == self.guest.place(paths, name);
        if is_there && self.head_of(&now, true)? == *head {
            return Ok(());
        }
        Err(Error::new(format!("the configuration of guest '{name}' has been changed meanwhile"))
            .hint("move it again"))
    }

    /// Has the other host import what `write` writes.
    fn stream(
        &self,
        head: &Head,
        write: impl FnOnce(&mut dyn Write, &mut Answer<'_>, &Head) -> Result<Written>,
    ) -> Result<()> {
        let (name, host) = (self.name, self.remote.host);
        let words = self.import(&[]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (end, written) =
            self.remote.feed(&words, |input, answer| write(input, answer, head))?;
        let why = match (end, written) {
            (End::Code(0), Some(written)) => {
                export::remark_on(written);
                return Ok(());
            }
            // Its last word is lost: it may have it, stopped.
            (End::Unknown, Some(_)) => format!(
                "the link to '{host}' broke before it said that it has all; see there: \
                 vserver status {}",
                self.there()
            ),
            // An interrupt on the terminal ends ssh, too.
            _ if self.interrupt.is_asked() => return self.interrupt.check(),
            (End::Code(_), _) => format!("'{host}' could not import it"),
            (End::Unknown, None) => format!("the link to '{host}' broke"),
        };
        Err(Error::new(format!("guest '{name}' is not moved: {why}")))
    }
}

fn remark_on_downtime(why: &impl Display) {
    output::remark(format_args!("{why}: it is down while all of it is sent"));
}

/// How far it is, on a terminal.
struct Shown {
    what: &'static str,
    progress: Progress,
}

impl Shown {
    fn new(what: &'static str) -> Self {
        let mut progress = Progress::on_terminal();
        progress.lines(what);
        Self { what, progress }
    }

    fn at(&self, files: u64) {
        if files.is_multiple_of(SHOWN_EVERY) {
            self.progress.say(format!("{}: {files} files", self.what));
        }
    }
}

//! `vserver cp`: files into guests and out of them.

use crate::cli::CpArgs;
use crate::commands::{Exit, output, turn};
use crate::copying::{self, Request};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::paths::Paths;
use crate::progress::Progress;

/// Copies each source to the last place.
pub(super) fn run(args: &CpArgs, paths: &Paths) -> Result<Exit> {
    let Some((target, sources)) = args.places.split_last() else { return Ok(Exit::DONE) };
    let interrupt =
        Interrupt::watch().map_err(|cause| Error::os("cannot watch for signals", cause))?;
    let request = Request {
        sources,
        target,
        archive: args.archive,
        keep: args.no_clobber,
        dry: args.dry_run,
    };
    let wait = |name: &_| turn::wait_unless(paths, name, &|| interrupt.check());
    let report = copying::run(&request, paths, &wait, &interrupt, &mut Progress::on_terminal())?;
    report.remarks.iter().for_each(output::remark);
    if args.dry_run {
        for copy in &report.copies {
            output::print(&format!("would copy {copy}\n"))?;
        }
    }
    match report.missed.as_slice() {
        [] => Ok(Exit::DONE),
        // A script that asks for it by name counts on it.
        missed => {
            let missed: Vec<_> = missed.iter().map(|place| format!("'{place}'")).collect();
            Err(Error::new(format!("nothing is copied of {}", missed.join(", "))))
        }
    }
}

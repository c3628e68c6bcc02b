//! A stream in tar's form in place of the host's side. What comes is laid out,
//! whole, in a directory of vserver's own before anything of it is copied, and
//! what goes is copied there first: so a stream is held to all that a copy is,
//! and one that is cut short changes nothing.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;

use rustix::fs::Mode;

use crate::archive;
use crate::build::{remarks, unpack_archive};
use crate::config;
use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::paths::Paths;
use crate::tree::Staging;

use super::owners::Way;
use super::side::{Source, Target};
use super::{Call, Carrier, Place, Report, Request, View, view, views};

/// Is it standard input or output?
pub(super) fn is_stream(place: &Place) -> bool {
    matches!(place, Place::Host(path) if path == Path::new("-"))
}

/// What the stream is kept in meanwhile: beside the roots of guests there is
/// room for what goes into one.
pub(super) fn room(paths: &Paths) -> Result<RootDir> {
    let directory = paths.roots_dir();
    std::fs::create_dir_all(&directory)
        .map_err(|cause| Error::path("create directory", &directory, cause))?;
    // Of a guest's set-user-id programs the host's users may execute none.
    rustix::fs::chmod(&directory, Mode::RWXU)
        .map_err(|cause| Error::path("change the permissions of", &directory, cause))?;
    RootDir::open(&directory)
}

/// Standard input into a directory of a guest's.
pub(super) fn receive(
    request: &Request<'_>,
    room: &RootDir,
    call: &mut Call<'_>,
) -> Result<Report> {
    if io::stdin().is_terminal() {
        return Err(Error::usage("standard input is a terminal, and no archive")
            .hint("tar c FILES | vserver cp - GUEST:PATH"));
    }
    // Before all that comes is read for nothing.
    if let Some(name) = request.target.guest() {
        config::load(call.paths, name)?;
    }
    let staging = Staging::make(room, false)?;
    let from = Path::new("-");
    let inner = staging.inner(from)?;
    let left_out = unpack_archive(from, &inner, call.interrupt, call.progress)?;
    let mut report = Report { remarks: remarks(&left_out).collect(), ..Report::default() };
    let views = views([request.target], call)?;
    let there = view(&views, request.target)?;
    if !request.dry {
        there.act_as_root()?;
    }
    // As a directory, whatever is in the stream.
    let target = Target::find(there, request.target, true)?;
    let source = Source::Directory { directory: inner, name: None };
    report.copies.push(format!("standard input to '{}'", target.shown(&source).display()));
    if !request.dry {
        let way = Way { from: View::host()?.owners, to: there.owners };
        let carrier = Carrier { request, way, interrupt: call.interrupt, progress: call.progress };
        report.remarks.extend(carrier.run(&source, &target)?.remarks);
    }
    call.progress.end();
    Ok(report)
}

/// What is in a guest, to standard output.
pub(super) fn send(request: &Request<'_>, room: &RootDir, call: &mut Call<'_>) -> Result<Report> {
    let output = io::stdout();
    if output.is_terminal() && !request.dry {
        return Err(Error::usage("standard output is a terminal, and takes no archive")
            .hint("vserver cp GUEST:PATH - | tar x"));
    }
    let staging = Staging::make(room, false)?;
    let host = View::host()?;
    let views = views(request.sources, call)?;
    let mut report = Report::default();
    call.progress.lines("copying");
    for place in request.sources {
        let from = view(&views, place)?;
        let source = Source::find(from, place)?;
        report.copies.push(format!("'{place}' to standard output"));
        if !request.dry {
            let target = Target::into(staging.directory().open_dir("")?);
            let way = Way { from: from.owners, to: host.owners };
            let carrier =
                Carrier { request, way, interrupt: call.interrupt, progress: call.progress };
            report.note(place, carrier.run(&source, &target)?);
        }
    }
    // A guest can be started again.
    drop(views);
    if !request.dry {
        let check = || call.interrupt.check();
        // Whoever reads may take what ends too early for all of it: what can't be
        // written is found out before.
        archive::plain(io::sink(), staging.directory(), &check)?;
        let mut to = BufWriter::with_capacity(256 * 1024, output.lock());
        let written = archive::plain(&mut to, staging.directory(), &check);
        call.interrupt.check()?;
        written.map_err(|error| error.context("cannot copy to standard output"))?;
        to.flush().map_err(|cause| Error::os("cannot write to standard output", cause))?;
    }
    call.progress.end();
    Ok(report)
}

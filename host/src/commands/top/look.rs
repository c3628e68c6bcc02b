//! What `vserver top` sees: all contexts and the processes of one, in one
//! pass over /proc.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::time::Instant;

use crate::accounting::{self, Met};
use crate::commands::stat;
use crate::error::Result;
use crate::membership::{self, Context, Membership};
use crate::paths::Paths;
use crate::top::{Entry, Process, ProcessId, Reading};

/// How much of a command line is read. The kernel shows none that lies in a
/// mapped file, which could be made to answer never (get_mm_cmdline in its
/// fs/proc/base.c).
const COMMAND: u64 = 1024;

/// Looks.
#[derive(Debug)]
pub(super) struct Looker {
    paths: Paths,
    start: Instant,
}

impl Looker {
    /// At this installation.
    pub(super) fn new(paths: &Paths) -> Self {
        Self { paths: paths.clone(), start: Instant::now() }
    }

    /// Looks at all contexts, and at the processes of one.
    ///
    /// # Errors
    /// When /proc can't be read.
    pub(super) fn look(&self, opened: Option<&Context>) -> Result<Reading> {
        let membership = Membership::read(&self.paths)?;
        let mut own: Vec<Met> = Vec::new();
        let at = self.start.elapsed();
        let accounts = accounting::survey(&membership, |context, met| {
            if opened == Some(context) {
                own.push(met);
            }
        })?;
        let contexts = accounts.into_iter().map(|(context, account)| Entry {
            line: stat::line(&membership, &context, account),
            context,
        });
        // Processes of the host's that only stand in its cgroup are left out.
        let pids: Vec<i32> = own.iter().map(|met| met.seen.pid).collect();
        let inner: BTreeMap<i32, i32> = membership::inside(&pids)
            .into_iter()
            .map(|process| (process.pid, process.inner))
            .collect();
        let process = |met: Met| {
            let inner = *inner.get(&met.seen.pid)?;
            Some(process(met, inner))
        };
        let processes = own.into_iter().filter_map(process).collect();
        Ok(Reading { at, contexts: contexts.collect(), processes })
    }

    /// Opens this very process of the context: what is sent to it hits no
    /// other that has its pid by then.
    ///
    /// # Errors
    /// ESRCH when it has ended, those of pidfd_open(2), and where cgroups
    /// can't be found any more.
    pub(super) fn hold(&self, context: &Context, id: ProcessId) -> io::Result<OwnedFd> {
        let membership =
            Membership::read(&self.paths).map_err(|error| io::Error::other(error.to_string()))?;
        let opened = membership.open(context, id.pid)?;
        match accounting::started(id.pid) {
            Some(started) if started == id.started => Ok(opened),
            _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    }
}

fn process(met: Met, inner: i32) -> Process {
    let Met { seen, own, state, name } = met;
    Process {
        id: ProcessId { pid: seen.pid, started: seen.started },
        inner,
        state,
        virtual_bytes: seen.virtual_bytes,
        resident_bytes: seen.resident_bytes,
        time: own,
        command: command(seen.pid).unwrap_or_else(|| format!("[{name}]")),
        name,
    }
}

/// The words of `/proc/PID/cmdline`; `None` when there are none.
fn command(pid: i32) -> Option<String> {
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/{pid}/cmdline")).ok()?;
    file.take(COMMAND).read_to_end(&mut bytes).ok()?;
    let words = String::from_utf8_lossy(&bytes).replace('\0', " ");
    let words = words.trim_end();
    (!words.is_empty()).then(|| words.to_owned())
}

//! What contexts use at one moment ([`read`]), what guests have used
//! ([`Book`]), and their processes that have ended ([`Records`]).
//!
//! Processes are counted in one pass over /proc, whatever the number of
//! contexts; the rest are the kernel's own sums, kept for each cgroup
//! (kernel doc, cgroup-v2, "Core Interface Files" and "Controllers").

mod acct;
mod book;
mod commands;
mod counters;
mod files;
pub mod forks;
mod ledger;
mod records;
mod tally;
mod traffic;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use procfs::{Current, CurrentSI, FromRead};

use crate::error::{Error, Result};
use crate::membership::{Context, Membership};

pub use book::{Book, INTERVAL, Kept, NOTES, names};
pub use commands::{Command, Commands};
pub use counters::Usage;
pub use files::{counted, inode, network, usage};
pub use ledger::{Counters, Hour, Ledger, Sample, Sums, sum};
pub use records::{LIMIT as RECORDS_LIMIT, Records};
pub use tally::{Processes, Seen};
pub use traffic::{Bytes, Traffic};

/// What one context uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// Sums over its processes.
    pub processes: Processes,
    /// Time on processors in user mode, since it was started.
    pub user: Duration,
    /// In the kernel.
    pub system: Duration,
    /// Since its first process was started.
    pub uptime: Duration,
    /// What the kernel counts for its cgroups.
    pub usage: Usage,
    /// Bytes that came in and went out over interfaces but the loopback;
    /// `None` where that isn't counted.
    pub network: Option<(u64, u64)>,
}

/// One process, as [`survey`] meets it.
#[derive(Clone, Debug)]
pub struct Met {
    /// Its pid, its memory, its start.
    pub seen: Seen,
    /// Its own time on processors, that of its children not included.
    pub own: Duration,
    /// Its state, a letter (proc_pid_stat(5)).
    pub state: char,
    /// Its name, which it chooses itself.
    pub name: String,
}

/// The accounts of all contexts that have processes, the host's among them.
///
/// # Errors
/// When /proc can't be read.
pub fn read(membership: &Membership) -> Result<BTreeMap<Context, Account>> {
    survey(membership, |_, _| {})
}

/// The same; every process of the one pass over /proc is shown with its
/// context.
///
/// # Errors
/// As [`read`].
pub fn survey(
    membership: &Membership,
    mut show: impl FnMut(&Context, Met),
) -> Result<BTreeMap<Context, Account>> {
    let cannot = |what: &str| {
        let text = format!("cannot read '/proc{what}'");
        move |cause: procfs::ProcError| Error::new(format!("{text}: {cause}"))
    };
    let uptime = procfs::Uptime::current().map_err(cannot("/uptime"))?.uptime_duration();
    let whole = procfs::KernelStats::current().map_err(cannot("/stat"))?.total;
    let ticks = ticks();

    let mut tallies: BTreeMap<Context, Processes> = BTreeMap::new();
    let all = fs::read_dir("/proc").map_err(|cause| Error::os("cannot read '/proc'", cause))?;
    let pids = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in pids {
        // Whatever ends in between is in no account.
        let Some(met) = process(pid, &ticks) else { continue };
        let Some(context) = membership.of(pid) else { continue };
        let seen = met.seen;
        show(&context, met);
        tallies.entry(context).or_default().add(&seen);
    }
    let mut accounts: BTreeMap<Context, Account> = tallies
        .into_iter()
        .map(|(context, processes)| {
            let account = account(membership, &context, processes, uptime);
            (context, account)
        })
        .collect();
    let others = accounts
        .iter()
        .filter(|(context, _)| **context != Context::Main)
        .map(|(_, account)| (account.user, account.system))
        .fold((Duration::ZERO, Duration::ZERO), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    if let Some(host) = accounts.get_mut(&Context::Main) {
        host.user = ticks.time(whole.user + whole.nice).saturating_sub(others.0);
        let system = whole.system + whole.irq.unwrap_or(0) + whole.softirq.unwrap_or(0);
        host.system = ticks.time(system).saturating_sub(others.1);
        host.uptime = uptime;
    }
    Ok(accounts)
}

/// When a process was started, since the host was; `None` when there is none.
/// A pid that is given again has another start.
pub fn started(pid: i32) -> Option<Duration> {
    process(pid, &ticks()).map(|met| met.seen.started)
}

fn ticks() -> tally::Ticks {
    tally::Ticks::new(procfs::ticks_per_second(), procfs::page_size())
}

/// Figures of one process, of `/proc/PID/stat` (proc_pid_stat(5)).
fn process(pid: i32, ticks: &tally::Ticks) -> Option<Met> {
    let file = fs::File::open(format!("/proc/{pid}/stat")).ok()?;
    let stat = procfs::process::Stat::from_read(file).ok()?;
    let seen = Seen {
        virtual_bytes: stat.vsize,
        resident_bytes: ticks.bytes(stat.rss),
        user: ticks.time(stat.utime + u64::try_from(stat.cutime).unwrap_or(0)),
        system: ticks.time(stat.stime + u64::try_from(stat.cstime).unwrap_or(0)),
        started: ticks.time(stat.starttime),
        pid,
    };
    Some(Met { seen, own: ticks.time(stat.utime + stat.stime), state: stat.state, name: stat.comm })
}

fn account(
    membership: &Membership,
    context: &Context,
    processes: Processes,
    now: Duration,
) -> Account {
    let mut account = Account {
        user: processes.user,
        system: processes.system,
        uptime: now.saturating_sub(processes.first.map_or(now, |(started, _)| started)),
        processes,
        ..Account::default()
    };
    if let Context::Guest(name) = context {
        for directory in membership.cgroups(context) {
            account.usage.add(&usage(&directory));
        }
        // Those that have ended count as well.
        account.user = account.usage.user;
        account.system = account.usage.system;
        // Not everybody may open the map; and the interfaces of a guest on the
        // host's stack are the host's.
        let counted = membership.traffic(name).and_then(|id| Traffic::open(id).ok()?.read().ok());
        account.network = match counted {
            Some(bytes) => Some((bytes.received, bytes.sent)),
            None => processes.first.and_then(|(_, pid)| network(pid)),
        };
    }
    account
}

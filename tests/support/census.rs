//! What an installation holds at one moment: processes, mounts, cgroups,
//! links, files in its run directory. Taken before and after, to show that
//! nothing is left.

use crate::guest::Guest;
use crate::host::Host;
use crate::machine;
use crate::process;
use crate::wait::{DEADLINE, eventually};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// What there is, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census {
    lines: BTreeSet<String>,
}

/// Files of the run directory that stay, and why.
const STAYS: &[(&str, &str)] = &[
    (".lock-", "whoever removes a lock takes it from under a waiting command"),
    (".socket-hook", "what was found out about the kernel"),
];

/// How long what ends may take, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

impl Census {
    /// Counts now.
    pub fn take(host: &Host) -> Self {
        let mut lines = BTreeSet::new();
        for process in host.processes() {
            if process::is_left_to_init(process.pid) {
                continue;
            }
            lines.insert(format!("process {} ({})", process.comm, process.arguments.join(" ")));
        }
        lines.extend(host.mounts().iter().map(|line| format!("mount {line}")));
        lines.extend(host.cgroups().iter().map(|path| format!("cgroup {}", path.display())));
        lines.extend(machine::links().iter().map(|name| format!("link {name}")));
        let run = host.paths().run_dir();
        files(&run, &mut |path| {
            let name = path.strip_prefix(&run).unwrap_or(path).to_string_lossy();
            if !STAYS.iter().any(|(prefix, _)| name.starts_with(prefix)) {
                lines.insert(format!("run file {name}"));
            }
        });
        Self { lines }
    }

    /// Demands that the host holds the same again, once what is on its way out
    /// when a command returns (a supervisor's exit) has gone.
    ///
    /// # Panics
    /// With what is left over or missing.
    #[track_caller]
    pub fn assert_unchanged(&self, host: &Host) {
        let begun = Instant::now();
        let mut now = Self::take(host);
        while now != *self && begun.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(50));
            now = Self::take(host);
        }
        if now == *self {
            return;
        }
        let left = now.lines.difference(&self.lines).map(|line| format!("left     {line}"));
        let gone = self.lines.difference(&now.lines).map(|line| format!("missing  {line}"));
        let difference: Vec<_> = left.chain(gone).collect();
        panic!("the host holds something else than before:\n{}", difference.join("\n"));
    }

    /// What there is when a guest has been started once, which makes what stays, and
    /// is down again.
    #[track_caller]
    pub fn after_a_boot(guest: &Guest<'_>) -> Self {
        guest.start().stop();
        Self::when_quiet(guest.host())
    }

    /// Waits until no process of the installation is left, then counts.
    #[track_caller]
    pub fn when_quiet(host: &Host) -> Self {
        eventually(DEADLINE, "all processes of the installation have ended", || {
            host.processes().is_empty().then(|| Self::take(host))
        })
    }
}

fn files(directory: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        visit(&path);
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files(&path, visit);
        }
    }
}

//! Where the program's own words go: the supervisor's to the journal when
//! systemd runs it, else to a file beside the console's log; a command's to
//! standard error, when `--verbose` asks for them.

use std::env;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Mutex;

use shared::name::GuestName;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::paths::Paths;
use crate::variables;

/// Shows what a command does, step by step, on standard error.
pub fn terminal() {
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .with_writer(io::stderr);
    let _ = tracing_subscriber::registry().with(LevelFilter::DEBUG).with(layer).try_init();
}

/// Sets the log of a guest's supervisor up. Where none can be, there is
/// none: a full disk keeps no guest from starting.
pub fn supervisor(paths: &Paths, name: &GuestName) {
    let level = match env::var(variables::LOG).as_deref() {
        Ok("debug") => LevelFilter::DEBUG,
        _ => LevelFilter::INFO,
    };
    let registry = tracing_subscriber::registry().with(level);
    // systemd.exec(5): set when standard error is connected to the journal.
    if env::var_os("JOURNAL_STREAM").is_some()
        && let Ok(journal) = tracing_journald::layer()
    {
        let journal = journal.with_syslog_identifier(format!("vserver-{name}"));
        let _ = registry.with(journal).try_init();
        return;
    }
    let directory = paths.log_dir();
    let _ = fs::create_dir_all(&directory);
    let path = directory.join(format!("{name}.supervisor.log"));
    if let Ok(log) = Bounded::open(path) {
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_target(false)
            .with_writer(Mutex::new(log));
        let _ = registry.with(layer).try_init();
    }
}

/// Bytes after which the supervisor's log is renamed to `….1` and begun anew:
/// some of what it says, a guest makes it say.
const LIMIT: u64 = 1 << 20;

/// A log file that doesn't grow without end.
struct Bounded {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Bounded {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = File::options().create(true).append(true).mode(0o640).open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size })
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.size >= LIMIT {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            fs::rename(&self.path, old)?;
            *self = Self::open(self.path.clone())?;
        }
        let written = self.file.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisors_log_is_begun_anew_at_its_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.supervisor.log");
        let mut log = Bounded::open(path.clone()).unwrap();
        let line = [b'x'; 1000];
        for _ in 0..LIMIT * 3 / 1000 {
            log.write_all(&line).unwrap();
        }
        let size = |name: &str| fs::metadata(directory.path().join(name)).unwrap().len();
        assert!(size("web.supervisor.log") <= LIMIT + 1000);
        assert!(size("web.supervisor.log.1") <= LIMIT + 1000);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}

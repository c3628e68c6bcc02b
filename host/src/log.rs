//! Where the program's own words go: the supervisor's to the journal when
//! systemd runs it, else to a file beside the console's log; a command's to
//! standard error, when `--verbose` asks for them.

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Mutex;

use shared::name::{ContextId, GuestName};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::journal::{self, Kind, Level};
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

/// Sets the log of a guest's supervisor up. A full disk keeps no guest from
/// starting.
pub fn supervisor(paths: &Paths, name: &GuestName, context: Option<ContextId>) {
    let level = match env::var(variables::LOG).as_deref() {
        Ok("debug") => LevelFilter::DEBUG,
        _ => LevelFilter::INFO,
    };
    let registry = tracing_subscriber::registry().with(level);
    if journal::is_ours() {
        let identifier = journal::of_supervisor(name);
        let context = context.map(|context| context.to_string());
        let context = context.as_deref().map(|context| ("VSERVER_CONTEXT", context));
        let fields = [("SYSLOG_IDENTIFIER", identifier.as_str()), ("VSERVER_NAME", name.as_str())];
        let fields: Vec<_> = fields.into_iter().chain(context).collect();
        if let Ok(messages) = journal::Messages::new(&fields) {
            let _ = registry.with(messages).try_init();
            return;
        }
    }
    let path = paths.supervisor_log(name);
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .fmt_fields(format::debug_fn(field).delimited(""))
        .with_writer(Mutex::new(Bounded::new(path)));
    let _ = registry.with(layer).try_init();
}

/// A field in the file: the message as it is, ids and what the message says
/// itself left out.
fn field(
    writer: &mut format::Writer<'_>,
    field: &tracing::field::Field,
    value: &dyn fmt::Debug,
) -> fmt::Result {
    match field.name() {
        "message" => write!(writer, "{value:?}"),
        name if name.starts_with("message_id") || name.starts_with("vserver_") => Ok(()),
        name => write!(writer, " {name}={value:?}"),
    }
}

/// What belongs to an event, in fields of the journal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Details<'d> {
    /// Where the guest is in its life.
    pub phase: &'d str,
    /// Number of the boot.
    pub boot: u32,
    /// Host pid of PID 1; 0 for none.
    pub init_pid: i32,
    /// Pid of the keeper; 0 for none.
    pub keeper_pid: i32,
    /// How something has ended.
    pub outcome: Option<&'d str>,
    /// Which script.
    pub script: Option<&'d str>,
    /// Which step of a start.
    pub stage: Option<&'d str>,
}

/// Tells of an event. Words of the guest's in it, also in the details, have
/// to be free of control characters.
pub fn event(kind: Kind, details: &Details<'_>, text: &str) {
    let pid = |pid: i32| (pid > 0).then_some(pid);
    macro_rules! event {
        ($level:ident) => {
            tracing::event!(
                tracing::Level::$level,
                message_id = kind.entry().id,
                vserver_phase = details.phase,
                vserver_boot = details.boot,
                vserver_init_pid = pid(details.init_pid),
                vserver_keeper_pid = pid(details.keeper_pid),
                vserver_outcome = details.outcome,
                vserver_script = details.script,
                vserver_stage = details.stage,
                "{text}"
            )
        };
    }
    match kind.entry().level {
        Level::Info => event!(INFO),
        Level::Warn => event!(WARN),
        Level::Error => event!(ERROR),
    }
}

/// Bytes after which the supervisor's log is renamed to `….1` and begun anew:
/// some of what it says, a guest makes it say.
const LIMIT: u64 = 1 << 20;

/// A log file that doesn't grow without end. It is opened when there is something
/// to say, and again after that has failed: a full disk costs words, not the log.
struct Bounded {
    path: PathBuf,
    file: Option<File>,
    size: u64,
}

impl Bounded {
    fn new(path: PathBuf) -> Self {
        Self { path, file: None, size: 0 }
    }

    fn open(&mut self) -> io::Result<File> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = File::options().create(true).append(true).mode(0o640).open(&self.path)?;
        self.size = file.metadata()?.len();
        Ok(file)
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.open()?,
        };
        if self.size >= LIMIT {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            fs::rename(&self.path, old)?;
            file = self.open()?;
        }
        let written = file.write(bytes)?;
        self.size += written as u64;
        self.file = Some(file);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisors_log_is_begun_anew_at_its_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.supervisor.log");
        let mut log = Bounded::new(path.clone());
        let line = [b'x'; 1000];
        for _ in 0..LIMIT * 3 / 1000 {
            log.write_all(&line).unwrap();
        }
        let size = |name: &str| fs::metadata(directory.path().join(name)).unwrap().len();
        assert!(size("web.supervisor.log") <= LIMIT + 1000);
        assert!(size("web.supervisor.log.1") <= LIMIT + 1000);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_log_goes_on_when_there_is_room_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logs/web.supervisor.log");
        fs::write(directory.path().join("logs"), "").unwrap();
        let mut log = Bounded::new(path.clone());
        assert!(log.write(b"lost").is_err());
        fs::remove_file(directory.path().join("logs")).unwrap();
        log.write_all(b"one\n").unwrap();
        // One that can't be renamed doesn't grow.
        log.size = LIMIT;
        let old = directory.path().join("logs/web.supervisor.log.1");
        fs::create_dir_all(old.join("x")).unwrap();
        assert!(log.write(b"lost").is_err());
        fs::remove_dir_all(&old).unwrap();
        log.write_all(b"two\n").unwrap();
        log.write_all(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
    }
}

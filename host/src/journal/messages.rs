//! Messages with fields (systemd.io/JOURNAL_NATIVE_PROTOCOL). A journal that
//! takes nothing is not waited for: the guests of a supervisor that stands still
//! can't be stopped. The crate `tracing-journald` waits for it without end.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, UnixAddr, sendto};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Where journald takes messages.
const SOCKET: &str = "/run/systemd/journal/socket";

/// A message that isn't taken within this time is lost. journald is back
/// sooner after a restart, during which systemd keeps its socket.
const LIMIT: Duration = Duration::from_secs(3);

/// What makes messages of events.
#[derive(Debug)]
pub struct Messages {
    socket: UnixDatagram,
    to: PathBuf,
    /// Fields that all messages have.
    common: Vec<u8>,
    /// Has the last one been lost? Then the next one isn't waited for either.
    is_deaf: AtomicBool,
}

impl Messages {
    /// Messages that all have these fields.
    ///
    /// # Errors
    /// Those of socket(2).
    pub fn new(fields: &[(&str, &str)]) -> io::Result<Self> {
        Self::to(SOCKET.into(), LIMIT, fields)
    }

    fn to(to: PathBuf, limit: Duration, fields: &[(&str, &str)]) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(limit))?;
        let mut common = Vec::new();
        for (name, value) in fields {
            put(&mut common, name, value);
        }
        Ok(Self { socket, to, common, is_deaf: AtomicBool::new(false) })
    }

    fn send(&self, message: &[u8]) -> nix::Result<usize> {
        let flags = match self.is_deaf.load(Ordering::Relaxed) {
            true => MsgFlags::MSG_DONTWAIT,
            false => MsgFlags::empty(),
        };
        let address = UnixAddr::new(&self.to)?;
        let flags = flags | MsgFlags::MSG_NOSIGNAL;
        let sent = sendto(self.socket.as_raw_fd(), message, &address, flags);
        // A signal ends a wait that has a limit (signal(7)).
        let is_deaf = matches!(sent, Err(Errno::EAGAIN | Errno::EINTR));
        self.is_deaf.store(is_deaf, Ordering::Relaxed);
        sent
    }
}

impl<S: Subscriber> Layer<S> for Messages {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = self.common.clone();
        put(&mut message, "PRIORITY", priority(event.metadata().level()));
        event.record(&mut Fields(&mut message));
        let _ = self.send(&message);
    }
}

/// As syslog(3) numbers them.
fn priority(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

struct Fields<'m>(&'m mut Vec<u8>);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        put(self.0, field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        put(self.0, field.name(), &format!("{value:?}"));
    }
}

/// Bytes of a value; what is longer is cut: a message has to be one datagram.
const LONGEST: usize = 16 * 1024;

/// Appends a field, whose value may have any characters.
fn put(message: &mut Vec<u8>, name: &str, value: &str) {
    let value = &value[..value.floor_char_boundary(LONGEST)];
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    message.extend(name.chars().map(letter).collect::<String>().bytes());
    message.push(b'\n');
    message.extend((value.len() as u64).to_le_bytes());
    message.extend(value.bytes());
    message.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn an_event_is_a_message_with_fields() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let journal = UnixDatagram::bind(&path).unwrap();
        let messages = Messages::to(path, LIMIT, &[("VSERVER_NAME", "web")]).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(messages), || {
            tracing::warn!(message_id = "1d", vserver_boot = 7, none = None::<u32>, "two\nlines");
        });
        let mut bytes = [0; 512];
        let length = journal.recv(&mut bytes).unwrap();
        let mut expected = Vec::new();
        for (name, value) in [("VSERVER_NAME", "web"), ("PRIORITY", "4"), ("MESSAGE", "two\nlines")]
        {
            put(&mut expected, name, value);
        }
        let mut rest = bytes[..length].to_vec();
        for (name, value) in [("MESSAGE_ID", "1d"), ("VSERVER_BOOT", "7")] {
            let mut field = Vec::new();
            put(&mut field, name, value);
            let at = rest.windows(field.len()).position(|part| part == field).unwrap();
            rest.drain(at..at + field.len());
        }
        assert_eq!(rest, expected);
        assert!(expected.starts_with(b"VSERVER_NAME\n\x03\0\0\0\0\0\0\0web\n"));
    }

    #[test]
    fn what_nobody_takes_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let journal = UnixDatagram::bind(&path).unwrap();
        let messages = Messages::to(path, Duration::from_millis(100), &[]).unwrap();
        // Without the limit this would never end.
        assert!((0..100_000).any(|_| messages.send(b"words") == Err(Errno::EAGAIN)));
        assert!(messages.is_deaf.load(Ordering::Relaxed));
        // It is heard again as soon as it takes something.
        journal.set_nonblocking(true).unwrap();
        let is_empty = |error: io::Error| error.kind() == ErrorKind::WouldBlock;
        while !journal.recv(&mut [0; 8]).is_err_and(is_empty) {}
        assert_eq!(messages.send(b"words"), Ok(5));
        assert!(!messages.is_deaf.load(Ordering::Relaxed));
    }
}

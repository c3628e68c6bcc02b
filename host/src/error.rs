//! The one error type, and the exit code of each kind.
//!
//! An error is one sentence: what was tried, on what, why it failed, and the
//! remedy as a `hint` where the cause is known. It is returned up to `main`,
//! which prints it once; nobody prints and returns.

use std::fmt;
use std::io;
use std::path::Path;

use shared::name::GuestName;

/// Shorthand for everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Something failed.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    text: String,
    hint: Option<String>,
    errno: Option<i32>,
}

/// What kind of failure, as far as the exit code tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It failed: exit code 1.
    Failed,
    /// Wrong use: exit code 2.
    Usage,
    /// Not running: exit code 3.
    NotRunning,
    /// Command and supervisor are of two versions: exit code 1.
    OtherVersion,
    /// No permission: exit code 4.
    Permission,
    /// No such guest or configuration: exit code 5.
    NoSuchGuest,
    /// A command in a guest can't be executed: exit code 126, as env(1).
    CannotExecute,
    /// There is no such command in the guest: exit code 127, as env(1).
    CommandNotFound,
}

impl Kind {
    /// The exit code, as documented in vserver(8).
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed | Self::OtherVersion => 1,
            Self::Usage => 2,
            Self::NotRunning => 3,
            Self::Permission => 4,
            Self::NoSuchGuest => 5,
            Self::CannotExecute => 126,
            Self::CommandNotFound => 127,
        }
    }
}

impl Error {
    /// A failure with this sentence: lower case, no full stop.
    pub fn new(text: impl Into<String>) -> Self {
        Self::of(Kind::Failed, text)
    }

    /// A failure of this kind, with this sentence.
    pub fn of(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), hint: None, errno: None }
    }

    /// A system call failed while doing `what` ("cannot read 'X'").
    pub fn os(what: impl fmt::Display, cause: impl Into<io::Error>) -> Self {
        let cause = cause.into();
        let kind = match cause.kind() {
            io::ErrorKind::PermissionDenied => Kind::Permission,
            _ => Kind::Failed,
        };
        Self { kind, text: format!("{what}: {cause}"), hint: None, errno: cause.raw_os_error() }
    }

    /// Doing `verb` on a path failed: "cannot VERB 'PATH': CAUSE".
    pub fn path(verb: &str, path: &Path, cause: impl Into<io::Error>) -> Self {
        Self::os(format_args!("cannot {verb} '{}'", told(path)), cause)
    }

    /// Wrong use of the command.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, ..Self::new(text) }
    }

    /// The guest has no configuration.
    pub fn no_such_guest(name: &GuestName) -> Self {
        Self { kind: Kind::NoSuchGuest, ..Self::new(format!("there is no guest '{name}'")) }
            .hint("'vserver list' shows all guests, 'vserver build' makes one")
    }

    /// A command can't be executed in a guest: exit code 127 when there is
    /// none of this name, else 126.
    pub fn exec(command: impl fmt::Display, cause: impl Into<io::Error>) -> Self {
        let cause = cause.into();
        let kind = match cause.kind() {
            io::ErrorKind::NotFound => Kind::CommandNotFound,
            _ => Kind::CannotExecute,
        };
        Self { kind, ..Self::os(format_args!("cannot execute '{command}'"), cause) }
    }

    /// The guest is not running.
    pub fn not_running(name: &GuestName) -> Self {
        Self { kind: Kind::NotRunning, ..Self::new(format!("guest '{name}' is not running")) }
            .hint(format!("start it: vserver start {name}"))
    }

    /// The guest has a supervisor of before an upgrade, or after it.
    pub fn other_version(name: &GuestName) -> Self {
        let text =
            format!("the supervisor of guest '{name}' is of another version than this command");
        Self::of(Kind::OtherVersion, text).hint(format!("replace it: vserver reexec {name}"))
    }

    /// Adds the remedy, one line.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts what was being done in front: "CONTEXT: TEXT".
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.text = format!("{context}: {}", self.text);
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The number of the system call's error, if it was one (errno(3)).
    pub fn errno(&self) -> Option<i32> {
        self.errno
    }

    /// The remedy, if one is known.
    pub fn remedy(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// The most of a path that a message shows.
const MOST_TOLD: usize = 400;

/// A path as messages have it: in one line, and no longer than can be read, however
/// deep a guest has laid its files and whatever it calls them.
pub fn told(path: &Path) -> String {
    let text = path.display().to_string().replace('\n', "\\n");
    let count = text.chars().count();
    if count <= MOST_TOLD {
        return text;
    }
    let part = MOST_TOLD / 2;
    let begin: String = text.chars().take(part).collect();
    let end: String = text.chars().skip(count - part).collect();
    format!("{begin}…{end}")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_in_one_short_line() {
        assert_eq!(told(Path::new("/srv/a\nhint: b")), "/srv/a\\nhint: b");
        let long = told(&Path::new("/srv").join("ä/".repeat(4000)).join("end"));
        assert!(long.starts_with("/srv/ä/") && long.ends_with("/ä/end"), "{long}");
        assert_eq!(long.chars().count(), MOST_TOLD + 1);
    }
}

//! What the supervisor and guest-init say to each other.
//!
//! The supervisor's first message, [`ToGuest::Boot`], lies in the socket
//! before guest-init exists, so nothing waits for it. guest-init answers
//! with [`FromGuest::Hello`]. All further messages may be lost or repeated
//! without harm: a new supervisor sends [`ToGuest::Query`] and gets the
//! whole state again. Everything from a guest is untrusted: lengths are
//! limited by [`crate::link::MAX_MESSAGE`], texts are shown only after
//! control characters have been replaced.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::family::Family;
use crate::outcome::Outcome;

/// Version of these messages.
pub const PROTOCOL: u16 = 1;

/// The descriptor on which guest-init finds its end of the link.
pub const LINK_FD: i32 = 3;

/// From the supervisor to guest-init.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToGuest {
    /// What to do from the start; the first message.
    Boot(BootOrder),
    /// Shut down, as the guest's own tools would. A later order with an
    /// earlier deadline replaces it.
    Stop(StopOrder),
    /// Change to this runlevel, as `telinit` does.
    Runlevel(Runlevel),
    /// Run a command as a child of PID 1, its output on the console.
    Exec {
        /// Comes back in [`FromGuest::ExecEnded`].
        id: u32,
        /// The program (found on PATH) and its arguments.
        argv: Vec<String>,
    },
    /// Send the whole state again.
    Query,
}

/// How the guest is to be booted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootOrder {
    /// [`PROTOCOL`] of the sender.
    pub protocol: u16,
    /// What to boot.
    pub mode: BootMode,
    /// Which boot files to follow.
    pub style: StyleChoice,
    /// How a distribution's stock rc runner is treated.
    pub rc: RcMode,
    /// Default runlevel in place of the guest's own.
    pub runlevel: Option<Runlevel>,
    /// Additional environment variables for everything that is booted.
    pub environment: Vec<(String, String)>,
    /// Time between SIGTERM and SIGKILL in a shutdown, in milliseconds.
    pub kill_grace_ms: u32,
}

/// What guest-init does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BootMode {
    /// Boot the guest from its own files.
    Boot,
    /// Run this command instead of the boot; the guest powers off when it
    /// ends.
    Rescue(Vec<String>),
    /// Boot nothing, only reap: the context of `enter` on a stopped guest.
    Idle,
    /// This command is the whole guest; it powers off when that ends, and has
    /// crashed when that fails.
    Command(Vec<String>),
}

/// Which boot files guest-init follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StyleChoice {
    /// Look at the guest and choose.
    Auto,
    /// sysvinit's `/etc/inittab`.
    Sysv,
    /// busybox init: its `/etc/inittab`, or its built-in one.
    Busybox,
    /// `rcS.d`, `rc2.d`, `rc.local`, run by guest-init's own runner.
    Rc,
    /// The guest's own init is executed as PID 1.
    Init,
}

/// A style that has been chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// sysvinit's `/etc/inittab`.
    Sysv,
    /// busybox init's `/etc/inittab`.
    Busybox,
    /// rc directories.
    Rc,
    /// The guest's own init as PID 1.
    Init,
    /// One command instead of a boot.
    Rescue,
    /// Nothing but a context.
    Idle,
    /// The guest's one command.
    Command,
}

impl Style {
    /// The word used in configuration and in `status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sysv => "sysv",
            Self::Busybox => "busybox",
            Self::Rc => "rc",
            Self::Init => "init",
            Self::Rescue => "rescue",
            Self::Idle => "idle",
            Self::Command => "command",
        }
    }
}

/// How a distribution's stock rc runner (`/etc/init.d/rc N`) is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RcMode {
    /// Lines of inittab run as they are written.
    Written,
    /// guest-init's own runner stands in for it.
    Direct,
}

/// A shutdown with a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopOrder {
    /// What comes after.
    pub power: Power,
    /// Milliseconds from now until the remaining processes are killed;
    /// `u32::MAX` for no deadline.
    pub deadline_ms: u32,
}

/// What a guest asks for at the end of a shutdown (reboot(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Power {
    /// Halt: the guest stays down.
    Halt,
    /// Power off: the guest stays down.
    PowerOff,
    /// Restart: the guest is started again.
    Reboot,
}

/// A runlevel: `0`–`9`, `S` (single user) or an on-demand level `a`–`c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "char", into = "char")]
pub struct Runlevel(u8);

impl Runlevel {
    /// Halt.
    pub const HALT: Self = Self(b'0');
    /// Single user.
    pub const SINGLE: Self = Self(b'S');
    /// Multi-user, Debian's default.
    pub const MULTI: Self = Self(b'2');
    /// Reboot.
    pub const REBOOT: Self = Self(b'6');

    /// Reads one character; `s` is `S`, `A`–`C` are `a`–`c`.
    pub fn from_char(c: char) -> Option<Self> {
        match c {
            '0'..='9' | 'a'..='c' | 'S' => Some(Self(c as u8)),
            's' => Some(Self::SINGLE),
            'A'..='C' => Some(Self(c.to_ascii_lowercase() as u8)),
            _ => None,
        }
    }

    /// The character as used in file names and RUNLEVEL.
    pub fn as_char(self) -> char {
        self.0 as char
    }
}

impl From<Runlevel> for char {
    fn from(level: Runlevel) -> char {
        level.as_char()
    }
}

impl TryFrom<char> for Runlevel {
    type Error = &'static str;

    fn try_from(c: char) -> Result<Self, Self::Error> {
        Self::from_char(c).ok_or("a runlevel is one of 0-9, S and a-c")
    }
}

impl fmt::Display for Runlevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_char())
    }
}

/// From guest-init to the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromGuest {
    /// The first message, and the answer to a query.
    Hello {
        /// [`PROTOCOL`] of guest-init.
        protocol: u16,
        /// What is booted.
        style: Style,
        /// Why, in one clause ("/etc/inittab has sysvinit's form").
        reason: String,
    },
    /// The state has changed; also the answer to a query.
    State(GuestState),
    /// A script or an inittab line was started.
    ScriptStarted {
        /// Number of this run, counted from the boot.
        id: u32,
        /// Its path or its inittab line, at most 256 bytes.
        name: String,
        /// Its argument ("start", "stop") or empty.
        argument: String,
    },
    /// It has ended.
    ScriptEnded {
        /// As in [`FromGuest::ScriptStarted`].
        id: u32,
        /// As in [`FromGuest::ScriptStarted`].
        name: String,
        /// How.
        outcome: Outcome,
        /// After how many milliseconds.
        millis: u32,
    },
    /// Something an administrator should know ("respawning too fast").
    Note(String),
    /// The guest's own tools asked for this; the shutdown has begun.
    Requested(Power),
    /// A command of [`ToGuest::Exec`] has ended.
    ExecEnded {
        /// As in [`ToGuest::Exec`].
        id: u32,
        /// How; 127 when it could not be executed.
        outcome: Outcome,
    },
    /// The guest's own init is of this family; comes before it takes over.
    OwnInit(Family),
}

/// Where a guest is, as guest-init sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestState {
    /// Boot scripts run, on the way to this runlevel.
    Booting(Runlevel),
    /// The runlevel's scripts have ended.
    Running(Runlevel),
    /// Shutdown scripts run.
    Stopping(Power),
    /// Remaining processes get SIGTERM, then SIGKILL.
    Killing(Power),
    /// The guest's own init has taken over; no more messages come.
    HandedOver,
    /// The guest's own init takes over, and says on a socket of its own when the
    /// boot is done (sd_notify(3)); no more messages come here.
    Notifies,
}

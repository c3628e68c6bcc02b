//! System call filters: from rules, which are data, to programs that the
//! kernel runs.
//!
//! Everything here is pure; [`crate::sys::seccomp`] installs a program. A
//! refused call returns an answer that the caller can deal with; no rule
//! kills. Programs of both architectures that this kernel runs, x86-64 and
//! i386, are filtered by the same rules.

mod compile;
#[cfg(test)]
mod tests;

pub use compile::{LAST_JUDGED, compile};

/// One program of classic BPF (kernel doc, "Seccomp BPF").
pub type Program = Vec<libc::sock_filter>;

/// What a refused call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// EPERM.
    NotPermitted,
    /// ENOSYS: as if the kernel didn't have the call, so that the C library
    /// or the program takes another way.
    NotImplemented,
    /// ENOTTY: as if there were no such request of ioctl(2) for this file, so
    /// that the program takes another way.
    NoSuchRequest,
    /// 0, and nothing has been done.
    Ignored,
}

impl Answer {
    /// The word for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotPermitted => "EPERM",
            Self::NotImplemented => "ENOSYS",
            Self::NoSuchRequest => "ENOTTY",
            Self::Ignored => "ignored",
        }
    }

    fn errno(self) -> u32 {
        match self {
            Self::NotPermitted => libc::EPERM as u32,
            Self::NotImplemented => libc::ENOSYS as u32,
            Self::NoSuchRequest => libc::ENOTTY as u32,
            Self::Ignored => 0,
        }
    }
}

/// Which uses of a call a rule is about. Numbers are compared by their low 32
/// bits: that is what the kernel takes of the ones here, whatever stands
/// above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// All of them.
    Always,
    /// This argument is one of these values.
    OneOf {
        /// Number of the argument, from 0.
        argument: u8,
        /// The values.
        values: &'static [u32],
    },
    /// This argument is one of these values, and a pointer isn't null.
    OneOfAndSet {
        /// Number of the argument, from 0.
        argument: u8,
        /// The values.
        values: &'static [u32],
        /// Number of the pointer.
        pointer: u8,
    },
    /// This argument is none of these values.
    NoneOf {
        /// Number of the argument, from 0.
        argument: u8,
        /// The values.
        values: &'static [u32],
    },
    /// This argument has one of these bits set.
    AnyBit {
        /// Number of the argument, from 0.
        argument: u8,
        /// The bits, together.
        bits: u32,
    },
}

/// A rule about some calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Names of the calls. One that an architecture doesn't have is passed
    /// over there.
    pub calls: &'static [&'static str],
    /// Which uses of them.
    pub when: When,
    /// What they return.
    pub answer: Answer,
}

//! Processes of the host and of another guest, by their numbers on the host.

use crate::case::Held::Namespaces;
use crate::case::{Case, case};

/// The cases of this file.
pub const CASES: &[Case] = &[
    case("ptrace", "PTRACE_SEIZE of a process outside", Namespaces, &["ptrace", "{pid}"]),
    case("memory", "/proc/PID/mem", Namespaces, &["memory", "{pid}"]),
    case("environment", "/proc/PID/environ", Namespaces, &["environment", "{pid}", "{secret}"]),
    case("root", "/proc/PID/root and cwd", Namespaces, &["root-of", "{pid}", "{canary}"]),
    case("pidfd", "pidfd_open(2), then pidfd_getfd(2)", Namespaces, &["pidfd", "{pid}"]),
    case("limits", "prlimit(2)", Namespaces, &["limits-of", "{pid}"]),
    case("scheduler", "sched_setscheduler(2)", Namespaces, &["scheduler-of", "{pid}"]),
    case("a neighbour's memory", "/proc/PID/mem", Namespaces, &["memory", "{neighbour-pid}"]),
    case("ptrace of a neighbour", "PTRACE_SEIZE", Namespaces, &["ptrace", "{neighbour-pid}"]),
    case("a neighbour's pidfd", "pidfd_getfd(2)", Namespaces, &["pidfd", "{neighbour-pid}"]),
    // The last ones: where they succeed, the baits are gone.
    case("signal to a neighbour", "SIGTERM by number", Namespaces, &["signal", "{neighbour-pid}"]),
    case("signal", "SIGTERM by number", Namespaces, &["signal", "{pid}"]),
];

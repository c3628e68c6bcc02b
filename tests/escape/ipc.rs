//! What processes share without files: of the host, and of another guest.

use crate::case::Held::{By, Namespaces};
use crate::case::{Case, case};

/// What the host has.
pub const HOSTS: &[Case] = &[
    case("shared memory", "System V, by its key", Namespaces, &["shared-memory", "{tag}"]),
    case("semaphores", "System V, by their key", Namespaces, &["semaphores", "{tag}"]),
    case("message queue", "System V, by its key", Namespaces, &["message-queue", "{tag}"]),
    case("POSIX queue", "mq_open(3)", Namespaces, &["posix-queue", "{tag}"]),
    case("POSIX memory", "/dev/shm", Namespaces, &["posix-memory", "{tag}"]),
    case(
        "abstract socket",
        "CVE-2020-15257: a name without a file",
        Namespaces,
        &["abstract-socket", "{tag}"],
    ),
    case(
        "key",
        "the keyring of the user with the same number",
        By(&["system-calls"]),
        &["key", "{tag}"],
    ),
    case("interface", "the host's network", Namespaces, &["interface", "{interface}"]),
    case(
        "packets",
        "a packet socket bound to an interface of the host's",
        Namespaces,
        &["packets", "{interface-number}"],
    ),
];

/// What another guest has: no guest finds it, whoever else may.
pub const NEIGHBOURS: &[Case] = &[
    case("shared memory", "System V, by its key", WITNESS, &["shared-memory", "{neighbour-tag}"]),
    case("semaphores", "System V, by their key", WITNESS, &["semaphores", "{neighbour-tag}"]),
    case("message queue", "System V, by its key", WITNESS, &["message-queue", "{neighbour-tag}"]),
    case("POSIX queue", "mq_open(3)", WITNESS, &["posix-queue", "{neighbour-tag}"]),
    case("POSIX memory", "/dev/shm", WITNESS, &["posix-memory", "{neighbour-tag}"]),
    case(
        "abstract socket",
        "a name without a file",
        WITNESS,
        &["abstract-socket", "{neighbour-tag}"],
    ),
];

/// That these are there to be found is shown from within the neighbour.
const WITNESS: crate::case::Held = crate::case::Held::Neighbour;

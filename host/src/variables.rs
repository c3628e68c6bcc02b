//! The environment variables that vserver itself reads.

/// Puts every path below a directory.
pub const PREFIX: &str = "VSERVER_PREFIX";

/// `debug` makes supervisors log more.
pub const LOG: &str = "VSERVER_LOG";

/// Makes a step of the next start fail, for tests: `STAGE[:STEP[:ERRNO]]`.
pub const FAULT: &str = "VSERVER_FAULT";

/// Layers of isolation that the next start leaves out, separated by commas,
/// to show in tests that each of them is what holds
/// ([`crate::plan::Layer`]).
pub const WITHOUT: &str = "VSERVER_WITHOUT";

/// Bytes after which process records are rotated, for tests.
pub const RECORDS_LIMIT: &str = "VSERVER_RECORDS_LIMIT";

/// All of these.
pub const ALL: [&str; 5] = [PREFIX, LOG, FAULT, WITHOUT, RECORDS_LIMIT];

/// What the C library's allocator reads, and a value by which it keeps no
/// caches that a program without threads doesn't need: what lies in them holds
/// whole pages back from [`crate::sys::trim_memory`] (glibc manual, "Memory
/// Allocation Tunables").
pub const ALLOCATOR: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0");

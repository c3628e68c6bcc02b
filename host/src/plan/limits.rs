//! How much of the host one guest may take, as data.

/// Processes and threads of a guest, where its cgroup can count them.
///
/// The kernel holds a guest with private ids as a whole to the 8,192 of the
/// resource limit on processes (`launch`), sessions outside of the guest's
/// cgroup included. This is less, so that there is room for these when the
/// guest has made all it may.
pub const PROCESSES: u32 = 8000;

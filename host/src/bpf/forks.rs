//! Counts the processes that are made in cgroups, each cgroup's in a map of its
//! own: one program for the whole host, at the kernel's tracepoint
//! `sched_process_fork`. Threads are none.

use super::{Assembler, Function, Label, Program, Register, When};

/// How many levels below the root a guest's cgroup may be.
pub const LEVELS: u8 = 32;

/// Where the kernel keeps it, in bytes from the start of `task_struct`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Its own number.
    pub pid: u32,
    /// That of its process.
    pub tgid: u32,
}

/// The new process, the second of the tracepoint's arguments
/// (`struct bpf_raw_tracepoint_args`).
const CHILD: i16 = 8;

/// Places on the stack.
const PID: i16 = -8;
const TGID: i16 = -16;
const ZERO: i16 = -40;
const KEY: i16 = -64;

/// The key of a cgroup with this id, in the map of maps.
pub fn key(cgroup: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&cgroup.to_ne_bytes());
    key
}

/// The program. `directory` is the descriptor of the map of all cgroups' maps,
/// by [`key`].
pub fn program(directory: i32, layout: Layout) -> Program {
    use Register::{R0, R1, R2, R3, R7, R8, R10};
    let mut program = Assembler::default();
    let mut end = Label::default();
    program.load_u64(R7, R1, CHILD);
    for (offset, to) in [(layout.pid, PID), (layout.tgid, TGID)] {
        program.read(R7, offset, 4, to, &mut end);
    }
    program.load_u32(R7, R10, PID);
    program.load_u32(R8, R10, TGID);
    program.subtract(R7, R8);
    program.jump(R7, When::NotEqual, 0, &mut end);

    program.set(R7, 0);
    program.store_u64(R10, KEY + 8, R7);
    program.put_u32(ZERO, 0);
    for level in 1..=LEVELS {
        let mut next = Label::default();
        program.set(R1, level.into());
        program.call(Function::AncestorCgroup);
        program.jump(R0, When::Equal, 0, &mut end);
        program.store_u64(R10, KEY, R0);
        program.map(R1, directory);
        program.copy(R2, R10);
        program.add(R2, KEY.into());
        program.call(Function::Find);
        program.jump(R0, When::Equal, 0, &mut next);
        program.copy(R1, R0);
        program.copy(R2, R10);
        program.add(R2, ZERO.into());
        program.call(Function::Find);
        program.jump(R0, When::Equal, 0, &mut end);
        program.set(R3, 1);
        program.count(R0, 0, R3);
        program.go(&mut end);
        program.place(next);
    }
    program.place(end);
    program.give(0);
    program.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::interpret_in;
    use crate::sys::bpf::emulated::Scene;

    const DIRECTORY: i32 = 7;
    const LAYOUT: Layout = Layout { pid: 100, tgid: 104 };

    /// How many are counted when this process is made in these cgroups, from
    /// the root's child on, of which 42 is a guest's.
    fn counted(pid: u32, tgid: u32, cgroups: &[u64]) -> u64 {
        let mut context = [0_u8; 16];
        context[8..].copy_from_slice(&0x2000_u64.to_ne_bytes());
        let scene = Scene {
            keys: vec![(DIRECTORY as u64, key(42).to_vec())],
            words: vec![(0x2000 + 100, pid), (0x2000 + 104, tgid)],
            cgroups: cgroups.to_vec(),
            has_numbers: true,
            ..Scene::default()
        };
        let (result, _, number) = interpret_in(scene, &program(DIRECTORY, LAYOUT), &mut context);
        assert_eq!(result, 0);
        number
    }

    #[test]
    fn processes_of_guests_are_counted_and_threads_are_not() {
        assert_eq!(counted(10, 10, &[5, 42, 6]), 1);
        assert_eq!(counted(10, 10, &[42]), 1);
        assert_eq!(counted(11, 10, &[5, 42, 6]), 0, "a thread");
        assert_eq!(counted(10, 10, &[5, 6]), 0, "elsewhere");
        assert_eq!(counted(10, 10, &[]), 0, "in the root");
        let below = |levels: u8| {
            let mut cgroups = vec![1; levels.into()];
            cgroups.push(42);
            counted(10, 10, &cgroups)
        };
        assert_eq!(below(LEVELS - 1), 1);
        assert_eq!(below(LEVELS), 0, "too deep");
    }
}

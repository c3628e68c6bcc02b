//! The socket filter of a guest's cgroup: an allow-list of families
//! (`BPF_LSM_CGROUP` on the hook `socket_create`, Linux 6.0).
//!
//! A system call filter sees the family only of socket(2) itself, not of
//! socketcall(2) in 32-bit programs nor of `IORING_OP_SOCKET`; this hook sees
//! every socket that is made, whichever way.

use super::{Assembler, Label, Program, Register, When};

/// What BTF calls the hook.
pub const HOOK: &str = "bpf_lsm_socket_create";

/// The families that guests may use. AF_PACKET needs CAP_NET_RAW over the
/// network namespace. Each of the others is more of the kernel within reach
/// (AF_ALG, AF_RDS, AF_TIPC …) or leads out of the namespace (AF_VSOCK).
pub const FAMILIES: [i32; 5] =
    [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET];

/// The filter; a refused call gets EPERM.
pub fn filter() -> Program {
    use Register::{R0, R1, R2, R3};
    let (family, by_kernel) = (R2, R3);
    let mut program = Assembler::default();
    let mut end = Label::default();
    // int family, int type, int protocol, int kern (security_socket_create),
    // each in 64 bits, of which the upper half may hold anything.
    program.load_u64(family, R1, 0);
    program.truncate(family);
    program.load_u64(by_kernel, R1, 24);
    program.truncate(by_kernel);
    program.set(R0, 1);
    // The kernel's own sockets, as a new network namespace has them.
    program.jump(by_kernel, When::NotEqual, 0, &mut end);
    for allowed in FAMILIES {
        program.jump(family, When::Equal, allowed, &mut end);
    }
    program.set(R0, 0);
    program.place(end);
    program.exit();
    program.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bpf::interpret;

    proptest! {
        #[test]
        fn only_the_listed_families_pass(
            family in 0..64_u32, upper: u32, kind: u64, protocol: u64, by_kernel: bool,
        ) {
            let upper = u64::from(upper) << 32;
            let arguments =
                [upper | u64::from(family), kind, protocol, upper | u64::from(by_kernel)];
            let mut context: Vec<u8> = arguments.iter().flat_map(|a| a.to_le_bytes()).collect();
            let listed = FAMILIES.contains(&(family as i32));
            let passes = interpret(&filter(), &mut context) == 1;
            prop_assert_eq!(passes, listed || by_kernel);
        }
    }

    #[test]
    fn families_that_reach_out_are_not_listed() {
        for family in [libc::AF_VSOCK, libc::AF_ALG, libc::AF_RDS, libc::AF_TIPC, libc::AF_KEY] {
            assert!(!FAMILIES.contains(&family));
        }
    }
}

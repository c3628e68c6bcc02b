//! What programs on addresses have to look up in the kernel's own structures,
//! since it tells them in no other way.
//!
//! Who may bind ports below 1024 in a guest with ids of its own is whoever has
//! CAP_NET_BIND_SERVICE there; the kernel asks for it over the host's network,
//! which nobody in a user namespace has. And a socket that speaks IPv6 alone
//! (`IPV6_V6ONLY`, ipv6(7)) can't be bound to an IPv4 address, where another
//! is served best so.

use super::Root;
use crate::bpf::{Assembler, Function, Label, Register, When};

/// Where the kernel keeps it, in bytes from a structure's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// `task_struct.cred`
    pub credentials: u32,
    /// `cred.cap_effective`
    pub effective: u32,
    /// `cred.user_ns`
    pub user_namespace: u32,
    /// `user_namespace.level`
    pub level: u32,
    /// `sock_common.skc_ipv6only`, in bits. Every `struct sock` begins with a
    /// `sock_common`.
    pub ipv6_only: u32,
}

/// Level of a guest's user namespace, below the host's own. Those that are
/// made inside are further below; their capabilities are nothing to the guest.
const LEVEL: i32 = 1;

/// CAP_NET_BIND_SERVICE (linux/capability.h), in the first half of a set.
const BIND_SERVICE: i32 = 1 << 10;

/// The socket, in `struct bpf_sock_addr`.
const SOCKET: i16 = 64;

/// Places on the stack.
const POINTER: i16 = -8;
const VALUE: i16 = -16;

impl Assembler {
    /// Goes to the label unless the calling process may bind any port. Uses
    /// all but R6.
    pub(super) fn jump_unless_served(
        &mut self,
        root: Root,
        layout: Option<Layout>,
        label: &mut Label,
    ) {
        use Register::{R0, R2, R7, R8, R10};
        let Some(layout) = layout else {
            // The next best: by the number of the user that it was started as.
            self.call(Function::CurrentUidGid);
            // The bits of a number are what counts.
            return self.jump_u32(R0, When::NotEqual, root.uid.cast_signed(), label);
        };
        self.call(Function::CurrentTask);
        self.read(R0, layout.credentials, 8, POINTER, label);
        self.load_u64(R7, R10, POINTER);
        self.read(R7, layout.effective, 8, VALUE, label);
        self.load_u32(R8, R10, VALUE);
        self.and(R8, BIND_SERVICE);
        self.jump(R8, When::Equal, 0, label);
        self.read(R7, layout.user_namespace, 8, POINTER, label);
        self.load_u64(R7, R10, POINTER);
        self.read(R7, layout.level, 8, VALUE, label);
        self.load_u32(R2, R10, VALUE);
        self.jump_u32(R2, When::NotEqual, LEVEL, label);
    }

    /// Goes to the label if the socket that is bound speaks IPv6 alone. Uses
    /// all but R6.
    pub(super) fn jump_if_ipv6_only(&mut self, layout: Layout, label: &mut Label) {
        use Register::{R2, R6, R7, R10};
        let mut unknown = Label::default();
        // From the stack it comes back as a number, which can be added to.
        self.load_u64(R7, R6, SOCKET);
        self.store_u64(R10, VALUE, R7);
        self.copy(R2, R10);
        self.add(R2, VALUE.into());
        self.read(R2, 0, 8, POINTER, &mut unknown);
        self.load_u64(R7, R10, POINTER);
        self.read(R7, layout.ipv6_only / 8, 8, VALUE, &mut unknown);
        self.load_u8(R2, R10, VALUE);
        self.and(R2, 1 << (layout.ipv6_only % 8));
        self.jump(R2, When::NotEqual, 0, label);
        self.place(unknown);
    }
}

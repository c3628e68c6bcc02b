//! eBPF programs on a guest's outer cgroup: they hold for the guest, its
//! sessions and everything below, and go with the cgroup.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::bpf::traffic::{self, Way};
use crate::bpf::{device, socket};
use crate::sys::bpf::{self, Hook};

use super::GuestCgroup;

impl GuestCgroup {
    /// Lets the guest open and make these devices only.
    ///
    /// # Errors
    /// When the kernel refuses the program.
    pub fn filter_devices(&self, rules: &[device::Rule]) -> io::Result<()> {
        self.put(Hook::Device, "vserver_device", &device::filter(rules))
    }

    /// Lets the guest make sockets of [`socket::FAMILIES`] only. `hook` is
    /// the BTF id of [`socket::HOOK`].
    ///
    /// # Errors
    /// When the kernel refuses the program.
    pub fn filter_sockets(&self, hook: u32) -> io::Result<()> {
        self.put(Hook::Security(hook), "vserver_socket", &socket::filter())
    }

    /// Counts what the guest receives and sends over the host's interfaces, in
    /// this map.
    ///
    /// # Errors
    /// When the kernel refuses a program.
    pub fn count_traffic(&self, map: i32) -> io::Result<()> {
        for (hook, way) in [(Hook::Ingress, Way::In), (Hook::Egress, Way::Out)] {
            self.put(hook, "vserver_traffic", &traffic::sockets(map, way))?;
        }
        Ok(())
    }

    /// Attaches a program in place of that of an earlier boot of this name,
    /// which is there if its cgroup couldn't be removed. The new one comes
    /// first: there is no moment without any, and a call has to pass all that
    /// are attached.
    fn put(&self, hook: Hook, name: &str, program: &[u64]) -> io::Result<()> {
        let cgroup = File::open(&self.outer)?;
        let cgroup = cgroup.as_fd();
        let old = attached(cgroup, hook, name)?;
        let new = bpf::load(hook, name, program)?;
        bpf::attach(cgroup, hook, &new)?;
        for old in old {
            bpf::detach(cgroup, hook, &old)?;
        }
        Ok(())
    }
}

/// The programs of this name that are attached there.
pub(super) fn attached(cgroup: BorrowedFd<'_>, hook: Hook, name: &str) -> io::Result<Vec<OwnedFd>> {
    let mut found = Vec::new();
    for program in bpf::attached(cgroup, hook)? {
        if bpf::name(&program)? == name {
            found.push(program);
        }
    }
    Ok(found)
}

//! eBPF programs on a guest's outer cgroup: they hold for the guest, its
//! sessions and everything below, and go with the cgroup.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

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

    /// Attaches a program in place of those of an earlier boot, of which
    /// there are none unless its cgroup couldn't be removed. The new one
    /// comes first: there is no moment without any, and a call has to pass
    /// all that are attached.
    fn put(&self, hook: Hook, name: &str, program: &[u64]) -> io::Result<()> {
        let cgroup = File::open(&self.outer)?;
        let cgroup = cgroup.as_fd();
        let old = bpf::attached(cgroup, hook)?;
        let new = bpf::load(hook, name, program)?;
        bpf::attach(cgroup, hook, &new)?;
        for old in old {
            bpf::detach(cgroup, hook, &old)?;
        }
        Ok(())
    }
}

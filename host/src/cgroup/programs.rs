//! eBPF programs on a guest's outer cgroup: they hold for the guest, its
//! sessions and everything below, and go with the cgroup.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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

    /// Attaches a program in place of those of this name that are there: of an
    /// earlier boot whose cgroup couldn't be removed, or of before a change.
    /// The new one comes first: there is no moment without any, and a call has
    /// to pass all that are attached.
    ///
    /// A command and the guest's supervisor may do this at the same time. Each
    /// detaches what was attached before its own, so that the last one stays,
    /// and nothing else.
    fn put(&self, hook: Hook, name: &str, program: &[u64]) -> io::Result<()> {
        let cgroup = File::open(&self.outer)?;
        let cgroup = cgroup.as_fd();
        let new = bpf::load(hook, name, program)?;
        bpf::attach(cgroup, hook, &new)?;
        let own = bpf::id(&new)?;
        let there = attached(cgroup, hook, name)?;
        let ids = there.iter().map(bpf::id).collect::<io::Result<Vec<_>>>()?;
        for old in there.iter().take(before(&ids, own)) {
            match bpf::detach(cgroup, hook, old) {
                // Whoever attached one after it has been faster.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                other => other?,
            }
        }
        Ok(())
    }
}

/// How many were attached before this one. None if it is there no more: who
/// has detached it has detached them as well.
fn before(ids: &[u32], own: u32) -> usize {
    ids.iter().position(|id| *id == own).unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_attached_before_goes() {
        assert_eq!(before(&[7], 7), 0);
        assert_eq!(before(&[9, 3, 7, 1], 7), 2);
        assert_eq!(before(&[9, 3], 7), 0);
    }
}

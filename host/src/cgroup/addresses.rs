//! Gives a cgroup addresses of its own: the programs of `bpf::addresses`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::programs::attached;
use crate::bpf::addresses::{Addresses, Means, programs};
use crate::sys::bpf::{self, Hook};

/// What these programs are called in the kernel, where others may hang on the
/// same cgroup.
const NAME: &str = "vserver_address";

/// Lets all that is in a cgroup and below use these addresses only. Sockets
/// that are open already keep the cgroup that they were made in.
///
/// New programs come before old ones go: there is no moment without any, and
/// in between both have to agree. Those of cgroups above hold as well.
///
/// # Errors
/// When the kernel refuses a program; then what was there still is, and no
/// more.
pub fn set_addresses(cgroup: &Path, addresses: &Addresses, means: Means) -> io::Result<()> {
    let cgroup = File::open(cgroup)?;
    let cgroup = cgroup.as_fd();
    // A kernel that is locked down lets nothing be read (kernel_lockdown(7)).
    let new =
        load(addresses, means).or_else(|_| load(addresses, Means { layout: None, ..means }))?;
    let mut old = Vec::new();
    let mut hooks: Vec<Hook> = new.iter().map(|(hook, _)| *hook).collect();
    if means.maps.is_none() {
        hooks.push(Hook::SocketEvent);
    }
    for hook in hooks {
        let of_hook = attached(cgroup, hook, NAME)?;
        old.extend(of_hook.into_iter().map(|program| (hook, program)));
    }
    for (done, (hook, program)) in new.iter().enumerate() {
        if let Err(error) = bpf::attach(cgroup, *hook, program) {
            let _ = detach(cgroup, &new[..done]);
            return Err(error);
        }
    }
    detach(cgroup, &old)
}

fn load(addresses: &Addresses, means: Means) -> io::Result<Vec<(Hook, OwnedFd)>> {
    let load = |(hook, program): (Hook, Vec<u64>)| Ok((hook, bpf::load(hook, NAME, &program)?));
    programs(addresses, means).into_iter().map(load).collect()
}

fn detach(cgroup: BorrowedFd<'_>, programs: &[(Hook, OwnedFd)]) -> io::Result<()> {
    programs.iter().try_for_each(|(hook, program)| bpf::detach(cgroup, *hook, program))
}

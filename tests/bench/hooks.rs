//! A cgroup with programs at all places where those of a guest's addresses are,
//! which do nothing: what the kernel itself takes to get into them and back.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use tests::machine::cgroup_root;
use tests::{DEADLINE, eventually};
use vserver::bpf::Assembler;
use vserver::bpf::addresses::{Addresses, Means, programs};
use vserver::sys::bpf::{self, Hook};

/// Gone when it is dropped, by when nothing may run in it.
pub struct Hooks(PathBuf);

impl Hooks {
    /// Makes it.
    pub fn new(name: &str) -> Self {
        let cgroup = cgroup_root().join(format!("vserver-bench-{}-{name}", std::process::id()));
        fs::create_dir(&cgroup).expect("a cgroup can be made");
        let hooks = Self(cgroup);
        let cgroup = File::open(&hooks.0).expect("a cgroup can be opened");
        let addresses = Addresses {
            v4: vec![],
            v6: vec![],
            broadcasts: vec![],
            loopback: std::net::Ipv4Addr::LOCALHOST,
            loopback6: None,
            root: None,
        };
        let of_addresses = programs(&addresses, Means::default()).into_iter().map(|(hook, _)| hook);
        for hook in of_addresses.chain([Hook::SocketEvent]) {
            let mut nothing = Assembler::default();
            nothing.give(1);
            let program = bpf::load(hook, "vserver_bench", &nothing.finish());
            let program = program.expect("the kernel takes a program that does nothing");
            bpf::attach(cgroup.as_fd(), hook, &program).expect("it can be attached");
        }
        hooks
    }

    /// Where processes are moved to.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        // The last process has ended, and is in it for a moment still.
        eventually(DEADLINE, "an empty cgroup", || fs::remove_dir(&self.0).ok());
    }
}

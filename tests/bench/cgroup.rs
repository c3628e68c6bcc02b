//! Cgroups of the host's that stand for a guest's: with programs at all places where those
//! of a guest's addresses are, which do nothing, or as far down as a guest's. What these
//! cost is the kernel's own: the way into a program and back, and the accounts
//! that it keeps at every level.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use tests::machine::cgroup_root;
use tests::{DEADLINE, eventually};
use vserver::bpf::Assembler;
use vserver::bpf::addresses::{Addresses, Means, programs};
use vserver::sys::bpf::{self, Hook};

/// What stands for a guest's cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// Programs that do nothing.
    Hooks,
    /// As many levels as there are above what `exec` runs in a guest.
    Levels,
}

/// The levels: vserver's own, the guest's, the boot's, and those inside.
const LEVELS: [&str; 5] = ["guest", "boot", "inside", "root", "session"];

/// Gone when it is dropped, by when nothing may run in it.
pub struct Cgroup {
    top: PathBuf,
    place: PathBuf,
}

impl Cgroup {
    /// Makes it.
    pub fn new(name: &str, stand: Stand) -> Self {
        let top = cgroup_root().join(format!("vserver-bench-{}-{name}", std::process::id()));
        fs::create_dir(&top).expect("a cgroup can be made");
        let mut cgroup = Self { place: top.clone(), top };
        match stand {
            Stand::Hooks => cgroup.hook(),
            Stand::Levels => {
                cgroup.place.extend(LEVELS);
                fs::create_dir_all(&cgroup.place).expect("cgroups can be made");
            }
        }
        cgroup
    }

    fn hook(&self) {
        let cgroup = File::open(&self.place).expect("a cgroup can be opened");
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
    }

    /// Where processes are moved to.
    pub fn path(&self) -> &Path {
        &self.place
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let levels = self.place.ancestors().take_while(|level| level.starts_with(&self.top));
        for level in levels {
            // The last process has ended, and is in it for a moment still.
            eventually(DEADLINE, "an empty cgroup", || fs::remove_dir(level).ok());
        }
    }
}

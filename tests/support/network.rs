//! A network of a test's own: a network namespace that stands for a host, or
//! for another machine.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::command::{self, Finished};
use crate::wait::{DEADLINE, eventually};

/// A network namespace, which is gone when this is dropped and nothing else is
/// in it.
pub struct Network {
    holder: Child,
}

impl Network {
    /// One with a loopback interface that is up.
    ///
    /// # Panics
    /// Without root.
    #[expect(clippy::new_without_default, reason = "it starts a process")]
    pub fn new() -> Self {
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "sleep", "infinity"]).stdin(Stdio::null());
        let holder = unshare.spawn().expect("unshare (util-linux) can be run");
        let network = Self { holder };
        let own = fs::read_link("/proc/self/ns/net").ok();
        eventually(DEADLINE, "a network namespace", || {
            let theirs = fs::read_link(network.path()).ok();
            (theirs.is_some() && theirs != own).then_some(())
        });
        network.ip("link set lo up");
        // Addresses are good at once, not after a second.
        network.set("ipv6/conf/default/accept_dad", "0");
        network
    }

    /// A host that passes packets on, and a machine beside it, which sends what
    /// is for guests (192.0.2.0/24, 2001:db8::/64) to it. They are
    /// 203.0.113.1 and .2, 2001:db8:1::1 and ::2, each on `lan0`.
    pub fn with_neighbour() -> (Self, Self) {
        let (here, beside) = (Self::new(), Self::new());
        let others: (&str, &[&str]) = ("lan0", &["203.0.113.2/24", "2001:db8:1::2/64"]);
        here.join("lan0", &["203.0.113.1/24", "2001:db8:1::1/64"], &beside, others);
        beside.ip("route add 192.0.2.0/24 via 203.0.113.1");
        beside.ip("route add 2001:db8::/64 via 2001:db8:1::1");
        for family in ["ipv4", "ipv6"] {
            here.set(&format!("{family}/conf/all/forwarding"), "1");
        }
        (here, beside)
    }

    /// The same two machines, the first with its end of the cable and its
    /// addresses on a bridge, `br0`.
    pub fn with_bridge() -> (Self, Self) {
        let (here, beside) = (Self::new(), Self::new());
        let others: (&str, &[&str]) = ("lan0", &["203.0.113.2/24", "2001:db8:1::2/64"]);
        here.join("lan0", &[], &beside, others);
        here.ip("link add br0 type bridge");
        here.ip("link set lan0 master br0");
        here.ip("address add 203.0.113.1/24 dev br0");
        here.ip("address add 2001:db8:1::1/64 dev br0 nodad");
        here.ip("link set br0 up");
        // The kernel takes a moment to see that its port is up, and another one
        // until the address is there for good.
        let is_up = || {
            let shown = here.ip("address show br0");
            (shown.contains("fe80:") && !shown.contains("tentative")).then_some(())
        };
        eventually(DEADLINE, "the bridge", is_up);
        (here, beside)
    }

    /// Two machines' ends of a cable, both up, with these addresses on it.
    pub fn join(&self, name: &str, addresses: &[&str], other: &Self, others: (&str, &[&str])) {
        let (other_name, other_addresses) = others;
        let pid = other.holder.id();
        self.ip(&format!("link add {name} type veth peer name {other_name} netns {pid}"));
        for (network, name, addresses) in
            [(self, name, addresses), (other, other_name, other_addresses)]
        {
            for address in addresses {
                let nodad = if address.contains(':') { "nodad" } else { "" };
                network.ip(&format!("address add {address} dev {name} {nodad}"));
            }
            // A machine that still asks whether its link-local address is free
            // doesn't solicit its neighbours, and holds back what is for them.
            network.set(&format!("ipv6/conf/{name}/accept_dad"), "0");
            network.ip(&format!("link set {name} up"));
        }
    }

    /// `ip WORDS` in it; its output.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn ip(&self, words: &str) -> String {
        self.run("ip", words.split_ascii_whitespace()).ok().stdout
    }

    /// Its interfaces, one a line.
    #[track_caller]
    pub fn links(&self) -> String {
        self.ip("-o link")
    }

    /// The interface that has another name which begins so.
    ///
    /// # Panics
    /// Without one.
    #[track_caller]
    pub fn interface(&self, other_name: &str) -> String {
        let links = self.links();
        let is_it = |line: &&str| line.contains(&format!("altname {other_name}"));
        let name = links.lines().find(is_it).and_then(|line| line.split([':', '@']).nth(1));
        name.unwrap_or_else(|| panic!("no {other_name}: {links}")).trim().to_owned()
    }

    /// What a host has of a network, to compare with.
    #[track_caller]
    pub fn state(&self) -> String {
        let parts = [
            "-o link",
            "address",
            "route",
            "-6 route",
            "neighbour show nud permanent",
            "-4 neighbour show proxy",
            "-6 neighbour show proxy",
        ];
        parts.map(|part| self.ip(part)).concat()
    }

    /// Sets one of its sysctls.
    #[track_caller]
    pub fn set(&self, name: &str, value: &str) {
        self.run("sh", ["-c", &format!("echo {value} >/proc/sys/net/{name}")]).ok();
    }

    /// Runs a program in it.
    #[track_caller]
    pub fn run<A: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Finished {
        command::run(self.command(program).args(arguments), DEADLINE)
    }

    /// A program in it, not run yet.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.holder.id()).into()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

//! Links are made by the kernel's own means: a host on which vserver finds no program
//! at all has guests on its networks all the same.

use std::ffi::OsStr;

use tests::{DEADLINE, Finished, Guest, Host, Network, Tree, command, executable, host};
use vserver::variables::PREFIX;

use crate::shared::peer;

on! { Busybox: [
    are_needed_for_a_routed_link,
    are_needed_on_the_hosts_own_stack,
    are_needed_on_a_bridge,
    are_needed_for_macvlan,
] }

/// A verb on a guest, where the host has no programs.
#[track_caller]
fn bare<A: AsRef<OsStr>>(guest: &Guest<'_>, verb: &str, more: &[A]) -> Finished {
    let host = guest.host();
    let mut command = host.network().command("env");
    command.arg("PATH=/nonexistent").arg(host::program()).args([verb, guest.name()]).args(more);
    command::run(command.env(PREFIX, host.prefix()), DEADLINE)
}

/// Starts it, has it reach the machine beside the host by these commands, and stops it.
#[track_caller]
fn comes_and_goes(guest: &Guest<'_>, pings: &[&str]) {
    let before = guest.host().network().state();
    bare(guest, "start", &[""; 0]).ok();
    for ping in pings {
        let words: Vec<_> = ["--"].into_iter().chain(ping.split(' ')).collect();
        bare(guest, "exec", &words).ok();
    }
    bare(guest, "stop", &["--no-kill"]).ok();
    assert_eq!(guest.host().network().state(), before);
}

const PINGS: [&str; 2] = ["ping -c 1 -W 10 203.0.113.2", "ping -c 1 -W 10 2001:db8:1::2"];

fn are_needed_for_a_routed_link(tree: Tree) {
    let (here, _beside) = Network::with_neighbour();
    let host = Host::on(here);
    let guest = host.guest("web").tree(tree);
    let guest = guest.list("network.addresses", &["192.0.2.10", "2001:db8::10"]).build();
    comes_and_goes(&guest, &PINGS);
}

fn are_needed_on_the_hosts_own_stack(tree: Tree) {
    let (here, _beside) = Network::with_neighbour();
    here.ip("address add 192.0.2.1/32 dev lo");
    here.set("ipv4/ping_group_range", "0 2147483647");
    let host = Host::on(here);
    let guest = host.guest("web").tree(tree).set("network.addresses", "192.0.2.1");
    let guest = guest.set("network.mode", "shared").build();
    executable::copy(peer(), guest.root().join("peer"));
    comes_and_goes(&guest, &["/peer ping 192.0.2.1 203.0.113.2"]);
}

/// As a machine of the network that the host has by this.
fn machine<'h>(host: &'h Host, tree: Tree, key: &str, value: &str) -> Guest<'h> {
    let guest = host.guest("web").tree(tree).set(key, value);
    guest.list("network.addresses", &["203.0.113.10/24", "2001:db8:1::10/64"]).build()
}

fn are_needed_on_a_bridge(tree: Tree) {
    let (here, _beside) = Network::with_bridge();
    let host = Host::on(here);
    comes_and_goes(&machine(&host, tree, "network.bridge", "br0"), &PINGS);
}

fn are_needed_for_macvlan(tree: Tree) {
    let (here, _beside) = Network::with_neighbour();
    let host = Host::on(here);
    comes_and_goes(&machine(&host, tree, "network.parent", "lan0"), &PINGS);
}

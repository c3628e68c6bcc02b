//! `chbind`: which kinds of sockets there are under it.

use std::path::Path;

use crate::chbind::{Network, there};

/// What is there in the virtual machine of tests/vm alone.
const CARRIED: &str = "/payload/attacker";

/// The program of tests/attacker.
fn attacker() -> &'static str {
    there(env!("CARGO_BIN_EXE_attacker"), CARRIED)
}

#[test]
#[ignore = "root: makes cgroups"]
fn others_are_refused() {
    let network = Network::new();
    network.shell("echo 0 1000 >/proc/sys/net/ipv4/ping_group_range").ok();
    let makes = "make udp make ping make unix make raw make raw6 make packet make mptcp";
    network
        .shell(&format!("$C --silent --ip 192.0.2.1 --ip 2001:db8::1 -- $P {makes} make sctp"))
        .ok()
        .says(
            "make udp made\nmake ping made\nmake unix made\nmake: EPERM\nmake: EPERM\n\
             make: EPERM\nmake: EPROTONOSUPPORT\nmake: EPROTONOSUPPORT\n",
        );
    // Calls that don't show what they make.
    let attacker = attacker();
    for call in ["call io_uring_setup", "call32 socketcall-inet"] {
        let bound = network.shell(&format!("$C --silent --ip 192.0.2.1 -- {attacker} {call}"));
        assert!(bound.stdout.contains("Operation not permitted"), "{call}: {bound}");
        let free = network.shell(&format!("{attacker} {call}"));
        assert!(free.stdout.starts_with("escaped: "), "{call}: {free}");
    }
    let said = network.shell(&format!("$P {makes}")).ok();
    said.says(
        "make udp made\nmake ping made\nmake unix made\nmake raw made\nmake raw6 made\n\
         make packet made\nmake mptcp made\n",
    );
    // A kernel without SCTP refuses it in the same words; that of the virtual machine has a
    // module.
    if Path::new(CARRIED).exists() {
        let module = network.shell("modprobe --dry-run sctp");
        if module.code == 0 {
            network.shell("$P make sctp").ok().says("make sctp made\n");
        } else {
            println!("nothing to compare SCTP with: this kernel has none\n{module}");
        }
    }
}

//! Units of guests in the order that they have among each other, and with the host's network
//! and file systems. The judge is systemctl.

use tests::Tree;

use crate::units::{Guest, Machine, systemctl, vserver};

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn what_is_enabled_is_started_in_order() {
    let machine = Machine::new();
    let db = machine.guest("db", Tree::Busybox);
    let web = machine.guest("web", Tree::Busybox);
    vserver(&["config", "set", "web", "after", "db"]).ok();
    vserver(&["config", "set", "web", "marks", "customers"]).ok();
    // systemd has heard of it by that.
    assert!(web.show("After").contains("vserver@db.service"));
    let unknown = systemctl(&["is-enabled", "vserver@web"]);
    assert_ne!(unknown.code, 0, "{unknown}");
    vserver(&["enable", "web", "db"]).ok();
    for guest in [&db, &web] {
        systemctl(&["is-enabled", &guest.unit()]).ok();
    }
    let listed = systemctl(&["list-dependencies", "--plain", "vservers.target"]).ok();
    for guest in [&db, &web] {
        assert!(listed.stdout.contains(&guest.unit()), "{listed}");
    }
    let marked = systemctl(&["list-dependencies", "--plain", "vservers@customers.target"]).ok();
    assert!(marked.stdout.contains("vserver@web.service"), "{marked}");
    let wanted = systemctl(&["list-dependencies", "--plain", "multi-user.target"]).ok();
    assert!(wanted.stdout.contains("vservers.target"), "{wanted}");
    for other in ["vserver@db.service", "remote-fs.target"] {
        assert!(web.show("After").contains(other), "{other}");
    }
    assert!(web.show("RequiresMountsFor").contains("/var/lib/vservers/web"));
    waits_for_what_it_needs(&web);

    systemctl(&["start", "vservers.target"]).ok();
    let started = |guest: &Guest| -> u64 {
        guest.show("ActiveEnterTimestampMonotonic").parse().expect("microseconds")
    };
    let begun: u64 = web.show("InactiveExitTimestampMonotonic").parse().expect("microseconds");
    assert!(started(&db) <= begun, "db was up before web was begun");
    systemctl(&["stop", "vservers.target"]).ok();
    for guest in [&db, &web] {
        guest.ends();
    }
    let ended: u64 = web.show("InactiveEnterTimestampMonotonic").parse().expect("microseconds");
    let stopped: u64 = db.show("ActiveExitTimestampMonotonic").parse().expect("microseconds");
    assert!(ended <= stopped, "web was down before db was stopped");

    vserver(&["disable", "web"]).ok();
    vserver(&["delete", "--yes", "db"]).ok();
    let listed = systemctl(&["list-dependencies", "--plain", "vservers.target"]).ok();
    for guest in [&db, &web] {
        let state = systemctl(&["is-enabled", &guest.unit()]);
        assert_ne!(state.code, 0, "{state}");
        assert!(!listed.stdout.contains(&guest.unit()), "{listed}");
    }
}

/// The network and the mounts of a guest that has a use for them, as long as it has.
fn waits_for_what_it_needs(web: &Guest) {
    let network = "network-online.target";
    assert!(!web.show("After").contains(network), "it has no link yet");
    for (key, value) in [
        ("network.addresses", "192.0.2.77"),
        ("network.proxy_arp", "eth0"),
        ("mounts.bind", "/srv/customers:/srv"),
    ] {
        vserver(&["config", "set", "web", key, value]).ok();
    }
    assert!(web.show("After").contains(network) && web.show("Wants").contains(network));
    // systemd says nothing of what it doesn't know.
    let wants = web.show("WantsMountsFor");
    let after = web.show("After");
    let is_after = |unit: &str| after.split(' ').any(|other| other == unit);
    let is_old = systemctl(&["--version"]).ok().stdout.starts_with("systemd 252 ");
    assert_eq!(wants, if is_old { "" } else { "/srv/customers" });
    if is_old {
        assert!(is_after("srv-customers.mount") && is_after("srv.mount"), "{after}");
    }
    let keys = ["mounts.bind", "network.proxy_arp", "network.addresses"];
    vserver(&[&["config", "unset", "web"], &keys[..]].concat()).ok();
    let after = web.show("After");
    assert!(!after.contains(network) && !after.contains("srv-customers.mount"), "{after}");
}

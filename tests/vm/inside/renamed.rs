//! What systemd was told of a guest goes with its name, and with the guest.

use std::fs;
use std::path::Path;

use tests::{Tree, process};

use crate::adopted::{self, Once};
use crate::units::{Guest, Machine, run, systemctl, vserver};

const LINK: &str = "/etc/systemd/system/vservers.target.wants/vserver@site.service";

/// One that `systemctl edit` makes, for good, for one of a guest's units.
fn edit(unit: &str) -> String {
    let path = format!("/etc/systemd/system/{unit}.d/override.conf");
    fs::create_dir_all(Path::new(&path).parent().expect("it has one")).expect("it can be made");
    fs::write(&path, "[Service]\nTasksMax=4321\n").expect("it can be written");
    path
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn all_that_systemd_knows_goes_along() {
    let machine = Machine::new();
    let (web, shop) = (machine.guest("web", Tree::Busybox), machine.guest("shop", Tree::Busybox));
    let site = Guest::made("site");
    vserver(&["config", "set", "shop", "after", "web"]).ok();
    let edited = [edit("vserver@web.service"), edit("vserver-adopt@web.service")];
    systemctl(&["daemon-reload"]).ok();
    systemctl(&["set-property", "vserver@web.service", "MemoryHigh=1G"]).ok();
    let dry = vserver(&["rename", "web", "site", "--dry-run"]).ok();
    assert!(dry.stdout.contains("system.control/vserver@site.service.d"), "{dry}");
    assert!(Path::new(&edited[0]).exists());

    vserver(&["rename", "web", "site"]).ok();
    assert_eq!([site.show("TasksMax"), site.show("MemoryHigh")], ["4321", "1073741824"]);
    assert_ne!(web.show("TasksMax"), "4321", "the next guest of that name has none of it");
    assert!(edited.iter().all(|path| !Path::new(path).exists()), "{edited:?}");
    assert!(Path::new(&edited[1].replace("@web", "@site")).exists());
    // Nobody has enabled it, and its order is the new one at once.
    assert!(!Path::new(LINK).is_symlink());
    let after = shop.show("After");
    assert!(after.contains("vserver@site.service") && !after.contains("@web."), "{after}");

    // What was enabled stays so, by a link or by its own configuration.
    vserver(&["enable", "site"]).ok();
    vserver(&["rename", "site", "web"]).ok();
    assert!(
        !Path::new(LINK).is_symlink() && Path::new(&LINK.replace("@site", "@web")).is_symlink()
    );
    vserver(&["disable", "web"]).ok();
    vserver(&["config", "set", "web", "autostart", "true"]).ok();
    systemctl(&["daemon-reload"]).ok();
    vserver(&["rename", "web", "site"]).ok();
    assert!(!Path::new(LINK).is_symlink(), "that of the generator is enough");
    assert_eq!(systemctl(&["is-enabled", "vserver@site.service"]).code, 0);
    assert_ne!(systemctl(&["is-enabled", "vserver@web.service"]).code, 0);

    // Settings that nobody has yet are somebody's.
    let kept = edit("vserver@web.service");
    let refused = vserver(&["rename", "site", "web"]).code(1);
    refused.complains("guest 'web' exists").complains("systemctl revert vserver@web.service");
    fs::remove_dir_all(Path::new(&kept).parent().expect("it has one")).expect("it can be removed");
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn nothing_is_left_of_a_deleted_guest() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    let edited = edit("vserver@web.service");
    systemctl(&["daemon-reload"]).ok();
    systemctl(&["set-property", "--runtime", "vserver@web.service", "MemoryHigh=1G"]).ok();
    let said = vserver(&["delete", "web", "--yes"]).ok();
    for directory in ["/etc/systemd/system", "/run/systemd/system.control"] {
        let path = format!("{directory}/vserver@web.service.d");
        let line = format!("what was set for its unit is gone: '{path}'");
        assert!(said.stderr.contains(&line), "{said}");
        assert!(!Path::new(&path).exists(), "{path}");
    }
    assert!(!Path::new(&edited).exists());
    assert_ne!(web.show("TasksMax"), "4321");
    assert_eq!(web.show("MemoryHigh"), "infinity");
}

/// `systemctl --failed` shows guests that there are.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn no_unit_of_a_guest_that_is_no_more_has_failed() {
    let machine = Machine::new();
    for words in [&["rename", "web", "site"][..], &["delete", "web", "--yes"]] {
        let web = machine.guest("web", Tree::Busybox);
        let _site = Guest::made("site");
        {
            let _once = Once::of("web");
            systemctl(&["start", "vserver@web"]).ok();
            adopted::fails(&web);
            let init = web.pid("init_pid");
            vserver(&["stop", "web"]).ok();
            assert!(!process::is_alive(init));
        }
        assert_eq!(web.show("ActiveState"), "failed");
        vserver(words).ok();
        let failed = run("systemctl", &["list-units", "--failed", "--no-legend", "vserver*"]).ok();
        assert!(!failed.stdout.contains("@web."), "{failed}");
    }
}

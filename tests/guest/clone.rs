//! `vserver clone`: the copy is the same but for what makes it another
//! machine, both boot, and a clone that fails leaves nothing.

use std::fs;

use tests::same::{assert_holes, differences, furnish};
use tests::{DEADLINE, Guest, Host, Tree, command, eventually, until_cut};

on! { Bookworm: [a_copy_differs_by_its_identity_alone] }
on! { Systemd: [two_of_systemd_are_two_machines] }
on! { Busybox: [
    files_of_all_kinds_come_over,
    what_runs_is_not_copied,
    a_copy_that_fails_leaves_nothing,
    one_that_is_killed_at_its_end_is_made_again,
    an_existing_guest_is_no_place_for_a_copy,
    the_settings_come_over_without_addresses,
    nobody_has_said_that_a_copy_starts_with_the_host,
] }

fn fingerprint(guest: &Guest<'_>) -> String {
    guest.read("/etc/ssh/ssh_host_ed25519_key.pub")
}

fn a_copy_differs_by_its_identity_alone(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    web.start();
    web.wait_for_process("sshd");
    web.shell("dbus-uuidgen >/etc/machine-id 2>&1 || echo 0123456789abcdef0123456789abcdef >/etc/machine-id");
    web.stop();
    host.vserver(["clone", "web", "shop"]).ok();
    let shop = web.other("shop");
    let mut expected: Vec<String> =
        ["etc/hostname", "etc/hosts", "etc/machine-id"].map(str::to_owned).into();
    for kind in ["ecdsa", "ed25519", "rsa"] {
        for end in ["", ".pub"] {
            expected.push(format!("etc/ssh/ssh_host_{kind}_key{end}"));
        }
    }
    let mut found = differences(&web.root(), &shop.root());
    found.retain(|path| !path.ends_with("random-seed"));
    assert_eq!(found, expected);
    assert_ne!(fingerprint(&web), fingerprint(&shop));
    assert_eq!(shop.read("/etc/machine-id"), "");
    assert_ne!(web.status().context, shop.status().context);
    web.start();
    shop.start();
    shop.exec(["hostname"]).ok().says("shop\n");
    shop.exec(["getent", "hosts", "shop"]).ok();
    shop.exec(["apt-get", "check"]).ok();
    web.exec(["hostname"]).ok().says("web\n");
    shop.stop();
    web.stop();
}

fn two_of_systemd_are_two_machines(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let id = |guest: &Guest<'_>| guest.exec(["cat", "/etc/machine-id"]).ok().stdout;
    web.start();
    let own = id(&web);
    web.stop();
    host.vserver(["clone", "web", "shop"]).ok();
    let shop = web.other("shop");
    for guest in [&web, &shop] {
        guest.start();
        guest.wait_for_systemd();
    }
    assert_eq!(id(&web), own);
    let other = id(&shop);
    assert!(other.len() == 33 && other != own, "{other}");
    shop.stop();
    web.stop();
}

fn files_of_all_kinds_come_over(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    furnish(&web);
    host.vserver(["clone", "web", "shop"]).ok();
    let shop = web.other("shop");
    assert_eq!(differences(&web.root(), &shop.root()), ["etc/hostname", "etc/hosts"]);
    // By util-vserver's name, with what it takes and what it doesn't.
    let build = ["build", "mail", "--method", "clone", "--source", "web"];
    host.vserver(build.iter().chain(&["--ssh-key", "/dev/null"])).code(2).complains("--ssh-key");
    host.vserver(["build", "mail", "--method", "clone", "--from", "/srv"])
        .code(2)
        .complains("/srv");
    host.vserver(build.iter().chain(&["--hostname", "mail.example.org"])).ok();
    let mail = web.other("mail");
    assert_eq!(differences(&web.root(), &mail.root()), ["etc/hostname", "etc/hosts"]);
    assert_eq!(mail.read("/etc/hostname"), "mail.example.org\n");
    assert_holes(&web, &shop);
}

fn what_runs_is_not_copied(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    web.start();
    host.vserver(["clone", "web", "shop"]).code(1).complains("'web' is running");
    host.vserver(["status", "shop"]).code(5);
    web.stop();
}

fn a_copy_that_fails_leaves_nothing(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let roots = || fs::read_dir(host.paths().roots_dir()).expect("it is there").count();
    let ids = || fs::read_to_string(host.paths().ids()).expect("it is there");
    let before = ids();
    // Something that is mounted inside isn't part of the guest.
    let inner = web.root().join("srv");
    let mut mount = std::process::Command::new("mount");
    command::run(mount.args(["-t", "tmpfs", "tmpfs"]).arg(&inner), DEADLINE).ok();
    let clone = host.vserver(["clone", "web", "shop"]);
    command::run(std::process::Command::new("umount").arg(&inner), DEADLINE).ok();
    clone.code(1).complains("is mounted on");
    host.vserver(["clone", "web", "shop", "--context", &web.status().context.to_string()])
        .code(1)
        .complains("context");
    host.vserver(["clone", "web", "shop", "--address", "nonsense"]).code(2);
    host.vserver(["clone", "web", "shop", "--hostname", "a b"]).code(2);
    assert_eq!((roots(), ids()), (1, before));
    // Interrupted while it copies.
    web.shell("dd if=/dev/urandom of=/srv/large bs=1M count=64").ok();
    until_cut(|| {
        let mut cloning = host.command(["clone", "web", "shop"]).spawn().expect("it runs");
        eventually(DEADLINE, "it has begun", || (roots() > 1).then_some(()));
        let pid = nix::unistd::Pid::from_raw(cloning.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it is there");
        let is_cut = !cloning.wait().expect("it ends").success();
        match is_cut {
            true => host.vserver(["status", "shop"]).code(5),
            false => host.vserver(["delete", "shop", "--yes"]).ok(),
        };
        assert_eq!(roots(), 1);
        is_cut
    });
}

/// Its files are in their place then, and its numbers aren't given.
fn one_that_is_killed_at_its_end_is_made_again(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let numbers = fs::File::options().write(true).open(host.paths().ids_lock());
    let numbers = numbers.expect("it is there");
    numbers.lock().expect("it can be locked");
    let mut making = host.command(["clone", "web", "shop"]).spawn().expect("it runs");
    let shop = web.other("shop");
    eventually(DEADLINE, "its files are there", || shop.root().exists().then_some(()));
    making.kill().expect("it is ours");
    making.wait().expect("it ends");
    drop(numbers);
    assert!(shop.root().exists());
    host.vserver(["clone", "web", "shop"]).ok();
    let names = fs::read_dir(host.paths().roots_dir()).expect("it is there").count();
    assert_eq!(names, 2, "something is left");
    host.vserver(["clone", "web", "shop"]).code(1).complains("guest 'shop' exists");
}

fn an_existing_guest_is_no_place_for_a_copy(tree: Tree) {
    let host = Host::new();
    host.guest("web").tree(tree).build();
    let shop = host.guest("shop").tree(tree).build();
    shop.write("/srv/mine", "mine", 0o644);
    host.vserver(["clone", "web", "shop"]).code(1).complains("'shop' exists");
    let itself = host.vserver(["clone", "web", "web"]).code(2).complains("a copy of itself");
    assert!(!itself.stderr.contains("delete"), "{itself}");
    let there = host.vserver(["clone", "web", "shop", "--dry-run"]).code(1);
    assert!(!there.stderr.contains("--force"), "{there}");
    host.vserver(["clone", "nobody", "new"]).code(5);
    assert_eq!(shop.read("/srv/mine"), "mine");
}

fn the_settings_come_over_without_addresses(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).set("network.addresses", "192.0.2.10").build();
    fs::write(host.paths().actions(&"web".parse().expect("a name")), "#!/bin/sh\n").expect("it");
    let path = host.paths().config(&"web".parse().expect("a name"));
    let text = fs::read_to_string(&path).expect("it") + "# a note\n";
    fs::write(&path, text).expect("it");
    host.vserver(["config", "set", "web", "description", "customer 17"]).ok();
    let cloned = host.vserver(["clone", "web", "shop"]).ok();
    cloned.clone().complains("no address");
    cloned.complains("its actions are those of 'web'");
    let shop = fs::read_to_string(host.paths().config(&"shop".parse().expect("a name")));
    let shop = shop.expect("it has a configuration");
    assert!(shop.contains("customer 17") && shop.contains("# a note"), "{shop}");
    assert!(!shop.contains("\naddresses = "), "{shop}");
    assert!(host.paths().actions(&"shop".parse().expect("a name")).exists());
    host.vserver(["clone", "web", "mail", "--address", "192.0.2.11"]).ok();
    host.vserver(["config", "check", "mail"]).ok();
    assert_eq!(web.other("mail").status().addresses, ["192.0.2.11"]);
}

fn nobody_has_said_that_a_copy_starts_with_the_host(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).set("autostart", "true").build();
    let is_started = |name: &str| {
        let shown = host.vserver(["config", "show", name, "--effective"]).ok();
        shown.stdout.lines().any(|line| line == "autostart = true")
    };
    let why = "it isn't started with this host: 'vserver enable";
    host.vserver(["clone", "web", "shop"]).ok().complains(why);
    let archive = host.prefix().join("web.tar.zst").display().to_string();
    host.vserver(["export", "web", &archive]).ok();
    host.vserver(["import", &archive, "mail", "--new-identity"]).ok().complains(why);
    assert_eq!(["web", "shop", "mail"].map(is_started), [true, false, false]);
    // One that comes back is what it was.
    host.vserver(["delete", web.name(), "--yes"]).ok();
    let imported = host.vserver(["import", &archive]).ok();
    assert!(!imported.stderr.contains(why) && is_started("web"), "{imported}");
}

//! The init script for hosts without systemd: what is enabled, side by side and
//! in order.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use tests::host::program;
use tests::{DEADLINE, Finished, Host, Tree, command, eventually, executable};
use vserver::variables;

on! { Busybox: [
    starts_and_stops_side_by_side_and_in_order,
    starts_guests_with_marks_in_place_of_those_that_are_enabled,
    a_guest_that_hangs_keeps_no_other_back,
] }
on! { Bookworm, Openrc: [a_host_is_booted_and_shut_down_with_it] }

/// Where `vserver install` has put it.
fn script(host: &Host) -> PathBuf {
    host.vserver(["install", "--no-capability"]).ok();
    host.prefix().join("usr/local/share/vserver/init.d/vservers")
}

fn starts_and_stops_side_by_side_and_in_order(tree: Tree) {
    let host = Host::new();
    let script = script(&host);
    let call = |word: &str| -> Finished {
        let mut command = Command::new(&script);
        command::run(command.arg(word).env(variables::PREFIX, host.prefix()), DEADLINE)
    };
    call("status").code(3);
    call("start").ok();

    let enabled = |name: &'static str| host.guest(name).tree(tree).set("autostart", "true");
    let web = enabled("web").list("after", &["db", "mail"]).build();
    let (db, mail) = (enabled("db").build(), enabled("mail").build());
    let other = host.guest("other").tree(tree).build();
    host.configure("broken", "autostart = true\nfrob = 1\n");

    // db and mail go on only when they have seen each other: one after the
    // other, both fail.
    let record = host.prefix().join("record");
    let meet = format!(
        "#!/bin/sh
record='{}'
echo \"$1 $2\" >>\"$record\"
case $1:$2 in
*-start:db | *-stop:db) other=mail ;;
*-start:mail | *-stop:mail) other=db ;;
*) exit 0 ;;
esac
[ \"${{1#pre}}\" != \"$1\" ] || exit 0
for try in $(seq 200); do
    ! grep -q \"^$1 $other\\$\" \"$record\" || exit 0
    sleep 0.1
done
echo \"$2 was alone\" >>\"$record\"
exit 1
",
        record.display()
    );
    for guest in [&web, &db, &mail] {
        let path = host.paths().config_dir().join(format!("{}.sh", guest.name()));
        executable::write(&path, &meet, 0o755);
    }
    let lines = || -> Vec<String> {
        let text = fs::read_to_string(&record).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let place = |lines: &[String], line: &str| {
        let found = lines.iter().position(|other| other == line);
        found.unwrap_or_else(|| panic!("there is no '{line}': {lines:?}"))
    };

    // One with mistakes is said, and keeps nobody back.
    let start = call("start").code(1).complains("frob");
    let begun = lines();
    assert!([&web, &db, &mail].iter().all(|guest| guest.is_running()), "{start}\n{begun:?}");
    assert!(!other.is_running(), "it isn't enabled");
    assert!(!begun.iter().any(|line| line.ends_with("alone")), "{begun:?}");
    for first in ["post-start db", "post-start mail"] {
        assert!(place(&begun, first) < place(&begun, "pre-start web"), "{begun:?}");
    }
    let init = db.init_pid();
    fs::remove_file(host.paths().config_dir().join("broken.toml")).expect("it is there");
    call("start").ok();
    assert_eq!(db.init_pid(), init, "what runs is left alone");
    for word in ["reload", "force-reload"] {
        call(word).ok();
        assert_eq!(db.init_pid(), init, "{word} restarts nothing");
    }
    let status = call("status").ok();
    assert!(status.stdout.lines().any(|line| line.contains("web")), "{status}");

    // All of them go, in reverse.
    other.start();
    fs::remove_file(&record).expect("it is there");
    call("stop").ok();
    let ended = lines();
    assert!([&web, &db, &mail, &other].iter().all(|guest| !guest.is_running()), "{ended:?}");
    assert!(!ended.iter().any(|line| line.ends_with("alone")), "{ended:?}");
    for later in ["pre-stop db", "pre-stop mail"] {
        assert!(place(&ended, "post-stop web") < place(&ended, later), "{ended:?}");
    }
    call("status").code(3);
    call("frob").code(2).complains("usage:");
}

fn starts_guests_with_marks_in_place_of_those_that_are_enabled(tree: Tree) {
    let host = Host::new();
    let script = script(&host);
    let call = |word: &str| -> Finished {
        let mut command = Command::new(&script);
        command::run(command.arg(word).env(variables::PREFIX, host.prefix()), DEADLINE)
    };
    let marked = |name: &'static str, mark: &str| {
        host.guest(name).tree(tree).list("marks", &["other", mark]).build()
    };
    let [web, db, mail] =
        [("web", "web"), ("db", "db"), ("mail", "mail")].map(|(name, mark)| marked(name, mark));
    let enabled = host.guest("enabled").tree(tree).set("autostart", "true").build();
    let defaults = host.prefix().join("etc/default/vservers");
    fs::create_dir_all(defaults.parent().expect("it has one")).expect("it can be made");
    let run = || [&web, &db, &mail, &enabled].map(|guest| guest.is_running());

    fs::write(&defaults, "MARKS=\"db  web *\"\n").expect("it can be written");
    call("start").ok();
    assert_eq!(run(), [true, true, false, false]);
    // One with mistakes is said, and keeps nobody back.
    call("stop").ok();
    assert_eq!(run(), [false; 4]);
    host.configure("broken", "marks = [\"db\"]\nfrob = 1\n");
    call("start").code(1).complains("frob");
    assert_eq!(run(), [true, true, false, false]);
    // What is in the file is all there is to it.
    call("stop");
    fs::write(&defaults, "# MARKS=\"db\"\n").expect("it can be written");
    call("start").code(1).complains("frob");
    assert_eq!(run(), [false, false, false, true]);
    host.vserver(["stop", "--all"]);
}

/// Not for longer than that, nor the host's own boot.
fn a_guest_that_hangs_keeps_no_other_back(tree: Tree) {
    let host = Host::new();
    let enabled = |name: &'static str| host.guest(name).tree(tree).set("autostart", "true");
    let hangs = enabled("hangs").build();
    hangs.write("/etc/inittab", "::sysinit:/bin/sleep 100000\n", 0o644);
    let web = enabled("web").list("after", &["hangs"]).build();
    let start = host.vserver(["start", "--enabled", "--timeout", "5"]).code(1);
    let start = start.complains("guest 'hangs' is still booting").complains("vserver stop hangs");
    assert!(web.is_running(), "{start}");
    assert_eq!(hangs.status().state, "booting", "it is left alone");
    // So it is with one that is named.
    host.vserver(["stop", "hangs"]).ok();
    host.vserver(["start", "hangs", "--timeout", "1"]).code(1).complains("still booting");
    host.vserver(["start", "hangs", "--timeout", "1"]).ok().complains("already running");
    host.vserver(["stop", "--all"]).ok();
}

/// What the script needs of OpenRC's own services, which Debian doesn't have.
const LOCALMOUNT: &str = "#!/sbin/openrc-run\nstart() {\n    :\n}\n";

/// Debian's own sysvinit, and OpenRC under it, as the init of a host: a guest
/// that may have guests.
fn a_host_is_booted_and_shut_down_with_it(tree: Tree) {
    let host = Host::new();
    let outer = host.guest("outer").tree(tree).set("boot.style", "init");
    let outer = outer.set("security.nesting", "true").build();
    let root = outer.root();
    executable::copy(program(), root.join("root/vserver"));
    fs::set_permissions(root.join("root/vserver"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(Tree::Busybox.archive(), root.join("root/busybox.tar")).expect("a tree can be copied");
    outer.start();
    outer.shell("/root/vserver install --prefix /usr --no-capability").ok();
    outer.shell("install /usr/share/vserver/init.d/vservers /etc/init.d/").ok();
    let enable = match tree {
        Tree::Openrc => "rc-update add vservers default",
        _ => "update-rc.d vservers defaults",
    };
    outer.shell(enable).ok();
    outer.shell("vserver build inner --quiet --method template --from /root/busybox.tar").ok();
    outer.shell("vserver config set inner security.users identity").ok();
    outer.shell("vserver enable inner").ok();
    // One with mistakes keeps no other back, neither from its start nor from its end.
    outer.write("/etc/vservers/broken.toml", "context = 7\nautostart = true\nfrob = 1\n", 0o644);
    outer.stop();

    let scripts: &[&str] = match tree {
        Tree::Openrc => &["vservers", "vservers.openrc"],
        _ => &["vservers"],
    };
    for script in scripts {
        let text = outer.read(&format!("/usr/share/vserver/init.d/{script}"));
        outer.write("/etc/init.d/vservers", &text, 0o755);
        if *script == "vservers.openrc" {
            outer.write("/etc/init.d/localmount", LOCALMOUNT, 0o755);
            // Not enabled, and started by its mark.
            fs::create_dir_all(root.join("etc/conf.d")).expect("it can be made");
            outer.write("/etc/conf.d/vservers", "MARKS=\"other up\"\n", 0o644);
            let inner = outer.read("/etc/vservers/inner.toml").replace("autostart = true", "");
            outer.write("/etc/vservers/inner.toml", &format!("marks = [\"up\"]\n{inner}"), 0o644);
        }
        let said = || outer.read("/var/log/vserver/inner.supervisor.log");
        let order = "asking the guest to shut down (power-off)";
        let before = said().matches(order).count();
        outer.start();
        eventually(DEADLINE, "the host has started it", || {
            (outer.shell("vserver running inner").code == 0).then_some(())
        });
        outer.shell("vserver exec inner -- true").ok();
        if *script == "vservers.openrc" {
            let status = outer.shell("rc-service vservers status").ok();
            assert!(status.stdout.contains("inner"), "{status}");
            outer.shell("rc-service vservers reload").code(0);
            outer.shell("rc-service --exists localmount").ok();
        }
        outer.vserver("stop", ["--no-kill"]).ok();
        // A host that goes down signals all processes, which ends guests as well, but
        // without their supervisors.
        assert_eq!(said().matches(order).count(), before + 1, "{script}: {}", said());
        let log = outer.read("/var/log/vserver/inner.log");
        assert!(log.contains("rcK: shutdown scripts run"), "it was shut down: {log}");
    }
}

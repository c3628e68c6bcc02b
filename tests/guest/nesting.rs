//! `security.nesting`: containers in a guest, which are refused otherwise.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tests::host::program;
use tests::{DEADLINE, Guest, Host, Tree, eventually, executable};

on! { Bookworm: [user_namespaces_work_with_nesting_only, bubblewrap_works_with_nesting_only] }
on! { Busybox: [
    a_guest_has_a_guest,
    a_session_starts_a_guest_in_the_guest,
    a_guest_has_contexts_with_nesting_only,
    nesting_needs_ids_of_its_own,
] }

fn nesting<'a>(host: &'a Host, tree: Tree, nesting: bool) -> Guest<'a> {
    let set = nesting.to_string();
    let guest = host.guest("outer").tree(tree).set("security.nesting", &set).build();
    guest.start();
    guest
}

/// As root and as a user, with a /proc of its own.
const UNSHARE: [&str; 2] = [
    "unshare --user --map-root-user id -u",
    "su -s /bin/sh nobody -c 'unshare --user --map-root-user --mount --pid --fork --mount-proc id -u'",
];

fn user_namespaces_work_with_nesting_only(tree: Tree) {
    let host = Host::new();
    let guest = nesting(&host, tree, true);
    for line in UNSHARE {
        assert_eq!(guest.shell(line).ok().stdout.trim(), "0", "{line}");
    }
    guest.stop();
    host.vserver(["config", "unset", "outer", "security.nesting"]).ok();
    guest.start();
    for line in UNSHARE {
        assert_ne!(guest.shell(line).code, 0, "{line}");
    }
    guest.stop();
}

const BUBBLEWRAP: &str = "su -s /bin/sh nobody -c \
    'bwrap --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp --unshare-all id -u'";

fn bubblewrap_works_with_nesting_only(tree: Tree) {
    let host = Host::new();
    let guest = nesting(&host, tree, true);
    guest.shell(BUBBLEWRAP).ok();
    guest.stop();
    host.vserver(["config", "unset", "outer", "security.nesting"]).ok();
    guest.start();
    assert_ne!(guest.shell(BUBBLEWRAP).code, 0);
    guest.stop();
}

/// Started by the outer guest's own boot script.
const SCRIPT: &str = "#!/bin/sh
exec >/root/report 2>&1
cd /root
/root/vserver build inner --method template --from /root/busybox.tar
/root/vserver config set inner security.users identity
/root/vserver start inner && echo started
/root/vserver exec inner -- hostname
/root/vserver exec inner -- sh -c 'echo x >/dev/null && echo has devices'
/root/vserver exec inner -- unshare -U true || echo refused inside
/root/vserver stop inner --no-kill && echo stopped
echo end
";

/// A guest with all that it takes to make another one in it.
fn with_vserver(host: &Host, tree: Tree) -> Guest<'_> {
    let guest = host.guest("outer").tree(tree).set("security.nesting", "true").build();
    let root = guest.root();
    executable::copy(program(), root.join("root/vserver"));
    fs::set_permissions(root.join("root/vserver"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(tree.archive(), root.join("root/busybox.tar")).expect("a tree can be copied");
    guest
}

fn a_guest_has_a_guest(tree: Tree) {
    let host = Host::new();
    let guest = with_vserver(&host, tree);
    guest.write("/etc/init.d/once", SCRIPT, 0o755);
    guest.start();
    let report = eventually(DEADLINE, "the script has ended", || {
        let report = guest.read("/root/report");
        report.ends_with("end\n").then_some(report)
    });
    for line in ["started", "inner", "has devices", "refused inside", "stopped"] {
        assert!(report.lines().any(|said| said == line), "'{line}' is missing:\n{report}");
    }
    guest.stop();
}

fn a_session_starts_a_guest_in_the_guest(tree: Tree) {
    let host = Host::new();
    let guest = with_vserver(&host, tree);
    guest.start();
    let template = ["--method", "template", "--from", "/root/busybox.tar"];
    let inside = |words: &[&str]| guest.exec(["/root/vserver"].iter().chain(words));
    inside(&["build", "inner", template[0], template[1], template[2], template[3]]).ok();
    inside(&["config", "set", "inner", "security.users", "identity"]).ok();
    inside(&["start", "inner"]).ok();
    // It is no part of the session that has started it.
    inside(&["running", "inner"]).ok();
    inside(&["exec", "inner", "--", "hostname"]).ok().says("inner\n");
    inside(&["exec", "inner", "--", "grep", "^0::", "/proc/self/cgroup"])
        .ok()
        .says("0::/vserver-session\n");
    assert_ne!(inside(&["exec", "inner", "--", "unshare", "-U", "true"]).code, 0);
    inside(&["chcontext", "--ctx", "inner", "--", "hostname"]).ok().says("inner\n");
    inside(&["stop", "inner", "--no-kill"]).ok();
    guest.stop();
    let before = tests::Census::when_quiet(&host);
    guest.start();
    inside(&["start", "inner"]).ok();
    guest.stop();
    before.assert_unchanged(&host);
}

/// `chcontext`, without a guest in the guest.
fn a_guest_has_contexts_with_nesting_only(tree: Tree) {
    let host = Host::new();
    let guest = with_vserver(&host, tree);
    let before = tests::Census::after_a_boot(&guest);
    guest.start();
    let c = "c='/root/vserver chcontext'";
    let alone = guest.shell(&format!("sleep 7201 & {c}; $c --silent -- ps -o args")).ok();
    assert!(!alone.stdout.contains("7201") && alone.stdout.contains("ps -o args"), "{alone}");
    let ends = format!("{c}; $c --ctx 100 -- sh -c \"$c --silent -- sh -c 'exit 5'\"");
    guest.shell(&ends).code(5).says("New security context is 100\n");
    for (number, sentence) in [
        ("0", "context 0 is the host, which can't be reached from inside"),
        ("1", "context 1 sees all processes, which nobody inside may"),
    ] {
        let refused = guest.shell(&format!("{c}; $c --ctx {number} -- true"));
        refused.code(255).complains(sentence);
    }
    // Its commands are the guest's: they end with it, and the host sees them.
    guest.shell(&format!("{c}; $c --ctx 101 --disconnect -- sleep 7202")).ok();
    eventually(DEADLINE, "the host sees it", || {
        let seen = host.vserver(["vps", "ax", "-ww"]).ok().stdout;
        let is_it = |line: &str| line.contains("sleep 7202") && line.contains(" outer ");
        seen.lines().any(is_it).then_some(())
    });
    guest.stop();
    before.assert_unchanged(&host);

    host.vserver(["config", "unset", "outer", "security.nesting"]).ok();
    guest.start();
    guest.shell(&format!("{c}; $c -- true")).code(255).complains("security.nesting");
    guest.stop();
}

fn nesting_needs_ids_of_its_own(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("outer").tree(tree).set("security.users", "identity").build();
    host.vserver(["config", "set", "outer", "security.nesting", "true"])
        .code(1)
        .complains("security.users");
    guest.start().stop();
}

//! Sessions in the guest's own cgroup: systemd's logins work in them, and a
//! guest that has made that cgroup a trap, or taken its PID 1's resource limits, holds
//! nobody up.

use std::time::{Duration, Instant};

use tests::terminal::Terminal;
use tests::{Census, Host, Tree};

on! { Systemd: [
    logins_are_sessions_of_logind_with_private_ids,
    logins_are_sessions_of_logind_with_identity_ids,
    logins_are_sessions_of_logind_with_the_hosts_ids,
] }
on! { Busybox: [
    no_trap_holds_a_session_with_private_ids,
    no_trap_holds_a_session_with_identity_ids,
    no_trap_holds_a_session_with_the_hosts_ids,
    cgroups_with_long_names_are_known_and_removed,
] }

on! { Bookworm: [
    a_tracer_holds_no_session,
    a_program_that_wants_to_be_traced_goes_on,
    limits_that_pid_1_has_lost_hold_no_session,
] }

/// A login that its systemd doesn't know takes 60 seconds.
const SOON: Duration = Duration::from_secs(45);

fn logins_are_sessions_of_logind_with_private_ids(tree: Tree) {
    logins_are_sessions_of_logind(tree, "private");
}

fn logins_are_sessions_of_logind_with_identity_ids(tree: Tree) {
    logins_are_sessions_of_logind(tree, "identity");
}

fn logins_are_sessions_of_logind_with_the_hosts_ids(tree: Tree) {
    logins_are_sessions_of_logind(tree, "host");
}

fn logins_are_sessions_of_logind(tree: Tree, users: &str) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).set("security.users", users).build();
    guest.exec(["useradd", "-m", "-s", "/bin/bash", "user"]).ok();
    let before = Census::when_quiet(&host);
    guest.start();
    guest.wait_for_systemd();

    let line = "loginctl show-session $XDG_SESSION_ID -p Name -p Service; \
                grep ^0:: /proc/self/cgroup";
    let start = Instant::now();
    let login = guest.exec(["su", "-", "user", "-c", line]).ok();
    assert!(start.elapsed() < SOON, "{:?}\n{login}", start.elapsed());
    assert!(login.stdout.contains("Name=user\n"), "{login}");
    assert!(login.stdout.contains("Service=su-l\n"), "{login}");
    assert!(login.stdout.contains("/user.slice/user-1000.slice/session-"), "{login}");
    assert_eq!(login.stderr, "", "{login}");

    let start = Instant::now();
    let mut terminal = Terminal::open(&guest.command("enter", [""; 0]));
    terminal.type_in("exec su - user\n");
    terminal.type_in("loginctl --no-legend; echo own-$XDG_SESSION_ID\n");
    terminal.expect("own-c");
    terminal.type_in("exit\n");
    assert_eq!(terminal.end(), 0, "{}", terminal.seen());
    assert!(start.elapsed() < SOON, "{:?}: {}", start.elapsed(), terminal.seen());
    assert!(terminal.seen().contains("1000 user"), "{}", terminal.seen());

    guest.stop();
    before.assert_unchanged(&host);
}

/// Something that a guest's root does to the place of sessions.
struct Trap {
    name: &'static str,
    /// `$C` is the guest's own cgroup, `$L` the leaf; neither holds a process
    /// but PID 1 and the shell.
    lay: &'static str,
    /// Done by a session in the trap.
    undo: &'static str,
    /// Are sessions outside then?
    outside: bool,
}

const TRAPS: &[Trap] = &[
    Trap { name: "none", lay: "", undo: "", outside: false },
    Trap { name: "removed", lay: "rmdir $L", undo: "", outside: false },
    Trap { name: "the guest's own", lay: "rmdir $L; mkdir $L", undo: "", outside: false },
    Trap { name: "renamed", lay: "! mv $L $C/other", undo: "", outside: false },
    Trap {
        name: "frozen",
        lay: "rmdir $L; mkdir $L; echo 1 >$L/cgroup.freeze",
        undo: "rmdir $L",
        outside: true,
    },
    Trap {
        name: "threaded",
        lay: "rmdir $L; mkdir $L; echo threaded >$L/cgroup.type",
        undo: "echo 0 >$C/cgroup.procs; rmdir $L",
        outside: false,
    },
    Trap {
        name: "below a threaded domain",
        lay: "mkdir $C/x; echo threaded >$C/x/cgroup.type",
        undo: "rmdir $C/x",
        outside: true,
    },
    Trap {
        name: "without room for it",
        lay: "rmdir $L; i=0; while mkdir $C/$i 2>/dev/null; do i=$((i + 1)); done",
        undo: "rmdir $C/[0-9]*",
        outside: true,
    },
];

const WARNING: &str = "outside of the own cgroup of guest 'web'";

const PLACES: &str = "C=/sys/fs/cgroup; L=$C/vserver-session";

fn no_trap_holds_a_session_with_private_ids(tree: Tree) {
    no_trap_holds_a_session(tree, "private");
}

fn no_trap_holds_a_session_with_identity_ids(tree: Tree) {
    no_trap_holds_a_session(tree, "identity");
}

fn no_trap_holds_a_session_with_the_hosts_ids(tree: Tree) {
    no_trap_holds_a_session(tree, "host");
}

fn no_trap_holds_a_session(tree: Tree, users: &str) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).set("security.users", users).build();
    let before = Census::after_a_boot(&guest);
    guest.start();
    for Trap { name, lay, undo, outside } in TRAPS {
        // The shell is in the leaf itself.
        let lay = format!("set -e; {PLACES}; echo 0 >$C/cgroup.procs; {lay}");
        let laid = guest.shell(&lay);
        assert_eq!(laid.code, 0, "{users} ids, {name}\n{laid}");
        let start = Instant::now();
        let mut terminal = Terminal::open(&guest.command("enter", [""; 0]));
        terminal.type_in("exit 3\n");
        assert_eq!(terminal.end(), 3, "{users} ids, {name}: {}", terminal.seen());
        assert_eq!(terminal.seen().contains(WARNING), *outside, "{name}: {}", terminal.seen());
        let session = guest.shell(&format!("{PLACES}; grep ^0:: /proc/self/cgroup; {undo}"));
        let took = start.elapsed();
        assert_eq!(session.code, 0, "{users} ids, {name}\n{session}");
        assert!(took < SOON, "{users} ids, {name}: {took:?}");
        let place = if *outside { "0::/../../beside\n" } else { "0::/vserver-session\n" };
        assert_eq!(session.stdout, place, "{users} ids, {name}\n{session}");
        let says = session.stderr.contains(WARNING);
        assert_eq!(says, *outside, "{users} ids, {name}\n{session}");
        assert!(session.stderr.lines().count() <= 1, "{users} ids, {name}\n{session}");
    }
    guest.stop();
    before.assert_unchanged(&host);
}

/// Traces what comes into the leaf and never waits for it, so that it is not
/// gone when it was killed (ptrace(2)). What hasn't executed anything yet can
/// be traced with the host's ids only: its memory is the host's.
const TRACER: &str = r#"
use constant { PTRACE => 101, SEIZE => 0x4206, TRACE_EXIT => 0x40 };
$| = 1;
while (select(undef, undef, undef, 0.01) == 0) {
    opendir my $processes, "/proc";
    for my $pid (grep { /^\d+$/ && !$traced{$_} } readdir $processes) {
        open my $file, "<", "/proc/$pid/cgroup" or next;
        next unless grep { m{^0::/vserver-session$} } <$file>;
        next if syscall(PTRACE, SEIZE, $pid + 0, 0, TRACE_EXIT) != 0;
        $traced{$pid} = 1;
        print "$pid\n";
    }
}
"#;

fn a_tracer_holds_no_session(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.write("/root/tracer", TRACER, 0o644);
    for (users, traces) in [("private", false), ("host", true)] {
        host.vserver(["config", "set", "web", "security.users", users]).ok();
        let before = Census::when_quiet(&host);
        guest.start();
        let lay = "echo 0 >$C/cgroup.procs; rmdir $L; mkdir $L; echo 1 >$L/cgroup.freeze; \
                   setsid perl /root/tracer </dev/null >/run/traced 2>&1 &";
        guest.shell(&format!("{PLACES}; {lay}")).ok();
        let start = Instant::now();
        let session = guest.exec(["cat", "/run/traced"]).ok();
        assert!(start.elapsed() < SOON, "{users} ids: {:?}", start.elapsed());
        assert!(session.stderr.contains(WARNING), "{users} ids: {session}");
        let held = session.stdout.lines().any(|line| line.parse::<u32>().is_ok());
        assert_eq!(held, traces, "{users} ids: {session}");
        guest.stop();
        before.assert_unchanged(&host);
    }
}

/// Some programs have themselves traced by their parent, so that nobody else
/// can trace them (ptrace(2), PTRACE_TRACEME): every signal stops them then.
fn a_program_that_wants_to_be_traced_goes_on(tree: Tree) {
    const TRACED: &str =
        "$SIG{USR1} = sub { $heard = 1 }; syscall(101, 0, 0, 0, 0) == 0 or exit 9;";
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    for users in ["private", "identity", "host"] {
        host.vserver(["config", "set", "web", "security.users", users]).ok();
        guest.start();
        let traced = |then: &str| guest.exec(["perl", "-e", &format!("{TRACED} {then}")]);
        // One that is ignored, and one with a handler; then its own end.
        traced("kill URG => $$; kill USR1 => $$; exit($heard ? 7 : 8)").code(7);
        traced("kill TERM => $$; sleep 60").code(128 + 15);
        // Signals without a name: one that isn't minded, one that is.
        traced("$SIG{RTMIN} = 'IGNORE'; kill 34 => $$; exit 6").code(6);
        traced("$SIG{NUM35} = sub { $heard = 1 }; kill 35 => $$; exit($heard ? 4 : 8)").code(4);
        traced("exec '/bin/sh', '-c', 'exit 5'").code(5);
        guest.stop();
    }
}

/// What the guest's root may do from inside: lower what its PID 1 may use.
fn limits_that_pid_1_has_lost_hold_no_session(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).set("limits.files", "64").build();
    for users in ["private", "host"] {
        host.vserver(["config", "set", "web", "security.users", users]).ok();
        guest.start();
        guest.shell("ulimit -n; ulimit -Hn").ok().says("64\n64\n");
        let lower = ["--nofile=0:0", "--nproc=0:0", "--fsize=0:0", "--stack=1:1"];
        guest.exec(["prlimit", "--pid", "1"].iter().chain(&lower)).ok();
        guest
            .shell("ulimit -n; ulimit -Hn; echo x >/x; (true); ulimit -f; ulimit -t")
            .ok()
            .says("64\n64\nunlimited\nunlimited\n");
        let mut terminal = Terminal::open(&guest.command("enter", [""; 0]));
        terminal.type_in("exit 3\n");
        assert_eq!(terminal.end(), 3, "{users} ids: {}", terminal.seen());
        guest.vserver("stop", ["--timeout", "1"]);
        assert!(!guest.is_running(), "{users} ids");
    }
}

/// As deep as a guest may go, with names as long as they may be, which needn't
/// be text: a path that is too long can't be printed by the kernel, nor removed.
fn cgroups_with_long_names_are_known_and_removed(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    guest.start();
    let descend = "cd /sys/fs/cgroup; name=$(printf '\\377%0254d' 0); \
                   while mkdir \"$name\" 2>/dev/null; do cd -P \"$name\"; done; \
                   echo 1 >cgroup.procs; grep ^0:: /proc/1/cgroup | wc -c";
    let long = guest.shell(descend).ok().stdout;
    assert!(long.trim().parse::<u32>().is_ok_and(|bytes| bytes > 3000), "{long}");
    guest.shell("true").ok();
    let init = guest.init_pid().to_string();
    host.vserver(["vserver-info", "web", "INITPID"]).ok().says(&format!("{init}\n"));
    let listed = host.vserver(["vps", "-p", &init, "-o", "pid,comm"]).ok();
    assert!(listed.stdout.contains("web"), "{listed}");
    guest.stop();
    before.assert_unchanged(&host);
}

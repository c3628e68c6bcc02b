//! `chcontext`: contexts without any guest, seen from inside, from outside
//! and from one another.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tests::census::Census;
use tests::terminal::Terminal;
use tests::{DEADLINE, Finished, Host, Tree, command, eventually, executable, process};

/// An installation that ordinary users can reach, and `chcontext` in it.
struct Contexts {
    host: Host,
    before: Option<Census>,
}

impl Contexts {
    fn new() -> Self {
        let host = Host::new();
        fs::set_permissions(host.prefix(), fs::Permissions::from_mode(0o755)).expect("a mode");
        executable::copy(tests::host::program(), host.prefix().join("chcontext"));
        let mut contexts = Self { host, before: None };
        // The register is made once, and stays.
        contexts.shell("$C --silent -- true").ok();
        contexts.before = Some(Census::when_quiet(&contexts.host));
        contexts
    }

    fn program(&self) -> PathBuf {
        self.host.prefix().join("chcontext")
    }

    fn command<const N: usize>(&self, words: [&str; N]) -> Command {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env("C", self.program()).current_dir("/");
        command.env(vserver::variables::PREFIX, self.host.prefix());
        // Root's may lead where others may not look.
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Runs a line of shell as root, `$C` being the program.
    fn shell(&self, line: &str) -> Finished {
        command::run(&mut self.command(["/bin/sh", "-c", line]), DEADLINE)
    }

    /// Runs one as an ordinary user.
    fn user(&self, line: &str) -> Finished {
        let mut command = self.command(["runuser", "-u", "nobody", "--", "/bin/sh", "-c", line]);
        command::run(&mut command, DEADLINE)
    }

    /// Demands that no process, mount or file of any context is left.
    fn nothing_is_left(&self) {
        self.before.as_ref().expect("a census").assert_unchanged(&self.host);
    }

    /// The host's pid of the only process of this line.
    fn pid_of(&self, line: &str) -> i32 {
        eventually(DEADLINE, "a process runs", || {
            let found = process::processes(|directory| {
                let words = fs::read(directory.join("cmdline")).unwrap_or_default();
                words == format!("{line} ").replace(' ', "\0").as_bytes()
            });
            found.first().map(|process| process.pid)
        })
    }
}

#[test]
#[ignore = "root: makes contexts"]
fn the_number_is_printed_and_the_commands_end_passed_on() {
    let contexts = Contexts::new();
    let said = contexts.shell("$C -- echo hello").ok();
    let number = said.stdout.strip_prefix("New security context is ").expect("the sentence");
    let number = number.strip_suffix("\nhello\n").expect("what the command says");
    assert!((49_152..=65_535).contains(&number.parse().expect("a number")), "{said}");
    contexts.shell("$C --silent -- echo hello").ok().says("hello\n");
    contexts.shell("$C --xid 100 -- true").ok().says("New security context is 100\n");
    contexts.shell("echo in | $C --silent cat").ok().says("in\n");
    contexts.shell("cd /usr && $C --silent -- pwd").ok().says("/usr\n");
    contexts.shell("$C --silent -- sh -c 'exit 7'").code(7);
    contexts.shell("$C --silent -- sh -c 'kill -TERM $$'").code(128 + 15);
    contexts.shell("$C --silent -- /nonexistent").code(127).complains("'/nonexistent'");
    contexts.shell("$C --silent -- /etc/passwd").code(126).complains("'/etc/passwd'");
    contexts.shell("$C --silent --flag fakeinit -- sh -c 'exit 8'").code(8);
    contexts.shell("$C --silent --flag fakeinit -- /nonexistent").code(127);
    contexts.shell("$C").code(255);
    contexts.shell("$C --frobnicate -- true").code(255);
    contexts.nothing_is_left();
}

#[test]
#[ignore = "root: makes contexts"]
fn signals_reach_the_command() {
    let contexts = Contexts::new();
    for flag in ["lock", "fakeinit"] {
        let line = format!(
            "$C --silent --flag {flag} -- sh -c \
             'trap \"exit 9\" USR1; : >{ready}; while :; do sleep 0.05; done' & \
             until test -e {ready}; do sleep 0.05; done; kill -USR1 $!; wait $!",
            ready = contexts.host.prefix().join(flag).display(),
        );
        contexts.shell(&line).code(9);
    }
    contexts.nothing_is_left();
}

#[test]
#[ignore = "root: makes contexts"]
fn nothing_outside_is_seen_or_reached() {
    let contexts = Contexts::new();
    let ps = contexts.shell("$C --silent -- ps -eo args").ok();
    ps.says("COMMAND\nps -eo args\n");
    // Two processes: pstree(1) itself invents a '?' where it finds no PID 1.
    contexts.shell("$C --silent -- sh -c 'pstree; :'").ok().says("?---sh---pstree\n");
    contexts.user("$C --silent -- sh -c 'pstree; :'").ok().says("?---sh---pstree\n");
    let own_init = "$C --silent --flag fakeinit -- sh -c 'pstree; :'";
    contexts.shell(own_init).ok().says("sh---pstree\n");
    contexts.user(own_init).ok().says("sh---pstree\n");
    let program = contexts.host.prefix().join("xterm");
    symlink("/bin/sleep", &program).expect("a link");
    let mut xterm = Command::new(program);
    let mut xterm = xterm.arg("7101").spawn().expect("a process");
    let killall = contexts.shell("$C --silent -- killall xterm sleep");
    let killed = contexts.shell(&format!("$C --silent -- kill -9 {}", xterm.id()));
    let alive = xterm.try_wait().expect("a child").is_none();
    xterm.kill().expect("a living child");
    xterm.wait().expect("a child");
    killall.code(1).complains("xterm: no process found");
    assert!(killed.code != 0 && alive, "{killed}");
    // Not even the process that waits there as PID 1.
    contexts.shell("$C --silent -- sh -c 'kill -9 1; sleep 0.1; echo alive'").ok().says("alive\n");
    contexts.shell("$C --silent -- sh -c 'ls -A /proc/1'").ok().says("");
    contexts.nothing_is_left();
}

#[test]
#[ignore = "root: makes contexts"]
fn programs_that_look_for_linux_vserver_find_it() {
    let contexts = Contexts::new();
    let status = contexts.shell("$C --silent --ctx 101 -- cat /proc/self/status").ok();
    assert!(status.stdout.starts_with("Name:\tcat\n"), "{status}");
    assert!(status.stdout.ends_with("\ns_context: 101\nVxID: 101\n"), "{status}");
    let child = contexts.shell("$C --silent -- sh -c 'cat /proc/self/status; :'").ok();
    assert!(child.stdout.contains("Name:\tcat\n") && !child.stdout.contains("VxID"), "{child}");
    contexts.shell("$C --silent --flag fakeinit -- grep -c VxID /proc/self/status").ok();
    let host = contexts.shell("cat /proc/self/status").ok();
    assert!(!host.stdout.contains("VxID"), "{host}");
    contexts.nothing_is_left();
}

#[test]
#[ignore = "root: makes contexts"]
fn a_context_lives_as_long_as_it_has_a_process() {
    let contexts = Contexts::new();
    contexts.shell("$C --ctx 102 -- sh -c 'sleep 7102 >/dev/null 2>&1 & :'").ok();
    let sleeper = contexts.pid_of("sleep 7102");
    // Another command joins, and says nothing of a new one.
    let joined = contexts.shell("$C --ctx 102 -- sh -c 'ps -eo args; exit 4'").code(4);
    assert!(joined.stdout.contains("\nsleep 7102\n"), "{joined}");
    assert!(!joined.stdout.contains("New security context"), "{joined}");
    contexts.shell("$C --ctx 102 -- pkill -x sleep").ok();
    // Signals take effect a moment later on a busy machine.
    eventually(DEADLINE, "it has ended", || (!process::is_alive(sleeper)).then_some(()));
    contexts.nothing_is_left();

    contexts.shell("$C --ctx 103 --flag persistent -- true").ok();
    contexts.shell("$C --ctx 103 -- sh -c 'exit 5'").code(5).says("");
    contexts.shell("$C --ctx 103 -- ps -eo args").ok().says("COMMAND\nps -eo args\n");
    let vps = contexts.host.vserver(["vps", "ax", "-ww"]).ok();
    assert!(vps.stdout.lines().any(|line| line.contains("   103 ")), "{vps}");
    contexts.host.vserver(["vkill", "--xid", "103", "-s", "KILL"]).ok();
    // Whoever looks next removes the entry of one that was killed, and has ended.
    let entry = contexts.host.paths().contexts_dir().join("103");
    eventually(DEADLINE, "its entry is removed", || {
        contexts.shell("$C --silent -- true").ok();
        (!entry.exists()).then_some(())
    });
    contexts.nothing_is_left();
}

#[test]
#[ignore = "root: makes contexts"]
fn contexts_are_out_of_each_others_reach() {
    let contexts = Contexts::new();
    contexts.shell("$C --ctx 104 --disconnect -- sleep 7104 >/dev/null 2>&1").ok();
    contexts.shell("$C --ctx 105 --disconnect -- sleep 7105 >/dev/null 2>&1").ok();
    let (first, second) = (contexts.pid_of("sleep 7104"), contexts.pid_of("sleep 7105"));
    contexts.shell("$C --ctx 104 -- sh -c 'ipcmk -M 100 && : >/dev/shm/vserver-test'").ok();
    let ipc = "ipcs -m | grep -c 0x; ls /dev/shm";
    contexts.shell(&format!("$C --ctx 104 -- sh -c '{ipc}'")).ok().says("1\nvserver-test\n");
    contexts.shell(&format!("$C --ctx 105 -- sh -c '{ipc}'")).ok().says("0\n");
    let seen = contexts.shell("$C --ctx 105 -- ps -eo args").ok();
    assert!(seen.stdout.contains("7105") && !seen.stdout.contains("7104"), "{seen}");
    contexts.shell(&format!("$C --ctx 105 -- sh -c 'kill -9 {first}'")).code(1);
    contexts.shell("$C --ctx 105 -- pkill -9 -f 7104").code(1);
    assert!(process::is_alive(first) && process::is_alive(second));
    contexts.shell("$C --ctx 104 -- pkill -x sleep; $C --ctx 105 -- pkill -x sleep").ok();
    contexts.nothing_is_left();
}

#[test]
#[ignore = "root: makes contexts"]
fn contexts_are_made_in_contexts() {
    let contexts = Contexts::new();
    let line = "sleep 7106 & $C --ctx 107 -- ps -eo args; \
                $C --ctx 107 -- sh -c \"exit 6\"; echo $?; \
                $C --silent -- sh -c \"$C --silent -- ps -eo args\"; kill $!";
    let nested = contexts.shell(&format!("$C --silent --ctx 106 -- sh -c '{line}'")).ok();
    let ps = "COMMAND\nps -eo args\n";
    let new = "New security context is 107\n";
    nested.says(&format!("{new}{ps}{new}6\n{ps}"));
    // The outer one sees what the inner one has, and not the other way round.
    let line = "$C --silent --disconnect -- sleep 7107 >/dev/null 2>&1; \
                until ps -eo args | grep -qx \"sleep 7107\"; do sleep 0.05; done";
    contexts.shell(&format!("$C --silent -- sh -c '{line}'")).ok();
    contexts.shell(&format!("kill {}", contexts.pid_of("sleep 7107"))).ok();
    contexts.nothing_is_left();
}

#[test]
#[ignore = "root: makes contexts"]
fn numbers_0_and_1_and_those_of_others_are_special() {
    let contexts = Contexts::new();
    contexts.shell("$C --ctx 0 -- sh -c 'exit 3'").code(3).says("");
    let mut waiting = Command::new("sleep").arg("7108").spawn().expect("a process");
    let pid = waiting.id();
    let spectator = contexts.shell(&format!("$C --ctx 1 -- sh -c 'ps -p {pid} -o args='"));
    let kill = contexts.shell(&format!("$C --ctx 1 -- sh -c 'kill -9 {pid}'"));
    let is_alive = waiting.try_wait().expect("a child").is_none();
    waiting.kill().expect("a living child");
    waiting.wait().expect("a child");
    spectator.ok().says("sleep 7108\n");
    let kill = kill.code(1).complains("permitted");
    assert!(is_alive, "{kill}");
    contexts
        .shell("$C --silent --ctx 108 -- sh -c '$C --ctx 1 -- true'")
        .code(255)
        .complains("context 1 sees all processes");
    contexts.shell("$C --ctx self -- echo here").ok().says("here\n");
    contexts
        .shell("$C --silent --ctx 108 -- sh -c '$C --ctx 0 -- true'")
        .code(255)
        .complains("context 0 is the host, which can't be reached from inside");
    contexts.shell("$C --silent --ctx 108 -- sh -c '$C --ctx self -- true'").ok();
    contexts.shell("$C --silent --ctx 108 -- sh -c '$C --ctx 108 -- true'").ok().says("");
    contexts.shell("$C --ctx 60000 -- true").code(255).complains("there is no context 60000");
    contexts.shell("$C --ctx 65536 -- true").code(255);
    contexts.shell("$C --ctx nobody -- true").code(255).complains("there is no guest 'nobody'");
    contexts.shell("$C --ctx 109 --flag private --disconnect -- sleep 7109 >/dev/null 2>&1").ok();
    contexts.shell("$C --ctx 109 -- true").code(255).complains("context 109 is private");
    contexts.shell(&format!("kill {}", contexts.pid_of("sleep 7109"))).ok();
    contexts.shell("$C --flag frob -- true").code(255).complains("there is no flag 'frob'");
    contexts.shell("$C --silent --flag nproc -- true").ok().complains("flag 'nproc' does nothing");
    contexts.nothing_is_left();
}

#[test]
#[ignore = "root: makes contexts"]
fn a_context_has_names_and_capabilities_of_its_own() {
    let contexts = Contexts::new();
    let own = contexts.shell("hostname; cat /proc/sys/kernel/domainname").ok().stdout;
    let line = "$C --silent --hostname box --domainname nis -- \
                sh -c 'hostname; cat /proc/sys/kernel/domainname'";
    contexts.shell(line).ok().says("box\nnis\n");
    contexts.shell("hostname; cat /proc/sys/kernel/domainname").ok().says(&own);

    let sets = "sed -n \"s/^Cap\\(Prm\\|Bnd\\):.//p\" /proc/self/status";
    let secure = contexts.shell(&format!("$C --silent --secure -- sh -c '{sets}; :'")).ok();
    secure.says("00000000b40c05ff\n00000000b40c05ff\n");
    let kept = format!("$C --silent --secure --cap net_raw,!kill -- sh -c '{sets}; :'");
    contexts.shell(&kept).ok().says("00000000b40c25df\n00000000b40c25df\n");
    // Its PID 1 has nothing either that such a command could take.
    let line = "$C --silent --ctx 110 --secure --disconnect -- sleep 7110 >/dev/null 2>&1";
    contexts.shell(line).ok();
    let sleeper = contexts.pid_of("sleep 7110");
    let init = process::processes(|directory| {
        let status = fs::read_to_string(directory.join("status")).unwrap_or_default();
        let is_ours = fs::read(directory.join("cmdline")).unwrap_or_default();
        status.contains("Name:\tcontext\n") && is_ours.windows(5).any(|word| word == b"\x00110\x00")
    });
    let init = init.first().expect("a PID 1").pid;
    let status = fs::read_to_string(format!("/proc/{init}/status")).expect("a status");
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert!(status.contains(&format!("{set}:\t0000000000000000\n")), "{status}");
    }
    contexts.shell(&format!("kill {sleeper}")).ok();
    contexts.shell("$C --silent --secure -- sh -c 'echo 1 >/proc/sys/vm/drop_caches'").code(2);
    contexts.nothing_is_left();
}

#[test]
#[ignore = "root: makes contexts"]
fn ordinary_users_have_contexts() {
    let contexts = Contexts::new();
    let line = "$C --silent -- sh -c 'id -un; ps -eo args; exit 5'";
    let user = contexts.user(line).code(5);
    user.says("nobody\nCOMMAND\nsh -c id -un; ps -eo args; exit 5\nps -eo args\n");
    let status = contexts.user("$C -- cat /proc/self/status").ok();
    assert!(status.stdout.contains("\nCapEff:\t0000000000000000\n"), "{status}");
    assert!(status.stdout.contains("\ns_context: "), "{status}");
    contexts.user("$C --silent --flag fakeinit -- sh -c 'echo $$; exit 6'").code(6).says("1\n");
    contexts.user("$C --silent --hostname mine -- sh -c 'hostname'").ok().says("mine\n");
    contexts
        .user("$C --silent -- sh -c '$C --silent -- ps -eo args'")
        .ok()
        .says("COMMAND\nps -eo args\n");
    contexts.nothing_is_left();
}

/// How long a key may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a key may not have reached a process: groups and signals.
fn signals_of(terminal: &mut Terminal, pid: i32) -> String {
    let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    format!("{}{}{}", file("stat"), file("status"), terminal.seen())
}

#[test]
#[ignore = "root: makes contexts"]
fn a_shell_on_a_terminal_has_job_control() {
    let contexts = Contexts::new();
    let program = contexts.program();
    let program = program.to_str().expect("a path");
    let words = [program, "--ctx", "111", "--", "/bin/bash", "--norc", "--noprofile"];
    let mut terminal = Terminal::open(&contexts.command(words));
    terminal.expect("New security context is 111");
    terminal.type_in("echo begin-$((1+1))\n");
    terminal.expect("begin-2");
    terminal.type_in("sleep 7111\n");
    let sleeper = contexts.pid_of("sleep 7111");
    // The second terminal.
    let joined = contexts.shell("$C --ctx 111 -- ps -eo args").ok();
    assert!(joined.stdout.contains("\nsleep 7111\n"), "{joined}");
    // A shell without job control ends none of them.
    terminal.type_in("\u{3}");
    let start = Instant::now();
    while process::is_alive(sleeper) {
        let waited = start.elapsed();
        assert!(waited < PATIENCE, "Ctrl-C ends it; {}", signals_of(&mut terminal, sleeper));
        thread::sleep(Duration::from_millis(10));
    }
    terminal.type_in("echo ended-$?\n");
    terminal.expect("ended-130");
    assert!(!terminal.seen().contains("no job control"));
    terminal.type_in("exit 3\n");
    assert_eq!(terminal.end(), 3);
    contexts.nothing_is_left();
}

#[test]
#[ignore = "root: makes contexts and boots guests"]
fn a_running_guest_is_entered_by_name_and_number() {
    let contexts = Contexts::new();
    let guest = contexts.host.guest("web").tree(Tree::Busybox).build();
    contexts.shell("$C --ctx web -- true").code(255).complains("guest 'web' is not running");
    guest.start().stop();
    let before = Census::when_quiet(&contexts.host);
    guest.start();
    let number = guest.status().context;
    for word in ["web".to_owned(), number.to_string()] {
        let enter = format!("$C --ctx {word} --");
        contexts.shell(&format!("{enter} hostname")).ok().says("web\n");
        contexts.shell(&format!("{enter} cat /proc/1/comm")).ok().says("guest-init\n");
        contexts.shell(&format!("{enter} sh -c 'exit 7'")).code(7);
        contexts.shell(&format!("{enter} sh -c 'kill -TERM $$'")).code(128 + 15);
        contexts.shell(&format!("echo in | {enter} cat")).ok().says("in\n");
        contexts.shell(&format!("{enter} /nonexistent")).code(127).complains("'/nonexistent'");
        contexts.shell(&format!("{enter} /etc/passwd")).code(126).complains("'/etc/passwd'");
    }
    for option in ["--hostname x", "--domainname x", "--disconnect", "--flag fakeinit"] {
        let refused = contexts.shell(&format!("$C {option} --ctx web -- true")).code(255);
        refused.complains("guests have these in their configuration");
    }
    for option in ["--secure", "--cap !kill"] {
        let refused = contexts.shell(&format!("$C {option} --ctx web -- true")).code(255);
        refused.complains("are not for guests");
    }
    let inside = "$C --silent --ctx 112 -- sh -c '$C --ctx web -- true'";
    contexts.shell(inside).code(255).complains("can't be entered from a context");
    guest.stop();
    before.assert_unchanged(&contexts.host);
    contexts.nothing_is_left();
}

#[test]
#[ignore = "root: makes namespaces"]
fn a_context_that_does_not_answer_holds_up_nobody() {
    let contexts = Contexts::new();
    contexts.shell("$C --silent --ctx 104 --flag persistent -- true").ok();
    // The one process that is left: the context's first.
    let first = "for p in /proc/[0-9]*; do test \"$(readlink $p/ns/pid)\" != \"$ns\" || echo ${p#/proc/}; done";
    let ns = contexts.shell("$C --silent --ctx 104 -- readlink /proc/self/ns/pid").ok().stdout;
    let first = contexts.shell(&format!("ns='{}'; {first}", ns.trim())).ok().stdout;
    let first = first.trim();
    contexts.shell(&format!("kill -STOP {first}")).ok();
    let start = Instant::now();
    let joins =
        "$C --silent --ctx 104 -- true & joins=$!; $C --silent -- true || exit 9; wait $joins";
    let said = contexts.shell(joins);
    said.code(255).complains("cannot join context 104").complains(&format!("kill -CONT {first}"));
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    contexts.shell(&format!("kill -CONT {first}; $C --silent --ctx 104 -- true")).ok();
    // What it leaves is removed by the next one.
    contexts.shell(&format!("kill -KILL {first}; sleep 0.5; $C --silent -- true")).ok();
    contexts.nothing_is_left();
}

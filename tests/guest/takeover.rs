//! The supervisor may die at any moment: the guest lives on, and the next
//! one goes on where it was.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{Census, DEADLINE, Guest, Host, Tree, command, eventually, process, random};
use vserver::runtime::RunDir;

on! { Busybox, Bookworm: [
    a_guest_outlives_its_supervisor,
    reboot_still_reboots_under_the_next_supervisor,
    poweroff_still_ends_under_the_next_supervisor,
] }
on! { Busybox: [
    stop_works_without_a_supervisor,
    a_file_that_breaks_rules_costs_no_guest_its_supervisor,
    a_poweroff_without_a_supervisor_is_remembered,
    a_reboot_without_a_supervisor_is_remembered,
    what_was_ordered_outlives_the_supervisor,
    a_stop_survives_the_supervisors_it_was_told,
    who_waits_for_a_boot_waits_on_under_the_next_supervisor,
    a_guest_whose_state_file_is_lost_goes_on_and_down,
    a_start_outlives_a_supervisor_that_has_not_begun,
    the_next_supervisor_is_there_at_once,
    new_addresses_outlive_the_supervisor_that_was_told,
    a_guest_is_stopped_on_a_disk_that_nobody_can_write_to,
] }

use super::shared;
use super::stubborn::hanging;

/// As an error of the disk makes it.
fn a_guest_is_stopped_on_a_disk_that_nobody_can_write_to(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let state = host.paths().state_dir();
    let mount = |words: &[&str]| {
        let mut mount = Command::new("mount");
        command::run(mount.args(words).arg(&state), DEADLINE).ok();
    };
    mount(&["--bind", &state.to_string_lossy()]);
    mount(&["-o", "remount,bind,ro"]);
    guest.kill_supervisor();
    assert!(guest.is_running());
    guest.stop();
    let mut umount = Command::new("umount");
    command::run(umount.arg(&state), DEADLINE).ok();
    assert!(!guest.is_running());
}

/// Brings the next supervisor, as an administrator would.
fn start_again(guest: &Guest<'_>) -> tests::guest::Status {
    guest.vserver("start", [""; 0]).ok();
    eventually(DEADLINE, "there is another supervisor", || {
        let status = guest.status();
        let there = status.supervisor_pid.is_some_and(process::is_alive);
        (there && status.state == "running").then_some(status)
    })
}

fn a_guest_outlives_its_supervisor(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let before = guest.status();
    let killed = guest.kill_supervisor();
    guest.exec(["cat", "/proc/1/comm"]).ok().says("guest-init\n");
    assert!(guest.is_running());
    let after = start_again(&guest);
    assert_eq!(after.init_pid, before.init_pid, "the same PID 1");
    assert_eq!(after.keeper_pid, before.keeper_pid, "the same keeper");
    assert_ne!(after.supervisor_pid, Some(killed));
    assert!(after.uptime_seconds >= before.uptime_seconds);
    guest.stop();
}

fn reboot_still_reboots_under_the_next_supervisor(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let old = guest.init_pid();
    guest.kill_supervisor();
    start_again(&guest);
    guest.exec(["reboot"]);
    guest.wait_for_reboot(old);
    guest.stop();
}

fn poweroff_still_ends_under_the_next_supervisor(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    guest.start();
    guest.kill_supervisor();
    start_again(&guest);
    guest.exec(["poweroff"]);
    guest.wait_until_stopped();
    before.assert_unchanged(&host);
}

fn stop_works_without_a_supervisor(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    guest.start();
    guest.kill_supervisor();
    guest.stop();
    assert!(!guest.is_running());
    before.assert_unchanged(&host);
}

fn a_file_that_breaks_rules_costs_no_guest_its_supervisor(tree: Tree) {
    let host = Host::new();
    let (guest, other) =
        (host.guest("web").tree(tree).build(), host.guest("db").tree(tree).build());
    let before = Census::after_a_boot(&guest);
    guest.start();
    let (init, context) = (guest.init_pid(), guest.status().context);
    let file = host.paths().config(&"web".parse().expect("a name"));
    let text = fs::read_to_string(&file).expect("it is there");
    let line = format!("context = {context}");
    assert!(text.contains(&line), "{text}");
    let other = format!("context = {}", other.status().context);
    let with = |new: &str| text.replace(&line, new);
    // One that breaks a rule, and one that is no configuration at all.
    let broken = text.replace("hostname = \"web\"", "hostname = \"no name\"");
    assert_ne!(broken, text);
    for (broken, complaint) in [
        (with(""), "the guest has no context"),
        (with(&other), "is also guest 'db''s"),
        (broken, "'no name' is no host name"),
        (format!("{text}\n[boot"), "unclosed"),
    ] {
        fs::write(&file, broken).expect("it can be written");
        guest.kill_supervisor();
        guest.shell("true").ok();
        assert_eq!((guest.init_pid(), guest.status().context), (init, context));
        host.vserver(["config", "check", "web"]).code(1).complains(complaint);
        host.vserver(["reexec", "web"]).ok();
        guest.shell("true").ok();
    }
    guest.stop();
    guest.vserver("start", [""; 0]).code(1).complains("unclosed");
    fs::write(&file, text).expect("it can be written");
    before.assert_unchanged(&host);
}

fn a_poweroff_without_a_supervisor_is_remembered(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let init = guest.init_pid();
    guest.kill_supervisor();
    guest.exec(["poweroff"]);
    eventually(DEADLINE, "PID 1 has ended", || (!process::is_alive(init)).then_some(()));
    // Nobody may take it for a crash or a reboot.
    guest.wait_until_stopped();
    guest.start().stop();
}

fn a_reboot_without_a_supervisor_is_remembered(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let init = guest.init_pid();
    guest.kill_supervisor();
    guest.exec(["reboot"]);
    eventually(DEADLINE, "PID 1 has ended", || (!process::is_alive(init)).then_some(()));
    start_again(&guest);
    assert_ne!(guest.init_pid(), init);
    guest.stop();
}

/// An init that nobody knows, and that has nothing to say but its end.
const OWN_INIT: &str = "#!/bin/sh\n\
    trap 'until [ -e /go ]; do sleep 0.1; done; exit 7' TERM\nwhile :; do sleep 0.1; done\n";

fn with_own_init(host: &Host, tree: Tree) -> Guest<'_> {
    let guest = host.guest("web").tree(tree).set("boot.style", "init").build();
    // A link, maybe.
    fs::remove_file(guest.root().join("sbin/init")).expect("it has one");
    guest.write("/sbin/init", OWN_INIT, 0o755);
    guest
}

/// The guest has been ordered to go down, and its supervisor is killed with whoever has
/// ordered that.
#[track_caller]
fn order_and_kill(guest: &Guest<'_>, verb: &str) {
    let mut command = guest.command(verb, [""; 0]);
    let mut client = command.stderr(Stdio::null()).spawn().expect("it can be run");
    eventually(DEADLINE, "it shuts down", || (guest.status().state == "stopping").then_some(()));
    client.kill().expect("it can be killed");
    client.wait().expect("it has ended");
    guest.kill_supervisor();
}

fn what_was_ordered_outlives_the_supervisor(tree: Tree) {
    let host = Host::new();
    let guest = with_own_init(&host, tree);
    guest.start();
    order_and_kill(&guest, "stop");
    let supervisor = guest.command("supervise", ["--adopt"]).spawn();
    let mut supervisor = supervisor.expect("it can be run");
    // A command would bring another one.
    let run = RunDir::new(host.paths(), &"web".parse().expect("a name"));
    eventually(DEADLINE, "it has its place", || {
        (run.supervisor() == i32::try_from(supervisor.id()).ok()).then_some(())
    });
    guest.write("/go", "", 0o644);
    let end = supervisor.wait().expect("it ends");
    assert!(end.success(), "it ends with its guest: {end}");
    assert!(!guest.is_running());
    fs::remove_file(guest.root().join("go")).expect("it is there");

    // Its end doesn't tell that it is to come up again, nor is it a crash.
    guest.start();
    let init = guest.init_pid();
    order_and_kill(&guest, "reboot");
    assert_eq!(guest.status().state, "stopping");
    guest.write("/go", "", 0o644);
    guest.wait_for_reboot(init);
    let log = host.prefix().join("var/log/vserver/web.supervisor.log");
    let said = fs::read_to_string(log).expect("it has one");
    assert!(said.contains("the guest reboots") && !said.contains("crashed"), "{said}");
    guest.vserver("stop", [""; 0]).ok();
    assert!(!guest.is_running());
}

/// Who waits for a stop has the next supervisor go on with it.
fn a_stop_survives_the_supervisors_it_was_told(tree: Tree) {
    let host = Host::new();
    let guest = with_own_init(&host, tree);
    guest.start();
    thread::scope(|scope| {
        let stop = scope.spawn(|| guest.vserver("stop", [""; 0]));
        eventually(DEADLINE, "it shuts down", || {
            (guest.status().state == "stopping").then_some(())
        });
        guest.kill_supervisor();
        guest.write("/go", "", 0o644);
        stop.join().expect("it ends").ok();
        assert!(!guest.is_running());
    });
}

/// An upgrade, say, while a guest boots.
fn who_waits_for_a_boot_waits_on_under_the_next_supervisor(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.write("/etc/init.d/rcS", "#!/bin/sh\nsleep 5\n", 0o755);
    for verb in ["start", "reboot"] {
        thread::scope(|scope| {
            let started = scope.spawn(|| guest.vserver(verb, [""; 0]));
            let boots = || (guest.status().state == "booting").then_some(());
            eventually(DEADLINE, "it boots", boots);
            let init = guest.init_pid();
            guest.kill_supervisor();
            started.join().expect("it ends").ok();
            assert_eq!((guest.status().state.as_str(), guest.init_pid()), ("running", init));
        });
    }
    guest.stop();
}

/// By a clean-up, or by a version that can't read it.
fn a_guest_whose_state_file_is_lost_goes_on_and_down(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    let file = host.prefix().join("run/vserver/web/state.json");
    guest.start();
    let supervisor = guest.status().supervisor_pid.expect("it has one");
    fs::remove_file(&file).expect("it is there");
    // Its supervisor writes it again when it is told that something is missed.
    kill(Pid::from_raw(supervisor), Signal::SIGHUP).expect("it runs");
    eventually(DEADLINE, "it is there again", || file.exists().then_some(()));

    hanging(&guest);
    for spoil in [|file: &Path| fs::remove_file(file), |file: &Path| fs::write(file, "{")] {
        let init = guest.init_pid();
        spoil(&file).expect("it can be spoilt");
        guest.kill_supervisor();
        let mut supervisor = guest.command("supervise", ["--adopt"]);
        let supervisor = supervisor.stderr(Stdio::null()).spawn().expect("it can be run");
        let pid = i32::try_from(supervisor.id()).ok();
        // A command would bring another one.
        let run = RunDir::new(host.paths(), &"web".parse().expect("a name"));
        eventually(DEADLINE, "it has its place", || (run.supervisor() == pid).then_some(()));
        let status = eventually(DEADLINE, "it has another one", || {
            let status = guest.status();
            (status.supervisor_pid == pid && status.state == "running").then_some(status)
        });
        assert_eq!(status.init_pid, Some(init));
        assert!(status.processes > Some(0), "{status:?}");
        // What is left at the deadline is found, and killed.
        let stop = guest.vserver("stop", ["--timeout", "2"]).ok();
        assert!(stop.took < Duration::from_secs(45), "{stop}");
        let mut supervisor = supervisor;
        assert!(supervisor.wait().expect("it ends").success());
        assert!(!guest.is_running());
        guest.start();
    }
    guest.vserver("stop", ["--timeout", "1"]).ok();
    before.assert_unchanged(&host);
}

/// Killed before there is anything of a boot, it leaves nothing that the next one could
/// take over: the command that has started it starts another.
fn a_start_outlives_a_supervisor_that_has_not_begun(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    let script = host.paths().config_dir().join("web.sh");
    let killed = host.prefix().join("killed");
    let kill = |when: &str| {
        let kill = format!("{when} && echo >>{} && kill -9 $PPID", killed.display());
        let text = format!("#!/bin/sh\n[ $1 = pre-start ] && {kill}\ntrue\n");
        tests::executable::write(&script, &text, 0o755);
    };
    let times = || fs::read_to_string(&killed).unwrap_or_default().len();
    for words in [&["start", "web"][..], &["start", "web", "--no-wait"]] {
        kill(&format!("[ ! -e {} ]", killed.display()));
        host.vserver(words).ok();
        assert_eq!(times(), 1);
        eventually(DEADLINE, "it is up", || (guest.status().state == "running").then_some(()));
        guest.stop();
        fs::remove_file(&killed).expect("it is there");
    }
    kill("true");
    let refused = guest.vserver("start", [""; 0]).code(1);
    refused.complains("guest 'web' is not started: each of its supervisors was killed");
    assert!(times() > 1 && !guest.is_running());
    fs::remove_file(&script).expect("it is there");
    guest.start();
    guest.stop();
    fs::remove_file(&killed).expect("it is there");
    before.assert_unchanged(&host);
}

/// Within a second, on a machine that has time: not much later than a guest is started,
/// which executes a supervisor as well, and takes longer on one that has none.
fn the_next_supervisor_is_there_at_once(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let rounds = (0..5).map(|_| {
        let start = guest.vserver("start", [""; 0]).ok();
        let killed = guest.kill_supervisor();
        let asked = guest.vserver("status", ["--json"]).ok();
        let next = guest.status().supervisor_pid;
        assert!(next.is_some() && next != Some(killed));
        guest.stop();
        (start.took, asked.took)
    });
    let rounds: Vec<_> = rounds.collect();
    let start = rounds.iter().map(|(start, _)| *start).max();
    let asked = rounds.iter().map(|(_, asked)| *asked).min();
    assert!(asked < start.map(|start| start * 3), "{rounds:?}");
}

fn new_addresses_outlive_the_supervisor_that_was_told(tree: Tree) {
    let host = shared::scene();
    let web = shared::guest(&host, "web", tree, &["192.0.2.1"]);
    web.start();
    let mut random = random();
    for round in 0..20 {
        let address = ["192.0.2.2", "192.0.2.1"][round % 2];
        let mut set = host.command(["config", "set", "web", "network.addresses", address]);
        let supervisor = web.status().supervisor_pid.expect("it has one");
        let setting = set.stderr(Stdio::piped()).spawn().expect("it can be run");
        let pause = Duration::from_micros(random.u64(0..20_000));
        thread::sleep(pause);
        kill(Pid::from_raw(supervisor), Signal::SIGKILL).expect("it runs");
        let end = setting.wait_with_output().expect("a child");
        let said = String::from_utf8_lossy(&end.stderr);
        assert!(end.status.success(), "killed after {pause:?}: {said}");
        assert_eq!(said, "", "it counts at once");
        assert_eq!(web.status().addresses, [address]);
        web.exec(["/peer", "tcp", "0.0.0.0:80"]).ok().says(&format!("tcp {address}:80\n"));
    }
    web.stop();
}

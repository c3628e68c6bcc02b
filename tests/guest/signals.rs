//! Signals to `vserver exec` and `vserver enter`: they go on to the command inside, and
//! end the one outside where there is nobody inside who could end by them. What a
//! terminal is for.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::terminal::Terminal;
use tests::{DEADLINE, Guest, Host, Tree, eventually};

on! { Busybox: [
    signals_go_on_to_the_command,
    a_command_that_nobody_reads_ends_by_a_signal,
    a_command_that_has_not_begun_ends_by_a_signal,
    signals_go_on_from_a_terminal,
    a_job_in_the_background_leaves_the_terminal_alone,
] }

fn signals_go_on_to_the_command(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let run = |script: &str, signal: Signal| {
        guest.shell("rm -f /run/ready").ok();
        let mut exec = guest.command("exec", ["--", "sh", "-c", script]);
        exec.stdin(Stdio::null()).stdout(Stdio::null());
        let mut exec = exec.spawn().expect("vserver runs");
        eventually(DEADLINE, "it has begun", || is_ready(&guest).then_some(()));
        send(exec.id(), signal);
        end(&mut exec).code()
    };
    let traps = "trap 'exit 9' TERM; touch /run/ready; while :; do sleep 0.1; done";
    assert_eq!(run(traps, Signal::SIGTERM), Some(9));
    let many = "touch /run/ready; sleep 3600 | sleep 3600";
    // Not SIGINT, which whoever runs the tests may have had ignored.
    assert_eq!(run(many, Signal::SIGTERM), Some(128 + 15));
    let none = r#"for f in /proc/[0-9]*/comm; do [ "$(cat $f)" != sleep ] || exit 1; done"#;
    eventually(DEADLINE, "nothing of it is left", || (guest.shell(none).code == 0).then_some(()));
    guest.stop();
}

/// What the command says fits into the pipes on its way, but not into the last of them.
fn a_command_that_nobody_reads_ends_by_a_signal(tree: Tree) {
    const SAYS: &str = "head -c 100000 /dev/zero; touch /run/ready";
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let stays = format!("trap 'exit 0' TERM; {SAYS}; while :; do sleep 0.1; done");
    // One that has ended, and one that ends by the signal.
    for script in [SAYS, &stays] {
        guest.shell("rm -f /run/ready").ok();
        let mut exec = guest.command("exec", ["--", "sh", "-c", script]);
        exec.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut exec = exec.spawn().expect("vserver runs");
        eventually(DEADLINE, "it has begun", || is_ready(&guest).then_some(()));
        send(exec.id(), Signal::SIGTERM);
        assert_eq!(end(&mut exec).signal(), Some(15), "{script}");
    }
    guest.stop();
}

/// What enters a frozen cgroup is waited for some seconds.
fn a_command_that_has_not_begun_ends_by_a_signal(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let freeze = "C=/sys/fs/cgroup; L=$C/vserver-session; echo 0 >$C/cgroup.procs; \
                  rmdir $L; mkdir $L; echo 1 >$L/cgroup.freeze";
    guest.shell(freeze).ok();
    let mut exec = guest.command("exec", ["--", "sleep", "7656"]);
    exec.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut exec = exec.spawn().expect("vserver runs");
    eventually(DEADLINE, "it catches signals", || catches(exec.id(), 15).then_some(()));
    send(exec.id(), Signal::SIGTERM);
    // Where it was slower than that it had begun.
    let end = end(&mut exec);
    assert!(end.signal() == Some(15) || end.code() == Some(128 + 15), "{end}");
    eventually(DEADLINE, "nothing of it is left", || {
        let all = host.processes();
        (!all.iter().any(|process| process.arguments.ends_with(&["7656".into()]))).then_some(())
    });
    guest.stop();
}

fn signals_go_on_from_a_terminal(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let run = |traps: &str| {
        let script = format!("{traps}; echo ready; while ! test -e /run/over; do sleep 0.1; done");
        let exec = guest.command("exec", ["--", "sh", "-c", &script]);
        let (mut terminal, pid) = Terminal::open_known(&exec);
        terminal.expect("ready");
        assert!(terminal.is_raw());
        kill(pid, Signal::SIGTERM).expect("it lives");
        (terminal, pid)
    };
    let (mut terminal, _) = run("trap '' HUP; trap 'exit 9' TERM");
    assert_eq!(terminal.end(), 9, "{}", terminal.seen());
    let (mut terminal, pid) = run("trap '' HUP TERM");
    eventually(DEADLINE, "the terminal is as it was", || (!terminal.is_raw()).then_some(()));
    kill(pid, Signal::SIGTERM).expect("it lives");
    assert_eq!(terminal.end(), 128 + 15, "{}", terminal.seen());
    guest.shell("touch /run/over").ok();
    guest.stop();
}

/// timeout(1) makes a process group that the terminal's keys are not for.
fn a_job_in_the_background_leaves_the_terminal_alone(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let exec = guest.command("exec", ["--", "sh", "-c", "cat; echo said; exit 7"]);
    let mut terminal = Terminal::shell("timeout 3600 \"$@\"; echo code=$?", &exec);
    terminal.expect("said");
    terminal.expect("code=7");
    assert_eq!(terminal.end(), 0);
    guest.stop();
}

fn is_ready(guest: &Guest<'_>) -> bool {
    guest.shell("test -e /run/ready").code == 0
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).expect("it lives");
}

fn end(command: &mut Child) -> ExitStatus {
    eventually(DEADLINE, "it ends", || command.try_wait().expect("it can be waited for"))
}

/// Has a process a handler for this signal (proc_pid_status(5), `SigCgt`)?
fn catches(pid: u32, signal: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.unwrap_or(0) >> (signal - 1) & 1 == 1
}

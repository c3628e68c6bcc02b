//! `vserver enter`: a login shell on a terminal of the guest's own.

use tests::terminal::Terminal;
use tests::{DEADLINE, Host, Tree, eventually, process};

on! { Bookworm, Trixie, Busybox: [
    is_a_shell_with_its_own_terminal,
    passes_the_window_size_on,
    ends_with_the_shells_exit_code,
    dies_with_a_lost_terminal,
    reboots_the_guest_it_is_in,
] }
on! { Bookworm, Trixie: [has_job_control] }

fn is_a_shell_with_its_own_terminal(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let mut terminal = Terminal::open(&guest.command("enter", [""; 0]));
    terminal.type_in("tty; hostname; cat /proc/1/comm; echo user-$(id -u)\n");
    terminal.expect("/dev/pts/");
    terminal.expect("web");
    terminal.expect("guest-init");
    terminal.expect("user-0");
    terminal.type_in("exit\n");
    assert_eq!(terminal.end(), 0);
}

fn passes_the_window_size_on(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let mut terminal = Terminal::open(&guest.command("enter", [""; 0]));
    terminal.type_in("stty size\n");
    terminal.expect("24 80");
    terminal.resize(50, 132);
    // The change takes its way through two terminals.
    terminal
        .type_in("while [ \"$(stty size)\" != '50 132' ]; do sleep 0.1; done; echo resi''zed\n");
    terminal.expect("resized");
    terminal.type_in("exit\n");
    terminal.end();
}

fn ends_with_the_shells_exit_code(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let mut terminal = Terminal::open(&guest.command("enter", [""; 0]));
    terminal.type_in("exit 42\n");
    assert_eq!(terminal.end(), 42);
    let mut terminal = Terminal::open(&guest.command("enter", [""; 0]));
    terminal.type_in("kill -9 $$\n");
    assert_eq!(terminal.end(), 128 + 9);
}

fn has_job_control(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let mut terminal = Terminal::open(&guest.command("enter", [""; 0]));
    terminal.type_in("echo rea''dy; sleep 7654\n");
    terminal.expect("ready");
    guest.wait_for_process("sleep");
    terminal.type_in("\x1a");
    terminal.expect("Stopped");
    terminal.expect("sleep 7654");
    terminal.type_in("fg\n");
    terminal.expect("sleep 7654");
    // bash says so before it lets the job go on.
    let sleeper = guest.process("sleep").expect("it is only stopped");
    eventually(DEADLINE, "the job goes on", || (process::state(sleeper) == 'S').then_some(()));
    terminal.type_in("\x03");
    terminal.type_in("echo after''wards\n");
    terminal.expect("afterwards");
    assert!(guest.process("sleep").is_none(), "Ctrl-C ended it");
    terminal.type_in("exit\n");
    terminal.end();
}

fn dies_with_a_lost_terminal(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let mut terminal = Terminal::open(&guest.command("enter", [""; 0]));
    terminal.type_in("echo rea''dy; sleep 7655\n");
    terminal.expect("ready");
    guest.wait_for_process("sleep");
    terminal.hang_up();
    eventually(DEADLINE, "the session's processes have ended", || {
        let all = host.processes();
        (!all.iter().any(|process| process.arguments == ["sleep", "7655"])).then_some(())
    });
}

fn reboots_the_guest_it_is_in(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let old = guest.init_pid();
    let mut terminal = Terminal::open(&guest.command("enter", [""; 0]));
    terminal.type_in("echo rea''dy; reboot\n");
    terminal.expect("ready");
    guest.wait_for_reboot(old);
    terminal.end();
    guest.stop();
}

//! The guest's own tools, typed inside: each ends or restarts that guest.

use tests::{DEADLINE, Guest, Host, Tree, command, process};

/// Makes a test of a command line that reboots or ends a guest.
macro_rules! typed_inside {
    ($($name:ident: $after:ident [$($tree:ident)+] $words:expr;)+) => {
        $(
            #[allow(non_snake_case, reason = "the tests have names of trees")]
            mod $name {
                $(
                    #[test]
                    #[ignore = "root: boots guests"]
                    fn $tree() {
                        super::$after(tests::Tree::$tree, &$words);
                    }
                )+
            }
        )+
    };
}

typed_inside! {
    reboot: reboots [Bookworm Trixie Busybox] ["reboot"];
    shutdown_r_now: reboots [Bookworm Trixie] ["shutdown", "-r", "now"];
    telinit_6: reboots [Bookworm Trixie] ["telinit", "6"];
    init_6: reboots [Bookworm Trixie] ["init", "6"];
    poweroff: ends [Bookworm Trixie Busybox] ["poweroff"];
    halt: ends [Bookworm Trixie Busybox] ["halt"];
    shutdown_h_now: ends [Bookworm Trixie] ["shutdown", "-h", "now"];
    shutdown_h_p_now: ends [Bookworm Trixie] ["shutdown", "-hP", "now"];
    telinit_0: ends [Bookworm Trixie] ["telinit", "0"];
    init_0: ends [Bookworm Trixie] ["init", "0"];
}

on! { Bookworm, Trixie: [changes_its_runlevel, reads_its_inittab_again] }

fn reboots(tree: Tree, words: &[&str]) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let old = guest.init_pid();
    let supervisor = guest.status().supervisor_pid;
    // The shutdown may end this session before it can answer.
    guest.exec(words);
    let status = guest.wait_for_reboot(old);
    assert!(!process::is_alive(old), "the old PID 1 has ended");
    assert_eq!(status.supervisor_pid, supervisor, "the same supervisor starts it again");
    guest.stop();
}

fn ends(tree: Tree, words: &[&str]) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = tests::Census::after_a_boot(&guest);
    guest.start();
    guest.exec(words);
    guest.wait_until_stopped();
    guest.vserver("status", [""; 0]).code(3);
    before.assert_unchanged(&host);
    // It wasn't taken for a crash: it comes back only when asked.
    guest.start().stop();
}

fn changes_its_runlevel(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    guest.wait_for_process("cron");
    guest.exec(["telinit", "1"]).ok();
    tests::eventually(DEADLINE, "runlevel 1 has ended cron", || {
        guest.process("cron").is_none().then_some(())
    });
    // Its last script asks for S; a runlevel asked for before that would be undone by it.
    wait_for_runlevel(&guest, 'S');
    guest.exec(["telinit", "3"]).ok();
    guest.wait_for_process("cron");
    wait_for_runlevel(&guest, '3');
    guest.stop();
}

fn wait_for_runlevel(guest: &Guest<'_>, runlevel: char) {
    let what = format!("the guest is in runlevel {runlevel}");
    tests::eventually(DEADLINE, &what, || {
        guest.exec(["runlevel"]).stdout.trim_end().ends_with(runlevel).then_some(())
    });
}

fn reads_its_inittab_again(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    guest.shell("echo 'zz:2345:respawn:/bin/sleep 87654' >>/etc/inittab").ok();
    guest.exec(["telinit", "q"]).ok();
    guest.wait_for_process("sleep");
    guest.exec(["pkill", "-f", "sleep 87654"]).ok();
    guest.wait_for_process("sleep");
    let mut stop = guest.command("stop", ["--no-kill"]);
    command::run(&mut stop, DEADLINE).ok();
}

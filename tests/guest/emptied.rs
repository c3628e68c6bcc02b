//! Somebody has removed files from `/run` under a guest that runs.

use std::fs;
use std::os::unix::fs::FileTypeExt;

use tests::{Census, DEADLINE, Host, Tree, command, eventually, process};
use vserver::runtime::RunDir;

on! { Busybox: [
    a_guest_goes_on_when_its_run_directory_is_emptied,
    it_goes_on_if_no_supervisor_has_seen_it,
    it_has_one_supervisor_if_its_lock_is_removed,
] }

fn a_guest_goes_on_when_its_run_directory_is_emptied(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    guest.start();
    let status = guest.status();
    let directory = host.paths().run_dir().join("web");
    fs::remove_file(directory.join("control")).expect("it is there");
    let after = guest.status();
    assert_eq!((after.init_pid, after.supervisor_pid), (status.init_pid, status.supervisor_pid));
    guest.exec(["true"]).ok();

    fs::remove_dir_all(host.paths().run_dir()).expect("it is there");
    let after = guest.status();
    assert_eq!((after.init_pid, after.supervisor_pid), (status.init_pid, status.supervisor_pid));
    let control = fs::metadata(directory.join("control")).expect("it is there again");
    assert!(control.file_type().is_socket());
    guest.exec(["true"]).code(125).complains("restart it: vserver restart web");
    // The keeper is found again, also by the next supervisor.
    guest.kill_supervisor();
    let taken = guest.status();
    assert_eq!((taken.init_pid, taken.keeper_pid), (status.init_pid, status.keeper_pid));
    assert_ne!(taken.supervisor_pid, status.supervisor_pid);
    assert!(directory.join("console").exists());
    drop(std::os::unix::net::UnixStream::connect(directory.join("console")).expect("it listens"));
    guest.vserver("start", [""; 0]).ok();
    assert_eq!(guest.init_pid(), status.init_pid.expect("it runs"));
    let reboot = command::run(&mut guest.command("reboot", [""; 0]), DEADLINE);
    reboot.ok();
    guest.exec(["true"]).ok();
    guest.stop();
    before.assert_unchanged(&host);
}

/// Nobody finds its keeper any more.
fn it_goes_on_if_no_supervisor_has_seen_it(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    guest.start();
    let status = guest.status();
    guest.kill_supervisor();
    fs::remove_dir_all(host.paths().run_dir().join("web")).expect("it is there");
    // It is neither taken for one that is down, nor started beside itself.
    guest.vserver("start", [""; 0]).ok();
    let after = eventually(DEADLINE, "guest-init has told how far it is", || {
        let status = guest.status();
        (status.state == "running").then_some(status)
    });
    assert_eq!(after.init_pid, status.init_pid);
    let keeper = status.keeper_pid.expect("it had one");
    assert!(after.keeper_pid.is_some_and(|next| next != keeper && process::is_alive(next)));
    eventually(DEADLINE, "the first one has ended", || (!process::is_alive(keeper)).then_some(()));
    let style = host.vserver(["status", "web"]).ok().stdout;
    assert!(style.contains("busybox"), "it has been asked: {style}");
    guest.exec(["true"]).code(125).complains("restart it: vserver restart web");
    guest.vserver("reboot", [""; 0]).ok();
    guest.exec(["true"]).ok();
    guest.stop();
    before.assert_unchanged(&host);
}

/// Whoever would be its next one finds the first, and has it make its lock again.
fn it_has_one_supervisor_if_its_lock_is_removed(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    guest.start();
    let status = guest.status();
    let name = "web".parse().expect("a name");
    let lock = host.paths().supervisor_lock(&name);
    for verb in [["supervise", "--adopt", "web"].as_slice(), &["supervise", "web"]] {
        fs::remove_file(&lock).expect("it is there");
        host.vserver(verb).code(1).complains("guest 'web' has a supervisor already");
        eventually(DEADLINE, "its lock is there again", || {
            let holder = fs::read_to_string(&lock).ok()?.lines().next()?.parse().ok();
            (RunDir::new(host.paths(), &name).has_supervisor() && holder == status.supervisor_pid)
                .then_some(())
        });
        host.vserver(verb).code(1).complains("guest 'web' has a supervisor already");
        let after = guest.status();
        assert_eq!(
            [after.init_pid, after.keeper_pid, after.supervisor_pid],
            [status.init_pid, status.keeper_pid, status.supervisor_pid]
        );
        guest.exec(["true"]).ok();
    }
    // Also if nobody has told it.
    fs::remove_file(&lock).expect("it is there");
    guest.exec(["true"]).ok();
    assert_eq!(guest.status().supervisor_pid, status.supervisor_pid);
    guest.stop();
    before.assert_unchanged(&host);
}

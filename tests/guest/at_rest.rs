//! Commands at work with the files of a guest that is down, and a supervisor that
//! was started without them, as systemd does it: it boots the guest when they have
//! ended, as they have left it.

use std::fs;
use std::io::Read;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tests::{DEADLINE, Guest, Host, Tree, eventually, process, until_cut};
use vserver::runtime::Lock;

on! { Busybox: [
    a_supervisor_waits_for_who_reads_the_files,
    a_supervisor_waits_for_who_copies_into_the_guest,
    a_supervisor_that_waits_comes_before_the_next_command,
    a_supervisor_boots_what_was_put_in_the_place_of_the_files,
    a_supervisor_starts_nothing_that_is_being_moved,
    a_guest_whose_supervisor_is_on_its_way_is_not_at_rest,
] }

/// Longer than a supervisor takes to come.
const WHILE: Duration = Duration::from_millis(700);

fn supervise(host: &Host) -> Child {
    let mut command = host.command(["supervise", "web"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("it can be run")
}

/// It has its place, and nothing more; a command that misses its socket meanwhile does
/// it no harm.
#[track_caller]
fn waits(guest: &Guest<'_>, supervisor: &mut Child) {
    let name = "web".parse().expect("a name");
    let run = vserver::runtime::RunDir::new(guest.host().paths(), &name);
    let pid = i32::try_from(supervisor.id()).ok();
    eventually(DEADLINE, "it has its place", || (run.supervisor() == pid).then_some(()));
    kill_process(pid.and_then(Pid::from_raw).expect("a pid"), Signal::HUP).expect("it is there");
    thread::sleep(WHILE);
    assert!(supervisor.try_wait().expect("it is a child").is_none(), "it waits");
    assert!(!guest.is_running());
}

#[track_caller]
fn boots_and_stops(guest: &Guest<'_>, mut supervisor: Child) {
    eventually(DEADLINE, "it runs", || guest.is_running().then_some(()));
    let pid = guest.status().supervisor_pid;
    assert_eq!(pid, i32::try_from(supervisor.id()).ok());
    guest.stop();
    let end = eventually(DEADLINE, "it ends", || supervisor.try_wait().ok().flatten());
    assert!(end.success(), "{end}");
}

fn a_supervisor_waits_for_who_reads_the_files(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let before = tests::Census::after_a_boot(&web);
    // More than is in a pipe that nobody reads.
    let noise: Vec<u8> =
        (0..1_u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(web.root().join("srv/noise"), noise).expect("a file");
    let mut export = host.command(["export", "web", "-"]);
    export.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut export = export.spawn().expect("it can be run");
    let lock = host.paths().rest_lock(&"web".parse().expect("a name"));
    eventually(DEADLINE, "it is at work", || Lock::is_signed(&lock).then_some(()));

    let mut supervisor = supervise(&host);
    waits(&web, &mut supervisor);
    // One that is told to end while it waits leaves nothing.
    let pid = i32::try_from(supervisor.id()).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, Signal::TERM).expect("it can be signalled");
    eventually(DEADLINE, "it ends", || supervisor.try_wait().ok().flatten());
    let mut supervisor = supervise(&host);
    waits(&web, &mut supervisor);

    let mut archive = Vec::new();
    export.stdout.take().expect("a pipe").read_to_end(&mut archive).expect("all of it");
    assert!(export.wait().expect("it ends").success());
    assert!(archive.len() > 1 << 20, "{} bytes", archive.len());
    boots_and_stops(&web, supervisor);
    assert!(!lock.exists());
    before.assert_unchanged(&host);
}

fn a_supervisor_waits_for_who_copies_into_the_guest(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let many = host.prefix().join("many");
    fs::create_dir(&many).expect("it can be made");
    for number in 0..5000 {
        fs::write(many.join(number.to_string()), "v").expect("it can be written");
    }
    let lock = host.paths().rest_lock(&"web".parse().expect("a name"));
    let inside = web.root().join("srv");
    let mut at_work = None;
    until_cut(|| {
        let mut copy = host.command(["cp", &many.display().to_string(), "web:/srv"]);
        copy.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut copy = copy.spawn().expect("it can be run");
        let is_untouched = || fs::read_dir(&inside).expect("it is there").next().is_none();
        while copy.try_wait().expect("it is a child").is_none() && is_untouched() {}
        if copy.try_wait().expect("it is a child").is_none() {
            let pid = i32::try_from(copy.id()).expect("a pid");
            let raw = Pid::from_raw(pid).expect("a pid");
            kill_process(raw, Signal::STOP).expect("it can be signalled");
            eventually(DEADLINE, "it stands still, or has ended", || {
                ['T', 'Z'].contains(&process::state(pid)).then_some(())
            });
            if process::state(pid) == 'T' && Lock::is_signed(&lock) {
                at_work = Some((copy, raw));
                return true;
            }
            kill_process(raw, Signal::CONT).expect("it can be signalled");
        }
        assert!(copy.wait().expect("it ends").success());
        fs::remove_dir_all(inside.join("many")).expect("it was copied");
        false
    });
    let (mut copy, pid) = at_work.expect("it is at work");
    let mut supervisor = supervise(&host);
    waits(&web, &mut supervisor);
    kill_process(pid, Signal::CONT).expect("it can be signalled");
    assert!(copy.wait().expect("it ends").success());
    assert_eq!(fs::read_dir(web.root().join("srv/many")).expect("it is there").count(), 5000);
    boots_and_stops(&web, supervisor);
    assert!(!lock.exists());
}

/// That would hold it up, and wait for it.
fn a_supervisor_that_waits_comes_before_the_next_command(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let name = "web".parse().expect("a name");
    let file = host.prefix().join("file");
    fs::write(&file, "copied").expect("it can be written");
    let [lock, rest] = [host.paths().lock(&name), host.paths().rest_lock(&name)].map(|path| {
        let lock = Lock::wait(&path).expect("it can be locked");
        lock.sign();
        lock
    });
    let mut supervisor = supervise(&host);
    waits(&web, &mut supervisor);
    let mut copy = host.command(["cp", &file.display().to_string(), "web:/srv"]);
    let mut copy = copy.spawn().expect("it can be run");
    thread::sleep(WHILE);
    assert!(copy.try_wait().expect("it is a child").is_none(), "it waits");
    rest.remove(&host.paths().rest_lock(&name));
    drop(lock);
    assert!(copy.wait().expect("it ends").success());
    web.exec(["cat", "/srv/file"]).ok().says("copied");
    boots_and_stops(&web, supervisor);
}

/// What was planned before that is not what is booted.
fn a_supervisor_boots_what_was_put_in_the_place_of_the_files(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let name = "web".parse().expect("a name");
    let lock = Lock::wait(&host.paths().rest_lock(&name)).expect("it can be locked");
    lock.sign();
    let mut supervisor = supervise(&host);
    waits(&web, &mut supervisor);
    let (old, new) = (web.root(), host.paths().roots_dir().join("elsewhere"));
    fs::rename(&old, &new).expect("it can be moved");
    host.vserver(["config", "set", "web", "root", &new.display().to_string()]).ok();
    host.vserver(["config", "set", "web", "hostname", "other"]).ok();
    lock.remove(&host.paths().rest_lock(&name));
    eventually(DEADLINE, "it runs", || web.is_running().then_some(()));
    web.shell("hostname").ok().says("other\n");
    boots_and_stops(&web, supervisor);
}

fn a_supervisor_starts_nothing_that_is_being_moved(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let before = tests::Census::after_a_boot(&web);
    let path = host.paths().move_lock(&"web".parse().expect("a name"));
    let moving = Lock::wait(&path).expect("it can be locked");
    moving.sign();
    let refused = supervise(&host).wait_with_output().expect("it ends");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("guest 'web' is being moved to another host"), "{said}");
    assert!(!web.is_running());
    moving.remove(&path);
    before.assert_unchanged(&host);
    boots_and_stops(&web, supervise(&host));
}

fn a_guest_whose_supervisor_is_on_its_way_is_not_at_rest(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    // It has its place, and listens to nobody.
    let path = host.paths().supervisor_lock(&"web".parse().expect("a name"));
    let place = Lock::wait(&path).expect("it can be locked");
    place.sign();
    let file = host.prefix().join("web.tar").display().to_string();
    host.vserver(["export", "web", &file]).code(1).complains("guest 'web' is being started");
    host.vserver(["delete", "web", "--yes"]).code(1).complains("guest 'web' is being started");
    place.remove(&path);
    host.vserver(["export", "web", &file]).ok();
    web.start().stop();
}

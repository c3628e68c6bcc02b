//! `vserver move` of a guest that works on while its files are sent: what comes
//! out is what it was when it had stopped, or it is where it was.

use std::fs;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::same::{assert_holes, furnish};
use tests::{DEADLINE, Guest, Host, Tree, command, eventually};

use super::moving::Hosts;
use super::storage::{over, snapshot};

on! { Bookworm: [
    nothing_that_it_does_meanwhile_is_lost,
    nothing_is_lost_of_what_lies_over_a_base,
] }
on! { Busybox: [
    a_link_that_breaks_while_it_stops_changes_nothing,
    a_link_that_breaks_in_the_second_part_changes_nothing,
    what_is_changed_meanwhile_is_not_moved_half,
    what_cannot_be_seen_while_it_runs_is_stopped_first,
    one_that_is_stopped_first_comes_back_when_that_is_called_off,
    who_starts_it_meanwhile_is_refused,
] }

/// Changes files in all ways, for as long as it lives: appends to a log, replaces,
/// links and removes files, makes, renames and removes directories, punches holes,
/// sets attributes, and writes through mmap(2), into which read(2) writes.
const BUSY: &str = r#"
use strict; use Fcntl;
chdir "/srv/busy" or die; open(my $log, ">>", "log") or die; $log->autoflush;
sysopen(my $map, "map", O_RDWR|O_CREAT) or die; truncate($map, 1 << 20);
open(my $random, "<", "/dev/urandom") or die;
my $at = syscall(9, 0, 1 << 20, 3, 1, fileno($map), 0);
sub write_to { my ($name, $text) = @_; open(my $f, ">", $name) or return; print $f $text; }
for (my $n = 0; ; $n++) {
    print $log "line $n\n";
    syscall(0, fileno($random), $at + ($n * 4099) % ((1 << 20) - 64), 64);
    my $i = $n % 50;
    write_to("new", "version $n"); rename("new", "replaced$i");
    link("replaced$i", "linked$i"); unlink("linked" . (($i + 25) % 50));
    mkdir "dir$i"; write_to("dir$i/file", "in $n"); rename("dir$i", "moved$i");
    if ($i % 3 == 0) { unlink "moved$i/file"; rmdir "moved$i"; }
    if ($i % 7 == 0) { unlink "kind"; rmdir "kind"; symlink("log", "kind"); }
    if ($i % 7 == 3) { unlink "kind"; mkdir "kind"; }
    if ($i % 7 == 5) { rmdir "kind"; write_to("kind", "file"); }
    if (open(my $f, ">", "sparse")) { seek($f, ($i + 1) << 20, 0); print $f $n; }
    my ($name, $key, $value) = ("map", "user.count", "$n");
    syscall(188, $name, $key, $value, length $value, 0);
    chmod 0600 + $i, "replaced$i"; utime($n, $n, "replaced$i");
}
"#;

/// Says what it would have to do to make the second tree like the first, times of
/// directories included.
const RSYNC: &str = "rsync -aHAXn --numeric-ids --delete --checksum --itemize-changes";

fn differences(source: &Guest<'_>, copy: &Guest<'_>) -> String {
    let mut words = RSYNC.split_whitespace();
    let mut rsync = Command::new(words.next().unwrap_or_default());
    rsync.args(words).args([source, copy].map(|guest| format!("{}/", guest.root().display())));
    command::run(&mut rsync, DEADLINE).ok().stdout
}

fn lines(guest: &Guest<'_>) -> usize {
    guest.read("/srv/busy/log").lines().count()
}

/// Starts it, and has it work; how much it has done then.
fn goes_to_work(web: &Guest<'_>) -> usize {
    web.start();
    web.shell("mkdir /srv/busy && dd if=/dev/urandom of=/srv/large bs=1M count=50").ok();
    let write = format!("cat >/root/busy <<'END'\n{BUSY}\nEND");
    web.shell(&write).ok();
    web.shell("setsid perl /root/busy </dev/null >/root/said 2>&1 &").ok();
    let done = || web.shell("cat /srv/busy/log").stdout.lines().count();
    eventually(DEADLINE, "it works", || Some(done()).filter(|lines| *lines > 100))
}

fn nothing_that_it_does_meanwhile_is_lost(tree: Tree) {
    let hosts = Hosts::new();
    let web = hosts.here.guest("web").tree(tree).build();
    furnish(&web);
    let before = goes_to_work(&web);
    let said = hosts.go(&["web", "there", "--no-start"]).ok();
    assert!(said.stdout.contains("guest 'web' is on 'there'"), "{said}");
    let there = web.on(&hosts.there);
    assert!(!web.is_running() && !there.is_running());
    assert_eq!(differences(&web, &there), "");
    assert_holes(&web, &there);
    let log = there.read("/srv/busy/log");
    let expected: String = (0..lines(&web)).map(|line| format!("line {line}\n")).collect();
    assert!(log == expected && lines(&there) > before, "{} lines", lines(&there));
    assert_eq!(web.read("/root/said"), "");
    there.start();
    there.stop();
}

fn nothing_is_lost_of_what_lies_over_a_base(tree: Tree) {
    let hosts = Hosts::new();
    let (_golden, web) = over(&hosts.here, tree);
    goes_to_work(&web);
    // What is the base's, changed while it is read.
    let change = "cd /usr/share; while :; do for f in perl/*/*.p? perl/*/*/*.p?; do \
                  echo more >>$f; mv $f $f.old; mv $f.old $f; \
                  rm -rf bug; mkdir -p bug/new; touch bug/new/one; done; done";
    web.shell(&format!("setsid sh -c '{change}' </dev/null >/root/said 2>&1 &")).ok();
    let said = hosts.go(&["web", "there", "--no-start"]).ok();
    assert!(!said.stderr.contains("it is down while all"), "{said}");
    let there = web.on(&hosts.there);
    let (upper, base) = (web.root().join("upper"), snapshot(&hosts.here, "golden", "v1"));
    let from = hosts.here.prefix().join("merged");
    fs::create_dir(&from).expect("it can be made");
    // In a mount namespace of its own, with which the mount goes.
    let layers = format!("userxattr,lowerdir={}:{}", upper.display(), base.display());
    let compare = format!(
        "mount -t overlay overlay -o {layers} {from} && exec {RSYNC} {from}/ {to}/",
        from = from.display(),
        to = there.root().display()
    );
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-c", &compare]);
    assert_eq!(command::run(&mut shell, DEADLINE).ok().stdout, "");
    let log = there.read("/srv/busy/log");
    let expected: String = (0..log.lines().count()).map(|line| format!("line {line}\n")).collect();
    assert_eq!(log, expected);
    there.start();
    there.shell("tail -qn 1 /usr/share/perl/*/AnyDBM_File.pm | sort -u").ok().says("more\n");
    there.stop();
}

/// A guest whose shutdown waits for a file, and leaves something to be sent again
/// that no pipe has room for.
fn slow_to_stop<'a>(hosts: &'a Hosts, tree: Tree) -> Guest<'a> {
    let web = hosts.here.guest("web").tree(tree).build();
    let script = "#!/bin/sh\ntouch /stopping\nwhile [ ! -e /go ]; do sleep 0.1; done\n\
                  echo more >>/srv/large\n";
    web.write("/etc/init.d/rcK", script, 0o755);
    web.shell("dd if=/dev/urandom of=/srv/large bs=1M count=8").ok();
    web.start();
    web
}

/// Moves it until its shutdown waits.
fn move_until_it_stops(hosts: &Hosts, web: &Guest<'_>) -> Child {
    let moving = begin(hosts);
    eventually(DEADLINE, "it stops", || web.root().join("stopping").exists().then_some(()));
    moving
}

fn go_on(web: &Guest<'_>) {
    fs::write(web.root().join("go"), "").expect("it can be written");
}

fn begin(hosts: &Hosts) -> Child {
    let mut moving = hosts.command(&["web", "there"]);
    moving.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs")
}

/// To the import at the other side, with which the link ends.
fn signal(hosts: &Hosts, signal: Signal) {
    let pid = fs::read_to_string(hosts.ssh.join("pid")).expect("it is there");
    kill(Pid::from_raw(pid.trim().parse().expect("a number")), signal).expect("it lives");
}

/// It is where it was, booted again, and nowhere else.
#[track_caller]
fn assert_back(hosts: &Hosts, web: &Guest<'_>, moving: Child, init: i32) {
    let end = moving.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&end.stderr).into_owned();
    assert_eq!(end.status.code(), Some(1), "{said}");
    assert!(said.contains("the link to 'there' broke"), "{said}");
    assert!(said.contains("runs here again") && web.init_pid() != init, "{said}");
    hosts.there.vserver(["status", "web"]).code(5);
}

/// What the killed import has left goes with the next, and then it is there.
fn goes_then(hosts: &Hosts, web: &Guest<'_>) {
    hosts.go(&["web", "there", "--no-start"]).ok();
    let roots = fs::read_dir(hosts.there.paths().roots_dir()).expect("it is there");
    assert_eq!(roots.count(), 1);
    assert_eq!(differences(web, &web.on(&hosts.there)), "");
}

fn a_link_that_breaks_while_it_stops_changes_nothing(tree: Tree) {
    let hosts = Hosts::new();
    let web = slow_to_stop(&hosts, tree);
    let init = web.init_pid();
    let moving = move_until_it_stops(&hosts, &web);
    hosts.go(&["web", "there", "shop"]).code(1).complains("by another 'vserver move'");
    signal(&hosts, Signal::SIGKILL);
    go_on(&web);
    assert_back(&hosts, &web, moving, init);
    goes_then(&hosts, &web);
}

fn a_link_that_breaks_in_the_second_part_changes_nothing(tree: Tree) {
    let hosts = Hosts::new();
    let web = slow_to_stop(&hosts, tree);
    let init = web.init_pid();
    let moving = move_until_it_stops(&hosts, &web);
    // From now on nobody there reads.
    signal(&hosts, Signal::SIGSTOP);
    go_on(&web);
    web.wait_until_stopped();
    signal(&hosts, Signal::SIGKILL);
    assert_back(&hosts, &web, moving, init);
    goes_then(&hosts, &web);
}

fn what_is_changed_meanwhile_is_not_moved_half(tree: Tree) {
    let hosts = Hosts::new();
    let web = slow_to_stop(&hosts, tree);
    let moving = move_until_it_stops(&hosts, &web);
    // The other side has judged another one.
    hosts.here.vserver(["config", "set", "web", "description", "other"]).ok();
    hosts.here.vserver(["delete", "web", "--yes"]).code(1);
    go_on(&web);
    let end = moving.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&end.stderr).into_owned();
    assert!(said.contains("has been changed meanwhile"), "{said}");
    assert!(said.contains("runs here again") && web.is_running(), "{said}");
    hosts.assert_nothing_there();
    web.stop();
}

/// Starts one whose files nobody sees while it runs.
fn start_in_an_image(hosts: &Hosts, tree: Tree) {
    let archive = tree.archive().display().to_string();
    let image = ["--storage", "image", "--size", "64M"];
    let build = ["build", "web", "--method", "template", "--from", &archive];
    hosts.here.vserver([&build[..], &image].concat()).ok();
    hosts.here.vserver(["start", "web"]).ok();
}

fn what_cannot_be_seen_while_it_runs_is_stopped_first(tree: Tree) {
    let hosts = Hosts::new();
    start_in_an_image(&hosts, tree);
    hosts.here.vserver(["exec", "web", "--", "sh", "-c", "echo kept >/srv/kept"]).ok();
    let said = hosts.go(&["web", "there"]).ok();
    assert!(said.stderr.contains("it is down while all of it is sent"), "{said}");
    hosts.there.vserver(["exec", "web", "--", "cat", "/srv/kept"]).ok().says("kept\n");
    hosts.there.vserver(["stop", "web"]).ok();
}

fn one_that_is_stopped_first_comes_back_when_that_is_called_off(tree: Tree) {
    let hosts = Hosts::new();
    start_in_an_image(&hosts, tree);
    let inside = |script: &str| hosts.here.vserver(["exec", "web", "--", "sh", "-c", script]);
    let script = "touch /run/stopping; while [ ! -e /run/go ]; do sleep 0.1; done";
    inside(&format!("echo '{script}' >>/etc/init.d/rcK")).ok();
    let moving = begin(&hosts);
    eventually(DEADLINE, "it stops", || (inside("test -e /run/stopping").code == 0).then_some(()));
    let pid = i32::try_from(moving.id()).expect("a pid");
    kill(Pid::from_raw(pid), Signal::SIGINT).expect("it lives");
    inside("touch /run/go").ok();
    let end = moving.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&end.stderr).into_owned();
    assert_eq!(end.status.code(), Some(1), "{said}");
    assert!(said.contains("interrupted") && said.contains("runs here again"), "{said}");
    inside("test ! -e /run/stopping && touch /run/go").ok();
    hosts.assert_nothing_there();
    hosts.here.vserver(["stop", "web"]).ok();
}

/// Until it is known where it runs.
fn who_starts_it_meanwhile_is_refused(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let name = "web".parse().expect("a name");
    let path = host.paths().move_lock(&name);
    let moving = vserver::runtime::Lock::wait(&path).expect("it can be locked");
    // As long as its files are sent that is its own matter.
    guest.start().stop();
    moving.sign();
    guest.vserver("start", [""; 0]).code(1).complains("'web' is being moved to another host");
    moving.remove(&path);
    guest.start().stop();
}

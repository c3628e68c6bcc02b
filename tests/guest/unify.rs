//! Equal files of guests share blocks of the disk, and are as apart as before.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::same::differences;
use tests::{DEADLINE, Disk, Finished, Guest, Host, Tree, command, eventually};

use super::storage::{in_image, over};

on! { Busybox: [
    equal_files_share_blocks_on_btrfs,
    equal_files_share_blocks_on_xfs,
    only_named_guests_get_other_blocks_on_xfs,
    what_is_shared_on_btrfs_is_the_hosts_own,
    nobody_gets_more_of_an_extent_than_a_file_has,
    who_has_more_bytes_than_the_disk_is_not_read_to_the_end,
    a_guest_without_room_takes_part,
    what_is_excluded_keeps_its_blocks,
    what_a_guest_does_meanwhile_changes_no_other_file,
    an_interrupted_command_says_what_it_has_done,
    who_has_no_blocks_to_share_is_told_what_to_do,
] }

const MEGABYTE: usize = 1 << 20;

/// No whole number of blocks.
const LONG: usize = MEGABYTE + 5;

/// Bytes that are in no other file.
pub(super) fn bytes(seed: u8, length: usize) -> Vec<u8> {
    let byte = |at: usize| (at.wrapping_mul(2_654_435_761) >> 7) as u8 ^ seed;
    (0..length).map(byte).collect()
}

/// The pieces of the disk that a file lies in, by filefrag(8): where each
/// begins, and whether something else has it too.
pub(super) fn pieces(file: &Path) -> Vec<(u64, bool)> {
    command::run(Command::new("sync").arg("-f").arg(file), DEADLINE).ok();
    let shown = command::run(Command::new("filefrag").arg("-v").arg(file), DEADLINE).ok();
    // "  0:   0..  255:   3328..   3583:   256:   last,shared,eof".
    let piece = |line: &str| {
        let place = line.split(':').nth(2)?.split("..").next()?.trim().parse().ok()?;
        Some((place, line.rsplit(':').next()?.contains("shared")))
    };
    let found: Vec<_> = shown.stdout.lines().filter_map(piece).collect();
    assert!(!found.is_empty(), "{shown}");
    found
}

pub(super) fn is_shared(file: &Path) -> bool {
    pieces(file).iter().all(|(_, shared)| *shared)
}

pub(super) fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|cause| panic!("{cause}: {finished}"))
}

pub(super) fn of<'j>(outcome: &'j Value, guest: &str) -> &'j Value {
    let guests = outcome["guests"].as_array().expect("guests");
    guests.iter().find(|it| it["name"] == guest).expect("it is there")
}

/// Two guests whose files were written one by one.
fn two<'h>(host: &'h Host, tree: Tree) -> (Guest<'h>, Guest<'h>) {
    let guests = ["web", "shop"].map(|name| host.guest(name).tree(tree).build());
    for guest in &guests {
        fs::write(guest.root().join("srv/big"), bytes(1, LONG)).expect("room");
        fs::write(guest.root().join("srv/odd\nname \x1b[2J"), bytes(2, MEGABYTE)).expect("room");
        fs::write(guest.root().join("srv/own"), bytes(guest.name().len() as u8, MEGABYTE))
            .expect("room");
    }
    let [web, shop] = guests;
    (web, shop)
}

fn equal_files_share_blocks_on_btrfs(tree: Tree) {
    let host = Host::new();
    let disk = Disk::btrfs(&host, 512);
    equal_files_share_blocks(&host, tree);
    drop(disk);
}

fn equal_files_share_blocks_on_xfs(tree: Tree) {
    let host = Host::new();
    let disk = Disk::xfs(&host, 512);
    equal_files_share_blocks(&host, tree);
    drop(disk);
}

fn equal_files_share_blocks(host: &Host, tree: Tree) {
    let (web, shop) = two(host, tree);
    let (ours, theirs) = (web.root().join("srv/big"), shop.root().join("srv/big"));
    // More than is done at a time.
    let longer = bytes(3, 17 * MEGABYTE + 5);
    for guest in [&web, &shop] {
        fs::write(guest.root().join("srv/longer"), &longer).expect("room");
    }
    let odd = shop.root().join("srv/odd\nname \x1b[2J");
    // Nothing but bytes has to be equal.
    web.shell("chown 1000:1000 /srv/big; chmod 4711 /srv/big; ln /srv/big /srv/twice; touch -d 2001-01-01 /srv/big").ok();
    web.start();
    let before = host.prefix().join("before");
    let mut copy = Command::new("cp");
    command::run(copy.args(["-a", "--reflink=never"]).arg(web.root()).arg(&before), DEADLINE).ok();
    let stat = fs::metadata(&ours).expect("it is there");

    let would = host.vserver(["unify", "--all", "--dry-run"]).ok();
    assert!(would.stdout.contains("would share blocks"), "{would}");
    assert!(!is_shared(&ours) && !is_shared(&theirs), "a dry run has changed something");

    let done = json(&host.vserver(["unify", "--all", "--json"]).ok());
    let saved = done["saved_bytes"].as_u64().expect("a number");
    assert!(saved >= 19 * MEGABYTE as u64, "{done}");
    assert!(done["shared_files"].as_u64() >= Some(2), "{done}");
    assert_eq!(done["interrupted"], false);
    for name in ["srv/big", "srv/longer"] {
        assert_eq!(pieces(&web.root().join(name)), pieces(&shop.root().join(name)));
    }
    assert!(is_shared(&ours) && is_shared(&odd));
    assert!(!is_shared(&web.root().join("srv/own")));
    let now = fs::metadata(&ours).expect("it is there");
    let of = |stat: &fs::Metadata| (stat.ino(), stat.mtime(), stat.ctime(), stat.nlink());
    assert_eq!(of(&stat), of(&now));
    let same = differences(&before, &web.root());
    let run_time =
        |path: &String| ["run/", "dev/", "var/", "tmp/"].iter().any(|it| path.starts_with(it));
    assert_eq!(same.iter().filter(|path| !run_time(path)).collect::<Vec<_>>(), [""; 0]);

    // Again, there is nothing left to do.
    let again = json(&host.vserver(["unify", "--all", "--json"]).ok());
    assert_eq!((&again["shared_files"], &again["saved_bytes"]), (&0.into(), &0.into()), "{again}");
    assert!(again["guests"][0]["already_files"].as_u64() >= Some(2), "{again}");

    // Each writes to its own: a part, all of it, another in its place.
    web.shell("printf X | dd of=/srv/big bs=1 seek=5000 conv=notrunc").ok();
    web.shell("echo new >/srv/new; mv /srv/new '/srv/odd\nname \x1b[2J'").ok();
    shop.start();
    shop.shell("cat /srv/big >/srv/copy; : >'/srv/own'; mv /srv/copy /srv/own").ok();
    assert_eq!(fs::read(&theirs).expect("it is there"), bytes(1, LONG));
    assert_eq!(fs::read(&odd).expect("it is there"), bytes(2, MEGABYTE));
    let mut changed = bytes(1, LONG);
    changed[5000] = b'X';
    assert!(fs::read(&ours).expect("it is there") == changed, "it isn't what was written");
    for guest in [&web, &shop] {
        guest.vserver("stop", ["--timeout", "1"]);
    }
}

fn only_named_guests_get_other_blocks_on_xfs(tree: Tree) {
    let host = Host::new();
    let disk = Disk::xfs(&host, 512);
    let (web, shop) = two(&host, tree);
    let (ours, theirs) = (web.root().join("srv/big"), shop.root().join("srv/big"));
    let before = pieces(&theirs);
    let done = json(&web.vserver("unify", ["--json"]).ok());
    assert_eq!(done["guests"].as_array().map(Vec::len), Some(1), "{done}");
    let places = |pieces: &[(u64, bool)]| pieces.iter().map(|(at, _)| *at).collect::<Vec<_>>();
    assert_eq!(places(&pieces(&theirs)), places(&before));
    assert_eq!(places(&pieces(&ours)), places(&before));
    // The old word order, and the old verb.
    host.vserver(["shop", "hashify"]).ok();
    drop(disk);
}

fn what_is_shared_on_btrfs_is_the_hosts_own(tree: Tree) {
    let host = Host::new();
    let disk = Disk::btrfs(&host, 512);
    let (web, shop) = two(&host, tree);
    let (ours, theirs) = (web.root().join("srv/big"), shop.root().join("srv/big"));
    let before = [pieces(&ours), pieces(&theirs)];
    host.vserver(["unify", "web", "--dry-run"]).ok();
    assert_eq!([pieces(&ours), pieces(&theirs)], before);
    let done = json(&web.vserver("unify", ["--json"]).ok());
    assert_eq!(done["guests"].as_array().map(Vec::len), Some(1), "{done}");
    assert_eq!(pieces(&ours), pieces(&theirs));
    let place = |pieces: &[(u64, bool)]| pieces[0].0;
    let now = place(&pieces(&ours));
    assert!(before.iter().all(|it| place(it) != now), "a guest's blocks were lent");
    assert_eq!(fs::read(&theirs).expect("it is there"), bytes(1, LONG));
    // What one guest has twice is its own.
    let lone = bytes(9, MEGABYTE);
    for at in ["srv/x", "srv/y"] {
        fs::write(shop.root().join(at), &lone).expect("room");
    }
    let [x, y] = ["srv/x", "srv/y"].map(|at| shop.root().join(at));
    let before = [place(&pieces(&x)), place(&pieces(&y))];
    host.vserver(["unify", "--all"]).ok();
    assert_eq!(pieces(&x), pieces(&y));
    assert!(before.contains(&place(&pieces(&x))));
    assert_eq!(fs::read_dir(disk.path()).expect("it is there").count(), 2, "something is left");
    drop(disk);
}

fn btrfs(words: &[&str], path: &Path) -> String {
    let mut btrfs = Command::new("btrfs");
    command::run(btrfs.args(words).arg(path), DEADLINE).ok().stdout
}

/// What a subvolume refers to, by btrfs(8).
fn referenced(path: &Path) -> u64 {
    let shown = btrfs(&["qgroup", "show", "--raw", "-f", "--sync"], path);
    let row = shown.lines().last().unwrap_or_default();
    row.split_whitespace().nth(1).and_then(|it| it.parse().ok()).expect("a number")
}

fn in_use(disk: &Disk) -> u64 {
    btrfs(&["filesystem", "sync"], disk.path());
    let stat = nix::sys::statvfs::statvfs(disk.path()).expect("it is there");
    (stat.blocks() - stat.blocks_free()) * stat.fragment_size()
}

/// A small file that is what remains of an extent of 100 MB.
fn nobody_gets_more_of_an_extent_than_a_file_has(tree: Tree) {
    const HUGE: u64 = 100 * MEGABYTE as u64;
    let host = Host::new();
    let disk = Disk::btrfs(&host, 1024);
    btrfs(&["quota", "enable"], disk.path());
    btrfs(&["quota", "rescan", "-w"], disk.path());
    let guests = ["bad", "web", "shop"].map(|name| host.guest(name).tree(tree).build());
    let [bad, web, shop] = &guests;
    let small = bytes(4, 8192);
    for guest in [web, shop] {
        fs::write(guest.root().join("srv/small"), &small).expect("room");
    }
    let mut huge = bytes(4, HUGE as usize);
    huge[..small.len()].copy_from_slice(&small);
    // Several, in the same blocks: most files have them.
    fs::write(bad.root().join("srv/small"), &huge).expect("room");
    btrfs(&["filesystem", "sync"], disk.path());
    let small_of = |guest: &Guest<'_>| guest.root().join("srv/small");
    let file = fs::File::options().write(true).open(small_of(bad)).expect("it is there");
    file.set_len(small.len() as u64).expect("it is ours");
    for number in 0..4 {
        let mut copy = Command::new("cp");
        let to = bad.root().join(format!("srv/{number}"));
        command::run(copy.arg("--reflink=always").arg(small_of(bad)).arg(to), DEADLINE).ok();
    }
    let before = in_use(&disk);
    let charged = [referenced(&web.root()), referenced(&shop.root())];
    host.vserver(["unify", "--all"]).ok();
    assert_eq!(pieces(&small_of(web)), pieces(&small_of(bad)));
    for (guest, before) in [web, shop].into_iter().zip(charged) {
        let now = referenced(&guest.root());
        assert!(now < before + HUGE / 4, "{}: {before}, and now {now}", guest.name());
    }
    // Whatever was in the huge extent has gone, and nobody else keeps it.
    for name in ["small", "0", "1", "2", "3"] {
        fs::remove_file(bad.root().join("srv").join(name)).expect("it is there");
    }
    // What nobody has is given back by a thread of the kernel.
    eventually(DEADLINE, &format!("less is in use than {before}"), || {
        (in_use(&disk) + HUGE * 3 / 4 < before).then_some(())
    });
    for guest in [web, shop] {
        assert_eq!(fs::read(small_of(guest)).expect("it is there"), small);
    }
    drop(disk);
}

/// Files of far more bytes than the disk has, none of them a hole.
fn who_has_more_bytes_than_the_disk_is_not_read_to_the_end(tree: Tree) {
    let host = Host::new();
    let disk = Disk::btrfs(&host, 512);
    let (web, shop) = two(&host, tree);
    for name in ["x", "y"] {
        let file = shop.root().join("srv").join(name);
        fs::write(&file, bytes(name.as_bytes()[0], MEGABYTE)).expect("room");
        let mut grow = Command::new("xfs_io");
        let mut length = MEGABYTE;
        while length < 4096 * MEGABYTE {
            grow.arg("-c").arg(format!("reflink {} 0 {length} {length}", file.display()));
            length *= 2;
        }
        command::run(grow.arg(&file), DEADLINE).ok();
        let stat = fs::metadata(&file).expect("it is there");
        assert_eq!((stat.len(), stat.blocks() * 512), (length as u64, length as u64));
    }
    let done = host.vserver(["unify", "--all", "--json"]).ok();
    let done = done.complains("longer than all that is on their file system");
    let told = json(&done);
    assert_eq!(of(&told, "shop")["left_files"], 2, "{told}");
    assert_eq!(
        (&of(&told, "web")["left_files"], &of(&told, "web")["skipped"]),
        (&0.into(), &Value::Null)
    );
    assert_eq!(pieces(&web.root().join("srv/big")), pieces(&shop.root().join("srv/big")));
    drop(disk);
}

fn a_guest_without_room_takes_part(tree: Tree) {
    let host = Host::new();
    let disk = Disk::btrfs(&host, 512);
    btrfs(&["quota", "enable"], disk.path());
    btrfs(&["quota", "rescan", "-w"], disk.path());
    // The full one is the first of its file system.
    let (web, shop) = two(&host, tree);
    btrfs(&["qgroup", "limit", "1M"], &web.root());
    let told = json(&host.vserver(["unify", "web", "shop", "--json"]).ok());
    assert!(of(&told, "web")["skipped"].is_null(), "{told}");
    assert!(of(&told, "shop")["skipped"].is_null(), "{told}");
    let left = |name: &str| of(&told, name)["left_files"].as_u64().expect("a number");
    assert_eq!(left("web"), 3, "busybox and two in /srv: {told}");
    assert_eq!(left("shop"), 0, "{told}");
    // Once it has room again, there is nothing in the way.
    let id = btrfs(&["inspect-internal", "rootid"], &web.root());
    btrfs(&["qgroup", "limit", "none", &format!("0/{}", id.trim())], disk.path());
    let told = json(&host.vserver(["unify", "web", "shop", "--json"]).ok());
    assert!(told["saved_bytes"].as_u64() >= Some(2 * MEGABYTE as u64), "{told}");
    drop((shop, disk));
}

fn what_is_excluded_keeps_its_blocks(tree: Tree) {
    let host = Host::new();
    let disk = Disk::btrfs(&host, 512);
    let (web, shop) = two(&host, tree);
    let big = web.root().join("srv/big");
    host.vserver(["unify", "--all", "--exclude", "a**"]).code(2).complains("no pattern");
    host.vserver(["unify", "--all", "--exclude", "/srv"]).ok();
    assert!(!is_shared(&big) && is_shared(&web.root().join("bin/busybox")));
    host.vserver(["config", "set", "web", "unify.exclude", "/srv/b*"]).ok();
    host.vserver(["unify", "--all"]).ok();
    assert!(!is_shared(&big) && is_shared(&web.root().join("srv/odd\nname \x1b[2J")));
    host.vserver(["unify", "--all", "--minimum", "30M", "--exclude", "+/srv/big"]).ok();
    assert!(!is_shared(&big));
    host.vserver(["unify", "--all", "--exclude", "+/srv/big"]).ok();
    assert!(is_shared(&big) && is_shared(&shop.root().join("srv/big")));
    host.vserver(["config", "set", "web", "unify.exclude", "["]).code(1).complains("no pattern");
    drop(disk);
}

/// Links out of the root, files that become others, that grow, that are none:
/// at worst something isn't shared.
fn what_a_guest_does_meanwhile_changes_no_other_file(tree: Tree) {
    let host = Host::new();
    let disk = Disk::btrfs(&host, 1024);
    let (web, shop) = two(&host, tree);
    // Beside the roots, where no guest has anything.
    let secret = disk.path().join("secret");
    fs::create_dir(&secret).expect("it can be made");
    fs::write(secret.join("big"), bytes(1, LONG)).expect("room");
    let before = pieces(&secret.join("big"));
    let outside = secret.display();
    for guest in [&web, &shop] {
        guest.start();
        guest
            .shell(&format!(
                "mkdir -p /srv/real /srv/a; cp /srv/big /srv/real/big; cp /srv/big /srv/a/big
                 ln -s {outside} /srv/out; ln -s ../../../secret /srv/up; ln -s {outside}/big /srv/file
                 mkfifo /srv/fifo; ln /srv/big /srv/hard
                 i=0; at=/srv/deep; while [ $i -lt 50 ]; do at=$at/d; i=$((i+1)); done; mkdir -p $at; cp /srv/odd* $at
                 (while :; do mv /srv/real /srv/moved; ln -s {outside} /srv/real; rm /srv/real; mv /srv/moved /srv/real; done) >/dev/null 2>&1 &
                 (while :; do rm -f /srv/a/big; mkfifo /srv/a/big; rm -f /srv/a/big; ln -s {outside}/big /srv/a/big
                  rm -f /srv/a/big; cp /srv/big /srv/a/big; done) >/dev/null 2>&1 &
                 (while :; do echo more >>/srv/grows; cp /srv/own /srv/changes; printf x | dd of=/srv/changes bs=1 seek=9 conv=notrunc
                  : >/srv/grows; done) >/dev/null 2>&1 &"
            ))
            .ok();
    }
    for _ in 0..5 {
        host.vserver(["unify", "--all"]).ok();
    }
    for guest in [&web, &shop] {
        guest.vserver("stop", ["--timeout", "1"]);
        let big = fs::read(guest.root().join("srv/big")).expect("it is there");
        assert!(big == bytes(1, LONG), "{}: it has changed", guest.name());
        let own = fs::read(guest.root().join("srv/own")).expect("it is there");
        assert!(own == bytes(guest.name().len() as u8, MEGABYTE), "{}", guest.name());
    }
    assert_eq!(pieces(&secret.join("big")), before, "a file that is no guest's has taken part");
    assert!(is_shared(&web.root().join("srv/big")));
    // One that can't be read to its end keeps no other back.
    let deep = "cd /srv; i=0; while [ $i -lt 1100 ]; do mkdir d; cd d; i=$((i+1)); done";
    web.shell(deep).ok();
    let lone = bytes(9, MEGABYTE);
    for at in ["srv/x", "srv/y"] {
        fs::write(shop.root().join(at), &lone).expect("room");
    }
    let failed = host.vserver(["unify", "--all"]).code(1);
    failed.complains("not all of its files can be looked at");
    assert!(is_shared(&shop.root().join("srv/x")));
    drop(disk);
}

fn an_interrupted_command_says_what_it_has_done(tree: Tree) {
    const FILES: usize = 600;
    let host = Host::new();
    let disk = Disk::btrfs(&host, 1024);
    let (web, shop) = two(&host, tree);
    // One that ends before it hears of it is tried again, on other files.
    let is_interrupted = (0..10).any(|seed| interrupt(&web, &shop, seed, FILES));
    assert!(is_interrupted, "it is always done before");
    drop(disk);
}

/// Files of two guests, and an interrupt while they are looked at; false if it
/// comes too late.
fn interrupt(web: &Guest<'_>, shop: &Guest<'_>, seed: u8, files: usize) -> bool {
    let host = web.host();
    let every = bytes(seed, 64 * 1024);
    let content = |number: usize| {
        let mut content = every.clone();
        content[..8].copy_from_slice(&(number as u64).to_le_bytes());
        content
    };
    for guest in [web, shop] {
        for number in 0..files {
            let path = guest.root().join(format!("srv/{number}"));
            fs::write(path, content(number)).expect("room");
        }
    }
    let mut unify = host.command(["unify", "--all", "--json"]);
    let mut unify = unify.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let pid = unify.id();
    let has_ended = eventually(DEADLINE, "signals are heeded, or it has ended", || {
        if unify.try_wait().expect("it is ours").is_some() {
            return Some(true);
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        caught.filter(|mask| mask & (1 << (Signal::SIGINT as u64 - 1)) != 0).map(|_| false)
    });
    if !has_ended {
        kill(Pid::from_raw(pid.try_into().expect("a pid")), Signal::SIGINT).expect("it is there");
    }
    let (mut said, mut complaint) = (String::new(), String::new());
    unify.stdout.take().expect("a pipe").read_to_string(&mut said).expect("text");
    unify.stderr.take().expect("a pipe").read_to_string(&mut complaint).expect("text");
    let code = unify.wait().expect("it ends").code();
    if code == Some(0) {
        return false;
    }
    assert_eq!(code, Some(1), "{complaint}");
    assert!(complaint.contains("interrupted"), "{complaint}");
    let said: Value = serde_json::from_str(&said).expect(&said);
    assert_eq!(said["interrupted"], true);
    assert!(said["shared_files"].as_u64() < Some(files as u64), "{said}");
    let first = said["shared_files"].as_u64().expect("a number");
    let rest = json(&host.vserver(["unify", "--all", "--json"]).ok());
    let second = rest["shared_files"].as_u64().expect("a number");
    assert!(first + second >= files as u64, "{said} {rest}");
    for guest in [web, shop] {
        for number in 0..files {
            let path = guest.root().join(format!("srv/{number}"));
            assert!(fs::read(&path).expect("it is there") == content(number), "{path:?}");
        }
    }
    assert!(is_shared(&web.root().join("srv/0")) && is_shared(&shop.root().join("srv/599")));
    true
}

fn who_has_no_blocks_to_share_is_told_what_to_do(tree: Tree) {
    let host = Host::new();
    let disk = Disk::new(&host, 512, &["mkfs.ext4", "-q"], "loop");
    let (golden, web) = over(&host, tree);
    let before = fs::metadata(golden.root().join("bin/busybox")).expect("it is there");
    let told = host.vserver(["unify", "golden"]).code(1);
    let told = told.complains("can't share blocks");
    told.complains("--storage overlay");
    host.vserver(["unify", "golden", "--dry-run"]).code(1);
    let after = fs::metadata(golden.root().join("bin/busybox")).expect("it is there");
    assert_eq!((before.nlink(), before.ino()), (after.nlink(), after.ino()));
    web.vserver("unify", [""; 0]).ok().complains("lies over a base");
    drop(disk);
    let host = Host::new();
    let disk = Disk::btrfs(&host, 512);
    let image = in_image(&host, tree);
    image.vserver("unify", [""; 0]).ok().complains("in an image");
    let all = json(&host.vserver(["unify", "--all", "--json"]).ok());
    assert!(of(&all, "web")["skipped"].is_string(), "{all}");
    assert!(of(&all, "golden")["skipped"].is_null(), "{all}");
    drop(disk);
}

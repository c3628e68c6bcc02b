//! `vserver cp` against a guest whose root does everything to have it read or
//! write what is the host's, or to have it hang.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use tests::{DEADLINE, Guest, Host, Tree, command, eventually, executable};

use crate::cp::{cp, leftovers, place};

on! { Busybox: [
    no_link_leads_out,
    no_link_leads_into_what_the_host_keeps_for_itself,
    directories_that_change_places_with_links_lead_nowhere,
    a_destination_that_moves_is_never_the_hosts,
    devices_fifos_and_sockets_hold_nothing_up,
    what_chattr_forbids_is_not_done_by_halves,
    a_file_that_grows_comes_to_an_end,
] }

const MODES: [&str; 2] = ["private", "host"];

/// The attacker, built with these tests.
const ATTACKER: &str = env!("CARGO_BIN_EXE_attacker");

/// A directory of the host's that no guest may reach, with a secret.
fn outside(host: &Host) -> PathBuf {
    let outside = host.prefix().join("outside");
    fs::create_dir_all(&outside).expect("it can be made");
    fs::write(outside.join("secret"), "the host's").expect("it can be written");
    outside
}

/// Is the host's directory as it was?
#[track_caller]
fn assert_untouched(outside: &Path) {
    let names: Vec<_> = fs::read_dir(outside).expect("it is there").flatten().collect();
    assert!(names.len() == 1, "somebody was in it: {names:?}");
    assert_eq!(fs::read(outside.join("secret")).expect("it is there"), b"the host's");
}

/// Through a mount that the guest itself can only read.
fn no_link_leads_into_what_the_host_keeps_for_itself(tree: Tree) {
    let host = Host::new();
    let outside = outside(&host);
    let mounts = format!("{}:/mnt:noidmap", outside.display());
    let web = host.guest("web").tree(tree).set("mounts.bind", &mounts).build();
    fs::write(place(&host).join("secret"), "mine").expect("it can be written");
    web.start();
    web.shell("ln -s /mnt /srv/app; ! touch /mnt/x; mkdir /srv/own").ok();
    for target in ["web:/srv/app/", "web:/srv/app/secret", "web:/mnt"] {
        cp(&host, ["secret", target]).code(1).complains("belongs to nobody in the guest");
    }
    assert_untouched(&outside);
    cp(&host, ["secret", "web:/srv/own/"]).ok();
    assert_eq!(web.read("/srv/own/secret"), "mine");
    web.stop();
}

fn no_link_leads_out(tree: Tree) {
    for mode in MODES {
        let host = Host::new();
        let web = host.guest("web").tree(tree).set("security.users", mode).build();
        let outside = outside(&host);
        fs::write(place(&host).join("mine"), "mine").expect("it can be written");
        let up = "../".repeat(40);
        let absolute = outside.display();
        let links = format!(
            "mkdir -p /srv; ln -s {absolute} /srv/a; ln -s {up}{absolute} /srv/b
             ln -s {absolute}/secret /srv/c; ln -s /proc/self/root/{absolute} /srv/d; ln -s / /srv/e"
        );
        web.shell(&links).ok();
        for is_running in [false, true] {
            if is_running {
                web.start();
            }
            for link in ["a", "b", "d"] {
                for (from, to) in [
                    (format!("web:/srv/{link}/secret"), "stolen".to_owned()),
                    (format!("web:/srv/{link}/"), "stolen".to_owned()),
                    (format!("web:/srv/{link}/."), "stolen".to_owned()),
                    ("mine".to_owned(), format!("web:/srv/{link}/")),
                    ("mine".to_owned(), format!("web:/srv/{link}/secret")),
                ] {
                    cp(&host, [&from, &to]).code(1);
                }
            }
            let dots = format!("web:/{up}{absolute}/secret");
            cp(&host, [dots.as_str(), "stolen"]).code(1);
            // What is a link comes out as one, and in the place of one.
            cp(&host, ["web:/srv/c", "link"]).ok();
            assert!(place(&host).join("link").is_symlink());
            fs::remove_file(place(&host).join("link")).expect("it is there");
            cp(&host, ["mine", "web:/srv/c"]).ok();
            cp(&host, ["mine", "web:/srv/e/srv/e/mine"]).ok();
            web.shell("cat /srv/c /mine; rm /srv/c /mine").ok().says("minemine");
            web.shell(&format!("ln -s {absolute}/secret /srv/c")).ok();
            assert!(!place(&host).join("stolen").exists(), "{mode}");
            assert_untouched(&outside);
        }
        web.stop();
    }
}

/// Has the guest's root exchange two names for a while.
fn swapping(web: &Guest<'_>, one: &str, other: &str) -> Child {
    let seconds = SWAPPED.as_secs().to_string();
    let mut swap = web.command("exec", ["--", "/attacker", "swap", one, other, &seconds]);
    swap.stdout(Stdio::null()).spawn().expect("it runs")
}

const SWAPPED: Duration = Duration::from_secs(8);

fn with_attacker(web: &Guest<'_>) {
    executable::copy(ATTACKER, web.root().join("attacker"));
    web.start();
}

fn directories_that_change_places_with_links_lead_nowhere(tree: Tree) {
    for mode in MODES {
        let host = Host::new();
        let web = host.guest("web").tree(tree).set("security.users", mode).build();
        let outside = outside(&host);
        with_attacker(&web);
        // The link leads to the same names on the host, and in the guest nowhere.
        let make = format!(
            "set -e; mkdir -p /srv/t/d/deep; echo -n inside >/srv/t/d/secret
             echo -n inside >/srv/t/d/deep/secret; ln -s {} /srv/t/l",
            outside.display()
        );
        web.shell(&make).ok();
        let mut swap = swapping(&web, "/srv/t/d", "/srv/t/l");
        let (mut round, mut whole, end) = (0, 0, Instant::now() + SWAPPED);
        while Instant::now() < end {
            round += 1;
            let to = format!("out-{round}");
            // By its name, through it, and with all around it.
            for (from, inside) in [
                ("web:/srv/t/d", "secret"),
                ("web:/srv/t/d/secret", ""),
                ("web:/srv/t", "d/secret"),
            ] {
                let answer = cp(&host, ["-a", from, &to]);
                let copy = place(&host).join(&to);
                match fs::read_to_string(copy.join(inside).components().as_path()) {
                    // A link that came over as one, or nothing.
                    _ if copy.is_symlink() || copy.join("d").is_symlink() => {}
                    Ok(text) => {
                        assert_eq!(text, "inside", "{mode}: {answer}");
                        whole += 1;
                    }
                    Err(_) => {}
                }
                let _ = fs::remove_file(&copy);
                let _ = fs::remove_dir_all(&copy);
            }
        }
        swap.wait().expect("it ends");
        assert!(whole > 0, "{mode}: in {round} rounds nothing was ever copied");
        assert_untouched(&outside);
        assert_eq!(leftovers(&place(&host)), [""; 0].map(PathBuf::from));
        web.stop();
    }
}

fn a_destination_that_moves_is_never_the_hosts(tree: Tree) {
    for mode in MODES {
        let host = Host::new();
        let web = host.guest("web").tree(tree).set("security.users", mode).build();
        let outside = outside(&host);
        with_attacker(&web);
        let make = format!("mkdir -p /srv/t/d/e; ln -s {} /srv/t/l", outside.display());
        web.shell(&make).ok();
        fs::create_dir_all(place(&host).join("d/e")).expect("it can be made");
        for file in ["d/secret", "d/e/secret", "secret"] {
            fs::write(place(&host).join(file), "mine").expect("it can be written");
        }
        let mut swap = swapping(&web, "/srv/t/d", "/srv/t/l");
        let (mut rounds, mut whole, end) = (0, 0, Instant::now() + SWAPPED);
        while Instant::now() < end {
            for (from, to) in [
                ("secret", "web:/srv/t/d/"),
                ("d/.", "web:/srv/t/d"),
                ("d", "web:/srv/t"),
                ("secret", "web:/srv/t/d/e/secret"),
            ] {
                rounds += 1;
                whole += u32::from(cp(&host, [from, to]).code == 0);
            }
        }
        swap.wait().expect("it ends");
        assert!(whole > 0, "{mode}: in {rounds} rounds nothing was ever copied");
        assert_untouched(&outside);
        // In place of the link, which is one still or has gone, lies nothing else.
        web.shell("find / -xdev -name '.vserver-cp-*' | grep .").code(1);
        web.stop();
    }
}

fn devices_fifos_and_sockets_hold_nothing_up(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let odd = web.root().join("srv/odd");
    fs::create_dir_all(&odd).expect("it can be made");
    for (name, kind) in [("zero", SFlag::S_IFCHR), ("disk", SFlag::S_IFBLK)] {
        mknod(&odd.join(name), kind, Mode::S_IRUSR, makedev(1, 5)).expect("it can be made");
    }
    let _socket = UnixListener::bind(odd.join("socket")).expect("it can be made");
    web.shell("mkfifo /srv/odd/fifo; echo x >/srv/odd/file").ok();
    for is_running in [false, true] {
        if is_running {
            web.start();
        }
        let out = cp(&host, ["web:/srv/odd", "out"]).ok();
        assert!(out.took < Duration::from_secs(30), "{out}");
        out.clone().complains("sockets are left out: 'socket'");
        out.complains("device nodes are left out: 'disk', 'zero'");
        let names = |directory: &str| {
            let entries = fs::read_dir(place(&host).join(directory)).expect("it is there");
            let mut names: Vec<_> = entries
                .flatten()
                .map(|e| e.file_name().into_string().expect("it is text"))
                .collect();
            names.sort();
            names
        };
        assert_eq!(names("out"), ["fifo", "file"]);
        cp(&host, ["-a", "web:/srv/odd", "all"]).ok();
        assert_eq!(names("all"), ["disk", "fifo", "file", "zero"]);
        // In, never.
        cp(&host, ["-a", "all", "web:/srv/back"]).ok().complains("device nodes are left out");
        web.shell("ls /srv/back; rm -r /srv/back").ok().says("fifo\nfile\n");
        // By its name.
        cp(&host, ["web:/srv/odd/fifo", "fifo"]).ok();
        let named =
            cp(&host, ["web:/srv/odd/zero", "web:/srv/odd/file", "web:/srv/odd/socket", "."]);
        let named = named.code(1).complains("device nodes are left out: 'zero'");
        named.complains("nothing is copied of 'web:/srv/odd/zero', 'web:/srv/odd/socket'");
        assert!(!place(&host).join("zero").exists());
        fs::remove_file(place(&host).join("file")).expect("the rest is copied");
        for directory in ["out", "all"] {
            fs::remove_dir_all(place(&host).join(directory)).expect("it is there");
        }
    }
    web.stop();
}

fn a_file_that_grows_comes_to_an_end(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    web.start();
    web.shell("(while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done >>/srv/log) &").ok();
    let log = web.root().join("srv/log");
    eventually(DEADLINE, "it grows", || {
        fs::metadata(&log).ok().filter(|meta| meta.len() > 1 << 16)
    });
    // And names come and go.
    web.shell("(while :; do touch /srv/a /srv/b; rm /srv/a /srv/b; done) &").ok();
    for _ in 0..20 {
        cp(&host, ["web:/srv", "out"]).ok();
        fs::remove_dir_all(place(&host).join("out")).expect("it is there");
        // Or it would be the longer the busier the machine is.
        let log = fs::File::options().write(true).open(&log).expect("it is there");
        log.set_len(0).expect("it is a file");
    }
    web.vserver("stop", ["--timeout", "1"]);
}

/// Nothing could be tidied up in a directory that is append-only.
fn what_chattr_forbids_is_not_done_by_halves(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let srv = web.root().join("srv");
    fs::create_dir(srv.join("log")).expect("it can be made");
    for path in [srv.join("fixed"), place(&host).join("new")] {
        fs::write(path, "x").expect("it can be written");
    }
    let chattr = |signs: [&str; 2]| {
        for (sign, name) in signs.into_iter().zip(["log", "fixed"]) {
            command::run(Command::new("chattr").arg(sign).arg(srv.join(name)), DEADLINE).ok();
        }
    };
    chattr(["+a", "+i"]);
    cp(&host, ["new", "web:/srv/log"]).code(1).complains("is append-only");
    cp(&host, ["new", "web:/srv/fixed"]).code(4).complains("Operation not permitted");
    let names = |directory: &Path| fs::read_dir(directory).expect("it is there").count();
    assert_eq!((names(&srv.join("log")), names(&srv)), (0, 2));
    chattr(["-a", "-i"]);
}

//! Links in a guest's files, in place of what the host opens or mounts on
//! (CVE-2021-30465, CVE-2019-14271 and their like).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tests::{DEADLINE, command};

use crate::case::Users;
use crate::scene::Scene;

/// What is mounted on at a start.
const MOUNT_POINTS: [&str; 4] = ["proc", "sys", "dev", "run"];

/// A directory of the host's, with a file in it.
fn outside(scene: &Scene) -> PathBuf {
    let directory = scene.host.prefix().join("outside");
    let _ = fs::create_dir(&directory);
    fs::write(directory.join("witness"), "here").expect("a file can be made");
    directory
}

/// Nothing was mounted on it or made in it.
#[track_caller]
fn assert_untouched(scene: &Scene, outside: &Path, what: &str) {
    let names: Vec<_> = fs::read_dir(outside).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(names, ["witness"], "{what}: the directory outside");
    assert!(scene.host.mounts().iter().all(|line| !line.contains("/outside ")), "{what}: a mount");
}

#[test]
#[ignore = "root: boots guests"]
fn in_place_of_mount_points_lead_nowhere() {
    for users in Users::ALL {
        let scene = Scene::new();
        let outside = outside(&scene);
        for point in MOUNT_POINTS {
            let guest = scene.host.guest(&format!("link-{point}"));
            let guest = guest.set("security.users", users.name()).build();
            let place = guest.root().join(point);
            fs::remove_dir_all(&place).expect("it is an empty directory");
            symlink(&outside, &place).expect("a link can be made");
            let what = format!("'{point}' with {} ids", users.name());
            let answer = guest.vserver("start", [""; 0]);
            assert_eq!(answer.code, 1, "{what}\n{answer}");
            assert_untouched(&scene, &outside, &what);
        }
        mounts_by_path_follow_them(
            &outside,
            &scene.host.prefix().join("var/lib/vservers/link-dev/dev"),
        );
    }
}

/// The control: a mount by the path goes outside.
fn mounts_by_path_follow_them(outside: &Path, place: &Path) {
    const LINE: &str = "mount -t tmpfs none \"$0\" && mountpoint -q \"$1\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "/bin/sh", "-c", LINE]).args([place, outside]);
    command::run(&mut command, DEADLINE).ok();
}

/// The race of CVE-2021-30465: now a directory, now a link.
#[test]
#[ignore = "root: boots guests"]
fn that_come_and_go_during_a_start_lead_nowhere() {
    let scene = Scene::new();
    let outside = outside(&scene);
    let guest = scene.host.guest("race").set("security.users", "host").build();
    let (place, other) = (guest.root().join("dev"), guest.root().join("other"));
    symlink(&outside, &other).expect("a link can be made");
    let over = AtomicBool::new(false);
    let mut started = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            let here = rustix::fs::CWD;
            while !over.load(Ordering::Relaxed) {
                let _ = rustix::fs::renameat_with(here, &place, here, &other, flags);
                thread::yield_now();
            }
        });
        for _ in 0..10 {
            started += i32::from(guest.vserver("start", [""; 0]).code == 0);
            guest.vserver("stop", ["--timeout", "1"]);
        }
        over.store(true, Ordering::Relaxed);
    });
    println!("{started} of 10 starts met a directory");
    assert_untouched(&scene, &outside, "the race");
}

/// What the host might read or write for a running guest.
#[test]
#[ignore = "root: boots guests"]
fn in_place_of_records_lead_nowhere() {
    const LINE: &str = "for file in /run/initctl /run/utmp /var/log/wtmp /dev/log /run/runlevel \
                        /etc/inittab; do rm -f $file; ln -s \"$0\" $file; done";
    for users in Users::ALL {
        let scene = Scene::new();
        let guest = scene.guest(users, &[]);
        let canary = scene.canary().to_string_lossy().into_owned();
        let run = |words: &[&str]| command::run(&mut scene.host.command(words), DEADLINE);
        run(&["exec", &guest, "--", "/bin/sh", "-c", LINE, &canary]).ok();
        // The control: by its path on the host such a link leads there.
        let by_path = fs::read_to_string(scene.root_of(&guest).join("var/log/wtmp"));
        assert_eq!(by_path.ok().as_deref(), Some(crate::scene::SECRET));
        run(&["exec", &guest, "--", "telinit", "q"]);
        let status = run(&["status", &guest]);
        let logs = run(&["logs", &guest]);
        run(&["reboot", &guest]);
        run(&["stop", &guest, "--timeout", "1"]).ok();
        for answer in [&status, &logs] {
            assert!(!answer.stdout.contains(crate::scene::SECRET), "{answer}");
        }
        scene.assert_untouched();
    }
}

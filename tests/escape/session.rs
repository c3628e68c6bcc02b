//! Guests that wait for whoever enters: with processes that watch /proc, and
//! with programs and files in the places that a session looks at.

use std::fs;
use std::process::{Child, Stdio};

use tests::terminal::Terminal;
use tests::{DEADLINE, command, eventually};

use crate::case::Users;
use crate::scene::{SECRET, Scene};

/// A process inside that watches who comes in, until it is called off.
struct Ambush {
    child: Child,
    over: std::path::PathBuf,
}

impl Ambush {
    fn lay(scene: &Scene, guest: &str, kind: &str) -> Self {
        let directory = scene.root_of(guest).join("tmp");
        let over = directory.join("ambush-over");
        let ready = directory.join("attacker-was-here");
        let _ = fs::remove_file(&over);
        let _ = fs::remove_file(&ready);
        let mut command = scene.host.command(["exec", guest, "--", "/attacker", "ambush", kind]);
        command.arg(scene.canary()).arg(SECRET).stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.spawn().expect("vserver can be run");
        eventually(DEADLINE, "the ambush is laid", || ready.exists().then_some(()));
        Self { child, over }
    }

    /// Its exit code and what it says.
    fn end(self) -> (i32, String) {
        fs::write(&self.over, "").expect("a file of the guest can be made");
        let output = self.child.wait_with_output().expect("a child can be waited for");
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// CVE-2019-5736: nothing of who enters is to be
/// had, also by interpreters that are the entering program itself.
#[test]
#[ignore = "root: boots guests"]
fn who_enters_is_not_ambushed() {
    for users in Users::ALL {
        let scene = Scene::new();
        let guest = scene.guest(users, &[]);
        scene.shell(&guest, "echo '#!/proc/self/exe' >/loop; chmod 0755 /loop").ok();
        let program = fs::read(tests::host::program()).expect("the program can be read");
        for kind in ["all", "program"] {
            let ambush = Ambush::lay(&scene, &guest, kind);
            for _ in 0..15 {
                for words in [&["/bin/true"][..], &["/loop", "exec"], &["/no/such/program"]] {
                    let mut exec = scene.host.command(["exec", &guest, "--"]);
                    command::run(exec.args(words).env("SECRET", SECRET), DEADLINE);
                }
            }
            let mut terminal = Terminal::open(&scene.host.command(["enter", &guest]));
            terminal.type_in("exit\n");
            terminal.end();
            let (code, says) = ambush.end();
            println!("{} ({kind}): {}", users.name(), says.trim());
            assert_eq!(code, 1, "{}, {kind}: {says}", users.name());
        }
        assert!(program == fs::read(tests::host::program()).unwrap(), "the program has changed");
        scene.assert_untouched();
    }
}

/// The control: whoever enters with a program of the host's loses it.
#[test]
#[ignore = "root: boots guests"]
fn who_enters_naively_is_ambushed() {
    for kind in ["all", "program"] {
        let scene = Scene::new();
        let guest = scene.guest(Users::Host, &[]);
        let init = scene.init_of(&guest);
        let ambush = Ambush::lay(&scene, &guest, kind);
        scene.on_host(&["enter-naively", &init]).ok();
        if kind == "program" {
            eventually(DEADLINE, "the program of the host is overwritten", || {
                (fs::metadata(scene.attacker()).unwrap().len() == 0).then_some(())
            });
        }
        let (code, says) = ambush.end();
        assert_eq!(code, 0, "{kind}: {says}");
    }
}

/// CVE-2024-21626, CVE-2016-9962: descriptors, current directory and
/// environment of the caller, and a shell that looks for them.
#[test]
#[ignore = "root: boots guests"]
fn nothing_of_the_callers_goes_in() {
    for users in Users::ALL {
        let scene = Scene::new();
        let guest = scene.guest(users, &[]);
        // The login shell is the attacker itself.
        scene
            .shell(
                &guest,
                "mkdir /evil; cp /attacker /evil/sh; \
             echo 'root:x:0:0:root:/root:/evil/sh' >/etc/passwd",
            )
            .ok();
        let program = tests::host::program();
        let line = |verb: &str| {
            format!(
                "exec 9</ 10>/dev/null; export SECRET_OF_THE_CALLER=1; exec '{}' {verb}",
                program.display()
            )
        };
        let exec = line(&format!("exec {guest} -- /attacker session"));
        let answer = command::run(&mut scene.host_shell(&exec), DEADLINE);
        println!("{}: {}", users.name(), answer.stdout.trim());
        assert_eq!(answer.code, 1, "{} ids\n{answer}", users.name());
        let leaked =
            line(&format!("exec {guest} -- /attacker descriptors '{}'", scene.canary().display()));
        let answer = command::run(&mut scene.host_shell(&leaked), DEADLINE);
        assert_eq!(answer.code, 1, "{} ids\n{answer}", users.name());
        let mut terminal = Terminal::open(&scene.host_shell(&line(&format!("enter {guest}"))));
        assert_eq!(terminal.end(), 1, "{} ids: {}", users.name(), terminal.seen());
        assert!(terminal.seen().contains("nothing of the host's"), "{}", terminal.seen());
    }
    // The control: a chroot with a descriptor left open.
    Scene::new().in_chroot(&["session"]).ok();
}

/// Files that never open or never end, in the places where programs look for
/// libraries, users and terminals.
#[test]
#[ignore = "root: boots guests"]
fn traps_hold_nobody_up() {
    const TRAPS: &str = "mkdir -p /lib /lib64 /etc/pam.d /lib/x86_64-linux-gnu /usr/lib/locale; \
        for file in /etc/nsswitch.conf /etc/ld.so.preload /etc/ld.so.cache /etc/localtime \
        /etc/environment /etc/group /etc/shadow /etc/login.defs /etc/hosts /etc/resolv.conf \
        /etc/pam.d/su /lib64/ld-linux-x86-64.so.2 /lib/x86_64-linux-gnu/libc.so.6 \
        /lib/x86_64-linux-gnu/libnss_files.so.2 /usr/lib/locale/locale-archive /dev/ptmx /dev/log \
        /run/initctl /run/utmp /var/log/wtmp /var/log/lastlog; do rm -rf $file; mkfifo $file; done; \
        rm -f /etc/passwd; ln -s /dev/zero /etc/passwd";
    for users in Users::ALL {
        let scene = Scene::new();
        let guest = scene.guest(users, &[]);
        scene.shell(&guest, TRAPS).ok();
        // The control: whoever opens one waits.
        assert_ne!(scene.shell(&guest, "timeout 0.3 cat /etc/nsswitch.conf").code, 0);
        scene.shell(&guest, "true").ok();
        let run = |words: &[&str]| command::run(&mut scene.host.command(words), DEADLINE);
        run(&["suexec", "1000", &guest, "--", "/bin/true"]).ok();
        run(&["suexec", "user", &guest, "--", "/bin/true"]).code(125);
        run(&["status", &guest]).ok();
        // What the shell itself would read for ever is the guest's business.
        scene.shell(&guest, "rm -f /etc/passwd").ok();
        let mut terminal = Terminal::open(&scene.host.command(["enter", &guest]));
        terminal.type_in("exit 7\n");
        assert_eq!(terminal.end(), 7, "{}", terminal.seen());
        run(&["stop", &guest, "--timeout", "1"]).ok();
        scene.assert_nothing_runs();
    }
}

/// The program loads nothing of a guest's: it has no interpreter and no
/// dynamic section (elf(5)).
#[test]
#[ignore = "root: tests the release build"]
fn the_program_that_enters_loads_no_library() {
    const DYNAMIC: u32 = 2;
    const INTERPRETER: u32 = 3;
    let kinds = |path: &std::path::Path| -> Vec<u32> {
        let bytes = fs::read(path).expect("a program can be read");
        let number = |at: usize, size: usize| {
            bytes[at..at + size]
                .iter()
                .rev()
                .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte))
        };
        let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
        (0..count).map(|n| number(start + n * size, 4) as u32).collect()
    };
    let own = kinds(&tests::host::program());
    assert!(!own.contains(&DYNAMIC) && !own.contains(&INTERPRETER), "{own:?}");
    // The control: an ordinary program.
    let usual = kinds(std::path::Path::new("/bin/true"));
    assert!(usual.contains(&DYNAMIC) && usual.contains(&INTERPRETER), "{usual:?}");
}

/// A guest's own shutdown script, and processes that mind no signal.
#[test]
#[ignore = "root: boots guests"]
fn who_stops_a_guest_is_not_attacked() {
    for users in Users::ALL {
        let scene = Scene::new();
        let guest = scene.guest(users, &[]);
        let canary = scene.canary().display().to_string();
        let script = format!(
            "printf '#!/bin/sh\\n/attacker descriptors {canary} >/var/log/verdict\\n\
             /attacker session >>/var/log/verdict\\n' >/etc/init.d/rcK; \
             (trap '' TERM HUP INT QUIT USR1 USR2; while :; do sleep 1000; done) >/dev/null 2>&1 & \
             kill -STOP $!"
        );
        scene.shell(&guest, &script).ok();
        let mut stop = scene.host.command(["stop", &guest, "--timeout", "5"]);
        command::run(&mut stop, DEADLINE).ok();
        let verdict = fs::read_to_string(scene.root_of(&guest).join("var/log/verdict"));
        let verdict = verdict.expect("the shutdown script has run");
        let lines: Vec<_> = verdict.lines().collect();
        assert!(
            lines.len() == 2 && lines.iter().all(|line| line.starts_with("refused")),
            "{verdict}"
        );
        scene.assert_nothing_runs();
        scene.assert_untouched();
    }
}

//! Guests that take as much as they get: the host and other guests go on.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tests::{DEADLINE, command};

use crate::case::Users;
use crate::scene::Scene;

/// A bomb that has gone off, and holds what it took while this value lives.
struct Bomb {
    child: Child,
    /// What it says it holds, and why no more.
    says: String,
}

impl Bomb {
    fn light(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the attacker can be run");
        let mut says = String::new();
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let _ = BufReader::new(stdout).read_line(&mut says);
        Self { child, says }
    }

    fn inside(scene: &Scene, guest: &str, attempt: &[&str]) -> Self {
        let mut command = scene.host.command(["exec", guest, "--", "/attacker"]);
        Self::light(command.args(attempt))
    }

    fn held(&self) -> u32 {
        let number = self.says.strip_prefix("holding ").and_then(|rest| rest.split(':').next());
        number
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("it said {:?}", self.says))
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Instances of inotify are counted for the owner of a user namespace, and
/// for its parents' owners (user_namespaces(7)). A guest with the host's ids
/// has none of its own: it shares them with the host's root.
#[test]
#[ignore = "root: boots guests"]
fn inotify_instances_of_others_are_left() {
    for users in [Users::Private, Users::Identity] {
        let scene = Scene::new();
        let (first, second) = (scene.guest(users, &[]), scene.guest(users, &["masks"]));
        let bomb = Bomb::inside(&scene, &first, &["inotify"]);
        println!("{}: the first guest: {}", users.name(), bomb.says.trim());
        let other = Bomb::inside(&scene, &second, &["inotify"]);
        println!("{}: the second guest: {}", users.name(), other.says.trim());
        let host = Bomb::light(Command::new(scene.attacker()).arg("inotify"));
        println!("{}: the host: {}", users.name(), host.says.trim());
        assert!(
            bomb.held() >= 64 && other.held() >= 64,
            "{}: each guest has its own",
            users.name()
        );
        assert!(host.held() >= 16, "{}: and so has the host", users.name());
    }
}

/// The control: with the host's ids nothing is left for others.
#[test]
#[ignore = "root: boots guests"]
fn inotify_instances_are_shared_with_host_ids() {
    let scene = Scene::new();
    let guest = scene.guest(Users::Host, &[]);
    let bomb = Bomb::inside(&scene, &guest, &["inotify"]);
    let host = Bomb::light(Command::new(scene.attacker()).arg("inotify"));
    assert!(bomb.held() > 0 && host.held() == 0, "{} {}", bomb.says, host.says);
}

/// The limit of one process ends it, not the machine's: EMFILE, not ENFILE.
#[test]
#[ignore = "root: boots guests"]
fn open_files_of_others_are_left() {
    for users in Users::ALL {
        let scene = Scene::new();
        let guest = scene.guest(users, &[]);
        let bomb = Bomb::inside(&scene, &guest, &["open-files"]);
        println!("{}: {}", users.name(), bomb.says.trim());
        assert!(bomb.says.contains("(os error 24)"), "{}: {}", users.name(), bomb.says);
        scene.shell(&guest, "cat /etc/passwd").ok();
        std::fs::read(scene.canary()).expect("the host opens files");
    }
}

/// How many processes a guest may have is a limit of its cgroup's. Also
/// without one the host goes on, gets in and ends it all. The bomb is one of
/// a size that no machine minds.
#[test]
#[ignore = "root: boots guests"]
fn a_bomb_of_processes_can_be_entered_and_stopped() {
    const SIZE: usize = 1500;
    for users in Users::ALL {
        let scene = Scene::new();
        let guest = scene.guest(users, &[]);
        let bomb = Bomb::inside(&scene, &guest, &["fork", &SIZE.to_string()]);
        println!("{}: {}", users.name(), bomb.says.trim());
        let inside = || scene.host.processes().len();
        assert!(inside() > SIZE / 2, "{}: the bomb has gone off", users.name());
        command::run(&mut Command::new("true"), DEADLINE).ok();
        scene.shell(&guest, "true").ok();
        let mut stop = scene.host.command(["stop", &guest, "--timeout", "2"]);
        let stopped = command::run(&mut stop, DEADLINE).ok();
        println!("{}: stopped in {:.1} s", users.name(), stopped.took.as_secs_f64());
        drop(bomb);
        scene.assert_nothing_runs();
    }
}

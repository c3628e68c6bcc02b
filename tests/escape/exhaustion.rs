//! Guests that take as much as they get: the host and other guests go on.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use tests::terminal::Terminal;
use tests::{DEADLINE, command, machine};

use crate::case::Users;
use crate::scene::Scene;

/// What isn't bounded in a mode, and why. Processes are where cgroup v2 can
/// count them.
const UNBOUNDED: [(&str, Users, &str); 3] = [
    (
        "processes",
        Users::Identity,
        "the guest's root is uid 0 of the host too, whom the kernel never refuses a process; \
         the guest's other users together have 8192",
    ),
    (
        "processes",
        Users::Host,
        "the kernel counts root's processes of the whole machine, and doesn't bound them",
    ),
    (
        "inotify instances",
        Users::Host,
        "they are counted for a user of a user namespace: without one of its own the guest \
         shares them with the host's users of the same number",
    ),
];

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

/// Whoever takes all that the host's root has is alone with them meanwhile.
static INOTIFY: Mutex<()> = Mutex::new(());

/// Instances of inotify are counted for the owner of a user namespace, and
/// for its parents' owners (user_namespaces(7)). A guest with the host's ids
/// has none of its own: it shares them with the host's root.
#[test]
#[ignore = "root: boots guests"]
fn inotify_instances_of_others_are_left() {
    let _alone = INOTIFY.lock().unwrap_or_else(PoisonError::into_inner);
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
    let _alone = INOTIFY.lock().unwrap_or_else(PoisonError::into_inner);
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

/// All but the host's own devpts share 3,072 pseudo-terminals, so a guest has
/// fewer.
#[test]
#[ignore = "root: boots guests"]
fn terminals_of_others_are_left() {
    for users in Users::ALL {
        let scene = Scene::new();
        let (first, second) = (scene.guest(users, &[]), scene.guest(users, &["masks"]));
        let bomb = Bomb::inside(&scene, &first, &["terminals", "600"]);
        println!("{}: the first guest: {}", users.name(), bomb.says.trim());
        // The console is one, and a session may be another.
        assert!((500..512).contains(&bomb.held()), "{}: {}", users.name(), bomb.says);
        assert!(bomb.says.contains("(os error 28)"), "{}: {}", users.name(), bomb.says);
        let mut terminal = Terminal::open(&scene.host.command(["enter", &second]));
        terminal.type_in("exit 7\n");
        assert_eq!(terminal.end(), 7, "{}", terminal.seen());
        // Who has none left can be looked after without one, and is told so.
        let mut terminal = Terminal::open(&scene.host.command(["enter", &first]));
        assert_eq!(terminal.end(), 1, "{}", terminal.seen());
        terminal.expect("has all the terminals that it may have");
        scene.shell(&first, "true").ok();
    }
    // The control: a devpts as it is mounted without that.
    let line = "mount -t devpts -o ptmxmode=0666 devpts /dev/pts && exec \"$0\" terminals 600";
    let scene = Scene::new();
    let mut plain = Command::new("unshare");
    plain.args(["--mount", "/bin/sh", "-c", line]).arg(scene.attacker());
    let bomb = Bomb::light(&mut plain);
    assert_eq!(bomb.held(), 600, "{}", bomb.says);
}

/// How many processes a guest may have by its documented limits (README,
/// "Resource limits"): of all its users together, whatever it raises inside.
const PROCESSES: u32 = 8192;

/// And by its cgroup, where that can count them.
const COUNTED: u32 = 8000;

/// Has this host's cgroup v2 the `pids` controller for cgroups made in it?
fn is_counted() -> bool {
    let enabled = machine::cgroup_root().join("cgroup.subtree_control");
    let enabled = std::fs::read_to_string(enabled).unwrap_or_default();
    enabled.split_whitespace().any(|name| name == "pids")
}

/// A bomb that is stopped at the limit, or one of a size that no machine minds.
fn size(users: Users) -> u32 {
    let is_bounded = UNBOUNDED.iter().all(|(what, mode, _)| *what != "processes" || *mode != users);
    if is_bounded || is_counted() { PROCESSES + 1000 } else { 1500 }
}

/// The host goes on, and ends it all.
#[test]
#[ignore = "root: boots guests"]
fn a_bomb_of_processes_is_bounded_and_can_be_stopped() {
    for users in Users::ALL {
        let scene = Scene::new();
        let guest = scene.guest(users, &[]);
        let size = size(users);
        let bomb = Bomb::inside(&scene, &guest, &["fork", &size.to_string()]);
        println!("{}: {}", users.name(), bomb.says.trim());
        if size > PROCESSES {
            assert_stopped_at_the_limit(&bomb);
            if is_counted() {
                scene.shell(&guest, "true").ok();
            }
        } else {
            // The control: nothing counts these. And a guest that isn't at its
            // limit can be entered.
            assert_eq!(bomb.held(), size, "{}: {}", users.name(), bomb.says);
            scene.shell(&guest, "true").ok();
        }
        command::run(&mut Command::new("true"), DEADLINE).ok();
        let mut stop = scene.host.command(["stop", &guest, "--timeout", "2"]);
        let stopped = command::run(&mut stop, DEADLINE).ok();
        println!("{}: stopped in {:.1} s", users.name(), stopped.took.as_secs_f64());
        drop(bomb);
        scene.assert_nothing_runs();
    }
}

/// Users of a guest whose root nobody counts.
#[test]
#[ignore = "root: boots guests"]
fn a_bomb_of_an_ordinary_user_is_bounded_with_identity_ids() {
    let scene = Scene::new();
    let guest = scene.guest(Users::Identity, &[]);
    let mut command = scene.host.command(["suexec", "user", &guest, "--", "/attacker"]);
    let bomb = Bomb::light(command.args(["fork", &(PROCESSES + 1000).to_string()]));
    assert_stopped_at_the_limit(&bomb);
    scene.shell(&guest, "true").ok();
    command::run(&mut scene.host.command(["stop", &guest, "--timeout", "2"]), DEADLINE).ok();
    drop(bomb);
    scene.assert_nothing_runs();
}

#[track_caller]
fn assert_stopped_at_the_limit(bomb: &Bomb) {
    let most = if is_counted() { COUNTED } else { PROCESSES };
    let few_less = most - 100..most;
    assert!(few_less.contains(&bomb.held()), "{}", bomb.says);
    assert!(bomb.says.contains("(os error 11)"), "{}", bomb.says);
}

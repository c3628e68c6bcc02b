//! The administrator's terminal: what runs inside can't type on it, nor write
//! to it when its session is over.

use tests::terminal::Terminal;

use crate::case::Users;
use crate::scene::Scene;

/// A shell of the administrator's that runs this, and then reads a line.
fn then_read(scene: &Scene, line: &str) -> String {
    let after = "; read -r -t 1 typed; echo \"read-\"\"[$typed]\"; echo o\"\"ver";
    let mut terminal = Terminal::open(&scene.host_shell(&format!("{line}{after}")));
    terminal.expect("over");
    terminal.end();
    terminal.seen().to_owned()
}

/// Commands of the administrator's, as words of a shell.
fn commands(guest: &str) -> [(&'static str, String); 3] {
    let program = tests::host::program();
    let vserver = program.display();
    [
        ("exec", format!("'{vserver}' exec {guest} -- /attacker type typed-inside")),
        ("enter", format!("'{vserver}' enter {guest}")),
        ("suexec", format!("'{vserver}' suexec user {guest} -- /attacker type typed-inside")),
    ]
}

#[test]
#[ignore = "root: boots guests"]
fn is_not_typed_on_from_inside() {
    for users in Users::ALL {
        let scene = Scene::new();
        // Without the filter, which refuses TIOCSTI: the terminal inside is
        // another one anyway.
        for without in [&[][..], &["system-calls", "capabilities"]] {
            let guest = scene.guest(users, without);
            scene
                .shell(
                    &guest,
                    "mkdir -p /root; echo '/attacker type typed-inside; exit' >/root/.profile",
                )
                .ok();
            for (what, line) in commands(&guest) {
                let seen = then_read(&scene, &line);
                assert!(seen.contains("read-[]"), "{what}, {} ids: {seen}", users.name());
            }
        }
    }
}

/// The control: in a mere chroot it is.
#[test]
#[ignore = "root: boots guests"]
fn is_typed_on_from_a_chroot() {
    let scene = Scene::new();
    let root = scene.plain_root().display().to_string();
    let seen = then_read(&scene, &format!("chroot '{root}' /attacker type typed-inside"));
    assert!(seen.contains("read-[typed-inside]"), "{seen}");
}

#[test]
#[ignore = "root: boots guests"]
fn is_not_written_to_after_a_session() {
    for users in Users::ALL {
        let scene = Scene::new();
        let guest = scene.guest(users, &[]);
        let program = tests::host::program();
        let line = format!("'{}' exec {guest} -- /attacker linger lin-gers", program.display());
        let after = after_a_session(&scene, &line);
        assert!(!after.contains("lin-gers"), "{} ids: {after}", users.name());
    }
    // The control.
    let scene = Scene::new();
    let root = scene.plain_root().display().to_string();
    let line = format!("chroot '{root}' /attacker linger lin-gers; echo session-\"\"is-over; read");
    let mut terminal = Terminal::open(&scene.host_shell(&line));
    terminal.expect("session-is-over");
    terminal.expect("lin-gers");
    terminal.type_in("\n");
    terminal.end();
}

/// What appears on the terminal in the second after this command.
fn after_a_session(scene: &Scene, line: &str) -> String {
    let seen = then_read(scene, &format!("{line}; echo session-\"\"is-over"));
    seen.split_once("session-is-over").map_or(String::new(), |(_, rest)| rest.to_owned())
}

/// What root reads from its terminal inside after `su` to a user who types
/// on it.
fn read_after_su(scene: &Scene, guest: &str) -> String {
    const LINE: &str = "su user -c '/attacker type typed-by-user'; read -r -t 1 typed; \
                        echo \"read-\"\"[$typed]\"; echo o\"\"ver";
    let command = scene.host.command(["exec", guest, "--", "/bin/sh", "-c", LINE]);
    let mut terminal = Terminal::open(&command);
    terminal.expect("over");
    terminal.end();
    terminal.seen().to_owned()
}

/// CVE-2016-7545, within a guest: its terminals are for its filter to guard.
#[test]
#[ignore = "root: boots guests"]
fn is_not_typed_on_by_a_user_after_su() {
    for users in Users::ALL {
        let scene = Scene::new();
        let seen = read_after_su(&scene, &scene.guest(users, &[]));
        assert!(seen.contains("read-[]"), "{} ids: {seen}", users.name());
    }
    // The control, where the kernel itself still allows it (TIOCSTI(2const)).
    let setting = std::fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti");
    if setting.is_ok_and(|text| text.trim() == "0") {
        println!("unproven: this kernel refuses it itself (dev.tty.legacy_tiocsti)");
        return;
    }
    let scene = Scene::new();
    let seen = read_after_su(&scene, &scene.guest(Users::Host, &["system-calls"]));
    assert!(seen.contains("read-[typed-by-user]"), "{seen}");
}

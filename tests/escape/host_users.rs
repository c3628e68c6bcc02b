//! Programs made inside with root's rights, run by an ordinary user of the
//! host: on the disk they belong to root. That no such user reaches the
//! guests' directory holds them, in every mode.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tests::{DEADLINE, Finished, command};

use crate::case::Users;
use crate::scene::Scene;

/// How a program inside gets rights. The disk keeps them in every mode: with
/// private ids the idmapped mount makes the guest's root uid 0 there, also as
/// whose capabilities a file has.
const PROGRAMS: [&str; 2] = [
    "cp /attacker /made/attacker && chmod 6755 /made/attacker",
    "cp /attacker /made/attacker && /attacker file-capability /made/attacker",
];

#[test]
#[ignore = "root: boots guests"]
fn run_no_setuid_program_and_no_file_capability_of_a_guest() {
    for users in Users::ALL {
        for line in PROGRAMS {
            let scene = Scene::new();
            let guest = scene.guest(users, &[]);
            scene.shell(&guest, &format!("mkdir /made && {line}")).ok();
            let program = scene.root_of(&guest).join("made/attacker");
            let answer = as_nobody(&program);
            let denied = answer.stderr.contains("Permission denied");
            assert!(answer.code != 0 && denied, "{line} with {} ids\n{answer}", users.name());

            // In a directory that everybody reaches it is what it looks like.
            let prefix = scene.host.prefix();
            for way in program.ancestors().skip(1).take_while(|way| way.starts_with(prefix)) {
                fs::set_permissions(way, fs::Permissions::from_mode(0o755)).unwrap();
            }
            let answer = as_nobody(&program);
            assert_eq!(answer.code, 0, "{line} with {} ids\n{answer}", users.name());
        }
    }
}

fn as_nobody(program: &Path) -> Finished {
    // setpriv(1) itself keeps its capabilities until it executes something.
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps", "-all"]);
    command.args(["/bin/sh", "-c", "exec \"$0\" whoami"]).current_dir("/");
    command::run(command.arg(program), DEADLINE)
}

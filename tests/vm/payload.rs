//! The second disk of the virtual machine: what is to be run, and what that
//! needs.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tests::{DEADLINE, Tree, command, host, tree};

use crate::machine::{Kind, SELINUX};
use crate::programs::{GUESTS, INSIDE_NAME, KILLS, Program};

/// Trees that guests are built of there, and the tests that build of them, unless many do.
fn trees(kind: &Kind) -> &'static [(Tree, &'static [&'static str])] {
    match kind.name == SELINUX.name {
        true => &[(Tree::Busybox, &[])],
        false => &[
            (Tree::Busybox, &[]),
            (Tree::Bookworm, &[]),
            (Tree::Systemd, &[]),
            (Tree::SystemdTrixie, &["verbs::systemd_trixie", "controllers::a_newer"]),
            (Tree::Openrc, &["verbs::openrc", "verbs::alpine"]),
            (Tree::Runit, &["verbs::runit"]),
            (Tree::Finit, &["verbs::finit"]),
            (Tree::S6, &["verbs::s6"]),
        ],
    }
}

/// Programs of packages that aren't installed, there neither.
const UNPACKED: &[&str] = &["acct/usr/bin/lastcomm", "acct/usr/sbin/sa", "acct/usr/sbin/dump-acct"];

/// Makes it, as a file; `staging` is a directory that may be used and removed.
///
/// # Panics
/// When something that belongs in it is missing.
pub fn make(kind: &Kind, file: &Path, staging: &Path, selected: &[(&Program, Vec<String>)]) {
    let _ = fs::remove_dir_all(staging);
    fs::create_dir_all(staging.join("cache")).expect("a directory can be made in target");
    let mut bytes = 0;
    let mut put = |from: &Path, name: &str| {
        let to = staging.join(name);
        bytes += fs::copy(from, &to)
            .unwrap_or_else(|cause| panic!("cannot copy {from:?} to {to:?}: {cause}"));
    };
    put(&host::program(), "vserver");
    put(Path::new(env!("CARGO_BIN_EXE_attacker")), "attacker");
    put(Path::new(env!("CARGO_BIN_EXE_peer")), "peer");
    let is_used = |test: &&str| {
        let mut names = selected.iter().flat_map(|(_, names)| names);
        names.any(|name| name.starts_with(*test))
    };
    for (tree, tests) in trees(kind) {
        if tests.is_empty() || tests.iter().any(is_used) {
            put(&tree.archive(), &format!("cache/{}.tar", tree.name()));
        }
    }
    for path in UNPACKED {
        let to = format!("cache/{path}");
        let directory = staging.join(&to).parent().map(Path::to_owned).unwrap_or_default();
        fs::create_dir_all(directory).expect("a directory can be made in target");
        put(&tree::unpacked(path), &to);
    }
    for (program, _) in selected {
        put(&program.path, program.name);
    }
    for (program, names) in selected {
        let list = names.iter().map(|name| format!("{name}\n")).collect::<String>();
        write(&staging.join(format!("{}.list", program.name)), &list, 0o644);
    }
    let packaged = |(program, names): &(&Program, Vec<String>)| {
        program.name == INSIDE_NAME && names.iter().any(|name| name.starts_with("package::"))
    };
    if selected.iter().any(packaged) {
        bytes += packages(staging);
    }
    write(&staging.join("run"), include_str!("run"), 0o755);
    let given = [KILLS, GUESTS].into_iter().filter_map(|name| Some((name, env::var(name).ok()?)));
    let given: String = given.map(|(name, value)| format!("export {name}={value}\n")).collect();
    write(&staging.join("environment"), &given, 0o644);
    if kind.name == SELINUX.name {
        policy(&staging.join("policy"));
    } else {
        write(&staging.join("profile"), include_str!("profile"), 0o644);
    }

    let megabytes = (bytes + bytes / 16) / (1 << 20) + 16;
    let _ = fs::remove_file(file);
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args(["-q", "-L", "payload", "-d"]).arg(staging).arg(file).arg(format!("{megabytes}M"));
    command::run(&mut mkfs, DEADLINE).ok();
    let _ = fs::remove_dir_all(staging);
}

/// Puts the Debian package there, and the same with a higher version. Returns
/// how many bytes they have.
fn packages(staging: &Path) -> u64 {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("package/build");
    let directory = staging.join("package");
    let mut build = Command::new(script);
    build.env("VSERVER_BIN", host::program()).arg(&directory).arg("9.9.9");
    command::run(&mut build, DEADLINE * 4).ok();
    let entries = fs::read_dir(&directory).expect("it has been made");
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}

/// Compiles SELinux's policy, in a form that all kernels know.
fn policy(file: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("vm/policy.cil");
    let mut compile = Command::new("secilc");
    compile.args(["--policyvers=30", "--filecontext=/dev/null", "--output"]).arg(file).arg(source);
    command::run(&mut compile, DEADLINE).ok();
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap_or_else(|cause| panic!("cannot write {path:?}: {cause}"));
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode can be set");
}

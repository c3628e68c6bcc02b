//! Guests of rpm, dnf and pacstrap, which are run as they are: on packages
//! that are made here, of the smallest tree, and signed with a key of the test's. Debian 12
//! and 13 have no apk: a script stands for it that takes what apk(8) says, and nothing else.
//! Those of dpkg are in [`crate::releases`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{DEADLINE, Finished, Host, Tree, command, eventually, executable, process, until_cut};

on! { Busybox: [
    rpm_installs_what_it_is_given,
    dnf_installs_what_is_signed,
    pacstrap_installs_what_is_signed,
    a_tool_that_is_interrupted_leaves_nothing,
    apk_is_asked_as_its_manual_has_it,
] }

/// The whole tree in one package, which has the names of all that `dnf` is
/// asked for.
const SPEC: &str = "\
Name: small
Version: 1
Release: 1
Summary: A guest of two megabytes
License: none
AutoReqProv: no
Provides: system-release systemd dnf passwd iproute iputils procps-ng
%define __os_install_post %{nil}
%define debug_package %{nil}
%description
All of it.
%install
mkdir -p %{buildroot}
tar -C %{buildroot} -xpf %{tree}
%files
%defattr(-,root,root)
/*
";

/// Packages by rpmbuild(8) and rpmsign(8), and a source of them by
/// createrepo_c(8).
const RPM: &str = "
    rpmbuild -bb --quiet --define \"_topdir $1/top\" --define \"_rpmdir $1/rpm\" \\
        --define \"tree $2\" $1/spec
    gpg --armor --export small >$1/key
    rpmsign --define '_gpg_name small' --define '__gpg /usr/bin/gpg' --addsign $1/rpm/*/*.rpm
    createrepo_c -q $1/rpm";

/// The same for pacman: the tree as base, and nothing in another one. Whose
/// signatures count is in the directory that gpg itself keeps it in.
const PACMAN: &str = "
    mkdir $1/pacman $1/nobody
    chmod 700 $1/nobody
    for name in base small; do
        mkdir -p $1/work/$name
        [ $name = small ] || tar -C $1/work/$name -xpf $2
        printf '%s\\n' \"pkgname = $name\" 'pkgver = 1-1' 'pkgdesc = nothing' 'arch = any' \\
            'size = 1' >$1/work/$name/.PKGINFO
        file=$1/pacman/$name-1-1-any.pkg.tar
        (cd $1/work/$name; tar -cf $file .PKGINFO $(ls))
        gpg --batch --detach-sign $file
    done
    repo-add --quiet $1/pacman/small.db.tar $1/pacman/*.pkg.tar
    for keys in gpg nobody; do
        printf '%s\\n' '[options]' 'Architecture = auto' \"GPGDir = $1/$keys\" \\
            'SigLevel = Required DatabaseOptional TrustAll' \\
            '[small]' \"Server = file://$1/pacman\" >$1/$keys.conf
    done";

/// Makes packages in a directory of the host's, which is the script's first word; the
/// second is the tree, the others are these.
pub fn packages(host: &Host, tree: Tree, make: &str, words: &[&str]) -> PathBuf {
    let made = host.prefix().join("made");
    fs::create_dir(&made).expect("it can be made");
    fs::write(made.join("spec"), SPEC).expect("it can be written");
    // The agent would stay.
    let script = format!(
        "mkdir -m 700 $1/gpg; export GNUPGHOME=$1/gpg; trap 'gpgconf --kill all' EXIT
        gpg --batch --quiet --passphrase '' --quick-gen-key small rsa2048 sign never
        {make}"
    );
    let mut shell = Command::new("sh");
    shell.args(["-ec", &script, "sh"]).arg(&made).arg(tree.archive()).args(words);
    command::run(&mut shell, DEADLINE).ok();
    made
}

/// The guest is whole, and boots.
fn boots(host: &Host) {
    boots_as(host, "ID=busybox\nNAME=\"busybox\"\n");
}

/// Likewise, as what os-release(5) says.
pub fn boots_as(host: &Host, release: &str) {
    host.vserver(["start", "web"]).ok();
    host.vserver(["exec", "web", "--", "cat", "/etc/os-release"]).ok().says(release);
    host.vserver(["stop", "web", "--no-kill"]).ok();
}

pub fn nothing_is_left(host: &Host) {
    let left = fs::read_dir(host.paths().roots_dir()).into_iter().flatten().count();
    assert_eq!(left, 0, "something is left");
    host.vserver(["status", "web"]).code(5);
}

fn rpm_installs_what_it_is_given(tree: Tree) {
    let host = Host::new();
    let package = packages(&host, tree, RPM, &[]).join("rpm/x86_64/small-1-1.x86_64.rpm");
    let package = package.display().to_string();
    let manifest = host.prefix().join("manifest");
    fs::write(&manifest, format!("{package}\n")).expect("it can be written");
    let build = |from: &str| host.vserver(["build", "web", "--method", "rpm", "--from", from]);
    build("/nowhere.rpm").code(1).complains("nowhere.rpm");
    nothing_is_left(&host);
    build(&manifest.display().to_string()).ok().says(&format!(
        "guest 'web' is built in '{}' from packages that were given, installed by rpm\nnext: \
         vserver start web\n",
        host.paths().roots_dir().join("web").display()
    ));
    // Its database knows what is there.
    let mut query = Command::new("rpm");
    query.arg("--root").arg(host.paths().roots_dir().join("web")).args(["-qa", "small"]);
    command::run(&mut query, DEADLINE).ok().says("small-1-1.x86_64\n");
    boots(&host);
}

fn dnf_installs_what_is_signed(tree: Tree) {
    let host = Host::new();
    let made = packages(&host, tree, RPM, &[]);
    let mirror = format!("file://{}", made.join("rpm").display());
    let build = |more: &[&str]| -> Finished {
        let words = ["build", "web", "--method", "dnf", "--suite", "1", "--mirror", &mirror];
        host.vserver(words.iter().chain(more))
    };
    // Nobody has said whose signature counts.
    build(&[]).code(1).complains("'dnf' failed");
    nothing_is_left(&host);
    let key = made.join("key").display().to_string();
    build(&["--keyring", &key, "--packages", "unknown"]).code(1).complains("unknown");
    nothing_is_left(&host);
    // As it is typed where one is.
    let words = ["build", "web", "--method", "dnf", "--suite", "1", "--mirror", &mirror];
    let mut there = host.command(words.iter().chain(&["--keyring", "key", "--packages", "small"]));
    command::run(there.current_dir(&made), DEADLINE).ok();
    boots(&host);
}

fn pacstrap_installs_what_is_signed(tree: Tree) {
    let host = Host::new();
    let made = packages(&host, tree, PACMAN, &[]);
    let build = |sources: &str, package: &str| -> Finished {
        let sources = made.join(sources).display().to_string();
        let words = ["build", "web", "--method", "pacstrap", "--packages", package];
        host.vserver(words.iter().chain(&["--", "-C", &sources]))
    };
    build("nobody.conf", "small").code(1).complains("'pacstrap' failed");
    nothing_is_left(&host);
    build("gpg.conf", "unknown").code(1).complains("target not found: unknown");
    nothing_is_left(&host);
    let built = build("gpg.conf", "small").ok();
    assert!(built.stdout.contains("installed by pacstrap"), "{built}");
    let mut query = Command::new("pacman");
    query.arg("--root").arg(host.paths().roots_dir().join("web")).arg("-Q");
    command::run(&mut query, DEADLINE).ok().says("base 1-1\nsmall 1-1\n");
    boots(&host);
}

/// Not even its daemons: pacstrap's keyring has one.
fn a_tool_that_is_interrupted_leaves_nothing(tree: Tree) {
    let host = Host::new();
    let made = packages(&host, tree, PACMAN, &[]);
    let sources = made.join("gpg.conf").display().to_string();
    let build = || host.command(["build", "web", "--method", "pacstrap", "--", "-C", &sources]);
    let roots = host.paths().roots_dir();
    let shown = roots.display().to_string();
    let has_keys = || {
        let mut places = fs::read_dir(&roots).into_iter().flatten().flatten();
        places.any(|place| place.path().join("root/etc/pacman.d/gnupg").exists())
    };
    let speaks_of_it = |process: &Path| {
        let words = fs::read(process.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(&shown)
    };
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        until_cut(|| {
            let mut build = build();
            build.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut build = build.spawn().expect("it can be run");
            eventually(DEADLINE, "it is at work", || has_keys().then_some(()));
            let pid = Pid::from_raw(build.id().cast_signed());
            kill(pid, signal).expect("it is there");
            let is_cut = !build.wait().expect("it ends").success();
            eventually(DEADLINE, "all that it has started ends", || {
                process::processes(speaks_of_it).is_empty().then_some(())
            });
            let mounts = fs::read_to_string("/proc/self/mountinfo").expect("it is there");
            assert!(!mounts.contains(&shown), "{signal}: {mounts}");
            match (is_cut, signal) {
                (true, Signal::SIGINT) => nothing_is_left(&host),
                (true, _) => {}
                (false, _) => drop(host.vserver(["delete", "web", "--yes"]).ok()),
            }
            is_cut
        });
    }
    // What a killed one has left goes with the next.
    command::run(&mut build(), DEADLINE).ok();
    let left: Vec<_> = fs::read_dir(&roots).expect("it is there").flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    boots(&host);
}

/// Global options, then `add` and the names of packages, of which a repository knows two.
const APK: &str = r#"#!/bin/sh -e
fail() { echo "ERROR: $1" >&2; exit 1; }
while [ $# -gt 0 ] && [ "$1" != add ]; do
    case $1 in
    --root) root=$2 ;;
    --keys-dir) [ -e "$2/small.pub" ] || fail "UNTRUSTED signature" ;;
    --repository) repositories="$repositories $2" ;;
    --initdb) initdb=1; shift; continue ;;
    *) fail "unrecognized option '$1'" ;;
    esac
    shift 2
done
shift
[ "$initdb" ] || fail "Unable to read database"
for package; do
    case $package in
    alpine-base) for from in $repositories; do
        [ ! -e "$from/x86_64/APKINDEX" ] || tar -C "$root" -xpf "$from/x86_64/tree"; done ;;
    small) touch "$root/srv/small" ;;
    *) fail "unable to select packages: $package (no such package)" ;;
    esac
done
"#;

fn apk_is_asked_as_its_manual_has_it(tree: Tree) {
    let host = Host::new();
    let made = host.prefix().join("made");
    let mirror = made.join("mirror/v3.20/main/x86_64");
    for directory in [&mirror, &made.join("keys"), &made.join("bin")] {
        fs::create_dir_all(directory).expect("it can be made");
    }
    fs::write(mirror.join("APKINDEX"), "").expect("it can be written");
    std::os::unix::fs::symlink(tree.archive(), mirror.join("tree")).expect("a link");
    executable::write(made.join("bin/apk"), APK, 0o755);
    let sources = made.join("mirror").display().to_string();
    let keys = made.join("keys");
    let build = |package: &str| -> Finished {
        let words = ["build", "web", "--method", "apk", "--suite", "v3.20", "--mirror", &sources];
        let wanted = host.command(words.iter().chain(&["--packages", package]));
        // Tools are looked for in the usual places only.
        let show = "mount --bind $1 /usr/local/sbin; shift; exec \"$@\"";
        let mut shown = Command::new("unshare");
        shown.args(["--mount", "sh", "-ec", show, "sh"]).arg(made.join("bin"));
        shown.arg(wanted.get_program()).args(wanted.get_args()).args(["--keyring", "keys"]);
        shown.current_dir(&made);
        shown.envs(wanted.get_envs().filter_map(|(key, value)| Some((key, value?))));
        command::run(&mut shown, DEADLINE)
    };
    // Nobody's signature counts.
    build("small").code(1).complains("'apk' failed").complains("UNTRUSTED");
    nothing_is_left(&host);
    fs::write(keys.join("small.pub"), "").expect("it can be written");
    build("unknown").code(1).complains("unable to select packages: unknown");
    nothing_is_left(&host);
    let built = build("small").ok();
    assert!(built.stdout.contains("from v3.20, installed by apk"), "{built}");
    let root = host.paths().roots_dir().join("web");
    assert!(root.join("srv/small").exists());
    // Where the guest's own apk finds more.
    let written = fs::read_to_string(root.join("etc/apk/repositories")).expect("it was written");
    assert_eq!(written, format!("{sources}/v3.20/main\n"));
    boots(&host);
}

//! What `vserver build` does in the new guest: a script, packages, root's
//! password and keys. What fails there leaves no guest.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{DEADLINE, Finished, Host, Tree, command, eventually, executable};

on! { Bookworm: [a_password_is_one_that_login_takes, apt_installs_packages_inside] }
on! { Busybox: [
    a_script_runs_inside_as_the_guests_root,
    a_script_that_fails_leaves_no_guest,
    a_script_ends_with_the_build,
    a_guest_whose_build_was_killed_is_not_started_but_built_again,
    a_guest_that_was_set_aside_for_a_killed_build_is_back,
    packages_are_installed_by_the_guests_own_manager,
    root_gets_a_password,
    root_gets_keys_and_nobody_elses_stay,
    the_sites_options_count_for_every_build,
] }

/// A file of the installation's.
fn file(host: &Host, name: &str, text: &str) -> PathBuf {
    let path = host.prefix().join(name);
    fs::write(&path, text).expect("a file can be written");
    path
}

/// `vserver build web` from this tree, not run yet.
pub(super) fn building(host: &Host, tree: Tree) -> Command {
    let mut build = host.command(["build", "web", "--method", "template", "--from"]);
    build.arg(tree.archive());
    build
}

fn build(host: &Host, tree: Tree, option: &str, value: &Path) -> Finished {
    command::run(building(host, tree).arg(option).arg(value), DEADLINE)
}

/// An archive with what `make` puts into a directory.
fn archive(host: &Host, name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let directory = host.prefix().join(format!("{name}.d"));
    fs::create_dir(&directory).expect("a directory can be made");
    make(&directory);
    let archive = host.prefix().join(name);
    let mut tar = Command::new("tar");
    command::run(tar.arg("-C").arg(&directory).arg("-cf").arg(&archive).arg("."), DEADLINE).ok();
    archive
}

fn read(host: &Host, path: &str) -> String {
    fs::read_to_string(host.paths().roots_dir().join("web").join(path)).unwrap_or_default()
}

fn a_script_runs_inside_as_the_guests_root(tree: Tree) {
    let host = Host::new();
    let script = "#!/bin/sh\nset -e\nid -u >/srv/seen; hostname >>/srv/seen\n\
        cat /proc/1/comm >>/srv/seen; read -r a b c </proc/self/uid_map; echo $a $c >>/srv/seen\n\
        ! test -e /proc/1/root/etc/vservers; ! mknod /srv/disk b 8 0\n";
    build(&host, tree, "--run-script", &file(&host, "setup.sh", script)).ok();
    assert_eq!(read(&host, "srv/seen"), "0\nweb\nguest-init\n0 65536\n");
    let root = host.paths().roots_dir().join("web");
    assert_eq!(fs::metadata(root.join("srv/seen")).expect("it is there").uid(), 0);
    assert!(!root.join(".vserver-run-script").exists(), "the script has gone");
    host.vserver(["start", "web"]).ok();
    host.vserver(["stop", "web", "--no-kill"]).ok();
}

/// Nothing of the guest is left: it can be built as if it had never been.
fn assert_no_guest(host: &Host) {
    host.vserver(["status", "web"]).code(5);
    let roots = fs::read_dir(host.paths().roots_dir()).expect("it is there").count();
    assert_eq!(roots, 0, "a root is left");
    let mut find = Command::new("find");
    let find = find.arg(host.prefix()).args(["-name", "*web*", "-not", "-name", ".lock*"]);
    let found = command::run(find, DEADLINE).ok();
    // The account outlives a guest, and so does the lock.
    let left = found.stdout.lines().filter(|path| !path.contains("/usage/"));
    assert_eq!(left.count(), 0, "left: {found}");
}

fn a_script_that_fails_leaves_no_guest(tree: Tree) {
    let host = Host::new();
    let script = file(&host, "setup.sh", "#!/bin/sh\necho no such luck >&2\nexit 7\n");
    let failed = build(&host, tree, "--run-script", &script).code(1);
    failed.clone().complains("'setup.sh' failed (exit status 7)");
    failed.complains("no such luck");
    assert_no_guest(&host);
    let ids = fs::read_to_string(host.paths().ids()).unwrap_or_default();
    assert!(!ids.contains("web"), "{ids}");
    fs::write(&script, "#!/no/such/program\n").expect("it can be written");
    build(&host, tree, "--run-script", &script).code(1).complains("inside guest 'web'");
    assert_no_guest(&host);
}

/// The build, once its script runs.
fn begun(host: &Host, tree: Tree) -> Child {
    begun_with(host, building(host, tree))
}

/// The same of another one.
pub(super) fn begun_with(host: &Host, mut build: Command) -> Child {
    let script = file(host, "setup.sh", "#!/bin/sh\ntouch /srv/begun\nsleep 1000\n");
    let build = build.arg("--run-script").arg(script).stderr(Stdio::null()).spawn();
    let begun = host.paths().roots_dir().join("web/srv/begun");
    eventually(DEADLINE, "the script runs", || begun.exists().then_some(()));
    build.expect("vserver runs")
}

fn a_script_ends_with_the_build(tree: Tree) {
    let host = Host::new();
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let mut build = begun(&host, tree);
        kill(Pid::from_raw(build.id().cast_signed()), signal).expect("it can be told to end");
        assert!(!build.wait().expect("it ends").success());
        eventually(DEADLINE, "all of it has ended", || host.processes().is_empty().then_some(()));
        if signal == Signal::SIGKILL {
            // The next build sweeps away what is left.
            host.vserver(["build", "other", "--method", "skeleton"]).ok();
            let ids = fs::read_to_string(host.paths().ids()).expect("it is there");
            assert!(!ids.contains("web"), "{ids}");
            host.vserver(["delete", "other", "--yes"]).ok();
        }
        host.vserver(["status", "web"]).code(5);
        assert_eq!(fs::read_dir(host.paths().roots_dir()).expect("it is there").count(), 0);
    }
}

fn a_guest_whose_build_was_killed_is_not_started_but_built_again(tree: Tree) {
    let host = Host::new();
    let begin_and_kill = || {
        let mut build = begun(&host, tree);
        // As long as it lives, it is at work with its guest.
        host.vserver(["build", "web", "--method", "skeleton"]).code(1).complains("'web' exists");
        kill(Pid::from_raw(build.id().cast_signed()), Signal::SIGKILL).expect("it is ours");
        assert!(!build.wait().expect("it ends").success());
        eventually(DEADLINE, "all of it has ended", || host.processes().is_empty().then_some(()));
        for words in [&["start", "web"][..], &["exec", "web", "--", "true"]] {
            let refused = host.vserver(words.iter().copied());
            assert_ne!(refused.code, 0, "{refused}");
            refused.complains("its build was cut short").complains("vserver delete web");
        }
    };
    begin_and_kill();
    host.vserver(["build", "web", "--method", "skeleton", "--dry-run"]).ok();
    let roots = || fs::read_dir(host.paths().roots_dir()).expect("it is there").count();
    command::run(&mut building(&host, tree), DEADLINE).ok();
    assert_eq!((roots(), read(&host, "srv/begun")), (1, String::new()));
    host.vserver(["start", "web"]).ok();
    host.vserver(["stop", "web", "--no-kill"]).ok();
    host.vserver(["delete", "web", "--yes"]).ok();
    begin_and_kill();
    host.vserver(["delete", "web", "--yes"]).ok();
    assert_no_guest(&host);
}

fn a_guest_that_was_set_aside_for_a_killed_build_is_back(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    web.write("/srv/mine", "mine", 0o644);
    let config = || fs::read_to_string(host.paths().config(&"web".parse().expect("a name")));
    let before = config().expect("it is there");
    let mut building = building(&host, tree);
    building.arg("--force");
    let mut build = begun_with(&host, building);
    assert!(!web.root().join("srv/mine").exists());
    kill(Pid::from_raw(build.id().cast_signed()), Signal::SIGKILL).expect("it is ours");
    assert!(!build.wait().expect("it ends").success());
    eventually(DEADLINE, "all of it has ended", || host.processes().is_empty().then_some(()));
    host.vserver(["build", "other", "--method", "skeleton"]).ok();
    host.vserver(["delete", "other", "--yes"]).ok();
    assert_eq!(web.read("/srv/mine"), "mine");
    assert_eq!(config().expect("it is back"), before);
    for directory in [host.paths().roots_dir(), host.paths().config_dir()] {
        let names = fs::read_dir(directory).expect("it is there").flatten();
        let left = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let left: Vec<_> =
            left.filter(|name| name.starts_with('.') || name.contains('~')).collect();
        assert!(left.is_empty(), "left: {left:?}");
    }
    web.start();
    web.stop();
}

fn packages_are_installed_by_the_guests_own_manager(tree: Tree) {
    let host = Host::new();
    let apk = archive(&host, "apk.tar", |directory| {
        let program = directory.join("sbin/apk");
        fs::create_dir(directory.join("sbin")).expect("a directory can be made");
        executable::write(&program, "#!/bin/sh\necho \"$@\" >/srv/apk\n", 0o755);
    });
    let with_packages = |build: &mut Command| {
        command::run(build.args(["--packages", "nginx,less", "--packages", "vim"]), DEADLINE)
    };
    with_packages(&mut building(&host, tree)).code(1).complains("no package manager");
    assert_no_guest(&host);
    with_packages(building(&host, tree).arg("--from").arg(apk)).ok();
    assert_eq!(read(&host, "srv/apk"), "add --update-cache nginx less vim\n");
}

fn root_gets_a_password(tree: Tree) {
    let host = Host::new();
    let secret = file(&host, "secret", "correct horse\nignored\n");
    build(&host, tree, "--root-password-file", &secret).ok();
    let shadow = read(&host, "etc/shadow");
    let hash = shadow.lines().find_map(|line| line.strip_prefix("root:")?.split(':').next());
    let hash = hash.unwrap_or_default();
    let salt = hash.split('$').nth_back(1).unwrap_or_default();
    // The guest's own library makes the same of it.
    let words = ["exec", "web", "--", "mkpasswd", "-m", "sha512", "-S", salt, "correct horse"];
    let theirs = host.vserver(words).ok();
    let last = |hash: &str| hash.trim().rsplit('$').next().unwrap_or_default().to_owned();
    assert_eq!(last(&theirs.stdout), last(hash), "{shadow}");
    let metadata = fs::metadata(host.paths().roots_dir().join("web/etc/shadow")).expect("it is");
    assert_eq!(metadata.mode() & 0o7777, 0o600);
}

/// As login(1), su(1) and sshd(8) compare it: with what crypt(3) makes of it.
fn a_password_is_one_that_login_takes(tree: Tree) {
    let host = Host::new();
    let secret = file(&host, "password", "let me in\n");
    let mut build = building(&host, tree);
    build.arg("--root-password-file").arg(secret);
    command::run(&mut build, Duration::from_secs(180)).ok();
    let compare =
        "my $hash = (getpwnam('root'))[1]; exit(crypt('let me in', $hash) eq $hash ? 0 : 9)";
    host.vserver(["exec", "web", "--", "perl", "-e", compare]).ok();
}

fn root_gets_keys_and_nobody_elses_stay(tree: Tree) {
    let host = Host::new();
    // A link to where somebody else would be let in by our key.
    let hostile = archive(&host, "hostile.tar", |directory| {
        fs::create_dir(directory.join("root")).expect("a directory can be made");
        std::os::unix::fs::symlink("/home/user", directory.join("root/.ssh")).expect("a link");
    });
    let keys = ["ssh-ed25519 AAAAone me\n", "ssh-rsa AAAAtwo you\n"];
    let mut build = building(&host, tree);
    build.arg("--from").arg(hostile);
    for (name, key) in ["one.pub", "two.pub"].into_iter().zip(keys) {
        build.arg("--ssh-key").arg(file(&host, name, key));
    }
    command::run(&mut build, DEADLINE).ok();
    assert_eq!(read(&host, "root/.ssh/authorized_keys"), keys.concat());
    let ssh = host.paths().roots_dir().join("web/root/.ssh");
    let directory = fs::symlink_metadata(&ssh).expect("it is there");
    assert!(directory.is_dir(), "a link of the archive's is left");
    assert_eq!((directory.mode() & 0o7777, directory.uid()), (0o700, 0));
    let file = fs::metadata(ssh.join("authorized_keys")).expect("it is there");
    assert_eq!((file.mode() & 0o7777, file.uid()), (0o600, 0));
}

fn the_sites_options_count_for_every_build(tree: Tree) {
    let host = Host::new();
    let (secret, archive) = (file(&host, "secret", "secret\n"), tree.archive());
    let text = format!(
        "# ours\n--method template\n--from={}\n--root-password-file {}\n--hostname site\n",
        archive.display(),
        secret.display()
    );
    fs::create_dir_all(host.paths().config_dir()).expect("a directory can be made");
    fs::write(host.paths().build_options(), text).expect("it can be written");
    host.vserver(["build", "web", "--hostname", "own", "--interface", "x=eth9:192.0.2.10/24"]).ok();
    assert!(read(&host, "etc/shadow").contains("root:$6$"));
    assert_eq!(read(&host, "etc/hostname"), "own\n");
    let shown = host.vserver(["config", "show", "web"]).ok();
    assert!(shown.stdout.contains("addresses = [\"192.0.2.10\"]"), "{shown}");
    let names = host.vserver(["list"]).ok();
    assert!(!names.stdout.contains("build"), "the file is no guest\n{names}");
}

/// From the packages that the tree has for tests, with an index made here.
fn apt_installs_packages_inside(tree: Tree) {
    let host = Host::new();
    let sources = archive(&host, "sources.tar", |directory| {
        let make = "mkdir -p $2/etc/apt; tar -C $2 -xf $1 ./srv/packages; cd $2/srv/packages
            for package in *.deb; do
                dpkg-deb -f $package
                echo Filename: ./$package
                stat -c 'Size: %s' $package
                echo SHA256: $(sha256sum <$package | cut -d ' ' -f 1)
                echo
            done >Packages
            echo 'deb [trusted=yes] file:/srv/packages ./' >$2/etc/apt/sources.list";
        let mut shell = Command::new("sh");
        shell.args(["-ec", make, "sh"]).arg(tree.archive()).arg(directory);
        command::run(&mut shell, DEADLINE).ok();
    });
    let build = |packages: &str| {
        let mut build = building(&host, tree);
        build.arg("--from").arg(&sources).args(["--packages", packages]);
        command::run(&mut build, Duration::from_secs(180))
    };
    let missing = build("no-such-package").code(1).complains("'apt-get' failed (exit status 100)");
    missing.complains("give it an '--address'");
    assert_no_guest(&host);
    build("at").ok();
    host.vserver(["exec", "web", "--", "dpkg", "--audit"]).ok().says("");
    let at = fs::metadata(host.paths().roots_dir().join("web/usr/bin/at")).expect("it is there");
    assert_eq!((at.mode() & 0o7777, at.uid()), (0o6755, 1));
}

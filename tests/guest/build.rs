//! `vserver build`: every method makes a guest that boots, a failed one
//! leaves nothing, and no secret of the host gets in.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::same::differences;
use tests::{DEADLINE, Host, Tree, command, eventually, until_cut};
use vserver::variables::PREFIX;

on! { Bookworm: [
    debootstrap_makes_guests_that_boot_and_are_alike,
    an_interrupted_build_leaves_nothing,
    a_template_keeps_owners_and_modes,
] }
on! { Busybox: [
    a_broken_archive_leaves_nothing,
    a_guest_that_exists_is_not_built_again,
    a_skeleton_is_a_guest,
    what_lies_beside_a_root_is_somebody_elses,
    every_build_is_tidied,
    name_servers_are_the_hosts_that_a_guest_reaches,
    contexts_never_clash,
    util_vservers_options_are_taken_or_refused,
    arguments_of_util_vservers_methods_are_taken_or_noted,
    util_vservers_places_are_taken_or_noted,
    a_failed_build_is_kept_when_that_is_asked_for,
    a_guest_is_the_same_whoever_has_typed_it,
] }
on! { Copy: [copy_takes_no_secret_of_the_host] }

/// Everything of an installation that a build could leave.
fn files(host: &Host) -> Vec<String> {
    let mut find = Command::new("find");
    find.arg(host.prefix()).args(["-not", "-type", "d", "-not", "-name", ".lock*"]);
    let found = command::run(&mut find, DEADLINE).ok();
    found.stdout.lines().map(str::to_owned).collect()
}

/// Takes half a minute each, and the mirror that this machine itself uses.
fn debootstrap_makes_guests_that_boot_and_are_alike(tree: Tree) {
    let host = Host::new();
    let build = |name: &str, epoch: &str| {
        let mut build = host.command(["build", name, "--method", "debootstrap"]);
        build.args(["--hostname", "same", "--suite", tree.name()]).env("SOURCE_DATE_EPOCH", epoch);
        command::run(&mut build, Duration::from_secs(600))
    };
    build("web", "tomorrow").code(2).complains("SOURCE_DATE_EPOCH is 'tomorrow'");
    let roots = ["web", "shop"].map(|name| {
        build(name, "1700000000").ok();
        host.paths().roots_dir().join(name)
    });
    assert_eq!(differences(&roots[0], &roots[1]), [""; 0]);
    let dates = roots.map(|root| {
        let mut find = Command::new("find");
        find.arg(root).args(["-printf", "%P %T@\\n"]);
        let found = command::run(&mut find, DEADLINE).ok().stdout;
        let mut dates: Vec<_> = found.lines().map(str::to_owned).collect();
        dates.sort();
        dates
    });
    assert!(dates[0].iter().any(|line| line == "etc/hostname 1700000000.0000000000"));
    assert!(dates[0] == dates[1], "files or directories have other dates");
    host.vserver(["start", "web"]).ok();
    host.vserver(["exec", "web", "--", "cat", "/proc/1/comm"]).ok().says("guest-init\n");
    host.vserver(["exec", "web", "--", "runlevel"]).ok().says("N 2\n");
    host.vserver(["stop", "web", "--no-kill"]).ok();
}

fn an_interrupted_build_leaves_nothing(tree: Tree) {
    until_cut(|| {
        let host = Host::new();
        let mut build = host.command(["build", "web", "--method", "template", "--from"]);
        let mut building = build.arg(tree.archive()).spawn().expect("vserver runs");
        let roots = host.paths().roots_dir();
        eventually(DEADLINE, "the build has begun", || {
            fs::read_dir(&roots).ok()?.flatten().next().map(|_| ())
        });
        let pid = Pid::from_raw(building.id().cast_signed());
        kill(pid, Signal::SIGINT).expect("it can be interrupted");
        let is_cut = !building.wait().expect("it ends").success();
        let found = files(&host);
        let is_left = |path: &String| !path.ends_with("ids.toml");
        assert!(!is_cut || !found.iter().any(is_left), "left: {found:?}");
        is_cut
    });
}

/// Also who has locked what it lies in, as any user of the host may, holds up nobody.
fn what_lies_beside_a_root_is_somebody_elses(_: Tree) {
    let host = Host::new();
    let parent = host.prefix().join("srv");
    let others =
        [".build-cache", ".delete-mine", ".vserver-build-mine"].map(|name| parent.join(name));
    for directory in &others {
        fs::create_dir_all(directory).expect("a directory can be made");
        fs::write(directory.join("file"), "").expect("a file can be written");
    }
    let locked = fs::File::open(&parent).expect("it can be opened");
    locked.lock().expect("it can be locked");
    let root = parent.join("web");
    let root = root.to_str().expect("a path in UTF-8");
    host.vserver(["build", "web", "--method", "skeleton", "--root", root]).ok();
    host.vserver(["snapshot", "create", "web", "s1"]).ok();
    host.vserver(["snapshot", "restore", "web", "s1", "--yes"]).ok();
    host.vserver(["delete", "web", "--yes"]).ok();
    assert!(others.iter().all(|directory| directory.join("file").exists()));
    assert_eq!(fs::read_dir(&parent).expect("it is there").count(), others.len());
}

fn a_template_keeps_owners_and_modes(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let metadata = |path: &str| fs::metadata(guest.root().join(path)).expect("a file of Debian's");
    assert_eq!(metadata("etc/shadow").mode() & 0o7777, 0o640);
    assert_eq!(metadata("etc/shadow").gid(), 42);
    assert_eq!(metadata("usr/bin/passwd").mode() & 0o7777, 0o4755);
    assert_eq!(metadata("tmp").mode() & 0o7777, 0o1777);
}

fn a_broken_archive_leaves_nothing(tree: Tree) {
    let host = Host::new();
    let whole = fs::read(tree.archive()).expect("the tree's archive");
    let half = host.prefix().join("half.tar");
    fs::write(&half, &whole[..whole.len() / 2]).expect("a file can be written");
    let mut build = host.command(["build", "web", "--method", "template", "--from"]);
    command::run(build.arg(&half), DEADLINE).code(1);
    let found = files(&host);
    let left =
        found.iter().filter(|path| !path.ends_with("half.tar") && !path.ends_with("ids.toml"));
    assert_eq!(left.count(), 0, "left: {found:?}");
    host.vserver(["status", "web"]).code(5);
}

fn a_guest_that_exists_is_not_built_again(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = files(&host);
    let mut build = host.command(["build", guest.name(), "--method", "template", "--from"]);
    command::run(build.arg(tree.archive()), DEADLINE).code(1).complains("'web'");
    assert_eq!(files(&host), before);
}

fn a_skeleton_is_a_guest(_: Tree) {
    let host = Host::new();
    host.vserver(["build", "web", "--method", "skeleton"]).ok();
    host.vserver(["config", "check", "web"]).ok();
    let status = host.vserver(["status", "web"]).code(3);
    assert!(status.stdout.starts_with("Vserver 'web' is stopped"), "{status}");
}

fn every_build_is_tidied(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    assert_eq!(guest.read("/etc/hostname"), "web\n");
    assert!(guest.read("/etc/hosts").contains("web"), "{}", guest.read("/etc/hosts"));
    assert_eq!(guest.read("/etc/machine-id"), "");
    let shadow = guest.read("/etc/shadow");
    let root = shadow.lines().find(|line| line.starts_with("root:")).unwrap_or_default();
    let password = root.split(':').nth(1).unwrap_or_default();
    assert!(password.starts_with(['*', '!']), "root's password is locked: {root}");
}

/// With a file of the host's in place of its own, for the build alone.
fn name_servers_are_the_hosts_that_a_guest_reaches(tree: Tree) {
    let host = Host::new();
    let servers = host.prefix().join("servers");
    fs::write(&servers, "nameserver 192.0.2.53\nnameserver 127.0.0.53\n").expect("it can be");
    let mut build = Command::new("unshare");
    let line = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
    build.args(["--mount", "sh", "-c", line]).arg(&servers).arg(tests::host::program());
    build.args(["build", "web", "--method", "template", "--from"]).arg(tree.archive());
    command::run(build.env(PREFIX, host.prefix()), DEADLINE).ok();
    let file = host.paths().roots_dir().join("web/etc/resolv.conf");
    let text = fs::read_to_string(file).expect("the guest has one");
    assert_eq!(text, "nameserver 192.0.2.53\n");
}

fn contexts_never_clash(tree: Tree) {
    let host = Host::new();
    let contexts = ["a", "b", "c"].map(|name| host.guest(name).tree(tree).build().status().context);
    assert_eq!(contexts, [40000, 40001, 40002]);
    let mut clash = host.command(["build", "e", "--context", "40000", "--method", "template"]);
    command::run(clash.arg("--from").arg(tree.archive()), DEADLINE).code(1).complains("40000");
}

fn copy_takes_no_secret_of_the_host(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let root = guest.root();
    for shadow in [guest.read("/etc/shadow"), guest.read("/etc/gshadow")] {
        let hashes =
            shadow.lines().filter(|line| line.split(':').nth(1).is_some_and(|p| p.contains('$')));
        assert_eq!(hashes.count(), 0, "a password of somebody's:\n{shadow}");
    }
    let host_id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    assert!(host_id.is_empty() || guest.read("/etc/machine-id") != host_id);
    for keys in ["etc/ssh", "root/.ssh", "etc/ssl/private"] {
        for entry in fs::read_dir(root.join(keys)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let same = fs::read(entry.path()).ok() == fs::read(format!("/{keys}/{name}")).ok();
            assert!(!(same && name.contains("key")), "{keys}/{name} is the host's");
        }
    }
    let home = fs::read_dir(root.join("root")).into_iter().flatten().flatten();
    let visible: Vec<_> = home.map(|entry| entry.file_name()).collect();
    let allowed = [".bashrc", ".profile"];
    let foreign = visible.iter().filter(|name| !allowed.iter().any(|other| name == other));
    assert_eq!(foreign.count(), 0, "user data in /root: {visible:?}");
    let people = fs::read_dir(root.join("home")).into_iter().flatten().count();
    assert_eq!(people, 0, "nobody's home");
}

fn util_vservers_options_are_taken_or_refused(_: Tree) {
    let host = Host::new();
    let build = |words: &[&str]| {
        let line = ["build", "web", "--method", "skeleton"];
        host.vserver(line.iter().chain(words))
    };
    for (words, why) in [
        (&["--flags", "lock,private"][..], "can enter every guest"),
        (&["--cpusetcpus", "0:excl"], "not memory nodes or exclusive use"),
        (&["--cpusetmems", "0"], "not memory nodes"),
        (&["--initstyle", "minit"], "boot.command"),
        (&["--i-know-its-there"], "--method directory --from DIR"),
        (&["--confdir", "/etc/old"], "VSERVER_PREFIX=DIR"),
        (&["--method", "urpmi"], "--method directory --from DIR"),
        (&["--method", "fai"], "--method directory --from DIR"),
        (&["-n", "other"], "another name than 'web'"),
        (&["--", "ls", "-l"], "takes no 'ls' behind '--'"),
        (&["--method", "copy", "--", "-d", "x"], "takes no '-d' behind '--'"),
        (&["--method", "template", "--from", "x", "--", "-x"], "takes no '-x' behind '--'"),
        (&["--method", "rpm", "--", "-d", "fc", "-b", "/b"], "found by their paths"),
        (&["--method", "rpm", "--", "--empty"], "--method skeleton"),
        (&["--method", "rpm"], "needs '--from FILE'"),
        (&["--method", "debootstrap", "--", "-d", "sid", "-s", "x"], "takes no '--script'"),
        (&["--method", "clone", "--", "--source", "x", "-X", "y"], "takes no '--exclude-from'"),
    ] {
        let refused = build(words).code(2);
        assert!(refused.stderr.contains(why), "{words:?}\n{refused}");
    }
    assert_eq!(files(&host), Vec::<String>::new());
    let built = build(&[
        "--netdev",
        "eth7",
        "--netmask",
        "255.255.255.0",
        "--netbcast",
        "192.0.2.255",
        "--interface",
        "0=eth7:192.0.2.10/24",
        "--flags",
        "lock,nproc",
        "--cpuset",
        "web",
        "--cpusetcpus",
        "0",
        "--cpusetvirt",
        "--initstyle",
        "sysv",
    ])
    .ok();
    built.complains("'--netdev eth7' is now 'network.proxy_arp'");
    let config = host.vserver(["config", "show", "web"]).ok();
    for line in ["\nproxy_arp = \"eth7\"\n", "\ncpuset = 0\n", "\naddresses = [\"192.0.2.10\"]\n"] {
        assert!(config.stdout.contains(line), "{line}\n{config}");
    }
}

/// They stood behind `--`.
fn arguments_of_util_vservers_methods_are_taken_or_noted(tree: Tree) {
    let host = Host::new();
    let archive = tree.archive().display().to_string();
    let words = ["-m", "template", "-n", "web", "--hostname", "x", "--"];
    let behind = ["-t", &archive, "-d", "sid", "--nodevsanity"];
    let built = host.vserver(["web", "build"].iter().chain(&words).chain(&behind)).ok();
    built.clone().complains("'-d sid' isn't needed");
    built.clone().complains("'--nodevsanity' isn't needed");
    assert!(built.stdout.contains(&archive), "{built}");
    host.vserver(["shop", "build", "-m", "clone", "--", "--source", "web"]).ok();
    let skeleton = host.vserver(["empty", "build", "-m", "skeleton", "--", "-d", "sid"]).ok();
    skeleton.complains("'-d sid' isn't needed");
    for behind in [
        &["-m", "rsync", "--", "--source", "h:/x", "-d", "sid"][..],
        &["-m", "debootstrap", "--", "-d", "bookworm", "-m", "http://m/debian"],
        &["-m", "yum", "--", "-d", "fc7", "--", "openssh-server"],
        &["-m", "rpm", "--", "-d", "fc7", "/srv/manifest"],
    ] {
        host.vserver(["old", "build", "--dry-run"].iter().chain(behind)).ok();
    }
}

fn util_vservers_places_are_taken_or_noted(_: Tree) {
    let host = Host::new();
    let roots = host.prefix().join("elsewhere");
    fs::create_dir(&roots).expect("it can be made");
    let roots = roots.to_string_lossy().into_owned();
    let words = ["--rootdir", &roots, "--lockfile", "/run/x", "--pkgbase", "/var/x"];
    let line = ["build", "web", "--method", "skeleton"];
    let built = host.vserver(line.iter().chain(&words)).ok();
    assert!(Path::new(&roots).join("web/etc").is_dir(), "{built}");
    built.clone().complains("'--lockfile' isn't needed");
    built.complains("'--pkgbase' isn't needed");
    let config = host.vserver(["config", "show", "web"]).ok();
    assert!(config.stdout.contains(&format!("root = \"{roots}/web\"")), "{config}");
    host.vserver(line.iter().chain(&["--root", "/srv/x", "--rootdir", &roots])).code(2);
}

fn a_failed_build_is_kept_when_that_is_asked_for(tree: Tree) {
    let host = Host::new();
    let archive = host.prefix().join("broken.tar");
    let whole = fs::read(tree.archive()).expect("an archive");
    fs::write(&archive, &whole[..whole.len() / 2]).expect("half of it");
    let from = archive.to_string_lossy().into_owned();
    let script = host.prefix().join("fails");
    fs::write(&script, "#!/bin/sh\ntouch /root/begun\nexit 3\n").expect("it can be written");
    let script = script.to_string_lossy().into_owned();
    let roots = host.prefix().join("var/lib/vservers");
    let good = tree.archive().to_string_lossy().into_owned();
    for (from, more, last) in
        [(&from, [""; 0].as_slice(), "bin"), (&good, &["--run-script", &script], "root/begun")]
    {
        let build = |keep: &[&str]| {
            let line = ["build", "web", "--method", "template", "--from", from];
            host.vserver(line.iter().chain(more).chain(keep)).code(1)
        };
        build(&[]);
        let before = files(&host);
        let error = build(&["--keep"]);
        let kept: Vec<_> = fs::read_dir(&roots)
            .expect("a directory of roots")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.to_string_lossy().contains("/web.~"))
            .collect();
        let [kept] = kept.as_slice() else { panic!("{kept:?}\n{error}") };
        error.complains(&kept.to_string_lossy());
        assert_eq!(fs::metadata(kept).expect("it is there").mode() & 0o7777, 0o700);
        assert!(kept.join(last).exists());
        host.vserver(["config", "show", "web"]).code(5);
        fs::remove_dir_all(kept).expect("it can be removed");
        let usage = |path: &String| !path.contains("/usage/");
        let but_usage = |all: Vec<String>| all.into_iter().filter(usage).collect::<Vec<_>>();
        assert_eq!(but_usage(files(&host)), but_usage(before));
    }
}

/// Whatever umask they have: with one that takes nothing away anybody on the host could
/// write where guests are configured, with one that takes all nobody could look.
fn a_guest_is_the_same_whoever_has_typed_it(tree: Tree) {
    let modes = |mask: &str| {
        let host = Host::new();
        let vserver = |words: &[&str]| {
            let mut masked = Command::new("sh");
            masked.args(["-c", "umask $0 && exec \"$@\"", mask]).env(PREFIX, host.prefix());
            command::run(masked.arg(tests::host::program()).args(words), DEADLINE).ok()
        };
        let archive = tree.archive();
        let archive = archive.to_str().expect("a path in UTF-8");
        vserver(&["build", "web", "--method", "template", "--from", archive]);
        let script = host.paths().config_dir().join("web.sh");
        let own = "#!/bin/sh\numask >\"$VSERVER_ROOT/srv/umask\"\n";
        tests::executable::write(&script, own, 0o755);
        vserver(&["start", "web"]);
        vserver(&["snapshot", "create", "web", "before"]);
        vserver(&["config", "set", "web", "description", "x"]);
        let place = "etc/vservers run var/lib/vserver var/lib/vservers/.snapshots var/log";
        let mut find = Command::new("find");
        find.current_dir(host.prefix()).args(place.split(' '));
        // What is inside is the archive's.
        find.args(["-path", "*/before/*", "-prune", "-o", "-printf", "%m %p\n"]);
        let found = command::run(&mut find, DEADLINE).ok().stdout;
        let umask = fs::read_to_string(host.prefix().join("var/lib/vservers/web/srv/umask"));
        vserver(&["stop", "web"]);
        let mut found: Vec<_> = found.lines().map(str::to_owned).collect();
        found.sort();
        (found, umask.expect("the administrator's script has run"))
    };
    let usual = modes("022");
    assert!(usual.0.iter().any(|line| line.ends_with("run/vserver/web/control")), "{usual:?}");
    assert_eq!(modes("0"), usual);
    assert_eq!(modes("077"), usual);
}

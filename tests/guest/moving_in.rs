//! The whole way from another manager, as docs/moving-in.md shows it: their
//! configuration is imported, their files are built from or used where they
//! are, and the guest boots as its configuration says.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{DEADLINE, Finished, Host, Tree, command};

use crate::moved::{listing, run, unpacked};

on! { Busybox: [
    files_that_a_guest_has_waited_for_may_lie_in_an_image,
    files_that_have_come_are_what_the_configuration_says,
    a_guest_of_lxcs_moves_in,
    a_machine_of_nspawns_moves_in,
    an_instance_of_incuss_moves_in,
    a_container_of_openvzs_moves_in,
    a_guest_of_util_vservers_stays_where_it_is,
    a_guest_of_the_old_line_stays_where_it_is,
    a_build_that_fails_leaves_the_configuration,
] }

/// An installation, and what its guests see of it. Limits that the machine
/// can't enforce don't keep a guest from starting.
fn host() -> Host {
    let host = Host::new();
    host.configure("defaults", "limits.required = false\n");
    let shown = host.prefix().join("closed/www");
    fs::create_dir_all(&shown).expect("a directory can be made");
    fs::write(shown.join("index"), "welcome\n").expect("it can be written");
    run("chmod", &["700"], &host.prefix().join("closed"));
    host
}

fn old(host: &Host, name: &str, text: &str) -> PathBuf {
    let path = host.prefix().join("old").join(name);
    fs::create_dir_all(path.parent().expect("it has one")).expect("a directory can be made");
    fs::write(&path, text).expect("it can be written");
    path
}

#[track_caller]
fn import(host: &Host, path: &Path, root: Option<&Path>) -> Finished {
    let mut words = vec!["config".into(), "import".into(), path.as_os_str().to_owned()];
    words.extend(root.into_iter().flat_map(|root| ["--root".into(), root.as_os_str().to_owned()]));
    host.vserver(words)
}

/// Does what the import says comes next; the line is what a user would paste.
#[track_caller]
fn next(host: &Host, imported: &Finished) {
    let line = imported.stdout.lines().last().unwrap_or_default();
    let words = line.strip_prefix("next: vserver ").unwrap_or_else(|| panic!("{imported}"));
    let built = host.vserver(words.split(' ')).ok();
    if words.starts_with("build") {
        assert!(built.stdout.contains("next: vserver start "), "{built}");
        host.vserver(["start", words.split(' ').nth(1).unwrap_or_default()]).ok();
    }
}

#[track_caller]
fn is(host: &Host, name: &str, command: &[&str], answer: &str) {
    let words = ["exec", name, "--"].into_iter().chain(command.iter().copied());
    host.vserver(words).ok().says(answer);
}

fn a_guest_of_lxcs_moves_in(tree: Tree) {
    let host = host();
    let root = unpacked(&host, tree, "web/rootfs", 100_000);
    let text = format!(
        "lxc.uts.name = web.example.org\nlxc.rootfs.path = dir:{}\nlxc.idmap = u 0 100000 65536\n\
         lxc.mount.entry = {} srv/www none bind,ro,create=dir 0 0\nlxc.cap.drop = chown\n\
         lxc.prlimit.nofile = 4096\nlxc.net.0.type = empty\nlxc.group = web\n",
        root.display(),
        host.prefix().join("closed/www").display(),
    );
    let path = old(&host, "web/config", &text);
    let before = listing(&host.prefix().join("old"));
    let imported = import(&host, &path, None).code(0);
    next(&host, &imported);
    assert_eq!(listing(&host.prefix().join("old")), before, "the old one has changed");
    is(&host, "web", &["hostname"], "web.example.org\n");
    is(&host, "web", &["cat", "/srv/www/index"], "welcome\n");
    is(&host, "web", &["stat", "-c", "%U", "/home/user"], "user\n");
    is(&host, "web", &["sh", "-c", "ulimit -Hn"], "4096\n");
    host.vserver(["exec", "web", "--", "chown", "user", "/srv"]).code(1);
    host.vserver(["stop", "--mark", "web", "--no-kill"]).ok();
}

fn a_machine_of_nspawns_moves_in(tree: Tree) {
    let host = host();
    unpacked(&host, tree, "web", 1_879_048_192);
    let text = format!(
        "[Exec]\nBoot=yes\nHostname=web.example.org\nPrivateUsers=pick\n\n[Files]\n\
         Bind={}:/srv/www:norbind\nTemporaryFileSystem=/var/spool\n\n[Network]\nPrivate=yes\n",
        host.prefix().join("closed/www").display(),
    );
    let path = old(&host, "web.nspawn", &text);
    let imported = import(&host, &path, None).code(0);
    next(&host, &imported);
    is(&host, "web", &["hostname"], "web.example.org\n");
    is(&host, "web", &["cat", "/srv/www/index"], "welcome\n");
    is(&host, "web", &["stat", "-f", "-c", "%T", "/var/spool"], "tmpfs\n");
    host.vserver(["stop", "web", "--no-kill"]).ok();
}

fn an_instance_of_incuss_moves_in(tree: Tree) {
    let host = host();
    unpacked(&host, tree, "containers/web/rootfs", 1_000_000);
    let text = format!(
        r#"{{"name": "web", "type": "container", "profiles": ["default"], "config": {{}}, "devices": {{}},
        "expanded_config": {{"limits.kernel.nofile": "4096", "volatile.idmap.base": "1000000"}},
        "expanded_devices": {{"root": {{"type": "disk", "path": "/", "pool": "default"}}, "www":
        {{"type": "disk", "source": "{}", "path": "/srv/www", "readonly": "true"}}}}}}"#,
        host.prefix().join("closed/www").display(),
    );
    let path = old(&host, "web.json", &text);
    let imported = import(&host, &path, None).code(0);
    let usual = "--from /var/lib/incus/storage-pools/default/containers/web\n";
    assert!(imported.stdout.ends_with(usual), "{imported}");
    let files = host.prefix().join("old/containers/web");
    fs::write(files.join("backup.yaml"), "# theirs\n").expect("it can be written");
    let words = ["build", "web", "--method", "directory", "--from"];
    host.vserver(words.into_iter().chain(files.to_str())).ok();
    host.vserver(["start", "web"]).ok();
    is(&host, "web", &["cat", "/srv/www/index"], "welcome\n");
    is(&host, "web", &["sh", "-c", "ulimit -Hn"], "4096\n");
    is(&host, "web", &["stat", "-c", "%U", "/home/user"], "user\n");
    host.vserver(["stop", "web", "--no-kill"]).ok();
}

fn a_container_of_openvzs_moves_in(tree: Tree) {
    let host = host();
    unpacked(&host, tree, "private/101/fs", 0);
    let private = host.prefix().join("old/private");
    let text = format!(
        "ONBOOT=\"yes\"\nVE_PRIVATE=\"{}/$VEID\"\nHOSTNAME=\"shop.example.org\"\nNAME=\"shop\"\n\
         PHYSPAGES=\"0:65536\"\nSTOP_TIMEOUT=50\nIP_ADDRESS=\"192.0.2.10\"\nDISKINODES=\"1000:1000\"\n",
        private.display(),
    );
    let path = old(&host, "101.conf", &text);
    let imported = import(&host, &path, None).code(6);
    assert!(imported.stdout.contains("101.conf:8: DISKINODES"), "{imported}");
    // It would have its address on this machine's network.
    host.vserver(["config", "unset", "shop", "network.addresses"]).ok();
    next(&host, &imported);
    is(&host, "shop", &["hostname"], "shop.example.org\n");
    host.vserver(["config", "show", "shop"])
        .ok()
        .stdout
        .lines()
        .find(|l| *l == "memory = \"256M\"")
        .expect("its limit is there");
    host.vserver(["stop", "--enabled", "--no-kill"]).ok();
}

/// Files that are used where they are lie below a closed directory.
fn in_place(host: &Host, tree: Tree, name: &str) -> PathBuf {
    let root = unpacked(host, tree, name, 0);
    run("chmod", &["700"], &host.prefix().join("old"));
    root
}

fn a_guest_of_util_vservers_stays_where_it_is(tree: Tree) {
    let host = host();
    let root = in_place(&host, tree, "vservers/web");
    let shown = host.prefix().join("closed/www");
    for (name, text) in [
        ("context", "1234\n"),
        ("uts/nodename", "web.example.org\n"),
        ("apps/init/mark", "default\n"),
        ("apps/init/style", "plain\n"),
        ("bcapabilities", "~CHOWN\n"),
        ("interfaces/0/disabled", ""),
        ("interfaces/0/ip", "192.0.2.10\n"),
        (
            "fstab",
            &format!(
                "none /proc proc defaults 0 0\n{} /srv/www none bind,ro 0 0\n",
                shown.display()
            ),
        ),
    ] {
        old(&host, &format!("etc/web/{name}"), text);
    }
    let path = host.prefix().join("old/etc/web");
    symlink(&root, path.join("vdir")).expect("a link");
    let imported = import(&host, &path, Some(&root)).code(0);
    assert!(imported.stdout.contains(&format!("its files are '{}'", root.display())), "{imported}");
    next(&host, &imported);
    is(&host, "web", &["hostname"], "web.example.org\n");
    is(&host, "web", &["cat", "/srv/www/index"], "welcome\n");
    host.vserver(["exec", "web", "--", "touch", "/srv/mine"]).ok();
    assert!(root.join("srv/mine").exists());
    let status = host.vserver(["status", "web"]).ok();
    assert!(status.stdout.starts_with("Vserver 'web' is running at context '1234'\n"), "{status}");
    host.vserver(["stop", "--mark", "default", "--no-kill"]).ok();
}

fn a_guest_of_the_old_line_stays_where_it_is(tree: Tree) {
    let host = host();
    let root = in_place(&host, tree, "vservers/web");
    let text = "# newvserver made this\nIPROOT=\"\"\nS_HOSTNAME='web.example.org'\nS_CONTEXT=77\n\
                S_NICE=5\nS_FLAGS=\"lock nproc\"\nULIMIT=\"-H -u 300\"\nONBOOT=no\n";
    let path = old(&host, "web.conf", text);
    let imported = import(&host, &path, Some(&root)).code(0);
    next(&host, &imported);
    is(&host, "web", &["hostname"], "web.example.org\n");
    let level = "read -r line < /proc/self/stat; set -- $line; echo ${19}";
    is(&host, "web", &["sh", "-c", level], "5\n");
    host.vserver(["stop", "web", "--no-kill"]).ok();
    // Shifted owners aren't a guest's: they are for 'build'.
    run("chown", &["100000"], &root);
    let again = ["config", "import", path.to_str().expect("text"), "--name", "web2", "--root"];
    let again = again.iter().copied().chain([root.to_str().expect("text")]);
    host.vserver(again).code(1).complains("belongs to the user 100000, not to root");
    host.vserver(["status", "web2"]).code(5);
}

fn a_build_that_fails_leaves_the_configuration(tree: Tree) {
    let host = host();
    let root = unpacked(&host, tree, "web/rootfs", 0);
    let path = old(&host, "web/config", "lxc.uts.name = web\nlxc.start.auto = 1\n");
    import(&host, &path, None).code(0);
    let text = || fs::read_to_string(host.paths().config_dir().join("web.toml")).expect("it is");
    let before = text();
    let root = root.to_str().expect("text");
    let build = |more: &[&str]| {
        let words = ["build", "web", "--method", "directory", "--from"];
        host.vserver(words.into_iter().chain(more.iter().copied()))
    };
    build(&["/proc/self/fdinfo"]).code(1).complains("holds no system");
    build(&[root, "--hostname", "other"]).code(2).complains("'--hostname' goes with a new one");
    host.vserver(["build", "web", "--method", "skeleton"]).code(1).complains("guest 'web' exists");
    assert_eq!(text(), before);
    build(&[root, "--dry-run"]).ok();
    build(&[root]).ok();
    assert_eq!(text(), before);
    build(&[root]).code(1).complains("guest 'web' exists");
    host.vserver(["delete", "web", "--yes"]).ok();
}

fn files_that_a_guest_has_waited_for_may_lie_in_an_image(tree: Tree) {
    let host = host();
    let root = unpacked(&host, tree, "web/rootfs", 0);
    let path = old(&host, "web/config", "lxc.uts.name = web.example.org\n");
    import(&host, &path, None).code(0);
    let root = root.to_str().expect("text");
    let words = ["build", "web", "--method", "directory", "--storage", "image", "--size", "64M"];
    host.vserver(words.into_iter().chain(["--from", root])).ok();
    let config = host.vserver(["config", "show", "web"]).ok().stdout;
    assert!(config.lines().any(|line| line == "kind = \"image\""), "{config}");
    host.vserver(["start", "web"]).ok();
    is(&host, "web", &["hostname"], "web.example.org\n");
    host.vserver(["stop", "web", "--no-kill"]).ok();
}

/// Whenever the build is killed.
fn files_that_have_come_are_what_the_configuration_says(tree: Tree) {
    let host = host();
    let root = unpacked(&host, tree, "web/rootfs", 0);
    let path = old(&host, "web/config", "lxc.uts.name = web.example.org\n");
    import(&host, &path, None).code(0);
    let words = ["build", "web", "--method", "directory", "--storage", "image", "--size", "64M"];
    let build = host.command(words.into_iter().chain(["--from", root.to_str().expect("text")]));
    let image = host.paths().root(&"web".parse().expect("a name"));
    let mut kills = 0;
    for number in 1.. {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "-e", "trace=fsync", "-e"]);
        strace.arg(format!("inject=fsync:signal=KILL:when={number}"));
        strace.arg(build.get_program()).args(build.get_args());
        for (key, value) in build.get_envs() {
            strace.env(key, value.expect("none is taken away"));
        }
        let ended = command::run(&mut strace, DEADLINE);
        if image.exists() {
            let config = host.vserver(["config", "show", "web"]).ok().stdout;
            let is_said = config.lines().any(|line| line == "kind = \"image\"");
            assert!(image.is_file() && is_said, "kill {number}: {config}");
            break;
        }
        assert_ne!(ended.code, 0, "{ended}");
        kills += 1;
    }
    assert!(kills > 0, "it was never killed before that");
    host.vserver(["start", "web"]).ok();
    host.vserver(["stop", "web", "--no-kill"]).ok();
}

//! What lies below guests' files is neither damaged nor lost: images that others
//! use, snapshots that are read, bases that a file with mistakes may name.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Instant;

use tests::{DEADLINE, Host, Tree, command, executable};

use super::storage::{another_over, attached, beside, in_image, over, snapshot};

on! { Busybox: [
    an_image_in_use_is_waited_for_but_not_for_ever,
    a_snapshot_of_an_image_is_only_looked_at,
    an_image_is_filled_by_programs_that_make_devices,
    what_a_file_with_mistakes_may_mean_stays,
    the_part_that_is_missing_is_named,
] }

/// Another guest's, whose lock is not this one's.
fn an_image_in_use_is_waited_for_but_not_for_ever(tree: Tree) {
    let host = Host::new();
    let web = in_image(&host, tree);
    // No two guests have one root, but a file may have two names.
    let link = host.prefix().join("link");
    fs::hard_link(web.root(), &link).expect("it can be made");
    let other = host.guest("other").tree(tree).set("root", &link.display().to_string());
    let other = other.set("storage.kind", "image").build();
    web.start();
    let start = Instant::now();
    other.vserver("start", [""; 0]).code(1).complains("the image is in use");
    let file = host.prefix().join("web.tar.zst").display().to_string();
    host.vserver(["export", "other", &file]).code(1).complains("the image is in use");
    host.vserver(["clone", "other", "shop"]).code(1).complains("the image is in use");
    assert!(start.elapsed() < DEADLINE);
    web.shell("echo on >/srv/new").ok();
    web.vserver("stop", ["--timeout", "1"]);
    other.start();
    other.shell("cat /srv/new").ok().says("on\n");
    other.vserver("stop", ["--timeout", "1"]);
}

fn a_snapshot_of_an_image_is_only_looked_at(tree: Tree) {
    let host = Host::new();
    let web = in_image(&host, tree);
    web.start();
    web.shell("echo web >/srv/new; cp -a /bin /srv/bin; rm /srv/one").ok();
    host.vserver(["snapshot", "create", "web", "s1"]).ok();
    web.vserver("stop", ["--timeout", "1"]);
    let file = snapshot(&host, "web", "s1");
    let before = fs::read(&file).expect("it is there");
    let plain = ["--snapshot", "s1", "--storage", "directory"];
    host.vserver(["clone", "web", "plain"].iter().chain(&plain)).ok();
    assert!(fs::read(&file).expect("it is there") == before, "the snapshot has changed");
    let copy = web.other("plain");
    assert_eq!(copy.read("/srv/new"), "web\n");
    assert!(!copy.root().join("srv/one").exists());
    let read = |path: &str| fs::read(copy.root().join(path)).expect("it is there");
    assert!(read("bin/busybox") == read("srv/bin/busybox"));
    // Another size is another limit.
    host.vserver(["config", "set", "web", "limits.disk", "80M"]).ok();
    let small = ["--snapshot", "s1", "--storage", "image", "--size", "32M"];
    host.vserver(["clone", "web", "small"].iter().chain(&small)).ok();
    let small = web.other("small");
    small.start();
    assert_eq!(fs::metadata(small.root()).expect("it is there").len(), 32 << 20);
    small.vserver("stop", ["--timeout", "1"]);
    // The same of layers.
    host.vserver(["snapshot", "create", "plain", "v1"]).ok();
    let over = another_over(&copy, "over");
    over.start();
    over.shell("echo over >/srv/new; rm -r /srv/bin").ok();
    host.vserver(["snapshot", "create", "over", "s1"]).ok();
    over.vserver("stop", ["--timeout", "1"]);
    let layers = snapshot(&host, "over", "s1");
    let state = || fs::metadata(layers.join("work")).expect("it is there").ctime_nsec();
    let before = state();
    host.vserver(["clone", "over", "free"].iter().chain(&plain)).ok();
    assert_eq!(state(), before);
    assert_eq!(web.other("free").read("/srv/new"), "over\n");
    assert!(!web.other("free").root().join("srv/bin").exists());
    assert!(web.other("free").root().join("srv/two").exists());
}

/// As debootstrap does, which gives up where its null device doesn't work.
fn an_image_is_filled_by_programs_that_make_devices(tree: Tree) {
    let host = Host::new();
    let programs = host.prefix().join("programs");
    fs::create_dir(&programs).expect("it can be made");
    let archive = tree.archive();
    let text = format!(
        "#!/bin/sh -e\nfor target; do [ -d \"$target\" ] && break; done\n\
         mknod \"$target/test-dev-null\" c 1 3\n\
         if ! echo test >\"$target/test-dev-null\"; then echo nodev; exit 1; fi\n\
         rm \"$target/test-dev-null\"\ntar -C \"$target\" -xf '{}'\n",
        archive.display()
    );
    for name in ["mmdebstrap", "debootstrap"] {
        let script = programs.join(name);
        executable::write(&script, &text, 0o755);
    }
    // Builds take tools of the host's own directories only.
    let words = ["build", "web", "-m", "debootstrap", "--suite", "bookworm"];
    let build = host.command(words.iter().chain(&["--storage", "image", "--size", "64M"]));
    let mut covered = Command::new("unshare");
    let script = "mount --bind \"$1\" /usr/local/sbin; shift; exec \"$@\"";
    covered.args(["--mount", "--propagation", "private", "sh", "-ec", script, "sh"]);
    covered.arg(&programs).arg(build.get_program()).args(build.get_args());
    covered.envs(build.get_envs().filter_map(|(key, value)| Some((key, value?))));
    command::run(&mut covered, DEADLINE).ok();
    assert_eq!(attached(&host), [""; 0]);
}

fn what_a_file_with_mistakes_may_mean_stays(tree: Tree) {
    let host = Host::new();
    let (golden, web) = over(&host, tree);
    let file = host.paths().config(&"web".parse().expect("it is a name"));
    let right = fs::read_to_string(&file).expect("it is there");
    fs::write(&file, format!("{right}\nwrong = 1\n")).expect("it can be written");
    for refused in
        [["delete", "golden", "--yes"].as_slice(), &["snapshot", "delete", "golden", "v1", "--yes"]]
    {
        host.vserver(refused).code(1).complains("guest 'web' may lie over it");
    }
    // It says nothing of others.
    host.guest("other").tree(tree).build();
    host.vserver(["delete", "other", "--yes"]).ok();
    fs::write(&file, right).expect("it can be written");
    // A snapshot can lie over what its guest no longer does.
    host.vserver(["snapshot", "create", "web", "s1"]).ok();
    host.vserver(["clone", "web", "free", "--storage", "directory"]).ok();
    fs::remove_dir_all(web.root()).expect("it can be removed");
    fs::rename(web.other("free").root(), web.root()).expect("it can be moved");
    let text = fs::read_to_string(&file).expect("it is there");
    let is_storage = |line: &&str| line.starts_with("base =") || line.starts_with("kind =");
    let kept: Vec<_> = text.lines().filter(|line| !is_storage(line)).collect();
    fs::write(&file, kept.join("\n")).expect("it can be written");
    let refused = host.vserver(["delete", "golden", "--yes"]).code(1);
    refused.complains("snapshot 's1' of guest 'web' lies over");
    host.vserver(["delete", "web", "free", golden.name(), "--yes"]).ok();
    // One that lies over a snapshot of its own is not in its own way.
    let own = host.guest("own").tree(tree).build();
    host.vserver(["snapshot", "create", "own", "v1"]).ok();
    let file = host.paths().config(&"own".parse().expect("it is a name"));
    let base = snapshot(&host, "own", "v1");
    let text = fs::read_to_string(&file).expect("it is there");
    let table = format!("[storage]\nkind = \"overlay\"\nbase = \"{}\"\n", base.display());
    fs::write(&file, text.replacen("[storage]\n", &table, 1)).expect("it can be written");
    let words = ["snapshot", "delete", "own", "v1", "--yes"];
    host.vserver(words).code(1).complains("guest 'own' lies over");
    host.vserver(["delete", own.name(), "--yes"]).ok();
    assert_eq!(beside(&host), [""; 0]);
}

fn the_part_that_is_missing_is_named(tree: Tree) {
    let host = Host::new();
    let (_, web) = over(&host, tree);
    let base = snapshot(&host, "golden", "v1");
    let away = base.with_extension("away");
    fs::rename(&base, &away).expect("it can be moved");
    let refused = web.vserver("start", [""; 0]).code(1);
    refused.complains(&format!("opening '{}', which it lies over", base.display()));
    let refused = web.vserver("start", [""; 0]).code(1);
    assert!(!refused.stderr.contains("vserver build"), "{refused}");
    fs::rename(&away, &base).expect("it can be moved");
    web.start();
    web.vserver("stop", ["--timeout", "1"]);
}

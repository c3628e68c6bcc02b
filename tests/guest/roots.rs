//! Where guests' roots lie: no two guests have one, none lies in another's, and nothing
//! of the host's is one or is set aside for one.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use tests::{Host, Tree};

on! { Busybox: [
    two_guests_with_one_root_are_refused,
    nothing_but_its_own_is_set_aside_for_a_guest,
    nothing_that_a_link_leads_to_goes_with_another_guest,
    what_others_may_replace_is_told_before_it_is_to_be_deleted,
    what_a_build_would_refuse_a_dry_run_refuses_too,
    what_was_laid_ready_for_a_copy_stays,
] }

fn two_guests_with_one_root_are_refused(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let shop = host.guest("shop").tree(tree).build();
    let root = web.root().display().to_string();
    for (root, said) in [
        (root.clone(), "is the root of guest 'web'"),
        (format!("{root}/srv/shop"), "lies in"),
        (host.paths().roots_dir().display().to_string(), "holds vserver's own"),
    ] {
        host.vserver(["config", "set", "shop", "root", &root]).code(1).complains(said);
    }
    // Written by hand, or since before there was such a rule.
    let path = host.paths().config(&"shop".parse().expect("a name"));
    let right = fs::read_to_string(&path).expect("it is there");
    let taken = right.replace("\n#root = ", &format!("\nroot = \"{root}\"\n#root = "));
    assert_ne!(taken, right);
    fs::write(&path, &taken).expect("it can be written");
    web.start();
    let said = "is the root of guest 'web'";
    host.vserver(["config", "check"]).code(1).complains(said);
    for verb in ["start", "exec"] {
        let words = [verb, "shop"].into_iter().chain((verb == "exec").then_some("true"));
        let answer = host.vserver(words);
        assert_ne!(answer.code, 0, "{answer}");
        answer.complains("cannot start guest 'shop'").complains(said);
    }
    host.vserver(["start", "shop", "--dry-run"]).code(1).complains(said);
    assert!(!shop.is_running() && web.is_running());
    // What another one's file says keeps a guest at its usual place from nothing, but that
    // its files are removed.
    host.vserver(["config", "set", "web", "description", "ours"]).ok();
    web.stop();
    host.vserver(["limits", "web", "files=1024"]).ok();
    host.vserver(["enable", "web"]).ok();
    host.vserver(["config", "check", "web"]).ok();
    host.vserver(["snapshot", "create", "web", "s1"]).ok();
    host.vserver(["snapshot", "restore", "web", "s1", "--yes"]).ok();
    host.vserver(["rename", "web", "mail"]).ok();
    host.vserver(["rename", "mail", "web"]).ok();
    let refused = host.vserver(["delete", "web", "--yes"]).code(1);
    refused.complains("the root of guest 'shop'").complains("vserver config edit shop");
    assert!(web.root().join("bin").exists());
    // One moves away while it runs: its boot's place counts.
    fs::write(&path, &right).expect("it can be written");
    web.start();
    let elsewhere = host.prefix().join("elsewhere").display().to_string();
    host.vserver(["config", "set", "web", "root", &elsewhere]).ok();
    fs::write(&path, &taken).expect("it can be written");
    shop.vserver("start", [""; 0]).code(1).complains(said);
    host.vserver(["config", "unset", "web", "root"]).code(1).complains("guest 'shop'");
    fs::write(&path, right).expect("it can be written");
    host.vserver(["config", "unset", "web", "root"]).ok();
    web.stop();
    shop.start().stop();
}

fn nothing_but_its_own_is_set_aside_for_a_guest(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let others = host.prefix().join("others");
    fs::create_dir(&others).expect("it can be made");
    let open = host.prefix().join("open");
    fs::create_dir(&open).expect("it can be made");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("it can be set");
    let build = |root: &str, more: &[&str]| {
        let words = ["build", "shop", "--method", "skeleton", "--root", root];
        host.vserver(words.into_iter().chain(more.iter().copied()))
    };
    let (others, taken) = (others.display().to_string(), web.root().display().to_string());
    for more in [[].as_slice(), &["--force"], &["--dry-run"]] {
        let refused = build(&others, more).code(1).complains("is there already");
        assert!(!refused.stderr.contains("'--force'"), "{refused}");
        build(&taken, more).code(1).complains("is the root of guest 'web'");
        build("/etc", more).code(2).complains("a directory of the host's own");
        build("relative", more).code(2).complains("an absolute path");
        // Whoever may put another one there could have anything of the host's deleted.
        build(&open.join("shop").display().to_string(), more)
            .code(1)
            .complains("others than root may change")
            .complains("chmod go-w");
    }
    assert!(fs::exists(&others).is_ok_and(|there| there) && web.root().join("bin").exists());
    host.vserver(["status", "shop"]).code(5);
    // Its own, wherever that is.
    let own = host.prefix().join("own").display().to_string();
    build(&own, &[]).ok();
    build(&own, &[]).code(1).complains("guest 'shop' exists").complains("'--force'");
    build(&own, &["--force"]).ok().complains("the old one is now");
}

fn nothing_that_a_link_leads_to_goes_with_another_guest(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    host.guest("shop").tree(tree).build();
    host.guest("golden").tree(tree).build();
    host.vserver(["snapshot", "create", "golden", "s1"]).ok();
    let disk = host.prefix().join("disk");
    fs::create_dir(&disk).expect("it can be made");
    fs::set_permissions(&disk, fs::Permissions::from_mode(0o700)).expect("it is ours");
    let files = disk.join("web");
    fs::rename(web.root(), &files).expect("it can be renamed");
    symlink(&files, web.root()).expect("it can be made");
    web.start();
    let path = host.paths().config(&"shop".parse().expect("a name"));
    let right = fs::read_to_string(&path).expect("it is there");
    for (root, said) in [(&files, "is the root of guest 'web'"), (&disk, "holds")] {
        let root = root.display();
        let taken = right.replace("\n#root = ", &format!("\nroot = \"{root}\"\n#root = "));
        fs::write(&path, taken).expect("it can be written");
        host.vserver(["delete", "shop", "--yes"]).code(1).complains(said);
        let laid = host.vserver(["unify", "--base", "golden@s1", "shop"]).code(1);
        assert!(format!("{laid}").contains(said), "{laid}");
    }
    assert!(files.join("bin").exists() && web.is_running());
    fs::write(&path, right).expect("it can be written");
    web.stop();
    host.vserver(["delete", "shop", "--yes"]).ok();
}

fn what_others_may_replace_is_told_before_it_is_to_be_deleted(_: Tree) {
    let host = Host::new();
    let shelf = host.prefix().join("shelf");
    let mode = |mode| {
        fs::set_permissions(&shelf, fs::Permissions::from_mode(mode)).expect("it can be set");
    };
    fs::create_dir(&shelf).expect("it can be made");
    // Root's group is root's.
    mode(0o775);
    let root = shelf.join("shop").display().to_string();
    let force = ["build", "shop", "--method", "skeleton", "--root", &root, "--force"];
    host.vserver(force).ok();
    mode(0o777);
    let refused = |words: &[&str]| {
        let refused = host.vserver(words.iter().copied()).code(1);
        refused.complains("others than root may change").complains("chmod go-w");
    };
    refused(&["move", "shop", "nowhere.invalid", "--delete"]);
    refused(&force);
    refused(&["delete", "shop", "--yes"]);
    refused(&["snapshot", "create", "shop", "s1"]);
    mode(0o775);
    host.vserver(["snapshot", "create", "shop", "s1"]).ok();
    mode(0o777);
    refused(&["snapshot", "restore", "shop", "s1", "--yes"]);
    refused(&["snapshot", "delete", "shop", "s1", "--yes"]);
    mode(0o775);
    host.vserver(["snapshot", "restore", "shop", "s1", "--yes"]).ok();
    host.vserver(["delete", "shop", "--yes"]).ok();
    assert_eq!(fs::read_dir(&shelf).expect("it is there").count(), 0);
}

fn what_a_build_would_refuse_a_dry_run_refuses_too(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let context = web.status().context.to_string();
    let files = |from| ["--method", from, "--from", "/no/such/file"];
    for words in [
        ["--method", "skeleton", "--context", &context].as_slice(),
        &["--packages", "no-such-package"],
        &["--method", "dnf"],
        &files("template"),
        &files("directory"),
        &files("oci"),
        &files("rsync"),
    ] {
        let line = ["build", "shop", "--dry-run"].into_iter().chain(words.iter().copied());
        let answer = host.vserver(line);
        assert!(matches!(answer.code, 1 | 2), "{words:?}\n{answer}");
    }
    let clone = ["clone", "web", "shop", "--dry-run", "--context", &context];
    host.vserver(clone).code(1).complains("guest 'web'");
    host.vserver(["build", "shop", "--method", "skeleton", "--dry-run"]).ok();
    host.vserver(["clone", "web", "shop", "--dry-run"]).ok();
    assert_eq!(fs::read_dir(host.paths().roots_dir()).expect("it is there").count(), 1);
    let locks = fs::read_dir(host.paths().run_dir()).expect("it is there").flatten();
    let locks: Vec<_> = locks.map(|entry| entry.file_name()).collect();
    assert!(!locks.contains(&".lock-shop".into()), "{locks:?}");
}

fn what_was_laid_ready_for_a_copy_stays(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let actions = |name: &str| host.paths().actions(&name.parse().expect("a name"));
    fs::write(actions("shop"), "laid ready").expect("it can be written");
    let context = web.status().context.to_string();
    host.vserver(["clone", "web", "shop", "--context", &context]).code(1);
    host.vserver(["clone", "web", "shop"]).ok();
    host.vserver(["delete", "shop", "--yes"]).ok();
    fs::write(actions("shop"), "laid ready").expect("it can be written");
    fs::write(actions("web"), "#!/bin/sh\n").expect("it can be written");
    host.vserver(["clone", "web", "shop"]).code(1).complains("guest 'shop' has actions already");
    let file = host.prefix().join("web.tar.zst").display().to_string();
    host.vserver(["export", "web", &file]).ok();
    host.vserver(["import", &file, "shop", "--actions"]).code(1).complains("has actions already");
    assert_eq!(fs::read_to_string(actions("shop")).expect("it is there"), "laid ready");
    host.vserver(["status", "shop"]).code(5);
}

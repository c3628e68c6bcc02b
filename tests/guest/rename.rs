//! `vserver rename`: all of the guest has the new name, nothing of it the old.

use std::fs;

use tests::{DEADLINE, Host, Tree, command};

on! { Busybox: [
    everything_goes_with_it,
    a_rename_that_was_killed_is_finished,
    a_rename_that_was_killed_at_its_end_is_finished,
    only_what_was_begun_is_finished,
    nothing_is_overwritten,
] }

/// What of the installation has this name.
fn named(host: &Host, name: &str) -> Vec<String> {
    let mut find = std::process::Command::new("find");
    find.arg(host.prefix()).args(["-name", &format!("{name}*")]);
    find.args(["-o", "-name", &format!(".lock-{name}")]);
    let found = command::run(&mut find, DEADLINE).ok();
    found.stdout.lines().map(str::to_owned).filter(|path| !path.contains("/.lock-")).collect()
}

fn everything_goes_with_it(tree: Tree) {
    let host = Host::new();
    let old = host.guest("shop-old").tree(tree).build();
    let after = host.guest("after").tree(tree).list("after", &["shop-old"]).build();
    fs::write(host.paths().actions(&"shop-old".parse().expect("a name")), "").expect("it");
    old.start();
    let context = old.status().context;
    host.vserver(["rename", "shop-old", "new"]).code(1).complains("is running");
    old.stop();
    let hours = host.vserver(["usage", "shop-old", "--json"]).ok().stdout;
    let preview = host.vserver(["rename", "shop-old", "new", "--dry-run"]).ok();
    assert!(preview.stdout.contains("would rename"), "{preview}");
    assert!(old.root().exists());
    host.vserver(["rename", "shop-old", "new"]).ok().says("guest 'shop-old' is now 'new'\n");
    assert_eq!(named(&host, "shop-old"), [""; 0]);
    host.vserver(["status", "shop-old"]).code(5);
    let new = old.other("new");
    assert_eq!(new.status().context, context);
    let theirs = host.vserver(["usage", "new", "--json"]).ok().stdout;
    assert_eq!(theirs, hours.replace("shop-old", "new"));
    assert!(new.log().contains("rcS: boot scripts run"), "{}", new.log());
    let config = host.vserver(["config", "show", after.name()]).ok();
    assert!(config.stdout.contains("after = [\"new\"]"), "{config}");
    new.start();
    new.exec(["hostname"]).ok();
    new.stop();
}

fn a_rename_that_was_killed_is_finished(tree: Tree) {
    let host = Host::new();
    let old = host.guest("old").tree(tree).build();
    old.start().stop();
    let context = old.status().context;
    // As far as it comes when it is killed before the configuration.
    let ids = fs::read_to_string(host.paths().ids()).expect("they are there");
    fs::write(host.paths().ids(), ids.replace("guests.old", "guests.new")).expect("it");
    let new = old.other("new");
    fs::rename(old.root(), new.root()).expect("it can be renamed");
    let note = host.paths().renaming(&"old".parse().expect("a name"));
    fs::write(&note, "new\n").expect("it can be written");
    host.vserver(["rename", "old", "new"]).ok();
    assert_eq!(new.status().context, context);
    assert_eq!(named(&host, "old"), [""; 0]);
    new.start().stop();
}

fn a_rename_that_was_killed_at_its_end_is_finished(tree: Tree) {
    let host = Host::new();
    let old = host.guest("old").tree(tree).build();
    let after = host.guest("after").tree(tree).list("after", &["old"]).build();
    // As far as it comes when it is killed after the configuration.
    let ids = fs::read_to_string(host.paths().ids()).expect("they are there");
    fs::write(host.paths().ids(), ids.replace("guests.old", "guests.new")).expect("it");
    let new = old.other("new");
    fs::rename(old.root(), new.root()).expect("it can be renamed");
    let file = |name: &str| host.paths().config(&name.parse().expect("a name"));
    // Before that, a start says what there is to do.
    old.vserver("start", [""; 0]).code(1).complains("vserver rename old new");
    fs::rename(file("old"), file("new")).expect("it can be renamed");
    let note = host.paths().renaming(&"old".parse().expect("a name"));
    fs::write(&note, "new\n").expect("it can be written");
    host.vserver(["rename", "old", "new"]).ok().says("guest 'old' is now 'new'\n");
    assert!(!note.exists());
    let config = host.vserver(["config", "show", after.name()]).ok();
    assert!(config.stdout.contains("after = [\"new\"]"), "{config}");
    host.vserver(["rename", "old", "new"]).code(5);
    new.start().stop();
}

fn only_what_was_begun_is_finished(tree: Tree) {
    let host = Host::new();
    let (web, db) = (host.guest("web").tree(tree).build(), host.guest("db2").tree(tree).build());
    let shop = host.guest("shop").tree(tree).list("after", &["db"]).build();
    // There is none of this name, and another one of the new name.
    host.vserver(["rename", "db", db.name()]).code(5).complains("there is no guest 'db'");
    let config = host.vserver(["config", "show", shop.name()]).ok();
    assert!(config.stdout.contains("after = [\"db\"]"), "{config}");

    // One that was killed when numbers and root had their new name, and goes wrong then.
    let ids = fs::read_to_string(host.paths().ids()).expect("they are there");
    fs::write(host.paths().ids(), ids.replace("guests.web", "guests.www")).expect("it");
    let www = web.other("www");
    fs::rename(web.root(), www.root()).expect("it can be renamed");
    let note = host.paths().renaming(&"web".parse().expect("a name"));
    fs::write(&note, "www\n").expect("it can be written");
    // What has either name is all of one guest.
    let skeleton = ["build", "www", "--method", "skeleton"];
    let set_aside = ["build", "www", "--method", "skeleton", "--force"];
    for words in [
        &["rename", "web", "mail"][..],
        &["rename", "db2", "www"],
        &["clone", "db2", "www"],
        &["delete", "web", "--yes"],
        &["delete", "www", "--yes"],
        &skeleton,
        &set_aside,
    ] {
        let refused = host.vserver(words).code(1).complains("vserver rename web www");
        assert!(!refused.stderr.contains("vserver delete"), "{refused}");
    }
    assert!(www.root().join("bin").exists());
    let actions = |name: &str| host.paths().actions(&name.parse().expect("a name"));
    for name in ["web", "www"] {
        fs::write(actions(name), "").expect("it can be written");
    }
    host.vserver(["rename", "web", "www"]).code(1).complains("File exists");
    let now = fs::read_to_string(host.paths().ids()).expect("they are there");
    assert!(now.contains("guests.www") && !now.contains("guests.web"), "{now}");
    fs::remove_file(actions("web")).expect("it is there");
    host.vserver(["rename", "web", "www"]).ok();
    assert!(!note.exists() && www.root().join("bin").exists());

    // Files that lie at the new name's place, whoever has put them there, may be all there are.
    fs::rename(www.root(), web.root()).expect("it can be renamed");
    let refused = host.vserver(["rename", "www", "web"]).code(1).complains("guest 'web' exists");
    let (from, to) = (web.root(), www.root());
    let refused = refused.complains(&format!("mv '{}' '{}'", from.display(), to.display()));
    assert!(!refused.stderr.contains("delete"), "{refused}");
    // Nothing that can't be done is left to be finished.
    assert!(!host.paths().renaming(&"www".parse().expect("a name")).exists());
    host.vserver(["delete", "www", "--yes"]).ok();
}

fn nothing_is_overwritten(tree: Tree) {
    let host = Host::new();
    let old = host.guest("old").tree(tree).build();
    let other = host.guest("other").tree(tree).build();
    other.write("/srv/mine", "mine", 0o644);
    host.vserver(["rename", "old", "other"]).code(1).complains("'other' exists");
    host.vserver(["rename", "old", "old"]).code(2);
    host.vserver(["rename", "nobody", "new"]).code(5);
    host.vserver(["rename", "old", "start"]).code(2);
    assert_eq!(other.read("/srv/mine"), "mine");
    // The account of a guest that was deleted is kept, whoever has its name.
    other.start().stop();
    host.vserver(["delete", "other", "--yes"]).ok();
    host.vserver(["rename", "old", "other"]).ok().complains("account of a deleted guest");
    old.other("other").start().stop();
    assert_eq!(named(&host, "other.json.~").len(), 1);
}

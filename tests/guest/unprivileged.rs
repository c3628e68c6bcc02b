//! Whoever isn't root is told that, and gets no wrong answers.

use std::os::unix::process::CommandExt;

use tests::{DEADLINE, Finished, Host, Tree, command};

on! { Busybox: [who_is_not_root_is_told_so] }

const NOBODY: u32 = 65_534;

fn who_is_not_root_is_told_so(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    web.start();
    // From then on there is an account.
    host.vserver(["usage"]).ok();
    let asked = |words: &[&str]| -> Finished {
        command::run(host.command(words).uid(NOBODY).gid(NOBODY), DEADLINE)
    };
    for words in [
        &["start", "web"] as &[&str],
        &["stop", "web"],
        &["status", "web"],
        &["running", "web"],
        &["enable", "web"],
        &["config", "set", "web", "description", "x"],
        &["usage"],
        &["metrics"],
        &["unify", "--all"],
        &["demo"],
    ] {
        let answer = asked(words).code(4);
        assert!(answer.stdout.is_empty() && answer.stderr.contains("root"), "{answer}");
        assert_eq!(answer.stderr.matches("this needs root; try sudo").count(), 1, "{answer}");
    }
    assert!(web.is_running());
    asked(&["vserver-info", "web", "RUNNING"]).ok().says("1\n");
    let context = format!("{}\n", web.status().context);
    asked(&["vserver-info", "web", "CONTEXT"]).ok().says(&context);
}

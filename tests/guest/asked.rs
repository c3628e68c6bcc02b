//! What a terminal is asked and shown: the question before something is deleted,
//! and how far a build is.

use std::process::Command;

use tests::terminal::Terminal;
use tests::{Host, Tree};

on! { Busybox: [
    only_a_yes_deletes,
    what_has_started_meanwhile_is_not_deleted,
    a_terminal_shows_how_far_a_build_is,
] }

const QUESTION: &str = "Are you sure you want to delete the vserver web (y/N) ";

fn only_a_yes_deletes(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    host.vserver(["clone", "web", "shop"]).ok();
    let delete = |names: &[&str]| host.command(["delete"].iter().chain(names));
    // Nobody is there to be asked.
    web.vserver("delete", [""; 0]).code(2).complains("is not deleted without '--yes'");
    for (typed, code) in
        [("n\n", 2), ("\n", 2), ("yesterday\n", 2), ("no\n", 2), ("\x04", 2), ("\x03", 130)]
    {
        let mut terminal = Terminal::open(&delete(&["web"]));
        terminal.expect(QUESTION);
        terminal.type_in(typed);
        assert_eq!(terminal.end(), code, "{typed:?}");
        if code == 2 {
            terminal.expect("guest 'web' is not deleted");
        }
        web.vserver("status", [""; 0]).code(3);
    }
    // Each is asked for, and who says no to one is asked no more.
    host.vserver(["clone", "web", "mail"]).ok();
    let mut terminal = Terminal::open(&delete(&["web", "shop", "mail"]));
    terminal.expect(QUESTION);
    terminal.type_in("Yes\n");
    terminal.expect("guest 'web' is deleted");
    terminal.expect("delete the vserver shop (y/N) ");
    terminal.type_in("n\n");
    assert_eq!(terminal.end(), 2);
    assert!(!terminal.seen().contains("vserver mail"), "{}", terminal.seen());
    for (name, code) in [("web", 5), ("shop", 3), ("mail", 3)] {
        host.vserver(["status", name]).code(code);
    }
}

fn what_has_started_meanwhile_is_not_deleted(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let mut terminal = Terminal::open(&web.command("delete", [""; 0]));
    terminal.expect(QUESTION);
    web.start();
    terminal.type_in("y\n");
    terminal.expect("'web' is running");
    assert_eq!(terminal.end(), 1);
    web.exec(["hostname"]).ok().says("web\n");
    web.stop();
}

fn a_terminal_shows_how_far_a_build_is(tree: Tree) {
    let host = Host::new();
    let archive = tree.archive().display().to_string();
    let build = |name| host.command(["build", name, "-m", "template", "--from", &archive]);
    let on = |terminal: &str, command: Command| {
        let mut command = command;
        let mut terminal = Terminal::open(command.env("TERM", terminal));
        terminal.expect("next: vserver start");
        assert_eq!(terminal.end(), 0);
        terminal.seen().to_owned()
    };
    let shown = on("xterm", build("web"));
    let (progress, rest) = shown.split_once("guest 'web' is built").expect("it says so");
    assert!(progress.contains("extracting [") && progress.contains(" MiB"), "{shown:?}");
    // It is gone when that is said.
    assert!(progress.ends_with("\r\x1b[2K"), "{shown:?}");
    assert!(!rest.contains("extracting"), "{shown:?}");
    // Where nothing can be taken away again, nothing is shown.
    let shown = on("dumb", build("shop"));
    assert!(shown.starts_with("guest 'shop' is built"), "{shown:?}");
    // A pipe gets words only.
    let plain = host.vserver(["build", "mail", "-m", "template", "--from", &archive]).ok();
    assert_eq!(plain.stderr, "", "{plain}");
}

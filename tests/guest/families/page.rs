//! `docs/DISTRIBUTIONS.md`, made of what is tested here. With
//! `VSERVER_TEST_GOLDEN=write` it is written anew.

use std::path::Path;
use std::{env, fs};

use super::all;
use super::operations::{self, Operation};
use tests::layouts::{After, Layout, Words};

const HEAD: &str = "# Init families and layouts

Written by `VSERVER_TEST_GOLDEN=write cargo test -p tests --test guest page::`, from what
`tests/guest/families` boots, reboots and stops. sysvinit, busybox and systemd of Debian 12 and 13 have
more tests of their own (`boot`, `inside`, `rounds`, `distributions`, `own_init`). How a family is asked to
shut down, and when it counts as up, is in [boot.md](boot.md).

Trees but `busybox` are Debian's own packages, but for the `reboot`, `poweroff` and `halt` of openrc-init
and all that is s6-linux-init's, which Debian hasn't got: scripts stand for them. On `busybox`, scripts
stand for a distribution's, by the conventions of its public boot scripts, and `sysvinit` for the tools
of that name.

| layout | tree | boot style in `status` | reboots, typed inside | ends, typed inside |
|---|---|---|---|---|
";

/// Before what has been done with each.
const DONE: &str = "
What the tests do with each, in which modes of `security.users`: p(rivate), i(dentity), h(ost). Every
test counts what it has done and found right, and fails if that isn't what stands here; nothing is typed
in `one command`.

";

fn page() -> String {
    let rows = all().iter().map(row).collect::<String>();
    let names = operations::ALL.iter().map(|operation| operation.name);
    let head = format!("| | {} |\n", names.collect::<Vec<_>>().join(" | "));
    let line = format!("|{}\n", "---|".repeat(operations::ALL.len() + 1));
    let done = all().iter().map(done).collect::<String>();
    let titles =
        operations::ALL.iter().map(|Operation { name, title }| format!("| {name} | {title} |\n"));
    let titles = titles.collect::<String>();
    format!("{HEAD}{rows}{DONE}{head}{line}{done}\n| | |\n|---|---|\n{titles}")
}

fn done(layout: &Layout) -> String {
    let cell = |operation: &&Operation| {
        let letters = operation.modes(layout).into_iter().map(|mode| &mode[..1]);
        letters.collect::<Vec<_>>().join(" ")
    };
    let cells: Vec<_> = operations::ALL.iter().map(cell).collect();
    format!("| {} | {} |\n", layout.title, cells.join(" | "))
}

fn row(layout: &Layout) -> String {
    let Layout { title, tree, style, reason, .. } = layout;
    let own = |wanted| layout.own.iter().filter(move |(after, _)| *after == wanted);
    let reboots = [layout.reboot].into_iter().chain(own(After::Again).map(|(_, words)| *words));
    let ends = [layout.halt, layout.power_off].into_iter();
    let ends = ends.chain(own(After::Down).map(|(_, words)| *words));
    let (tree, reboots, ends) = (tree.name(), listed(reboots), listed(ends));
    format!("| {title} | {tree} | {style} ({reason}) | {reboots} | {ends} |\n")
}

fn listed(commands: impl Iterator<Item = Words>) -> String {
    let commands = commands.filter(|words| !words.is_empty());
    commands.map(|words| format!("`{}`", words.join(" "))).collect::<Vec<_>>().join("; ")
}

#[test]
fn says_what_is_tested() {
    println!("{}", page());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/DISTRIBUTIONS.md");
    if env::var_os("VSERVER_TEST_GOLDEN").is_some_and(|word| word == "write") {
        fs::write(&path, page()).expect("a file of the source can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page(), "{path:?} is old; VSERVER_TEST_GOLDEN=write makes it anew");
}

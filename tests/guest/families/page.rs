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

Trees but `busybox` are Debian's own packages. For Void, Gentoo and Alpine they are given these
distributions' boot files, by the conventions of the public ones, on Debian's runit, OpenRC, sysvinit and
busybox. **Stand-ins**: dinit and s6-linux-init are in no suite of Debian (bookworm, trixie, sid; looked up on
30 November 2026), so here each of their programs is a shell script that does what its manual says, and
so are the `reboot`, `poweroff` and `halt` of openrc-init. On `busybox`, scripts stand for a distribution's, by
the conventions of its public boot scripts, and `sysvinit` for the tools of that name.

| layout | tree | boot style in `status` | reboots, typed inside | ends, typed inside |
|---|---|---|---|---|
";

/// Before what has been done with each.
const DONE: &str = "
What the tests do with each, in which modes of `security.users`: p(rivate), i(dentity), h(ost); in brackets,
what only the long run does (`tests/soak/run rounds`). Every test counts what it has done and found right, and
fails if that isn't what stands here; nothing is typed in `one command`.

";

fn page() -> String {
    let rows = all().iter().map(row).collect::<String>();
    let table = table();
    let line = |cells: &Vec<String>| format!("| {} |\n", cells.join(" | "));
    let head = line(&table[0]).replacen("|  |", "| |", 1);
    let rule = format!("|{}\n", "---|".repeat(table[0].len()));
    let done = table[1..].iter().map(line).collect::<String>();
    let titles =
        operations::ALL.iter().map(|Operation { name, title }| format!("| {name} | {title} |\n"));
    let titles = titles.collect::<String>();
    format!("{HEAD}{rows}{DONE}{head}{rule}{done}\n| | |\n|---|---|\n{titles}")
}

/// What is done with each, by line and column.
fn table() -> Vec<Vec<String>> {
    let names = operations::ALL.iter().map(|operation| operation.name);
    let head = [""].into_iter().chain(names).map(str::to_owned).collect();
    [head].into_iter().chain(all().iter().map(done)).collect()
}

fn done(layout: &Layout) -> Vec<String> {
    let cell = |operation: &&Operation| {
        let usual = operation.modes(layout, false);
        let letter = |mode: &'static str| match usual.contains(&mode) {
            true => mode[..1].to_owned(),
            false => format!("({})", &mode[..1]),
        };
        let letters = operation.modes(layout, true).into_iter().map(letter);
        letters.collect::<Vec<_>>().join(" ")
    };
    [layout.title.to_owned()].into_iter().chain(operations::ALL.iter().map(cell)).collect()
}

/// The same for a terminal: columns as wide as what is in them.
fn shown() -> String {
    let table = table();
    let columns = 0..table[0].len();
    let width = |column: usize| table.iter().map(|cells| cells[column].len()).max();
    let widths: Vec<_> = columns.map(|column| width(column).unwrap_or_default()).collect();
    let line = |cells: &Vec<String>| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let lines = table.iter().map(line).collect::<String>();
    let titles = operations::ALL
        .iter()
        .map(|Operation { name, title }| format!("{name:8}  {}\n", title.replace('`', "")));
    format!("{lines}\n{}", titles.collect::<String>())
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
    println!("{DONE}{}", shown());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/DISTRIBUTIONS.md");
    if env::var_os("VSERVER_TEST_GOLDEN").is_some_and(|word| word == "write") {
        fs::write(&path, page()).expect("a file of the source can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page(), "{path:?} is old; VSERVER_TEST_GOLDEN=write makes it anew");
}

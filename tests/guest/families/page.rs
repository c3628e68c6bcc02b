//! `docs/DISTRIBUTIONS.md`, made of what is tested here. With
//! `VSERVER_TEST_GOLDEN=write` it is written anew.

use std::path::Path;
use std::{env, fs};

use super::all;
use super::layouts::Layout;

const HEAD: &str = "# Init families and layouts

Written by `VSERVER_TEST_GOLDEN=write cargo test -p tests --test guest page::`, from what
`tests/guest/families` boots, reboots and stops. sysvinit, busybox and systemd of Debian 12 and 13 have
tests of their own beside it (`boot`, `rounds`, `distributions`, `own_init`). How a family is asked to
shut down, and when it counts as up, is in [boot.md](boot.md).

Trees `runit`, `openrc`, `finit` and `s6` are Debian's own packages; on `busybox`, scripts stand for a
distribution's, by the conventions of its public boot scripts.

| layout | tree | boot style in `status` | typed inside |
|---|---|---|---|
";

/// What `mod.rs` does with each, in which modes of `security.users`.
const DONE: &str = "
Each of them:

| | private | identity | host |
|---|---|---|---|
| `start` returns when it is up, `status` names it | x | x | x |
| `stop --no-kill`, its own shutdown script has run, once | x | x | x |
| `reboot` from outside, likewise | x | | |
| reboot and power-off typed inside, likewise | x | | |
| `stop --no-kill` 0 ms after `start`, 5 rounds (100 in `tests/soak/run`) | x | | |
| `stop --no-kill` of a frozen guest with a process that ignores SIGTERM | | x | x |
| `stop --timeout` while its shutdown script hangs | | | x |
";

fn page() -> String {
    let rows = all().iter().map(row).collect::<String>();
    format!("{HEAD}{rows}{DONE}")
}

fn row(layout: &Layout) -> String {
    let Layout { title, tree, style, reason, reboot, power_off, .. } = layout;
    let (tree, reboot, power_off) = (tree.name(), reboot.join(" "), power_off.join(" "));
    format!("| {title} | {tree} | {style} ({reason}) | `{reboot}`; `{power_off}` |\n")
}

#[test]
fn says_what_is_tested() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/DISTRIBUTIONS.md");
    if env::var_os("VSERVER_TEST_GOLDEN").is_some_and(|word| word == "write") {
        fs::write(&path, page()).expect("a file of the source can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page(), "{path:?} is old; VSERVER_TEST_GOLDEN=write makes it anew");
}

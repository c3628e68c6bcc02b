//! PID 1 takes in what others leave: no zombie stays, and it costs nothing
//! once they are gone.

use std::env;
use std::fs;
use std::time::Duration;

use tests::{Host, Tree, command};

on! { Bookworm: [reaps_every_orphan] }

/// Orphans: `$VSERVER_TEST_ORPHANS`, as tests/soak sets it, or fewer.
fn orphans() -> u32 {
    let asked = env::var("VSERVER_TEST_ORPHANS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(10_000)
}

fn reaps_every_orphan(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let program = format!(
        "for (1..{}) {{ my $p = fork; if (!defined $p) {{ select(undef, undef, undef, 0.01); redo }}
         if (!$p) {{ fork; exit }} waitpid($p, 0) }}",
        orphans()
    );
    let mut storm = guest.command("exec", ["--", "perl", "-e", &program]);
    command::run(&mut storm, Duration::from_secs(600)).ok();
    let init = guest.init_pid();
    tests::eventually(Duration::from_secs(30), "no zombie is left", || {
        let states = guest.exec(["ps", "-eo", "stat="]).ok();
        (!states.stdout.lines().any(|state| state.starts_with('Z'))).then_some(())
    });
    let before = cpu_ticks(init);
    std::thread::sleep(Duration::from_secs(2));
    let used = cpu_ticks(init) - before;
    assert!(used <= 1, "PID 1 is at rest: {used} ticks in two seconds");
    guest.stop();
}

/// Time in user and kernel mode, in hundredths of a second (proc(5)).
fn cpu_ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a living process");
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields[11..13].iter().filter_map(|field| field.parse::<u64>().ok()).sum()
}

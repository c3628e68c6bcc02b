//! How long a guest is without a supervisor that was killed: until the next command
//! is done, which starts another one, or that does so after keeper and supervisor.

use std::fmt::Write as _;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{DEADLINE, Guest, Host, Median, Tree, eventually, process};

/// Times that each is killed.
const ROUNDS: usize = 50;

/// Who is killed, and milliseconds of the command after that.
pub struct Loss {
    who: &'static str,
    took: Vec<f64>,
}

/// Kills in turn.
pub fn measure() -> Vec<Loss> {
    let host = Host::new();
    let web = host.guest("web").tree(Tree::Busybox).build();
    web.start();
    let names = ["nobody", "the supervisor", "the supervisor and the keeper"];
    let mut losses = names.map(|who| Loss { who, took: Vec::new() });
    for _ in 0..ROUNDS {
        for (victims, loss) in losses.iter_mut().enumerate() {
            loss.took.push(once(&web, victims));
        }
    }
    web.stop();
    losses.into()
}

fn once(web: &Guest<'_>, victims: usize) -> f64 {
    let status = web.status();
    let pids: Vec<i32> =
        [status.supervisor_pid, status.keeper_pid].into_iter().flatten().take(victims).collect();
    for pid in &pids {
        kill(Pid::from_raw(*pid), Signal::SIGKILL).expect("it lives");
    }
    eventually(DEADLINE, "they are dead", || {
        (!pids.iter().any(|pid| process::is_alive(*pid))).then_some(())
    });
    let start = Instant::now();
    web.exec(["true"]).ok();
    start.elapsed().as_secs_f64() * 1000.0
}

/// The section of the page.
pub fn section(machine: &str, losses: &[Loss]) -> String {
    let mut section = format!(
        "## Supervisors that are killed\n\n\
         {machine}\n\n\
         A busybox guest; `vserver exec web -- true`, from its start to its end, right after these were\n\
         killed (SIGKILL), {ROUNDS} times in turn. It waits for another supervisor, which takes the guest\n\
         over. Where systemd runs supervisors it starts the next one 100 ms after the end of the last.\n\n\
         | killed | ms, median | the longest |\n|---|---|---|\n"
    );
    for Loss { who, took } in losses {
        let median = Median::of(took.iter().copied()).value;
        let longest = took.iter().copied().fold(0.0, f64::max);
        let _ = writeln!(section, "| {who} | {median:.0} | {longest:.0} |");
    }
    section
}

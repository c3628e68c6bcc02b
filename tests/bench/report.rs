//! The results as the text of docs/benchmarks.md.

use std::fs;
use std::process::Command;

use tests::{DEADLINE, command};

use crate::memory::{GUESTS, Memory};
use crate::speed::Times;

/// The whole page. Ratios are to the first contender.
pub fn text(times: &[Times], memory: &[Memory]) -> String {
    let rounds = times.first().map_or(0, |times| times.init.len());
    let mut page = format!(
        "# Benchmarks\n\n\
         Written by `tests/bench/run`. {}\n\n\
         The same Debian bookworm tree with its own sysvinit, cron and sshd. Times are\n\
         medians of {rounds} rounds in which the contenders take turns, in milliseconds, with\n\
         the ratio to the first line; ratios travel between machines, times don't.\n\n\
         - **PID 1**: from the start command to the first process that PID 1 starts.\n\
         - **runlevel**: to the last script of the default runlevel.\n\
         - **stop**: from the order to the guest being down, cleanly. lxc and\n  \
           systemd-nspawn are stopped by the guest's own `poweroff`, since their own\n  \
           ways end in a kill with this init.\n\n\
         | | PID 1 | runlevel | stop |\n|---|---|---|---|\n",
        machine()
    );
    for row in times {
        let columns: [fn(&Times) -> &Vec<f64>; 3] = [|t| &t.init, |t| &t.runlevel, |t| &t.stop];
        let cells = columns.map(|column| {
            let own = median(column(row));
            let first = times.first().map_or(own, |first| median(column(first)));
            format!("{own:.0} ({:.2}×)", own / first)
        });
        page += &format!("| {} | {} |\n", row.name, cells.join(" | "));
    }
    page += &format!(
        "\nMemory of a guest's PID 1 and of what watches it from outside, with {GUESTS} guests:\n\
         mean proportional set size a guest, in KiB.\n\n| | processes | sum | ratio |\n|---|---|---|---|\n"
    );
    let first = memory.first().map_or(0.0, sum);
    for row in memory {
        let parts = row.parts.iter().map(|(name, kib)| format!("{name} {kib:.0}"));
        let parts = parts.collect::<Vec<_>>().join(", ");
        page +=
            &format!("| {} | {parts} | {:.0} | {:.2}× |\n", row.name, sum(row), sum(row) / first);
    }
    page
}

fn sum(memory: &Memory) -> f64 {
    memory.parts.iter().map(|(_, kib)| kib).sum()
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What it ran on, in one sentence.
fn machine() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let series = kernel.split('.').take(2).collect::<Vec<_>>().join(".");
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let version = |program: &str| {
        let answer = command::run(Command::new(program).arg("--version"), DEADLINE);
        answer.stdout.lines().next().unwrap_or_default().to_owned()
    };
    format!(
        "Linux {series}, {processors} processors, lxc {}, {}.",
        version("lxc-start"),
        version("systemd-nspawn")
    )
}

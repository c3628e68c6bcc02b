//! The results as the text of docs/benchmarks.md.

use std::fs;
use std::process::Command;

use tests::{DEADLINE, command};

use crate::accounts::{Peers, Step, Took};
use crate::alike::{Alike, GUESTS as LIKE};
use crate::memory::{GUESTS, Memory};
use crate::network::{Figures, ROUNDS, Row};
use crate::speed::Times;
use crate::storage::{Clone, ROUNDS as CLONES};

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

/// The titles of the sections that can be measured alone.
const ACCOUNTS: &str = "## Seeing what all guests use\n";
const NETWORK: &str = "## Network\n";
const STORAGE: &str = "## Copies of a guest\n";

/// The section on accounts.
pub fn accounts(steps: &[Step], peers: &[Peers]) -> String {
    let cell = |took: &Took| format!("{:.0} ({:.0})", took.clock, took.processor);
    let mut section = format!(
        "{ACCOUNTS}\n\
         {}\n\n\
         Busybox guests with idle processes. Medians of one call, in milliseconds by the\n\
         clock, and in brackets on processors. Guests were added while the idle processes\n\
         of those that ran became fewer: from line to line all have as many together, and\n\
         in the last line fewer. `vserver stat` goes once over all processes of the\n\
         machine, of which each guest brings its PID 1, its keeper and its supervisor; what\n\
         a guest adds by itself are its configuration and its cgroups' files.\n\n\
         | guests | idle processes | processes of the machine | `vserver stat` | \
         µs on processors a process |\n|---|---|---|---|---|\n",
        machine()
    );
    for step in steps {
        let (idle, took) = (step.guests * step.idle, step.stat);
        let each = took.processor * 1000.0 / step.all as f64;
        section +=
            &format!("| {} | {idle} | {} | {} | {each:.0} |\n", step.guests, step.all, cell(&took));
    }
    section += "\nlxc's guests on the same machine, with as many processes each as vserver's when \
                there\nare 300. systemd-cgtop shows cgroups, of hierarchies with controllers; where \
                those are\nof cgroup v1, as here, it sees guests of lxc and none of vserver's, and \
                neither processes'\ntimes nor sizes.\n\n\
                | guests | `lxc-ls --fancy` | `systemd-cgtop --batch` | cgroups of guests it shows | \
                both, to `vserver stat` |\n|---|---|---|---|---|\n";
    for peer in peers {
        let same = steps.iter().find(|step| step.guests == peer.guests);
        let both = peer.lxc_ls.clock + peer.cgtop.clock;
        let ratio = same.map_or(f64::NAN, |step| both / step.stat.clock);
        section += &format!(
            "| {} | {} | {} | {} | {ratio:.1}× |\n",
            peer.guests,
            cell(&peer.lxc_ls),
            cell(&peer.cgtop),
            peer.shown
        );
    }
    section
}

/// The section on the network.
pub fn network(rows: &[Row]) -> String {
    let mut section = format!(
        "{NETWORK}\n\
         {}\n\n\
         From a guest to the host, and to another guest, over IPv4; each beside the same\n\
         without vserver, batch by batch in turn, {ROUNDS} rounds of them: `shared` beside the\n\
         host's own loopback, `routed` beside network namespaces with bare pairs of veth and the\n\
         same routes, `bridge` beside the same on that bridge. Throughput is that of iperf3 with\n\
         one stream, client and server on a processor each; connections are made, read to their\n\
         end and closed one after the other, all on one processor. Ratios are guest to bare in\n\
         the same round, medians, by the clock, and by what the same work takes client and server\n\
         on processors, which doesn't count what else the machine does; above 1, the guest is\n\
         faster. In brackets: where that median lies with 95 % certainty. What a connection costs by\n\
         the guest's addresses alone is seen where guests have no system call filter: that one adds\n\
         its own to each call, whatever the call does (docs/isolation-cost.md). *Hooks alone* are\n\
         processes of the host in cgroups with programs that do nothing at every place where those\n\
         of `shared` are: what these lose is the kernel's way into a program and back. *Levels\n\
         alone* are in cgroups without programs, but as far down as a guest's: the kernel keeps\n\
         account of processor time and pressure at each level, at every switch from one process\n\
         to another.\n\n\
         | | bare, Gbit/s | guest | by the clock | on processors | bare, connections/s | guest | \
         by the clock | on processors | without the filter, by the clock | on processors |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
        machine()
    );
    for row in rows {
        let (data, rate) = (&row.throughput, &row.connections);
        let unfiltered = row.unfiltered.as_ref();
        let [clock, processors] = [|f: &Figures| f.ratio, |f: &Figures| f.cost]
            .map(|of| unfiltered.map_or_else(|| "–".to_owned(), |figures| of(figures).to_string()));
        section += &format!(
            "| {} | {:.1} | {:.1} | {} | {} | {:.0} | {:.0} | {} | {} | {clock} | {processors} |\n",
            row.what,
            data.bare,
            data.guest,
            data.ratio,
            data.cost,
            rate.bare,
            rate.guest,
            rate.ratio,
            rate.cost
        );
    }
    section
}

/// The section on copies.
pub fn storage(clones: &[Clone], alike: &[Alike]) -> String {
    let mut section = format!(
        "{STORAGE}\n\
         {}\n\n\
         The Debian tree (190 MB, 6,700 files) on ext4, which shares no blocks: medians of\n\
         {CLONES} rounds in which the ways take turns, in milliseconds, each after a sync(2). At its\n\
         end vserver writes its copy to the disk (syncfs(2)) before it says that there is one, and the\n\
         others don't. vserver's copies have ssh host keys of their own, made side by side, and while\n\
         files are copied.\n\n\
         | | ms | ratio |\n|---|---|---|\n",
        machine()
    );
    let first = clones.first().map_or(f64::NAN, |clone| clone.took);
    for clone in clones {
        section +=
            &format!("| {} | {:.0} | {:.2}× |\n", clone.name, clone.took, clone.took / first);
    }
    section += &format!(
        "\n{LIKE} guests of that tree, booted, in MiB a guest: the proportional set size of all\n\
         that runs inside but PID 1, and the pages of their files that are in memory since the\n\
         start.\n\n\
         | | processes | files | ratio of the sums |\n|---|---|---|---|\n"
    );
    let sum = |row: &Alike| row.processes + row.files;
    let first = alike.first().map_or(f64::NAN, sum);
    for row in alike {
        section += &format!(
            "| {} | {:.1} | {:.1} | {:.2}× |\n",
            row.name,
            row.processes,
            row.files,
            sum(row) / first
        );
    }
    section
}

/// The page with this section in place of the one of its title, or at its end.
pub fn with_section(page: &str, section: &str) -> String {
    let title = section.split_inclusive('\n').next().unwrap_or_default();
    let (before, old) = page.split_once(title).unwrap_or((page, ""));
    let after = old.find("\n## ").map_or("", |next| &old[next..]);
    format!("{}\n\n{section}{after}", before.trim_end())
}

fn sum(memory: &Memory) -> f64 {
    memory.parts.iter().map(|(_, kib)| kib).sum()
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What it ran on, in one sentence.
pub fn machine() -> String {
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

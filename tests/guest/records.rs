//! `accounting.processes`: the kernel records every process of the guest. The
//! judges are Debian's lastcomm, sa and dump-acct.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::Value;
use tests::{DEADLINE, Guest, Host, Tree, command, eventually, executable, tree};
use vserver::variables;

on! { Busybox: [
    what_the_kernel_records_outlives_all,
    commands_are_summed_up_over_boots,
    every_mode_has_the_guests_own_uids,
    rotation_loses_nothing_while_the_guest_works,
] }
on! { Bookworm: [a_guest_cannot_reach_its_records] }
on! { Busybox, Systemd: [the_first_program_is_recorded] }

/// A program of this name, in every guest here.
const COUNTED: &str = "counted";

fn guest<'h>(host: &'h Host, tree: Tree, settings: &[(&str, &str)]) -> Guest<'h> {
    let builder = host.guest("web").tree(tree).set("accounting.processes", "true");
    let guest = settings.iter().fold(builder, |builder, (key, value)| builder.set(key, value));
    let guest = guest.build();
    // The kernel records a script by its own name.
    guest.write("usr/bin/counted", "#!/bin/sh\nexit 0\n", 0o755);
    guest
}

/// A file system of its own for the records: the kernel writes none where
/// less than 4 % are free.
struct Room(PathBuf);

impl Room {
    fn in_memory(host: &Host) -> Self {
        let room = Self::below(host);
        mount(Some("tmpfs"), &room.0, Some("tmpfs"), MsFlags::empty(), Some("size=64m"))
            .expect("a tmpfs can be mounted");
        room
    }

    /// One from whose files a beginning can be cut off.
    fn on_disk(host: &Host) -> Self {
        let room = Self::below(host);
        let image = host.prefix().join("room");
        let disk = fs::File::create(&image).and_then(|disk| disk.set_len(64 << 20));
        disk.expect("an image can be made");
        command::run(Command::new("mkfs.ext4").arg("-q").arg(&image), DEADLINE).ok();
        let mut mount = Command::new("mount");
        command::run(mount.args(["-o", "loop"]).args([&image, &room.0]), DEADLINE).ok();
        room
    }

    fn below(host: &Host) -> Self {
        let place = host.paths().usage_dir();
        fs::create_dir_all(&place).expect("a directory of the installation can be made");
        Self(place)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).expect("it can be unmounted");
    }
}

fn file(host: &Host) -> PathBuf {
    host.prefix().join("var/lib/vserver/usage/web.pacct")
}

/// Runs it so often, one after the other.
fn run_counted(guest: &Guest<'_>, times: u32) {
    command::run(&mut counting(guest, times), DEADLINE).ok();
}

fn counting(guest: &Guest<'_>, times: u32) -> Command {
    let script = format!("i=0; while [ $i -lt {times} ]; do counted; i=$((i + 1)); done");
    guest.command("exec", ["--", "/bin/sh", "-c", &script])
}

#[track_caller]
fn judge(program: &str, arguments: &[&str], file: &Path) -> String {
    let program = tree::unpacked(&format!("acct/usr/{program}"));
    command::run(Command::new(program).args(arguments).arg(file), DEADLINE).ok().stdout
}

/// How many processes of a name lastcomm finds.
#[track_caller]
fn lastcomm(command: &str, file: &Path) -> usize {
    let all = judge("bin/lastcomm", &["--command", command, "-f"], file);
    all.lines().filter(|line| line.split_whitespace().next() == Some(command)).count()
}

/// How many sa counts: the first of its columns, the name is the last.
#[track_caller]
fn sa(command: &str, file: &Path) -> Option<u32> {
    let all = judge("sbin/sa", &["-a", "-i"], file);
    let line = all.lines().find(|line| line.split_whitespace().last() == Some(command))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What `usage --commands` says of one.
#[track_caller]
fn summed(host: &Host, command: &str, more: &[&str]) -> Value {
    let answer = host.vserver([&["usage", "web", "--commands", "--json"], more].concat()).ok();
    let all: Vec<Value> = serde_json::from_str(&answer.stdout).expect("it is JSON");
    all.into_iter().find(|row| row["command"] == command).unwrap_or_default()
}

fn what_the_kernel_records_outlives_all(tree: Tree) {
    let host = Host::new();
    let _room = Room::in_memory(&host);
    let guest = guest(&host, tree, &[]);
    host.vserver(["usage", "web", "--commands"]).code(1).complains("reboot web");
    guest.start();
    run_counted(&guest, 30);
    let mode = fs::metadata(file(&host)).expect("the kernel's file is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(lastcomm(COUNTED, &file(&host)), 30);
    assert_eq!(sa(COUNTED, &file(&host)), Some(30));
    // Nobody looks after it.
    guest.kill_supervisor();
    let old = guest.init_pid();
    run_counted(&guest, 20);
    assert_eq!(lastcomm(COUNTED, &file(&host)), 50);
    guest.vserver("start", [""; 0]).ok();
    assert_eq!(guest.init_pid(), old, "it has gone on");
    // A new boot is a new namespace.
    guest.exec(["reboot"]);
    guest.wait_for_reboot(old);
    run_counted(&guest, 7);
    guest.stop();
    assert_eq!(lastcomm(COUNTED, &file(&host)), 57);
    assert_eq!(sa(COUNTED, &file(&host)), Some(57));
    assert_eq!(summed(&host, COUNTED, &[])["processes"], 57);

    // Switched off, and what there was stays.
    host.vserver(["config", "set", "web", "accounting.processes", "false"]).ok().complains("");
    let before = fs::read(file(&host)).expect("it is there still");
    guest.start();
    run_counted(&guest, 3);
    let set = host.vserver(["config", "set", "web", "accounting.processes", "true"]).ok();
    set.complains("counts from its next boot");
    guest.stop();
    assert!(fs::read(file(&host)).expect("it is there still") == before, "nothing was added");
    host.vserver(["delete", "web", "--yes"]).ok();
    assert!(!file(&host).exists());
}

fn commands_are_summed_up_over_boots(tree: Tree) {
    let host = Host::new();
    let _room = Room::in_memory(&host);
    let guest = guest(&host, tree, &[]);
    guest.write("usr/bin/burner", BURNER, 0o755);
    let mut truth = 0.0;
    for _ in 0..2 {
        guest.start();
        run_counted(&guest, 10);
        // Its own and its children's, in user mode and in the kernel.
        let times = guest.exec(["burner"]).ok().stdout;
        truth += times.split_whitespace().take(2).map(seconds).sum::<f64>();
        guest.stop();
    }
    let counted = summed(&host, COUNTED, &[]);
    assert_eq!(counted["processes"], 20);
    assert_eq!(counted["uids"], serde_json::json!([0]));
    assert_eq!(summed(&host, "vserver-acct", &[])["processes"], 2);
    let burner = summed(&host, "burner", &[]);
    let number = |field: &str| burner[field].as_f64().expect("a number");
    let worked = number("user_seconds") + number("system_seconds");
    // To the hundredth what another program reads there. The kernel counts by
    // clock ticks, which isn't what it tells the process itself.
    let all = judge("sbin/dump-acct", &[], &file(&host));
    let lines = all.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let burners = lines.filter(|fields| fields[0] == "burner");
    let ticks: f64 =
        burners.flat_map(|fields| [2, 3].map(|at| fields[at].parse::<f64>().expect("ticks"))).sum();
    assert!((worked - ticks / 100.0).abs() < 0.005, "{ticks} {burner}");
    assert!((truth / 2.0..truth * 2.0).contains(&worked), "{truth} {burner}");
    assert!(number("average_seconds") >= 0.3, "{burner}");
    assert_eq!(summed(&host, COUNTED, &["--since", "1h"]), counted);
    assert_eq!(summed(&host, COUNTED, &["--until", "1h"]), Value::Null);
    let csv = host.vserver(["usage", "--commands", "--csv"]).ok();
    assert!(csv.stdout.contains("\nweb,\"counted\",20,"), "{csv}");
    let table = host.vserver(["usage", "--commands"]).ok();
    let row = table.stdout.lines().find(|line| line.contains(" counted ")).expect("a row of it");
    assert_eq!(row.split_whitespace().nth(2), Some("20"), "{table}");
}

/// Works, waits, and says how long it worked.
const BURNER: &str =
    "#!/bin/sh\ni=0\nwhile [ $i -lt 1200000 ]; do i=$((i + 1)); done\nsleep 0.3\ntimes\n";

/// As `times` of a shell writes it: `0m1.23s`.
fn seconds(text: &str) -> f64 {
    let (minutes, seconds) = text.trim_end_matches('s').split_once('m').expect("a time");
    minutes.parse::<f64>().expect("minutes") * 60.0 + seconds.parse::<f64>().expect("seconds")
}

fn every_mode_has_the_guests_own_uids(tree: Tree) {
    for mode in ["private", "identity", "host"] {
        let host = Host::new();
        let _room = Room::in_memory(&host);
        let guest = guest(&host, tree, &[("security.users", mode)]);
        guest.start();
        host.vserver(["suexec", "user", "web", "--", "counted"]).ok();
        run_counted(&guest, 2);
        guest.stop();
        assert_eq!(summed(&host, COUNTED, &[])["uids"], serde_json::json!([0, 1000]), "{mode}");
        assert_eq!(lastcomm(COUNTED, &file(&host)), 3, "{mode}");
    }
}

/// The number of records, over all files.
fn everywhere(host: &Host) -> usize {
    let ends = ["", ".1", ".2", ".3", ".4"].map(|end| format!("{}{end}", file(host).display()));
    let there = ends.iter().map(Path::new).filter(|file| file.exists());
    there.map(|file| lastcomm(COUNTED, file)).sum()
}

fn rotation_loses_nothing_while_the_guest_works(tree: Tree) {
    let host = Host::new();
    let _room = Room::on_disk(&host);
    let guest = guest(&host, tree, &[]);
    // A thousand records. Any command may bring the next supervisor.
    let run = |mut command: Command| {
        command::run(command.env(variables::RECORDS_LIMIT, "65536"), DEADLINE).ok();
    };
    let start = || run(guest.command("start", [""; 0]));
    // Has the supervisor look at them.
    let look = || run(host.command(["usage", "web", "--json"]));
    let rounds = |times: u32| {
        thread::scope(|scope| {
            let work = scope.spawn(|| run(counting(&guest, times)));
            while !work.is_finished() {
                look();
            }
        });
        look();
    };
    start();
    rounds(1500);
    assert!(file(&host).with_extension("pacct.1").exists());
    assert_eq!(everywhere(&host), 1500);
    guest.kill_supervisor();
    run(counting(&guest, 1100));
    start();
    eventually(DEADLINE, "the next supervisor rotates", || {
        (fs::metadata(file(&host)).expect("it is there").len() < 65_536).then_some(())
    });
    rounds(400);
    assert!(file(&host).with_extension("pacct.2").exists());
    assert_eq!(everywhere(&host), 3000);
    assert_eq!(summed(&host, COUNTED, &[])["processes"], 3000);
    guest.stop();
}

/// Names and pids, as the guest saw them.
fn recorded(host: &Host) -> Vec<(String, u32)> {
    let all = judge("sbin/dump-acct", &[], &file(host));
    let line = |line: &str| {
        let fields: Vec<_> = line.split('|').map(str::trim).collect();
        Some(((*fields.first()?).to_owned(), fields.get(9)?.parse().ok()?))
    };
    all.lines().map(|text| line(text).unwrap_or_else(|| panic!("no record: {text}"))).collect()
}

fn the_first_program_is_recorded(tree: Tree) {
    let host = Host::new();
    let _room = Room::in_memory(&host);
    let guest = guest(&host, tree, &[]);
    guest.start();
    if tree == Tree::Systemd {
        guest.wait_for_systemd();
    }
    guest.vserver("stop", [""; 0]).ok();
    let all = recorded(&host);
    // The helper itself was the first process after PID 1.
    assert_eq!(all.first(), Some(&("vserver-acct".to_owned(), 2)), "{all:?}");
    for pid in [1, 3, 4, 5] {
        assert!(all.iter().any(|(_, other)| *other == pid), "{pid}: {all:?}");
    }
    // Of PID 1 there are two, or one on newer kernels: it counts as one.
    let (init, _) = all.last().expect("there is one");
    let named = |name: &&(String, u32)| name.0 == *init;
    let records = all.iter().filter(|(_, pid)| *pid == 1).count();
    assert!((1..=2).contains(&records), "{all:?}");
    let truth = all.iter().filter(named).count() - (records - 1);
    assert_eq!(summed(&host, init, &[])["processes"], truth, "{all:?}");
}

fn a_guest_cannot_reach_its_records(tree: Tree) {
    for mode in ["private", "host"] {
        let host = Host::new();
        let _room = Room::in_memory(&host);
        let guest = guest(&host, tree, &[("security.users", mode)]);
        // Over the guest's own user namespace it is worth nothing.
        let lifting = ["config", "set", "web", "security.capabilities.add", "sys_pacct"];
        match mode {
            "private" => host.vserver(lifting).ok(),
            _ => host.vserver(lifting).complains("could end what 'accounting.processes' begins"),
        };
        let accton = fs::read(tree::unpacked("acct/usr/sbin/accton")).expect("a program");
        let inside = guest.root().join("usr/sbin/accton");
        executable::write(&inside, accton, 0o755);
        for target in ["off", "/tmp/own"] {
            let refused = format!(": >/tmp/own && ! accton {target} && test ! -s /tmp/own");
            guest.shell(&format!("{refused} && counted")).ok();
        }
        guest.shell("find / -xdev -name '*.pacct*' | grep . && exit 1; exit 0").ok();
        assert_eq!(lastcomm(COUNTED, &file(&host)), 2, "{mode}");
        assert_eq!(lastcomm("accton", &file(&host)), 2, "{mode}");
    }
}

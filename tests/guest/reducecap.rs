//! `reducecap`: what is taken stays taken, for ordinary users by the small
//! program with a capability, which can only lower, whatever its caller does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use tests::{DEADLINE, Finished, Host, command, executable};

/// The set that `--secure` leaves of a full one, as `/proc` shows it.
const SECURE: &str = "00000000b40c05ff";

/// An installation, whose `reducecap` ordinary users can reach.
struct Installed {
    host: Host,
}

impl Installed {
    fn new() -> Self {
        let host = Host::new();
        host.vserver(["install"]).ok();
        fs::set_permissions(host.prefix(), fs::Permissions::from_mode(0o755)).expect("a mode");
        Self { host }
    }

    fn program(&self) -> PathBuf {
        self.host.prefix().join("usr/local/bin/reducecap")
    }

    /// Runs a line of shell as an ordinary user, `$R` being the program.
    fn user(&self, line: &str) -> Finished {
        let mut runuser = Command::new("runuser");
        runuser.args(["-u", "nobody", "--", "/bin/sh", "-c", line]).env("R", self.program());
        // Root's may lead where others may not look.
        runuser.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
        command::run(&mut runuser, DEADLINE)
    }

    /// Runs one as root.
    fn root(&self, line: &str) -> Finished {
        let mut shell = Command::new("/bin/sh");
        command::run(shell.args(["-c", line]).env("R", self.program()), DEADLINE)
    }
}

#[test]
#[ignore = "root: installs a program with a capability"]
fn su_works_and_brings_nothing_back() {
    let installed = Installed::new();
    let log = installed.host.prefix().join("log");
    fs::write(&log, "first\nlast\n").expect("a file");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o600)).expect("a mode");
    // A network namespace of the test's own, with a link called eth0. `su`
    // needs a password of whoever isn't root, so root's is asked for inside by
    // a setuid copy of a shell in place of it, which is as much root as su's.
    let become_root = installed.host.prefix().join("become-root");
    executable::copy("/usr/bin/setpriv", &become_root);
    fs::set_permissions(&become_root, fs::Permissions::from_mode(0o4755)).expect("a mode");
    let script = format!(
        "ip link add eth0 type veth peer name eth1 && ip link set eth0 up &&
         runuser -u nobody -- $R --secure /bin/sh -c '
             tail -n 1 {log} && exit 90
             {root} --reuid 0 --regid 0 --clear-groups /bin/sh -c \"
                 id -u; tail -n 1 {log}; ip link set eth0 down; echo ip: \\$?
                 su root -c \\\"grep CapBnd /proc/self/status; ip link set eth0 down\\\"; echo su: \\$?\"'
         ip -o link show eth0",
        log = log.display(),
        root = become_root.display(),
    );
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "/bin/sh", "-c", &script]).env("R", installed.program());
    let said = command::run(&mut unshare, DEADLINE).ok();
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(
        lines.get(..5),
        Some(&["0", "last", "ip: 2", &format!("CapBnd:\t{SECURE}"), "su: 2"][..]),
        "{said}"
    );
    let link = lines.last().copied().unwrap_or_default();
    assert!(link.contains("eth0") && link.contains(",UP"), "{said}");
    assert_eq!(said.stderr.matches("Operation not permitted").count(), 2, "{said}");
}

#[test]
#[ignore = "root: installs a program with a capability"]
fn the_command_has_less_and_the_callers_ids() {
    let installed = Installed::new();
    let said = installed.user("$R --secure -- grep -E '^(Uid|Cap|NoNewPrivs)' /proc/self/status");
    let zero = "0000000000000000";
    said.ok().says(&format!(
        "Uid:\t65534\t65534\t65534\t65534\nCapInh:\t{zero}\nCapPrm:\t{zero}\nCapEff:\t{zero}\n\
         CapBnd:\t{SECURE}\nCapAmb:\t{zero}\nNoNewPrivs:\t0\n"
    ));
    // Less twice is less; nothing can be had back.
    let twice = "$R --secure $R --secure --cap all -- grep CapBnd /proc/self/status";
    installed.user(twice).ok().says(&format!("CapBnd:\t{SECURE}\n"));
    let one = installed.user("$R --secure --cap '!chown,net_raw' grep CapBnd /proc/self/status");
    one.ok().says("CapBnd:\t00000000b40c25fe\n");
    let less = installed.user("$R --cap '!net_raw' grep NoNewPrivs /proc/self/status");
    less.ok().says("NoNewPrivs:\t0\n");
    let root = installed.root("$R --secure grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status");
    root.ok().says(&format!("CapPrm:\t{SECURE}\nCapEff:\t{SECURE}\nCapBnd:\t{SECURE}\n"));
}

#[test]
#[ignore = "root: installs a program with a capability"]
fn exit_codes_are_the_commands_or_tell_why_there_is_none() {
    let installed = Installed::new();
    installed.user("$R --secure sh -c 'exit 7'").code(7);
    installed.user("$R no-such-program").code(127).complains("reducecap: cannot execute 'no-such-");
    installed.user("$R /etc/passwd").code(126).complains("'/etc/passwd'");
    installed.user("$R").code(255).complains("reducecap: no command is given");
    installed.user("$R --frob x").code(255).complains("reducecap: ");
    installed.user("$R --cap frob x").code(255).complains("there is no capability 'frob'");
    installed.user("$R --help >/dev/full").code(255);
    let version = installed.user("$R --version").ok();
    assert!(version.stdout.starts_with(&format!("reducecap {} -- ", env!("CARGO_PKG_VERSION"))));
    // The whole program as the same tool.
    let host = &installed.host;
    host.vserver(["reducecap", "--secure", "--", "sh", "-c", "exit 7"]).code(7);
    host.vserver(["reducecap", "no-such-program"]).code(127).complains("reducecap: cannot execute");
    host.vserver(["reducecap", "--frob", "x"]).code(255);
}

#[test]
#[ignore = "root: installs a program with a capability"]
fn show_prints_the_sets_of_this_and_other_processes() {
    let installed = Installed::new();
    let shown = installed.user("$R --secure --show").ok();
    let lines: Vec<&str> = shown.stdout.lines().collect();
    assert_eq!(
        lines.get(..2),
        Some(
            &[
                "CAPABILITY          EFFECTIVE  PERMITTED  INHERITABLE  BOUNDING",
                "chown               -          -          -            yes",
            ][..]
        )
    );
    assert!(lines.contains(&"net_admin           -          -          -            -"), "{shown}");
    let first = installed.user("$R --show --pid 1").ok();
    assert!(first.stdout.contains("chown               yes        yes        -            yes"));
    installed.user("$R --show --pid 4194304").code(255).complains("no process 4194304");
    installed.user("$R --show --pid 1 true").code(255);
}

#[test]
#[ignore = "root: installs a program with a capability"]
fn setuid_programs_are_not_kept_from_giving_root_up() {
    let installed = Installed::new();
    for name in ["setuid", "setgid", "all", "^7"] {
        let line = format!("$R --cap '!{name}' -- echo done");
        installed.user(&line).code(255).says("").complains("only root can take away set");
    }
    installed.root("$R --cap '!setuid' -- true").ok();
}

/// Some let pass what they can't do without one.
#[test]
#[ignore = "root: installs a program with a capability"]
fn no_setuid_program_runs_with_less_than_it_counts_on() {
    let installed = Installed::new();
    let become_root = installed.host.prefix().join("become-root");
    executable::copy("/usr/bin/id", &become_root);
    fs::set_permissions(&become_root, fs::Permissions::from_mode(0o4755)).expect("a mode");
    let id = become_root.display();
    installed.user(&format!("$R --secure {id} -u")).ok().says("0\n");
    for name in ["audit_write", "dac_override,dac_read_search", "kill", "^0"] {
        let line = format!("$R --secure --cap '!{name}' {id} -u");
        installed.user(&line).ok().says("65534\n");
        installed.user(&format!("$R --secure {}", &line)).ok().says("65534\n");
        installed.root(&line).ok().says("0\n");
    }
    // Nobody to hide it from.
    let again = "$R --cap '!kill' $R --secure --cap '!kill' true";
    installed.user(again).code(255).complains("no_new_privs");
    installed
        .root("$R --cap '!kill' grep NoNewPrivs /proc/self/status")
        .ok()
        .says("NoNewPrivs:\t0\n");
}

#[test]
#[ignore = "root: installs a program with a capability"]
fn a_hostile_caller_gains_nothing() {
    let installed = Installed::new();
    let end = format!("CapBnd:\t{SECURE}\n");
    let show = "$R --secure /bin/grep CapBnd /proc/self/status";
    // Standard streams closed: the program's own files don't take their places.
    installed.user("$R --secure /bin/true <&- >&- 2>&-").ok();
    installed.user("$R --frob <&- >&- 2>&-").code(255);
    installed.user(&format!("{show} <&- 2>&-")).ok().says(&end);
    // What a loader or a C library would read.
    let variables = "LD_PRELOAD=/x.so LD_LIBRARY_PATH=/x LD_AUDIT=/x GLIBC_TUNABLES=glibc.malloc.check=3 \
                     MALLOC_TRACE=/tmp/x GCONV_PATH=/x LOCPATH=/x RUST_BACKTRACE=full \
                     VSERVER_PREFIX=/x PATH=";
    installed.user(&format!("env {variables} {show}")).ok().says(&end);
    installed.user(&format!("env -i R=$R /bin/sh -c '{show}'")).ok().says(&end);
    // Limits: it works, or it fails and has executed nothing.
    for limit in ["-n 3", "-n 0", "-f 0", "-u 0", "-s 64", "-c unlimited", "-v 1000", "-t 1"] {
        let said = installed.user(&format!("ulimit {limit} && {show}"));
        let nothing = said.code != 0 && said.stdout.is_empty();
        assert!(nothing || said.stdout == end, "ulimit {limit}\n{said}");
    }
    // Arguments: many, long, none, and no text.
    let long = "$R --secure /bin/sh -c 'echo $#' x $(seq 100000)";
    installed.user(long).ok().says("100000\n");
    installed.user("$R --cap \"$(printf '\\377')\" true").code(255);
    installed.user("$R \"$(printf '\\377\\376')\"").code(127);
    installed
        .user("$R --secure -- printf %s \"$(printf '\\377')\" | od -An -tx1")
        .ok()
        .says(" ff\n");
    installed.user("bash -c 'exec -a \"\" $R --secure true'").ok();
    // Ignored and blocked signals don't keep it from its work.
    installed.user(&format!("trap '' TERM INT HUP PIPE CHLD; {show}")).ok().says(&end);
    // No privilege, no work: nothing is executed with more than was asked for.
    let refused = installed.user("setpriv --no-new-privs $R --secure echo done");
    refused.code(255).says("").complains("Operation not permitted");
}

#[test]
#[ignore = "root: installs a program with a capability"]
fn inheritable_and_ambient_capabilities_go_too() {
    let host = Host::new();
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--inh-caps=+net_admin,+chown", "--ambient-caps=+net_admin,+chown"]);
    setpriv.arg(tests::host::program()).args(["reducecap", "--secure", "--"]);
    setpriv.args(["grep", "-E", "Cap(Inh|Bnd|Amb)", "/proc/self/status"]);
    let said = command::run(setpriv.env(vserver::variables::PREFIX, host.prefix()), DEADLINE);
    said.ok().says(&format!(
        "CapInh:\t0000000000000001\nCapBnd:\t{SECURE}\nCapAmb:\t0000000000000000\n"
    ));
}

//! `vserver move`: a guest is on one of two hosts, whatever happens on the way,
//! and never runs on both. The other host is another installation here, and ssh
//! a script that runs its commands.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::host::program;
use tests::same::{differences, furnish};
use tests::{DEADLINE, Finished, Guest, Host, Tree, command, eventually, executable, random};

on! { Busybox: [
    one_that_runs_goes_on_there,
    one_that_is_stopped_can_be_another_there_and_gone_here,
    the_other_host_is_asked_first,
    a_link_that_breaks_changes_nothing,
    who_is_killed_on_the_way_changes_nothing,
    what_does_not_start_there_runs_here,
    a_limit_that_nothing_holds_there_is_refused_first,
] }

/// Runs what follows the host's name on the other one. `cut`: so many bytes,
/// then the link breaks. `fail`: a start fails there with exit code 1.
const SSH: &str = r#"#!/bin/sh
while [ "$1" != -- ]; do shift; done
host=$2
shift 2
echo "$*" >>"$SSH_TEST/log"
[ "$host" = there ] || { echo "ssh: no route to $host" >&2; exit 255; }
export VSERVER_PREFIX="$SSH_TEST_PREFIX" PATH="$SSH_TEST/bin:$PATH"
case "$*" in
    *--dry-run*) ;;
    *import*)
        echo $$ >"$SSH_TEST/pid"
        if [ -e "$SSH_TEST/cut" ]; then
            head -c "$(cat "$SSH_TEST/cut")" | sh -c "$*"
            exit 255
        fi;;
esac
if [ -e "$SSH_TEST/fail" ] && [ "${*#vserver start}" != "$*" ]; then
    exit 1
fi
exec sh -c "exec $*"
"#;

pub(super) struct Hosts {
    pub(super) here: Host,
    pub(super) there: Host,
    pub(super) ssh: PathBuf,
}

impl Hosts {
    pub(super) fn new() -> Self {
        let (here, there) = (Host::new(), Host::new());
        let ssh = here.prefix().join("ssh");
        fs::create_dir_all(ssh.join("bin")).expect("it can be made");
        fs::create_dir_all(ssh.join("path")).expect("it can be made");
        let script = ssh.join("path/ssh");
        executable::write(&script, SSH, 0o755);
        symlink(program(), ssh.join("bin/vserver")).expect("it can be made");
        Self { here, there, ssh }
    }

    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.here.command(["move"]);
        let path = std::env::var("PATH").unwrap_or_default();
        command.args(words).env("PATH", format!("{}:{path}", self.ssh.join("path").display()));
        command.env("SSH_TEST", &self.ssh).env("SSH_TEST_PREFIX", self.there.prefix());
        command
    }

    #[track_caller]
    pub(super) fn go(&self, words: &[&str]) -> Finished {
        command::run(&mut self.command(words), DEADLINE)
    }

    pub(super) fn order(&self, name: &str, text: &str) {
        fs::write(self.ssh.join(name), text).expect("it can be written");
    }

    pub(super) fn revoke(&self, name: &str) {
        fs::remove_file(self.ssh.join(name)).expect("it is there");
    }

    /// Is nothing of it on the other host?
    #[track_caller]
    pub(super) fn assert_nothing_there(&self) {
        self.there.vserver(["status", "web"]).code(5);
        let roots = self.there.paths().roots_dir();
        let left: Vec<_> = fs::read_dir(roots).into_iter().flatten().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
        let ids = fs::read_to_string(self.there.paths().ids()).unwrap_or_default();
        assert!(!ids.contains("web"), "{ids}");
    }
}

fn autostart(guest: &Guest<'_>) -> bool {
    let shown = guest.host().vserver(["config", "show", guest.name()]).ok();
    shown.stdout.lines().any(|line| line.starts_with("autostart = true"))
}

fn one_that_runs_goes_on_there(tree: Tree) {
    let hosts = Hosts::new();
    let web = hosts.here.guest("web").tree(tree).set("autostart", "true").build();
    furnish(&web);
    web.start();
    let tried = hosts.go(&["web", "there", "--dry-run"]).ok();
    assert!(tried.stdout.contains("would be stopped here"), "{tried}");
    assert!(web.is_running());
    hosts.assert_nothing_there();
    let said = hosts.go(&["web", "there"]).ok();
    assert!(said.stdout.contains("guest 'web' runs on 'there'"), "{said}");
    let there = web.on(&hosts.there);
    assert!(!web.is_running() && there.is_running());
    assert!(!autostart(&web) && autostart(&there));
    assert_eq!(web.status().context, there.status().context);
    there.stop();
    assert_eq!(differences(&web.root().join("srv"), &there.root().join("srv")), [""; 0]);
    // Twice is refused, before anything.
    hosts.go(&["web", "there"]).code(1).complains("'web' exists");
}

fn one_that_is_stopped_can_be_another_there_and_gone_here(tree: Tree) {
    let hosts = Hosts::new();
    let web = hosts.here.guest("web").tree(tree).build();
    let actions = hosts.here.paths().actions(&"web".parse().expect("a name"));
    fs::write(actions, "#!/bin/sh\n").expect("it can be written");
    hosts.here.vserver(["snapshot", "create", "web", "one"]).ok();
    hosts.go(&["web", "there", "--delete"]).code(1).complains("has snapshots");
    hosts.here.vserver(["snapshot", "delete", "web", "one", "--yes"]).ok();
    let words = ["web", "there", "shop", "--context", "77", "--address", "192.0.2.7", "--delete"];
    hosts.go(&words).ok().says("guest 'shop' is on 'there'\nguest 'web' is deleted here\n");
    hosts.here.vserver(["status", "web"]).code(5);
    let shop = web.other("shop").on(&hosts.there).status();
    assert_eq!((shop.context, shop.state.as_str()), (77, "stopped"));
    assert_eq!(shop.addresses, ["192.0.2.7"]);
    assert!(!hosts.there.paths().actions(&"shop".parse().expect("a name")).exists());
}

fn the_other_host_is_asked_first(tree: Tree) {
    let hosts = Hosts::new();
    let web = hosts.here.guest("web").tree(tree).build();
    web.start();
    let init = web.init_pid();
    hosts.go(&["nobody", "there"]).code(5);
    hosts.go(&["web", "-oProxyCommand=true"]).code(2);
    hosts.go(&["web", "elsewhere"]).code(1).complains("cannot reach 'elsewhere' by ssh");
    hosts
        .go(&["web", "there", "--vserver", "/a b/$(exit)"])
        .code(1)
        .complains("there is no '/a b/");
    hosts.go(&["web", "there", "--vserver", "echo"]).code(1).complains("is another program");
    hosts.go(&["web", "there", "--address", "nonsense"]).code(1);
    let old = hosts.ssh.join("bin/old");
    let text = "#!/bin/sh\n[ \"$1\" != --version ] || { echo vserver 0.0.1; exit; }\nexit 2\n";
    executable::write(&old, text, 0o755);
    hosts.go(&["web", "there", "--vserver", "old"]).code(1).complains("vserver 0.0.1 on 'there'");
    hosts.there.configure("mail", "context = 77\n");
    hosts.go(&["web", "there", "--context", "77"]).code(1).complains("context 77 is guest 'mail'");
    hosts.assert_nothing_there();
    hosts.there.configure("web", "context = 78\n");
    hosts.go(&["web", "there"]).code(1).complains("doesn't take guest 'web'");
    assert_eq!(web.init_pid(), init, "it was stopped");
    web.stop();
}

fn a_link_that_breaks_changes_nothing(tree: Tree) {
    let hosts = Hosts::new();
    let web = hosts.here.guest("web").tree(tree).build();
    web.shell("dd if=/dev/urandom of=/srv/large bs=1M count=8").ok();
    let mut random = random();
    for state in ["running", "stopped"] {
        let init = (state == "running").then(|| web.start().init_pid());
        for round in 0..5 {
            // The whole is about ten megabytes.
            let bytes = if round == 0 { 0 } else { random.u64(..8 << 20) };
            hosts.order("cut", &bytes.to_string());
            let answer = hosts.go(&["web", "there"]).code(1);
            assert!(answer.stderr.contains("the link to 'there' broke"), "{answer}");
            assert!(init.is_none() || answer.stderr.contains("goes on here"), "{answer}");
            assert_eq!(web.status().init_pid, init, "after {bytes} bytes");
            hosts.assert_nothing_there();
        }
        if init.is_some() {
            web.stop();
        }
    }
    // Nothing but its last word is lost.
    hosts.order("cut", &(1u64 << 30).to_string());
    hosts.go(&["web", "there"]).code(1).complains("see there: vserver status web");
    assert_eq!(web.on(&hosts.there).status().state, "stopped");
    hosts.there.vserver(["delete", "web", "--yes"]).ok();
    hosts.revoke("cut");
    hosts.go(&["web", "there"]).ok();
    assert_eq!(differences(&web.root(), &web.on(&hosts.there).root()), [""; 0]);
}

fn who_is_killed_on_the_way_changes_nothing(tree: Tree) {
    let hosts = Hosts::new();
    let web = hosts.here.guest("web").tree(tree).build();
    web.shell("dd if=/dev/urandom of=/srv/large bs=1M count=200").ok();
    for (who, signal) in [("move", Signal::SIGTERM), ("ssh", Signal::SIGKILL)] {
        let init = web.start().init_pid();
        let _ = fs::remove_file(hosts.ssh.join("pid"));
        let mut moving = hosts.command(&["web", "there"]).spawn().expect("it runs");
        let building = || {
            let roots = fs::read_dir(hosts.there.paths().roots_dir());
            let ended = moving.try_wait().expect("it is ours").is_some();
            (roots.into_iter().flatten().flatten().next().is_some() || ended).then_some(())
        };
        eventually(DEADLINE, "it has begun there", building);
        let ssh = fs::read_to_string(hosts.ssh.join("pid")).expect("it is there");
        let pid = if who == "ssh" { ssh.trim().parse().expect("a number") } else { moving.id() };
        let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
        let end = moving.wait().expect("it ends");
        assert_eq!(end.code(), Some(1), "{who}");
        assert_eq!(web.init_pid(), init, "{who}");
        hosts.there.vserver(["status", "web"]).code(5);
        if who == "move" {
            hosts.assert_nothing_there();
        }
        web.stop();
    }
    // What a killed import has left goes with the next.
    hosts.go(&["web", "there"]).ok();
    assert_eq!(fs::read_dir(hosts.there.paths().roots_dir()).expect("it is there").count(), 1);
}

fn what_does_not_start_there_runs_here(tree: Tree) {
    let hosts = Hosts::new();
    let web = hosts.here.guest("web").tree(tree).set("autostart", "true").build();
    web.start();
    hosts.order("fail", "");
    let answer = hosts.go(&["web", "there"]).code(1);
    answer.clone().complains("doesn't start there");
    answer.complains("runs here again");
    let there = web.on(&hosts.there);
    assert!(web.is_running() && autostart(&web));
    assert!(!there.is_running() && !autostart(&there));
    hosts.there.vserver(["delete", "web", "--yes"]).ok();
    hosts.revoke("fail");
    hosts.go(&["web", "there", "--no-start"]).ok();
    assert!(!web.is_running() && !there.is_running());
}

fn a_limit_that_nothing_holds_there_is_refused_first(tree: Tree) {
    let hosts = Hosts::new();
    let golden = hosts.here.guest("golden").tree(tree).build();
    hosts.here.vserver(["clone", "golden", "web", "--storage", "image", "--size", "64M"]).ok();
    let web = golden.other("web");
    web.vserver("limits", ["disk=64M"]).ok();
    web.start();
    let init = web.init_pid();
    let refused = hosts.go(&["web", "there"]).code(1);
    let refused =
        refused.complains("guest 'web' couldn't start here: limits.disk can't be enforced");
    refused.complains("--storage image --size SIZE");
    hosts.assert_nothing_there();
    hosts.go(&["web", "there", "--size", "96M"]).code(2).complains("'--size' goes with");
    assert_eq!(web.init_pid(), init, "it was stopped");

    hosts.go(&["web", "there", "--storage", "image", "--size", "96M"]).ok();
    let there = web.on(&hosts.there);
    assert!(!web.is_running() && there.is_running());
    let shown = there.shell("grep -c ' / ext4 ' /proc/mounts && df -m / | tail -n 1").ok();
    let size = shown.stdout.split_whitespace().nth(2).and_then(|word| word.parse().ok());
    assert!(size.is_some_and(|megabytes: u64| (70..=96).contains(&megabytes)), "{shown}");
    there.stop();
    assert!(there.root().is_file());
}

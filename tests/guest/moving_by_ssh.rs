//! `vserver move`, and `build --method rsync`, by ssh itself: the other host is a machine with files, mounts
//! and a network of its own, and OpenSSH's server, at the other end of a cable.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::host::program;
use tests::same::differences;
use tests::{DEADLINE, Finished, Guest, Host, Network, Tree, command, eventually, process};

on! { Busybox: [
    it_goes_to_a_real_server_whatever_becomes_of_the_link,
    a_host_that_does_not_answer_is_noticed,
] }

/// What becomes a machine of its own: its files are those of a Debian guest,
/// the kernel's are the machine's, and so is the other installation.
const MACHINE: &str = r#"set -e
root=$1 prefix=$2 program=$3
mount --bind "$root" "$root"
for of in proc sys dev; do mount --rbind "/$of" "$root/$of"; done
mkdir -p "$root/$prefix" "$root/run/sshd" "$root/old"
mount --rbind "$prefix" "$root/$prefix"
touch "$root/usr/local/bin/vserver"
mount --bind "$program" "$root/usr/local/bin/vserver"
cd "$root"
pivot_root . old
umount -l /old
exec /usr/sbin/sshd -D -e -f /etc/ssh/test_config
"#;

struct Hosts {
    here: Host,
    there: Host,
    server: Child,
    keys: PathBuf,
}

impl Hosts {
    fn new() -> Self {
        let (near, far) = Network::with_neighbour();
        let (here, there) = (Host::on(near), Host::on(far));
        let (keys, root) = (here.prefix().join("keys"), here.prefix().join("machine"));
        for directory in [&keys, &root] {
            fs::create_dir(directory).expect("it can be made");
        }
        tool(Command::new("tar").arg("-xpf").arg(Tree::Bookworm.archive()).arg("-C").arg(&root));
        let ssh = root.join("etc/ssh");
        for key in [keys.join("id"), ssh.join("test_key")] {
            let words = ["-q", "-t", "ed25519", "-N", "", "-f"];
            tool(Command::new("ssh-keygen").args(words).arg(key));
        }
        fs::copy(keys.join("id.pub"), ssh.join("test_authorized")).expect("it was made");
        let host_key = fs::read_to_string(ssh.join("test_key.pub")).expect("it was made");
        write(&keys.join("known_hosts"), &format!("203.0.113.2 {host_key}"));
        let config = format!(
            "HostKey /etc/ssh/test_key\nAuthorizedKeysFile /etc/ssh/test_authorized\n\
             PidFile none\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n\
             StrictModes no\nSetEnv VSERVER_PREFIX={}\n",
            there.prefix().display()
        );
        write(&ssh.join("test_config"), &config);
        let mut server = there.network().command("unshare");
        server.args(["--mount", "--propagation", "private", "sh", "-c", MACHINE, "machine"]);
        server.arg(&root).arg(there.prefix()).arg(program());
        let log = fs::File::create(keys.join("log")).expect("it can be made");
        server.stdin(Stdio::null()).stderr(log);
        let server = server.spawn().expect("it can be run");
        let hosts = Self { here, there, server, keys };
        eventually(DEADLINE, "the server listens", || {
            let log = fs::read_to_string(hosts.keys.join("log")).ok()?;
            log.contains("Server listening").then_some(())
        });
        hosts
    }

    /// `vserver move`, with the keys made for this.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.here.command(["move"]);
        let (id, known) = (self.keys.join("id"), self.keys.join("known_hosts"));
        let options = [
            format!("IdentityFile={}", id.display()),
            format!("UserKnownHostsFile={}", known.display()),
            "IdentitiesOnly=yes".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            "ServerAliveInterval=1".to_owned(),
        ];
        command.args(words);
        command.args(options.iter().flat_map(|option| ["--ssh-option", option.as_str()]));
        command
    }

    #[track_caller]
    fn go(&self, words: &[&str]) -> Finished {
        command::run(&mut self.command(words), DEADLINE)
    }

    /// What is at the place of guests' roots on the other host.
    fn roots_there(&self) -> usize {
        fs::read_dir(self.there.paths().roots_dir()).into_iter().flatten().count()
    }

    /// Begins a move, and breaks the link when half a guest is there.
    fn break_off(&self, web: &Guest<'_>, how: impl FnOnce()) {
        let moving = self.command(&["web", "root@203.0.113.2"]).stderr(Stdio::piped()).spawn();
        let mut moving = moving.expect("it runs");
        eventually(DEADLINE, "it has begun there", || {
            let has_ended = moving.try_wait().expect("it is ours").is_some();
            (self.roots_there() > 0 || has_ended).then_some(())
        });
        how();
        let end = moving.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&end.stderr).into_owned();
        assert_eq!(end.status.code(), Some(1), "{said}");
        assert!(said.contains("the link to 'root@203.0.113.2' broke"), "{said}");
        assert!(said.contains("goes on here") && web.is_running(), "{said}");
    }

    fn assert_nothing_there(&self) {
        eventually(DEADLINE, "nothing is there", || (self.roots_there() == 0).then_some(()));
        self.there.vserver(["status", "web"]).code(5);
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for pid in process::children(self.server.id().cast_signed()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[track_caller]
fn tool(command: &mut Command) {
    command::run(command, DEADLINE).ok();
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("it can be written");
}

fn it_goes_to_a_real_server_whatever_becomes_of_the_link(tree: Tree) {
    let hosts = Hosts::new();
    let web = hosts.here.guest("web").tree(tree).build();
    web.shell("dd if=/dev/urandom of=/srv/large bs=1M count=200").ok();
    web.start();
    // The server's process for this connection.
    hosts.break_off(&web, || {
        let sessions = process::children(hosts.server.id().cast_signed());
        assert!(!sessions.is_empty());
        for session in sessions {
            kill(Pid::from_raw(session), Signal::SIGKILL).expect("it is there");
        }
    });
    hosts.assert_nothing_there();
    // The cable.
    hosts.break_off(&web, || drop(hosts.there.network().ip("link set lan0 down")));
    hosts.there.network().ip("link set lan0 up");
    hosts.assert_nothing_there();
    let said = hosts.go(&["web", "root@203.0.113.2"]).ok();
    assert!(said.stdout.contains("guest 'web' runs on 'root@203.0.113.2'"), "{said}");
    let there = web.on(&hosts.there);
    assert!(!web.is_running() && there.is_running());
    there.stop();
    let large = |guest: &Guest<'_>| guest.root().join("srv");
    assert_eq!(differences(&large(&web), &large(&there)), [""; 0]);
    comes_here_by_rsync(&hosts, tree);
}

/// This host's rsync, with all that it needs, in a directory: the tree has none.
const RSYNC: &str = "mkdir $1; cp /usr/bin/rsync $(ldd /usr/bin/rsync | grep -o '/[^ ]*') $1
    mv $1/ld-linux* $1/ld.so";

/// A directory of that machine's becomes a guest here.
fn comes_here_by_rsync(hosts: &Hosts, tree: Tree) {
    let machine = hosts.here.prefix().join("machine");
    tool(Command::new("sh").args(["-ec", RSYNC, "sh"]).arg(machine.join("opt/rsync")));
    let there = machine.join("srv/web");
    fs::create_dir(&there).expect("it can be made");
    tool(Command::new("tar").arg("-xpf").arg(tree.archive()).arg("-C").arg(there));
    let path = "--rsync-path=/opt/rsync/ld.so --library-path /opt/rsync /opt/rsync/rsync";
    let by = |known: &str| {
        let ssh = format!(
            "--rsh=ssh -i {0}/id -o UserKnownHostsFile={0}/{known} -o IdentitiesOnly=yes \
             -o StrictHostKeyChecking=yes",
            hosts.keys.display()
        );
        let from = ["--from", "root@203.0.113.2:/srv/web", "--", &ssh, path];
        let words = ["build", "copy", "--method", "rsync"].into_iter().chain(from);
        command::run(&mut hosts.here.command(words), DEADLINE)
    };
    // It may be anybody.
    by("nobody").code(1).complains("'rsync' failed");
    hosts.here.vserver(["status", "copy"]).code(5);
    by("known_hosts").ok();
    hosts.here.vserver(["start", "copy"]).ok();
    let owner = ["exec", "copy", "--", "stat", "-c", "%U", "/home/user"];
    hosts.here.vserver(owner).ok().says("user\n");
    hosts.here.vserver(["stop", "copy", "--no-kill"]).ok();
}

fn a_host_that_does_not_answer_is_noticed(tree: Tree) {
    let here = Host::new();
    let web = here.guest("web").tree(tree).build();
    web.start();
    // The kernel accepts, and nobody ever says a word.
    let mute = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let port = mute.local_addr().expect("it has one").port();
    here.vserver(["move", "web", "127.0.0.1", "--ssh-option", &format!("Port={port}")])
        .code(1)
        .complains("cannot reach '127.0.0.1' by ssh");
    assert!(web.is_running());
}

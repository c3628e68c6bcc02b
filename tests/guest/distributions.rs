//! A whole distribution lives in a guest with the default settings: people
//! log in, cron and sshd work, packages are installed, services reloaded.
//! One guest a distribution and mode answers all of it.

use tests::terminal::Terminal;
use tests::{DEADLINE, Guest, Host, Tree, command, eventually};

/// Makes a test a tree and mode of `security.users`.
macro_rules! modes {
    ($($tree:ident: $life:ident;)+) => {
        $(
            #[allow(non_snake_case, reason = "the tests have names of trees")]
            mod $tree {
                modes! { @mode $tree $life private }
                modes! { @mode $tree $life identity }
                modes! { @mode $tree $life host }
            }
        )+
    };
    (@mode $tree:ident $life:ident $mode:ident) => {
        #[test]
        #[ignore = "root: boots guests"]
        fn $mode() {
            super::$life(tests::Tree::$tree, stringify!($mode));
        }
    };
}

modes! {
    Bookworm: debian;
    Trixie: debian;
    Systemd: debian;
    Busybox: busybox;
}

/// What doesn't work with the default set.
struct Refused {
    trees: &'static [Tree],
    mode: &'static str,
    words: &'static [&'static str],
    code: i32,
    #[allow(dead_code, reason = "for the reader")]
    reason: &'static str,
}

const REFUSED: &[Refused] = &[
    Refused {
        trees: &[Tree::Bookworm, Tree::Systemd],
        mode: "host",
        words: &["ping", "-q", "-c", "1", "127.0.0.1"],
        code: 126,
        reason: "a file with CAP_NET_RAW, which isn't in the set without a user namespace",
    },
    Refused {
        trees: &[Tree::Busybox],
        mode: "host",
        words: &["ping", "-q", "-c", "1", "127.0.0.1"],
        code: 1,
        reason: "opens a raw socket, which needs the same capability",
    },
];

/// Accounts, keys, jobs and limits, made in the stopped guest. The limits are
/// such as a guest's root may not give, and logins must not fail for them.
const PREPARE: &str = "set -e
useradd -m -s /bin/bash user
printf 'root:geheim\\nuser:secret\\n' | chpasswd
printf '@reboot user (id -un; cat /proc/self/loginuid) >/var/tmp/cron-job\\n' >/etc/cron.d/witness
printf 'user - %s\\n' 'priority -5' 'nice -10' 'rtprio 10' 'nofile 65536' 'nproc 100000' \
    'memlock unlimited' >/etc/security/limits.conf
install -d -m 700 /root/.ssh
install -d -m 700 -o user -g user /home/user/.ssh
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/key
install -m 600 -o user -g user /root/.ssh/key.pub /home/user/.ssh/authorized_keys
[ ! -e /etc/inittab ] || echo 'co:23:respawn:/sbin/getty -L 38400 console vt100' >>/etc/inittab";

fn debian(tree: Tree, mode: &str) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).set("security.users", mode).build();
    guest.shell(PREPARE).ok();
    start_from_a_login_session(&guest);
    if tree == Tree::Systemd {
        guest.wait_for_systemd();
    }
    logs_in_on_the_console(&guest, "user-1000 on /dev/console");
    eventually(DEADLINE, "cron's job has run in a session of its user", || {
        (guest.read("/var/tmp/cron-job") == "user\n1000").then_some(())
    });
    logs_in_over_ssh(&guest);
    pings(&host, &guest, mode);
    installs_packages(&host, &guest);
    reloads_services(&guest);
    guest.stop();
}

/// `geheim` and `secret`, as crypt(3) writes them: busybox has no `chpasswd`.
const ROOT: &str = "$6$vserver$87eLBXhruNh1JJW6QmDmuJxlLngaXvjkaSLJgZ7Rv4Wml9.YMyuJfHLAj12Zk.dIXEP/KvECkErgzvKfks2iQ.";
const USER: &str = "$6$vserver$JWwLqL3Web.eC0CleFPRAmqgdyJcvUkkFkcVaUB3/MJyGNq3Zz910GxID7dpQUhoM2yX7qlHATJ1pL.zz3Afv1";

/// No cron: crond of a static busybox crashes, outside of guests as well.
fn busybox(tree: Tree, mode: &str) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).set("security.users", mode).build();
    let prepare = format!(
        "set -e; printf 'root:{ROOT}:1::::::\\nuser:{USER}:1::::::\\n' >/etc/shadow
        chmod u+s /bin/busybox
        echo '::respawn:/sbin/getty -L 38400 console vt100' >>/etc/inittab"
    );
    guest.shell(&prepare).ok();
    start_from_a_login_session(&guest);
    logs_in_on_the_console(&guest, "user-1000 on /dev/console");
    pings(&host, &guest, mode);
    guest.stop();
}

/// Whoever has logged in on the host has a login uid, which can be set only
/// once by those who may not control auditing.
fn start_from_a_login_session(guest: &Guest<'_>) {
    let start = guest.command("start", [""; 0]);
    let mut session = std::process::Command::new("/bin/sh");
    session.args(["-c", "echo 4711 >/proc/self/loginuid && exec \"$@\"", "sh"]);
    session.arg(start.get_program()).args(start.get_args());
    for (key, value) in start.get_envs() {
        session.env(key, value.unwrap_or_default());
    }
    command::run(&mut session, DEADLINE).ok();
}

fn logs_in_on_the_console(guest: &Guest<'_>, expected: &str) {
    let mut terminal = Terminal::open(&guest.command("console", [""; 0]));
    terminal.expect("login: ");
    terminal.type_in("user\n");
    terminal.expect("assword: ");
    terminal.type_in("secret\n");
    terminal.expect("$ ");
    terminal.type_in("echo user-$(id -u) on $(tty)\n");
    terminal.expect(expected);
    terminal.type_in("su -\n");
    terminal.expect("assword: ");
    terminal.type_in("geheim\n");
    terminal.expect("# ");
    terminal.type_in("su - user -c 'echo back-$(id -u)'; echo root-$(id -u); exit\n");
    terminal.expect("back-1000");
    terminal.expect("root-0");
    terminal.type_in("exit\n");
    terminal.expect("login: ");
}

fn logs_in_over_ssh(guest: &Guest<'_>) {
    guest.wait_for_process("sshd");
    let options = "-i /root/.ssh/key -o BatchMode=yes -o StrictHostKeyChecking=no";
    let command = "id -un; cat /proc/self/loginuid";
    guest.shell(&format!("ssh {options} user@127.0.0.1 '{command}'")).ok().says("user\n1000");
}

fn pings(host: &Host, guest: &Guest<'_>, mode: &str) {
    let words = ["ping", "-q", "-c", "1", "127.0.0.1"];
    let refused = REFUSED.iter().find(|refused| {
        refused.trees.contains(&guest.tree()) && refused.mode == mode && refused.words == words
    });
    let code = refused.map_or(0, |refused| refused.code);
    guest.exec(words).code(code);
    let as_user = ["suexec", "user", guest.name(), "--"].into_iter().chain(words);
    host.vserver(as_user).code(code);
}

/// There is no network inside: the archives are in the tree. One has a
/// setgid program and a daemon, the other a user of its own.
fn installs_packages(host: &Host, guest: &Guest<'_>) {
    guest.shell("DEBIAN_FRONTEND=noninteractive dpkg -i /srv/packages/*.deb").ok();
    guest.exec(["getent", "passwd", "uuidd"]).ok();
    guest.exec(["stat", "-c", "%A", "/usr/bin/at"]).ok().says("-rwsr-sr-x\n");
    guest.wait_for_process("atd");
    let job = "echo 'id -un >/var/tmp/at-job' | at now";
    host.vserver(["suexec", "user", guest.name(), "--", "/bin/sh", "-c", job]).ok();
    eventually(DEADLINE, "the job has run as its user", || {
        (guest.read("/var/tmp/at-job") == "user\n").then_some(())
    });
    guest.shell("DEBIAN_FRONTEND=noninteractive dpkg --purge at uuid-runtime").ok();
    eventually(DEADLINE, "its daemon has gone", || guest.process("atd").is_none().then_some(()));
}

fn reloads_services(guest: &Guest<'_>) {
    let lines: &[&str] = match guest.tree() {
        Tree::Systemd => {
            &["systemctl daemon-reload", "systemctl reload ssh", "systemctl restart cron"]
        }
        _ => &["service ssh reload", "service cron restart"],
    };
    for line in lines {
        guest.shell(line).ok();
    }
    guest.wait_for_process("sshd");
    guest.wait_for_process("cron");
    logs_in_over_ssh(guest);
}

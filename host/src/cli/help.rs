//! Texts that `--help` and the manual page show after the options.

mod transfer;
mod verbs;

pub(super) use transfer::*;
pub(super) use verbs::*;

/// Version text in the three parts of util-vserver's tools; old scripts read
/// the first number.
pub(super) const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " -- virtual servers on an unpatched Linux kernel\n",
    "This program is part of vserver ",
    env!("CARGO_PKG_VERSION"),
    "\n\nThis program is free software under the terms of the MIT licence or the\n",
    "Apache licence 2.0, at your option. There is no warranty.",
);

pub(super) const VSERVER: &str = "\
Examples:
  vserver build web                    a guest from this host's own packages
  vserver start web                    boot it, showing each rc script
  vserver exec web -- ps aux           run a command in it
  vserver enter web                    a login shell in it
  vserver stop web                     shut it down

'vserver web start' is understood as well.

Exit codes: 0 done, 1 failed, 2 wrong use, 3 not running, 4 no permission,
5 no such guest, 6 done but for settings without counterpart ('config import').
'exec' and 'suexec' exit as the command did, and with 125 when vserver itself
failed.

docs/NAME.md, of which these texts speak, is share/doc/vserver/NAME.md below the
prefix of 'vserver install', /usr/share/doc/vserver/NAME.md of a package.
'vserver man DIR' writes the manual pages into a directory.";

pub(super) const BUILD: &str = "\
Examples:
  vserver build web
  vserver build web --context 40017 --hostname web.example.org
  vserver build web --method debootstrap --suite trixie
  vserver build web --method debootstrap --suite noble --mirror URL \\
      --keyring ubuntu.gpg --components main,universe --packages systemd-sysv
  vserver build web --method template --from rootfs.tar.zst
  ssh old tar -C / --one-file-system -c . | vserver build web --method template --from -
  vserver build web --method directory --from /var/lib/lxc/web
  vserver build web --method rsync --from root@old:/ -- --exclude=/srv/backup
  vserver build web --method oci --from image.tar:latest
  vserver build web --method rpm --from base.manifest --from extra.rpm
  vserver build web --address 192.0.2.10 --ssh-key ~/.ssh/id_ed25519.pub
  vserver build web --root-password-file secret --run-script setup.sh";

pub(super) const START: &str = "\
Examples:
  vserver start web
  vserver start --enabled              those that are started with the host
  vserver start web --rescue /bin/sh   one command instead of the boot
  vserver start web --ephemeral        forget what is written in it when it stops

A guest that runs already is left alone, with a warning and exit code 0.";

pub(super) const STOP: &str = "\
Examples:
  vserver stop web
  vserver stop web --timeout 10        kill what remains after 10 seconds
  vserver stop web --no-kill           fail rather than kill

A guest that is stopped already is left alone, with a warning and exit code 0.";

pub(super) const STAT: &str = "\
Examples:
  vserver stat
  vserver stat --sort rss --columns memory,peak,kills
  vserver stat --watch=5

Contexts that have processes are shown, the host as 0. PROC, VSZ and RSS are
sums over the processes that there are; userTIME and sysTIME are the kernel's
counts since the guest was started, of processes that have ended as well.

--json has every figure, some also by the names vsz_bytes, rss_bytes, user_usec,
system_usec, rx_bytes, tx_bytes, io_read_bytes and io_write_bytes; null is what
isn't counted on this host. All fields: docs/accounts.md.

The program 'vserver-stat' shows the same without descriptions, as old scripts
expect: the name is the last word of a line.";

pub(super) const USAGE: &str = "\
Examples:
  vserver usage
  vserver usage web --since 2026-11-01 --until 2026-12-01
  vserver usage --since 7d --csv
  vserver usage web --commands --since 1d

Times of the day are UTC. Usage is kept by the hour: an hour counts where it
begins. It is kept for 400 days in /var/lib/vserver/usage, also of guests that
have been deleted; removing a guest's files there ends that. STARTED are the
processes that were made in it, those of sessions included. GiB*h is memory over
time: 1 is a GiB for an hour. Memory and block devices are 0 where the host's
root cgroup hasn't enabled their controllers (cgroup.subtree_control): systemd
enables 'memory', and 'io' with DefaultIOAccounting=yes in its system.conf.

With --commands, a row for every name of processes that began in the period and
have ended: how many, their processor time (each process in whole 0.01 s, so
short ones have none), how long one lasted on average, uids inside. Names are
the processes' own choice. See docs/process-accounting.md.";

pub(super) const LIMITS: &str = "\
Examples:
  vserver limits web                       configured, in force, used, peak
  vserver limits web memory=1G cpus=1.5    the running guest and its file
  vserver limits web cpus= memory=default  without these limits again
  vserver limits web 'io_max=/dev/sda wbps=20M'
  vserver limits web --apply               after 'config set' or 'config edit'

All changes are made, or none. A limit below what the guest uses of memory,
swap space, processes or the disk is refused; --force sets it all the same. What
stands in parentheses isn't configured: it is what vserver sets by itself. Keys
and units: docs/limits.md and vserver.toml(5), section [limits].";

pub(super) const DEVICE: &str = "\
Examples:
  vserver device add web /dev/fuse
  vserver device add web /dev/ttyUSB0 r --runtime
  vserver device remove web /dev/fuse
  vserver device list web

A running guest gets and loses the node and the right to open it at once. What
it has open when a device is removed stays open until it is closed: to be sure,
end the program that uses it, or reboot the guest. Memory, ports, and a disk
that the host uses are no devices for a running guest.";

pub(super) const METRICS: &str = "\
Examples:
  vserver metrics
  vserver metrics --output /var/lib/prometheus/node-exporter/vserver.prom

Text of OpenMetrics 1.0; with --output in Prometheus's older format, which
node_exporter reads from files. What ends in _total goes on over restarts,
reboots of the host and supervisors, as 'vserver usage' has it, and is up to
half a minute old; the rest is of this moment, and only there for guests that
run.";

pub(super) const VSERVER_STAT: &str = "\
Examples:
  vserver-stat
  vserver-stat --sort rss

As 'vserver stat', without descriptions: the name is the last word of a line.";

pub(super) const PAUSE: &str = "\
Examples:
  vserver pause web
  vserver pause --mark batch

A paused guest keeps its memory and its connections, and uses no processor.
'stop' and 'reboot' let it go on first.";

pub(super) const EXEC: &str = "\
Examples:
  vserver exec web -- ps aux
  tar c files | vserver exec web -- tar x -C /srv

Exit code: the command's, 128+n after signal n, 125 when vserver itself failed,
126 when the command can't be executed, 127 when there is none.
SIGINT, SIGTERM, SIGHUP and SIGQUIT go on to the command, which then loses its
terminal, if it has one. What comes before the command has begun, or when it has
ended and nobody reads what it wrote, ends vserver.
A stopped guest is not booted: its context is opened for the command.";

pub(super) const SUEXEC: &str = "\
Examples:
  vserver suexec www-data web -- id
  vserver web suexec www-data id       the same

USER is a name of the guest's or a number. Exit codes are those of 'exec'.";

pub(super) const TOP: &str = "\
Examples:
  vserver top
  vserver top --interval 0.5

The columns of 'vserver stat', then %CPU (100 is one processor), and, on wider
terminals, MEMORY with caches and bytes by the second from and to block devices
and the network. A '-' is not counted on this host, or not known yet.

Keys: arrows choose a line; Enter shows the processes of a guest, Esc goes back.
c m n p t x sort by %CPU, RSS, name, number of processes (or pid), time and
context (or pid inside). / shows only names with a text. s stops the chosen
guest as 'vserver stop' does; k sends the chosen process SIGTERM or SIGKILL;
both ask first. Ctrl-Z suspends, Ctrl-L draws anew, q quits.

'vtop' is another tool: top(1), which knows processes only. For a script there
is 'vserver stat --json'.";

pub(super) const LOGS: &str = "\
Examples:
  vserver logs web -n 50
  vserver logs web -f -b               this boot of the guest, and on
  vserver logs web -b 1                the boot before
  vserver logs web --events            what its supervisor has to say

The console is kept in the host's journal where systemd runs the guest's
supervisor, else in /var/log/vserver/NAME.log; 'console.log' in the guest's
configuration changes that. In the journal it has the guest's unit and
SYSLOG_IDENTIFIER=vserver-NAME/console, the supervisor's words have
SYSLOG_IDENTIFIER=vserver-NAME, VSERVER_NAME=NAME and a MESSAGE_ID of each
event.";

pub(super) const EVENTS: &str = "\
Examples:
  vserver events
  vserver events web db | while read -r line; do …; done

The first line of each guest says how it is. A line is an object with 'time'
(UTC), 'name', 'context', 'state' as in 'list', and, where there are any, 'boot'
(its number since the guest was started), 'init_pid', and 'last_end': how the
boot before ended.

It goes on over stops and starts of guests and the loss of a supervisor, until
it is interrupted or nobody reads it any more. After a while in which it wasn't
read, states between the last line and the next may be missing. A guest that
can't be listened to is named on standard error; others are told of meanwhile.";

pub(super) const ENABLE: &str = "\
Examples:
  vserver enable web           sets 'autostart = true' in its configuration
  vserver enable web --now     and starts it

Where systemd starts guests, 'systemctl enable vserver@web' is done instead, and
'systemctl disable vserver@web' takes it back. A guest that has either is
started with the host; 'vserver disable' takes both back.";

pub(super) const RELOAD: &str = "\
Examples:
  vserver reload web
  vserver reload --all

Limits, devices, and addresses of a guest on the host's own network stack, are
changed at once, and what a guest's link has lost by a restart of the host's
network is put back; everything else counts from the guest's next boot.
'systemctl reload vserver@web' does the same.";

pub(super) const REEXEC: &str = "\
Examples:
  vserver reexec --all         after an upgrade of this program
  vserver reexec web

Guests and their keepers are left alone; the supervisor's pid stays. While a
guest starts or stops, its supervisor can't be replaced.";

pub(super) const CONFIG: &str = "\
Examples:
  vserver config show web --effective
  vserver config set web boot.stop_timeout 90s
  vserver config set web marks db backup
  vserver config set web network.mode=shared network.addresses=192.0.2.10
  vserver config check
  vserver config import /var/lib/lxc/web/config";

pub(super) const CONFIG_IMPORT: &str = "\
Examples:
  vserver config import /etc/vservers/web.conf         util-vserver, old line
  vserver config import /etc/vservers/web --root /vservers/web
  vserver config import /var/lib/lxc/web/config --dry-run
  vserver config import /etc/systemd/nspawn/web.nspawn
  vserver config import /etc/vz/conf/101.conf --name shop --json
  incus query /1.0/instances/web > web.json && vserver config import web.json

Shows what each setting became, and then those that have no counterpart, with
file, line and what can be done. Nothing of theirs is executed, shell files
included, and their guest is left as it is. With --dry-run the configuration is
the standard output, and the tables are the standard error.

Exit code: 0 everything has a counterpart or needs none; 6 something has none,
and the guest is configured without it; others: nothing was written.

docs/moving-in.md has all keys, and the way from each manager.";

pub(super) const COMPLETION: &str = "\
Examples:
  vserver completion bash > /usr/share/bash-completion/completions/vserver
  vserver completion zsh > /usr/local/share/zsh/site-functions/_vserver
  vserver completion fish > /etc/fish/completions/vserver.fish";

pub(super) const INSTALL: &str = "\
Examples:
  vserver install --dry-run            what would be put where
  vserver install                      below /usr/local
  vserver install --prefix /opt/vserver
  vserver install --remove
  vserver install --prefix /usr --sbin --destdir debian/vserver

Puts 'vserver' and links of the tools' names into bin, manual pages, completion
and docs/*.md into share. 'reducecap' is a small program of its own with the
file capability cap_setpcap, with which ordinary users give capabilities up.
Units of systemd go into lib/systemd, what hosts without systemd put into
/etc/init.d to share/vserver/init.d, and a file of all settings, as one for
/etc/vservers, to share/vserver/defaults.toml.
All or nothing: files of others are not overwritten, and after a failure
everything is as before. What was installed stands in share/vserver/installed.";

/// Version text of a tool, in the same form; clap puts its name in front.
macro_rules! tool_version {
    ($purpose:literal) => {
        concat!(
            env!("CARGO_PKG_VERSION"),
            " -- ",
            $purpose,
            "\nThis program is part of vserver ",
            env!("CARGO_PKG_VERSION"),
            "\n\nThis program is free software under the terms of the MIT licence or the\n",
            "Apache licence 2.0, at your option. There is no warranty.",
        )
    };
}
pub(super) use tool_version;

pub(super) const CHCONTEXT: &str = "\
Examples:
  chcontext /bin/sh                    a shell that sees only its own processes
  chcontext --ctx 100 --flag persistent -- true
                                       a context that stays
  chcontext --ctx 100 -- ps ax         what runs in it
  chcontext --ctx web -- ps ax         what runs in a guest
  chcontext --secure --disconnect -- /usr/sbin/daemon
  chcontext --hostname box -- /bin/sh

A context has processes, IPC, host name and mounts of its own, on the host's
files and network. 'kill' and 'killall' in it reach nothing outside. It ends
with its last process. A new one's number is printed: from 49152 on they are
given out, 2 to 49151 can be chosen with --ctx. 0 is the host; 1 is the host's
processes, where no signal can be sent. Neither can be reached from inside.

Flags: 'fakeinit' makes CMD the context's PID 1, and the context end with it.
Without it PID 1 is a process of vserver's that only waits; in the context it
can't be seen ('pstree', which begins at PID 1, prints a '?' for it).
'persistent' keeps an empty context, 'private' lets nobody join.
Linux-VServer's others are known.

/proc/self/status of CMD itself has lines 's_context:' and 'VxID:', which old
programs look for; its other lines stay as they were when CMD began, and CMD's
children don't have these two.

Root in a context is root on the host's files and devices: for a confined root
use a guest. Ordinary users' contexts need a host that lets them make user
namespaces; in them only the user's own ids exist, and nobody can join.

A shell on a terminal finds nobody of the group there that had it before. dash,
Debian's /bin/sh, says so when it ends ('Cannot set tty process group') and
exits with 2; bash doesn't mind.

Exit code: the command's, 128+n after signal n; 255 when chcontext itself
failed, 126 when the command can't be executed, 127 when there is none.";

pub(super) const CHBIND: &str = "\
Examples:
  chbind --ip 192.0.2.10 -- /usr/sbin/sshd -D
                                       a service of the host on one address
  chbind --ip eth1 -- CMD              those that an interface has
  chbind --ip 192.0.2.10/24 --ip 2001:db8::10 -- CMD
  chbind --ip 192.0.2.10 -- chcontext -- CMD
  chbind --nid 42 -- CMD               no address but a loopback one, 127.0.42.1

CMD and all that it starts can bind to, send from and receive at these
addresses only, with TCP, UDP and ping; other sockets of the internet families
are refused. A TCP socket that is bound to any address serves all of these, a
UDP socket the first one of its family. Binding to an address that isn't
listed, or that the host hasn't, fails: 'Cannot assign requested address'.
127.0.0.1 is CMD's own, and nobody else reaches it. A chbind in a chbind can
only take away. docs/network.md tells it all.

/proc/self/status of CMD itself has the lines 'ipv4root:' and
'ipv4root_bcast:', which old programs look for.

CMD takes the place of chbind: its pid is the same, and its exit code. Sockets
that CMD inherits keep what they may. Only the host's root can use chbind.

Exit code: the command's; 255 when chbind itself failed, 126 when the command
can't be executed, 127 when there is none.";

pub(super) const REDUCECAP: &str = "\
Examples:
  reducecap --secure /bin/sh           a shell in which even 'su' can't reach
                                       the network's and the machine's settings
  reducecap --cap '!net_raw' -- CMD    one less
  reducecap --secure --cap net_raw -- ping ::1
  reducecap --secure --show            what '--secure' leaves
  reducecap --show --pid 1             what another process has

Neither setuid programs nor 'su' bring back what is taken: it is taken out of
the bounding set, and out of the inheritable and ambient sets.

--secure keeps chown, dac_override, dac_read_search, fowner, fsetid, kill,
setgid, setuid, setpcap, net_bind_service, sys_chroot, sys_ptrace,
sys_tty_config, lease, setfcap and audit_write. Names are those of
capabilities(7), with or without CAP_, or Linux-VServer's where they map; lists
have commas, 'all' is all, '^N' number N, and '~' is '!'.

The kernel lets only root reduce a bounding set, so ordinary users need the
program that 'vserver install' puts in place of this one. Only root can take
setuid and setgid: without them setuid programs can't give root up. Where an
ordinary user takes another one that --secure keeps, nothing gains privileges
any more (no_new_privs), neither 'su' nor this program: some let pass without
audit_write or dac_override what they should refuse. What else is to be taken
must be named in the same call.

Root is still root on the host's files: what it may write there, others
execute. For a confined root use chcontext(8) or a guest.

Exit code: the command's; 255 when reducecap itself failed, 126 when the
command can't be executed, 127 when there is none.";

pub(super) const VPS: &str = "\
Examples:
  vps aux
  vps -ef --forest
  vps -o pid,user,args -C sshd

All options but --help and --version go to ps(1). Behind the pid stand the
number and the name of the process's context: 0 MAIN is the host, ERR a process
that has ended meanwhile. Output without a column PID stays as it is.

Exit code: that of ps; 255 when it can't be run.";

pub(super) const VPSTREE: &str = "\
Examples:
  vpstree -p
  vpstree --ctx web -a                 one guest's, from its PID 1

All other options go to pstree(1). Exit code: that of pstree; 255 when it can't
be run.";

pub(super) const VTOP: &str = "\
Examples:
  vtop
  vtop -b -n 1

Shows processes whatever their context, and not which that is; 'vserver top'
shows contexts, and the processes of one.

All options but --help and --version go to top(1). Exit code: that of top; 255
when it can't be run.";

pub(super) const VKILL: &str = "\
Examples:
  vkill --xid web 1                    SIGTERM to a guest's PID 1
  vkill -c 40001 -s HUP 237            237 as 'ps' inside shows it
  vkill -c web -s KILL                 all of its processes
  vkill -s KILL -c web -- -1           all but its PID 1
  vkill 4711                           a pid of the host's, as in 'vps'

PID 0 is all processes, -1 all but PID 1. SIG is a number from 0 to 64, or a
name. Only what is in the context at the moment of the signal is hit, never a
process that has got a pid anew.

Exit code: 0 if every signal was sent, else 1.";

pub(super) const INFO: &str = "\
Examples:
  vserver-info web CONTEXT             40001, if it runs
  vserver-info web CONTEXT 1           also if it doesn't
  vserver-info web VDIR                its root directory
  vserver-info web INITPID             the host's pid of its PID 1
  vserver-info 4711 XID                the context of a process
  vserver-info 42 XIDTYPE              static
  vserver-info - SYSINFO

One value and a newline, or nothing.

Exit code: 0 if there is a value, or it is so; 1 if not, or vserver-info failed;
4 if that can't be known without permission.";

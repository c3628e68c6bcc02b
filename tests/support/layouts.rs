//! The layouts: which tree, what a test adds to it as an administrator would,
//! and what its family calls things.

mod openrc;
mod small;

use crate::Tree;

pub use openrc::{alpine, gentoo, openrc, openrc_init};
pub use small::{arch, bsd, busybox, dinit, one_command, slackware, stages, unknown};

/// Where each orderly shutdown leaves a line.
pub const MARKS: &str = "/var/log/shutdowns";

/// A step of each boot, which those that have a sign of being up call before they
/// are. It takes as long as [`SLOW`] does.
pub const UP: File = (
    "/etc/up",
    "#!/bin/sh\n: >/run/booting\n[ ! -e /etc/slow ] || . /etc/slow\n: >/run/up\n",
    0o755,
);

/// A part of that step, while it is there.
pub const SLOW: &str = "/etc/slow";

/// A guest of one family.
pub struct Layout {
    /// For the page.
    pub title: &'static str,
    /// What it is built from.
    pub tree: Tree,
    /// Links that are made in it.
    pub links: &'static [(&'static str, &'static str)],
    /// Files that are written in it, with their modes.
    pub files: &'static [File],
    /// What is run inside then.
    pub prepare: Words,
    /// Its style in `status`, and a part of the reason.
    pub style: &'static str,
    /// That part.
    pub reason: &'static str,
    /// What is booted in place of an init, if anything.
    pub command: Words,
    /// Is it up when [`UP`] is done, or at once?
    pub signs: bool,
    /// The name of a process that runs when it is up.
    pub service: &'static str,
    /// What is typed inside.
    pub reboot: Words,
    /// Likewise.
    pub power_off: Words,
    /// Likewise.
    pub halt: Words,
    /// What else its family has for that.
    pub own: &'static [(After, Words)],
    /// A file that makes its shutdown hang.
    pub hanging: File,
}

/// A file: its path, its text, its mode.
pub type File = (&'static str, &'static str, u32);

/// A command.
pub type Words = &'static [&'static str];

/// What becomes of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It is booted again.
    Again,
    /// It stays down.
    Down,
}

use After::{Again, Down};

/// sysvinit's own; runit, finit and systemd have commands of these names.
const SHUTDOWN: &[(After, Words)] = &[
    (Again, &["shutdown", "-r", "now"]),
    (Down, &["shutdown", "-h", "now"]),
    (Again, &["init", "6"]),
    (Down, &["init", "0"]),
];

/// And these.
const TELINIT: &[(After, Words)] = &[
    (Again, &["shutdown", "-r", "now"]),
    (Down, &["shutdown", "-h", "now"]),
    (Again, &["telinit", "6"]),
    (Down, &["init", "0"]),
    (Again, &["init", "6"]),
    (Down, &["telinit", "0"]),
];

/// sysvinit from Debian's own files.
pub fn sysvinit() -> Layout {
    Layout {
        title: "Debian 12, sysvinit",
        tree: Tree::Bookworm,
        links: &[],
        files: &[(
            "/etc/init.d/marks",
            "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: marks\n\
             # Required-Start: $remote_fs\n# Required-Stop: $remote_fs\n\
             # Default-Start: 2 3 4 5\n# Default-Stop: 0 1 6\n### END INIT INFO\n\
             if [ $1 = start ]; then /etc/up; else date >>/var/log/shutdowns; fi\n",
            0o755,
        )],
        prepare: &["update-rc.d", "marks", "defaults"],
        style: "sysv",
        reason: "/sbin/init is sysvinit",
        command: &[],
        signs: true,
        service: "cron",
        reboot: &["reboot"],
        power_off: &["poweroff"],
        halt: &["halt"],
        own: TELINIT,
        hanging: RC_HANGING,
    }
}

const RC_HANGING: File = (
    "/etc/init.d/marks",
    "#!/bin/sh\nif [ $1 = start ]; then /etc/up; else sleep 1000; fi\n",
    0o755,
);

/// systemd from Debian's own files.
pub fn systemd() -> Layout {
    Layout {
        title: "Debian 12, systemd",
        tree: Tree::Systemd,
        links: &[],
        prepare: &["systemctl", "enable", "marks.service"],
        files: &[
            // It waits as long for processes that ignore SIGTERM: 90 s.
            (
                "/etc/systemd/system.conf.d/stop.conf",
                "[Manager]\nDefaultTimeoutStopSec=5s\n",
                0o644,
            ),
            (
                "/etc/systemd/system/marks.service",
                "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/etc/up\n\
             ExecStop=/bin/sh -c 'date >>/var/log/shutdowns'\n[Install]\nWantedBy=multi-user.target\n",
                0o644,
            ),
        ],
        style: "init",
        reason: "/sbin/init is systemd",
        service: "cron",
        own: &[
            (Again, &["systemctl", "reboot"]),
            (Down, &["systemctl", "halt"]),
            (Again, &["telinit", "6"]),
            (Down, &["systemctl", "poweroff"]),
            (Again, &["shutdown", "-r", "now"]),
            (Down, &["shutdown", "-h", "now"]),
        ],
        hanging: (
            "/etc/systemd/system/marks.service",
            "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/etc/up\n\
             ExecStop=/bin/sleep 1000\nTimeoutStopSec=infinity\n",
            0o644,
        ),
        ..sysvinit()
    }
}

/// The same of a newer version.
pub fn systemd_trixie() -> Layout {
    Layout { title: "Debian 13, systemd", tree: Tree::SystemdTrixie, ..systemd() }
}

/// Debian's runit. `rc.shutdown` is there, and not executable.
pub fn runit() -> Layout {
    Layout {
        title: "Debian 12, runit",
        tree: Tree::Runit,
        links: &[("/etc/rcS.d/S99up", "/etc/up")],
        files: &[("/etc/runit/rc.shutdown", "#!/bin/sh\ndate >>/var/log/shutdowns\n", 0o755)],
        prepare: &[],
        style: "init",
        reason: "/sbin/init is runit, '/usr/lib/runit/runit-init'",
        command: &[],
        signs: true,
        service: "runsvdir",
        reboot: &["reboot"],
        power_off: &["poweroff"],
        halt: &["halt"],
        own: SHUTDOWN,
        hanging: ("/etc/runit/rc.shutdown", "#!/bin/sh\nsleep 1000\n", 0o755),
    }
}

/// Void's three stages for runit, on Debian's programs, whose `stopit` is
/// elsewhere.
pub fn void() -> Layout {
    Layout {
        title: "Void's stages for runit",
        links: &[],
        files: &[
            (
                "/etc/runit/1",
                "#!/bin/sh\nPATH=/usr/bin:/usr/sbin\n\
                 for f in /etc/runit/core-services/*.sh; do [ -r $f ] && . $f; done\n\
                 install -m000 /dev/null /run/runit.stopit\n\
                 install -m000 /dev/null /run/runit.reboot\n",
                0o755,
            ),
            (
                "/etc/runit/2",
                "#!/bin/sh\nPATH=/usr/bin:/usr/sbin\nrunsvchdir default >/dev/null\n\
                 mkdir -p /run/runit/runsvdir\n\
                 ln -s /etc/runit/runsvdir/current /run/runit/runsvdir/current\n\
                 exec env - PATH=$PATH runsvdir -P /run/runit/runsvdir/current 'log: ......'\n",
                0o755,
            ),
            (
                "/etc/runit/3",
                "#!/bin/sh\nPATH=/usr/bin:/usr/sbin\n\
                 [ -x /etc/rc.shutdown ] && /etc/rc.shutdown\n\
                 sv force-stop /run/runit/runsvdir/current/*\n\
                 sv exit /run/runit/runsvdir/current/*\n\
                 pkill --inverse -s0,1 -TERM\nsleep 1\npkill --inverse -s0,1 -KILL\n",
                0o755,
            ),
            (
                "/etc/runit/core-services/00-pseudofs.sh",
                "mkdir -p -m0755 /run/runit\n/etc/up\n",
                0o644,
            ),
            ("/etc/runit/runsvdir/default/sleeper/run", "#!/bin/sh\nexec sleep 100000\n", 0o755),
            ("/etc/rc.shutdown", "#!/bin/sh\ndate >>/var/log/shutdowns\n", 0o755),
        ],
        service: "sleep",
        hanging: ("/etc/rc.shutdown", "#!/bin/sh\nsleep 1000\n", 0o755),
        ..runit()
    }
}

/// Debian's finit.
pub fn finit() -> Layout {
    Layout {
        title: "Debian 12, finit",
        tree: Tree::Finit,
        links: &[],
        files: &[
            (
                "/etc/finit.d/marks.conf",
                "run [S] /etc/up -- a step\n\
                 service [2345] /bin/sleep 100000 -- a service\n\
                 shutdown /usr/local/sbin/marks\n",
                0o644,
            ),
            ("/usr/local/sbin/marks", "#!/bin/sh\ndate >>/var/log/shutdowns\n", 0o755),
        ],
        prepare: &[],
        style: "init",
        reason: "/sbin/init is finit, '/usr/sbin/finit'",
        command: &[],
        signs: true,
        service: "sleep",
        reboot: &["reboot"],
        power_off: &["poweroff"],
        halt: &["halt"],
        own: &[
            (Again, &["/lib/finit/initctl", "reboot"]),
            (Down, &["/lib/finit/initctl", "halt"]),
            (Again, &["/lib/finit/initctl", "runlevel", "6"]),
            (Down, &["/lib/finit/initctl", "poweroff"]),
            // They call initctl, which Debian has where no shell finds it.
            (Again, &["sh", "-c", "PATH=$PATH:/lib/finit telinit 6"]),
            (Down, &["sh", "-c", "PATH=$PATH:/lib/finit init 0"]),
            (Again, &["shutdown", "-r", "now"]),
            (Down, &["shutdown", "-h", "now"]),
        ],
        hanging: ("/usr/local/sbin/marks", "#!/bin/sh\nsleep 1000\n", 0o755),
    }
}

const S6_SERVICE: File = ("/etc/s6/service/sleeper/run", "#!/bin/sh\nexec sleep 100000\n", 0o755);

const S6_FINISH: File = (
    "/etc/s6/service/.s6-svscan/finish",
    "#!/bin/sh\ndate >>/var/log/shutdowns\n[ ! -x /etc/hang ] || /etc/hang\n\
     if [ -e /run/reboot ]; then exec /sbin/reboot -d -n -f; fi\n\
     if [ -e /run/halt ]; then exec /sbin/halt -d -n -f; fi\nexec /sbin/poweroff -d -n -f\n",
    0o755,
);

/// s6 by itself: s6-svscan(8) as PID 1, as its documentation sets it up.
pub fn s6() -> Layout {
    Layout {
        title: "s6-svscan by itself",
        tree: Tree::S6,
        links: &[],
        files: &[
            (
                "/sbin/init",
                "#!/usr/bin/execlineb -S0\nexport PATH /usr/sbin:/usr/bin:/sbin:/bin\n\
                 foreground { sh -c \"cp -a /etc/s6/service /run/service; /etc/up\" }\n\
                 s6-svscan /run/service\n",
                0o755,
            ),
            S6_SERVICE,
            S6_FINISH,
        ],
        prepare: &[],
        style: "init",
        reason: "/sbin/init is s6, '/usr/sbin/init'",
        command: &[],
        signs: true,
        service: "sleep",
        reboot: &["sh", "-c", "touch /run/reboot && s6-svscanctl -t /run/service"],
        power_off: &["s6-svscanctl", "-t", "/run/service"],
        halt: &["sh", "-c", "touch /run/halt && s6-svscanctl -t /run/service"],
        own: &[(Down, &["kill", "-TERM", "1"])],
        hanging: ("/etc/hang", "#!/bin/sh\nsleep 1000\n", 0o755),
    }
}

/// As s6-linux-init-maker(8) sets it up, with SIGTERM meaning nothing, and with
/// its `reboot` and the like in the PATH; scripts stand for the programs, which
/// Debian has not got.
pub fn s6_linux_init() -> Layout {
    Layout {
        title: "s6-linux-init",
        files: &[
            (
                "/sbin/init",
                "#!/usr/bin/execlineb -S0\n\n\
                 s6-linux-init -c \"/etc/s6-linux-init/current\" -m 0022 -- \"$@\"\n",
                0o755,
            ),
            (
                "/usr/bin/s6-linux-init",
                "#!/bin/sh\ncp -a /etc/s6/service /run/service\n/etc/up\nexec s6-svscan /run/service\n",
                0o755,
            ),
            (
                "/usr/bin/s6-linux-init-shutdown",
                "#!/bin/sh\ncase $* in *-r*) touch /run/reboot ;; *-h*) touch /run/halt ;; esac\n\
                 exec s6-svscanctl -t /run/service\n",
                0o755,
            ),
            (
                "/usr/bin/s6-linux-init-hpr",
                "#!/bin/sh\nexec s6-linux-init-shutdown $1 now\n",
                0o755,
            ),
            ("/usr/local/sbin/reboot", "#!/bin/sh\nexec s6-linux-init-hpr -r\n", 0o755),
            ("/usr/local/sbin/poweroff", "#!/bin/sh\nexec s6-linux-init-hpr -p\n", 0o755),
            ("/usr/local/sbin/halt", "#!/bin/sh\nexec s6-linux-init-hpr -h\n", 0o755),
            ("/etc/s6/service/.s6-svscan/SIGTERM", "#!/bin/sh\n", 0o755),
            S6_SERVICE,
            S6_FINISH,
        ],
        reboot: &["reboot"],
        power_off: &["poweroff"],
        halt: &["halt"],
        own: &[
            (Again, &["s6-linux-init-shutdown", "-r", "now"]),
            (Down, &["s6-linux-init-shutdown", "-h", "now"]),
            (Down, &["s6-linux-init-shutdown", "-p", "now"]),
        ],
        ..s6()
    }
}

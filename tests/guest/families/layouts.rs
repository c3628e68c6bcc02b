//! The layouts: which tree, what a test adds to it as an administrator would,
//! and what its family calls things.

use tests::Tree;

/// Where each orderly shutdown leaves a line.
pub const MARKS: &str = "/var/log/shutdowns";

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
    /// Its style in `status`, and a part of the reason.
    pub style: &'static str,
    pub reason: &'static str,
    /// The name of a process that runs when it is up.
    pub service: &'static str,
    /// What is typed inside.
    pub reboot: &'static [&'static str],
    pub power_off: &'static [&'static str],
    /// A file that makes its shutdown hang.
    pub hanging: File,
}

type File = (&'static str, &'static str, u32);

/// Debian's runit. `rc.shutdown` is there, and not executable.
pub fn runit() -> Layout {
    Layout {
        title: "Debian 12, runit",
        tree: Tree::Runit,
        links: &[],
        files: &[("/etc/runit/rc.shutdown", "#!/bin/sh\ndate >>/var/log/shutdowns\n", 0o755)],
        style: "init",
        reason: "/sbin/init is runit, '/usr/lib/runit/runit-init'",
        service: "runsvdir",
        reboot: &["reboot"],
        power_off: &["init", "0"],
        hanging: ("/etc/runit/rc.shutdown", "#!/bin/sh\nsleep 1000\n", 0o755),
    }
}

/// Void's three stages for runit, on Debian's programs, whose `stopit` is
/// elsewhere.
pub fn void() -> Layout {
    Layout {
        title: "Void's stages for runit",
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
            ("/etc/runit/core-services/00-pseudofs.sh", "mkdir -p -m0755 /run/runit\n", 0o644),
            ("/etc/runit/runsvdir/default/sleeper/run", "#!/bin/sh\nexec sleep 100000\n", 0o755),
            ("/etc/rc.shutdown", "#!/bin/sh\ndate >>/var/log/shutdowns\n", 0o755),
        ],
        service: "sleep",
        reboot: &["init", "6"],
        hanging: ("/etc/rc.shutdown", "#!/bin/sh\nsleep 1000\n", 0o755),
        ..runit()
    }
}

const OPENRC_SERVICE: File = (
    "/etc/init.d/marks",
    "#!/sbin/openrc-run\nstart() { :; }\nstop() { date >>/var/log/shutdowns; }\n",
    0o755,
);

const OPENRC_HANGING: File =
    ("/etc/init.d/marks", "#!/sbin/openrc-run\nstart() { :; }\nstop() { sleep 1000; }\n", 0o755);

/// Debian's OpenRC below sysvinit's inittab.
pub fn openrc() -> Layout {
    Layout {
        title: "Debian 12, OpenRC under sysvinit",
        tree: Tree::Openrc,
        links: &[("/etc/runlevels/default/marks", "/etc/init.d/marks")],
        files: &[OPENRC_SERVICE],
        style: "sysv",
        reason: "/sbin/init is sysvinit",
        service: "cron",
        reboot: &["reboot"],
        power_off: &["poweroff"],
        hanging: OPENRC_HANGING,
    }
}

/// The same with OpenRC's own init, as its manual has it.
pub fn openrc_init() -> Layout {
    Layout {
        title: "Debian 12, openrc-init",
        links: &[
            ("/sbin/init", "openrc-init"),
            ("/etc/runlevels/default/marks", "/etc/init.d/marks"),
        ],
        style: "init",
        reason: "/sbin/init is openrc-init, '/usr/sbin/openrc-init'",
        reboot: &["openrc-shutdown", "--reboot", "now"],
        power_off: &["openrc-shutdown", "--poweroff", "now"],
        ..openrc()
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
                "service [2345] /bin/sleep 100000 -- a service\n\
                 shutdown /usr/local/sbin/marks\n",
                0o644,
            ),
            ("/usr/local/sbin/marks", "#!/bin/sh\ndate >>/var/log/shutdowns\n", 0o755),
        ],
        style: "init",
        reason: "/sbin/init is finit, '/usr/sbin/finit'",
        service: "sleep",
        reboot: &["reboot"],
        power_off: &["poweroff"],
        hanging: ("/usr/local/sbin/marks", "#!/bin/sh\nsleep 1000\n", 0o755),
    }
}

const S6_SERVICE: File = ("/etc/s6/service/sleeper/run", "#!/bin/sh\nexec sleep 100000\n", 0o755);

const S6_FINISH: File = (
    "/etc/s6/service/.s6-svscan/finish",
    "#!/bin/sh\ndate >>/var/log/shutdowns\n[ ! -x /etc/hang ] || /etc/hang\n\
     if [ -e /run/reboot ]; then exec reboot -d -n -f; fi\nexec poweroff -d -n -f\n",
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
                 foreground { cp -a /etc/s6/service /run/service }\ns6-svscan /run/service\n",
                0o755,
            ),
            S6_SERVICE,
            S6_FINISH,
        ],
        style: "init",
        reason: "/sbin/init is s6, '/usr/sbin/init'",
        service: "sleep",
        reboot: &["sh", "-c", "touch /run/reboot && s6-svscanctl -t /run/service"],
        power_off: &["s6-svscanctl", "-t", "/run/service"],
        hanging: ("/etc/hang", "#!/bin/sh\nsleep 1000\n", 0o755),
    }
}

/// As s6-linux-init-maker(8) sets it up, with SIGTERM meaning nothing; two
/// scripts stand for the programs, which Debian has not got.
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
                "#!/bin/sh\ncp -a /etc/s6/service /run/service\nexec s6-svscan /run/service\n",
                0o755,
            ),
            (
                "/usr/bin/s6-linux-init-shutdown",
                "#!/bin/sh\ncase $* in *-r*) touch /run/reboot ;; esac\n\
                 exec s6-svscanctl -t /run/service\n",
                0o755,
            ),
            ("/etc/s6/service/.s6-svscan/SIGTERM", "#!/bin/sh\n", 0o755),
            S6_SERVICE,
            S6_FINISH,
        ],
        reboot: &["s6-linux-init-shutdown", "-r", "now"],
        power_off: &["s6-linux-init-shutdown", "-p", "now"],
        ..s6()
    }
}

/// What the two megabytes of busybox are given in place of a distribution's
/// own files: the conventions of each are those of its public boot scripts.
const SMALL: Layout = Layout {
    title: "",
    tree: Tree::Busybox,
    links: &[],
    files: &[],
    style: "sysv",
    reason: "/sbin/init is sysvinit",
    service: "sleep",
    reboot: &["sh", "-c", "kill -39 1"],
    power_off: &["sh", "-c", "kill -38 1"],
    hanging: ("/etc/hang", "", 0o644),
};

/// Known by its mark; what it would do, guest-init does.
const SYSVINIT: File = ("/sbin/init", "#!/bin/false INIT_VERSION=sysvinit-3.09\n", 0o755);

/// Slackware: sysvinit's inittab, and one BSD-like script for each runlevel.
pub fn slackware() -> Layout {
    Layout {
        title: "Slackware",
        links: &[("/etc/rc.d/rc.0", "rc.6")],
        files: &[
            SYSVINIT,
            (
                "/etc/inittab",
                "id:3:initdefault:\nsi:S:sysinit:/etc/rc.d/rc.S\n\
                 su:1S:wait:/etc/rc.d/rc.K\nrc:2345:wait:/etc/rc.d/rc.M\n\
                 ca::ctrlaltdel:/sbin/shutdown -t5 -r now\n\
                 l0:0:wait:/etc/rc.d/rc.0\nl6:6:wait:/etc/rc.d/rc.6\n\
                 c1:12345:respawn:/bin/sleep 100000\n",
                0o644,
            ),
            ("/etc/rc.d/rc.S", "#!/bin/sh\nmount -v proc /proc -t proc\n", 0o755),
            (
                "/etc/rc.d/rc.M",
                "#!/bin/sh\n[ -x /etc/rc.d/rc.local ] && . /etc/rc.d/rc.local\n",
                0o755,
            ),
            (
                "/etc/rc.d/rc.6",
                "#!/bin/sh\n/etc/rc.d/rc.local_shutdown\nkillall5 -15\n\
                 case $0 in *0) poweroff -f ;; *6) reboot -f ;; esac\n",
                0o755,
            ),
            ("/etc/rc.d/rc.local_shutdown", "#!/bin/sh\ndate >>/var/log/shutdowns\n", 0o755),
        ],
        hanging: ("/etc/rc.d/rc.local_shutdown", "#!/bin/sh\nsleep 1000\n", 0o755),
        ..SMALL
    }
}

/// Arch before systemd: sysvinit's inittab, and three scripts.
pub fn arch() -> Layout {
    Layout {
        title: "Arch before systemd",
        files: &[
            SYSVINIT,
            (
                "/etc/inittab",
                "id:3:initdefault:\nrc::sysinit:/etc/rc.sysinit\nrs:S1:wait:/etc/rc.single\n\
                 rm:2345:wait:/etc/rc.multi\nrh:06:wait:/etc/rc.shutdown\n\
                 su:S:wait:/sbin/sulogin -p\nc1:2345:respawn:/bin/sleep 100000\n\
                 ca::ctrlaltdel:/sbin/shutdown -t3 -r now\n",
                0o644,
            ),
            ("/etc/rc.sysinit", "#!/bin/sh\n:\n", 0o755),
            ("/etc/rc.multi", "#!/bin/sh\n[ -x /etc/rc.local ] && /etc/rc.local\n", 0o755),
            (
                "/etc/rc.shutdown",
                "#!/bin/sh\n/etc/rc.local.shutdown\n\
                 if [ \"$RUNLEVEL\" = 0 ]; then poweroff -d -f; else reboot -d -f; fi\n",
                0o755,
            ),
            ("/etc/rc.local.shutdown", "#!/bin/sh\ndate >>/var/log/shutdowns\n", 0o755),
        ],
        hanging: ("/etc/rc.local.shutdown", "#!/bin/sh\nsleep 1000\n", 0o755),
        ..SMALL
    }
}

/// Stands for OpenRC where an inittab calls it.
const OPENRC: File = (
    "/sbin/openrc",
    "#!/bin/sh\ncase $1 in shutdown | reboot) set -- \"$1\" stop ;; *) set -- \"$1\" start ;; esac\n\
     for file in /etc/runlevels/*/*; do\n\
     [ $2 = stop ] || case $file in */$1/*) ;; *) continue ;; esac; $file $2; done\n",
    0o755,
);

const OPENRC_MARKS: File =
    ("/etc/init.d/marks", "#!/bin/sh\n[ $1 = start ] || date >>/var/log/shutdowns\n", 0o755);

const HANGING: File = ("/etc/init.d/marks", "#!/bin/sh\n[ $1 = start ] || sleep 1000\n", 0o755);

/// Gentoo: OpenRC from sysvinit's inittab.
pub fn gentoo() -> Layout {
    Layout {
        title: "Gentoo, OpenRC under sysvinit",
        links: &[("/etc/runlevels/default/marks", "/etc/init.d/marks")],
        files: &[
            SYSVINIT,
            OPENRC,
            OPENRC_MARKS,
            (
                "/etc/inittab",
                "id:3:initdefault:\nsi::sysinit:/sbin/openrc sysinit\n\
                 rc::bootwait:/sbin/openrc boot\nl0:0:wait:/sbin/openrc shutdown\n\
                 l0s:0:wait:/sbin/halt.sh\nl1:1:wait:/sbin/openrc single\n\
                 l2:2:wait:/sbin/openrc nonetwork\nl3:3:wait:/sbin/openrc default\n\
                 l6:6:wait:/sbin/openrc reboot\nl6r:6:wait:/sbin/reboot.sh\n\
                 su0:S:wait:/sbin/openrc single\nc1:12345:respawn:/bin/sleep 100000\n",
                0o644,
            ),
            ("/sbin/halt.sh", "#!/bin/sh\nexec poweroff -f\n", 0o755),
            ("/sbin/reboot.sh", "#!/bin/sh\nexec reboot -f\n", 0o755),
        ],
        hanging: HANGING,
        ..SMALL
    }
}

/// Alpine: OpenRC from busybox's inittab.
pub fn alpine() -> Layout {
    Layout {
        title: "Alpine, OpenRC under busybox",
        links: &[("/etc/runlevels/default/marks", "/etc/init.d/marks")],
        files: &[
            OPENRC,
            OPENRC_MARKS,
            (
                "/etc/inittab",
                "::sysinit:/sbin/openrc sysinit\n::sysinit:/sbin/openrc boot\n\
                 ::wait:/sbin/openrc default\n::respawn:/bin/sleep 100000\n\
                 ::ctrlaltdel:/sbin/reboot\n::shutdown:/sbin/openrc shutdown\n",
                0o644,
            ),
        ],
        style: "busybox",
        reason: "/sbin/init is busybox",
        reboot: &["reboot"],
        power_off: &["poweroff"],
        hanging: HANGING,
        ..SMALL
    }
}

/// No init program that is known, no inittab: one script to boot, one to stop.
pub fn bsd() -> Layout {
    Layout {
        title: "`/etc/rc` and `/etc/rc.shutdown`",
        links: &[("/sbin/init", "nowhere"), ("/etc/inittab", "nowhere")],
        files: &[
            ("/etc/rc", "#!/bin/sh\nsleep 100000 </dev/null >/dev/null 2>&1 &\n", 0o755),
            ("/etc/rc.shutdown", "#!/bin/sh\ndate >>/var/log/shutdowns\n", 0o755),
        ],
        style: "rc",
        reason: "there are rc scripts of the BSDs' kind, and no /etc/inittab",
        hanging: ("/etc/rc.shutdown", "#!/bin/sh\nsleep 1000\n", 0o755),
        ..SMALL
    }
}

/// A program that nobody knows, and that hears SIGTERM and SIGINT.
pub fn unknown() -> Layout {
    Layout {
        title: "an init that nobody knows",
        files: &[(
            "/sbin/init",
            "#!/bin/sh\ntrap 'date >>/var/log/shutdowns; /etc/hang; poweroff -f' TERM\n\
             trap 'date >>/var/log/shutdowns; reboot -f' INT\n\
             while :; do sleep 100000 & wait $!; done\n",
            0o755,
        )],
        style: "init",
        reason: "/sbin/init is '/sbin/init', of no known family",
        reboot: &["sh", "-c", "kill -INT 1"],
        power_off: &["sh", "-c", "kill -TERM 1"],
        hanging: ("/etc/hang", "#!/bin/sh\nsleep 1000\n", 0o755),
        ..SMALL
    }
}

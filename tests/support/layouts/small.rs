//! Layouts on two megabytes of busybox.

use crate::Tree;

use super::After::{Again, Down};
use super::{File, Layout};

/// What the two megabytes of busybox are given in place of a distribution's
/// own files: the conventions of each are those of its public boot scripts.
const SMALL: Layout = Layout {
    title: "",
    tree: Tree::Busybox,
    links: &[],
    files: &[],
    prepare: &[],
    style: "sysv",
    reason: "/sbin/init is sysvinit",
    command: &[],
    signs: true,
    service: "sleep",
    reboot: &["sysvinit", "reboot"],
    power_off: &["sysvinit", "poweroff"],
    halt: &["sysvinit", "halt"],
    own: &[
        (Again, &["kill", "-39", "1"]),
        (Down, &["kill", "-37", "1"]),
        (Again, &["sysvinit", "6"]),
        (Down, &["sysvinit", "0"]),
    ],
    hanging: ("/etc/hang", "", 0o644),
};

/// busybox with an inittab of its own.
pub fn busybox() -> Layout {
    Layout {
        title: "busybox",
        files: &[("/etc/init.d/rcS", "#!/bin/sh\ndate +%s >>/var/log/boots\n/etc/up\n", 0o755)],
        style: "busybox",
        reason: "/sbin/init is busybox",
        service: "busybox",
        reboot: &["reboot"],
        power_off: &["poweroff"],
        halt: &["halt"],
        own: &[
            (Again, &["busybox", "reboot"]),
            (Down, &["busybox", "halt"]),
            (Again, &["kill", "-TERM", "1"]),
            (Down, &["busybox", "poweroff"]),
        ],
        hanging: ("/etc/init.d/rcK", "#!/bin/sh\nsleep 1000\n", 0o755),
        ..SMALL
    }
}

/// Known by its mark; what it would do, guest-init does.
const SYSVINIT: File = ("/sbin/init", "#!/bin/false INIT_VERSION=sysvinit-3.09\n", 0o755);

/// Stands for sysvinit's tools: what `halt`, `poweroff`, `reboot` and `telinit`
/// write to `/run/initctl` (initreq.h), a variable and a runlevel.
const TOOLS: File = (
    "/bin/sysvinit",
    "#!/bin/sh\nput() { { printf \"$1\"; head -c 384 /dev/zero; } | dd bs=1 count=384 | \
     dd ibs=1 obs=384 of=/run/initctl; }\n\
     magic='\\151\\031\\011\\003' none='\\000\\000\\000\\000'\n\
     case $1 in 6 | reboot) level='\\066' ;; *) level='\\060' ;; esac\n\
     [ $1 != halt ] || put \"$magic\\006\\000\\000\\000$none${none}INIT_HALT=HALT\"\n\
     put \"$magic\\001\\000\\000\\000$level\"\n",
    0o755,
);

const RC_S: File = ("/etc/rc.d/rc.S", "#!/bin/sh\nmount -v proc /proc -t proc\n", 0o755);

/// Its other name is `rc.0`.
const RC_6: File = (
    "/etc/rc.d/rc.6",
    "#!/bin/sh\n/etc/rc.d/rc.local_shutdown\nkillall5 -15\n\
     case $0 in *0) poweroff -f ;; *6) reboot -f ;; esac\n",
    0o755,
);

const LOCAL_SHUTDOWN: File =
    ("/etc/rc.d/rc.local_shutdown", "#!/bin/sh\ndate >>/var/log/shutdowns\n", 0o755);

const LOCAL_HANGING: File = ("/etc/rc.d/rc.local_shutdown", "#!/bin/sh\nsleep 1000\n", 0o755);

/// Slackware: sysvinit's inittab, and one BSD-like script for each runlevel.
pub fn slackware() -> Layout {
    Layout {
        title: "Slackware",
        links: &[("/etc/rc.d/rc.0", "rc.6")],
        files: &[
            SYSVINIT,
            TOOLS,
            (
                "/etc/inittab",
                "id:3:initdefault:\nsi:S:sysinit:/etc/rc.d/rc.S\n\
                 su:1S:wait:/etc/rc.d/rc.K\nrc:2345:wait:/etc/rc.d/rc.M\n\
                 ca::ctrlaltdel:/sbin/shutdown -t5 -r now\n\
                 l0:0:wait:/etc/rc.d/rc.0\nl6:6:wait:/etc/rc.d/rc.6\n\
                 c1:12345:respawn:/bin/sleep 100000\n",
                0o644,
            ),
            RC_S,
            (
                "/etc/rc.d/rc.M",
                "#!/bin/sh\n/etc/up\n[ -x /etc/rc.d/rc.local ] && . /etc/rc.d/rc.local\n",
                0o755,
            ),
            RC_6,
            LOCAL_SHUTDOWN,
        ],
        hanging: LOCAL_HANGING,
        ..SMALL
    }
}

/// The same without an inittab, as old ones and their likes have it.
pub fn stages() -> Layout {
    Layout {
        title: "`/etc/rc.d/rc.S`, `rc.M`, `rc.0` and `rc.6`",
        links: &[
            ("/sbin/init", "nowhere"),
            ("/etc/inittab", "nowhere"),
            ("/etc/rc.d/rc.0", "rc.6"),
        ],
        files: &[
            TOOLS,
            RC_S,
            (
                "/etc/rc.d/rc.M",
                "#!/bin/sh\n/etc/up\nsleep 100000 </dev/null >/dev/null 2>&1 &\n",
                0o755,
            ),
            RC_6,
            LOCAL_SHUTDOWN,
        ],
        style: "rc",
        reason: "there are rc scripts of the BSDs' kind, and no /etc/inittab",
        hanging: LOCAL_HANGING,
        ..SMALL
    }
}

/// Arch before systemd: sysvinit's inittab, and three scripts.
pub fn arch() -> Layout {
    Layout {
        title: "Arch before systemd",
        files: &[
            SYSVINIT,
            TOOLS,
            (
                "/etc/inittab",
                "id:3:initdefault:\nrc::sysinit:/etc/rc.sysinit\nrs:S1:wait:/etc/rc.single\n\
                 rm:2345:wait:/etc/rc.multi\nrh:06:wait:/etc/rc.shutdown\n\
                 su:S:wait:/sbin/sulogin -p\nc1:2345:respawn:/bin/sleep 100000\n\
                 ca::ctrlaltdel:/sbin/shutdown -t3 -r now\n",
                0o644,
            ),
            ("/etc/rc.sysinit", "#!/bin/sh\n:\n", 0o755),
            ("/etc/rc.multi", "#!/bin/sh\n/etc/up\n[ -x /etc/rc.local ] && /etc/rc.local\n", 0o755),
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

/// No init program that is known, no inittab: one script to boot, one to stop.
pub fn bsd() -> Layout {
    Layout {
        title: "`/etc/rc` and `/etc/rc.shutdown`",
        links: &[("/sbin/init", "nowhere"), ("/etc/inittab", "nowhere")],
        files: &[
            TOOLS,
            ("/etc/rc", "#!/bin/sh\n/etc/up\nsleep 100000 </dev/null >/dev/null 2>&1 &\n", 0o755),
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
             trap 'date >>/var/log/shutdowns; halt -f' USR1\n\
             trap 'date >>/var/log/shutdowns; reboot -f' INT\n\
             while :; do sleep 100000 & wait $!; done\n",
            0o755,
        )],
        style: "init",
        reason: "/sbin/init is '/sbin/init', of no known family",
        signs: false,
        reboot: &["kill", "-INT", "1"],
        power_off: &["kill", "-TERM", "1"],
        halt: &["halt"],
        own: &[],
        hanging: ("/etc/hang", "#!/bin/sh\nsleep 1000\n", 0o755),
        ..SMALL
    }
}

/// By dinit(8) and dinitctl(8), which no suite of Debian has: SIGTERM, SIGINT,
/// `shutdown`, of which `reboot`, `poweroff` and `halt` are other names, and a
/// service `boot` that takes its time.
pub fn dinit() -> Layout {
    Layout {
        title: "dinit",
        links: &[
            ("/sbin/init", "dinit"),
            ("/sbin/reboot", "shutdown"),
            ("/sbin/poweroff", "shutdown"),
            ("/sbin/halt", "shutdown"),
        ],
        files: &[
            (
                "/sbin/dinit",
                "#!/bin/sh\nend() { trap '' INT TERM; date >>/var/log/shutdowns; /etc/hang; busybox $1 -f; }\n\
                 trap 'end halt' TERM\ntrap 'end reboot' INT\n/etc/up\n\
                 while :; do sleep 100000 & wait $!; done\n",
                0o755,
            ),
            (
                "/sbin/dinitctl",
                "#!/bin/sh\n[ \"$*\" = '--quiet is-started boot' -a -e /run/up ]\n",
                0o755,
            ),
            (
                "/sbin/shutdown",
                "#!/bin/sh\ncase $0$1 in *reboot | *-r) kill -INT 1 ;; *) kill 1 ;; esac\n",
                0o755,
            ),
        ],
        style: "init",
        reason: "/sbin/init is dinit, '/sbin/dinit'",
        reboot: &["reboot"],
        power_off: &["poweroff"],
        halt: &["halt"],
        own: &[
            (Again, &["shutdown", "-r"]),
            (Down, &["shutdown", "-p"]),
            (Again, &["kill", "-INT", "1"]),
            (Down, &["shutdown", "-h"]),
            (Down, &["kill", "-TERM", "1"]),
        ],
        hanging: ("/etc/hang", "#!/bin/sh\nsleep 1000\n", 0o755),
        ..SMALL
    }
}

/// No init, but a program that the configuration names. It is asked by SIGTERM.
pub fn one_command() -> Layout {
    Layout {
        title: "one command",
        links: &[("/sbin/init", "nowhere")],
        files: &[(
            "/bin/server",
            "#!/bin/sh\ntrap 'date >>/var/log/shutdowns; /etc/hang; exit' TERM\n\
             while :; do sleep 100000 & wait $!; done\n",
            0o755,
        )],
        style: "command",
        reason: "the configuration names one",
        command: &["/bin/server"],
        signs: false,
        service: "server",
        reboot: &[],
        power_off: &[],
        halt: &[],
        own: &[],
        hanging: ("/etc/hang", "#!/bin/sh\nsleep 1000\n", 0o755),
        ..SMALL
    }
}

//! OpenRC as Debian has it, below each init that distributions run it under.

use crate::Tree;

use super::After::{Again, Down};
use super::{File, Layout, sysvinit};

const SERVICE: File = (
    "/etc/init.d/marks",
    "#!/sbin/openrc-run\nstart() { /etc/up; }\nstop() { date >>/var/log/shutdowns; }\n",
    0o755,
);

const HANGING: File = (
    "/etc/init.d/marks",
    "#!/sbin/openrc-run\nstart() { /etc/up; }\nstop() { sleep 1000; }\n",
    0o755,
);

/// It is in the default runlevel.
const ENABLED: (&str, &str) = ("/etc/runlevels/default/marks", "/etc/init.d/marks");

/// Debian's OpenRC below sysvinit's inittab.
pub fn openrc() -> Layout {
    Layout {
        title: "Debian 12, OpenRC under sysvinit",
        tree: Tree::Openrc,
        links: &[ENABLED],
        files: &[SERVICE],
        prepare: &[],
        hanging: HANGING,
        ..sysvinit()
    }
}

/// The same with OpenRC's own init, as its manual has it. Its own `reboot` and
/// the like, which Debian leaves to sysvinit's, call `openrc-shutdown`.
pub fn openrc_init() -> Layout {
    Layout {
        title: "Debian 12, openrc-init",
        links: &[("/sbin/init", "openrc-init"), ENABLED],
        files: &[
            SERVICE,
            ("/usr/local/sbin/reboot", "#!/bin/sh\nexec openrc-shutdown --reboot now\n", 0o755),
            ("/usr/local/sbin/poweroff", "#!/bin/sh\nexec openrc-shutdown --poweroff now\n", 0o755),
            ("/usr/local/sbin/halt", "#!/bin/sh\nexec openrc-shutdown --halt now\n", 0o755),
        ],
        style: "init",
        reason: "/sbin/init is openrc-init, '/usr/sbin/openrc-init'",
        own: &[
            (Again, &["openrc-shutdown", "--reboot", "now"]),
            (Down, &["openrc-shutdown", "--poweroff", "now"]),
            (Down, &["openrc-shutdown", "--halt", "now"]),
        ],
        ..openrc()
    }
}

/// Gentoo's inittab, which has OpenRC do all, on Debian's sysvinit and OpenRC.
pub fn gentoo() -> Layout {
    Layout {
        title: "Gentoo, OpenRC under sysvinit",
        files: &[
            SERVICE,
            (
                "/etc/inittab",
                "id:3:initdefault:\nsi::sysinit:/sbin/openrc sysinit\n\
                 rc::bootwait:/sbin/openrc boot\n\
                 l0:0:wait:/sbin/openrc shutdown\nl0s:0:wait:/sbin/halt.sh\n\
                 l1:1:wait:/sbin/openrc single\nl2:2:wait:/sbin/openrc nonetwork\n\
                 l3:3:wait:/sbin/openrc default\nl4:4:wait:/sbin/openrc default\n\
                 l5:5:wait:/sbin/openrc default\n\
                 l6:6:wait:/sbin/openrc reboot\nl6r:6:wait:/sbin/reboot.sh\n\
                 su0:S:wait:/sbin/openrc single\nsu1:S:wait:/sbin/sulogin\n\
                 c1:12345:respawn:/sbin/agetty 38400 tty1 linux\n\
                 c2:2345:respawn:/sbin/agetty 38400 tty2 linux\n\
                 ca:12345:ctrlaltdel:/sbin/shutdown -r now\n",
                0o644,
            ),
            (
                "/sbin/halt.sh",
                "#!/bin/sh\nopts=-d\n[ \"$INIT_HALT\" = HALT ] || opts=${opts}p\n\
                 exec /sbin/halt $opts -f\n",
                0o755,
            ),
            ("/sbin/reboot.sh", "#!/bin/sh\nexec /sbin/reboot -d -f\n", 0o755),
        ],
        ..openrc()
    }
}

/// Alpine's inittab, which has OpenRC do all, on busybox's init and Debian's OpenRC.
pub fn alpine() -> Layout {
    Layout {
        title: "Alpine, OpenRC under busybox",
        links: &[
            ("/sbin/init", "/bin/busybox"),
            ("/sbin/reboot", "/bin/busybox"),
            ("/sbin/poweroff", "/bin/busybox"),
            ("/sbin/halt", "/bin/busybox"),
            ENABLED,
        ],
        files: &[
            SERVICE,
            (
                "/etc/inittab",
                "::sysinit:/sbin/openrc sysinit\n::sysinit:/sbin/openrc boot\n\
                 ::wait:/sbin/openrc default\n\
                 tty1::respawn:/sbin/getty 38400 tty1\ntty2::respawn:/sbin/getty 38400 tty2\n\
                 ::ctrlaltdel:/sbin/reboot\n::shutdown:/sbin/openrc shutdown\n",
                0o644,
            ),
        ],
        style: "busybox",
        reason: "/sbin/init is busybox",
        own: &[
            (Again, &["kill", "-INT", "1"]),
            (Down, &["kill", "-USR2", "1"]),
            (Again, &["busybox", "reboot"]),
            (Down, &["busybox", "poweroff"]),
            (Down, &["busybox", "halt"]),
        ],
        ..openrc()
    }
}

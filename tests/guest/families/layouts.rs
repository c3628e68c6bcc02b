//! The layouts: which tree, what a test adds to it as an administrator would,
//! and what its family calls things.

use tests::Tree;

/// Where each orderly shutdown leaves a line.
pub const MARKS: &str = "/var/log/shutdowns";

/// A guest of one family.
pub struct Layout {
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

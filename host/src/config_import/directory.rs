//! util-vserver's directory `/etc/vservers/NAME`: a value a file, or a line.
//! Pure.
//!
//! Paths are those of util-vserver's "flower page", up to 0.30.216. The first
//! rule that fits counts, so that whole subtrees stand below their parts.

mod take;

use super::flags::flag;
use super::legacy::{capability, context};
use super::rule::{How, Rule, fine, fits, missing, takes};
use super::values::{fine as is_fine, missing as none, number, one_more, ours, unknown, variable};
use super::{Content, File, Setting, State, cgroup};
use take::{
    address, anonymous, by_name, count, device, disk, kill_sequence, limit, line, mark, pattern,
    processor_time, resident, same_number, schedule, style,
};

const HOOK: &str = "what it did can be done by /etc/vservers/NAME.sh, one script for all \
                    actions, called as 'NAME.sh ACTION NAME' (README.md); read it first";
const LINK: &str = "a guest's own link and addresses are all that it has: docs/network.md";
const FILES: &str = "'vserver build', 'clone' and the guest's own tools do that";
const SINGLE: &str = "limits of single processes are set inside, in /etc/security/limits.conf";
const UNAME: &str = "a guest sees the host's kernel as it is";

pub(super) const RULES: &[Rule] = &[
    takes("context", "context", "another one if a guest has it", context),
    takes("ncontext", "", "network and files go with the context", same_number),
    takes("tag", "", "network and files go with the context", same_number),
    fine("name", "the guest is called so"),
    fine("vdir", "its files: see below, or give them by '--root'"),
    fine("run", "vserver keeps a guest's state in /run/vserver"),
    fine("cache", "nothing of a guest needs one"),
    takes("uts/nodename", "hostname", "", |_, s| ours("hostname", &*s.value)),
    takes("uts/domainname", "domainname", "", |_, s| match &*s.value {
        "" | "none" | "(none)" => is_fine("that is none"),
        name => ours("domainname", name),
    }),
    fine("uts/context", "vserver keeps that itself"),
    missing("uts/*", UNAME),
    fine("disabled", "a guest is started with the host by 'autostart' only"),
    takes(
        "apps/init/mark",
        "marks; autostart",
        "'default' is what was started with the host",
        mark,
    ),
    takes("apps/init/depends", "after", "", |_, s| one_more("after", &*s.value)),
    takes(
        "apps/init/style",
        "",
        "'vserver status' says which one was found, 'boot.style' sets it",
        style,
    ),
    takes("apps/init/runlevel", "boot.runlevel", "", |_, s| ours("boot.runlevel", &*s.value)),
    takes("apps/init/runlevel.start", "boot.runlevel", "", |_, s| ours("boot.runlevel", &*s.value)),
    takes("apps/init/runlevel.stop", "", "6 is usual", |_, s| match &*s.value {
        "6" | "0" => is_fine("a guest is shut down by its own way"),
        _ => none("a guest is shut down by its own way, runlevel 0 or 6"),
    }),
    takes(
        "apps/init/killseq",
        "boot.kill_grace",
        "SIGTERM, a time, SIGKILL; no other signals",
        kill_sequence,
    ),
    takes("apps/init/environment", "boot.environment", "", |_, s| variable(&s.value)),
    fine("apps/init/mtab", "/etc/mtab is the guest's own file"),
    fine("apps/init/tty", "every guest has a console"),
    fine("apps/init/sync", "'start' and 'stop' wait anyway"),
    missing(
        "apps/init/cmd.*",
        "a guest boots and stops by its own files; one command that is all \
            of a guest is 'boot.command'",
    ),
    takes("apps/vshelper/sync-timeout", "boot.stop_timeout", "", |_, s| {
        match s.value.parse::<i64>() {
            Ok(seconds) => ours("boot.stop_timeout", seconds),
            Err(_) => unknown(s),
        }
    }),
    takes("apps/vshelper/action", "", "'restart' is usual", |_, s| match &*s.value {
        "restart" => is_fine("'reboot' inside reboots the guest"),
        _ => none("'reboot' inside reboots the guest, 'poweroff' ends it"),
    }),
    fine("apps/vshelper/debug", "'vserver logs --events' has what a supervisor says"),
    fine("apps/vshelper/warning-disabled", "there is no such warning"),
    missing("apps/vshelper/*", HOOK),
    missing("apps/vdevmap/*", "name each node in 'devices.allow', such as \"/dev/fuse rw\""),
    takes(
        "apps/vunify/exclude",
        "unify.exclude",
        "the same patterns, in place of vserver's own",
        pattern,
    ),
    missing("apps/vunify/*", "'vserver unify' shares blocks; write patterns into 'unify.exclude'"),
    missing("apps/pkgmgmt/*", FILES),
    takes(
        "interfaces/*/ip",
        "network.addresses",
        "an address is routed to the guest (docs/network.md); masks don't count",
        address,
    ),
    takes(
        "interfaces/*/dev",
        "network.proxy_arp",
        "the host answers for the addresses there; \
          one interface only",
        device,
    ),
    takes("interfaces/dev", "network.proxy_arp", "the same", device),
    fine("interfaces/*/prefix", "an address stands alone, without a network"),
    fine("interfaces/*/mask", "an address stands alone, without a network"),
    fine("interfaces/*/bcast", "an address stands alone, without a network"),
    fine("interfaces/*/name", "the guest's interface is called eth0"),
    fine("interfaces/*/nodev", "the host has no address of the guest's to set up"),
    fine("interfaces/*/disabled", "its address is left out"),
    fine("interfaces/prefix", "an address stands alone, without a network"),
    fine("interfaces/mask", "an address stands alone, without a network"),
    fine("interfaces/bcast", "an address stands alone, without a network"),
    fine("interfaces/lback", "every guest has its own 127.0.0.1"),
    missing("interfaces/*", LINK),
    missing(
        "noncontext",
        "a guest has addresses of its own, or with 'network.mode = \"shared\"' \
            some of the host's",
    ),
    fine("nonetns", "'network.mode' says how the guest is joined"),
    missing("netns/*", LINK),
    takes(
        "bcapabilities",
        "security.capabilities",
        "what every guest has anyway is left out",
        |_, s| capability(&s.value),
    ),
    takes("ccapabilities", "security.capabilities", "where the kernel has the same", by_name),
    takes("ncapabilities", "security.capabilities", "where the kernel has the same", by_name),
    missing("capabilities", "Linux 2.4's set: 'security.capabilities' adds and drops"),
    takes("cflags", "", "most are every guest's; each is listed", flag),
    takes("flags", "", "the same", flag),
    takes("nflags", "", "the same", flag),
    missing("umask", "'security.nesting' lets a guest make namespaces"),
    missing("badness", "the kernel chooses among the guest's own processes, at 'limits.memory'"),
    takes("nice", "limits.nice", "", |_, s| number("limits.nice", &s.value)),
    missing("ionice/*", "'limits.io_weight' is a guest's share, 'limits.io_max' its limit"),
    takes("rlimits/nproc*", "limits.processes", "the hard one", |t, s| {
        limit(t, s, |s| count("limits.processes", s))
    }),
    takes("rlimits/rss.soft", "limits.memory_high", "pages of 4096 bytes", resident),
    takes("rlimits/rss*", "limits.memory", "pages of 4096 bytes; the hard one", resident),
    takes(
        "rlimits/anon.soft",
        "limits.memory_high",
        "where 'rlimits/rss' isn't limited, too",
        |t, s| anonymous("limits.memory_high", t, s),
    ),
    takes(
        "rlimits/anon*",
        "limits.memory",
        "where 'rlimits/rss' isn't limited, too; all memory counts",
        |t, s| limit(t, s, |s| anonymous("limits.memory", t, s)),
    ),
    takes("rlimits/nofile*", "limits.files", "of each process", |t, s| {
        limit(t, s, |s| count("limits.files", s))
    }),
    missing("rlimits/openfd*", "'limits.files' counts for each process, not for the guest"),
    missing("rlimits/as*", "address space isn't limited: 'limits.memory' counts what is used"),
    missing("rlimits/memlock*", SINGLE),
    missing("rlimits/cpu*", SINGLE),
    missing("rlimits/fsize*", SINGLE),
    missing("rlimits/data*", SINGLE),
    missing("rlimits/stack*", SINGLE),
    missing("rlimits/core*", SINGLE),
    missing("rlimits/msgqueue*", "sysctl fs.mqueue inside holds it for a guest"),
    missing("rlimits/semary*", "sysctl kernel.sem inside holds it for a guest"),
    missing("rlimits/nsems*", "sysctl kernel.sem inside holds it for a guest"),
    missing("rlimits/shmem*", "'limits.memory' counts shared memory, too"),
    missing(
        "rlimits/*",
        "the kernel counts no such thing for a guest; 'limits.memory' holds \
            what it takes",
    ),
    takes("ulimits/nofile*", "limits.files", "the hard one", |t, s| {
        limit(t, s, |s| count("limits.files", s))
    }),
    missing("ulimits/*", SINGLE),
    takes(
        "dlimits/*/space_total",
        "limits.disk",
        "blocks of 1024 bytes; the file system must be able to hold it (docs/limits.md)",
        disk,
    ),
    fine("dlimits/*/directory", "'limits.disk' is the root's"),
    fine("dlimits/*/disabled", "it isn't limited"),
    takes("dlimits/*/inodes_total", "", "", |_, s| match &*s.value {
        "-1" => is_fine("that is no limit"),
        _ => none("'limits.inodes' is one, where 'limits.disk' is a project quota"),
    }),
    fine("dlimits/*/reserved", "'limits.disk' has no reserve for the guest's root"),
    takes("cpuset/cpus", "limits.cpuset", "", |_, s| ours("limits.cpuset", &*s.value)),
    fine("cpuset/name", "a guest's cgroup has its name"),
    fine(
        "cpuset/virtualized",
        "a guest sees the processors that it may use (sched_getaffinity(2))",
    ),
    fine("cpuset/nocreate", "a guest's cgroup is its own"),
    missing("cpuset/*", "'limits.cpuset' chooses processors, not memory nodes or exclusive use"),
    fine("cgroup/name", "a guest's cgroup has its name"),
    takes("cgroup/*", cgroup::OURS, cgroup::NOTE, |t, s| cgroup::attribute(t, s, "cgroup/")),
    fine("nocgroup", "every guest has a cgroup"),
    takes(
        "sched/fill-rate",
        "limits.cpus",
        "as fill-rate / interval of all processors' one",
        processor_time,
    ),
    fine("sched/interval", "it goes with 'fill-rate'"),
    missing("sched/*", "'limits.cpus' is a limit, 'limits.cpu_weight' a share"),
    takes("schedule", "limits.cpus", "the first line by the second one", schedule),
    missing(
        "sysctl/*",
        "a guest sets those of its own network and IPC itself, by its \
            /etc/sysctl.conf",
    ),
    fine("spaces/pid", "every guest has its own"),
    missing("spaces/*", "every guest has its own namespaces of all kinds, and shares none"),
    takes("fstab", "mounts.bind, mounts.tmpfs", "/proc, /sys and /dev are every guest's", line),
    takes("fstab.local", "mounts.bind, mounts.tmpfs", "the same", line),
    takes("fstab.remote", "mounts.bind, mounts.tmpfs", "mount it on the host first", line),
    fine("namespace", "every guest has its own mounts"),
    fine("namespace-cleanup*", "every guest has its own mounts"),
    fine("nonamespace-cleanup", "every guest has its own mounts"),
    missing("nonamespace", "every guest has its own mounts"),
    missing("shell", "'enter' starts root's shell, as the guest's /etc/passwd says"),
    fine("noisy", "'vserver start' shows every script on a terminal"),
    fine("keepfds", "nothing of the host's goes into a guest"),
    missing("personality", "a guest sees the machine as it is; setarch(8) inside changes that"),
    fine("legacy", "vserver reads its own configuration only"),
    missing("scripts/*", HOOK),
    missing("*", "util-vserver has no such file"),
];

/// Files that hold lists, whose items may stand behind commas on one line.
const LISTS: [&str; 6] =
    ["bcapabilities", "ccapabilities", "ncapabilities", "cflags", "flags", "nflags"];

pub(super) fn read(files: &[File]) -> Vec<Setting> {
    files.iter().flat_map(of_file).collect()
}

/// Does it matter what stands in the file? Of `vdir`, say, it is where it leads.
fn is_read(name: &str) -> bool {
    let rule = RULES.iter().find(|rule| fits(rule.key, name));
    rule.is_some_and(|rule| matches!(rule.how, How::As(_)))
}

fn of_file(file: &File) -> Vec<Setting> {
    let setting = |line, value: &str, state| Setting {
        file: file.path.as_str().into(),
        line,
        key: file.name.clone(),
        value: value.to_owned(),
        state,
    };
    match &file.content {
        Content::Text(text) => {
            let lines = (1..).zip(text.lines().map(str::trim));
            let mut found = Vec::new();
            for (line, value) in
                lines.filter(|(_, value)| !value.is_empty() && !value.starts_with('#'))
            {
                if LISTS.contains(&&*file.name) {
                    let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
                    found.extend(items.map(|item| setting(line, item, State::Plain)));
                } else {
                    found.push(setting(line, value, State::Plain));
                }
            }
            // A file that is there says something by that.
            if found.is_empty() {
                found.push(setting(1, "", State::Plain));
            }
            found
        }
        Content::Link(to) if is_read(&file.name) => {
            let why = format!("it is a link to '{to}', which isn't followed: copy that file here");
            vec![setting(1, "", State::Unclear(why))]
        }
        Content::Link(to) => vec![setting(1, to, State::Plain)],
        Content::Script => vec![setting(1, "", State::Plain)],
        Content::Unreadable(why) => vec![setting(1, "", State::Unclear(why.clone()))],
    }
}

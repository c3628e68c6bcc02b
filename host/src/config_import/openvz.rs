//! OpenVZ's `CTID.conf`: ctid.conf(5). Pure.
//!
//! It is sourced by a shell, in which vzctl has set `$VEID`. Of
//! `BARRIER:LIMIT` the limit counts. Pages have 4096 bytes.

use super::cgroup::{cpus, scaled};
use super::rule::{Rule, fine, missing, takes};
use super::shell;
use super::values::{
    UNLIMITED, added, blocks, bytes, dropped, fine as is_fine, missing as none, number, one_more,
    ours, pages, routed, size, unknown, with_remark, yes_or_no,
};
use super::{Content, File, Outcome, Setting, State};

const HOOK: &str = "what it did can be done by /etc/vservers/NAME.sh, one script for all \
                    actions, called as 'NAME.sh ACTION NAME' (README.md); read it first";
const COUNTS: &str = "it counts as the guest's memory, for 'limits.memory'";
const MEMORY: &str = "the guest's memory is one limit: 'limits.memory'";
const GUARANTEE: &str = "a guest has limits and shares, no guarantees";

pub(super) const RULES: &[Rule] = &[
    takes(
        "IP_ADDRESS",
        "network.addresses",
        "an address is routed to the guest; masks don't \
          count",
        |_, s| match &*s.value {
            "" => is_fine("that is none"),
            _ => routed(s),
        },
    ),
    takes("HOSTNAME", "hostname", "", |_, s| ours("hostname", &*s.value)),
    takes("NAMESERVER", "network.dns", "three at most", |_, s| match &*s.value {
        "" => is_fine("that is none"),
        "inherit" => none("name the host's servers in 'network.dns'"),
        server => one_more("network.dns", server),
    }),
    missing("SEARCHDOMAIN", "it stands in the guest's own /etc/resolv.conf"),
    takes("ONBOOT", "autostart", "", |_, s| match &*s.value {
        "auto" => ours("autostart", true),
        _ => yes_or_no(&s.value).map_or_else(|| unknown(s), |is_on| ours("autostart", is_on)),
    }),
    missing("BOOTORDER", "order comes from 'after', which names the guests that are up before"),
    takes("DISABLED", "", "", |_, s| match yes_or_no(&s.value) {
        Some(false) => is_fine("a guest can be started"),
        _ => none("a guest can be started; with the host it is by 'autostart' only"),
    }),
    takes("DESCRIPTION", "description", "", |_, s| ours("description", &*s.value)),
    fine("NAME", "the guest is called so"),
    fine("VEID", "its number is the file's name"),
    fine("UUID", "a guest is known by its name and context"),
    fine("VE_ROOT", "a guest's root is attached in its own mounts"),
    fine("VE_PRIVATE", "its files: see below, or give them by '--root'"),
    takes("VE_LAYOUT", "", "'simfs' is files", |_, s| match s.value.starts_with("simfs") {
        true => is_fine("its files are files"),
        false => none(
            "a disk image: mount it with ploop(8), and give the mount point to 'vserver \
                       build --method directory' or by '--root'",
        ),
    }),
    fine("OSTEMPLATE", "a guest is what its files are"),
    fine("DISTRIBUTION", "a guest is what its files are"),
    fine("ORIGIN_SAMPLE", "its values stand in this file"),
    fine("CONFIGFILE", "its values stand in this file"),
    fine("TECHNOLOGIES", "a guest needs no others"),
    takes("PHYSPAGES", "limits.memory", "the limit, pages of 4096 bytes", |_, s| {
        memory("limits.memory", s)
    }),
    takes("SWAPPAGES", "limits.swap", "the limit, pages of 4096 bytes", |_, s| {
        memory("limits.swap", s)
    }),
    takes("NUMPROC", "limits.processes", "the limit", |_, s| match limit(&s.value) {
        text if is_unlimited(text) => is_fine("that is no limit"),
        text => number("limits.processes", text),
    }),
    takes("PRIVVMPAGES", "", "of old kernels, without PHYSPAGES", |t, s| {
        let is_unlimited = pages(limit(&s.value)).is_none_or(|bytes| bytes >= UNLIMITED);
        let has = t.value("PHYSPAGES").map(limit).and_then(pages);
        match has {
            Some(bytes) if bytes < UNLIMITED => is_fine(MEMORY),
            _ if is_unlimited || self::is_unlimited(limit(&s.value)) => is_fine("that is no limit"),
            _ => {
                none("it counted what was promised, 'limits.memory' counts what is used: set that")
            }
        }
    }),
    missing("VMGUARPAGES", GUARANTEE),
    missing("OOMGUARPAGES", GUARANTEE),
    missing("AVNUMPROC", GUARANTEE),
    missing("VM_OVERCOMMIT", MEMORY),
    fine("KMEMSIZE", COUNTS),
    fine("LOCKEDPAGES", COUNTS),
    fine("SHMPAGES", COUNTS),
    fine("DCACHESIZE", COUNTS),
    fine("TCPSNDBUF", COUNTS),
    fine("TCPRCVBUF", COUNTS),
    fine("OTHERSOCKBUF", COUNTS),
    fine("DGRAMRCVBUF", COUNTS),
    fine("NUMTCPSOCK", COUNTS),
    fine("NUMOTHERSOCK", COUNTS),
    fine("NUMFLOCK", COUNTS),
    fine("NUMPTY", COUNTS),
    fine("NUMSIGINFO", COUNTS),
    fine("NUMIPTENT", COUNTS),
    takes("NUMFILE", "", "", |_, s| match limit(&s.value) {
        text if is_unlimited(text) => is_fine("that is no limit"),
        _ => none("open files count for each process: 'limits.files'"),
    }),
    takes("CPULIMIT", "limits.cpus", "percents of one processor; 0 is no limit", |_, s| {
        let text = s.value.trim_end_matches('%');
        match text.parse::<u32>() {
            Ok(0) => is_fine("that is no limit"),
            Ok(percents) => cpus(f64::from(percents) / 100.0),
            Err(_) => none("it is written in megahertz: set 'limits.cpus', in processors"),
        }
    }),
    takes("CPUS", "limits.cpus", "if CPULIMIT isn't there", |t, s| match s.value.parse::<u32>() {
        Ok(0) => is_fine("that is no limit"),
        Ok(_) if t.value("CPULIMIT").is_some_and(|most| most != "0") => {
            is_fine("CPULIMIT says how much")
        }
        Ok(number) => cpus(f64::from(number)),
        Err(_) => unknown(s),
    }),
    takes("CPUUNITS", "limits.cpu_weight", "1000 is 100", |_, s| {
        scaled("limits.cpu_weight", s, 1000, 100)
    }),
    takes("CPUMASK", "limits.cpuset", "", |_, s| match &*s.value {
        "all" | "auto" => is_fine("that is no limit"),
        set => ours("limits.cpuset", set),
    }),
    missing("NODEMASK", "'limits.cpuset' chooses processors, not memory nodes"),
    takes("IOPRIO", "limits.io_weight", "4 is 100", |_, s| match s.value.parse::<u64>() {
        Ok(level @ 0..=7) => {
            // Each of the eight levels is a share of its own.
            let weight = i64::try_from((level + 1) * 20).unwrap_or(100);
            with_remark("limits.io_weight", weight, "a share among guests")
        }
        _ => unknown(s),
    }),
    takes("IOLIMIT", "", "", |_, s| match bytes(&s.value) {
        Some(0) => is_fine("that is no limit"),
        Some(most) => none(format!(
            "a limit names a device: limits.io_max = [\"/dev/… rbps={most} wbps={most}\"]"
        )),
        None => unknown(s),
    }),
    takes("IOPSLIMIT", "", "", |_, s| match s.value.parse::<u64>() {
        Ok(0) => is_fine("that is no limit"),
        Ok(most) => none(format!(
            "a limit names a device: limits.io_max = [\"/dev/… riops={most} wiops={most}\"]"
        )),
        Err(_) => unknown(s),
    }),
    takes(
        "DISKSPACE",
        "limits.disk",
        "the limit, blocks of 1024 bytes; the file system must be able to hold it \
         (docs/limits.md)",
        |_, s| match limit(&s.value) {
            text if is_unlimited(text) => is_fine("that is no limit"),
            text => blocks(text).map_or_else(|| unknown(s), |bytes| size("limits.disk", bytes)),
        },
    ),
    missing("DISKINODES", "'limits.inodes' is one, where 'limits.disk' is a project quota"),
    missing("QUOTAUGIDLIMIT", "'vserver quota' limits users of a guest in an image"),
    fine("QUOTATIME", "without a limit of disk space there is no time"),
    takes("DISK_QUOTA", "", "", |_, s| match yes_or_no(&s.value) {
        Some(false) => is_fine("there is no limit"),
        _ => is_fine("DISKSPACE says how much"),
    }),
    takes(
        "CAPABILITY",
        "security.capabilities",
        "what every guest has anyway is left out",
        |_, s| match s.value.split_once(':') {
            Some((name, "on")) => added(name),
            Some((name, "off")) => dropped(name),
            _ if s.value.is_empty() => is_fine("that is none"),
            _ => unknown(s),
        },
    ),
    takes("FEATURES", "", "", |_, s| match s.value.split_once(':') {
        Some((_, "off")) => is_fine("no guest has it"),
        None if s.value.is_empty() => is_fine("that is none"),
        Some(("sit" | "ipip" | "ppp" | "bridge" | "ipgre", _)) => none(
            "'security.capabilities' add = [\"net_admin\"] lets a guest change its own network",
        ),
        _ => none("mount it on the host, and name it in 'mounts.bind'"),
    }),
    takes("DEVNODES", "devices.allow", "", |_, s| match s.value.split_once(':') {
        None if s.value.is_empty() => is_fine("that is none"),
        Some((_, "none")) => is_fine("no guest has it"),
        Some((node, rights)) => {
            let rights: String = rights.chars().filter(|right| "rw".contains(*right)).collect();
            one_more("devices.allow", format!("/dev/{node} {rights}"))
        }
        None => unknown(s),
    }),
    missing("DEVICES", "name each node by its path in 'devices.allow', such as \"/dev/fuse rw\""),
    missing("PCI", "no guest has a device of the bus"),
    missing("NETDEV", "interfaces of the host's stay the host's: 'network.parent' shares one"),
    takes("NETIF", "", "addresses are written down", |_, s| match &*s.value {
        "" => is_fine("that is none"),
        text => none(match text.split([',', ';']).find_map(|word| word.strip_prefix("bridge=")) {
            Some(bridge) => format!(
                "its addresses stand inside: 'vserver config set NAME network.bridge {bridge}', \
                 and network.addresses, network.gateway"
            ),
            None => "its addresses stand inside: 'vserver config set NAME network.addresses …' \
                     (docs/network.md)"
                .to_owned(),
        }),
    }),
    fine("IPTABLES", "a guest's rules are its own, with the capability net_admin"),
    fine("NETFILTER", "a guest's rules are its own, with the capability net_admin"),
    missing("RATE*", "traffic is counted, not limited: tc(8) on the guest's link on the host"),
    missing("MOUNT_OPTS", "a guest's root has no options"),
    takes("STOP_TIMEOUT", "boot.stop_timeout", "", |_, s| match s.value.parse::<i64>() {
        Ok(seconds) => ours("boot.stop_timeout", seconds),
        Err(_) => unknown(s),
    }),
    missing("CTID.*", HOOK),
    missing("*", "vserver has nothing like it, or it is a variable of the file's own"),
];

/// Keys whose values are words.
const LISTS: [&str; 5] = ["IP_ADDRESS", "NAMESERVER", "CAPABILITY", "FEATURES", "DEVNODES"];

pub(super) fn read(files: &[File]) -> Vec<Setting> {
    let mut found = Vec::new();
    for file in files {
        match &file.content {
            Content::Text(text) => {
                let number = file.name.strip_suffix(".conf").unwrap_or_default();
                let known = [("VEID", number), ("CTID", number)];
                // In a private area the file is called otherwise.
                let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
                let known = if is_number { known.as_slice() } else { &[] };
                for setting in shell::read(&file.path, text, known) {
                    match LISTS.contains(&&*setting.key) {
                        true => found.extend(shell::words(setting)),
                        false => found.push(setting),
                    }
                }
            }
            _ => found.push(Setting {
                file: file.path.as_str().into(),
                line: 1,
                key: format!("CTID.{}", file.name.rsplit('.').next().unwrap_or_default()),
                value: file.name.clone(),
                state: State::Plain,
            }),
        }
    }
    found
}

/// The limit of `BARRIER:LIMIT`, or of one value that is both.
fn limit(value: &str) -> &str {
    value.rsplit(':').next().unwrap_or(value)
}

fn is_unlimited(text: &str) -> bool {
    // LONG_MAX, of either width, as vzctl writes it.
    text == "unlimited"
        || text.parse::<u64>().is_ok_and(|number| number >= UNLIMITED || number == 0x7FFF_FFFF)
}

fn memory(key: &'static str, setting: &Setting) -> Outcome {
    let text = limit(&setting.value);
    match pages(text) {
        _ if is_unlimited(text) => is_fine("that is no limit"),
        Some(bytes) if bytes >= UNLIMITED => is_fine("that is no limit"),
        Some(bytes) => size(key, bytes),
        None => unknown(setting),
    }
}

//! Decides the `rcN.d` links of init scripts from their LSB headers. Pure.
//!
//! insserv's work (insserv(8)), for a copy: no package of the host owns these
//! links, and the host's own may carry its administrator's choices. A script
//! starts after all that it names in `Required-Start` and `Should-Start`, and
//! is stopped before what it names in `Required-Stop` and `Should-Stop`.

use std::collections::{BTreeMap, BTreeSet};

/// Scripts that have nothing to do in a guest, and why. A name that ends in
/// `*` stands for all that start so.
pub const POINTLESS: [(&str, &str); 28] = [
    ("brightness", "no screen"),
    ("checkfs.sh", "the host checks the file systems"),
    ("checkroot*", "the host checks the file systems"),
    ("console-*", "no keyboard and no screen"),
    ("cryptdisks*", "the host's block devices"),
    ("eudev", "no hardware"),
    ("hostname.sh", "the host sets the host name"),
    ("hwclock*", "a guest can't set the hardware clock"),
    ("ifupdown-clean", "the host configures the network"),
    ("keyboard-setup.sh", "no keyboard"),
    ("killprocs", "the shutdown ends all processes"),
    ("kmod", "no kernel modules"),
    ("lvm2*", "the host's block devices"),
    ("mdadm*", "the host's block devices"),
    ("mount*", "the host mounts what a guest needs"),
    ("networking", "the host configures the network"),
    ("ntp", "a guest can't set the clock"),
    ("ntpsec", "a guest can't set the clock"),
    ("chrony", "a guest can't set the clock"),
    ("procps", "writes kernel settings that belong to the host"),
    ("rmnologin", "rcS removes it"),
    ("screen-cleanup", "makes a directory that is there"),
    ("sendsigs", "guest-init ends all processes at shutdown"),
    ("swap", "the host's memory"),
    ("udev*", "no hardware"),
    ("umount*", "the host unmounts"),
    ("halt", "guest-init halts"),
    ("reboot", "guest-init reboots"),
];

/// Why this script gets no links, if it gets none.
pub fn reason_against(script: &str) -> Option<&'static str> {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => script.starts_with(start),
        None => script == pattern,
    };
    POINTLESS.iter().find(|(pattern, _)| fits(pattern)).map(|(_, reason)| *reason)
}

/// What a script's header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    provides: Vec<String>,
    start_after: Vec<String>,
    start_before: Vec<String>,
    stop_before: Vec<String>,
    start_levels: Vec<char>,
    stop_levels: Vec<char>,
}

/// Reads the header between `### BEGIN INIT INFO` and `### END INIT INFO`;
/// `None` when there is none.
pub fn parse_header(text: &str) -> Option<Header> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("### BEGIN INIT INFO"));
    lines.next()?;
    let mut header = Header::default();
    for line in lines.take_while(|line| !line.starts_with("### END INIT INFO")) {
        let Some((key, value)) = line.trim_start_matches('#').trim_start().split_once(':') else {
            continue;
        };
        let words = || value.split_whitespace().map(|word| word.trim_start_matches('+').to_owned());
        let levels = || value.chars().filter(|c| "0123456S".contains(*c));
        match key {
            "Provides" => header.provides.extend(words()),
            "Required-Start" | "Should-Start" => header.start_after.extend(words()),
            "X-Start-Before" => header.start_before.extend(words()),
            "Required-Stop" | "Should-Stop" => header.stop_before.extend(words()),
            "Default-Start" => header.start_levels.extend(levels()),
            "Default-Stop" => header.stop_levels.extend(levels()),
            _ => {}
        }
    }
    Some(header)
}

/// A link `rcLEVEL.d/NAME` to `../init.d/SCRIPT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// `0` to `6`, or `S`.
    pub level: char,
    /// `S03cron`.
    pub name: String,
    /// `cron`.
    pub script: String,
}

/// The links of all these scripts (name and header). Loops between scripts
/// are cut, as insserv does.
pub fn links(scripts: &BTreeMap<String, Header>) -> Vec<Link> {
    let owners = owners(scripts);
    let resolve = |names: &[String]| -> BTreeSet<&str> {
        names.iter().flat_map(|name| named(name, &owners, scripts)).collect()
    };
    let mut starts_after: Graph<'_> = Graph::new();
    let mut stops_after: Graph<'_> = Graph::new();
    for (script, header) in scripts {
        starts_after.entry(script).or_default().extend(resolve(&header.start_after));
        for before in resolve(&header.start_before) {
            starts_after.entry(before).or_default().insert(script);
        }
        for service in resolve(&header.stop_before) {
            stops_after.entry(service).or_default().insert(script);
        }
    }
    let mut links = Vec::new();
    for (script, header) in scripts {
        let mut link = |level: char, kind: char, number: usize| {
            let name = format!("{kind}{:02}{script}", number.min(99));
            links.push(Link { level, name, script: script.clone() });
        };
        for &level in &header.start_levels {
            let there = |other: &str| starts_in(scripts, other, level);
            link(level, 'S', rank(script, &starts_after, &there, &mut Vec::new()));
        }
        for &level in &header.stop_levels {
            let there = |other: &str| stops_in(scripts, other, level);
            link(level, 'K', rank(script, &stops_after, &there, &mut Vec::new()));
        }
    }
    links.sort();
    links.dedup();
    links
}

type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Which scripts provide a facility.
fn owners(scripts: &BTreeMap<String, Header>) -> BTreeMap<&str, Vec<&str>> {
    let mut owners: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (script, header) in scripts {
        for name in &header.provides {
            owners.entry(name).or_default().push(script);
        }
        owners.entry(script).or_default().push(script);
    }
    owners
}

/// The scripts meant by a name of a header. The system facilities are those
/// of Debian's insserv.conf as far as scripts that have work in a guest
/// provide them.
fn named<'a>(
    name: &str,
    owners: &BTreeMap<&'a str, Vec<&'a str>>,
    scripts: &'a BTreeMap<String, Header>,
) -> Vec<&'a str> {
    let members: &[&str] = match name {
        "$all" => {
            let is_late = |header: &Header| header.start_after.iter().any(|n| n == "$all");
            return scripts.iter().filter(|(_, h)| !is_late(h)).map(|(s, _)| s.as_str()).collect();
        }
        "$local_fs" | "$remote_fs" => &["vserver-boot", "bootmisc.sh"],
        "$syslog" => &["syslog", "rsyslog", "sysklogd", "syslog-ng", "busybox-syslogd"],
        "$named" => &["named", "bind9", "dnsmasq", "unbound", "nscd"],
        "$portmap" => &["rpcbind", "portmap"],
        other => &[other],
    };
    members.iter().flat_map(|member| owners.get(member).cloned().unwrap_or_default()).collect()
}

fn starts_in(scripts: &BTreeMap<String, Header>, script: &str, level: char) -> bool {
    scripts.get(script).is_some_and(|header| header.start_levels.contains(&level))
}

fn stops_in(scripts: &BTreeMap<String, Header>, script: &str, level: char) -> bool {
    scripts.get(script).is_some_and(|header| header.stop_levels.contains(&level))
}

/// One more than the highest rank of what goes before, within one runlevel.
fn rank<'a>(
    script: &'a str,
    after: &Graph<'a>,
    is_there: &dyn Fn(&str) -> bool,
    path: &mut Vec<&'a str>,
) -> usize {
    path.push(script);
    let before = after.get(script).into_iter().flatten();
    let highest = before
        .filter(|other| is_there(other))
        .filter_map(|other| {
            let in_loop = path.contains(other);
            (!in_loop).then(|| rank(other, after, is_there, path))
        })
        .max();
    path.pop();
    highest.unwrap_or(0) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(text: &str) -> Header {
        parse_header(&format!("#!/bin/sh\n### BEGIN INIT INFO\n{text}### END INIT INFO\n")).unwrap()
    }

    #[test]
    fn a_script_starts_after_what_it_requires_and_stops_before() {
        let scripts = BTreeMap::from([
            (
                "cron".to_owned(),
                header(
                    "# Provides: cron\n# Required-Start: $remote_fs $syslog\n# Required-Stop: $syslog\n\
                     # Default-Start: 2 3 4 5\n# Default-Stop: 0 6\n",
                ),
            ),
            (
                "rsyslog".to_owned(),
                header("# Provides: rsyslog\n# Default-Start: 2 3 4 5\n# Default-Stop: 0 6\n"),
            ),
            (
                "late".to_owned(),
                header("# Provides: late\n# Required-Start: $all\n# Default-Start: 2\n"),
            ),
        ]);
        let links = links(&scripts);
        let names = |level| {
            links.iter().filter(|l| l.level == level).map(|l| l.name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(names('2'), ["S01rsyslog", "S02cron", "S03late"]);
        assert_eq!(names('0'), ["K01cron", "K02rsyslog"]);
        assert_eq!(names('1'), [""; 0]);
    }

    #[test]
    fn a_loop_is_cut() {
        let scripts = BTreeMap::from([
            ("a".to_owned(), header("# Provides: a\n# Required-Start: b\n# Default-Start: S\n")),
            ("b".to_owned(), header("# Provides: b\n# Required-Start: a\n# Default-Start: S\n")),
        ]);
        assert_eq!(links(&scripts).len(), 2);
    }

    #[test]
    fn a_text_without_header_has_none() {
        assert_eq!(parse_header("#!/bin/sh\n# Provides: x\n"), None);
    }

    proptest! {
        #[test]
        fn order_holds_where_there_is_no_loop(edges in prop::collection::vec((0usize..9, 0usize..9), 0..25)) {
            let mut scripts: BTreeMap<String, Header> = (0..9)
                .map(|i| (format!("s{i}"), header(&format!("# Provides: s{i}\n# Default-Start: 2\n"))))
                .collect();
            for (a, b) in &edges {
                let (low, high) = (a.min(b), a.max(b));
                if low != high {
                    scripts.get_mut(&format!("s{high}")).unwrap().start_after.push(format!("s{low}"));
                }
            }
            let links = links(&scripts);
            let number = |i: usize| {
                let script = format!("s{i}");
                links.iter().find(|l| l.script == script).unwrap().name[1..3].parse::<u32>().unwrap()
            };
            for (a, b) in edges {
                if a != b {
                    prop_assert!(number(a.min(b)) < number(a.max(b)));
                }
            }
        }
    }
}

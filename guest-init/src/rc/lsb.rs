//! Headers of init scripts, and what their facilities stand for.
//!
//! Pure. Form: Linux Standard Base 3.1, "Comment Conventions for Init
//! Scripts", with insserv(8)'s additions `X-Start-Before`, `X-Stop-After` and
//! `X-Interactive`; facilities as in insserv's `/etc/insserv.conf`.

use std::collections::{BTreeMap, BTreeSet};

/// What a script says about its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Names by which others know it.
    pub provides: Vec<String>,
    /// Required-Start and Should-Start.
    pub start_after: Vec<String>,
    /// Required-Stop and Should-Stop.
    pub stop_before: Vec<String>,
    /// X-Start-Before.
    pub start_before: Vec<String>,
    /// X-Stop-After.
    pub stop_after: Vec<String>,
    /// X-Interactive.
    pub interactive: bool,
}

/// Reads the header of a script; `None` when it has none.
pub fn parse(text: &str) -> Option<Header> {
    let mut lines = text.lines();
    lines.by_ref().find(|line| line.trim_end() == "### BEGIN INIT INFO")?;
    let mut header = Header::default();
    for line in lines {
        if line.trim_end() == "### END INIT INFO" {
            break;
        }
        // insserv(8) takes any blanks there, and none.
        let Some((key, value)) = line.strip_prefix('#').and_then(|rest| rest.split_once(':'))
        else {
            continue;
        };
        let list = match key.trim().to_ascii_lowercase().as_str() {
            "provides" => &mut header.provides,
            "required-start" | "should-start" => &mut header.start_after,
            "required-stop" | "should-stop" => &mut header.stop_before,
            "x-start-before" => &mut header.start_before,
            "x-stop-after" => &mut header.stop_after,
            "x-interactive" => {
                header.interactive = value.trim().eq_ignore_ascii_case("true");
                continue;
            }
            _ => continue,
        };
        list.extend(value.split_whitespace().map(str::to_owned));
    }
    Some(header)
}

/// What `$name` facilities stand for: scripts and other facilities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facilities(BTreeMap<String, Vec<String>>);

impl Default for Facilities {
    /// The usual scripts of the system facilities, for guests without an
    /// `/etc/insserv.conf`.
    fn default() -> Self {
        let table: [(&str, &[&str]); 7] = [
            (
                "$local_fs",
                &[
                    "mountall",
                    "mountall-bootclean",
                    "mountall.sh",
                    "mountall-bootclean.sh",
                    "umountfs",
                ],
            ),
            ("$network", &["networking", "ifupdown"]),
            ("$named", &["named", "bind9", "dnsmasq", "unbound", "$network"]),
            ("$portmap", &["portmap", "rpcbind"]),
            (
                "$remote_fs",
                &[
                    "$local_fs",
                    "mountnfs",
                    "mountnfs-bootclean",
                    "mountnfs.sh",
                    "mountnfs-bootclean.sh",
                    "umountnfs",
                    "umountnfs.sh",
                    "sendsigs",
                ],
            ),
            ("$syslog", &["rsyslog", "sysklogd", "syslog-ng", "syslog"]),
            ("$time", &["hwclock", "hwclock.sh"]),
        ];
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self(table.iter().map(|(name, members)| ((*name).to_owned(), owned(members))).collect())
    }
}

impl Facilities {
    /// Reads the text of one or several `insserv.conf` files; `None` when
    /// they define nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let mut table: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in text.lines().filter(|line| line.starts_with('$')) {
            let mut words = line.split_whitespace();
            if let Some(name) = words.next() {
                let members = words.map(|word| word.trim_start_matches('+').to_owned());
                table.entry(name.to_owned()).or_default().extend(members);
            }
        }
        (!table.is_empty()).then_some(Self(table))
    }

    /// The scripts that a name stands for: itself, unless it is a facility.
    pub fn expand(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        let mut open = vec![name.to_owned()];
        while let Some(name) = open.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            match self.0.get(&name) {
                Some(members) => open.extend(members.iter().cloned()),
                None => found.push(name),
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn crons_header() {
        let text = "#!/bin/sh\n### BEGIN INIT INFO\n# Provides:          cron\n\
                    # Required-Start:    $remote_fs $syslog\n# Should-Start: slapd\n\
                    # Required-Stop: $syslog\n# X-Interactive: true\n### END INIT INFO\n\
                    # Provides: not-this\n";
        let header = parse(text).unwrap();
        assert_eq!(header.provides, ["cron"]);
        assert_eq!(header.start_after, ["$remote_fs", "$syslog", "slapd"]);
        assert_eq!(header.stop_before, ["$syslog"]);
        assert!(header.interactive);
        assert_eq!(parse("#!/bin/sh\n"), None);
    }

    #[test]
    fn blanks_are_taken_as_insserv_takes_them() {
        let text =
            "### BEGIN INIT INFO\n#Provides: a\n#\tRequired-Start:\tb c\n### END INIT INFO\n";
        let header = parse(text).unwrap();
        assert_eq!(
            (header.provides, header.start_after),
            (vec!["a".into()], vec!["b".into(), "c".into()])
        );
    }

    #[test]
    fn facilities_are_expanded_even_in_a_circle() {
        let text = "# x\n$a\t+one $b\n$b two $a\n";
        let facilities = Facilities::parse(text).unwrap();
        let mut found = facilities.expand("$a");
        found.sort();
        assert_eq!(found, ["one", "two"]);
        assert_eq!(facilities.expand("cron"), ["cron"]);
        assert!(Facilities::default().expand("$remote_fs").contains(&"mountall.sh".to_owned()));
    }

    proptest! {
        #[test]
        fn every_text_is_read_without_panic(text in "\\PC{0,200}") {
            parse(&text);
            Facilities::parse(&text);
        }
    }
}

//! What follows from a host's facts: what works, what works in part, what is
//! missing, and the remedy. Pure.

mod cgroups;
mod host;
mod network;
mod storage;
mod tools;

use serde::Serialize;

use super::{status, table};
use crate::facts::HostFacts;

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// All of it works.
    Ok,
    /// Guests run, but something can't be done.
    Limited,
    /// Guests can't run.
    Missing,
}

impl Grade {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Limited => "limited",
            Self::Missing => "missing",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub topic: &'static str,
    /// How it is.
    pub grade: Grade,
    /// What was found.
    pub text: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// Judges a host, the most important things first.
pub fn judge(facts: &HostFacts) -> Vec<Finding> {
    let findings = [
        host::root,
        host::capabilities,
        host::kernel,
        host::namespaces,
        cgroups::cgroup,
        cgroups::cgroup_kill,
        cgroups::controllers,
        host::sockets,
        host::labels,
        host::user_namespaces,
        storage::roots,
        storage::idmapped,
        storage::space,
        storage::quotas,
        host::processes,
        cgroups::bombs,
        host::inotify,
        host::process_records,
        network::links,
        network::forwarding,
        network::pings,
        tools::copy,
        tools::debootstrap,
        tools::supervision,
        tools::logs,
        cgroups::resource_limits,
    ];
    findings.into_iter().map(|finding| finding(facts)).collect()
}

/// Can guests run?
pub fn is_able(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.grade != Grade::Missing)
}

/// The findings as a table, with the answer below.
pub fn text(findings: &[Finding]) -> String {
    let rows = findings.iter().map(|finding| {
        let remedy = finding.remedy.as_ref().map(|remedy| format!("; {remedy}"));
        let text = format!("{}{}", finding.text, remedy.unwrap_or_default());
        [finding.grade.name().to_owned(), finding.topic.to_owned(), text]
    });
    let answer = match is_able(findings) {
        true => "This host can run guests.",
        false => "This host can't run guests: see what is missing above.",
    };
    format!("{}\n{answer}\n", table(["STATE", "WHAT", "FOUND"], rows))
}

/// The findings as JSON: an array of topic, grade, text and remedy.
pub fn json(findings: &[Finding]) -> String {
    status::json(&findings)
}

fn ok(topic: &'static str, text: impl Into<String>) -> Finding {
    Finding { topic, grade: Grade::Ok, text: text.into(), remedy: None }
}

fn limited(topic: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { grade: Grade::Limited, remedy: Some(remedy.into()), ..ok(topic, text) }
}

fn missing(topic: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { grade: Grade::Missing, remedy: Some(remedy.into()), ..ok(topic, text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Forwarding, Labels, Mount, NAMESPACES, Resources};
    use cgroups::CONTROLLERS;
    use host::{NEEDED, NEEDED_ON_HOSTS};

    /// Capabilities without which something can't be done.
    const MORE: [&str; 2] = ["CAP_SYS_RESOURCE", "CAP_NET_ADMIN"];

    /// A host on which everything works.
    fn good() -> HostFacts {
        let every = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let capabilities = NEEDED.iter().chain(&NEEDED_ON_HOSTS).chain(&MORE);
        HostFacts {
            is_root: true,
            capabilities: capabilities.map(|name| (*name).to_owned()).collect(),
            release: "6.12.1-amd64".into(),
            namespaces: NAMESPACES.to_vec(),
            filters_sockets: true,
            labels: Labels { apparmor: true, selinux: None },
            resources: Resources {
                cgroup: Some("/sys/fs/cgroup".into()),
                controllers: every(&CONTROLLERS),
                enabled: every(&CONTROLLERS),
                has_systemd: true,
                records_processes: true,
                ..Resources::default()
            },
            roots: "/var/lib/vservers".into(),
            roots_mount: Some(Mount {
                root: "/".into(),
                point: "/".into(),
                options: every(&["rw"]),
                kind: "ext4".into(),
            }),
            free_bytes: Some(50 << 30),
            counts_wrongly: false,
            max_user_namespaces: Some(100_000),
            max_inotify_instances: Some(128),
            pid_max: Some(4_194_304),
            tools: vec!["mmdebstrap", "dpkg-query"],
            has_journal: true,
            forwarding: Forwarding { v4: true, v6: true },
            ping_groups: Some((0, 0x7fff_ffff)),
        }
    }

    /// `/proc/self/limits` of a session that can give all.
    const LIMITS: &str = "Max cpu time u u\nMax file size u u\nMax data size u u\n\
        Max stack size u u\nMax core file size u u\nMax resident set u u\nMax processes u u\n\
        Max open files 1024 1048576\nMax locked memory u u\nMax address space u u\n\
        Max file locks u u\nMax pending signals u u\nMax msgqueue size u u\n\
        Max nice priority 0 0\nMax realtime priority 0 0\nMax realtime timeout u u\n";

    #[track_caller]
    fn expect(topic: &str, grade: Grade, change: impl FnOnce(&mut HostFacts)) {
        let mut host = good();
        change(&mut host);
        let findings = judge(&host);
        let found = findings.iter().find(|finding| finding.topic == topic).expect(topic);
        assert_eq!(found.grade, grade, "{found:?}");
        assert_eq!(found.remedy.is_some(), grade != Grade::Ok, "{found:?}");
        assert_eq!(is_able(&findings), grade != Grade::Missing);
    }

    #[test]
    fn a_good_host_has_nothing_to_mend() {
        let findings = judge(&good());
        assert!(findings.iter().all(|finding| finding.grade == Grade::Ok), "{findings:?}");
        assert!(text(&findings).ends_with("This host can run guests.\n"));
    }

    #[test]
    fn what_is_missing_is_named() {
        use Grade::{Limited, Missing, Ok};
        expect("root", Missing, |host| host.is_root = false);
        expect("capabilities", Missing, |host| {
            host.capabilities.remove("CAP_SYS_ADMIN");
        });
        expect("capabilities", Missing, |host| {
            host.capabilities.remove("CAP_MKNOD");
        });
        expect("capabilities", Ok, |host| {
            host.capabilities.remove("CAP_MKNOD");
            host.resources.is_guest = true;
        });
        expect("capabilities", Limited, |host| {
            host.capabilities.remove("CAP_SYS_RESOURCE");
        });
        expect("kernel", Limited, |host| host.release = "5.15.0".into());
        expect("namespaces", Missing, |host| host.namespaces.retain(|name| *name != "time"));
        expect("cgroup v2", Missing, |host| host.resources.cgroup = None);
        expect("socket families", Limited, |host| host.filters_sockets = false);
        expect("security labels", Limited, |host| host.labels = Labels::default());
        expect("security labels", Limited, |host| host.labels.selinux = Some(false));
        expect("security labels", Ok, |host| host.labels.selinux = Some(true));
        expect("limits", Limited, |host| host.resources.enabled.clear());
        // What the kernel has and the root hasn't enabled is of no use.
        expect("limits", Limited, |host| host.resources.enabled.retain(|name| name != "cpuset"));
        expect("guests' processes", Limited, |host| host.resources.enabled.clear());
        expect("resource limits", Limited, |host| {
            host.resources.own_limits =
                Some(LIMITS.replace("Max open files 1024 1048576", "Max open files 1024 4096"));
        });
        expect("user namespaces", Missing, |host| host.max_user_namespaces = Some(0));
        expect("id mapping", Limited, |host| {
            host.roots_mount.as_mut().unwrap().kind = "zfs".into()
        });
        expect("guests' roots", Missing, |host| {
            host.roots_mount.as_mut().unwrap().options.push("noexec".into());
        });
        expect("disk space", Limited, |host| host.free_bytes = Some(1 << 20));
        expect("disk quotas", Limited, |host| host.counts_wrongly = true);
        expect("guests' links", Limited, |host| {
            host.capabilities.remove("CAP_NET_ADMIN");
        });
        expect("process accounting", Limited, |host| host.resources.records_processes = false);
        expect("forwarding", Limited, |host| host.forwarding.v4 = false);
        // As the kernel has it until somebody sets it.
        expect("ping", Limited, |host| host.ping_groups = Some((1, 0)));
        expect("ping", Limited, |host| host.ping_groups = Some((0, 65_535)));
        expect("build: debootstrap", Limited, |host| host.tools.clear());
    }

    #[test]
    fn nothing_known_is_nothing_possible() {
        let findings = judge(&HostFacts::default());
        assert!(!is_able(&findings));
        let json: serde_json::Value = serde_json::from_str(&json(&findings)).unwrap();
        assert_eq!(json[0]["grade"], "missing");
    }
}

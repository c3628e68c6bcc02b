//! Names of capabilities: those of capabilities(7), and Linux-VServer's own
//! context capabilities where they mean the same.

use std::str::FromStr;

use caps::Capability;

/// Linux-VServer's context and network capabilities, which stood beside the
/// kernel's: what each was for is now one of the kernel's, or is explained.
const OLD: [(&str, Now); 14] = [
    ("RAW_ICMP", Now::Capability(Capability::CAP_NET_RAW)),
    ("PING", Now::Capability(Capability::CAP_NET_RAW)),
    ("ICMP", Now::Capability(Capability::CAP_NET_RAW)),
    ("SYSLOG", Now::Capability(Capability::CAP_SYSLOG)),
    ("SET_RLIMIT", Now::Capability(Capability::CAP_SYS_RESOURCE)),
    ("OOM_ADJUST", Now::Capability(Capability::CAP_SYS_RESOURCE)),
    ("AUDIT_CONTROL", Now::Capability(Capability::CAP_AUDIT_CONTROL)),
    ("SET_UTSNAME", Now::Other("set 'hostname' on the host")),
    ("TIOCSTI", Now::Other("no guest may push input into a terminal")),
    (
        "SECURE_MOUNT",
        Now::Other("'security.nesting = true' lets a guest mount in namespaces of its own"),
    ),
    (
        "SECURE_REMOUNT",
        Now::Other("'security.nesting = true' lets a guest mount in namespaces of its own"),
    ),
    (
        "BINARY_MOUNT",
        Now::Other("'security.nesting = true' lets a guest mount in namespaces of its own"),
    ),
    ("QUOTA_CTL", Now::Other("quotas are set on the host")),
    ("TUN_CREATE", Now::Other("give it the node: devices.allow = [\"/dev/net/tun rw\"]")),
];

#[derive(Clone, Copy)]
enum Now {
    Capability(Capability),
    Other(&'static str),
}

/// The capability of this name: with or without `CAP_`, in any case, or an
/// old one with or without `VXC_` or `NXC_` that maps to it.
pub fn capability(name: &str) -> Option<Capability> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let kernels = Capability::from_str(&format!("CAP_{bare}")).ok();
    kernels.or(match old(&upper) {
        Some(Now::Capability(capability)) => Some(capability),
        _ => None,
    })
}

/// What to do in place of an old capability that is none of the kernel's.
pub fn remedy(name: &str) -> Option<&'static str> {
    match old(&name.to_ascii_uppercase()) {
        Some(Now::Other(remedy)) => Some(remedy),
        _ => None,
    }
}

fn old(upper: &str) -> Option<Now> {
    let bare = upper.strip_prefix("VXC_").or_else(|| upper.strip_prefix("NXC_")).unwrap_or(upper);
    OLD.iter().find(|(name, _)| *name == bare).map(|(_, now)| *now)
}

/// A capability's name as configurations write it.
pub fn short(capability: Capability) -> String {
    let name = capability.to_string().to_ascii_lowercase();
    name.strip_prefix("cap_").unwrap_or(&name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_names_mean_what_they_were_for() {
        assert_eq!(capability("raw_icmp"), Some(Capability::CAP_NET_RAW));
        assert_eq!(capability("VXC_SET_RLIMIT"), Some(Capability::CAP_SYS_RESOURCE));
        assert_eq!(capability("nxc_raw_icmp"), Some(Capability::CAP_NET_RAW));
        assert_eq!(capability("vxc_mknod"), None);
        assert_eq!(capability("set_utsname"), None);
        assert!(remedy("vxc_set_utsname").is_some_and(|text| text.contains("hostname")));
        assert_eq!(remedy("net_rav"), None);
    }

    #[test]
    fn short_names_are_read_again() {
        for known in caps::all() {
            assert_eq!(capability(&short(known)), Some(known));
        }
    }
}

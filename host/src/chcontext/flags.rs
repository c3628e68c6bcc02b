//! Linux-VServer's context flags: what each was for, and what is left to do.
//!
//! Pure.

/// What a flag means for a context without a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The command is PID 1.
    Init,
    /// The context stays when its last process has ended.
    Persistent,
    /// Nobody may join it.
    Private,
    /// Every context is so: nothing to do.
    Always,
    /// Accepted, with a warning that gives this reason.
    Ignored(&'static str),
    /// Refused, for this reason.
    Refused(&'static str),
}

const KERNEL_ONLY: &str = "the kernel does this for no context";
const LIMITS: &str = "limits belong to guests: '[limits]' in a guest's configuration";

/// Every flag of util-vserver, each with its other names.
const FLAGS: [(&str, Meaning); 36] = [
    ("fakeinit", Meaning::Init),
    ("info_init", Meaning::Init),
    ("persistent", Meaning::Persistent),
    ("private", Meaning::Private),
    ("info_private", Meaning::Private),
    ("lock", Meaning::Always),
    ("info_lock", Meaning::Always),
    ("hideinfo", Meaning::Always),
    ("info_hide", Meaning::Always),
    ("hide_vinfo", Meaning::Always),
    ("namespace", Meaning::Always),
    ("info_namespace", Meaning::Always),
    ("default", Meaning::Always),
    ("secure", Meaning::Always),
    ("state_setup", Meaning::Always),
    ("state_init", Meaning::Always),
    ("state_admin", Meaning::Ignored("the host's root can always administer a context")),
    ("sc_helper", Meaning::Ignored("only guests have scripts that run at start and stop")),
    ("reboot_kill", Meaning::Always),
    ("nproc", Meaning::Ignored(LIMITS)),
    ("info_nproc", Meaning::Ignored(LIMITS)),
    ("ulimit", Meaning::Ignored(LIMITS)),
    ("info_ulimit", Meaning::Ignored(LIMITS)),
    ("sched", Meaning::Ignored(LIMITS)),
    ("sched_hard", Meaning::Ignored(LIMITS)),
    ("sched_prio", Meaning::Ignored(LIMITS)),
    ("sched_pause", Meaning::Refused("a context can't be made standing still; use SIGSTOP")),
    ("virt_mem", Meaning::Ignored(KERNEL_ONLY)),
    ("virt_uptime", Meaning::Ignored("only guests have clocks of their own")),
    ("virt_cpu", Meaning::Ignored(KERNEL_ONLY)),
    ("virt_load", Meaning::Ignored(KERNEL_ONLY)),
    ("virt_time", Meaning::Ignored(KERNEL_ONLY)),
    ("hide_mount", Meaning::Ignored("a context sees the host's file systems")),
    ("hide_netif", Meaning::Ignored("a context has the host's network")),
    ("fork_rss", Meaning::Ignored(KERNEL_ONLY)),
    ("prolific", Meaning::Ignored(KERNEL_ONLY)),
];

/// Flags that would make something fail in silence.
const SILENT: [&str; 2] = ["igneg_nice", "igneg_ionice"];

/// What a flag means; `None` if there is no such flag. Names are read as the
/// old tools did: in any case, with or without `VXF_`.
pub fn meaning(name: &str) -> Option<Meaning> {
    let lower = name.to_ascii_lowercase();
    let bare = lower.strip_prefix("vxf_").unwrap_or(&lower);
    if SILENT.contains(&bare) {
        return Some(Meaning::Ignored("a lower nice value is refused, not ignored"));
    }
    FLAGS.iter().find(|(known, _)| *known == bare).map(|(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_read_as_the_old_tools_did() {
        for name in ["fakeinit", "FAKEINIT", "vxf_info_init", "VXF_INFO_INIT"] {
            assert_eq!(meaning(name), Some(Meaning::Init), "{name}");
        }
        assert_eq!(meaning("fakeinitt"), None);
        assert!(matches!(meaning("igneg_nice"), Some(Meaning::Ignored(_))));
    }

    #[test]
    fn no_flag_stands_there_twice() {
        let names: BTreeSet<_> = FLAGS.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), FLAGS.len());
    }

    proptest! {
        #[test]
        fn any_word_is_survived(name in "\\PC{0,30}") {
            let _ = meaning(&name);
        }
    }
}

//! What a guest's root may do: Linux-VServer's set, and changes to it.

use std::collections::BTreeSet;

use caps::Capability;
use shared::capability::capability;
use shared::reducecap::sets::SECURE;

use crate::config::Security;
use crate::error::{Error, Result};

use super::Ids;

/// What the default set has beyond `reducecap --secure`'s, of which the reasons
/// stand there: in a PID namespace reboot(2) ends that namespace only.
const WITH_OWN_PROCESSES: Capability = Capability::CAP_SYS_BOOT;

/// With `security.nesting`: what a manager of containers inside needs, in the
/// guest's own user namespace, which is there then.
const NESTING: [Capability; 3] =
    [Capability::CAP_SYS_ADMIN, Capability::CAP_NET_ADMIN, Capability::CAP_SYS_TIME];

/// The set of a guest: the default, NET_RAW where a user namespace confines
/// it to the guest's own network (Debian's `ping` is a file with that
/// capability and can't be executed without it), and the configured changes.
pub fn plan(ids: Ids, security: &Security) -> Result<Vec<Capability>> {
    let mut set: BTreeSet<u8> = SECURE.iter().map(Capability::index).collect();
    set.insert(WITH_OWN_PROCESSES.index());
    if ids.has_namespace() {
        set.insert(Capability::CAP_NET_RAW.index());
        if security.nesting {
            set.extend(NESTING.iter().map(Capability::index));
        }
    }
    let changes = &security.capabilities;
    for name in &changes.add {
        set.insert(named(name)?.index());
    }
    for name in &changes.drop {
        set.remove(&named(name)?.index());
    }
    let mut set: Vec<Capability> =
        caps::all().into_iter().filter(|capability| set.contains(&capability.index())).collect();
    set.sort_by_key(Capability::index);
    Ok(set)
}

fn named(name: &str) -> Result<Capability> {
    capability(name).ok_or_else(|| {
        Error::new(format!("there is no capability '{name}'")).hint("capabilities(7) lists them")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Capabilities;

    #[test]
    fn the_default_set_holds_nothing_that_reaches_the_host() {
        let set = plan(Ids::Host, &Security::default()).unwrap();
        for capability in [
            Capability::CAP_SYS_ADMIN,
            Capability::CAP_NET_ADMIN,
            Capability::CAP_NET_RAW,
            Capability::CAP_MKNOD,
            Capability::CAP_SYS_MODULE,
            Capability::CAP_SYS_RAWIO,
            Capability::CAP_SYS_TIME,
            Capability::CAP_SYS_RESOURCE,
        ] {
            assert!(!set.contains(&capability), "{capability} is in the default set");
        }
    }

    #[test]
    fn names_are_read_as_the_old_tools_did() {
        for name in ["net_admin", "NET_ADMIN", "CAP_NET_ADMIN", "cap_net_admin"] {
            assert_eq!(named(name).unwrap(), Capability::CAP_NET_ADMIN);
        }
        assert!(named("net_amdin").is_err());
    }

    #[test]
    fn drop_wins_over_add() {
        let capabilities =
            Capabilities { add: vec!["mknod".into()], drop: vec!["mknod".into(), "kill".into()] };
        let security = Security { capabilities, ..Security::default() };
        let set = plan(Ids::Private(1 << 20), &security).unwrap();
        assert!(!set.contains(&Capability::CAP_MKNOD));
        assert!(!set.contains(&Capability::CAP_KILL));
        assert!(set.contains(&Capability::CAP_NET_RAW));
    }
}

//! The device nodes of a guest, and what may be done with them: those of every
//! guest, and those that it was given more. Pure.

use serde::{Deserialize, Serialize};

use crate::bpf::device::{Kind, Rights, Rule};
use crate::config::DeviceRule;

/// Nodes in /dev of every guest: name, major and minor number (kernel doc,
/// "Linux allocated devices").
pub const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// ptmx, in the guest's own devpts.
const PTMX: (u32, u32) = (5, 2);

/// Terminals in the guest's own devpts.
const PTS_MAJORS: core::ops::RangeInclusive<u32> = 136..=143;

/// A device that a guest was given more, as the host had it then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Its name, and what may be done with it.
    pub device: DeviceRule,
    /// Block device, not character device?
    pub is_block: bool,
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
    /// Permissions of the node.
    pub mode: u32,
    /// For this boot, whatever the configuration says?
    pub is_for_this_boot: bool,
}

impl Given {
    /// Block or character device.
    pub fn kind(&self) -> Kind {
        if self.is_block { Kind::Block } else { Kind::Character }
    }

    /// Would the guest's node for the other one do?
    fn is_node_of(&self, other: &Self) -> bool {
        self.device.name == other.device.name
            && (self.is_block, self.major, self.minor) == (other.is_block, other.major, other.minor)
    }

    fn rule(&self) -> Rule {
        let DeviceRule { read, write, make, .. } = self.device;
        Rule {
            kind: self.kind(),
            majors: self.major..=self.major,
            minor: Some(self.minor),
            rights: Rights { read, write, make },
        }
    }

    /// Why no running guest is given this one: with it a guest's root is the
    /// host's (mem(4), "Linux allocated devices").
    pub fn danger(&self) -> Option<&'static str> {
        match (self.is_block, self.major, self.minor) {
            (false, 1, 1 | 2) => Some("it is the machine's memory"),
            (false, 1, 4) => Some("it is the ports of the machine's devices"),
            _ => None,
        }
    }
}

/// Does every guest have this one, or one of its own?
pub fn is_everybodys(device: &DeviceRule) -> bool {
    NODES.iter().any(|(name, ..)| device.name == *name)
}

/// The list with this device, in place of one of that name.
pub fn with(list: &[Given], new: Given) -> Vec<Given> {
    let mut all = without(list, &new.device.name);
    all.push(new);
    all
}

/// The list without the device of this name.
pub fn without(list: &[Given], name: &str) -> Vec<Given> {
    list.iter().filter(|given| given.device.name != name).cloned().collect()
}

/// The list that the configuration now wants, of a guest that has `now`: what
/// it was given for this boot stays, and what was `removed` for this boot is
/// left out.
pub fn reloaded(now: &[Given], removed: &[String], configured: Vec<Given>) -> Vec<Given> {
    let kept = now.iter().filter(|given| given.is_for_this_boot).cloned().collect::<Vec<_>>();
    configured.into_iter().fold(kept, |list, given| {
        let name = &given.device.name;
        let is_there = list.iter().any(|kept| kept.device.name == *name);
        if is_there || removed.contains(name) { list } else { with(&list, given) }
    })
}

/// What a guest that has `now` keeps of it when it is to have `then`. A device
/// without any right left is none of it: the filter takes one that it knows
/// for granted when nothing is asked for.
pub fn narrowed(now: &[Given], then: &[Given]) -> Vec<Given> {
    let keep = |old: &Given| {
        let new = then.iter().find(|new| new.is_node_of(old))?;
        let mut kept = old.clone();
        kept.device.read &= new.device.read;
        kept.device.write &= new.device.write;
        kept.device.make &= new.device.make;
        (kept.device.read || kept.device.write || kept.device.make).then_some(kept)
    };
    now.iter().filter_map(keep).collect()
}

/// Does a guest that has `now` get a node or a right with `then`?
pub fn adds(now: &[Given], then: &[Given]) -> bool {
    !then.iter().all(|new| now.iter().any(|old| old.is_node_of(new) && allows(old, &new.device)))
}

/// Are these no more rights than a guest has with this device?
pub fn allows(given: &Given, device: &DeviceRule) -> bool {
    let has = &given.device;
    (has.read || !device.read) && (has.write || !device.write) && (has.make || !device.make)
}

/// Nodes that a running guest has to lose, and those it has to get.
pub fn nodes<'g>(now: &'g [Given], then: &'g [Given]) -> (Vec<&'g Given>, Vec<&'g Given>) {
    let missing = |from: &'g [Given], of: &'g [Given]| {
        from.iter().filter(|one| !of.iter().any(|other| one.is_node_of(other))).collect()
    };
    (missing(now, then), missing(then, now))
}

/// What a guest may do with devices that was given these more.
pub fn rules(given: &[Given]) -> Vec<Rule> {
    let single = |(major, minor): (u32, u32)| Rule {
        kind: Kind::Character,
        majors: major..=major,
        minor: Some(minor),
        rights: Rights::USE,
    };
    let mut rules: Vec<Rule> = NODES.map(|(_, major, minor)| single((major, minor))).into();
    rules.push(single(PTMX));
    rules.push(Rule {
        kind: Kind::Character,
        majors: PTS_MAJORS,
        minor: None,
        rights: Rights::USE,
    });
    rules.extend(given.iter().map(Given::rule));
    rules
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn given(name: &str, minor: u32, is_for_this_boot: bool) -> Given {
        with_rights(name, minor, is_for_this_boot, "r")
    }

    fn with_rights(name: &str, minor: u32, is_for_this_boot: bool, rights: &str) -> Given {
        let device = format!("/dev/{name} {rights}").parse().unwrap();
        Given { device, is_block: false, major: 10, minor, mode: 0o600, is_for_this_boot }
    }

    fn lists() -> impl Strategy<Value = Vec<Given>> {
        let rights = proptest::sample::select(vec!["r", "w", "m", "rw", "rm", "wm", "rwm"]);
        let one = ("[a-d]", 0u32..3, any::<bool>(), rights);
        proptest::collection::vec(one, 0..6).prop_map(|all| {
            all.into_iter().fold(Vec::new(), |list, (name, minor, boot, rights)| {
                with(&list, with_rights(&name, minor, boot, rights))
            })
        })
    }

    #[test]
    fn memory_and_ports_are_the_hosts() {
        let of = |is_block, minor| Given { is_block, major: 1, ..given("x", minor, false) };
        assert!(of(false, 1).danger().is_some());
        assert!(of(false, 4).danger().is_some());
        // /dev/null; a RAM disk.
        assert!(of(false, 3).danger().is_none());
        assert!(of(true, 1).danger().is_none());
    }

    #[test]
    fn what_every_guest_has_is_known() {
        assert!(is_everybodys(&"/dev/null rwm".parse().unwrap()));
        assert!(!is_everybodys(&"/dev/fuse".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn a_name_is_in_a_list_once(list in lists(), name in "[a-d]", minor in 0u32..3) {
            let named = |list: &[Given]| {
                list.iter().filter(|one| one.device.name == name).cloned().collect::<Vec<_>>()
            };
            let new = given(&name, minor, false);
            prop_assert_eq!(named(&with(&list, new.clone())), vec![new]);
            prop_assert_eq!(named(&without(&list, &name)), vec![]);
        }

        /// Losing and getting these nodes leads from one list to the other.
        #[test]
        fn nodes_lead_from_one_list_to_the_other(now in lists(), then in lists()) {
            let key = |one: &Given| (one.device.name.clone(), one.minor);
            let (lost, got) = nodes(&now, &then);
            let mut has: Vec<_> = now.iter().map(key).collect();
            has.retain(|one| !lost.iter().any(|lost| key(lost) == *one));
            for one in got {
                prop_assert!(!has.contains(&key(one)));
                has.push(key(one));
            }
            let mut wanted: Vec<_> = then.iter().map(key).collect();
            has.sort();
            wanted.sort();
            prop_assert_eq!(has, wanted);
        }

        #[test]
        fn a_reload_keeps_what_is_for_this_boot(
            now in lists(),
            file in lists(),
            removed in proptest::collection::vec("[a-d]", 0..3),
        ) {
            let list = reloaded(&now, &removed, file.clone());
            for one in now.iter().filter(|one| one.is_for_this_boot) {
                prop_assert!(list.contains(one));
            }
            for one in &list {
                let is_of_file = file.contains(one) && !removed.contains(&one.device.name);
                prop_assert!(is_of_file || one.is_for_this_boot && now.contains(one));
            }
            for one in file.iter().filter(|one| !removed.contains(&one.device.name)) {
                prop_assert!(list.iter().any(|kept| kept.device.name == one.device.name));
            }
        }

        /// What is kept on the way is in both lists, has some right, and
        /// needs nothing but additions to become the other.
        #[test]
        fn narrowing_grants_what_both_grant(now in lists(), then in lists()) {
            let kept = narrowed(&now, &then);
            prop_assert!(!adds(&now, &kept));
            prop_assert!(!adds(&then, &kept));
            let granted = |list: &[Given], asked: &Given| !adds(list, std::slice::from_ref(asked));
            for one in now.iter().chain(&then) {
                for right in ["r", "w", "m"] {
                    let asked = with_rights(&one.device.name, one.minor, false, right);
                    let both = granted(&now, &asked) && granted(&then, &asked);
                    prop_assert_eq!(granted(&kept, &asked), both);
                }
            }
            for one in &kept {
                prop_assert!(one.device.read || one.device.write || one.device.make);
            }
        }
    }
}

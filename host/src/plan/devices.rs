//! The device nodes of every guest, and what may be done with them.

use crate::bpf::device::{Kind, Rights, Rule};

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

/// What every guest may do with devices.
pub fn rules() -> Vec<Rule> {
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
    rules
}

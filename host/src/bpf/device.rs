//! The device filter of a guest's cgroup (`BPF_PROG_TYPE_CGROUP_DEVICE`,
//! cgroup v2 kernel doc, "Device controller").
//!
//! The kernel runs it whenever a node is opened or made. A white-out (c 0:0)
//! is made without it.

use core::ops::RangeInclusive;

use super::{Assembler, Label, Program, Register, When};

/// `BPF_DEVCG_DEV_BLOCK`, as all numbers here from linux/bpf.h.
const BLOCK: u32 = 1;
/// `BPF_DEVCG_DEV_CHAR`
const CHARACTER: u32 = 2;
/// `BPF_DEVCG_ACC_MKNOD`
const MAKE: u32 = 1;
/// `BPF_DEVCG_ACC_READ`
const READ: u32 = 2;
/// `BPF_DEVCG_ACC_WRITE`
const WRITE: u32 = 4;

/// Block or character device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A block device.
    Block,
    /// A character device.
    Character,
}

/// What may be done with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Opening for reading.
    pub read: bool,
    /// Opening for writing.
    pub write: bool,
    /// Making a node.
    pub make: bool,
}

impl Rights {
    /// Reading and writing.
    pub const USE: Self = Self { read: true, write: true, make: false };

    fn bits(self) -> u32 {
        let of = |has, bit| if has { bit } else { 0 };
        of(self.read, READ) | of(self.write, WRITE) | of(self.make, MAKE)
    }
}

/// Devices, and what may be done with them. Rights of several rules on one
/// device add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Block or character.
    pub kind: Kind,
    /// Which drivers.
    pub majors: RangeInclusive<u32>,
    /// Which of their devices; all if not said.
    pub minor: Option<u32>,
    /// What may be done.
    pub rights: Rights,
}

/// The filter. It clears from what is asked for whatever a rule grants; if
/// nothing remains, and any rule knew the device, it is granted.
pub fn filter(rules: &[Rule]) -> Program {
    use Register::{R0, R1, R2, R3, R4, R5};
    let (kind, asked, major, minor) = (R2, R3, R4, R5);
    let mut program = Assembler::default();
    // struct bpf_cgroup_dev_ctx: (access << 16) | type, major, minor.
    program.load_u32(kind, R1, 0);
    program.copy(asked, kind);
    program.shift_right(asked, 16);
    program.and(kind, 0xffff);
    program.load_u32(major, R1, 4);
    program.load_u32(minor, R1, 8);
    program.set(R0, 0);
    for rule in rules {
        let mut next = Label::default();
        program.jump(kind, When::NotEqual, number(code(rule.kind)), &mut next);
        if rule.majors.start() == rule.majors.end() {
            program.jump(major, When::NotEqual, number(*rule.majors.start()), &mut next);
        } else {
            program.jump(major, When::Less, number(*rule.majors.start()), &mut next);
            program.jump(major, When::Greater, number(*rule.majors.end()), &mut next);
        }
        if let Some(only) = rule.minor {
            program.jump(minor, When::NotEqual, number(only), &mut next);
        }
        program.and(asked, !number(rule.rights.bits()));
        program.set(R0, 1);
        program.place(next);
    }
    let mut end = Label::default();
    program.jump(asked, When::Equal, 0, &mut end);
    program.set(R0, 0);
    program.place(end);
    program.exit();
    program.finish()
}

fn code(kind: Kind) -> u32 {
    match kind {
        Kind::Block => BLOCK,
        Kind::Character => CHARACTER,
    }
}

/// Numbers of devices have at most 20 bits (makedev(3), as the kernel packs
/// them); a greater one matches no device.
fn number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bpf::interpret;

    fn decides(program: &[u64], access: u32, kind: u32, major: u32, minor: u32) -> bool {
        let words = [access << 16 | kind, major, minor];
        let mut context: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        interpret(program, &mut context) == 1
    }

    /// What is meant, in other words than the program's.
    fn reference(rules: &[Rule], access: u32, kind: u32, major: u32, minor: u32) -> bool {
        let knows = |rule: &&Rule| {
            code(rule.kind) == kind
                && rule.majors.contains(&major)
                && rule.minor.is_none_or(|only| only == minor)
        };
        let rights: Vec<u32> = rules.iter().filter(knows).map(|rule| rule.rights.bits()).collect();
        let granted = rights.iter().fold(0, |all, some| all | some);
        !rights.is_empty() && granted & access == access
    }

    fn rules() -> impl Strategy<Value = Vec<Rule>> {
        let rule = (any::<[bool; 4]>(), 0..6_u32, 0..3_u32, prop::option::of(0..4_u32)).prop_map(
            |([block, read, write, make], first, more, minor)| Rule {
                kind: if block { Kind::Block } else { Kind::Character },
                majors: first..=first + more,
                minor,
                rights: Rights { read, write, make },
            },
        );
        prop::collection::vec(rule, 0..12)
    }

    proptest! {
        #[test]
        fn the_filter_grants_what_the_rules_say(
            rules in rules(), access in 0..8_u32, kind in 1..=2_u32, major in 0..9_u32,
            minor in 0..5_u32,
        ) {
            let expected = reference(&rules, access, kind, major, minor);
            let decided = decides(&filter(&rules), access, kind, major, minor);
            prop_assert_eq!(decided, expected);
        }

        #[test]
        fn devices_of_no_rule_are_refused(
            access in 0..8_u32, kind in 1..=2_u32, major in 2..4096_u32, minor: u32,
        ) {
            let null =
                Rule { kind: Kind::Character, majors: 1..=1, minor: None, rights: Rights::USE };
            let program = filter(&[null]);
            prop_assert!(!decides(&program, access, kind, major, minor));
            prop_assert!(decides(&program, READ | WRITE, CHARACTER, 1, minor));
            prop_assert!(!decides(&program, MAKE, CHARACTER, 1, minor));
        }
    }
}

//! Sets of capabilities as the kernel has them: one bit each, also for those
//! that this program has no name for yet. Pure.

use std::fmt::Write;

use caps::Capability;

use crate::capability::{capability, short};

/// One bit for each capability.
pub type Mask = u64;

/// What `--secure` keeps: util-vserver's set of that name, with two changes.
/// Without SYS_BOOT: Linux-VServer's kernel let reboot(2) in a context end the
/// context; here it would be the machine. With SETPCAP, as guests have it:
/// since Linux 2.6.25 it gives nothing beyond the bounding set, and a file with
/// it, this program, could not be executed again (execve(2), EPERM).
pub const SECURE: [Capability; 16] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_KILL,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    Capability::CAP_SETPCAP,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_SYS_TTY_CONFIG,
    Capability::CAP_LEASE,
    Capability::CAP_SETFCAP,
    Capability::CAP_AUDIT_WRITE,
];

/// What setuid programs give root up with. Without these in its bounding set
/// such a program's setuid(2) leaves the saved id 0, and succeeds: whoever
/// started it could have it become root again (the reason why the kernel
/// wants CAP_SETPCAP for PR_CAPBSET_DROP).
pub fn for_giving_up() -> Mask {
    Capability::CAP_SETUID.bitmask() | Capability::CAP_SETGID.bitmask()
}

/// The set that `--secure` keeps.
pub fn secure() -> Mask {
    SECURE.iter().map(Capability::bitmask).fold(0, |set, bit| set | bit)
}

/// What `--cap` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// To be kept although `--secure` would take them.
    pub keep: Mask,
    /// To be taken. Wins over `keep`.
    pub take: Mask,
}

impl Changes {
    /// Adds a value of `--cap`: names with commas between them, each with `!`
    /// or `~` in front if it is to be taken; `all`, and `^N` for number N.
    ///
    /// # Errors
    /// One sentence about the first name that is none.
    pub fn add(&mut self, list: &str) -> Result<(), String> {
        for item in list.split(',') {
            let taken = item.strip_prefix(['!', '~']);
            let bits = mask(taken.unwrap_or(item))?;
            match taken {
                Some(_) => self.take |= bits,
                None => self.keep |= bits,
            }
        }
        Ok(())
    }
}

fn mask(name: &str) -> Result<Mask, String> {
    if name.eq_ignore_ascii_case("all") || name.eq_ignore_ascii_case("any") {
        return Ok(Mask::MAX);
    }
    let number = name.strip_prefix('^').and_then(|number| number.parse::<u32>().ok());
    let known = number.and_then(|number| 1_u64.checked_shl(number));
    known
        .or_else(|| capability(name).map(|known| known.bitmask()))
        .ok_or_else(|| format!("there is no capability '{}'", name.escape_default()))
}

/// What is left of a bounding set.
pub fn kept(bounding: Mask, is_secure: bool, changes: Changes) -> Mask {
    let wanted = if is_secure { secure() | changes.keep } else { Mask::MAX };
    bounding & wanted & !changes.take
}

/// The numbers of a set.
pub fn numbers(set: Mask) -> impl Iterator<Item = u32> {
    (0..Mask::BITS).filter(move |number| set & (1 << number) != 0)
}

/// Names of a set, for messages.
pub fn names(set: Mask) -> String {
    numbers(set).map(name).collect::<Vec<_>>().join(", ")
}

fn name(number: u32) -> String {
    let known = caps::all().into_iter().find(|known| u32::from(known.index()) == number);
    known.map_or_else(|| format!("cap_{number}"), short)
}

/// The sets of one process (capabilities(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// What it may do now.
    pub effective: Mask,
    /// What it may make effective.
    pub permitted: Mask,
    /// What files with inheritable capabilities may give it.
    pub inheritable: Mask,
    /// The most that executing any program gives it.
    pub bounding: Mask,
}

impl Sets {
    /// Reads `/proc/PID/status` (proc(5)).
    pub fn read(status: &str) -> Option<Self> {
        let set = |label: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(label))?;
            Mask::from_str_radix(line.trim(), 16).ok()
        };
        Some(Self {
            effective: set("CapEff:")?,
            permitted: set("CapPrm:")?,
            inheritable: set("CapInh:")?,
            bounding: set("CapBnd:")?,
        })
    }

    /// One line for each capability up to number `last`.
    pub fn table(&self, last: u32) -> String {
        let mut text = format!(
            "{:<20}{:<11}{:<11}{:<13}{}\n",
            "CAPABILITY", "EFFECTIVE", "PERMITTED", "INHERITABLE", "BOUNDING"
        );
        for number in 0..=last {
            let has = |set: Mask| if set & (1 << number) == 0 { "-" } else { "yes" };
            let _ = writeln!(
                text,
                "{:<20}{:<11}{:<11}{:<13}{}",
                name(number),
                has(self.effective),
                has(self.permitted),
                has(self.inheritable),
                has(self.bounding)
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn changes(lists: &[&str]) -> Changes {
        let mut changes = Changes::default();
        lists.iter().for_each(|list| changes.add(list).unwrap());
        changes
    }

    #[test]
    fn secure_keeps_the_old_set_and_nothing_that_changes_the_machine() {
        let kept = kept(Mask::MAX, true, Changes::default());
        assert_eq!(
            names(kept),
            "chown, dac_override, dac_read_search, fowner, fsetid, kill, setgid, setuid, \
             setpcap, net_bind_service, sys_chroot, sys_ptrace, sys_tty_config, lease, audit_write, \
             setfcap"
        );
    }

    #[test]
    fn changes_are_lists_of_names_in_any_form() {
        let given = changes(&["CAP_NET_ADMIN,!kill", "~Mknod", "^41", "raw_icmp"]);
        assert_eq!(names(given.keep), "net_admin, net_raw, cap_41");
        assert_eq!(names(given.take), "kill, mknod");
        for wrong in ["", "!", "net_rav", "^64", "^", "kill,", "!!kill", "^-1"] {
            assert!(Changes::default().add(wrong).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn taking_wins_over_keeping() {
        let both = changes(&["net_raw,!net_raw"]);
        assert_eq!(kept(Mask::MAX, true, both), secure());
        assert_eq!(kept(Mask::MAX, false, changes(&["all,!all"])), 0);
    }

    #[test]
    fn the_table_has_a_line_for_each() {
        let status = "Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000001\n\
                      CapEff:\t0000000000000001\nCapBnd:\t0000000000000003\nCapAmb:\t0\n";
        let table = Sets::read(status).unwrap().table(2);
        assert_eq!(
            table,
            "CAPABILITY          EFFECTIVE  PERMITTED  INHERITABLE  BOUNDING\n\
             chown               yes        yes        -            yes\n\
             dac_override        -          -          -            yes\n\
             dac_read_search     -          -          -            -\n"
        );
        assert_eq!(Sets::read("Name:\tx\n"), None);
    }

    proptest! {
        #[test]
        fn nothing_is_ever_added(bounding: Mask, is_secure: bool, keep: Mask, take: Mask) {
            let kept = kept(bounding, is_secure, Changes { keep, take });
            prop_assert_eq!(kept & !bounding, 0);
            prop_assert_eq!(kept & take, 0);
        }
    }
}

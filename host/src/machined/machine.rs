//! What machined is to know of a guest, and what that takes. Pure.

use std::path::PathBuf;

use shared::name::GuestName;

use crate::cgroup;

/// As what guests are registered; what another service has registered is never
/// touched.
pub(super) const SERVICE: &str = "vserver";

/// Most characters of a machine's name (`HOST_NAME_MAX`, gethostname(2)).
const LONGEST: usize = 64;

/// A guest that runs, as machined is to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The same at every boot; zero for none.
    pub id: [u8; 16],
    /// Host pid of its PID 1.
    pub leader: u32,
    /// Its root directory.
    pub root: PathBuf,
    /// The host's ends of its links.
    pub interfaces: Vec<i32>,
}

/// What machined knows under a guest's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing.
    Nobody,
    /// A machine of another service.
    Others,
    /// A boot of the guest, maybe an earlier one.
    Guest { leader: u32, unit: String },
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is as it should be.
    Nothing,
    /// The name is taken.
    GiveUp,
    /// What is known is out of date.
    Unregister,
    /// Nothing is known, and something should be.
    Register,
}

/// From what machined knows to what it should; `None` for a guest that is
/// down.
pub(super) fn next(known: &Known, wanted: Option<&Machine>, name: &GuestName) -> Step {
    match (known, wanted) {
        (Known::Nobody, None) => Step::Nothing,
        (Known::Nobody, Some(_)) => Step::Register,
        (Known::Others, None) => Step::Nothing,
        (Known::Others, Some(_)) => Step::GiveUp,
        (Known::Guest { leader, unit }, Some(wanted))
            if *leader == wanted.leader && *unit == cgroup::unit(name) =>
        {
            Step::Nothing
        }
        (Known::Guest { .. }, _) => Step::Unregister,
    }
}

/// Can machined know a guest by this name? A machine has the name of a host:
/// labels of letters, digits and '-', which begin and end with a letter or a
/// digit (machinectl(1), hostname(7)). Guests' names may also hold '_', and
/// characters where those can't have them.
pub fn can_bear(name: &GuestName) -> bool {
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !label.is_empty()
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.as_str().len() <= LONGEST && name.as_str().split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> GuestName {
        text.parse().expect(text)
    }

    fn machine(leader: u32) -> Machine {
        Machine { id: [1; 16], leader, root: "/srv".into(), interfaces: Vec::new() }
    }

    fn guest(leader: u32, unit: &str) -> Known {
        Known::Guest { leader, unit: unit.to_owned() }
    }

    #[test]
    fn what_is_known_is_made_what_it_should_be() {
        let (own, wanted) = ("vserver@web.service", machine(7));
        let table = [
            (Known::Nobody, None, Step::Nothing),
            (Known::Nobody, Some(&wanted), Step::Register),
            (guest(7, own), Some(&wanted), Step::Nothing),
            (guest(7, own), None, Step::Unregister),
            // The boot before this one.
            (guest(6, own), Some(&wanted), Step::Unregister),
            // Its pid had become another process's when it was registered.
            (guest(7, "cron.service"), Some(&wanted), Step::Unregister),
            (guest(7, "cron.service"), None, Step::Unregister),
            (Known::Others, None, Step::Nothing),
            (Known::Others, Some(&wanted), Step::GiveUp),
        ];
        for (known, wanted, step) in table {
            assert_eq!(next(&known, wanted, &name("web")), step, "{known:?} {wanted:?}");
        }
    }

    #[test]
    fn names_are_those_of_hosts() {
        for good in ["web", "web-1", "a.b", "0"] {
            assert!(can_bear(&name(good)), "{good}");
        }
        for bad in ["web_1", "web-", "a.-b", "a..b", "a.", "a-.b"] {
            assert!(!can_bear(&name(bad)), "{bad}");
        }
    }
}

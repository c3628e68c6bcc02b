//! Which style a guest boots in, and why.
//!
//! Pure: [`crate::look`] gathers the facts. The rule, for style `auto`:
//!
//! 1. Who owns `/sbin/init`? busybox (a link to it, or a copy): busybox
//!    style. Neither sysvinit nor busybox (systemd, runit, s6, dinit,
//!    openrc-init …): the guest's own init. These can't be followed from
//!    their files.
//! 2. sysvinit, or nobody: by `/etc/inittab` and its form; a guest of
//!    sysvinit may hold another's inittab no more than its own program
//!    would read it.
//! 3. No inittab: the rc directories.

use shared::message::{Style, StyleChoice};

use crate::inittab::Dialect;

/// Whose program `/sbin/init` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitProgram {
    /// There is none that could be executed.
    None,
    /// sysvinit's.
    Sysvinit,
    /// busybox.
    Busybox,
    /// Another one, with the path that it leads to.
    Other(String),
}

impl InitProgram {
    /// Does it tell who has started it when the boot is done (sd_notify(3))?
    pub fn notifies(&self) -> bool {
        matches!(self, Self::Other(path) if path.ends_with("/systemd"))
    }
}

/// What was seen in the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whose `/sbin/init` is.
    pub init: InitProgram,
    /// Is there an `/etc/inittab`, and if so, of which form? `Some(None)`
    /// when no line of it is an entry.
    pub inittab: Option<Option<Dialect>>,
    /// Is there an `rcS.d`, `rc2.d` or `rc.local`?
    pub rc: bool,
}

/// Chooses the style.
pub fn detect(choice: StyleChoice, facts: &Facts) -> (Style, String) {
    let configured = |style| (style, "the configuration says so".to_owned());
    match choice {
        StyleChoice::Auto => by_facts(facts),
        StyleChoice::Sysv => configured(Style::Sysv),
        StyleChoice::Busybox => configured(Style::Busybox),
        StyleChoice::Rc => configured(Style::Rc),
        StyleChoice::Init => configured(Style::Init),
    }
}

fn by_facts(facts: &Facts) -> (Style, String) {
    let (style, reason) = match (&facts.init, facts.inittab) {
        (InitProgram::Other(path), _) => {
            return (Style::Init, format!("/sbin/init is '{path}'"));
        }
        (InitProgram::Busybox, Some(_)) => (Style::Busybox, "/sbin/init is busybox"),
        (InitProgram::Busybox, None) => {
            (Style::Busybox, "/sbin/init is busybox, without an /etc/inittab")
        }
        (InitProgram::Sysvinit, Some(_)) => (Style::Sysv, "/sbin/init is sysvinit"),
        (InitProgram::None, Some(Some(Dialect::Sysv))) => {
            (Style::Sysv, "/etc/inittab has sysvinit's form")
        }
        (InitProgram::None, Some(Some(Dialect::Busybox))) => {
            (Style::Busybox, "/etc/inittab has busybox's form")
        }
        (InitProgram::Sysvinit | InitProgram::None, _) if facts.rc => {
            (Style::Rc, "there are rc directories, and no /etc/inittab to follow")
        }
        (InitProgram::Sysvinit | InitProgram::None, _) => {
            (Style::Rc, "there is neither an init program nor an /etc/inittab nor an rc directory")
        }
    };
    (style, reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(init: InitProgram, inittab: Option<Option<Dialect>>, rc: bool) -> Style {
        detect(StyleChoice::Auto, &Facts { init, inittab, rc }).0
    }

    #[test]
    fn the_owner_of_init_decides_first() {
        let sysv = Some(Some(Dialect::Sysv));
        let busybox = Some(Some(Dialect::Busybox));
        assert_eq!(auto(InitProgram::Sysvinit, sysv, true), Style::Sysv);
        assert_eq!(auto(InitProgram::Sysvinit, busybox, true), Style::Sysv);
        assert_eq!(auto(InitProgram::Busybox, sysv, true), Style::Busybox);
        assert_eq!(auto(InitProgram::Busybox, None, false), Style::Busybox);
        let systemd = InitProgram::Other("/lib/systemd/systemd".to_owned());
        assert_eq!(auto(systemd, sysv, true), Style::Init);
    }

    #[test]
    fn without_an_init_program_the_files_decide() {
        assert_eq!(auto(InitProgram::None, Some(Some(Dialect::Sysv)), true), Style::Sysv);
        assert_eq!(auto(InitProgram::None, Some(Some(Dialect::Busybox)), true), Style::Busybox);
        assert_eq!(auto(InitProgram::None, Some(None), true), Style::Rc);
        assert_eq!(auto(InitProgram::None, None, false), Style::Rc);
        assert_eq!(auto(InitProgram::Sysvinit, None, true), Style::Rc);
    }

    #[test]
    fn systemd_says_when_it_is_up() {
        let other = |path: &str| InitProgram::Other(path.to_owned());
        assert!(other("/usr/lib/systemd/systemd").notifies());
        assert!(!other("/usr/bin/openrc-init").notifies());
        assert!(!other("/sbin/not-systemd").notifies());
        assert!(!InitProgram::Sysvinit.notifies());
    }

    #[test]
    fn a_configured_style_is_taken() {
        let facts = Facts { init: InitProgram::Sysvinit, inittab: None, rc: true };
        let (style, reason) = detect(StyleChoice::Init, &facts);
        assert_eq!((style, reason.as_str()), (Style::Init, "the configuration says so"));
    }
}

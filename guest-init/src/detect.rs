//! Which style a guest boots in, and why.
//!
//! Pure: [`crate::look`] gathers the facts. The rule, for style `auto`:
//!
//! 1. Who owns `/sbin/init`, or without one systemd's own place
//!    ([`shared::family::INITS`])? busybox (a link to it, or a copy): busybox
//!    style. Neither sysvinit nor busybox (systemd, runit, openrc-init, finit,
//!    s6, dinit, or an unknown one): the guest's own init. These can't be
//!    followed from their files.
//! 2. sysvinit, or nobody: by `/etc/inittab` and its form; a guest of
//!    sysvinit may hold another's inittab no more than its own program
//!    would read it.
//! 3. No inittab: the rc directories.

use shared::family::Family;
use shared::message::{Style, StyleChoice};

use crate::inittab::Dialect;

/// Whose the guest's init program is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitProgram {
    /// There is none that could be executed.
    None,
    /// sysvinit's.
    Sysvinit,
    /// busybox.
    Busybox,
    /// Another one, with the path that it leads to.
    Other(Family, String),
}

impl InitProgram {
    /// The program of a family, at the path that its place leads to.
    pub fn of(family: Family, path: String) -> Self {
        match family {
            Family::Sysvinit => Self::Sysvinit,
            Family::Busybox => Self::Busybox,
            other => Self::Other(other, path),
        }
    }

    /// Whose it is.
    pub fn family(&self) -> Family {
        match self {
            Self::None => Family::Other,
            Self::Sysvinit => Family::Sysvinit,
            Self::Busybox => Family::Busybox,
            Self::Other(family, _) => *family,
        }
    }
}

/// What was seen in the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whose the init program is.
    pub init: InitProgram,
    /// Where it is called ([`shared::family::INITS`]).
    pub place: &'static str,
    /// Is there an `/etc/inittab`, and if so, of which form? `Some(None)`
    /// when no line of it is an entry.
    pub inittab: Option<Option<Dialect>>,
    /// Which rc scripts there are.
    pub rc: Option<Rc>,
}

/// A layout of rc scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rc {
    /// `rcS.d`, `rc2.d`, or only an `rc.local`.
    Directories,
    /// `/etc/rc` or `/etc/rc.d/rc.S`, as the BSDs have them.
    Scripts,
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
        (InitProgram::Other(family, path), _) => {
            let reason = match family.name() {
                Some(name) => format!("{} is {name}, '{path}'", facts.place),
                None => format!("{} is '{path}', of no known family", facts.place),
            };
            return (Style::Init, reason);
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
        (InitProgram::Sysvinit | InitProgram::None, _) => {
            let reason = match facts.rc {
                Some(Rc::Directories) => "there are rc directories, and no /etc/inittab to follow",
                Some(Rc::Scripts) => "there are rc scripts of the BSDs' kind, and no /etc/inittab",
                None => "there is neither an init program nor an /etc/inittab nor an rc directory",
            };
            (Style::Rc, reason)
        }
    };
    (style, reason.to_owned())
}

#[cfg(test)]
mod tests {
    use shared::family::INITS;

    use super::*;

    fn auto(init: InitProgram, inittab: Option<Option<Dialect>>, rc: Option<Rc>) -> Style {
        detect(StyleChoice::Auto, &Facts { init, place: INITS[0], inittab, rc }).0
    }

    #[test]
    fn the_owner_of_init_decides_first() {
        let sysv = Some(Some(Dialect::Sysv));
        let busybox = Some(Some(Dialect::Busybox));
        assert_eq!(auto(InitProgram::Sysvinit, sysv, Some(Rc::Directories)), Style::Sysv);
        assert_eq!(auto(InitProgram::Sysvinit, busybox, Some(Rc::Directories)), Style::Sysv);
        assert_eq!(auto(InitProgram::Busybox, sysv, Some(Rc::Directories)), Style::Busybox);
        assert_eq!(auto(InitProgram::Busybox, None, None), Style::Busybox);
        let systemd = InitProgram::of(Family::Systemd, "/lib/systemd/systemd".to_owned());
        assert_eq!(auto(systemd, sysv, Some(Rc::Directories)), Style::Init);
    }

    #[test]
    fn without_an_init_program_the_files_decide() {
        assert_eq!(
            auto(InitProgram::None, Some(Some(Dialect::Sysv)), Some(Rc::Directories)),
            Style::Sysv
        );
        assert_eq!(
            auto(InitProgram::None, Some(Some(Dialect::Busybox)), Some(Rc::Directories)),
            Style::Busybox
        );
        assert_eq!(auto(InitProgram::None, Some(None), Some(Rc::Directories)), Style::Rc);
        assert_eq!(auto(InitProgram::None, None, None), Style::Rc);
        assert_eq!(auto(InitProgram::None, None, Some(Rc::Scripts)), Style::Rc);
        assert_eq!(auto(InitProgram::Sysvinit, None, Some(Rc::Directories)), Style::Rc);
    }

    #[test]
    fn the_reason_names_the_family() {
        let reason = |family, path: &str| {
            let init = InitProgram::of(family, path.to_owned());
            detect(StyleChoice::Auto, &Facts { init, place: INITS[0], inittab: None, rc: None }).1
        };
        let runit = reason(Family::Runit, "/lib/runit/runit-init");
        assert_eq!(runit, "/sbin/init is runit, '/lib/runit/runit-init'");
        assert_eq!(reason(Family::Other, "/x"), "/sbin/init is '/x', of no known family");
        assert_eq!(InitProgram::of(Family::Busybox, String::new()), InitProgram::Busybox);
    }

    #[test]
    fn a_configured_style_is_taken() {
        let facts = Facts { init: InitProgram::Sysvinit, place: INITS[0], inittab: None, rc: None };
        let (style, reason) = detect(StyleChoice::Init, &facts);
        assert_eq!((style, reason.as_str()), (Style::Init, "the configuration says so"));
    }
}

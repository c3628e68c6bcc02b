//! When the runner may stand in for an inittab line (`boot.rc = "direct"`).
//!
//! Pure. Both have to hold:
//!
//! 1. The line's process is a stock call and nothing else: `/etc/init.d/rcS`,
//!    or `/etc/init.d/rc LEVEL` with one runlevel character.
//! 2. The file `/etc/init.d/rc` is a distribution's stock one. Recognised is
//!    Debian's (sysv-rc 2.88 to 3.14), by what it consists of once comments
//!    and indentation are gone: the statements of [`HALLMARKS`], all of them,
//!    in this order, in at most [`MAX_STATEMENTS`] lines. An administrator's
//!    own additions make it longer, or a rewrite lacks a statement: then the
//!    line runs as it is written. `/etc/init.d/rcS` must consist of the one
//!    statement `exec /etc/init.d/rc S`.

use shared::message::Runlevel;

/// Path of the runner.
pub const RC: &str = "/etc/init.d/rc";

/// Path of the boot-time runner.
pub const RC_S: &str = "/etc/init.d/rcS";

/// Longest runner, without comments and empty lines. Debian's have 146 (3.06
/// to 3.14).
const MAX_STATEMENTS: usize = 150;

const HALLMARKS: [&str; 7] = [
    "runlevel=$RUNLEVEL",
    "previous=$PREVLEVEL",
    "export runlevel previous",
    ". /lib/lsb/init-functions",
    "CONCURRENCY=makefile",
    "startup stop",
    "startup $ACTION",
];

/// The runlevel of a stock call.
pub fn call(process: &str) -> Option<Runlevel> {
    let mut words = process.split_whitespace();
    let level = match (words.next()?, words.next()) {
        (RC_S, None) => Runlevel::SINGLE,
        (RC, Some(level)) => {
            let mut characters = level.chars();
            let level = Runlevel::from_char(characters.next()?)?;
            characters.next().is_none().then_some(level)?
        }
        _ => return None,
    };
    words.next().is_none().then_some(level)
}

/// Is this the text of a stock `/etc/init.d/rc`?
pub fn is_stock_rc(text: &str) -> bool {
    let mut wanted = HALLMARKS.iter();
    let mut next = wanted.next();
    let mut count = 0;
    for statement in statements(text) {
        count += 1;
        if next == Some(&statement) {
            next = wanted.next();
        }
    }
    next.is_none() && count <= MAX_STATEMENTS
}

/// Is this the text of a stock `/etc/init.d/rcS`?
pub fn is_stock_rcs(text: &str) -> bool {
    statements(text).eq(core::iter::once("exec /etc/init.d/rc S"))
}

fn statements(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stock_calls() {
        assert_eq!(call("/etc/init.d/rcS"), Some(Runlevel::SINGLE));
        assert_eq!(call("/etc/init.d/rc 2"), Some(Runlevel::MULTI));
        for other in
            ["/etc/init.d/rc", "/etc/init.d/rc 22", "/etc/init.d/rc 2 x", "/bin/rc 2", "", "sh"]
        {
            assert_eq!(call(other), None, "{other:?} was taken");
        }
    }

    #[test]
    fn a_changed_runner_is_not_stock() {
        let stock = HALLMARKS.join("\n\t# comment\n  ");
        assert!(is_stock_rc(&stock));
        assert!(!is_stock_rc(&stock.replace("export ", "")));
        let longer = format!("{stock}\n{}", "echo mine\n".repeat(MAX_STATEMENTS));
        assert!(!is_stock_rc(&longer));
        assert!(is_stock_rcs("#! /bin/sh\n#\n\nexec /etc/init.d/rc S\n"));
        assert!(!is_stock_rcs("mount /data\nexec /etc/init.d/rc S\n"));
    }
}

//! The environment of everything that guest-init starts.
//!
//! Pure. A later value of a name replaces an earlier one.

/// As sysvinit's `PATH`, with the local directories that login shells have.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Scripts ask whether `INIT_VERSION` is set to know a sysvinit by it.
const INIT_VERSION: &str = concat!("sysvinit-guest-init-", env!("CARGO_PKG_VERSION"));

/// Names and values.
pub type Variables = Vec<(String, String)>;

/// The variables of a process: the fixed ones, the runlevel's, and `more`.
pub fn variables(
    terminal: &str,
    level: char,
    previous: char,
    more: &[(String, String)],
) -> Variables {
    let mut all: Variables = Vec::new();
    let (level, previous) = (level.to_string(), previous.to_string());
    for (name, value) in [
        ("PATH", PATH),
        ("TERM", terminal),
        ("container", "vserver"),
        ("CONSOLE", "/dev/console"),
        ("INIT_VERSION", INIT_VERSION),
        ("RUNLEVEL", &level),
        ("PREVLEVEL", &previous),
    ] {
        set(&mut all, name, value);
    }
    for (name, value) in more {
        set(&mut all, name, value);
    }
    all
}

/// Sets one variable. A name that can't be one is left out.
pub fn set(variables: &mut Variables, name: &str, value: &str) {
    if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
        return;
    }
    match variables.iter_mut().find(|(other, _)| other == name) {
        Some((_, old)) => value.clone_into(old),
        None => variables.push((name.to_owned(), value.to_owned())),
    }
}

/// Removes one variable.
pub fn unset(variables: &mut Variables, name: &str) {
    variables.retain(|(other, _)| other != name);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_values_replace_earlier_ones() {
        let more = [("TERM".to_owned(), "vt100".to_owned()), ("a=b".to_owned(), String::new())];
        let all = variables("linux", '2', 'N', &more);
        let value = |name: &str| all.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(value("TERM"), Some("vt100"));
        assert_eq!(value("RUNLEVEL"), Some("2"));
        assert_eq!(value("PREVLEVEL"), Some("N"));
        assert_eq!(value("container"), Some("vserver"));
        assert_eq!(value("a=b"), None);
    }
}

//! `[unify]`: which of a guest's files never share blocks with other guests'.

use serde::{Deserialize, Serialize};

/// `[unify]`: what `vserver unify` passes by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Unify {
    /// Patterns of paths, the first that fits decides: `+` in front of what is
    /// not to be passed by. See [`Excluded`].
    pub exclude: Vec<String>,
}

impl Default for Unify {
    /// What is written all the time, or isn't there for long.
    fn default() -> Self {
        let paths = ["/run", "/tmp", "/var/log", "/var/run", "/var/spool", "/var/tmp"];
        Self { exclude: paths.map(str::to_owned).into() }
    }
}

/// Patterns, ready for use: as those of util-vserver's `apps/vunify/exclude`,
/// which are rsync(1)'s.
///
/// One with a `/` in front is of a path from the guest's root, any other of the
/// last names of one. `*` and `?` stand for characters of one name, `**` for any
/// number of directories. What lies in a directory that is passed by is, too. In
/// front may stand `+`, for what is not to be passed by, or `-` or `~`.
#[derive(Clone, Debug)]
pub struct Excluded(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    pattern: glob::Pattern,
    is_wanted: bool,
}

impl Excluded {
    /// Of the texts of a list.
    ///
    /// # Errors
    /// Which is no pattern, and why.
    pub fn new<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, String> {
        texts.into_iter().map(rule).collect::<Result<_, _>>().map(Self)
    }

    /// Is the file at this path below the root passed by?
    pub fn has(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        ends.filter_map(|end| path.get(..end)).any(|part| {
            let fits = |rule: &&Rule| rule.pattern.matches_with(part, HOW);
            self.0.iter().find(fits).is_some_and(|rule| !rule.is_wanted)
        })
    }
}

const HOW: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

fn rule(text: &str) -> Result<Rule, String> {
    let (is_wanted, rest) = match text.split_at_checked(1) {
        Some(("+", rest)) => (true, rest),
        Some(("-" | "~", rest)) => (false, rest),
        _ => (false, text),
    };
    let rest = rest.trim_start_matches(' ').trim_end_matches('/');
    if rest.is_empty() {
        return Err(format!("'{}' is no pattern of paths", text.escape_debug()));
    }
    let from_root = match rest.strip_prefix('/') {
        Some(path) => path.to_owned(),
        None => format!("**/{rest}"),
    };
    let pattern = glob::Pattern::new(&from_root)
        .map_err(|cause| format!("'{}' is no pattern of paths: {cause}", text.escape_debug()))?;
    Ok(Rule { pattern, is_wanted })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(list: &[&str], path: &str) -> bool {
        Excluded::new(list.iter().copied()).expect("patterns").has(path)
    }

    #[test]
    fn a_pattern_is_of_a_path_or_of_its_last_names() {
        assert!(has(&["/var/log"], "var/log/messages"));
        assert!(has(&["/var/log/"], "var/log"));
        assert!(!has(&["/var/log"], "srv/var/log/messages"));
        assert!(!has(&["/var/log"], "var/logs"));
        assert!(has(&["cache"], "home/a/cache/b/c"));
        assert!(has(&["*.db"], "x.db") && has(&["*.db"], "srv/x.db"));
        assert!(has(&["lib/*.db"], "srv/lib/x.db") && !has(&["lib/*.db"], "lib/a/x.db"));
        assert!(has(&["/srv/**/x"], "srv/a/b/x/y"));
        assert!(has(&["*"], "a\nb") && has(&["/*"], "any/thing"));
        assert!(!has(&[], "any/thing"));
    }

    #[test]
    fn the_first_that_fits_decides() {
        assert!(!has(&["+/var/log/old", "/var/log/*"], "var/log/old/x"));
        assert!(has(&["+/var/log/old", "/var/log/*"], "var/log/new"));
        assert!(has(&["/var/log", "+/var/log/old"], "var/log/old"));
        assert!(has(&["- /var/log"], "var/log/old") && has(&["~x"], "x"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "/", "+", "a**b", "[a"] {
            assert!(Excluded::new([text]).is_err(), "{text}");
        }
        assert!(Excluded::new(Unify::default().exclude.iter().map(String::as_str)).is_ok());
    }
}

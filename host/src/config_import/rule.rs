//! The tables: which key of theirs is which of ours. Pure.

use super::{Outcome, Setting, State, Theirs};

/// What is done with a key of theirs.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Their key; each `*` stands for any text.
    pub key: &'static str,
    /// Ours, for the documentation; empty where there is none.
    pub ours: &'static str,
    /// What is to be known, or the reason why there is none, and the remedy.
    pub note: &'static str,
    /// What is done.
    pub how: How,
}

/// What is done with a setting.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// It is translated by its value.
    As(fn(Theirs<'_>, &Setting) -> Outcome),
    /// Nothing, since vserver does that by itself.
    Fine,
    /// Nothing, since it can't be said.
    Missing,
}

/// A rule of a key that is translated.
pub(super) const fn takes(
    key: &'static str,
    ours: &'static str,
    note: &'static str,
    how: fn(Theirs<'_>, &Setting) -> Outcome,
) -> Rule {
    Rule { key, ours, note, how: How::As(how) }
}

/// A rule of a key that is needed no more.
pub(super) const fn fine(key: &'static str, note: &'static str) -> Rule {
    Rule { key, ours: "", note, how: How::Fine }
}

/// A rule of a key without counterpart.
pub(super) const fn missing(key: &'static str, note: &'static str) -> Rule {
    Rule { key, ours: "", note, how: How::Missing }
}

/// What becomes of a setting, by the first rule that fits its key.
pub(super) fn outcome(rules: &[Rule], theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    match &setting.state {
        State::Unclear(why) => return Outcome::Missing(why.clone()),
        State::Replaced(line) => {
            return Outcome::Fine(format!("line {line} says something else"));
        }
        State::Plain => {}
    }
    match rules.iter().find(|rule| fits(rule.key, &setting.key)) {
        None => Outcome::Missing("vserver doesn't know what this means".to_owned()),
        Some(rule) => match rule.how {
            How::As(how) => how(theirs, setting),
            How::Fine => Outcome::Fine(rule.note.to_owned()),
            How::Missing => Outcome::Missing(rule.note.to_owned()),
        },
    }
}

/// Does a key fit a pattern, in which `*` stands for any text?
pub(super) fn fits(pattern: &str, key: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == key };
    let Some(rest) = key.strip_prefix(before) else { return false };
    let mut ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    ends.any(|at| rest.get(at..).is_some_and(|rest| fits(after, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, key, does) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "a", true),
            ("lxc.net.*.type", "lxc.net.0.type", true),
            ("lxc.net.*.type", "lxc.net.0.typ", false),
            ("interfaces/*/ip", "interfaces/ip", false),
            ("*/x/*", "é/x/", true),
            ("rlimits/nproc*", "rlimits/nproc.hard", true),
        ] {
            assert_eq!(fits(pattern, key), does, "{pattern} {key}");
        }
    }
}

//! From text to a [`GuestConfig`], or to everything that is wrong with it.
//!
//! Pure: no file is read here, and no text makes it panic. A key that the
//! types don't have is refused, each value is judged on its own, so that all
//! mistakes are shown at once.

use std::borrow::Cow;
use std::mem;
use std::ops::Range;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::problem::{Problem, did_you_mean};
use super::schema::{self, Shape};
use super::{GuestConfig, check, template};

/// Most problems that are collected from one text.
const MAX_PROBLEMS: usize = 50;

/// A configuration text: what is right in it, and what isn't.
#[derive(Clone, Debug)]
pub struct Document<'i> {
    /// Keys and values that are right one by one.
    table: DeTable<'i>,
    problems: Vec<Problem>,
}

impl<'i> Document<'i> {
    /// Reads one file's text.
    pub fn read(text: &'i str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut problems: Vec<Problem> =
            errors.iter().map(|error| Problem::new("", error.message()).at(error.span())).collect();
        let mut table = root.into_inner();
        if problems.is_empty() {
            keep_right(&mut table, &mut Vec::new(), &mut problems);
        } else {
            // What the text was meant to say is unknown.
            table.clear();
        }
        Self { table, problems }
    }

    /// What is wrong with keys and values one by one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Where the value of a dotted key stands in the text, or the key's
    /// nearest section that is there.
    pub fn span(&self, key: &str) -> Option<Range<usize>> {
        self.nearest(key).map(|(value, _)| value.span())
    }

    /// Does it say anything about this dotted key?
    pub fn has(&self, key: &str) -> bool {
        matches!(self.nearest(key), Some((_, true)))
    }

    /// The value of a dotted key, or else of the nearest section around it, and
    /// which of the two it is. A last part may have dots itself.
    fn nearest(&self, key: &str) -> Option<(&Spanned<DeValue<'i>>, bool)> {
        let mut found = None;
        let (mut table, mut rest) = (&self.table, key);
        loop {
            if let Some(value) = table.get(rest) {
                return Some((value, true));
            }
            let Some((part, below)) = rest.split_once('.') else { return found };
            let Some(value) = table.get(part) else { return found };
            found = Some((value, false));
            let DeValue::Table(inner) = value.get_ref() else { return found };
            (table, rest) = (inner, below);
        }
    }

    /// The configuration that this text means where `defaults` says what it
    /// leaves open. Sections are merged key by key, everything else is
    /// replaced.
    ///
    /// # Errors
    /// Everything that is wrong with this text, in its order.
    pub fn config(&self, defaults: &Document<'i>) -> Result<GuestConfig, Vec<Problem>> {
        let config = self.merged(defaults)?;
        let mut problems = self.problems.clone();
        problems.extend(check::problems(&config).into_iter().map(|problem| {
            let span = self.span(&problem.key);
            problem.at(span)
        }));
        problems.sort_by_key(|problem| problem.span.as_ref().map(|span| span.start));
        problems.truncate(MAX_PROBLEMS);
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// The same, whatever rules it breaks ([`check`]).
    ///
    /// # Errors
    /// Everything that can't be read.
    pub fn config_as_it_is(&self, defaults: &Document<'i>) -> Result<GuestConfig, Vec<Problem>> {
        let config = self.merged(defaults)?;
        if self.problems.is_empty() { Ok(config) } else { Err(self.problems.clone()) }
    }

    fn merged(&self, defaults: &Document<'i>) -> Result<GuestConfig, Vec<Problem>> {
        let mut merged = defaults.table.clone();
        merge(&mut merged, self.table.clone());
        let config: Result<GuestConfig, _> = deserialize(merged, 0..0);
        let mut config = config.map_err(|error| vec![Problem::new("", error.message())])?;
        if self.has("limits.memory") && !self.has("limits.memory_high") {
            config.limits.lower_memory_high();
        }
        Ok(config)
    }
}

/// Reads a guest's text alone, without site-wide defaults.
///
/// # Errors
/// All mistakes.
pub fn parse(text: &str) -> Result<GuestConfig, Vec<Problem>> {
    Document::read(text).config(&Document::read(""))
}

/// The context number in a text, even if everything else in it is wrong: a
/// number in use must never be given out twice.
pub fn context_in(text: &str) -> Option<u32> {
    let (root, _) = DeTable::parse_recoverable(text);
    let number = root.get_ref().get("context")?.get_ref().as_integer()?.clone();
    u32::from_str_radix(number.as_str(), number.radix()).ok()
}

/// The guest's root in a text, even if everything else in it is wrong.
pub fn root_in(text: &str) -> Option<PathBuf> {
    let (root, _) = DeTable::parse_recoverable(text);
    Some(root.get_ref().get("root")?.get_ref().as_str()?.into())
}

/// Is the guest started with the host, by a text in which everything else may be wrong?
pub fn autostart_in(text: &str) -> bool {
    let (root, _) = DeTable::parse_recoverable(text);
    root.get_ref().get("autostart").and_then(|value| value.get_ref().as_bool()) == Some(true)
}

/// The marks in a text in which everything else may be wrong; a word alone is one.
pub fn marks_in(text: &str) -> Option<Vec<String>> {
    let (root, _) = DeTable::parse_recoverable(text);
    let word = |value: &DeValue<'_>| value.as_str().map(str::to_owned);
    match root.get_ref().get("marks")?.get_ref() {
        DeValue::Array(list) => Some(list.iter().filter_map(|it| word(it.get_ref())).collect()),
        one => word(one).map(|mark| vec![mark]),
    }
}

fn deserialize(table: DeTable<'_>, span: Range<usize>) -> Result<GuestConfig, toml::de::Error> {
    GuestConfig::deserialize(Deserializer::from(Spanned::new(span, table)))
}

/// Lays `over` on top of `base`.
fn merge<'i>(base: &mut DeTable<'i>, over: DeTable<'i>) {
    for (key, value) in over {
        match (base.get_mut(&key).map(Spanned::get_mut), value) {
            (Some(DeValue::Table(below)), value) if value.get_ref().is_table() => {
                if let DeValue::Table(above) = value.into_inner() {
                    merge(below, above);
                }
            }
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// Takes out of a table what is wrong with it, and says so.
fn keep_right(table: &mut DeTable<'_>, path: &mut Vec<String>, problems: &mut Vec<Problem>) {
    for (key, mut value) in mem::take(table) {
        path.push(key.get_ref().to_string());
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let problem = match (schema::shape(&names), value.get_mut()) {
            (None, _) => Some(unknown_key(&names).at(Some(key.span()))),
            (Some(Shape::Section(_) | Shape::Free), DeValue::Table(inner)) => {
                keep_right(inner, path, problems);
                None
            }
            (Some(shape), _) => judge_value(&names, shape, &value),
        };
        match problem {
            Some(problem) => problems.push(problem),
            None => {
                table.insert(key, value);
            }
        }
        path.pop();
    }
}

fn unknown_key(path: &[&str]) -> Problem {
    let (key, section) = path.split_last().unwrap_or((&"", &[]));
    let known = match schema::shape(section) {
        Some(Shape::Section(keys)) => keys,
        _ => &[],
    };
    let dotted = path.join(".");
    let elsewhere = || {
        let all = schema::keys();
        let same = all.iter().find(|known| known.rsplit('.').next() == Some(key));
        same.map(|known| format!("did you mean '{known}'?"))
    };
    let hint = did_you_mean(key, known.iter().copied()).or_else(elsewhere);
    let place = match section {
        [] => String::new(),
        section => format!(" in [{}]", section.join(".")),
    };
    Problem::new(dotted, format!("there is no key '{key}'{place}")).hint(hint)
}

/// Judges one value by deserialising a configuration that has nothing else.
fn judge_value(path: &[&str], shape: Shape, value: &Spanned<DeValue<'_>>) -> Option<Problem> {
    let key = path.join(".");
    let span = value.span();
    let kind = value.get_ref().type_str();
    match (shape, value.get_ref()) {
        (Shape::Section(_) | Shape::Free, _) => {
            let text = format!("'{key}' is a section, not a value ({kind})");
            let hint = schema::hint_of_section(&key);
            return Some(Problem::new(key, text).hint(hint).at(Some(span)));
        }
        (Shape::Choice(words), DeValue::String(word)) if !words.contains(&word.as_ref()) => {
            let text = format!("'{key}' is one of {}, not '{word}'", words.join(", "));
            let hint = did_you_mean(word, words.iter().copied());
            return Some(Problem::new(key, text).hint(hint).at(Some(span)));
        }
        _ => {}
    }
    let error = deserialize(alone(path, value.clone()), span.clone()).err()?;
    let text = wrong_kind(&key, shape, value.get_ref(), error.message())
        .unwrap_or_else(|| format!("'{key}': {}", error.message().replace('\n', " ")));
    Some(Problem::new(key, text).at(Some(error.span().filter(|at| !at.is_empty()).unwrap_or(span))))
}

/// What is wrong with a value that is another kind of thing than the key's, by what
/// serde says of it.
fn wrong_kind(key: &str, shape: Shape, value: &DeValue<'_>, message: &str) -> Option<String> {
    let kind = match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    };
    let written = match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    };
    let example = || template::example_of(key).filter(|example| !example.is_empty());
    let like = |own: Option<String>| {
        own.or_else(example).map(|like| format!(", written like {like}")).unwrap_or_default()
    };
    match (shape, value) {
        (Shape::Choice(words), value) if !value.is_str() => {
            return Some(format!("'{key}' is one of {}, not {kind}", words.join(", ")));
        }
        (Shape::List, value) if !value.is_array() => {
            let own = value.as_str().map(|text| format!("[{text:?}]"));
            return Some(format!("'{key}' is a list{}", like(own)));
        }
        _ => {}
    }
    let (_, expected) = message.strip_prefix("invalid type: ")?.split_once(", expected ")?;
    let is_integer = expected
        .strip_prefix(['u', 'i'])
        .is_some_and(|bits| bits == "size" || bits.bytes().all(|digit| digit.is_ascii_digit()));
    Some(match expected {
        "a boolean" => format!("'{key}' is true or false, not {kind}"),
        "a string" | "a character" if shape == Shape::List => {
            format!("'{key}' is a list of texts{}", like(None))
        }
        "a string" | "a character" => {
            format!("'{key}' is a text{}", like(written.map(|text| format!("{text:?}"))))
        }
        _ if is_integer => {
            let own = written.filter(|text| text.parse::<i64>().is_ok());
            format!("'{key}' is a number{}", like(own))
        }
        "a sequence" => format!("'{key}' is a list{}", like(None)),
        expected => format!("'{key}' is {}, not {kind}", expected.replace('\n', " ")),
    })
}

/// A document that has only this value.
fn alone<'i>(path: &[&str], value: Spanned<DeValue<'i>>) -> DeTable<'i> {
    let span = value.span();
    let mut table = DeTable::new();
    if let Some((first, rest)) = path.split_first() {
        let inner = match rest {
            [] => value,
            rest => Spanned::new(span.clone(), DeValue::Table(alone(rest, value))),
        };
        table.insert(Spanned::new(span, Cow::Owned((*first).to_owned())), inner);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> String {
        let problems = parse(text).unwrap_err();
        let shown: Vec<_> = problems.iter().map(|problem| problem.show("f", text)).collect();
        shown.join("\n")
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(parse("").unwrap(), GuestConfig::default());
    }

    #[test]
    fn all_mistakes_are_shown_at_once() {
        let text = "hostnam = \"x\"\ncontext = 1\n[boot]\nstile = \"auto\"\nstyle = \"sysvv\"\n\
                    stop_timeout = \"soon\"\nstop-timeout = \"1s\"\n";
        let wanted = "\
f:1:1: there is no key 'hostnam'
  1 | hostnam = \"x\"
    | ^^^^^^^ did you mean 'hostname'?
f:2:11: 'context': a context is a number from 2 to 49151, not 1
  2 | context = 1
    |           ^
f:4:1: there is no key 'stile' in [boot]
  4 | stile = \"auto\"
    | ^^^^^ did you mean 'style'?
f:5:9: 'boot.style' is one of auto, sysv, busybox, rc, init, not 'sysvv'
  5 | style = \"sysvv\"
    |         ^^^^^^^ did you mean 'sysv'?
f:6:16: 'boot.stop_timeout': a duration is written like \"90s\" or \"1m 30s\", not \"soon\"
  6 | stop_timeout = \"soon\"
    |                ^^^^^^
f:7:1: there is no key 'stop-timeout' in [boot]
  7 | stop-timeout = \"1s\"
    | ^^^^^^^^^^^^ did you mean 'stop_timeout'?";
        assert_eq!(shown(text), wanted);
    }

    #[test]
    fn rules_between_keys_are_checked_beside_wrong_values() {
        let shown = shown("context = 1\nhostname = \"not a name\"\n");
        assert!(shown.contains("f:1:11: ") && shown.contains("f:2:12: "), "{shown}");
    }

    #[test]
    fn a_key_in_the_wrong_section_is_sent_to_its_own() {
        assert!(shown("stop_timeout = \"1s\"\n").contains("did you mean 'boot.stop_timeout'?"));
        assert!(shown("boot = 3\n").contains("'boot' is a section, not a value (integer)"));
    }

    #[test]
    fn values_of_another_kind_are_told_in_words_of_the_configuration() {
        for (text, wanted) in [
            ("boot.runlevel = 3", "'boot.runlevel' is a text, written like \"3\""),
            ("boot.command = \"nginx\"", "'boot.command' is a list, written like [\"nginx\"]"),
            ("marks = \"db\"", "'marks' is a list, written like [\"db\"]"),
            ("marks = [1]", "'marks' is a list of texts"),
            ("boot.style = true", "'boot.style' is one of auto, sysv, busybox, rc, init, not true"),
            ("security.users = 1000", "is one of private, identity, host, not a number"),
            ("context = \"40001\"", "'context' is a number, written like 40001"),
            ("context = \"web\"", "'context' is a number, written like 40000"),
            ("security.nesting = \"yes\"", "'security.nesting' is true or false, not a text"),
            ("hostname = true", "'hostname' is a text, written like \"true\""),
            ("boot.stop_timeout = true", "'boot.stop_timeout' is a duration like \"90s\""),
            ("security.capabilities = [\"x\"]", "such as 'security.capabilities.add'"),
            ("boot.environment = \"A=1\"", "such as 'boot.environment.NAME'"),
        ] {
            let shown = shown(text);
            assert!(shown.contains(wanted), "{shown}");
            assert!(!shown.contains("invalid type"), "{shown}");
        }
    }

    #[test]
    fn syntax_is_shown_with_its_line() {
        assert!(shown("context = \n").starts_with("f:1:11: "), "{}", shown("context = \n"));
    }

    #[test]
    fn defaults_fill_what_is_left_open() {
        let defaults = Document::read(
            "marks = [\"a\"]\n[boot]\nstop_timeout = \"9s\"\nkill_grace = \"1s\"\n\
             environment = { A = \"1\", B = \"1\" }\n",
        );
        let own =
            Document::read("marks = [\"b\"]\n[boot]\nkill_grace = 2\nenvironment.B = \"2\"\n");
        let config = own.config(&defaults).unwrap();
        assert_eq!(config.marks, ["b"]);
        assert_eq!(config.boot.stop_timeout.map(|time| time.as_secs()), Some(9));
        assert_eq!(config.boot.kill_grace.as_secs(), 2);
        assert_eq!(config.boot.environment["A"], "1");
        assert_eq!(config.boot.environment["B"], "2");
    }

    #[test]
    fn a_context_is_found_in_a_broken_file() {
        assert_eq!(context_in("hostnam = 3\ncontext = 0x10\n[boot\n"), Some(16));
        assert_eq!(context_in("context = \"x\""), None);
        assert_eq!(root_in("hostnam = 3\nroot = '/r'\n[boot\n"), Some("/r".into()));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = parse(&text);
            let _ = context_in(&text);
        }

        #[test]
        fn nothing_near_a_configuration_makes_it_panic(
            parts in proptest::collection::vec(
                "(\\[|\\]|=|\\.|\"|\n|#|\\{|\\}|,|boot|style|context|stop_timeout|environment|add|-?[0-9]{1,20}|é)",
                0..40,
            )
        ) {
            let text = parts.concat();
            if let Err(problems) = parse(&text) {
                for problem in problems {
                    let _ = problem.show("f", &text);
                }
            }
        }

        #[test]
        fn what_is_written_is_read_again(
            context in 2u32..49_152, grace in 0u64..60, autostart: bool, mark in "[a-z]{1,5}",
            value in "[ -~]{0,20}",
        ) {
            let mut config = GuestConfig { autostart, marks: vec![mark], ..Default::default() };
            config.context = context.try_into().ok();
            config.boot.kill_grace = std::time::Duration::from_secs(grace);
            config.boot.environment.insert("A".into(), value);
            let text = toml::to_string(&config).unwrap();
            prop_assert_eq!(parse(&text), Ok(config));
        }
    }
}

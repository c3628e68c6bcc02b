//! `vserver config import`: what became of each setting.

use std::fmt::Write;

use serde::Serialize;

use super::{printable, status, table};
use crate::config_import::{Format, How, Import, Outcome, Part, Setting};

/// What was made of an [`Import`].
#[derive(Clone, Debug)]
pub struct Made<'a> {
    /// What was read.
    pub import: &'a Import,
    /// The guest's name.
    pub name: &'a str,
    /// The file or directory that was read.
    pub source: &'a str,
    /// The configuration file; `None` if it wasn't written.
    pub written: Option<String>,
    /// The directory of its files, if they are used where they are.
    pub in_place: Option<String>,
    /// Its text.
    pub text: &'a str,
    /// The command that comes next.
    pub next: &'a str,
}

/// A table of what was translated or needs no translation, then what has no
/// counterpart, with its place and what can be done.
pub fn imported(made: &Made<'_>) -> String {
    let settings = &made.import.settings;
    let rows: Vec<_> = settings.iter().filter_map(row).collect();
    let mut text = format!("'{}' is {}\n", printable(made.source), made.import.format);
    if !rows.is_empty() {
        let _ = write!(text, "\n{}", table(["LINE", "THEIRS", "OURS"], rows));
    }
    let missing = settings.iter().filter_map(|(setting, outcome)| match outcome {
        Outcome::Missing(why) => Some((setting, why)),
        _ => None,
    });
    for (number, (setting, why)) in missing.enumerate() {
        let head = if number == 0 { "\nwithout counterpart:\n" } else { "" };
        let place = format!("{}:{}", printable(&setting.file), setting.line);
        let _ = writeln!(text, "{head}{place}: {}\n    {}", said(setting), printable(why));
    }
    text
}

/// A setting as a file would have it.
fn said(setting: &Setting) -> String {
    let key = printable(&setting.key);
    if setting.value.is_empty() { key } else { format!("{key} = {}", short(&setting.value)) }
}

/// Not more of a value than tells which it is.
fn short(value: &str) -> String {
    const MOST: usize = 60;
    let mut shown: String = value.chars().take(MOST).collect();
    if shown.len() < value.len() {
        shown.push_str("...");
    }
    printable(&shown)
}

fn row((setting, outcome): &(Setting, Outcome)) -> Option<[String; 3]> {
    let ours = match outcome {
        Outcome::Ours { parts, remark } => {
            let words: Vec<String> = parts.iter().map(part).collect();
            let remark = if remark.is_empty() { String::new() } else { format!(" ({remark})") };
            format!("{}{remark}", words.join(", "))
        }
        Outcome::Fine(why) => format!("- ({})", printable(why)),
        Outcome::Missing(_) => return None,
    };
    let file = setting.file.rsplit('/').next().unwrap_or_default();
    // A value a file: the key is the file.
    let is_same = setting.file.ends_with(&*setting.key);
    let place = match is_same {
        true => setting.line.to_string(),
        false => format!("{}:{}", printable(file), setting.line),
    };
    Some([place, said(setting), ours])
}

fn part(part: &Part) -> String {
    let entry = part.entry.as_deref().map(|entry| format!(".{}", printable(entry)));
    format!("{}{} = {}", part.key, entry.unwrap_or_default(), printable(&part.value.to_string()))
}

/// The form that scripts depend on: fields are added, never changed.
#[derive(Serialize)]
struct Object<'a> {
    name: &'a str,
    format: &'static str,
    source: &'a str,
    written: Option<&'a str>,
    complete: bool,
    configuration: &'a str,
    next: &'a str,
    settings: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    file: &'a str,
    line: usize,
    key: &'a str,
    value: &'a str,
    /// `translated`, `unneeded` or `missing`.
    outcome: &'static str,
    ours: Vec<Pair<'a>>,
    reason: &'a str,
}

#[derive(Serialize)]
struct Pair<'a> {
    key: String,
    value: &'a toml::Value,
}

/// `config import --json`.
pub fn imported_json(made: &Made<'_>) -> String {
    let settings = made.import.settings.iter().map(|(setting, outcome)| {
        let (word, parts, reason): (_, &[Part], &str) = match outcome {
            Outcome::Ours { parts, remark } => ("translated", parts, remark),
            Outcome::Fine(why) => ("unneeded", &[], why),
            Outcome::Missing(why) => ("missing", &[], why),
        };
        let pair = |part: &Part| match &part.entry {
            Some(entry) => format!("{}.{entry}", part.key),
            None => part.key.to_owned(),
        };
        Entry {
            file: &setting.file,
            line: setting.line,
            key: &setting.key,
            value: &setting.value,
            outcome: word,
            ours: parts.iter().map(|part| Pair { key: pair(part), value: &part.value }).collect(),
            reason,
        }
    });
    status::json(&Object {
        name: made.name,
        format: made.import.format.word(),
        source: made.source,
        written: made.written.as_deref(),
        complete: made.import.is_whole(),
        configuration: made.text,
        next: made.next,
        settings: settings.collect(),
    })
}

/// A format's table for the documentation.
pub fn documentation(format: Format) -> String {
    let mut text = "| theirs | ours | |\n|---|---|---|\n".to_owned();
    for rule in format.rules() {
        let keys: Vec<String> = rule
            .ours
            .split([',', ';'])
            .map(str::trim)
            .filter(|key| !key.is_empty())
            .map(code)
            .collect();
        let ours = match rule.how {
            How::As(_) if keys.is_empty() => "by value".to_owned(),
            How::As(_) => keys.join(", "),
            How::Fine => "not needed".to_owned(),
            How::Missing => "none".to_owned(),
        };
        let note = rule.note.replace('|', "\\|");
        let key = if rule.key == "*" { "all others".to_owned() } else { code(rule.key) };
        let _ = writeln!(text, "| {key} | {ours} | {note} |");
    }
    text
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_import::FORMATS;

    #[test]
    fn the_documentation_has_all_tables() {
        let page = include_str!("../../../docs/moving-in.md");
        let tables = FORMATS.map(documentation);
        let missing: Vec<_> = tables.iter().filter(|table| !page.contains(*table)).collect();
        let shown = missing.iter().map(|table| table.as_str()).collect::<Vec<_>>().join("\n");
        assert!(missing.is_empty(), "docs/moving-in.md must have\n{shown}");
    }
}

//! Shell files read as the assignments that they hold, and never run. Pure.
//!
//! Only what has one meaning whatever happens is taken: `NAME=value` with
//! quotes, comments and continued lines. What a shell would have to work out
//! (variables, commands, conditions and all that stands in them) is unclear.

use std::sync::Arc;

use super::{Setting, State};

const CODE: &str = "it is shell code, which is not run: see what it would do, and set that by \
                    'vserver config set'";

/// The assignments in a text, in order; code as settings that are unclear.
/// `known` are variables whose values are known.
pub(super) fn read(path: &str, text: &str, known: &[(&str, &str)]) -> Vec<Setting> {
    let mut reader = Reader {
        file: path.into(),
        rest: text,
        line: 1,
        known,
        blocks: Vec::new(),
        found: Vec::new(),
    };
    while !reader.rest.is_empty() {
        reader.statement();
    }
    let mut found = reader.found;
    // The last assignment counts.
    for at in 0..found.len() {
        let (before, after) = found.split_at_mut(at + 1);
        if let Some(setting) = before.last_mut()
            && setting.state == State::Plain
            && let Some(later) = after.iter().find(|other| other.key == setting.key)
        {
            setting.state = match &later.state {
                // Perhaps it is replaced, and nobody can tell.
                State::Unclear(_) => State::Unclear(format!(
                    "line {} says something else, by shell code",
                    later.line
                )),
                _ => State::Replaced(later.line),
            };
        }
    }
    found
}

/// Splits a setting's value at blanks into one setting a word. A list that is
/// empty stays a setting.
pub(super) fn words(setting: Setting) -> Vec<Setting> {
    let is_plain = matches!(setting.state, State::Plain | State::Replaced(_));
    let words: Vec<&str> = setting.value.split_ascii_whitespace().collect();
    if !is_plain || words.len() < 2 {
        let value = if is_plain { setting.value.trim().to_owned() } else { setting.value.clone() };
        return vec![Setting { value, ..setting }];
    }
    words.iter().map(|word| Setting { value: (*word).to_owned(), ..setting.clone() }).collect()
}

struct Reader<'a> {
    file: Arc<str>,
    rest: &'a str,
    line: usize,
    known: &'a [(&'a str, &'a str)],
    /// What ends the conditions, loops and lists that are open.
    blocks: Vec<&'static str>,
    found: Vec<Setting>,
}

/// Words that open something, and what ends it.
const OPENERS: [(&str, &str); 8] = [
    ("if", "fi"),
    ("case", "esac"),
    ("for", "done"),
    ("while", "done"),
    ("until", "done"),
    ("select", "done"),
    ("{", "}"),
    ("(", ")"),
];

/// Never found: the rest of the file is unclear.
const NEVER: &str = "\0";

impl<'a> Reader<'a> {
    fn statement(&mut self) {
        let start = self.rest;
        self.rest = self.rest.trim_start_matches([' ', '\t', ';', '\r']);
        if let Some(rest) = self.rest.strip_prefix('\n') {
            self.rest = rest;
            self.line += 1;
        } else if self.rest.starts_with('#') {
            self.skip_line();
        } else if self.rest.is_empty() {
        } else if !self.blocks.is_empty() {
            self.code(self.line, self.rest);
        } else {
            let line = self.line;
            let begin = self.rest;
            let after =
                begin.strip_prefix("export ").unwrap_or(begin).trim_start_matches([' ', '\t']);
            match name(after) {
                Some(name) => {
                    self.rest = after.get(name.len() + 1..).unwrap_or_default();
                    self.assignment(name, line, begin);
                }
                None => self.code(line, begin),
            }
        }
        debug_assert!(self.rest.len() < start.len(), "a statement has at least one character");
    }

    /// What stands behind `NAME=`.
    fn assignment(&mut self, name: &str, line: usize, begin: &'a str) {
        match self.word() {
            Ok(value) => {
                let after = self.rest.trim_start_matches([' ', '\t', '\r']);
                let ends = after.is_empty()
                    || after.starts_with(['\n', ';'])
                    // Behind a blank only, else it is a part of the word.
                    || (after.starts_with('#') && after.len() < self.rest.len());
                if ends && !after.starts_with(";;") {
                    self.push(line, name, value, State::Plain);
                } else {
                    self.line = line;
                    self.code(line, begin);
                }
            }
            Err(why) => {
                let raw = begin.lines().next().unwrap_or_default();
                let value = raw.split_once('=').map_or(raw, |(_, value)| value).trim();
                self.push(line, name, value.to_owned(), State::Unclear(why.to_owned()));
                self.line = line;
                self.rest = begin;
                let raw = self.take_line();
                if value.starts_with('(') && !raw.contains(')') {
                    self.blocks.push(")");
                } else if why == QUOTE {
                    self.blocks.push(NEVER);
                }
            }
        }
    }

    /// A word of literal text.
    fn word(&mut self) -> Result<String, &'static str> {
        let mut value = String::new();
        loop {
            let Some(c) = self.rest.chars().next() else { return Ok(value) };
            match c {
                ' ' | '\t' | '\n' | '\r' | ';' => return Ok(value),
                '\'' => {
                    self.advance(c);
                    let end = self.rest.find('\'').ok_or(QUOTE)?;
                    let (inner, rest) = self.rest.split_at(end);
                    value.push_str(inner);
                    self.line += inner.matches('\n').count();
                    self.rest = rest.strip_prefix('\'').unwrap_or(rest);
                }
                '"' => {
                    self.advance(c);
                    self.double_quoted(&mut value)?;
                }
                '\\' => {
                    self.advance(c);
                    if let Some(next) = self.rest.chars().next() {
                        self.advance(next);
                        if next != '\n' {
                            value.push(next);
                        }
                    }
                }
                '$' => self.variable(&mut value)?,
                '`' => return Err(COMMAND),
                '~' if value.is_empty() => return Err("the shell would put a directory for '~'"),
                '(' | ')' | '<' | '>' | '|' | '&' => return Err(CODE),
                other => {
                    self.advance(other);
                    value.push(other);
                }
            }
        }
    }

    fn double_quoted(&mut self, value: &mut String) -> Result<(), &'static str> {
        loop {
            let c = self.rest.chars().next().ok_or(QUOTE)?;
            match c {
                '"' => {
                    self.advance(c);
                    return Ok(());
                }
                '\\' => {
                    self.advance(c);
                    let next = self.rest.chars().next().ok_or(QUOTE)?;
                    self.advance(next);
                    match next {
                        '\n' => {}
                        '"' | '\\' | '$' | '`' => value.push(next),
                        other => value.extend(['\\', other]),
                    }
                }
                '$' => self.variable(value)?,
                '`' => return Err(COMMAND),
                other => {
                    self.advance(other);
                    value.push(other);
                }
            }
        }
    }

    /// `$NAME` or `${NAME}` of a variable that is known.
    fn variable(&mut self, value: &mut String) -> Result<(), &'static str> {
        let after = self.rest.get(1..).unwrap_or_default();
        if after.starts_with('(') {
            return Err(COMMAND);
        }
        for (name, known) in self.known {
            let braced = after.strip_prefix('{').and_then(|rest| rest.strip_prefix(name));
            let braced = braced.and_then(|rest| rest.strip_prefix('}'));
            let plain = after.strip_prefix(name).filter(|rest| !rest.starts_with(is_of_name));
            if let Some(rest) = braced.or(plain) {
                value.push_str(known);
                self.rest = rest;
                return Ok(());
            }
        }
        Err("it has the value of a variable, which only a shell could tell")
    }

    /// A line that is no assignment, or that a condition decides on.
    fn code(&mut self, line: usize, begin: &'a str) {
        self.line = line;
        self.rest = begin;
        let raw = self.take_line();
        let key = name(raw.trim_start()).unwrap_or("shell code");
        self.push(line, key, raw.trim().to_owned(), State::Unclear(CODE.to_owned()));
        self.follow(raw);
    }

    /// Which conditions, loops and lists a line opens and ends. What isn't
    /// understood leaves the rest of the file unclear, never clear.
    fn follow(&mut self, raw: &str) {
        let Some(bare) = bare(raw).filter(|bare| !bare.contains("<<")) else {
            // A quotation or a document that goes on in the lines below.
            return self.blocks.push(NEVER);
        };
        let mut is_command = true;
        let apart = bare.replace(';', " ; ").replace('&', " & ").replace('|', " | ");
        for word in apart.split_whitespace() {
            let opener = OPENERS.iter().find(|(opener, _)| *opener == word);
            if is_command && self.blocks.last() == Some(&word) {
                self.blocks.pop();
            } else if let Some((_, end)) = opener.filter(|_| is_command) {
                self.blocks.push(end);
            } else if word.ends_with("(){") {
                self.blocks.push("}");
            } else if is_command && word.starts_with('(') && !word.contains(')') {
                self.blocks.push(")");
            } else if word.ends_with(')') && self.blocks.last() == Some(&")") {
                self.blocks.pop();
            }
            is_command = opener.is_some()
                || [";", "&", "|", "then", "do", "else", "elif", "!", "function"].contains(&word)
                || word.ends_with(')')
                || word.ends_with('{');
        }
    }

    /// Takes the line that begins here, with those that continue it.
    fn take_line(&mut self) -> &'a str {
        let start = self.rest;
        let mut length = 0;
        for line in start.split_inclusive('\n') {
            length += line.len();
            if line.ends_with('\n') {
                self.line += 1;
            }
            if !line.trim_end_matches(['\n', '\r']).ends_with('\\') {
                break;
            }
        }
        let (taken, rest) = start.split_at(length);
        self.rest = rest;
        taken
    }

    fn skip_line(&mut self) {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        self.rest = self.rest.get(end..).unwrap_or_default();
    }

    fn advance(&mut self, c: char) {
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
        self.line += usize::from(c == '\n');
    }

    fn push(&mut self, line: usize, key: &str, value: String, state: State) {
        let (file, key) = (Arc::clone(&self.file), key.to_owned());
        self.found.push(Setting { file, line, key, value, state });
    }
}

const QUOTE: &str = "a quotation mark has no end";
const COMMAND: &str = "it has the output of a command, which is not run";

/// A line of code without comments and what is quoted; `None` when a quotation
/// doesn't end in it.
fn bare(raw: &str) -> Option<String> {
    let mut bare = String::new();
    let mut quote = None;
    let mut characters = raw.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (None | Some('"'), '\\') => {
                characters.next();
            }
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"' | '`') => {
                quote = Some(c);
                // It isn't a word of the shell's, whatever it is.
                bare.push('_');
            }
            (None, '#') if bare.ends_with(|c: char| c.is_whitespace()) => break,
            (None, c) => bare.push(c),
        }
    }
    quote.is_none().then_some(bare)
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The name in front of a `=`.
fn name(text: &str) -> Option<&str> {
    let end = text.find(|c| !is_of_name(c))?;
    let name = text.get(..end)?;
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (starts && text.get(end..)?.starts_with('=')).then_some(name)
}

#[cfg(test)]
mod tests;

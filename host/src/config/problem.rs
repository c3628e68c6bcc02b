//! What is wrong in a configuration, and how that is shown: file, line, the
//! line itself, a caret, and the nearest right word.

use std::fmt::Write;
use std::ops::Range;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The dotted key that it is about; empty for the file as a whole.
    pub key: String,
    /// What is wrong: lower case, no full stop.
    pub text: String,
    /// The remedy, if it is known.
    pub hint: Option<String>,
    /// Where, in bytes of the text that was read.
    pub span: Option<Range<usize>>,
}

impl Problem {
    /// Something is wrong with this key.
    pub fn new(key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { key: key.into(), text: text.into(), hint: None, span: None }
    }

    /// Adds the remedy.
    pub fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// Adds where it is.
    pub fn at(mut self, span: Option<Range<usize>>) -> Self {
        self.span = span;
        self
    }

    /// The problem as a user sees it, several lines without a last newline.
    /// `file` is the name of the file, `text` what it holds.
    pub fn show(&self, file: &str, text: &str) -> String {
        let Some(place) = self.span.as_ref().and_then(|span| place(text, span)) else {
            let hint = self.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            return format!("{file}: {}{hint}", self.text);
        };
        let mut shown = format!("{file}:{}:{}: {}", place.line, place.column, self.text);
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        let _ = write!(shown, "\n  {number} | {}", place.excerpt);
        let caret = format!("{}{}", " ".repeat(place.indent), "^".repeat(place.width));
        let _ = write!(shown, "\n  {margin} | {caret}");
        if let Some(hint) = &self.hint {
            let _ = write!(shown, " {hint}");
        }
        shown
    }
}

/// Most columns of a line that are shown.
const MAX_EXCERPT: usize = 100;

/// Where something is, and the part of its line that shows it.
struct Place {
    /// Counted from 1.
    line: usize,
    /// In characters, counted from 1.
    column: usize,
    excerpt: String,
    /// Columns before the caret.
    indent: usize,
    /// Columns under which the caret is repeated.
    width: usize,
}

fn place(text: &str, span: &Range<usize>) -> Option<Place> {
    let before = text.get(..span.start)?;
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text.get(line_start..)?.lines().next().unwrap_or_default();
    let column = text.get(line_start..span.start)?.chars().count();
    let marked = text.get(span.clone()).unwrap_or_default();
    let marked = marked.lines().next().unwrap_or_default().chars().count();
    let skipped = column.saturating_sub(MAX_EXCERPT / 2);
    let excerpt: String = line
        .chars()
        .skip(skipped)
        .take(MAX_EXCERPT)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    Some(Place {
        line: before.matches('\n').count() + 1,
        column: column + 1,
        indent: column - skipped,
        width: marked.clamp(1, (MAX_EXCERPT + skipped).saturating_sub(column).max(1)),
        excerpt,
    })
}

/// "did you mean 'X'?" for the candidate nearest to `word`, if one is near.
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(word, candidates).map(|best| format!("did you mean '{best}'?"))
}

/// The candidate nearest to `word`, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing takes time that grows with the product of the lengths.
    if word.len() > 64 {
        return None;
    }
    let scored = candidates.into_iter().map(|known| (strsim::jaro_winkler(word, known), known));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.75).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_line_is_shown_with_a_caret() {
        let text = "a = 1\n\thostnam = 2\n";
        let problem = Problem::new("hostnam", "there is no key 'hostnam'")
            .hint(did_you_mean("hostnam", ["context", "hostname"]))
            .at(Some(7..14));
        assert_eq!(
            problem.show("web.toml", text),
            "web.toml:2:2: there is no key 'hostnam'\n  2 |  hostnam = 2\n    |  ^^^^^^^ did you \
             mean 'hostname'?"
        );
    }

    #[test]
    fn nothing_is_guessed_from_far_away() {
        assert_eq!(nearest("xyz", ["hostname", "context"]), None);
        assert_eq!(nearest("stop-timeout", ["stop_timeout", "style"]), Some("stop_timeout"));
    }

    proptest! {
        #[test]
        fn any_place_in_any_text_can_be_shown(
            text in "\\PC{0,300}|[ -~\n\t]{0,300}", start in 0usize..320, length in 0usize..50
        ) {
            let problem = Problem::new("", "x").at(Some(start..start + length));
            for line in problem.show("f", &text).lines() {
                prop_assert!(line.chars().count() < MAX_EXCERPT + 30);
            }
        }
    }
}

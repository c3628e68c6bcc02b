//! insserv's `/etc/init.d/.depend.boot`, `.depend.start`, `.depend.stop`.
//!
//! Pure. Form, as insserv writes it for startpar: a makefile with
//! `TARGETS = name …`, `INTERACTIVE = name …`, and `name: name …`, the
//! script and what has to end before it.

use std::collections::{BTreeMap, BTreeSet};

/// What such a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depend {
    /// The scripts it knows.
    pub targets: BTreeSet<String>,
    /// Those that want the console for themselves.
    pub interactive: BTreeSet<String>,
    /// Of each, what comes before it.
    pub before: BTreeMap<String, Vec<String>>,
}

/// Reads a file; `None` when it is not of this form or names no script:
/// then it is no source for an order.
pub fn parse(text: &str) -> Option<Depend> {
    let mut depend = Depend::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        if line.starts_with('#') {
            continue;
        } else if let Some((name, value)) = line.split_once('=') {
            match name.trim() {
                "TARGETS" => depend.targets.extend(words(value)),
                "INTERACTIVE" => depend.interactive.extend(words(value)),
                _ => {}
            }
        } else {
            let (name, value) = line.split_once(':')?;
            depend.before.entry(name.trim().to_owned()).or_default().extend(words(value));
        }
    }
    (!depend.targets.is_empty()).then_some(depend)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn debians_file() {
        let text = "TARGETS = a b checkfs.sh\nINTERACTIVE = checkfs.sh\nb: a\ncheckfs.sh: a b\n";
        let depend = parse(text).unwrap();
        assert_eq!(depend.targets.len(), 3);
        assert!(depend.interactive.contains("checkfs.sh"));
        assert_eq!(depend.before["checkfs.sh"], ["a", "b"]);
    }

    #[test]
    fn other_texts_are_no_source() {
        assert_eq!(parse(""), None);
        assert_eq!(parse("TARGETS =\n"), None);
        assert_eq!(parse("TARGETS = a\nwhat is this\n"), None);
    }

    proptest! {
        #[test]
        fn every_text_is_read_without_panic(text in "\\PC{0,200}") {
            parse(&text);
        }
    }
}

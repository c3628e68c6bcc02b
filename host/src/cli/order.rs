//! The two word orders: `vserver VERB NAME` and util-vserver's
//! `vserver NAME VERB`.
//!
//! Pure: words in, words out. What is no such line stays as it is, for clap
//! to judge.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::sync::LazyLock;

/// Verbs that vserver doesn't have yet or that clap adds. Their names are
/// kept free, so that no guest becomes unreachable by an upgrade.
const RESERVED: [&str; 3] = ["help", "chkconfig", "defaults"];

/// The verbs as clap knows them.
static VERBS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let command = super::command();
    let names = command.get_subcommands().flat_map(clap::Command::get_name_and_visible_aliases);
    names.chain(["help"]).map(str::to_owned).collect()
});

/// Verbs that have verbs of their own, which stand before the guest's name.
static NESTED: LazyLock<BTreeSet<(String, String)>> = LazyLock::new(|| {
    let command = super::command();
    let of = |verb: &clap::Command| {
        let outer = verb.get_name().to_owned();
        let inner = verb.get_subcommands().map(|verb| verb.get_name().to_owned());
        inner.map(move |inner| (outer.clone(), inner)).collect::<Vec<_>>()
    };
    command.get_subcommands().flat_map(of).collect()
});

/// May no guest have this name?
pub(super) fn is_reserved(word: &str) -> bool {
    VERBS.contains(word) || RESERVED.contains(&word)
}

/// Puts a line in util-vserver's word order (`vserver NAME VERB …`) into
/// ours (`vserver VERB NAME …`). `NAME suexec USER` becomes `suexec USER
/// NAME`, `NAME config show` becomes `config show NAME`, and so with other
/// verbs of two words.
pub fn reorder(argv: Vec<OsString>) -> Vec<OsString> {
    let Some(at) = name_before_verb(&argv) else { return argv };
    let verb = argv.get(at + 1).and_then(|word| word.to_str());
    let third = argv.get(at + 2);
    // How many words of the verb's come before the name.
    let between = match (verb, third) {
        (Some("suexec"), Some(_)) => 2,
        (Some(verb), Some(word)) if is_nested(verb, word) => 2,
        _ => 1,
    };
    let mut words = argv;
    if let Some(moved) = words.get_mut(at..=at + between) {
        moved.rotate_left(1);
    }
    words
}

fn is_nested(verb: &str, word: &OsStr) -> bool {
    word.to_str().is_some_and(|word| NESTED.contains(&(verb.to_owned(), word.to_owned())))
}

/// Where the guest's name stands, if it stands before the verb.
fn name_before_verb(argv: &[OsString]) -> Option<usize> {
    let mut words = argv.iter().enumerate().skip(1).filter(|(_, word)| !is_option(word));
    let (at, first) = words.next()?;
    let second = argv.get(at + 1)?.to_str()?;
    let first = first.to_str()?;
    if VERBS.contains(first) || second.starts_with('-') {
        return None;
    }
    let misspelt = || likeness(second) > likeness(first).max(0.8);
    (VERBS.contains(second) || misspelt()).then_some(at)
}

fn is_option(word: &OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"-")
}

/// How much a word looks like some verb, 0 to 1: decides which of two words
/// is the misspelt verb, so that the suggestion is made for the right one.
fn likeness(word: &str) -> f64 {
    VERBS.iter().map(|verb| strsim::jaro_winkler(verb, word)).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reordered(line: &str) -> String {
        let words = line.split(' ').map(OsString::from).collect();
        let words: Vec<_> = reorder(words).into_iter().map(|w| w.into_string().unwrap()).collect();
        words.join(" ")
    }

    #[test]
    fn the_verb_comes_first() {
        for (given, wanted) in [
            ("vserver web start", "vserver start web"),
            ("vserver start web", "vserver start web"),
            ("vserver -v web start --no-wait", "vserver -v start web --no-wait"),
            ("vserver web exec ls -l", "vserver exec web ls -l"),
            ("vserver web exec -- ls", "vserver exec web -- ls"),
            ("vserver web suexec www id", "vserver suexec www web id"),
            ("vserver web suexec", "vserver suexec web"),
            ("vserver web config show --json", "vserver config show web --json"),
            ("vserver web config", "vserver config web"),
            ("vserver web snapshot create v1", "vserver snapshot create web v1"),
            ("vserver web device add /dev/fuse", "vserver device add web /dev/fuse"),
            ("vserver web strat", "vserver strat web"),
            ("vserver strat web", "vserver strat web"),
            ("vserver start stop", "vserver start stop"),
            ("vserver web", "vserver web"),
            ("vserver web --help", "vserver web --help"),
            ("vserver", "vserver"),
            ("vserver help start", "vserver help start"),
        ] {
            assert_eq!(reordered(given), wanted);
        }
    }

    #[test]
    fn every_verb_is_reserved() {
        for verb in VERBS.iter() {
            assert!(is_reserved(verb), "{verb}");
        }
    }

    proptest! {
        #[test]
        fn no_word_is_lost_or_made(
            words in proptest::collection::vec("(start|exec|suexec|config|show|web|-v|--|[ -~]{0,8})", 0..8)
        ) {
            let argv: Vec<OsString> = words.iter().map(OsString::from).collect();
            let mut after = reorder(argv.clone());
            let mut before = argv;
            prop_assert_eq!(reorder(after.clone()).len(), before.len());
            prop_assert_eq!(after.first(), before.first());
            before.sort();
            after.sort();
            prop_assert_eq!(before, after);
        }
    }
}

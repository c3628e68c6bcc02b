//! Arguments of util-vserver's methods, which stand behind `--`: those that say the
//! same as an option of `vserver build` become that option, before `--`.
//!
//! Pure: words in, words out. From the first word on that is no such argument all
//! stay, for the method's tool.

use std::ffi::{OsStr, OsString};

/// An argument of a method, by its two names, and the option that it becomes.
struct Argument {
    short: &'static str,
    long: &'static str,
    option: &'static str,
    value: Value,
}

/// What comes behind an argument.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    /// A word, whatever it is.
    Any,
    /// A word that is no argument itself.
    One,
    /// The same, or nothing.
    Perhaps,
    /// Nothing.
    None,
}

const fn one(short: &'static str, long: &'static str, option: &'static str) -> Argument {
    Argument { short, long, option, value: Value::One }
}

const DIST: Argument =
    Argument { short: "-d", long: "--dist", option: "--dist", value: Value::Perhaps };
const SUITE: Argument = one("-d", "--dist", "--suite");
const MIRROR: Argument = one("-m", "--mirror", "--mirror");
const SOURCE: Argument = one("", "--source", "--from");

/// The arguments of a method.
fn arguments(method: &str) -> &'static [Argument] {
    const NO_DEVICES: Argument =
        Argument { short: "", long: "--nodevsanity", option: "--nodevsanity", value: Value::None };
    const EMPTY: Argument =
        Argument { short: "", long: "--empty", option: "--empty", value: Value::None };
    /// What is rsync's own.
    const FOR_RSYNC: Argument = Argument { short: "-o", long: "", option: "", value: Value::Any };
    match method {
        "template" => const { &[one("-t", "--tarball", "--from"), DIST, NO_DEVICES] },
        "debootstrap" => const { &[SUITE, MIRROR, one("-s", "--script", "--script")] },
        "dnf" | "yum" => &[SUITE, MIRROR],
        "rpm" => const { &[DIST, one("-b", "--base", "--base"), EMPTY] },
        "rsync" => &[SOURCE, DIST, FOR_RSYNC],
        "clone" => const { &[SOURCE, one("-X", "--exclude-from", "--exclude-from")] },
        "skeleton" => &[DIST],
        _ => &[],
    }
}

/// Puts the arguments of a method before the `--` of a line of `vserver build`.
pub(super) fn translate(words: Vec<OsString>) -> Vec<OsString> {
    let Some(at) = words.iter().position(|word| word == "--") else { return words };
    let (before, behind) = words.split_at(at);
    let behind = behind.get(1..).unwrap_or_default();
    let Some(method) = method(before) else { return words };
    // These words are the tool's own as well; util-vserver's lines have no option
    // that says the same.
    let says = |options: &[&str]| options.iter().any(|option| says(before, option));
    let is_ours = match method {
        "dnf" | "yum" => says(&["--suite", "-s"]),
        "rpm" => says(&["--from", "--source"]),
        "rsync" => says(&["--from", "--source"]) || !behind.iter().any(is_source),
        _ => false,
    };
    if is_ours {
        return words;
    }
    let (moved, rest) = taken(method, behind);
    let mut line = [before, moved.as_slice()].concat();
    if !rest.is_empty() {
        line.push("--".into());
        line.extend(rest);
    }
    line
}

/// The options that a method's arguments become, and what is left for its tool.
fn taken(method: &str, behind: &[OsString]) -> (Vec<OsString>, Vec<OsString>) {
    let (mut moved, mut rest) = (Vec::new(), Vec::new());
    let mut words = behind;
    while let Some((word, after)) = words.split_first() {
        let mut all = arguments(method).iter();
        let found = all.find_map(|argument| Some((argument.option, argument.value(word, after)?)));
        if let Some((option, (value, after))) = found {
            match (option, value) {
                ("", value) => rest.extend(value),
                (option, Some(value)) => moved.push(assigned(option, &value)),
                (option, None) => moved.push(option.into()),
            }
            words = after;
        } else if method == "rpm" && !is_argument(word) {
            // A manifest.
            moved.push(assigned("--from", word));
            words = after;
        } else {
            break;
        }
    }
    match words.split_first() {
        // Behind a second one stands what is the tool's.
        Some((word, after)) if word == "--" && !(moved.is_empty() && rest.is_empty()) => {
            let is_package = |word: &&OsString| method == "yum" && !is_argument(word);
            moved.extend(after.iter().filter(is_package).map(|word| assigned("--packages", word)));
            rest.extend(after.iter().filter(|word| !is_package(word)).cloned());
        }
        _ => rest.extend(words.iter().cloned()),
    }
    (moved, rest)
}

impl Argument {
    /// If a word is this argument: its value, and the words behind both.
    fn value<'w>(
        &self,
        word: &OsStr,
        after: &'w [OsString],
    ) -> Option<(Option<OsString>, &'w [OsString])> {
        let text = word.to_str().filter(|text| text.starts_with('-'))?;
        let behind = |name: &str| Some(text.strip_prefix(name)?).filter(|_| !name.is_empty());
        if [self.short, self.long].contains(&text) {
            return match (self.value, after.split_first()) {
                (Value::None, _) => Some((None, after)),
                (how, Some((value, after))) if how == Value::Any || !is_argument(value) => {
                    Some((Some(value.clone()), after))
                }
                (Value::Perhaps, _) => Some((Some(OsString::new()), after)),
                (Value::One | Value::Any, _) => None,
            };
        }
        let value = match text.starts_with("--") {
            true => behind(self.long)?.strip_prefix('=')?,
            false => behind(self.short)?,
        };
        (self.value != Value::None).then(|| (Some(value.into()), after))
    }
}

fn is_argument(word: &OsString) -> bool {
    // '-' alone is standard input.
    word.as_encoded_bytes().starts_with(b"-") && word != "-"
}

fn is_source(word: &OsString) -> bool {
    let word = word.as_encoded_bytes();
    word == b"--source" || word.starts_with(b"--source=")
}

/// `OPTION=VALUE`.
fn assigned(option: &str, value: &OsStr) -> OsString {
    let mut word = OsString::from(option);
    word.push("=");
    word.push(value);
    word
}

/// The method that words name last.
fn method(words: &[OsString]) -> Option<&str> {
    let text = |at: usize| words.get(at).and_then(|word| word.to_str());
    (0..words.len()).rev().find_map(|at| match text(at)? {
        "-m" | "--method" => text(at + 1),
        word => match word.strip_prefix("--method=") {
            None if word.starts_with("--") => None,
            None => word.strip_prefix("-m"),
            method => method,
        },
    })
}

/// Do words give this option?
fn says(words: &[OsString], option: &str) -> bool {
    let is_given = |word: &str| match word.strip_prefix(option) {
        Some(rest) => rest.is_empty() || rest.starts_with('=') || !option.starts_with("--"),
        None => false,
    };
    words.iter().filter_map(|word| word.to_str()).any(is_given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn translated(line: &str) -> String {
        let words = translate(line.split(' ').map(OsString::from).collect());
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn arguments_become_options() {
        for (given, wanted) in [
            (
                "-m template -- -t a.tar -tb --tarball=c",
                "-m template --from=a.tar --from=b --from=c",
            ),
            ("-m template -- -d sid --nodevsanity", "-m template --dist=sid --nodevsanity"),
            ("--method=template -- --dist=sid -x", "--method=template --dist=sid -- -x"),
            ("-mdebootstrap -- -d sid -m http://m", "-mdebootstrap --suite=sid --mirror=http://m"),
            (
                "-m debootstrap -- -d sid -- --arch=i386",
                "-m debootstrap --suite=sid -- --arch=i386",
            ),
            ("-m debootstrap -- -d sid -s fix", "-m debootstrap --suite=sid --script=fix"),
            ("-m yum -- -d fc7 -- a -x", "-m yum --suite=fc7 --packages=a -- -x"),
            ("-m rpm -- -d fc -b /b --empty", "-m rpm --dist=fc --base=/b --empty"),
            ("-m rpm -- -d fc one two", "-m rpm --dist=fc --from=one --from=two"),
            ("-m rsync -- --source h:/x", "-m rsync --from=h:/x"),
            (
                "-m rsync -- --source h:/x -d -o -z -o --delete -- -v",
                "-m rsync --from=h:/x --dist= -- -z --delete -v",
            ),
            ("-m clone -- --source=web -X list", "-m clone --from=web --exclude-from=list"),
            ("-m skeleton -- -d sid ls -l", "-m skeleton --dist=sid -- ls -l"),
            ("-m dnf -m template -- -t a", "-m dnf -m template --from=a"),
        ] {
            let of = |line| format!("vserver build web {line}");
            assert_eq!(translated(&of(given)), of(wanted));
        }
    }

    #[test]
    fn what_is_the_tools_own_stays() {
        for line in [
            "-m template --from x",
            "-m template -- -t",
            "-m debootstrap --suite sid -- --arch=i386 -d",
            "-m dnf --suite 40 -- -d 5",
            "-m dnf -s40 -- -d 5",
            "-m rpm --from x.rpm -- -d x",
            "-m rsync --from h:/ -- -d -o",
            "-m rsync -- -d -o",
            "-m apk -- -d x",
            "-m dnf -- -- x",
            "-- -t x",
        ] {
            let line = format!("vserver build web {line}");
            assert_eq!(translated(&line), line);
        }
    }

    proptest! {
        #[test]
        fn nothing_gets_lost(
            method in "(template|debootstrap|yum|rpm|rsync|clone|skeleton|apk)",
            behind in proptest::collection::vec("(--|-d|-m|-t|-o|--source|--empty|[a-z]{1,3})", 0..8),
        ) {
            let line = format!("vserver build web -m {method} -- {}", behind.join(" "));
            let after = translated(line.trim_end());
            for word in behind.iter().filter(|word| !word.starts_with('-')) {
                prop_assert!(after.contains(word.as_str()), "{line}: {after}");
            }
        }
    }
}

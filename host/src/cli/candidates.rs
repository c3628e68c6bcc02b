//! What can stand at a place of the command line, for completion in shells.
//!
//! Pure: from the words before the place to the kind of what is wanted there.

use clap::{Arg, ArgAction, Args, Command};
use std::ffi::OsString;

use super::{command, reorder};

/// `vserver __complete`, which scripts of completion call.
#[derive(Clone, Debug, Args)]
pub struct CandidatesArgs {
    /// The words before the one that is completed, without the program's.
    #[arg(value_name = "WORD", trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}

/// What can stand somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A name that doesn't exist yet: nothing helps.
    New,
    /// A guest.
    Guest,
    /// `GUEST:`, or a file of the host's.
    Place,
    /// A mark.
    Mark,
    /// A snapshot of the guest that is named before.
    Snapshot,
    /// `GUEST@SNAPSHOT`.
    Base,
    /// A key of the configuration.
    Key,
    /// `KEY=` of the section `limits`.
    Limit,
    /// A device that the guest's file gives it.
    Device,
    /// A tag of vserver-info.
    Tag,
}

/// What is wanted somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What.
    pub kind: Kind,
    /// The guest that the words before name.
    pub guest: Option<String>,
}

/// The kinds of arguments, by verb and id; the first that fits counts, and `*` is any verb.
const KINDS: [(&str, &str, Kind); 24] = [
    ("build", "name", Kind::New),
    ("import", "name", Kind::New),
    ("config import", "name", Kind::New),
    ("clone", "source", Kind::Guest),
    ("clone", "name", Kind::New),
    ("rename", "old", Kind::Guest),
    ("rename", "new", Kind::New),
    ("move", "new", Kind::New),
    ("snapshot create", "snapshot", Kind::New),
    ("*", "snapshot", Kind::Snapshot),
    ("unify", "base", Kind::Base),
    ("config set", "key", Kind::Key),
    ("config unset", "keys", Kind::Key),
    ("limits", "changes", Kind::Limit),
    ("device remove", "path", Kind::Device),
    ("cp", "places", Kind::Place),
    ("chcontext", "context", Kind::Guest),
    ("vpstree", "context", Kind::Guest),
    ("vkill", "context", Kind::Guest),
    ("vserver-info", "subject", Kind::Guest),
    ("vserver-info", "tag", Kind::Tag),
    ("*", "name", Kind::Guest),
    ("*", "names", Kind::Guest),
    ("*", "mark", Kind::Mark),
];

/// The kind of an argument; `None` if completion knows nothing of it that the
/// definitions don't.
pub fn kind(verb: &str, argument: &str) -> Option<Kind> {
    let fits = |(of, id, _): &&(&str, &str, Kind)| (*of == verb || *of == "*") && *id == argument;
    KINDS.iter().find(fits).map(|(_, _, kind)| *kind)
}

/// What is wanted behind these words, which are those after the program's name.
pub fn wanted(words: &[OsString]) -> Option<Wanted> {
    let argv: Vec<_> = [OsString::from("vserver")].into_iter().chain(words.to_owned()).collect();
    let mut place = Place { path: String::new(), command: command(), ..Place::default() };
    place.command.build();
    for word in reorder(argv).into_iter().skip(1) {
        place.step(&word.into_string().ok()?)?;
    }
    let id = match &place.open {
        Some(option) => option.get_id().as_str().to_owned(),
        None => place.positional()?.get_id().as_str().to_owned(),
    };
    kind(&place.path, &id).map(|kind| Wanted { kind, guest: place.guest })
}

/// A place behind some words.
#[derive(Default)]
struct Place {
    /// The verbs so far.
    path: String,
    command: Command,
    /// An option that its value is to follow.
    open: Option<Arg>,
    /// How many words stand here that belong to no option.
    positionals: usize,
    /// Was there a `--`?
    is_bare: bool,
    guest: Option<String>,
}

impl Place {
    /// One word further; `None` where nothing is known any more.
    fn step(&mut self, word: &str) -> Option<()> {
        if self.open.take().is_some() {
            return Some(());
        }
        match word.strip_prefix("--") {
            _ if self.is_bare || !word.starts_with('-') || word == "-" => self.bare(word)?,
            Some("") => self.is_bare = true,
            Some(long) => {
                let is_it = |argument: &&Arg| {
                    let others = argument.get_all_aliases().unwrap_or_default();
                    argument.get_long() == Some(long) || others.contains(&long)
                };
                self.open =
                    self.command.get_arguments().find(is_it).filter(|it| waits(it)).cloned();
            }
            None => {
                // What follows the letter of an option with a value is the value.
                for (index, letter) in word.char_indices().skip(1) {
                    let is_it = |argument: &&Arg| argument.get_short() == Some(letter);
                    let Some(option) = self.command.get_arguments().find(is_it) else { break };
                    if option.get_action().takes_values() {
                        let is_last = index + letter.len_utf8() == word.len();
                        self.open = Some(option.clone()).filter(|it| is_last && waits(it));
                        break;
                    }
                }
            }
        }
        Some(())
    }

    /// A word that belongs to no option.
    fn bare(&mut self, word: &str) -> Option<()> {
        if self.positionals == 0 && self.command.has_subcommands() && !self.is_bare {
            let verb = self.command.find_subcommand(word)?.clone();
            if !self.path.is_empty() {
                self.path.push(' ');
            }
            self.path.push_str(verb.get_name());
            self.command = verb;
            return Some(());
        }
        let id = self.positional()?.get_id().as_str().to_owned();
        if kind(&self.path, &id) == Some(Kind::Guest) {
            self.guest = Some(word.to_owned());
        }
        self.positionals += 1;
        Some(())
    }

    /// The argument that a word here would belong to.
    fn positional(&self) -> Option<&Arg> {
        let all: Vec<_> = self.command.get_positionals().collect();
        let is_many = |argument: &&&Arg| {
            matches!(argument.get_action(), ArgAction::Append)
                || argument.get_num_args().is_some_and(|range| range.max_values() > 1)
        };
        all.get(self.positionals).or_else(|| all.last().filter(is_many)).copied()
    }
}

/// Does the next word belong to this option?
fn waits(option: &Arg) -> bool {
    option.get_action().takes_values()
        && !option.is_require_equals_set()
        && option.get_num_args().is_none_or(|range| range.min_values() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: &str) -> Option<(Kind, Option<String>)> {
        let words: Vec<_> = line.split_whitespace().map(OsString::from).collect();
        wanted(&words).map(|wanted| (wanted.kind, wanted.guest))
    }

    #[test]
    fn each_place_has_its_kind() {
        let web = || Some("web".to_owned());
        for (line, kind) in [
            ("start", Kind::Guest),
            ("-q start", Kind::Guest),
            ("stop --timeout 5", Kind::Guest),
            ("start --mark", Kind::Mark),
            ("list --mark", Kind::Mark),
            ("exec", Kind::Guest),
            ("enter -u www", Kind::Guest),
            ("enter --user=www", Kind::Guest),
            ("logs -n 5", Kind::Guest),
            ("suexec www", Kind::Guest),
            ("clone", Kind::Guest),
            ("rename", Kind::Guest),
            ("import f", Kind::New),
            ("build", Kind::New),
            ("build --method skeleton", Kind::New),
            ("cp", Kind::Place),
            ("cp -a a b", Kind::Place),
            ("config set", Kind::Guest),
            ("snapshot restore", Kind::Guest),
            ("chcontext --ctx", Kind::Guest),
            ("chcontext --xid", Kind::Guest),
            ("vkill -c", Kind::Guest),
            ("kill -c", Kind::Guest),
            ("vserver-info", Kind::Guest),
            ("unify --base", Kind::Base),
        ] {
            assert_eq!(at(line), Some((kind, None)), "{line}");
        }
        for (line, kind) in [
            ("start web", Kind::Guest),
            ("clone web", Kind::New),
            ("rename web", Kind::New),
            ("clone web new --snapshot", Kind::Snapshot),
            ("clone web --snapshot", Kind::Snapshot),
            ("snapshot create web", Kind::New),
            ("snapshot restore web", Kind::Snapshot),
            ("web snapshot restore", Kind::Snapshot),
            ("snapshot delete -y web", Kind::Snapshot),
            ("device remove web", Kind::Device),
            ("config set web", Kind::Key),
            ("config unset web description", Kind::Key),
            ("limits web", Kind::Limit),
            ("limits web memory=1G", Kind::Limit),
            ("vserver-info web", Kind::Tag),
        ] {
            assert_eq!(at(line), Some((kind, web())), "{line}");
        }
        for line in [
            "",
            "config",
            "suexec",
            "stop --timeout",
            "enter -u",
            "exec web",
            "exec web -- ls",
            "export web",
            "build --from",
            "running web",
            "nosuch",
            "config set web marks",
            "device add web",
        ] {
            assert_eq!(at(line), None, "{line}");
        }
    }

    #[test]
    fn every_kind_is_one_of_an_argument() {
        let mut whole = command();
        whole.build();
        for (verb, id, _) in KINDS.iter().filter(|(verb, _, _)| *verb != "*") {
            let place = verb.split(' ').try_fold(&whole, |at, word| at.find_subcommand(word));
            let mut arguments = place.into_iter().flat_map(Command::get_arguments);
            assert!(arguments.any(|argument| argument.get_id() == id), "{verb}: {id}");
        }
    }
}

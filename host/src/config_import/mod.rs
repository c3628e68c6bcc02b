//! What another manager's configuration says, in vserver's words.
//!
//! Text becomes [`Setting`]s, each with its file and line; a table of rules
//! (data: their key, ours, what is to be said) gives every one of them exactly
//! one [`Outcome`]; what was translated becomes a configuration that vserver's
//! own checker finds right. All of that is pure: only [`source`] reads files.
//! Nothing of theirs is ever executed: shell files are read as the assignments
//! that they hold, and what needs a shell is reported.

mod cgroup;
mod detect;
mod directory;
mod draft;
mod flags;
mod incus;
mod incus_yaml;
mod legacy;
mod lxc;
mod lxc_network;
mod nspawn;
mod openvz;
mod rule;
mod shell;
pub mod source;
mod values;

use std::fmt;
use std::sync::Arc;

use crate::config::GuestConfig;

pub use detect::detect;
pub use rule::{How, Rule};

/// Whose configuration it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// util-vserver's `NAME.conf`.
    Legacy,
    /// util-vserver's directory.
    Directory,
    /// LXC's `config`.
    Lxc,
    /// systemd-nspawn's `NAME.nspawn`.
    Nspawn,
    /// OpenVZ's `CTID.conf`.
    Openvz,
    /// An instance of Incus's or LXD's, as JSON or YAML.
    Incus,
}

/// All formats.
pub const FORMATS: [Format; 6] =
    [Format::Legacy, Format::Directory, Format::Lxc, Format::Nspawn, Format::Openvz, Format::Incus];

impl Format {
    /// The word for it on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Directory => "directory",
            Self::Lxc => "lxc",
            Self::Nspawn => "nspawn",
            Self::Openvz => "openvz",
            Self::Incus => "incus",
        }
    }

    /// Its table: the first rule that fits a key is the key's.
    pub fn rules(self) -> &'static [Rule] {
        match self {
            Self::Legacy => legacy::RULES,
            Self::Directory => directory::RULES,
            Self::Lxc => lxc::RULES,
            Self::Nspawn => nspawn::RULES,
            Self::Openvz => openvz::RULES,
            Self::Incus => incus::RULES,
        }
    }

    fn settings(self, files: &[File]) -> Vec<Setting> {
        match self {
            Self::Legacy => legacy::read(files),
            Self::Directory => directory::read(files),
            Self::Lxc => lxc::read(files),
            Self::Nspawn => nspawn::read(files),
            Self::Openvz => openvz::read(files),
            Self::Incus => incus::read(files),
        }
    }

    fn root(self, theirs: &Theirs<'_>) -> Option<String> {
        match self {
            Self::Legacy | Self::Nspawn => None,
            Self::Directory => theirs.value("vdir").map(str::to_owned),
            Self::Lxc => lxc::root(theirs),
            Self::Openvz => theirs.value("VE_PRIVATE").map(str::to_owned),
            Self::Incus => incus::root(*theirs),
        }
    }

    fn name(self, theirs: &Theirs<'_>) -> Option<String> {
        let key = match self {
            Self::Legacy | Self::Nspawn | Self::Lxc => return None,
            Self::Directory | Self::Incus => "name",
            Self::Openvz => "NAME",
        };
        theirs.value(key).map(str::to_owned)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Legacy => "util-vserver's NAME.conf",
            Self::Directory => "util-vserver's directory",
            Self::Lxc => "LXC's config",
            Self::Nspawn => "systemd-nspawn's NAME.nspawn",
            Self::Openvz => "OpenVZ's CTID.conf",
            Self::Incus => "an instance of Incus's or LXD's",
        })
    }
}

/// A file of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path, as it is shown.
    pub path: String,
    /// Its path below the directory that was given; its name if a file was.
    pub name: String,
    /// What it holds.
    pub content: Content,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Text.
    Text(String),
    /// Where a symbolic link leads.
    Link(String),
    /// Something that would have been executed: not read.
    Script,
    /// Nothing that could be read, and why.
    Unreadable(String),
}

/// One thing that a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The file's path, as it is shown.
    pub file: Arc<str>,
    /// The line, counted from 1.
    pub line: usize,
    /// Their key. Of a list, every word is a setting.
    pub key: String,
    /// What it says.
    pub value: String,
    /// Does it count?
    pub state: State,
}

/// Does a setting count?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Yes.
    Plain,
    /// Nobody can tell what it says: why.
    Unclear(String),
    /// This line says something else afterwards.
    Replaced(usize),
}

/// What becomes of a setting.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is said in vserver's words.
    Ours {
        /// These.
        parts: Vec<Part>,
        /// What is different, if anything is.
        remark: String,
    },
    /// Nothing needs to be said: why.
    Fine(String),
    /// It has no counterpart: why, and what can be done.
    Missing(String),
}

/// A value for a key of vserver's configuration; lists grow by theirs.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The dotted key.
    pub key: &'static str,
    /// The key of the user's choice below it, if there are such.
    pub entry: Option<String>,
    /// The value.
    pub value: toml::Value,
}

/// All settings, for what depends on others.
#[derive(Clone, Copy, Debug)]
pub struct Theirs<'a>(&'a [Setting]);

impl<'a> Theirs<'a> {
    /// The settings that count.
    fn all(self) -> impl Iterator<Item = &'a Setting> {
        self.0.iter().filter(|setting| setting.state == State::Plain)
    }

    /// What the last setting of this key says.
    fn value(self, key: &str) -> Option<&'a str> {
        self.all().filter(|setting| setting.key == key).last().map(|setting| &*setting.value)
    }

    /// Is it the first of those that `belongs` tells?
    fn is_first(self, setting: &Setting, belongs: impl Fn(&Setting) -> bool) -> bool {
        self.all().find(|other| belongs(other)).is_some_and(|first| std::ptr::eq(first, setting))
    }
}

/// A configuration, and how it came about.
#[derive(Clone, Debug)]
pub struct Import {
    /// Whose it was.
    pub format: Format,
    /// Every setting, in order, and what became of it.
    pub settings: Vec<(Setting, Outcome)>,
    /// What vserver's own checker finds right, without root; the context is
    /// the one that it had.
    pub config: GuestConfig,
    /// Where the guest's files are, if that is said.
    pub root: Option<String>,
    /// What the guest is called, if that is said.
    pub name: Option<String>,
}

impl Import {
    /// Has everything a counterpart, or needs none?
    pub fn is_whole(&self) -> bool {
        !self.settings.iter().any(|(_, outcome)| matches!(outcome, Outcome::Missing(_)))
    }
}

/// Translates what the files say.
pub fn import(format: Format, files: &[File]) -> Import {
    let settings = format.settings(files);
    let theirs = Theirs(&settings);
    let rules = format.rules();
    let mut outcomes: Vec<Outcome> =
        settings.iter().map(|setting| rule::outcome(rules, theirs, setting)).collect();
    let config = draft::settle(&settings, &mut outcomes);
    let (root, name) = (format.root(&theirs), format.name(&theirs));
    Import { format, settings: settings.into_iter().zip(outcomes).collect(), config, root, name }
}

#[cfg(test)]
mod tests;

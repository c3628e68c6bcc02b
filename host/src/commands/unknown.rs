//! Words in a verb's place that are none of vserver's: those of util-vserver and of
//! other managers.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use shared::name::GuestName;

use crate::cli;
use crate::config;
use crate::error::Error;
use crate::paths::Paths;

/// Commands of util-vserver's that are a guest's own programs.
const INSIDE: [&str; 8] =
    ["apt", "apt-get", "apt-cache", "apt-config", "rpm", "yum", "chkconfig", "service"];

/// util-vserver's (`pkg`, `pkgmgmt`) and others' words, and how that is done here, with
/// `NAME` for a guest.
const OTHERS: [(&str, &str); 24] = [
    ("pkg", "vserver exec NAME -- apt-get install PACKAGE"),
    ("pkgmgmt", "vserver exec NAME -- apt-get install PACKAGE"),
    ("attach", "vserver enter NAME"),
    ("shell", "vserver enter NAME"),
    ("login", "vserver enter NAME"),
    ("create", "vserver build NAME"),
    ("init", "vserver build NAME"),
    ("launch", "vserver build NAME && vserver start NAME"),
    ("run", "vserver exec NAME -- CMD"),
    ("destroy", "vserver delete NAME"),
    ("remove", "vserver delete NAME"),
    ("rm", "vserver delete NAME"),
    ("copy", "vserver clone NAME NEW, or vserver cp for files"),
    ("freeze", "vserver pause NAME"),
    ("unfreeze", "vserver resume NAME"),
    ("suspend", "vserver pause NAME"),
    ("poweroff", "vserver stop NAME"),
    ("halt", "vserver stop NAME"),
    ("shutdown", "vserver stop NAME"),
    ("terminate", "vserver stop NAME"),
    ("show", "vserver status NAME"),
    ("ls", "vserver list"),
    ("monitor", "vserver events"),
    ("edit", "vserver config edit NAME"),
];

/// What to say of a line whose verb clap doesn't know; `None` where it says enough itself.
pub fn explain(argv: &[OsString], usage: &clap::Error, paths: &Paths) -> Option<Error> {
    if usage.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(ContextValue::String(unknown)) = usage.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let is_option = |word: &&OsString| word.as_encoded_bytes().starts_with(b"-");
    let mut words = argv.iter().skip(1).skip_while(is_option);
    let first = words.next()?.to_str()?;
    let second = words.next().and_then(|word| word.to_str());
    let guest = cli::guest_name(first).ok();
    let exists = |guest: &GuestName| config::text(paths, guest).is_ok();
    if let Some(hint) = hint(first, second.unwrap_or("NAME")) {
        // A guest may be called so.
        if unknown == first && !guest.as_ref().is_some_and(exists) {
            return Some(no_verb(first).hint(hint));
        }
    }
    let guest = guest?;
    let Some(second) = second else {
        let hint = format!(
            "such as 'vserver {guest} status'; 'vserver --help' lists all, and \
             'vserver enter {guest}' opens a shell in it"
        );
        let error = Error::usage(format!("what is to be done with guest '{guest}' isn't said"));
        return exists(&guest).then(|| error.hint(hint));
    };
    if let Some(hint) = hint(second, first) {
        return Some(no_verb(second).hint(hint));
    }
    (unknown == first && exists(&guest)).then(|| {
        no_verb(second).hint(format!(
            "'vserver --help' lists all; a command in the guest: vserver exec {guest} -- {second}"
        ))
    })
}

fn no_verb(word: &str) -> Error {
    Error::usage(format!("there is no verb '{}'", word.escape_debug()))
}

/// How what a word means is done here.
fn hint(word: &str, guest: &str) -> Option<String> {
    if INSIDE.contains(&word) {
        return Some(format!("it is the guest's own: vserver exec {guest} -- {word} …"));
    }
    let (_, here) = OTHERS.iter().find(|(other, _)| *other == word)?;
    Some(here.replace("NAME", guest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(paths: &Paths, line: &str) -> Option<(String, String)> {
        let argv: Vec<_> = line.split(' ').map(OsString::from).collect();
        let usage = cli::parse(argv.clone(), &[]).unwrap_err();
        let error = explain(&argv, &usage, paths)?;
        Some((error.to_string(), error.remedy().unwrap_or_default().to_owned()))
    }

    #[test]
    fn words_of_others_have_a_way_here() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::new(directory.path());
        std::fs::create_dir_all(paths.config_dir()).unwrap();
        std::fs::write(paths.config(&"tiny".parse().unwrap()), "context = 100\n").unwrap();
        for (line, text, hint) in [
            ("tiny", "with guest 'tiny' isn't said", "vserver tiny status"),
            ("tiny frobnicate", "no verb 'frobnicate'", "vserver exec tiny -- frobnicate"),
            ("tiny apt-get update", "no verb 'apt-get'", "vserver exec tiny -- apt-get …"),
            ("tiny pkg install foo", "no verb 'pkg'", "vserver exec tiny -- apt-get install"),
            ("tiny chkconfig --list", "no verb 'chkconfig'", "vserver exec tiny -- chkconfig"),
            ("-q tiny destroy", "no verb 'destroy'", "vserver delete tiny"),
            ("destroy tiny", "no verb 'destroy'", "vserver delete tiny"),
            ("create new", "no verb 'create'", "vserver build new"),
            ("remove tiny", "no verb 'remove'", "vserver delete tiny"),
            ("attach", "no verb 'attach'", "vserver enter NAME"),
        ] {
            let (told, remedy) = said(&paths, &format!("vserver {line}")).expect(line);
            assert!(told.contains(text) && remedy.contains(hint), "{line}: {told}; {remedy}");
        }
        for line in ["frobnicate", "strat tiny", "tiny strat", "nobody", "config remove web"] {
            assert_eq!(said(&paths, &format!("vserver {line}")), None, "{line}");
        }
    }

    #[test]
    fn no_word_of_others_is_a_verb_of_ours() {
        let whole = cli::command();
        for word in INSIDE.iter().chain(OTHERS.iter().map(|(word, _)| word)) {
            assert!(whole.find_subcommand(word).is_none(), "{word}");
        }
    }
}

//! `vserver config`: shows, checks and changes configuration files.

mod effect;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::IsTerminal;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use shared::name::GuestName;
use signal_hook::consts::{SIGINT, SIGQUIT};

use crate::cli::{ConfigAction, ConfigArgs};
use crate::commands::{Exit, config_import, dry_run, generate, output};
use crate::config::{self, Neighbours, edit, problem::Problem};
use crate::error::{Error, Kind, Result};
use crate::facts;
use crate::paths::Paths;
use crate::report;
use crate::report::effective::Effective;
use crate::store;
use crate::supervisor;

/// Carries out what is asked of a configuration.
pub(super) fn run(args: &ConfigArgs, paths: &Paths) -> Result<Exit> {
    match &args.action {
        ConfigAction::Show { name, effective, json } => show(paths, name, *effective, *json),
        ConfigAction::Check { names } => check(paths, names),
        ConfigAction::Set { name, key, values, dry_run } => {
            let wanted = assignments(key, values)?;
            let keys: Vec<&str> = wanted.iter().map(|(key, _)| *key).collect();
            change(paths, name, &keys, *dry_run, |text| {
                wanted.iter().try_fold(text.to_owned(), |text, (key, words)| {
                    edit::set(&text, key, words).map_err(|problems| refused(key, &problems))
                })
            })
        }
        ConfigAction::Unset { name, keys, dry_run } => {
            let all: Vec<&str> = keys.iter().map(String::as_str).collect();
            change(paths, name, &all, *dry_run, |text| {
                all.iter().try_fold(text.to_owned(), |text, key| {
                    edit::unset(&text, key).map_err(|problems| refused(key, &problems))
                })
            })
        }
        ConfigAction::Import(args) => config_import::run(args, paths),
        ConfigAction::Edit { name } => edit_file(paths, name),
    }
}

fn show(paths: &Paths, name: &GuestName, effective: bool, json: bool) -> Result<Exit> {
    let unable = |error: &dyn std::fmt::Display| {
        Error::new(format!("cannot show the configuration of '{name}': {error}"))
    };
    let text = match effective {
        true => toml::to_string(&config::effective(paths, name)?).map_err(|e| unable(&e))?,
        false => config::text(paths, name)?,
    };
    let layers = match effective {
        true => Some(layers(paths, name)?),
        false => None,
    };
    if json {
        config::load(paths, name)?;
        let table: toml::Table = text.parse().map_err(|error| unable(&error))?;
        let mut json = serde_json::to_value(&table).map_err(|error| unable(&error))?;
        if let (Some(json), Some(layers)) = (json.as_object_mut(), &layers) {
            let layers = serde_json::to_value(layers).map_err(|error| unable(&error))?;
            json.insert("isolation".to_owned(), layers);
        }
        let json = serde_json::to_string_pretty(&json).map_err(|error| unable(&error))?;
        output::print(&format!("{json}\n"))?;
    } else {
        let comments = layers.as_ref().map(report::effective::text).unwrap_or_default();
        output::print(&format!("{text}{comments}"))?;
    }
    Ok(Exit::DONE)
}

/// What the configuration comes to on this host.
fn layers(paths: &Paths, name: &GuestName) -> Result<Effective> {
    let families_judged = facts::socket_hook(&paths.run_dir()).is_some();
    let plan = dry_run::preview(name, paths)?;
    Ok(report::effective::effective(&plan, families_judged))
}

fn check(paths: &Paths, names: &[GuestName]) -> Result<Exit> {
    let all;
    let names = match names {
        [] => {
            for file in config::misnamed(paths)? {
                let path = paths.config_dir().join(file);
                output::remark(format_args!(
                    "'{}' is no guest's configuration: its name is none of a guest",
                    path.display()
                ));
            }
            all = config::names(paths)?;
            &all
        }
        names => names,
    };
    let (mut shown, mut worst): (Vec<String>, _) = (Vec::new(), Exit::DONE);
    let others = Neighbours::read(paths)?;
    for name in names {
        let mistakes = match config::mistakes(paths, name, &others) {
            Err(error) if names.len() == 1 || error.kind() == Kind::NoSuchGuest => {
                return Err(error);
            }
            Err(error) => {
                output::complain(&error);
                worst = Exit::NO;
                continue;
            }
            Ok(mistakes) => mistakes,
        };
        for mistake in mistakes {
            // The site's defaults are judged with every guest.
            if !shown.contains(&mistake) {
                output::mistake(&mistake);
                shown.push(mistake);
            }
        }
        config::doubts(paths, name).iter().for_each(output::remark);
        supervisor::doubt_of_actions(&paths.actions(name)).iter().for_each(output::remark);
    }
    Ok(if shown.is_empty() { worst } else { Exit::NO })
}

/// Keys and the words of their values: KEY and its words, or KEY=VALUE, of
/// which those with the same key make up a list.
fn assignments<'w>(first: &'w str, words: &'w [String]) -> Result<Vec<(&'w str, Vec<String>)>> {
    if !first.contains('=') {
        return match words {
            [] => Err(Error::usage(format!("'{first}' is to be set, but to what?"))
                .hint("vserver config set NAME KEY VALUE, or several KEY=VALUE")),
            words => Ok(vec![(first, words.to_vec())]),
        };
    }
    let mut wanted: Vec<(&str, Vec<String>)> = Vec::new();
    for word in [first].into_iter().chain(words.iter().map(String::as_str)) {
        let Some((key, value)) = word.split_once('=') else {
            return Err(Error::usage(format!("'{word}' is no KEY=VALUE, as '{first}' is")));
        };
        match wanted.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) => values.push(value.to_owned()),
            None => wanted.push((key, vec![value.to_owned()])),
        }
    }
    Ok(wanted)
}

fn change(
    paths: &Paths,
    name: &GuestName,
    keys: &[&str],
    dry_run: bool,
    edit: impl FnOnce(&str) -> Result<String>,
) -> Result<Exit> {
    if dry_run {
        let before = config::text(paths, name)?;
        let after = edit(&before)?;
        config::judge_change(paths, name, &before, &after)?;
        effect::refuse_other_files(paths, name, &before, &after)?;
        output::print(&after)?;
        return Ok(Exit::DONE);
    }
    let changed = config::change(paths, name, |before| {
        let after = edit(before)?;
        effect::refuse_other_files(paths, name, before, &after)?;
        Ok(after)
    })?;
    effect::take(paths, name, &changed, keys)?;
    if changed.is_one() {
        generate::tell(paths);
    }
    Ok(Exit::DONE)
}

pub(super) fn refused(key: &str, problems: &[Problem]) -> Error {
    let texts: Vec<_> = problems.iter().map(|problem| problem.text.as_str()).collect();
    let text = texts.join("; ");
    // Most texts name the key; the value on the command line is wrong use.
    let named = text.contains(&format!("'{key}'"));
    let error = Error::usage(if named { text } else { format!("cannot set '{key}': {text}") });
    match problems.iter().find_map(|problem| problem.hint.clone()) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Lets the user edit a copy until it is right, then puts it in place.
fn edit_file(paths: &Paths, name: &GuestName) -> Result<Exit> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::usage("'config edit' needs a terminal")
            .hint("'vserver config set' changes single keys"));
    }
    let before = config::text(paths, name)?;
    let copy = store::Scratch::write(&paths.config(name), &before)?;
    let Some(after) = edit_until_right(paths, name, &before, copy.path())? else {
        return Ok(Exit::NO);
    };
    let put = config::change(paths, name, |now| match now == before || now == after {
        true => Ok(after.clone()),
        false => Err(Error::new(format!(
            "the configuration of guest '{name}' was changed while it was edited"
        ))),
    });
    let taken = put.and_then(|changed| {
        let keys = edit::changed_keys(&changed.before, &changed.after);
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        effect::take(paths, name, &changed, &keys)
    });
    match taken {
        Ok(()) => {
            generate::tell(paths);
            Ok(Exit::DONE)
        }
        Err(error) => {
            let kept = copy.keep();
            Err(error.hint(format!("what was edited is in '{}'", kept.display())))
        }
    }
}

/// The right text; `None` when the user gives up.
fn edit_until_right(
    paths: &Paths,
    name: &GuestName,
    before: &str,
    copy: &Path,
) -> Result<Option<String>> {
    // Keys that interrupt are the editor's: neither this process nor the shell ends by
    // them, and who is executed isn't told of that.
    for signal in [SIGINT, SIGQUIT] {
        signal_hook::flag::register(signal, Arc::default())
            .map_err(|error| Error::os("cannot leave signals to the editor", error))?;
    }
    loop {
        // The variable may hold options, which a shell splits, as in crontab(1).
        let mut script = OsString::from("trap : INT QUIT; ");
        script.push(editor());
        script.push(" \"$1\"");
        let status = Command::new("/bin/sh").arg("-c").arg(script).arg("sh").arg(copy).status();
        let status = status.map_err(|error| Error::os("cannot execute '/bin/sh'", error))?;
        if !status.success() {
            return Err(Error::new("the editor failed, nothing was changed"));
        }
        let bytes = fs::read(copy).map_err(|error| Error::path("read", copy, error))?;
        let judged = config::utf8(copy, bytes).and_then(|text| {
            config::judge_edited(paths, name, before, &text)?;
            effect::refuse_other_files(paths, name, before, &text)?;
            Ok(text)
        });
        let error = match judged {
            Ok(text) => return Ok(Some(text)),
            Err(error) => error,
        };
        output::complain(&error);
        if !output::confirm("Edit again?")? {
            return Ok(None);
        }
    }
}

fn editor() -> OsString {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(words: &[&str]) -> Option<Vec<(String, Vec<String>)>> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let (first, rest) = words.split_first().expect("a key");
        let found = assignments(first, rest).ok()?;
        Some(found.into_iter().map(|(key, values)| (key.to_owned(), values)).collect())
    }

    #[test]
    fn a_key_has_its_words_or_each_word_its_key() {
        let one = |key: &str, values: &[&str]| {
            (key.to_owned(), values.iter().map(|value| (*value).to_owned()).collect())
        };
        assert_eq!(assigned(&["a.b", "x=1", "y"]), Some(vec![one("a.b", &["x=1", "y"])]));
        assert_eq!(
            assigned(&["a.b=1", "c=", "a.b=x=y"]),
            Some(vec![one("a.b", &["1", "x=y"]), one("c", &[""])])
        );
        assert_eq!(assigned(&["a.b"]), None);
        assert_eq!(assigned(&["a.b=1", "c", "2"]), None);
    }
}

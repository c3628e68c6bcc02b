//! Configuration files on disk: read, replaced whole, never in part.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use shared::name::{ContextId, GuestName};

use super::next::InForce;
use super::parse::{self, Document};
use super::problem::Problem;
use super::read::read;
use super::{Conflict, GuestConfig, Neighbours, root_of, template};
use crate::error::{Error, Kind, Result};
use crate::paths::Paths;
use crate::store;

/// Mode of a configuration file: it holds no secrets.
pub(super) const MODE: u32 = 0o644;

/// Reads a guest's configuration, with the site's defaults below it.
///
/// # Errors
/// No such guest, or everything that is wrong with the files.
pub fn load(paths: &Paths, name: &GuestName) -> Result<GuestConfig> {
    judge(paths, name, &text(paths, name)?)?.map_err(mistaken)
}

/// Reads the configuration of a guest that runs, and that may have been started
/// when other rules held, or none yet for what its file says now.
///
/// # Errors
/// As [`load`], but for rules that are broken.
pub fn load_of_running(paths: &Paths, name: &GuestName) -> Result<GuestConfig> {
    let refused = match load(paths, name) {
        Err(error) if error.kind() != Kind::NoSuchGuest => error,
        other => return other,
    };
    let site = read(&paths.defaults())?.unwrap_or_default();
    let defaults = Document::read(&site);
    let found = Document::read(&text(paths, name)?).config_as_it_is(&defaults);
    match found {
        Ok(config) if defaults.problems().is_empty() => Ok(config),
        _ => Err(refused),
    }
}

/// What the boot that runs was started with, by the copy that was kept of it: without
/// the rules of today.
pub fn load_kept(copy: &Path) -> Option<GuestConfig> {
    let text = fs::read_to_string(copy).ok().filter(|text| !text.is_empty())?;
    Document::read(&text).config_as_it_is(&Document::read("")).ok()
}

/// The problem that another guest has the context, as it is shown.
pub(super) fn clash(
    paths: &Paths,
    name: &GuestName,
    own: &str,
    context: ContextId,
    others: &Neighbours,
) -> Option<String> {
    let other = others.with_context(name, context)?;
    let problem = Problem::new("context", format!("context {context} is also guest '{other}''s"));
    let problem = problem.at(Document::read(own).span("context"));
    Some(problem.show(&paths.config(name).display().to_string(), own))
}

/// The problem that its root can't be this guest's, as it is shown.
pub(super) fn root_taken(
    paths: &Paths,
    name: &GuestName,
    own: &str,
    conflict: Option<Conflict>,
) -> Option<String> {
    let conflict = conflict?;
    let problem = Problem::new("root", conflict.to_string()).hint(conflict.remedy());
    let problem = problem.at(Document::read(own).span("root"));
    Some(problem.show(&paths.config(name).display().to_string(), own))
}

/// What [`load`] reads, with the values that depend on the guest's name, or on other
/// values, filled in.
///
/// # Errors
/// As [`load`].
pub fn effective(paths: &Paths, name: &GuestName) -> Result<GuestConfig> {
    let mut config = load(paths, name)?;
    config.hostname.get_or_insert_with(|| name.to_string());
    config.root.get_or_insert_with(|| paths.root(name));
    config.network.mode = Some(config.network.mode());
    Ok(config)
}

/// The text of a guest's configuration file.
///
/// # Errors
/// No such guest, or the file can't be read.
pub fn text(paths: &Paths, name: &GuestName) -> Result<String> {
    let own = read(&paths.config(name))?.ok_or_else(|| Error::no_such_guest(name))?;
    Ok(InForce::find(paths, name, &own)?.map_or(own, |next| next.text))
}

/// Would this text be right as a guest's configuration?
///
/// # Errors
/// Everything that is wrong with it; also that another guest has its context or root. A
/// root that the guest has already is another one's only if that runs there.
pub fn judge_text(paths: &Paths, name: &GuestName, text: &str) -> Result<GuestConfig> {
    let config = judge(paths, name, text)?.map_err(mistaken)?;
    let others = Neighbours::read(paths)?;
    let root = config.root(paths, name);
    let stays = root_of(paths, name).as_ref() == Some(&root);
    let all = others.conflicts(name, &root);
    let conflict = all.into_iter().find(|found| !stays || found.is_at_work());
    let clash = config.context.and_then(|context| clash(paths, name, text, context, &others));
    match clash.or_else(|| root_taken(paths, name, text, conflict)) {
        Some(mistake) => Err(Error::new(mistake)),
        None => Ok(config),
    }
}

/// Replaces the text of a guest's configuration file, if it is right.
///
/// # Errors
/// Everything that is wrong with the text, or the file can't be written; then
/// it is as it was.
pub fn set_text(paths: &Paths, name: &GuestName, text: &str) -> Result<()> {
    let _held = store::lock(&paths.configurations_lock())?;
    put_text(paths, name, text)
}

/// Changes the text of a guest's configuration file: `edit` is given what it is, and
/// returns what it is to be. Nobody else changes it, or takes a number that it
/// names, meanwhile.
///
/// # Errors
/// Those of `edit`, and as [`set_text`].
pub fn change(
    paths: &Paths,
    name: &GuestName,
    edit: impl FnOnce(&str) -> Result<String>,
) -> Result<Change> {
    let _held = store::lock(&paths.configurations_lock())?;
    let before = text(paths, name)?;
    let after = edit(&before)?;
    if after != before {
        put_text(paths, name, &after)?;
    }
    Ok(Change { before, after })
}

/// A change of a configuration's text.
#[derive(Debug)]
pub struct Change {
    /// Its text before.
    pub before: String,
    /// And after.
    pub after: String,
}

impl Change {
    /// Is there a difference?
    pub fn is_one(&self) -> bool {
        self.before != self.after
    }

    /// Takes it back, unless somebody has changed the text again.
    ///
    /// # Errors
    /// As [`change`].
    pub fn undo(&self, paths: &Paths, name: &GuestName) -> Result<()> {
        change(paths, name, |now| {
            let text = if now == self.after { &self.before } else { now };
            Ok(text.to_owned())
        })
        .map(drop)
    }
}

/// [`judge_text`] for what takes the place of another text, and is yet to be written.
///
/// # Errors
/// As [`judge_text`]; also when it would take the guest its context.
pub fn judge_change(
    paths: &Paths,
    name: &GuestName,
    before: &str,
    after: &str,
) -> Result<GuestConfig> {
    judge_edited(paths, name, before, after).map_err(|error| {
        let found = (judge(paths, name, before), judge(paths, name, after));
        let (Ok(Err(had)), Ok(Err(has))) = found else { return error };
        let is_in = |all: &[Mistake], one: &Mistake| all.iter().any(|other| other.is(one));
        if before == after || !has.iter().all(|mistake| is_in(&had, mistake)) {
            return error;
        }
        // Those that were there before are shown where they stand.
        let left = had.into_iter().filter(|mistake| is_in(&has, mistake)).collect();
        mistaken(left).hint(format!("mend them: vserver config edit {name}"))
    })
}

/// The same for a text that whoever has written it sees before him.
///
/// # Errors
/// As [`judge_change`].
pub fn judge_edited(
    paths: &Paths,
    name: &GuestName,
    before: &str,
    after: &str,
) -> Result<GuestConfig> {
    let config = judge_text(paths, name, after)?;
    match parse::context_in(before) {
        Some(number) if config.context.is_none() => {
            let text = format!("guest '{name}' can't be started without a context");
            let hint = format!("to give it another one: vserver config set {name} context N");
            Err(Error::new(format!("{text}; its own is {number}")).hint(hint))
        }
        _ => Ok(config),
    }
}

fn put_text(paths: &Paths, name: &GuestName, text: &str) -> Result<()> {
    let own = read(&paths.config(name))?.unwrap_or_default();
    judge_change(paths, name, &own, text)?;
    let next = InForce::find(paths, name, &own)?;
    // A guest that was deleted meanwhile doesn't come back as half of one.
    match store::replace_existing(&paths.config(name), text, MODE)? {
        true => next.map_or(Ok(()), InForce::settle),
        false => Err(Error::no_such_guest(name)),
    }
}

/// Lets a guest's own file say what counts in its place, if something does: a
/// command that was killed didn't come to that.
///
/// # Errors
/// As [`set_text`].
pub fn settle(paths: &Paths, name: &GuestName) -> Result<()> {
    let own = read(&paths.config(name))?.unwrap_or_default();
    let next = InForce::find(paths, name, &own)?;
    next.map_or(Ok(()), |next| set_text(paths, name, &next.text))
}

/// Writes the configuration file of a new guest: every key with an
/// explanation, those that have their default value commented out.
///
/// # Errors
/// When the file exists, the configuration is wrong, or the file can't be
/// written.
pub fn write_new(paths: &Paths, name: &GuestName, config: &GuestConfig) -> Result<()> {
    write_new_text(paths, name, &template::render(config)?)
}

/// The same with this text, if it is right.
///
/// # Errors
/// When the file exists, the text is wrong, or the file can't be written.
pub fn write_new_text(paths: &Paths, name: &GuestName, text: &str) -> Result<()> {
    let _held = store::lock(&paths.configurations_lock())?;
    judge_text(paths, name, text)?;
    store::create(&paths.config(name), text, MODE)
}

/// The names of all guests that have a configuration, in order.
///
/// # Errors
/// When the directory can't be read; a missing one holds no guests.
pub fn names(paths: &Paths) -> Result<Vec<GuestName>> {
    let directory = paths.config_dir();
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::path("read", &directory, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Error::path("read", &directory, error))?;
        names.extend(entry.file_name().to_str().and_then(guest_of_file));
    }
    names.sort();
    Ok(names)
}

/// The guest whose configuration a file of this name is; editors' backups and
/// whatever else lies there are none.
pub fn guest_of_file(file: &str) -> Option<GuestName> {
    let name = file.strip_suffix(".toml").filter(|name| *name != "defaults")?;
    name.parse().ok()
}

/// Something is wrong, and that is how it is shown.
pub(super) struct Mistake {
    problem: Problem,
    pub(super) shown: String,
}

impl Mistake {
    /// Is it the same, wherever it stands?
    fn is(&self, other: &Self) -> bool {
        (&self.problem.key, &self.problem.text) == (&other.problem.key, &other.problem.text)
    }
}

/// The configuration that a guest's text means, or all mistakes.
pub(super) fn judge(
    paths: &Paths,
    name: &GuestName,
    own: &str,
) -> Result<Result<GuestConfig, Vec<Mistake>>> {
    let site = read(&paths.defaults())?.unwrap_or_default();
    let defaults = Document::read(&site);
    let mut problems = defaults.problems().to_vec();
    problems.extend(of_one_guest(&defaults));
    let mut mistakes = shown(&paths.defaults(), &site, problems);
    match Document::read(own).config(&defaults) {
        Ok(config) if mistakes.is_empty() => return Ok(Ok(config)),
        Ok(_) => {}
        Err(problems) => mistakes.extend(shown(&paths.config(name), own, problems)),
    }
    Ok(Err(mistakes))
}

fn shown(path: &Path, text: &str, problems: Vec<Problem>) -> Vec<Mistake> {
    let file = path.display().to_string();
    let shown = |problem: Problem| Mistake { shown: problem.show(&file, text), problem };
    problems.into_iter().map(shown).collect()
}

/// Defaults of what only one guest can have.
fn of_one_guest(document: &Document<'_>) -> impl Iterator<Item = Problem> {
    let keys = ["context", "hostname", "root"].into_iter().filter(|key| document.has(key));
    keys.map(|key| {
        let text = format!("'{key}' can't be the same for all guests");
        Problem::new(key, text).at(document.span(key))
    })
}

fn mistaken(mistakes: Vec<Mistake>) -> Error {
    let shown: Vec<_> = mistakes.into_iter().map(|mistake| mistake.shown).collect();
    Error::new(shown.join("\n"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A host with these configuration files.
    pub(in crate::config) fn host(
        files: &[(&str, impl AsRef<[u8]>)],
    ) -> (tempfile::TempDir, Paths) {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::new(directory.path());
        fs::create_dir_all(paths.config_dir()).unwrap();
        for (file, text) in files {
            fs::write(paths.config_dir().join(file), text).unwrap();
        }
        (directory, paths)
    }

    fn guest(name: &str) -> GuestName {
        name.parse().unwrap()
    }

    #[test]
    fn backups_and_defaults_are_no_guests() {
        for file in ["defaults.toml", ".web.toml", "web.toml~", "#web.toml#", "web.toml.bak", "x"] {
            assert_eq!(guest_of_file(file), None, "{file}");
        }
        assert_eq!(guest_of_file("web.toml"), "web".parse().ok());
    }

    #[test]
    fn the_sites_defaults_lie_below() {
        let (_directory, paths) =
            host(&[("web.toml", "context = 7\n"), ("defaults.toml", "boot.rc = \"direct\"\n")]);
        let config = load(&paths, &guest("web")).unwrap();
        assert_eq!(config.boot.rc, shared::message::RcMode::Direct);
        assert_eq!(load(&paths, &guest("db")).unwrap_err().kind(), Kind::NoSuchGuest);
    }

    #[test]
    fn defaults_of_one_guests_keys_are_refused() {
        let (_directory, paths) =
            host(&[("web.toml", "x = 1\n"), ("defaults.toml", "context = 7")]);
        let error = load(&paths, &guest("web")).unwrap_err().to_string();
        assert!(error.contains("defaults.toml:1:11: 'context' can't be the same"), "{error}");
        assert!(error.contains("web.toml:1:1: there is no key 'x'"), "{error}");
    }

    #[test]
    fn a_change_takes_no_guest_its_context_and_shows_mistakes_where_they_stand() {
        let (_directory, paths) = host(&[("a.toml", "context = 7\n")]);
        let judged = |before, after| judge_change(&paths, &guest("a"), before, after);
        let error = judged("context = 7\n", "#context = 7\n").unwrap_err().to_string();
        assert!(error.contains("its own is 7"), "{error}");
        judged("", "hostname = \"a\"\n").unwrap();
        let error = judged("x = 1\n", "context = 7\nx = 1\n").unwrap_err();
        assert!(error.to_string().contains("a.toml:1:1"), "{error}");
        assert!(error.remedy().unwrap().ends_with("vserver config edit a"));
        judged("x = 1\n", "context = 7\n").unwrap();
        // One that is mended is shown no more, but what has come.
        let error = judged("x = 1\ny = 1\n", "y = 1\n").unwrap_err().to_string();
        assert!(error.contains("a.toml:2:1") && !error.contains("'x'"), "{error}");
        let error = judged("x = 1\n", "#\n#\nz = 1\n").unwrap_err().to_string();
        assert!(error.contains("a.toml:3:1") && !error.contains("'x'"), "{error}");
        let edited = |before, after| judge_edited(&paths, &guest("a"), before, after);
        let error = edited("x = 1\n", "#\nx = 1\n").unwrap_err().to_string();
        assert!(error.contains("a.toml:2:1"), "{error}");
        assert!(edited("context = 7\n", "#\n").unwrap_err().to_string().contains("own is 7"));
    }

    #[test]
    fn what_is_in_effect_names_how_a_guest_is_joined() {
        let (_directory, paths) = host(&[("a.toml", "context = 7\n")]);
        let mode = effective(&paths, &guest("a")).unwrap().network.mode;
        assert!(mode.is_some());
    }

    #[test]
    fn a_new_file_never_replaces_one() {
        let (_directory, paths) = host(&[("web.toml~", "")]);
        let config = GuestConfig { context: 9.try_into().ok(), ..Default::default() };
        write_new(&paths, &guest("web"), &config).unwrap();
        assert!(write_new(&paths, &guest("web"), &config).is_err());
        assert_eq!(load(&paths, &guest("web")).unwrap(), config);
    }

    #[test]
    fn a_wrong_text_changes_nothing() {
        let (_directory, paths) = host(&[("web.toml", "context = 7\n")]);
        assert!(set_text(&paths, &guest("web"), "context = 1\n").is_err());
        assert_eq!(text(&paths, &guest("web")).unwrap(), "context = 7\n");
    }
}

//! `vserver config import`: a guest's configuration out of another manager's.

use std::path::{Path, PathBuf};

use shared::name::{ContextId, GuestName};

use crate::cli::{self, ConfigImportArgs};
use crate::commands::{Exit, generate, output};
use crate::config::{self, template};
use crate::config_import::source::{self, Source};
use crate::config_import::{Import, Outcome, import};
use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::ids;
use crate::paths::Paths;
use crate::report::config_import::{Made, imported, imported_json};

/// Translates, writes, and shows what became of each setting.
pub(super) fn run(args: &ConfigImportArgs, paths: &Paths) -> Result<Exit> {
    let source = source::read(&args.path, args.from.format())?;
    let mut import = import(source.format, &source.files);
    let name = name(args, &source, &import)?;
    let path = paths.config(&name);
    if path.symlink_metadata().is_ok() {
        return Err(Error::new(format!("guest '{name}' exists: there is '{}'", path.display()))
            .hint("'--name NAME' gives it another name"));
    }
    let place = place(args, &source, &import, paths, &name)?;
    import.config.root = args.root.as_ref().map(|_| place.directory.clone());
    if args.dry_run {
        let given = dry_context(paths, &import)?;
        number(&mut import, given);
        config::judge_text(paths, &name, &template::render(&import.config)?)?;
    } else {
        write(paths, &name, &mut import)?;
    }
    let text = template::render(&import.config)?;
    let written = (!args.dry_run).then(|| path.display().to_string());
    let next = place.next(&name);
    let source = source.path.display().to_string();
    let name = name.as_str();
    let in_place = place.is_in_place.then(|| place.directory.display().to_string());
    let made = Made {
        import: &import,
        name,
        source: &source,
        written,
        in_place,
        text: &text,
        next: &next,
    };
    show(args, &made)?;
    Ok(if import.is_whole() { Exit::DONE } else { Exit::INCOMPLETE })
}

fn show(args: &ConfigImportArgs, made: &Made<'_>) -> Result<()> {
    match (args.json, &made.written) {
        (true, _) => output::print(&imported_json(made)),
        (false, None) => {
            output::remark(imported(made).trim_end());
            output::print(made.text)
        }
        (false, Some(path)) => output::print(&format!(
            "{}\nguest '{}' is configured in '{path}'{}\nnext: {}\n",
            imported(made),
            made.name,
            made.in_place
                .as_ref()
                .map(|root| format!(", and its files are '{root}'"))
                .unwrap_or_default(),
            made.next
        )),
    }
}

/// What was asked for, or what its manager called it.
fn name(args: &ConfigImportArgs, source: &Source, import: &Import) -> Result<GuestName> {
    if let Some(name) = &args.name {
        return Ok(name.clone());
    }
    let told = import.name.as_deref().or_else(|| source.name()).unwrap_or_default();
    cli::guest_name(told).map_err(|why| {
        Error::usage(format!("the guest can't be called '{}': {why}", told.escape_debug()))
            .hint("'--name NAME' gives it another name")
    })
}

/// Where the guest's files are, or where they will come from.
struct Place {
    directory: PathBuf,
    is_in_place: bool,
}

impl Place {
    fn next(&self, name: &GuestName) -> String {
        match self.is_in_place {
            true => format!("vserver start {name}"),
            false => format!(
                "vserver build {name} --method directory --from {}",
                quoted(&self.directory)
            ),
        }
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

fn place(
    args: &ConfigImportArgs,
    source: &Source,
    import: &Import,
    paths: &Paths,
    name: &GuestName,
) -> Result<Place> {
    if let Some(root) = &args.root {
        let directory =
            std::path::absolute(root).map_err(|cause| Error::path("find", root, cause))?;
        usable(&directory)?;
        return Ok(Place { directory, is_in_place: true });
    }
    let usual = paths.root(name);
    let named = import.root.as_ref().map(PathBuf::from).or_else(|| source.root());
    let is_usual = named.as_ref().is_some_and(|named| *named == usual);
    if is_usual && usual.is_dir() {
        usable(&usual)?;
        return Ok(Place { directory: usual, is_in_place: true });
    }
    if usual.symlink_metadata().is_ok() {
        return Err(Error::new(format!("there is '{}' already", usual.display())).hint(
            "'--root DIR' uses a guest's files where they are, '--name NAME' gives it another name",
        ));
    }
    Ok(Place { directory: named.unwrap_or_else(|| PathBuf::from("DIR")), is_in_place: false })
}

/// # Errors
/// When there is no directory, or its files aren't as a guest has them.
fn usable(directory: &Path) -> Result<()> {
    let root = RootDir::open(directory)?;
    let stat =
        rustix::fs::fstat(&root).map_err(|cause| Error::path("examine", directory, cause))?;
    if stat.st_uid == 0 && root.is_dir("etc") {
        return Ok(());
    }
    let name = directory.display();
    Err(match stat.st_uid {
        0 => Error::new(format!("'{name}' holds no system: it has no directory 'etc'"))
            .hint("'--root' is the directory in which a guest sees its own '/'"),
        owner => Error::new(format!("'{name}' belongs to the user {owner}, not to root"))
            .hint("without '--root' its files are copied, and get their own owners"),
    })
}

/// Gives the guest its numbers, and writes its configuration; whatever fails,
/// neither is left.
fn write(paths: &Paths, name: &GuestName, import: &mut Import) -> Result<()> {
    let is_new = ids::lookup(paths, name)?.is_none();
    let wanted = import.config.context;
    let holder = match wanted {
        Some(wanted) => ids::holder(paths, wanted)?.filter(|holder| holder != name),
        None => None,
    };
    let allocation = ids::allocate(paths, name, wanted.filter(|_| holder.is_none()))?;
    number(import, Some((allocation.context, holder)));
    config::write_new(paths, name, &import.config).inspect_err(|_| {
        // The first error counts.
        if is_new {
            let _ = ids::release(paths, name);
        }
    })?;
    generate::tell(paths);
    Ok(())
}

/// The context that it keeps, as nothing is given out by a dry run.
fn dry_context(paths: &Paths, import: &Import) -> Result<Option<(ContextId, Option<GuestName>)>> {
    let Some(wanted) = import.config.context else { return Ok(None) };
    let holder = ids::holder(paths, wanted)?;
    Ok(holder.is_none().then_some((wanted, None)))
}

/// Writes its context into the configuration, and why it is another one to
/// what became of the old one; none is chosen yet in a dry run.
fn number(import: &mut Import, given: Option<(ContextId, Option<GuestName>)>) {
    import.config.context = given.as_ref().map(|(context, _)| *context);
    for (_, outcome) in &mut import.settings {
        let Outcome::Ours { parts, remark } = outcome else { continue };
        let Some(part) = parts.iter_mut().find(|part| part.key == "context") else { continue };
        match &given {
            Some((context, holder)) => {
                part.value = i64::from(context.get()).into();
                if let Some(holder) = holder {
                    *remark = format!("the other one is guest '{holder}''s");
                }
            }
            None => {
                *outcome = Outcome::Fine("another guest has it: a free one is chosen".to_owned());
            }
        }
    }
}

//! `vserver build`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use shared::name::GuestName;

use crate::build::{self, Access, Distribution, Installer, Request, Settings, Site};
use crate::cli::{self, BuildArgs, CloneArgs, Method};
use crate::commands::provision::Provision;
use crate::commands::{
    Exit, based, belongings, clone, delete, generate, old_build, output, rename, turn,
};
use crate::config::{self, Boot, Change, GuestConfig, Network, Place, Storage, edit};
use crate::control::at_rest::{self, AtRest};
use crate::error::{Error, Result};
use crate::ids;
use crate::interrupt::Interrupt;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::runtime::Lock;
use crate::store;

/// The options in the file of the site's: one a line, as on the command line,
/// with its value behind a blank or '='; '#' begins a comment. The words of each.
///
/// # Errors
/// When the file is there and can't be read, or holds something else.
pub fn options_of_build(paths: &Paths) -> Result<Vec<Vec<OsString>>> {
    let path = paths.build_options();
    let text = match store::open(&path).and_then(std::io::read_to_string) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|cause| Error::path("read", &path, cause))?,
    };
    let place = |number| format!("line {number} of '{}'", path.display());
    let lines = options(&text).map_err(|number| {
        Error::usage(format!("{} is no option", place(number)))
            .hint("a line is written like '--suite trixie'")
    })?;
    for (number, words) in &lines {
        if let Some(mistake) = cli::mistake_in_option(words) {
            return Err(Error::usage(format!("{}: {mistake}", place(*number))));
        }
    }
    Ok(lines.into_iter().map(|(_, words)| words).collect())
}

/// The lines of such a file, each with its number and words, or the number of one that
/// makes no sense.
fn options(text: &str) -> std::result::Result<Vec<(usize, Vec<OsString>)>, usize> {
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (option, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        if !option.starts_with('-') || option.trim_start_matches('-').is_empty() {
            return Err(number);
        }
        let value = Some(value.trim_start()).filter(|value| !value.is_empty());
        lines.push((number, [option].into_iter().chain(value).map(OsString::from).collect()));
    }
    Ok(lines)
}

/// Makes the guest's root and its configuration.
pub(super) fn run(args: &BuildArgs, paths: &Paths) -> Result<Exit> {
    if args.method == Method::Clone {
        return clone::run(&clone_args(args)?, paths);
    }
    let old = old_build::configuration(args)?;
    let provision = Provision::new(args)?;
    let waiting = waiting(args, paths, &provision)?;
    let request = request(args, &provision, waiting.as_ref())?;
    // Before anything is made of it.
    rename::refuse_unfinished(paths, &args.name)?;
    build::refuse(&request.site, paths)?;
    if let Some(context) = args.context {
        ids::check(paths, &args.name, context)?;
    }
    if args.dry_run {
        // Else it is found out as soon as it is needed.
        build::check(&request.method)?;
        output::print(&format!(
            "guest '{}' would be built by method '{}' in '{}'\n",
            args.name,
            args.method,
            request.site.target(paths).display()
        ))?;
        return Ok(Exit::DONE);
    }
    // Who is interrupted while it waits for others just ends.
    let mut held = Some(hold(&request.site, paths)?);
    let interrupt =
        Interrupt::watch().map_err(|cause| Error::os("cannot watch for signals", cause))?;
    let mut noted = None;
    let built = build::build(&request, paths, &interrupt, Progress::on_terminal(), |settings| {
        if let Some(config) = &waiting {
            noted = complete(&args.name, config, &request.site.store.storage(), paths)?;
            return Ok(());
        }
        register(args, old, settings, paths, || {
            // What goes on inside starts the guest's context.
            held = None;
            let place = Place::new(request.site.target(paths), &request.site.store.storage());
            provision.run(paths, &args.name, &place, &interrupt)
        })
    });
    if let Some(noted) = noted.filter(|_| built.is_err()) {
        // The first error counts.
        let _ = noted.undo(paths, &args.name);
    }
    let lock = paths.lock(&args.name);
    if built.is_err() && !paths.config(&args.name).exists() {
        let own = held.take().map(|(lock, _)| lock);
        if let Some(own) = own.or_else(|| Lock::try_now(&lock).ok().flatten()) {
            own.remove(&lock);
        }
    }
    drop(held);
    let report = built?;
    generate::tell(paths);
    for remark in &report.remarks {
        output::remark(remark);
    }
    output::print(&format!(
        "guest '{name}' is built in '{root}' from {summary}\nnext: vserver start {name}\n",
        name = args.name,
        root = report.root.display(),
        summary = report.summary,
    ))?;
    Ok(Exit::DONE)
}

/// Has other commands that are at work with a guest of this name wait, and finds one
/// that is to be set aside down, with nothing that others need.
///
/// # Errors
/// When it runs, has snapshots, or other guests lie over it.
fn hold(site: &Site, paths: &Paths) -> Result<(Lock, Option<AtRest>)> {
    let name = &site.name;
    let what = || format!("cannot set guest '{name}' aside");
    if site.sets_aside() {
        // Its last script may want a turn of its own.
        at_rest::check(paths, name).map_err(|error| error.context(what()))?;
    }
    let lock = turn::wait(paths, name)?;
    let target = site.target(paths);
    let is_there =
        [&target, &paths.config(name)].iter().any(|path| path.symlink_metadata().is_ok());
    if !site.sets_aside() || !is_there {
        return Ok((lock, None));
    }
    let at_rest = at_rest::keep(paths, name).map_err(|error| error.context(what()))?;
    // Where its configuration says that its files are, and where the new ones come.
    let theirs = config::load(paths, name).ok().map(|config| config.root(paths, name));
    if !target.is_symlink() {
        // A mount point can't be renamed.
        build::real_root(&target, what)?;
    }
    let roots: BTreeSet<_> = theirs.into_iter().chain([target]).collect();
    let mut has_snapshots = false;
    for root in &roots {
        based::refuse_for_others(paths, name, root, what)?;
        has_snapshots |= !delete::snapshots(name, root).list()?.is_empty();
    }
    if has_snapshots {
        return Err(Error::new(format!("{}: it has snapshots", what())).hint(format!(
            "'vserver rename {name} OTHER' keeps it with them; \
             'vserver snapshot list {name}' shows them"
        )));
    }
    Ok((lock, Some(at_rest)))
}

/// The same in the words of `vserver clone`.
///
/// # Errors
/// When something is asked for that a clone doesn't do, or the guest's name is none.
fn clone_args(args: &BuildArgs) -> Result<CloneArgs> {
    let behind = (!args.options.is_empty()).then_some("-- OPTION".to_owned());
    if let Some(option) = without_use(args).map(|(_, shown)| shown).or(behind) {
        return Err(Error::usage(format!("method 'clone' takes no '{option}'")).hint(
            "what the copy is to have more, it gets afterwards: vserver exec NEW, vserver cp",
        ));
    }
    // Refuses what has no counterpart.
    old_build::configuration(args)?;
    let from = one_from(args)?;
    let source = from.to_str().and_then(|name| name.parse().ok()).ok_or_else(|| {
        Error::usage(format!("'{}' is no guest's name", from.display()))
            .hint("a directory is copied by --method directory --from DIR")
    })?;
    let addresses = args.address.iter().chain(&args.interface);
    Ok(CloneArgs {
        source,
        name: args.name.clone(),
        context: args.context,
        hostname: args.hostname.clone(),
        address: addresses.map(ToString::to_string).collect(),
        root: root(args),
        snapshot: None,
        store: args.store.clone(),
        dry_run: args.dry_run,
    })
}

/// The configuration of a guest that has one already and waits for its files,
/// which come from where it was: `config import` has written it.
///
/// # Errors
/// When it is wrong, or an option says what the configuration does.
fn waiting(args: &BuildArgs, paths: &Paths, provision: &Provision) -> Result<Option<GuestConfig>> {
    let comes_over = matches!(args.method, Method::Directory | Method::Rsync | Method::Template);
    let name = &args.name;
    if args.force || !comes_over || !paths.config(name).exists() {
        return Ok(None);
    }
    let config = config::load(paths, name)?;
    if config.root(paths, name).symlink_metadata().is_ok() {
        return Ok(None);
    }
    let says = [
        ("--context", args.context.is_some()),
        ("--hostname", args.hostname.is_some()),
        ("--root", args.root.is_some()),
        ("--rootdir", args.old.rootdir.is_some()),
        ("--address", !args.address.is_empty()),
        ("--interface", !args.interface.is_empty()),
        ("--packages", !args.packages.is_empty()),
        ("--run-script", !provision.is_empty()),
        (args.old.said().first().map_or("", |said| said.option), !args.old.said().is_empty()),
    ];
    match says.iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => Err(Error::usage(format!(
            "guest '{name}' has a configuration, and '{option}' goes with a new one"
        ))
        .hint(format!("'vserver config set {name}' changes it; 'vserver exec' works inside"))),
        None => Ok(Some(config)),
    }
}

/// Gives its numbers to a guest that has waited for its files, if it was written
/// by hand, and notes as what they will lie there.
fn complete(
    name: &GuestName,
    config: &GuestConfig,
    storage: &Storage,
    paths: &Paths,
) -> Result<Option<Change>> {
    const KEY: &str = "storage.kind";
    ids::allocate(paths, name, config.context)?;
    if *storage == config.storage {
        return Ok(None);
    }
    config::change(paths, name, |text| {
        edit::set(text, KEY, &[storage.kind.name().to_owned()])
            .map_err(|problems| super::config::refused(KEY, &problems))
    })
    .map(Some)
}

fn request(
    args: &BuildArgs,
    provision: &Provision,
    waiting: Option<&GuestConfig>,
) -> Result<Request> {
    refuse_options(args)?;
    let method = match args.method {
        Method::Copy => build::Method::Copy { include: args.packages.clone() },
        Method::Debootstrap => build::Method::Debootstrap(distribution(args)?),
        Method::Dnf => build::Method::Install(Installer::Dnf, distribution(args)?),
        Method::Rpm if args.from.is_empty() => {
            return Err(Error::usage("method 'rpm' needs '--from FILE', a package or a manifest"));
        }
        Method::Rpm => build::Method::Install(Installer::Rpm, distribution(args)?),
        Method::Pacstrap => build::Method::Install(Installer::Pacstrap, distribution(args)?),
        Method::Apk => build::Method::Install(Installer::Apk, distribution(args)?),
        Method::Rsync => {
            build::Method::Rsync { from: one_from(args)?, options: args.options.clone() }
        }
        Method::Template => build::Method::Template { from: args.from.clone(), shift: args.shift },
        Method::Directory => build::Method::Directory { from: one_from(args)?, shift: args.shift },
        Method::Oci => build::Method::Oci { from: one_from(args)? },
        Method::Skeleton => build::Method::Skeleton,
        Method::AptRpm | Method::Fai | Method::Poldek | Method::Urpmi | Method::Clone => {
            return Err(Error::usage(format!("there is no method '{}'", args.method)).hint(
                "let the tool make a root directory, and take that: --method directory --from DIR",
            ));
        }
    };
    let (name, is_configured) = (args.name.clone(), waiting.is_some());
    let (hostname, root) = match waiting {
        Some(config) => (config.hostname.clone(), config.root.clone()),
        None => (args.hostname.clone(), root(args)),
    };
    let (force, goes_on_inside) = (Some(args.force), !provision.is_empty());
    let access = access(args)?;
    let store = args.store.of_build()?;
    let keep = args.keep;
    let site =
        Site { name, hostname, root, force, keep, store, access, goes_on_inside, is_configured };
    Ok(Request { site, method })
}

/// An option that means nothing to the method: its field's name, and how it is written.
fn without_use(args: &BuildArgs) -> Option<(&'static str, String)> {
    let option = args.given().find(|option| !args.method.has_use_for(option))?;
    Some((option, format!("--{}", option.replace('_', "-"))))
}

/// What stands behind `--` is for a tool.
///
/// # Errors
/// When the method has none, or no use for an option.
fn refuse_options(args: &BuildArgs) -> Result<()> {
    use Method::{Copy, Directory, Oci, Skeleton, Template};
    if let Some((option, shown)) = without_use(args) {
        let methods: Vec<_> =
            Method::with_use_for(option).map(|method| method.to_string()).collect();
        let text = format!("method '{}' takes no '{shown}'", args.method);
        let hint = format!("it goes with --method {}", methods.join(", "));
        return Err(Error::usage(text).hint(hint));
    }
    let has_no_tool = matches!(args.method, Copy | Directory | Oci | Skeleton | Template);
    let Some(option) = args.options.first().filter(|_| has_no_tool) else { return Ok(()) };
    let option = option.to_string_lossy();
    let text = format!("method '{}' takes no '{}' behind '--'", args.method, option.escape_debug());
    Err(Error::usage(text).hint("what stands there is for a method's tool, and it has none"))
}

/// The root that was asked for, in today's words or in util-vserver's.
fn root(args: &BuildArgs) -> Option<PathBuf> {
    let below = |directory: &PathBuf| directory.join(args.name.as_str());
    args.root.clone().or_else(|| args.old.rootdir.as_ref().map(below))
}

fn distribution(args: &BuildArgs) -> Result<Distribution> {
    // The tools work in other directories, or are given it as a URL.
    let keyring = args
        .keyring
        .as_ref()
        .map(|path| std::path::absolute(path).map_err(|cause| Error::path("find", path, cause)));
    Ok(Distribution {
        suite: args.suite.clone(),
        mirror: args.mirror.clone(),
        components: args.components.clone(),
        variant: args.variant.clone(),
        keyring: keyring.transpose()?,
        include: args.packages.clone(),
        files: if args.method == Method::Rpm { args.from.clone() } else { Vec::new() },
        options: args.options.clone(),
    })
}

fn one_from(args: &BuildArgs) -> Result<PathBuf> {
    match args.from.as_slice() {
        [from] => Ok(from.clone()),
        _ => Err(Error::usage(format!("method '{}' needs one '--from PATH'", args.method))),
    }
}

/// The password and the keys that were given.
fn access(args: &BuildArgs) -> Result<Access> {
    let text = |path: &Path| {
        std::fs::read_to_string(path).map_err(|cause| Error::path("read", path, cause))
    };
    let mut access = Access::default();
    if let Some(path) = &args.root_password_file {
        // The first line, as of chpasswd(8)'s input.
        access = access.password(text(path)?.lines().next().unwrap_or_default())?;
    }
    if let Some(password) = &args.root_password {
        access = access.password(password)?;
    }
    for path in &args.ssh_key {
        let added = access.key(&text(path)?);
        access = added.map_err(|error| error.context(format_args!("'{}'", path.display())))?;
    }
    Ok(access)
}

/// Gives the guest its numbers, writes its configuration, and has `finish` do
/// the rest. Whatever fails, all of it is undone.
fn register(
    args: &BuildArgs,
    old: GuestConfig,
    settings: &Settings,
    paths: &Paths,
    finish: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let name = &args.name;
    // One that was set aside has its own.
    let is_new = ids::lookup(paths, name)?.is_none();
    let allocation = ids::allocate(paths, name, args.context)?;
    let Settings { environment, command } = settings.clone();
    let boot = Boot { environment, command, ..old.boot };
    let addresses = args.address.iter().chain(&args.interface).copied().collect();
    let network = Network { addresses, ..old.network };
    let config = GuestConfig {
        boot,
        network,
        context: Some(allocation.context),
        hostname: args.hostname.clone(),
        root: root(args),
        storage: args.store.of_build()?.storage(),
        ..old
    };
    // The first error counts.
    let free = |_: &Error| {
        if is_new {
            let _ = ids::release(paths, name);
        }
    };
    config::write_new(paths, name, &config).inspect_err(free)?;
    finish().inspect_err(free).inspect_err(|_| {
        let made = if is_new { belongings::files(paths, name) } else { vec![paths.config(name)] };
        // Actions were laid ready by somebody else.
        for file in made.into_iter().filter(|file| *file != paths.actions(name)) {
            let _ = std::fs::remove_file(file);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stand_on_lines_as_on_the_command_line() {
        let text = "# ours\n\n--suite trixie\n  --mirror=http://m/debian\n-m debootstrap\n\
            --root-password-file /etc/my secret\n--force\n";
        let lines = [
            (3, &["--suite", "trixie"][..]),
            (4, &["--mirror=http://m/debian"]),
            (5, &["-m", "debootstrap"]),
            (6, &["--root-password-file", "/etc/my secret"]),
            (7, &["--force"]),
        ];
        let lines = lines.map(|(at, words)| (at, words.iter().map(OsString::from).collect()));
        assert_eq!(options(text).unwrap(), lines);
        for (text, line) in [("web", 1), ("--force\n--\n", 2), ("\n\n- x", 3)] {
            assert_eq!(options(text), Err(line), "{text:?}");
        }
    }
}

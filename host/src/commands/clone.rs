//! `vserver clone`: a new guest that is a copy of another one.

use shared::name::GuestName;

use crate::build::{self, Access, Method, Request, Site, Store};
use crate::cli::CloneArgs;
use crate::commands::belongings::{Claim, New};
use crate::commands::{Exit, belongings, generate, output, rename, select, snapshot, turn};
use crate::config::{self, GuestConfig, Storage, StorageKind, edit};
use crate::control::at_rest;
use crate::error::{Error, Result};
use crate::ids;
use crate::interrupt::Interrupt;
use crate::paths::Paths;
use crate::progress::Progress;

/// Keys that only one guest can have, and that it is started with the host: nobody has
/// said that of the copy.
pub(super) const OWN: [&str; 7] = [
    "context",
    "hostname",
    "root",
    "network.addresses",
    "storage.kind",
    "storage.base",
    "autostart",
];

/// Copies a guest's root, and writes the new one's configuration.
pub(super) fn run(args: &CloneArgs, paths: &Paths) -> Result<Exit> {
    let (source, name) = (&args.source, &args.name);
    if source == name {
        return Err(Error::usage(format!("guest '{name}' can't be a copy of itself"))
            .hint(format!("give the copy another name: vserver clone {source} NEW")));
    }
    // No lock is made for a guest that isn't there.
    config::load(paths, source)?;
    rename::refuse_unfinished(paths, name)?;
    let wait = || Ok(());
    if args.snapshot.is_none() {
        // Its last script may want a turn of its own.
        at_rest::check(paths, source)?;
    }
    // While this is held, nobody starts it. Always in this order, or two of us could wait
    // for each other.
    let early = if name < source { Some(Claim::take(paths, name, wait)?) } else { None };
    let _lock = turn::wait(paths, source)?;
    let _claim = match early {
        Some(claim) => claim,
        None => Claim::take(paths, name, wait)?,
    };
    let theirs = config::load(paths, source)?;
    let (from, _at_rest) = match &args.snapshot {
        Some(snapshot) => (snapshot::of(paths, source)?.files(snapshot)?, None),
        None => {
            let at_rest = at_rest::keep(paths, source)?;
            (theirs.place(paths, source), Some(at_rest))
        }
    };
    let (store, is_copied) = args.store.of_clone(&from, args.snapshot.is_some())?;
    let text = text(args, &store, &config::text(paths, source)?)?;
    let actions = belongings::actions(paths, source)?;
    let actions = actions.as_ref().map(|(bytes, mode)| (bytes.as_slice(), *mode));
    let request = Request {
        site: Site {
            name: args.name.clone(),
            hostname: args.hostname.clone(),
            root: args.root.clone(),
            force: None,
            keep: false,
            store,
            access: Access::default(),
            goes_on_inside: false,
            is_configured: false,
        },
        method: Method::Clone {
            source: source.clone(),
            files: is_copied.then_some(from),
            hostname: theirs.hostname(source).to_owned(),
        },
    };
    build::refuse(&request.site, paths)?;
    config::judge_text(paths, name, &text)?;
    if let Some(context) = args.context {
        ids::check(paths, name, context)?;
    }
    belongings::refuse_others_actions(paths, name, actions)?;
    if args.dry_run {
        let target = request.site.target(paths);
        output::print(&format!(
            "guest '{}' would be a copy of '{source}' in '{}'\n",
            args.name,
            target.display()
        ))?;
        return Ok(Exit::DONE);
    }
    let interrupt =
        Interrupt::watch().map_err(|cause| Error::os("cannot watch for signals", cause))?;
    let report = build::build(&request, paths, &interrupt, Progress::on_terminal(), |_| {
        let allocate = || ids::allocate(paths, name, args.context);
        New { text: &text, actions }.register(paths, name, allocate).map(drop)
    })?;
    generate::tell(paths);
    report.remarks.iter().for_each(output::remark);
    remark_on(args, &theirs, paths);
    output::print(&format!(
        "guest '{}' is built in '{}' from {}\nnext: vserver start {}\n",
        args.name,
        report.root.display(),
        report.summary,
        args.name
    ))?;
    Ok(Exit::DONE)
}

/// The other guest's configuration without what is its own.
fn text(args: &CloneArgs, store: &Store, theirs: &str) -> Result<String> {
    let mut text = theirs.to_owned();
    for key in OWN {
        text = edit::unset(&text, key).map_err(|found| super::config::refused(key, &found))?;
    }
    if store.is_new_image() {
        // Its '--size' is its limit; the other one's would lengthen it, or keep
        // it from starting.
        let key = "limits.disk";
        text = edit::unset(&text, key).map_err(|found| super::config::refused(key, &found))?;
    }
    let root = args.root.as_ref().map(|root| root.to_string_lossy().into_owned());
    let hostname = args.hostname.clone();
    for (key, values) in [
        ("hostname", hostname.into_iter().collect::<Vec<_>>()),
        ("root", root.into_iter().collect()),
        ("network.addresses", args.address.clone()),
    ] {
        if !values.is_empty() {
            text = set(&text, key, &values)?;
        }
    }
    stored(&text, &store.storage())
}

/// A configuration that says so of a guest's files, and said nothing yet.
pub(super) fn stored(text: &str, storage: &Storage) -> Result<String> {
    let kind = Some(storage.kind).filter(|kind| *kind != StorageKind::default());
    let base = match &storage.base {
        Some(base) => Some(base.to_str().map(str::to_owned).ok_or_else(|| {
            Error::usage(format!("a configuration can't name '{}': it is no UTF-8", base.display()))
        })?),
        None => None,
    };
    let mut text = text.to_owned();
    for (key, value) in
        [("storage.kind", kind.map(|kind| kind.name().to_owned())), ("storage.base", base)]
    {
        if let Some(value) = value {
            text = set(&text, key, &[value])?;
        }
    }
    Ok(text)
}

fn set(text: &str, key: &str, values: &[String]) -> Result<String> {
    edit::set(text, key, values).map_err(|found| super::config::refused(key, &found))
}

/// Says what the two guests have in common, or what the new one lacks.
fn remark_on(args: &CloneArgs, theirs: &GuestConfig, paths: &Paths) {
    let (source, name) = (&args.source, &args.name);
    if args.address.is_empty() && !theirs.network.addresses.is_empty() {
        output::remark(format_args!(
            "it has no address yet: 'vserver config set {name} network.addresses IP'"
        ));
    }
    let is_started = |name, config: &GuestConfig| select::is_enabled(paths, name, config);
    let ours = config::load(paths, name);
    if is_started(source, theirs) && ours.is_ok_and(|ours| !is_started(name, &ours)) {
        output::remark(not_started(name));
    }
    let actions = paths.actions(name);
    if actions.exists() {
        let actions = actions.display();
        output::remark(format_args!("its actions are those of '{source}', in '{actions}'"));
    }
}

/// That a copy isn't started with the host, as the other one is.
pub(super) fn not_started(name: &GuestName) -> String {
    format!("it isn't started with this host: 'vserver enable {name}' has it so")
}

//! `vserver import`: a guest out of an archive of `vserver export`.

use shared::name::GuestName;

use crate::archive::Head;
use crate::build::{self, Access, Incoming, Site, Store};
use crate::cli::ImportArgs;
use crate::commands::belongings::New;
use crate::commands::{Exit, clone, output};
use crate::config::{self, Devices, GuestConfig, Security, edit};
use crate::error::{Error, Result};
use crate::ids::{self, Allocation};
use crate::interrupt::Interrupt;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::storage;

/// What it says to `move` when the files of a guest that still runs have come.
/// Other versions wait for these words, too.
pub(super) const FIRST_PART: &str = "the files have come, but for what changes";

/// Makes a guest of what the archive holds.
pub(super) fn run(args: &ImportArgs, paths: &Paths) -> Result<Exit> {
    let interrupt =
        Interrupt::watch().map_err(|cause| Error::os("cannot watch for signals", cause))?;
    let incoming = Incoming::open(&args.file, &interrupt)?
        .tell_first_part(|| output::print(&format!("{FIRST_PART}\n")));
    let head = incoming.head().clone();
    let name = args.name.as_ref().unwrap_or(&head.manifest.name);
    let store = args.store.of_build()?;
    let text = text(args, &store, &head.config)?;
    let config = config::judge_text(paths, name, &text).map_err(|error| {
        error.context(format_args!("the archive's configuration doesn't suit this host"))
    })?;
    let site = Site {
        name: name.clone(),
        hostname: config.hostname.clone(),
        root: args.root.clone(),
        force: false,
        keep: false,
        store,
        access: Access::default(),
        goes_on_inside: false,
        is_configured: false,
    };
    // Better now than when all has come.
    if matches!(site.store, Store::Directory)
        && config.limits.disk.is_some()
        && config.limits.required
        && let Some(parent) = site.target(paths).parent()
    {
        storage::can_limit(parent).map_err(|error| {
            error.context(format_args!("guest '{name}' couldn't start here")).hint(
                "lay it in an image here: --storage image --size SIZE; or mount ext4 or xfs with \
                 the option prjquota (ext4 needs the features quota and project)",
            )
        })?;
    }
    if let Some(context) = args.context {
        ids::check(paths, name, context)?;
    }
    if args.dry_run {
        build::refuse(&site, paths)?;
        output::print(&format!(
            "guest '{name}' would be made of guest '{}' in '{}'\n",
            head.manifest.name,
            site.target(paths).display()
        ))?;
        return Ok(Exit::DONE);
    }
    let mut context = None;
    let progress = Progress::on_terminal();
    let report =
        build::import(&site, incoming, args.new_identity, paths, &interrupt, progress, || {
            let allocation = allocate(args, name, &head, paths)?;
            context = Some(allocation.context);
            let actions = head.actions.as_ref().filter(|_| args.actions);
            let actions = actions.map(|(bytes, mode)| (bytes.as_slice(), *mode));
            New { text: &text, actions }.register(paths, name, allocation.context)
        })?;
    report.remarks.iter().for_each(output::remark);
    if let Some((context, old)) = context.zip(head.manifest.context)
        && context != old
    {
        output::remark(format_args!("its context is {context}, and no longer {old}"));
    }
    remark_on(args, name, &head, &config);
    output::print(&format!(
        "guest '{name}' is built in '{}' from {}\nnext: vserver start {name}\n",
        report.root.display(),
        report.summary
    ))?;
    Ok(Exit::DONE)
}

/// Keys that say where the guest was.
const PLACE: [&str; 4] = ["context", "root", "storage.kind", "storage.base"];

/// The configuration without what belongs to the place where it was.
fn text(args: &ImportArgs, store: &Store, theirs: &str) -> Result<String> {
    let refused = |key| move |found: Vec<_>| super::config::refused(key, &found);
    let mut text = theirs.to_owned();
    for key in if args.new_identity { clone::OWN.as_slice() } else { &PLACE } {
        text = edit::unset(&text, key).map_err(refused(key))?;
    }
    let root = args.root.as_ref().map(|root| root.to_string_lossy().into_owned());
    for (key, values) in [
        ("hostname", args.hostname.iter().cloned().collect::<Vec<_>>()),
        ("root", root.into_iter().collect()),
        ("network.addresses", args.address.clone()),
    ] {
        if !values.is_empty() {
            text = edit::set(&text, key, &values).map_err(refused(key))?;
        }
    }
    if store.is_new_image() {
        // Its '--size' is its limit.
        text = edit::unset(&text, "limits.disk").map_err(refused("limits.disk"))?;
    }
    clone::stored(&text, &store.storage())
}

/// The context that was asked for, or the one that it had, or a free one.
fn allocate(args: &ImportArgs, name: &GuestName, head: &Head, paths: &Paths) -> Result<Allocation> {
    let had = head.manifest.context.filter(|_| args.context.is_none() && !args.new_identity);
    if let Some(had) = had
        && let Ok(allocation) = ids::allocate(paths, name, Some(had))
    {
        return Ok(allocation);
    }
    ids::allocate(paths, name, args.context)
}

/// Says what may surprise on another host.
fn remark_on(args: &ImportArgs, name: &GuestName, head: &Head, config: &GuestConfig) {
    if head.actions.is_some() && !args.actions {
        output::remark(
            "its actions, which the host would run as root, are left out; \
             '--actions' takes them over",
        );
    }
    for bind in &config.mounts.bind {
        output::remark(format_args!("it sees this host's '{}'", bind.source.display()));
    }
    if config.security != Security::default() || config.devices != Devices::default() {
        output::remark(format_args!(
            "its configuration sets what its root may do: see 'vserver config show {name}'"
        ));
    }
}

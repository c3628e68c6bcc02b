//! `vserver import`: a guest out of an archive of `vserver export`.

use std::path::PathBuf;

use shared::name::GuestName;

use crate::archive::Head;
use crate::build::{self, Access, Incoming, Site, Store};
use crate::cli::ImportArgs;
use crate::commands::belongings::{Claim, New};
use crate::commands::{Exit, belongings, clone, generate, output, rename};
use crate::config::parse::Document;
use crate::config::{self, Credential, CredentialFile, Devices, GuestConfig};
use crate::config::{NetworkMode, Security, edit};
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
    let files = if args.actions { Vec::new() } else { files_of_host(&head.config) };
    let text = text(args, &store, &head.config, &files)?;
    let Judged { text, config, may_start } = judge(paths, name, text, args.actions)?;
    let site = Site {
        name: name.clone(),
        hostname: config.hostname.clone(),
        root: args.root.clone(),
        force: None,
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
    let actions = head.actions.as_ref().filter(|_| args.actions);
    let actions = actions.map(|(bytes, mode)| (bytes.as_slice(), *mode));
    rename::refuse_unfinished(paths, name)?;
    build::refuse(&site, paths)?;
    belongings::refuse_others_actions(paths, name, actions)?;
    if args.dry_run {
        output::print(&format!(
            "guest '{name}' would be made of guest '{}' in '{}'\n",
            head.manifest.name,
            site.target(paths).display()
        ))?;
        return Ok(Exit::DONE);
    }
    let _claim = Claim::take(paths, name, || interrupt.check())?;
    let mut context = None;
    let progress = Progress::on_terminal();
    let report =
        build::import(&site, incoming, args.new_identity, paths, &interrupt, progress, || {
            let allocate = || allocate(args, name, &head, paths);
            context = Some(New { text: &text, actions }.register(paths, name, allocate)?);
            Ok(())
        })?;
    generate::tell(paths);
    report.remarks.iter().for_each(output::remark);
    if let Some((context, old)) = context.zip(head.manifest.context)
        && context != old
    {
        output::remark(format_args!("its context is {context}, and no longer {old}"));
    }
    if head.actions.is_some() && !args.actions {
        output::remark(
            "its actions, which the host would run as root, are left out; \
             '--actions' takes them over",
        );
    }
    for (credential, file) in &files {
        output::remark(format_args!(
            "its credential '{credential}', which is '{}' of this host, is left out; \
             '--actions' takes it over",
            file.display()
        ));
    }
    if !may_start {
        output::remark(format_args!(
            "it isn't started with this host until 'vserver enable {name}', for what follows; \
             '--actions' takes that over, too"
        ));
    } else if args.new_identity && written(&head.config).autostart && !config.autostart {
        output::remark(clone::not_started(name));
    }
    widened(name, &config).iter().for_each(output::remark);
    output::print(&format!(
        "guest '{name}' is built in '{}' from {}\nnext: vserver start {name}\n",
        report.root.display(),
        report.summary
    ))?;
    Ok(Exit::DONE)
}

/// A configuration as it counts on this host.
struct Judged {
    text: String,
    config: GuestConfig,
    /// Is it left to say whether the guest is started with this host?
    may_start: bool,
}

/// Judges a text with this site's defaults. A guest that would start by itself, whoever
/// says so, and has something of the host, doesn't, unless `trusted`.
fn judge(paths: &Paths, name: &GuestName, mut text: String, trusted: bool) -> Result<Judged> {
    let judged = |text: &str| {
        config::judge_text(paths, name, text).map_err(|error| {
            error.context(format_args!("the archive's configuration doesn't suit this host"))
        })
    };
    let mut config = judged(&text)?;
    let may_start = trusted || !config.autostart || widened(name, &config).is_empty();
    if !may_start {
        text = edit::set(&text, "autostart", &["false".to_owned()])
            .map_err(|found| super::config::refused("autostart", &found))?;
        config = judged(&text)?;
    }
    Ok(Judged { text, config, may_start })
}

/// Keys that say where the guest was.
const PLACE: [&str; 4] = ["context", "root", "storage.kind", "storage.base"];

/// What the archive's configuration says. A text with mistakes is refused as soon as it
/// is judged.
fn written(theirs: &str) -> GuestConfig {
    Document::read(theirs).config_as_it_is(&Document::read("")).unwrap_or_default()
}

/// The credentials that would hand the guest a file of this host's, which root
/// alone may read perhaps.
fn files_of_host(theirs: &str) -> Vec<(String, PathBuf)> {
    let all = written(theirs).boot.credentials.into_iter();
    all.filter_map(|(name, credential)| match credential {
        Credential::File(CredentialFile { file }) => Some((name, file)),
        Credential::Text(_) => None,
    })
    .collect()
}

/// The configuration without what belongs to the place where it was, and without
/// the credentials out of `files`.
fn text(
    args: &ImportArgs,
    store: &Store,
    theirs: &str,
    files: &[(String, PathBuf)],
) -> Result<String> {
    let refused = |key| move |found: Vec<_>| super::config::refused(key, &found);
    let mut text = theirs.to_owned();
    for key in if args.new_identity { clone::OWN.as_slice() } else { &PLACE } {
        text = edit::unset(&text, key).map_err(refused(key))?;
    }
    for (name, _) in files {
        let key = &*format!("boot.credentials.{name}");
        text = edit::unset(&text, key).map_err(|found| super::config::refused(key, &found))?;
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

/// What a guest's configuration has of the host: it may surprise on another one.
fn widened(name: &GuestName, config: &GuestConfig) -> Vec<String> {
    let binds = config.mounts.bind.iter();
    let mut all: Vec<_> =
        binds.map(|bind| format!("it sees this host's '{}'", bind.source.display())).collect();
    let (network, mode) = (&config.network, config.network.mode());
    if mode == NetworkMode::Shared {
        all.push("it has this host's network, held to its own addresses".to_owned());
    }
    let named = [
        (NetworkMode::Bridge, &network.bridge, "it is joined to this host's bridge"),
        (NetworkMode::Macvlan, &network.parent, "it is on the network of this host's interface"),
        (NetworkMode::Routed, &network.proxy_arp, "this host answers for its addresses on"),
    ];
    for (_, interface, what) in named.into_iter().filter(|(of, ..)| *of == mode) {
        all.extend(interface.iter().map(|interface| format!("{what} '{interface}'")));
    }
    if config.security != Security::default() || config.devices != Devices::default() {
        all.push(format!(
            "its configuration sets what its root may do: see 'vserver config show {name}'"
        ));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn files_of_the_host_are_found_however_they_are_written() {
        for text in [
            "[boot.credentials]\na = \"text\"\n\"b.c\" = { file = \"/etc/shadow\" }\n",
            "boot.credentials = { a = \"text\", \"b.c\" = { file = \"/etc/shadow\" } }\n",
            "[boot]\nstyle = \"auto\"\n[boot.credentials.\"b.c\"]\nfile = \"/etc/shadow\"\n",
        ] {
            let found = files_of_host(text);
            assert_eq!(found, [("b.c".to_owned(), PathBuf::from("/etc/shadow"))], "{text}");
            let left = edit::unset(text, "boot.credentials.b.c").unwrap();
            assert_eq!(files_of_host(&left), [], "{left}");
        }
        assert_eq!(files_of_host("[boot"), []);
    }

    #[test]
    fn what_has_something_of_the_host_is_not_started_unasked_whoever_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let (paths, web) = (Paths::new(directory.path()), "web".parse().unwrap());
        std::fs::create_dir_all(paths.config_dir()).unwrap();
        let binds = "mounts.bind = [\"/:/mnt\"]\n";
        let starts = |defaults: &str, text: &str, trusted| {
            std::fs::write(paths.defaults(), defaults).unwrap();
            let judged = judge(&paths, &web, text.to_owned(), trusted).unwrap();
            let counts = config::judge_text(&paths, &web, &judged.text).unwrap().autostart;
            assert_eq!(judged.config.autostart, counts);
            assert!(judged.may_start || !counts);
            counts
        };
        let own = format!("autostart = true\n{binds}");
        for (defaults, text) in [("", &*own), ("autostart = true\n", binds)] {
            assert!(!starts(defaults, text, false), "{defaults}{text}");
            assert!(starts(defaults, text, true), "{defaults}{text}");
        }
        assert!(starts("autostart = true\n", "", false));
        assert!(!starts("", binds, false));
    }

    #[test]
    fn what_a_guest_has_of_the_host_is_said() {
        let said = |text: &str| {
            let config = parse::parse(text).unwrap();
            widened(&"web".parse().unwrap(), &config).join("; ")
        };
        assert_eq!(said("network.addresses = [\"192.0.2.1\"]\n"), "");
        let network = |more: &str| said(&format!("[network]\naddresses = [\"192.0.2.1\"]\n{more}"));
        assert!(network("mode = \"shared\"\n").contains("this host's network"));
        assert!(network("bridge = \"br0\"\n").contains("bridge 'br0'"));
        assert!(network("parent = \"eth0\"\n").contains("interface 'eth0'"));
        assert!(network("proxy_arp = \"eth0\"\n").contains("answers for its addresses on 'eth0'"));
    }
}

//! `vserver install`: this program, the tools' names, manual pages and
//! completion, below a prefix. The program alone works as well, from
//! wherever it is copied to. Packages are made of the same files.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cli::{self, InstallArgs, Shell};
use crate::commands::{Exit, completion, man, output};
use crate::config::template;
use crate::control;
use crate::error::{Error, Result};
use crate::install::{Content, Item, Plan};
use crate::interrupt::Interrupt;
use crate::journal;
use crate::paths::Paths;
use crate::systemd;

/// For ordinary users; as built with this program.
const REDUCECAP: &[u8] = include_bytes!(env!("REDUCECAP_FILE"));

/// For hosts without systemd, with `@BIN@` and `@VERSION@` in them: what has headers of
/// the LSB, and what is OpenRC's own. Each with where it is put, below the prefix:
/// /etc/init.d is the administrator's.
const INIT_SCRIPTS: [(&str, &str); 2] = [
    ("share/vserver/init.d/vservers", include_str!("../../init/vservers")),
    ("share/vserver/init.d/vservers.openrc", include_str!("../../init/vservers.openrc")),
];

/// Those of docs/, of which help texts and messages speak.
const DOCS: [(&str, &str); 17] = [
    ("SECURITY.md", include_str!("../../../docs/SECURITY.md")),
    ("accounts.md", include_str!("../../../docs/accounts.md")),
    ("auditors.md", include_str!("../../../docs/auditors.md")),
    ("boot.md", include_str!("../../../docs/boot.md")),
    ("building.md", include_str!("../../../docs/building.md")),
    ("copying.md", include_str!("../../../docs/copying.md")),
    ("devices.md", include_str!("../../../docs/devices.md")),
    ("install.md", include_str!("../../../docs/install.md")),
    ("journal.md", include_str!("../../../docs/journal.md")),
    ("limits.md", include_str!("../../../docs/limits.md")),
    ("mounts.md", include_str!("../../../docs/mounts.md")),
    ("moving-in.md", include_str!("../../../docs/moving-in.md")),
    ("network.md", include_str!("../../../docs/network.md")),
    ("process-accounting.md", include_str!("../../../docs/process-accounting.md")),
    ("protocol.md", include_str!("../../../docs/protocol.md")),
    ("storage.md", include_str!("../../../docs/storage.md")),
    ("systemd.md", include_str!("../../../docs/systemd.md")),
];

/// Installs or removes.
pub(super) fn run(args: &InstallArgs, paths: &Paths) -> Result<Exit> {
    let prefix = args.prefix.clone().unwrap_or_else(|| paths.prefix().join("usr/local"));
    let prefix = std::path::absolute(&prefix).map_err(|e| Error::path("find", &prefix, e))?;
    let plan = match (&args.destdir, args.remove) {
        (Some(destdir), _) => {
            let below = destdir.join(prefix.strip_prefix("/").unwrap_or(&prefix));
            Plan::install(&below, items(args, &prefix)?)?.unlisted()
        }
        (None, true) => {
            refuse_running(paths)?;
            Plan::remove(&prefix)?
        }
        (None, false) => Plan::install(&prefix, items(args, &prefix)?)?,
    };
    let text = plan.describe();
    let is_for_here = !args.dry_run && args.destdir.is_none();
    let are_new = !args.remove && systemd::installed_in().is_none();
    if is_for_here && args.remove {
        systemd::go(&prefix);
    }
    if !args.dry_run {
        let interrupt =
            Interrupt::watch().map_err(|error| Error::os("cannot watch for signals", error))?;
        plan.carry_out(&interrupt)?;
    }
    if is_for_here {
        explain_messages(&prefix);
        systemd::come(&prefix, are_new)?;
    }
    output::print(&text)?;
    Ok(Exit::DONE)
}

/// Guests run on without the program, but as units they would be killed at their next
/// stop.
fn refuse_running(paths: &Paths) -> Result<()> {
    let names: Vec<_> = control::running(paths)?.iter().map(|name| format!("'{name}'")).collect();
    let text = match names.as_slice() {
        [] => return Ok(()),
        [name] => format!("vserver is not removed: guest {name} runs"),
        names => format!("vserver is not removed: guests {} run", names.join(", ")),
    };
    Err(Error::new(text).hint("shut down all that run: vserver stop --all"))
}

/// Has journald's catalog made anew, where it reads ours (journalctl(1),
/// `--update-catalog`; <https://systemd.io/CATALOG/>).
fn explain_messages(prefix: &Path) {
    let is_read = ["/usr", "/usr/local"].iter().any(|read| prefix == Path::new(read));
    if !is_read {
        return;
    }
    match Command::new("journalctl").arg("--update-catalog").stdin(Stdio::null()).status() {
        Ok(status) if status.success() => {}
        // A host without a journal.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        _ => output::warn("'journalctl --update-catalog' failed: 'journalctl -x' won't explain"),
    }
}

/// What makes guests units of systemd. Where there is none, nobody reads it.
fn units(prefix: &Path, bin: &str) -> Vec<Item> {
    let texts = systemd::texts(&prefix.join(bin)).into_iter();
    let units = texts.map(|(path, text)| Item { path, content: Content::Text(text) });
    let generator = Item {
        path: Path::new("lib/systemd/system-generators").join(systemd::GENERATOR),
        content: Content::Link(Path::new("../../..").join(bin).join("vserver")),
    };
    units.chain([generator]).collect()
}

/// What administrators copy from: the init scripts, and defaults for guests.
fn to_be_copied(bin: &Path) -> Vec<Item> {
    let scripts = INIT_SCRIPTS.map(|(path, script)| {
        let script = script
            .replace("@BIN@", &bin.display().to_string())
            .replace("@VERSION@", env!("CARGO_PKG_VERSION"));
        Item { path: path.into(), content: Content::Program(script.into_bytes()) }
    });
    let defaults = Content::Text(template::render_defaults());
    let defaults = Item { path: "share/vserver/defaults.toml".into(), content: defaults };
    scripts.into_iter().chain([defaults]).collect()
}

/// Everything. What it says about where other things are is below this prefix.
fn items(args: &InstallArgs, prefix: &Path) -> Result<Vec<Item>> {
    let programs = if args.sbin { "sbin" } else { "bin" };
    let own = Path::new("/proc/self/exe");
    let own = fs::read(own).map_err(|error| Error::path("read", own, error))?;
    let bin = |name: &str, content| Item { path: Path::new(programs).join(name), content };
    let mut items = vec![bin("vserver", Content::Program(own))];
    for program in cli::tools::programs() {
        let content = match program.get_name() {
            // A package's own script gives it the capability.
            "reducecap" if args.destdir.is_some() => Content::Program(REDUCECAP.to_vec()),
            "reducecap" if !args.no_capability => Content::Privileged(REDUCECAP.to_vec()),
            _ => Content::Link("vserver".into()),
        };
        items.push(bin(program.get_name(), content));
    }
    let catalog = Content::Text(journal::catalog());
    items.push(Item { path: journal::CATALOG.into(), content: catalog });
    items.extend(units(prefix, programs));
    items.extend(to_be_copied(&prefix.join(programs)));
    for (name, text) in man::all()? {
        let section = name.rsplit('.').next().unwrap_or("8");
        let path = PathBuf::from(format!("share/man/man{section}/{name}"));
        items.push(Item { path, content: Content::Text(text) });
    }
    for (name, text) in DOCS {
        let path = Path::new("share/doc/vserver").join(name);
        items.push(Item { path, content: Content::Text(text.to_owned()) });
    }
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        for (program, text) in completion::all(shell)? {
            let path = match shell {
                Shell::Bash => format!("share/bash-completion/completions/{program}"),
                Shell::Zsh => format!("share/zsh/site-functions/_{program}"),
                Shell::Fish => format!("share/fish/vendor_completions.d/{program}.fish"),
            };
            items.push(Item { path: path.into(), content: Content::Text(text) });
        }
    }
    Ok(items)
}

//! What a changed configuration means for a guest that runs.

use std::fs;
use std::path::Path;

use shared::name::GuestName;

use crate::commands::output;
use crate::config::{self, Change, NetworkMode, StorageKind, edit};
use crate::control::{Client, Request};
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::runtime::{RunDir, State};
use crate::storage::{UPPER, WORK};

/// Read by whoever needs them, whatever the guest is doing.
const OF_COMMANDS: [&str; 5] = ["description", "marks", "after", "autostart", "unify.exclude"];

/// Lets a guest that runs have what of a change it can have at once, and says what becomes
/// of the rest. One that doesn't run has it at its start.
///
/// # Errors
/// When it can't have what it should; then the change is taken back.
pub(super) fn take(paths: &Paths, name: &GuestName, changed: &Change, keys: &[&str]) -> Result<()> {
    if !changed.is_one() || Client::find(paths, name)?.is_none() {
        return Ok(());
    }
    match of_keys(paths, name, keys) {
        Ok(remarks) => {
            remarks.iter().for_each(output::remark);
            Ok(())
        }
        Err(error) => {
            changed.undo(paths, name)?;
            Err(error)
        }
    }
}

/// A change says no other thing of a guest's files than what they are: `build` and `clone`
/// have made them so.
///
/// # Errors
/// When they are something else.
pub(super) fn refuse_other_files(
    paths: &Paths,
    name: &GuestName,
    before: &str,
    after: &str,
) -> Result<()> {
    let is_of_files = |key: &String| key == "storage.kind";
    if !edit::changed_keys(before, after).iter().any(is_of_files) {
        return Ok(());
    }
    // Other mistakes are said where the text is judged.
    let Ok(config) = config::judge_text(paths, name, after) else { return Ok(()) };
    let root = config.root(paths, name);
    let Some(is) = kind_at(&root) else { return Ok(()) };
    if is == config.storage.kind {
        return Ok(());
    }
    let (kind, root) = (config.storage.kind.name(), root.display());
    let what = match is {
        StorageKind::Image => "a file",
        StorageKind::Directory => "a directory",
        StorageKind::Overlay => "a directory with what lies over a base",
    };
    let text = format!("the files of guest '{name}' are no {kind}: '{root}' is {what}");
    Err(Error::new(text)
        .hint(format!("to have them as one: vserver clone {name} NEW --storage {kind}")))
}

/// What is at the path of a root, as far as can be told without a configuration.
fn kind_at(root: &Path) -> Option<StorageKind> {
    let is_dir = |name: &str| fs::symlink_metadata(root.join(name)).is_ok_and(|at| at.is_dir());
    Some(match fs::metadata(root).ok()?.is_file() {
        true => StorageKind::Image,
        false if is_dir(UPPER) && is_dir(WORK) => StorageKind::Overlay,
        false => StorageKind::Directory,
    })
}

fn of_keys(paths: &Paths, name: &GuestName, keys: &[&str]) -> Result<Vec<String>> {
    let (mut remarks, mut later) = (Vec::new(), Vec::new());
    for &key in keys {
        let remark = match key {
            _ if OF_COMMANDS.contains(&key) => continue,
            "network.addresses" if change_addresses(paths, name)? => continue,
            _ if key.starts_with("limits.") => format!(
                "guest '{name}' runs on with its old limits; this gives it the new ones: \
                 vserver limits {name} --apply"
            ),
            _ if key.starts_with("network.") => format!(
                "guest '{name}' runs on with its old network; '{key}' counts from its next start \
                 or reboot"
            ),
            "devices.allow" => format!(
                "guest '{name}' runs on with its old devices; this gives it the new ones: \
                 vserver reload {name}"
            ),
            "boot.restart" => format!(
                "guest '{name}' runs on as it was started; '{key}' counts from its next start: \
                 vserver restart {name}"
            ),
            _ => {
                later.push(format!("'{key}'"));
                continue;
            }
        };
        if !remarks.contains(&remark) {
            remarks.push(remark);
        }
    }
    if !later.is_empty() {
        let counts = if later.len() == 1 { "counts" } else { "count" };
        remarks.push(format!(
            "guest '{name}' runs on as it was started; {} {counts} from its next boot: \
             vserver reboot {name}",
            later.join(", ")
        ));
    }
    Ok(remarks)
}

/// Gives a guest on the host's stack its new addresses at once. A guest's own
/// stack is made with its link, at the start: `false`. One that has ended meanwhile has
/// nothing to change.
fn change_addresses(paths: &Paths, name: &GuestName) -> Result<bool> {
    let network = config::load(paths, name)?.network;
    if network.mode() != NetworkMode::Shared {
        return Ok(false);
    }
    let Some(now) = Client::ask_any(paths, name, &Request::Addresses)? else { return Ok(true) };
    let is_done = network.addresses.iter().map(|address| address.ip).eq(now.addresses);
    if is_done {
        // The host may lack some of them.
        State::read(&RunDir::new(paths, name).state()).faults.iter().for_each(output::warn);
    }
    Ok(is_done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_is_no_directory_and_no_overlay_is_made_by_a_word() {
        let prefix = tempfile::tempdir().unwrap();
        let (paths, web) = (Paths::new(prefix.path()), "web".parse().unwrap());
        let root = paths.root(&web);
        for path in [&root, &paths.config_dir()] {
            fs::create_dir_all(path).unwrap();
        }
        let base = paths.state_dir().display().to_string();
        let overlay = format!("storage.kind = \"overlay\"\nstorage.base = \"{base}\"\n");
        let refused = |before: &str, after: &str| {
            let judged = refuse_other_files(&paths, &web, before, after);
            judged.err().map(|error| error.to_string()).unwrap_or_default()
        };
        let image = "storage.kind = \"image\"\n";
        assert!(refused("", &overlay).contains("are no overlay"));
        assert!(refused("", image).contains("are no image"));
        assert_eq!(refused(image, ""), "");
        for name in [UPPER, WORK] {
            fs::create_dir(root.join(name)).unwrap();
        }
        assert!(refused(&overlay, "").contains("are no directory"));
        assert!(refused(&overlay, image).contains("are no image"));
        assert_eq!(refused("", &overlay), "");
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(refused(&overlay, ""), "");
        fs::write(&root, "").unwrap();
        assert!(refused(image, &overlay).contains("are no overlay"));
    }
}

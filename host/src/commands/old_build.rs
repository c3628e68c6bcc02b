//! What options of util-vserver's `vserver build` come to.

use crate::cli::BuildArgs;
use crate::commands::output;
use crate::config::GuestConfig;
use crate::config_import::{Content, File, Format, Outcome, import};
use crate::error::{Error, Result};

/// Where addresses come from that aren't util-vserver's option.
const ADDRESS: &str = "--address";

/// Where a device for addresses stood.
const NETDEV: &str = "interfaces/dev";

/// What util-vserver's options come to, in the words of a configuration. What
/// becomes of each is said.
///
/// # Errors
/// When one has no counterpart.
pub(super) fn configuration(args: &BuildArgs) -> Result<GuestConfig> {
    if let Some(again) = args.old.again.as_ref().filter(|again| **again != args.name) {
        let text = format!("'-n {again}' is another name than '{}'", args.name);
        return Err(Error::usage(text).hint("give one of them: vserver build NAME"));
    }
    of_method(args)?;
    if args.old.i_know_its_there {
        let text = "'--i-know-its-there': a build never writes into a directory that is there";
        return Err(Error::usage(text).hint(
            "'--method directory --from DIR' copies what is in it; with 'root = \"DIR\"' in \
             /etc/vservers/NAME.toml a guest uses it as it is",
        ));
    }
    if args.old.confdir.is_some() {
        let text = "'--confdir': a guest's configuration is '/etc/vservers/NAME.toml'";
        return Err(Error::usage(text).hint(
            "'VSERVER_PREFIX=DIR' puts all of vserver's files below DIR; \
             'vserver config import DIR' reads a configuration of util-vserver's",
        ));
    }
    for (option, is_given, why) in [
        ("--lockfile", args.old.lockfile.is_some(), "builds of a guest wait for each other"),
        ("--pkgbase", args.old.pkgbase.is_some(), "what is known of packages is in the guest"),
    ] {
        if is_given {
            output::remark(format_args!("'{option}' isn't needed: {why}"));
        }
    }
    let file = |path: &str, name: String, text: &str| File {
        path: path.to_owned(),
        name,
        content: Content::Text(format!("{text}\n")),
    };
    let said = args.old.said();
    let mut files: Vec<File> =
        said.iter().map(|said| file(said.option, said.file.to_owned(), &said.text)).collect();
    // What depends on addresses is judged with them.
    let addresses: Vec<_> = args.address.iter().chain(&args.interface).collect();
    for (number, address) in addresses.iter().enumerate() {
        files.push(file(ADDRESS, format!("interfaces/{number}/ip"), &address.ip.to_string()));
    }
    if addresses.is_empty() {
        files.retain(|file| file.name != NETDEV);
    }
    let mut import = import(Format::Directory, &files);
    import.settings.retain(|(setting, _)| &*setting.file != ADDRESS);
    let missing = import.settings.iter().find_map(|(setting, outcome)| match outcome {
        Outcome::Missing(why) => Some((setting, why)),
        _ => None,
    });
    if let Some((setting, why)) = missing {
        let option = format!("{} {}", setting.file, setting.value);
        let error = Error::usage(format!("'{}' has no counterpart", option.escape_debug()));
        return Err(error.hint(why.clone()));
    }
    for (setting, outcome) in &import.settings {
        let said = format!("{} {}", setting.file, setting.value);
        let said = said.trim_end().escape_debug();
        match outcome {
            Outcome::Ours { parts, .. } => {
                let keys: Vec<_> = parts.iter().map(|part| part.key).collect();
                output::remark(format_args!("'{said}' is now '{}'", keys.join("', '")));
            }
            Outcome::Fine(why) | Outcome::Missing(why) => {
                output::remark(format_args!("'{said}' isn't needed: {why}"));
            }
        }
    }
    if addresses.is_empty()
        && let Some(said) = said.iter().find(|said| said.file == NETDEV)
    {
        output::remark(format_args!("'{}' isn't needed: there is no address", said.option));
    }
    Ok(import.config)
}

/// What stood behind `--` for a method.
///
/// # Errors
/// When it has no counterpart.
fn of_method(args: &BuildArgs) -> Result<()> {
    let old = &args.old.method;
    for (argument, is_given, why, hint) in [
        (
            "--exclude-from",
            old.exclude_from.is_some(),
            "a clone has all that the guest has",
            "'vserver exec NEW' removes what it is not to have",
        ),
        (
            "--script",
            old.script.is_some(),
            "debootstrap has a script for each release that it knows",
            "'--suite' names the release",
        ),
        (
            "--base",
            old.base.is_some(),
            "packages are found by their paths only",
            "'--from FILE' names each package, or a manifest with their paths",
        ),
        (
            "--empty",
            old.empty,
            "rpm has nothing to install then",
            "'--method skeleton' makes a guest without packages",
        ),
    ] {
        if is_given {
            let text = format!("method '{}' takes no '{argument}': {why}", args.method);
            return Err(Error::usage(text).hint(hint));
        }
    }
    if let Some(dist) = &old.dist {
        let said = format!("-d {dist}");
        output::remark(format_args!(
            "'{}' isn't needed: the guest's own files tell what it is",
            said.trim_end().escape_debug()
        ));
    }
    if old.nodevsanity {
        output::remark("'--nodevsanity' isn't needed: device nodes of an archive are left out");
    }
    Ok(())
}

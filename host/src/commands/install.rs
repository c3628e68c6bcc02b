//! `vserver install`: this program, the tools' names, manual pages and
//! completion, below a prefix. The program alone works as well, from
//! wherever it is copied to.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::{self, InstallArgs, Shell};
use crate::commands::{Exit, completion, man, output};
use crate::error::{Error, Result};
use crate::install::{Content, Item, Plan};
use crate::paths::Paths;

/// For ordinary users; as built with this program.
const REDUCECAP: &[u8] = include_bytes!(env!("REDUCECAP_FILE"));

/// Where the programs are, below the prefix.
const BIN: &str = "bin";

/// Installs or removes.
pub(super) fn run(args: &InstallArgs, paths: &Paths) -> Result<Exit> {
    let prefix = args.prefix.clone().unwrap_or_else(|| paths.prefix().join("usr/local"));
    let prefix = std::path::absolute(&prefix).map_err(|e| Error::path("find", &prefix, e))?;
    let plan = match args.remove {
        true => Plan::remove(&prefix)?,
        false => Plan::install(&prefix, items(args)?)?,
    };
    let text = plan.describe();
    if !args.dry_run {
        plan.carry_out()?;
    }
    output::print(&text)?;
    Ok(Exit::DONE)
}

fn items(args: &InstallArgs) -> Result<Vec<Item>> {
    let own = Path::new("/proc/self/exe");
    let own = fs::read(own).map_err(|error| Error::path("read", own, error))?;
    let bin = |name: &str, content| Item { path: Path::new(BIN).join(name), content };
    let mut items = vec![bin("vserver", Content::Program(own))];
    for program in cli::tools::programs() {
        let content = match program.get_name() {
            "reducecap" if !args.no_capability => Content::Privileged(REDUCECAP.to_vec()),
            _ => Content::Link("vserver".into()),
        };
        items.push(bin(program.get_name(), content));
    }
    for (name, text) in man::all()? {
        let section = name.rsplit('.').next().unwrap_or("8");
        let path = PathBuf::from(format!("share/man/man{section}/{name}"));
        items.push(Item { path, content: Content::Text(text) });
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

//! `--method debootstrap`: a fresh installation by mmdebstrap or debootstrap,
//! whichever the host has, with sysvinit unless told otherwise.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::error::{Error, Result};

use super::apt_sources::Archives;
use super::distribution::Distribution;
use super::{Work, tool};

/// What a server has besides the essential packages.
const PACKAGES: [&str; 8] =
    ["cron", "iproute2", "iputils-ping", "less", "login", "netbase", "procps", "sysvinit-core"];

/// Packages that are an init; one of them in place of sysvinit-core is the
/// user's choice.
const INITS: [&str; 5] =
    ["dinit-sysv", "finit-sysv", "runit-init", "s6-linux-init", "systemd-sysv"];

/// Where debootstrap has one for each release that it knows. mmdebstrap needs none.
const SCRIPTS: &str = "/usr/share/debootstrap/scripts";

/// debootstrap's option for what nobody has signed.
const UNCHECKED: &str = "--no-check-gpg";

/// What is to be run.
struct Run {
    program: &'static str,
    suite: String,
    sources: String,
}

/// Is there all that is needed to begin?
///
/// # Errors
/// When the host lacks the tool, or the tool a word.
pub(super) fn check(wanted: &Distribution) -> Result<()> {
    choose(wanted).map(drop)
}

fn choose(wanted: &Distribution) -> Result<Run> {
    let program = tool::first_of(&["mmdebstrap", "debootstrap"]).ok_or_else(|| {
        Error::new("this host has neither mmdebstrap nor debootstrap")
            .hint("'apt install mmdebstrap', or use '--method copy'")
    })?;
    let archives = Archives::of_host();
    let suite = match (&wanted.suite, &archives) {
        (Some(suite), _) => suite.clone(),
        (None, Ok(archives)) => archives.codename.clone(),
        (None, Err(_)) => {
            return Err(Error::usage("which release is to be installed?")
                .hint("give '--suite', such as '--suite trixie'"));
        }
    };
    wanted.check()?;
    let scripts = Path::new(SCRIPTS);
    if program == "debootstrap" && scripts.is_dir() && !scripts.join(&suite).exists() {
        let text = format!("this host's 'debootstrap' doesn't know the release '{suite}'");
        return Err(Error::new(text).hint("'apt install mmdebstrap', which takes any"));
    }
    let archives = archives.unwrap_or_default();
    let sources = sources(wanted, &suite, &archives)?;
    Ok(Run { program, suite, sources })
}

/// Installs into the root.
pub(super) fn fill(wanted: &Distribution, work: &mut Work<'_>) -> Result<String> {
    let Run { program, suite, sources } = choose(wanted)?;
    let arguments = arguments(program, wanted, &suite, &sources, work.root.path().as_os_str());
    work.progress.lines("starting");
    let ran = tool::run(program, &arguments, work.interrupt, work.progress);
    ran.map_err(|error| match work.interrupt.check() {
        Err(interrupted) => interrupted,
        Ok(()) => error,
    })?;
    Ok(format!("{suite}, installed by {program}"))
}

/// A mirror's URL, or lines of sources.list(5).
fn sources(wanted: &Distribution, suite: &str, archives: &Archives) -> Result<String> {
    if let Some(mirror) = &wanted.mirror {
        return Ok(mirror.clone());
    }
    let lines = archives.lines(&wanted.components);
    if suite == archives.codename && !lines.is_empty() {
        return Ok(lines);
    }
    archives.main_site().map(str::to_owned).ok_or_else(|| {
        Error::usage("this host has no package sources of its own to install from")
            .hint("name one with '--mirror URL'")
    })
}

fn arguments(
    program: &str,
    wanted: &Distribution,
    suite: &str,
    sources: &str,
    root: &OsStr,
) -> Vec<OsString> {
    let include = packages(&wanted.include).join(",");
    let mut arguments: Vec<OsString> = Vec::new();
    let variant = wanted.variant.as_deref().unwrap_or("minbase");
    arguments.push(format!("--variant={variant}").into());
    arguments.push(format!("--include={include}").into());
    if !wanted.components.is_empty() {
        arguments.push(format!("--components={}", wanted.components.join(",")).into());
    }
    if let Some(keyring) = &wanted.keyring {
        let mut option = OsString::from("--keyring=");
        option.push(keyring);
        arguments.push(option);
    }
    if program == "mmdebstrap" {
        arguments.push("--mode=root".into());
        arguments.push("--format=directory".into());
    }
    // Where it finds no keys for a release it would check nothing.
    if program == "debootstrap" && !wanted.options.iter().any(|option| option == UNCHECKED) {
        arguments.push("--force-check-gpg".into());
    }
    arguments.extend(wanted.options.iter().cloned());
    arguments.push(suite.into());
    arguments.push(root.to_owned());
    if program == "mmdebstrap" && sources.starts_with("deb ") {
        arguments.extend(sources.lines().map(OsString::from));
    } else {
        // debootstrap takes one URL, which stands in the first line.
        arguments.push(first_url(sources).into());
    }
    arguments
}

fn first_url(sources: &str) -> &str {
    match sources.strip_prefix("deb ") {
        Some(line) => line.split_whitespace().next().unwrap_or_default(),
        None => sources,
    }
}

fn packages(include: &[String]) -> Vec<&str> {
    let names: Vec<&str> = include.iter().map(String::as_str).collect();
    let has_init = names.iter().any(|name| INITS.contains(name));
    let usual = PACKAGES.into_iter().filter(|name| !(has_init && *name == "sysvinit-core"));
    let mut all: Vec<&str> = usual.chain(names.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_init_replaces_sysvinit() {
        assert!(packages(&[]).contains(&"sysvinit-core"));
        let include = ["systemd-sysv".to_owned()];
        assert!(!packages(&include).contains(&"sysvinit-core"));
    }

    #[test]
    fn debootstrap_gets_one_url_and_mmdebstrap_all_lines() {
        let options = vec!["--verbose".into()];
        let wanted = Distribution { options, ..Distribution::default() };
        let lines = "deb http://a/debian x main\ndeb http://a/security x-security main\n";
        let of = |program| arguments(program, &wanted, "x", lines, "/r".as_ref());
        assert_eq!(of("debootstrap").last().unwrap(), "http://a/debian");
        assert_eq!(of("mmdebstrap").last().unwrap(), "deb http://a/security x-security main");
        assert!(of("mmdebstrap").contains(&"--verbose".into()));
    }

    #[test]
    fn debootstrap_checks_unless_told_otherwise() {
        let of = |options: Vec<OsString>| {
            let wanted = Distribution { options, ..Distribution::default() };
            arguments("debootstrap", &wanted, "x", "http://a/debian", "/r".as_ref())
        };
        let checks = |line: &[OsString]| line.iter().any(|word| word == "--force-check-gpg");
        assert!(checks(&of(vec!["--verbose".into()])));
        // It takes one of the two.
        assert!(!checks(&of(vec![UNCHECKED.into()])));
    }

    #[test]
    fn what_the_release_is_taken_from_goes_to_both_tools() {
        let words = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect();
        let wanted = Distribution {
            components: words(&["main", "universe"]),
            variant: Some("buildd".to_owned()),
            keyring: Some("/etc/keys/ubuntu.gpg".into()),
            ..Distribution::default()
        };
        for program in ["debootstrap", "mmdebstrap"] {
            let line = arguments(program, &wanted, "noble", "http://u/ubuntu", "/r".as_ref());
            let line: Vec<_> = line.iter().filter_map(|word| word.to_str()).collect();
            for word in ["--components=main,universe", "--variant=buildd"] {
                assert!(line.contains(&word), "{program} {line:?}");
            }
            assert!(line.contains(&"--keyring=/etc/keys/ubuntu.gpg"), "{program} {line:?}");
            assert_eq!(line[line.len() - 3..], ["noble", "/r", "http://u/ubuntu"]);
        }
    }
}

//! What a build does inside the new guest once it is in place: packages by
//! the guest's own package manager, then a script of the administrator's.
//!
//! Both are sessions in the stopped guest's context, as `vserver exec` opens
//! them, so that whatever they execute is held by all that holds the guest.
//! On the host nothing of the guest's is executed or read.

use std::path::Path;
use std::process::Command;

use shared::message::Power;
use shared::name::GuestName;

use crate::build;
use crate::cli::{BuildArgs, Method, Shutdown};
use crate::commands::lifecycle;
use crate::config::Place;
use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::interrupt::Interrupt;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::storage;

/// Where the script is while it runs: not below a directory over which
/// something may be mounted.
const SCRIPT: &str = "/.vserver-run-script";

/// Package managers: where one is, and the command lines that install with
/// it, to which the packages are added.
const MANAGERS: [(&str, &[&str]); 6] = [
    (
        "usr/bin/apt-get",
        &[
            "apt-get update",
            "env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends",
        ],
    ),
    ("usr/bin/dnf", &["dnf install --assumeyes"]),
    ("usr/bin/zypper", &["zypper --non-interactive install"]),
    ("usr/bin/pacman", &["pacman --sync --refresh --noconfirm"]),
    ("sbin/apk", &["apk add --update-cache"]),
    ("usr/bin/xbps-install", &["xbps-install --sync --yes"]),
];

/// What is to be done inside.
#[derive(Debug, Default)]
pub(super) struct Provision {
    packages: Vec<String>,
    has_network: bool,
    script: Option<Script>,
}

#[derive(Debug)]
struct Script {
    name: String,
    bytes: Vec<u8>,
}

impl Provision {
    /// What the arguments ask for.
    ///
    /// # Errors
    /// When a package has no package's name, the script can't be read or
    /// executed, or the guest will have no programs.
    pub fn new(args: &BuildArgs) -> Result<Self> {
        let is_name = |name: &&String| {
            !name.is_empty() && !name.starts_with('-') && !name.contains(char::is_whitespace)
        };
        if let Some(wrong) = args.packages.iter().find(|name| !is_name(name)) {
            return Err(Error::usage(format!("'{}' is not a package", wrong.escape_default())));
        }
        let by_host = matches!(
            args.method,
            Method::Copy
                | Method::Debootstrap
                | Method::Dnf
                | Method::Rpm
                | Method::Pacstrap
                | Method::Apk
        );
        let packages = if by_host { Vec::new() } else { args.packages.clone() };
        let script = args.run_script.as_deref().map(Script::read).transpose()?;
        let has_network = !args.address.is_empty() || !args.interface.is_empty();
        let provision = Self { packages, has_network, script };
        if args.method == Method::Skeleton && !provision.is_empty() {
            return Err(Error::usage(
                "an empty guest has no programs that could do anything in it",
            )
            .hint("leave '--packages' and '--run-script' out, or use another '--method'"));
        }
        Ok(provision)
    }

    /// Is there nothing to do?
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty() && self.script.is_none()
    }

    /// Does it in the guest, whose context is closed again in the end.
    ///
    /// # Errors
    /// When one of the commands fails (its last lines are quoted), or the
    /// build is interrupted.
    pub fn run(
        &self,
        paths: &Paths,
        name: &GuestName,
        place: &Place,
        interrupt: &Interrupt,
    ) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        // Closed again before the guest needs its files.
        let installing = self.prepare(&storage::view(place)?)?;
        let mut inside = Inside { name, interrupt, progress: Progress::on_terminal() };
        let done = self.steps(installing, &mut inside);
        drop(inside);
        let now = Shutdown { timeout: Some(std::time::Duration::ZERO), no_kill: false };
        let closed = lifecycle::stop(paths, name, Power::PowerOff, &now);
        done.and(closed.map(drop))?;
        match &self.script {
            Some(_) => storage::view(place)?.remove(SCRIPT),
            None => Ok(()),
        }
    }

    /// Lays the script ready, and says how packages are installed.
    fn prepare(&self, root: &RootDir) -> Result<Option<Installing>> {
        if let Some(script) = &self.script {
            root.write(SCRIPT, &script.bytes, 0o700)?;
        }
        let is_there = |program: &str| root.exists(program);
        let wanted = !self.packages.is_empty();
        wanted.then(|| install(is_there, &self.packages)).transpose()
    }

    fn steps(&self, installing: Option<Installing>, inside: &mut Inside<'_>) -> Result<()> {
        if let Some((manager, lines)) = installing {
            for words in lines {
                inside.run(manager, &words).map_err(|error| match self.has_network {
                    true => error,
                    false => error.hint(
                        "the guest has no network to get packages by: give it an '--address'",
                    ),
                })?;
            }
        }
        match &self.script {
            Some(script) => inside.run(&script.name, &[SCRIPT.to_owned()]),
            None => Ok(()),
        }
    }
}

impl Script {
    fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|cause| Error::path("read", path, cause))?;
        if !bytes.starts_with(b"#!") {
            return Err(Error::usage(format!("'{}' is no script", path.display()))
                .hint("its first line must name what runs it inside, such as '#!/bin/sh'"));
        }
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, bytes })
    }
}

/// Runs commands in the guest.
struct Inside<'a> {
    name: &'a GuestName,
    interrupt: &'a Interrupt,
    progress: Progress,
}

impl Inside<'_> {
    fn run(&mut self, program: &str, words: &[String]) -> Result<()> {
        self.interrupt.check()?;
        // It ends with us, whatever becomes of us; and with it the session.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        command.arg(format!("/proc/{}/exe", std::process::id()));
        command.args(["exec", self.name.as_str(), "--"]).args(words);
        self.progress.lines("");
        build::follow(command, program, self.interrupt, &mut self.progress)
            .map_err(|error| error.context(format_args!("inside guest '{}'", self.name)))
    }
}

/// The package manager that is there, and the command lines that install by
/// it.
type Installing = (&'static str, Vec<Vec<String>>);

/// How these packages are installed.
fn install(is_there: impl Fn(&str) -> bool, packages: &[String]) -> Result<Installing> {
    let name = |program: &'static str| program.rsplit('/').next().unwrap_or(program);
    let found = MANAGERS.iter().find(|(program, _)| is_there(program));
    let (program, lines) = found.ok_or_else(|| {
        let known = MANAGERS.map(|(program, _)| name(program));
        Error::new("the guest has no package manager that could install '--packages'")
            .hint(format!("known are {}; '--run-script' runs any other", known.join(", ")))
    })?;
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut lines: Vec<_> = lines.iter().map(|line| words(line)).collect();
    if let Some(last) = lines.last_mut() {
        last.extend(packages.iter().cloned());
    }
    Ok((name(program), lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_installed_by_the_manager_that_is_there() {
        let packages = ["nginx".to_owned(), "less".to_owned()];
        let of = |there: &str| {
            let (name, lines) = install(|program| program == there, &packages).unwrap();
            assert!(there.ends_with(name), "{name}");
            lines.into_iter().map(|words| words.join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(of("sbin/apk"), ["apk add --update-cache nginx less"]);
        let apt = of("usr/bin/apt-get");
        assert_eq!(apt[0], "apt-get update");
        assert!(apt[1].ends_with(" apt-get install --yes --no-install-recommends nginx less"));
        let none = install(|_| false, &packages).unwrap_err();
        assert!(none.remedy().unwrap().contains("apt-get, dnf"), "{none:?}");
    }

    #[test]
    fn a_script_names_its_interpreter() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "echo hello\n").unwrap();
        assert!(Script::read(file.path()).is_err());
        std::fs::write(file.path(), "#!/bin/sh\n").unwrap();
        assert!(Script::read(file.path()).is_ok());
    }
}

//! `--method dnf`, `rpm`, `pacstrap` and `apk`: a fresh installation by the package
//! manager of another family, where the host has it.

use std::ffi::{OsStr, OsString};

use crate::error::{Error, Result};

use super::distribution::Distribution;
use super::{Work, template, tool};

/// Where the host's apk keeps its keys and its sources.
const APK_KEYS: &str = "/etc/apk/keys";
const APK_SOURCES: &str = "/etc/apk/repositories";

/// Where the host's dnf keeps its sources: else it would look for them in the
/// new root (dnf5-installroot(7)).
const DNF_SOURCES: &str = "/etc/yum.repos.d";

/// A package manager that can install into an empty directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installer {
    /// Fedora's, and that of all that comes from it.
    Dnf,
    /// The same distributions', without a source: packages that are here.
    Rpm,
    /// Arch's.
    Pacstrap,
    /// Alpine's.
    Apk,
}

impl Installer {
    /// The name of the program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dnf => "dnf",
            Self::Rpm => "rpm",
            Self::Pacstrap => "pacstrap",
            Self::Apk => "apk",
        }
    }

    /// A distribution's smallest system that boots and installs more.
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Dnf => {
                &["system-release", "systemd", "dnf", "passwd", "iproute", "iputils", "procps-ng"]
            }
            Self::Rpm => &[],
            Self::Pacstrap => &["base"],
            Self::Apk => &["alpine-base"],
        }
    }
}

/// Is there all that is needed to begin?
///
/// # Errors
/// When the host lacks the tool, or the tool a word.
pub(super) fn check(by: Installer, wanted: &Distribution) -> Result<()> {
    let program = by.name();
    wanted.check()?;
    if by == Installer::Dnf && wanted.suite.is_none() {
        return Err(Error::usage("which release is to be installed?")
            .hint("give '--suite', such as '--suite 42'"));
    }
    if tool::first_of(&[program]).is_none() {
        return Err(Error::new(format!("this host has no {program}"))
            .hint("install it from the host's distribution, or use another '--method'"));
    }
    Ok(())
}

/// Installs into the root.
pub(super) fn fill(by: Installer, wanted: &Distribution, work: &mut Work<'_>) -> Result<String> {
    check(by, wanted)?;
    let program = by.name();
    work.progress.lines("starting");
    let arguments = arguments(by, wanted, work.root.path().as_os_str());
    let ran = tool::run(program, &arguments, work.interrupt, work.progress);
    work.interrupt.check()?;
    ran?;
    if !template::is_system(work.root) {
        return Err(Error::new(format!("{program} has installed no system")));
    }
    if by == Installer::Apk {
        let sources = apk_sources(wanted);
        let lines = match sources.as_slice() {
            [] => std::fs::read_to_string(APK_SOURCES).unwrap_or_default(),
            sources => sources.iter().map(|source| format!("{source}\n")).collect(),
        };
        work.root.create_dir_all("etc/apk", 0o755)?;
        work.root.write("etc/apk/repositories", lines.as_bytes(), 0o644)?;
    }
    let what = match by {
        Installer::Rpm => "packages that were given",
        _ => wanted.suite.as_deref().unwrap_or("a system like this host's sources"),
    };
    Ok(format!("{what}, installed by {program}"))
}

/// The tool's command line, without its name.
fn arguments(by: Installer, wanted: &Distribution, root: &OsStr) -> Vec<OsString> {
    let mut line = Line::default();
    match by {
        Installer::Dnf => {
            line.pair("--installroot=", root);
            line.words(["--assumeyes", "--setopt=install_weak_deps=False"]);
            if let Some(suite) = &wanted.suite {
                line.pair("--releasever=", suite);
            }
            if let Some(mirror) = &wanted.mirror {
                line.pair("--repofrompath=vserver,", mirror);
                line.words(["--repo=vserver", "--setopt=vserver.gpgcheck=1"]);
            } else {
                line.pair("--setopt=reposdir=", DNF_SOURCES);
            }
            if let Some(keyring) = &wanted.keyring {
                line.pair("--setopt=vserver.gpgkey=file://", keyring);
            }
            line.words(&wanted.options);
            line.words(["install"]);
        }
        // rpm(8): a file that is no package is a manifest.
        Installer::Rpm => {
            line.pair("--root=", root);
            line.words(["--install", "--excludedocs"]);
            line.words(&wanted.options);
            line.words(["--"]);
            line.words(&wanted.files);
        }
        Installer::Pacstrap => {
            line.words(["-K"]);
            line.words(&wanted.options);
            line.words([root]);
        }
        Installer::Apk => {
            line.words([OsStr::new("--root"), root, OsStr::new("--initdb")]);
            let keys =
                wanted.keyring.as_ref().map_or(OsStr::new(APK_KEYS), |keys| keys.as_os_str());
            line.words([OsStr::new("--keys-dir"), keys]);
            let sources = apk_sources(wanted);
            if sources.is_empty() {
                line.words(["--repositories-file", APK_SOURCES]);
            }
            for source in &sources {
                line.words(["--repository", source]);
            }
            line.words(&wanted.options);
            line.words(["add"]);
        }
    }
    line.words(by.packages());
    line.words(&wanted.include);
    line.0
}

/// The repositories at a mirror: `MIRROR/SUITE/COMPONENT`.
fn apk_sources(wanted: &Distribution) -> Vec<String> {
    let Some(mirror) = &wanted.mirror else { return Vec::new() };
    let mut base = mirror.trim_end_matches('/').to_owned();
    if let Some(suite) = &wanted.suite {
        base.push('/');
        base.push_str(suite);
    }
    let usual = ["main".to_owned()];
    let components = if wanted.components.is_empty() { &usual[..] } else { &wanted.components };
    components.iter().map(|component| format!("{base}/{component}")).collect()
}

/// A command line that is being put together.
#[derive(Default)]
struct Line(Vec<OsString>);

impl Line {
    fn words<W: AsRef<OsStr>>(&mut self, words: impl IntoIterator<Item = W>) {
        self.0.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
    }

    /// One word of two parts.
    fn pair(&mut self, start: &str, rest: impl AsRef<OsStr>) {
        let mut word = OsString::from(start);
        word.push(rest);
        self.0.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(options: &[&str]) -> Distribution {
        let words = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect();
        Distribution {
            include: words(&["nginx"]),
            options: options.iter().map(OsString::from).collect(),
            ..Distribution::default()
        }
    }

    fn line(by: Installer, wanted: &Distribution) -> String {
        let words = arguments(by, wanted, "/r".as_ref());
        words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn dnf_installs_a_release_from_the_hosts_sources_or_a_mirror() {
        let mut wanted = wanted(&["--nodocs"]);
        wanted.suite = Some("41".to_owned());
        let packages = "system-release systemd dnf passwd iproute iputils procps-ng nginx";
        let start = "--installroot=/r --assumeyes --setopt=install_weak_deps=False --releasever=41";
        assert_eq!(
            line(Installer::Dnf, &wanted),
            format!("{start} --setopt=reposdir=/etc/yum.repos.d --nodocs install {packages}")
        );
        wanted.mirror = Some("https://m/f41".to_owned());
        wanted.keyring = Some("/k".into());
        assert_eq!(
            line(Installer::Dnf, &wanted),
            format!(
                "{start} --repofrompath=vserver,https://m/f41 --repo=vserver \
                 --setopt=vserver.gpgcheck=1 --setopt=vserver.gpgkey=file:///k --nodocs \
                 install {packages}"
            )
        );
    }

    #[test]
    fn rpm_installs_the_files_that_it_is_given() {
        let mut wanted = wanted(&["--nosignature"]);
        wanted.include.clear();
        wanted.files = vec!["/p/a.rpm".into(), "/p/list".into()];
        assert_eq!(
            line(Installer::Rpm, &wanted),
            "--root=/r --install --excludedocs --nosignature -- /p/a.rpm /p/list"
        );
    }

    #[test]
    fn pacstrap_takes_its_options_before_the_root() {
        let line = line(Installer::Pacstrap, &wanted(&["-C", "/etc/other.conf"]));
        assert_eq!(line, "-K -C /etc/other.conf /r base nginx");
    }

    #[test]
    fn apk_installs_from_the_hosts_sources_or_a_mirror() {
        let mut wanted = wanted(&[]);
        assert_eq!(
            line(Installer::Apk, &wanted),
            "--root /r --initdb --keys-dir /etc/apk/keys --repositories-file \
             /etc/apk/repositories add alpine-base nginx"
        );
        wanted.mirror = Some("https://m/alpine/".to_owned());
        wanted.suite = Some("v3.20".to_owned());
        wanted.keyring = Some("/k".into());
        wanted.components = vec!["main".to_owned(), "community".to_owned()];
        assert_eq!(
            line(Installer::Apk, &wanted),
            "--root /r --initdb --keys-dir /k --repository https://m/alpine/v3.20/main \
             --repository https://m/alpine/v3.20/community add alpine-base nginx"
        );
    }
}

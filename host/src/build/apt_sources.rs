//! The host's own package sources, as its apt sees them.
//!
//! No URL of any distribution stands in this program: they go stale. What
//! the host itself uses is asked for, and only the distribution's own
//! archives count; entries with a password in them are never passed on.

use std::process::Command;

use crate::error::{Error, Result};

/// An archive of the host's distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Archive {
    site: String,
    release: String,
    component: String,
}

/// The distribution's own archives, and the host's release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Archives {
    /// The host's release (`bookworm`), as os-release(5) names it.
    pub(super) codename: String,
    list: Vec<Archive>,
}

/// What apt prints for each archive (apt-get(8), `indextargets`).
const FORMAT: &str = "$(SITE)\t$(RELEASE)\t$(COMPONENT)";

impl Archives {
    /// Asks the host's apt.
    pub(super) fn of_host() -> Result<Self> {
        let os_release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let codename = codename(&os_release).ok_or_else(|| {
            Error::new("cannot tell this host's release from '/etc/os-release'")
                .hint("name one with '--suite' and '--mirror'")
        })?;
        let output = Command::new("apt-get")
            .args(["indextargets", "--format", FORMAT, "Created-By: Packages"])
            .output();
        let listed = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        Ok(Self::parse(codename, &listed.unwrap_or_default()))
    }

    fn parse(codename: &str, listed: &str) -> Self {
        let archive = |line: &str| {
            let mut fields = line.split('\t').map(str::to_owned);
            let (site, release, component) = (fields.next()?, fields.next()?, fields.next()?);
            let is_own = [
                codename.to_owned(),
                format!("{codename}-updates"),
                format!("{codename}-security"),
            ]
            .contains(&release);
            // "https://user:password@host/": somebody's secret.
            (is_own && !site.contains('@')).then_some(Archive { site, release, component })
        };
        let mut list: Vec<Archive> = listed.lines().filter_map(archive).collect();
        list.dedup();
        Self { codename: codename.to_owned(), list }
    }

    /// The site that has the host's own release.
    pub(super) fn main_site(&self) -> Option<&str> {
        let main = self.list.iter().find(|archive| archive.release == self.codename);
        main.map(|archive| archive.site.as_str())
    }

    /// Lines for sources.list(5) of the host's own release, with these
    /// components, or with the host's when none are given.
    pub(super) fn lines(&self, components: &[String]) -> String {
        let wanted: Vec<&str> = components.iter().map(String::as_str).collect();
        let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
        for Archive { site, release, component } in &self.list {
            let start = format!("deb {site} {release}");
            match lines.iter_mut().find(|(line, _)| *line == start) {
                Some((_, components)) if wanted.is_empty() => components.push(component),
                Some(_) => {}
                None if wanted.is_empty() => lines.push((start, vec![component])),
                None => lines.push((start, wanted.clone())),
            }
        }
        let line = |(start, components): &(String, Vec<&str>)| {
            format!("{start} {}\n", components.join(" "))
        };
        lines.iter().map(line).collect()
    }
}

fn codename(os_release: &str) -> Option<&str> {
    let line = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(line.trim_matches('"')).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_distributions_own_archives_count() {
        let listed = "http://a/debian\tbookworm\tmain\nhttp://a/debian\tbookworm\tcontrib\n\
            http://a/security\tbookworm-security\tmain\nhttps://u:p@b/x\tbookworm\tmain\n\
            https://other/x\tbookworm-other\tmain\nnonsense\n";
        let archives = Archives::parse("bookworm", listed);
        assert_eq!(archives.main_site(), Some("http://a/debian"));
        assert_eq!(
            archives.lines(&[]),
            "deb http://a/debian bookworm main contrib\ndeb http://a/security bookworm-security main\n"
        );
        assert_eq!(
            archives.lines(&["main".to_owned()]),
            "deb http://a/debian bookworm main\ndeb http://a/security bookworm-security main\n"
        );
    }

    #[test]
    fn the_codename_is_read() {
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=trixie\n"), Some("trixie"));
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=\n"), None);
    }
}

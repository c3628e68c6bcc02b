//! Decides update-alternatives' links for a copy. Pure.
//!
//! The administrator's choices on the host may point to packages that the
//! copy doesn't have. In the copy every group is automatic: of the choices
//! whose file is there, the one with the highest priority.

use std::fmt::Write;

/// A group of alternatives (update-alternatives(1)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    name: String,
    link: String,
    /// Name and link of each slave.
    slaves: Vec<(String, String)>,
    choices: Vec<Alternative>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Alternative {
    path: String,
    priority: i32,
    /// The path for each slave; empty for none.
    slaves: Vec<String>,
}

/// A symbolic link to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Absolute path of the link.
    pub path: String,
    /// What it points to.
    pub target: String,
}

impl Group {
    /// Reads a file of `/var/lib/dpkg/alternatives`, whose name is the
    /// group's; `None` when it makes no sense.
    pub fn parse(name: &str, text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let _mode = lines.next()?;
        let link = lines.next()?.to_owned();
        let mut slaves = Vec::new();
        loop {
            let slave = lines.next()?;
            if slave.is_empty() {
                break;
            }
            slaves.push((slave.to_owned(), lines.next()?.to_owned()));
        }
        let mut choices = Vec::new();
        while let Some(path) = lines.next().filter(|line| !line.is_empty()) {
            let priority = lines.next()?.trim().parse().ok()?;
            let slaves =
                slaves.iter().map(|_| lines.next().map(str::to_owned)).collect::<Option<_>>()?;
            choices.push(Alternative { path: path.to_owned(), priority, slaves });
        }
        let sane = link.starts_with('/') && !name.is_empty() && !name.contains('/');
        sane.then(|| Self { name: name.to_owned(), link, slaves, choices })
    }

    /// Keeps the choices whose file is in the guest; `None` when none is.
    pub fn restricted_to(mut self, is_there: impl Fn(&str) -> bool) -> Option<Self> {
        self.choices.retain(|choice| is_there(&choice.path));
        for choice in &mut self.choices {
            for slave in &mut choice.slaves {
                if !is_there(slave) {
                    slave.clear();
                }
            }
        }
        (!self.choices.is_empty()).then_some(self)
    }

    /// The links that this group needs.
    pub fn links(&self) -> Vec<Link> {
        let Some(best) = self.choices.iter().max_by_key(|choice| choice.priority) else {
            return Vec::new();
        };
        let slaves = self.slaves.iter().zip(&best.slaves);
        let slaves = slaves
            .filter(|(_, target)| !target.is_empty())
            .map(|((name, link), target)| (name, link, target));
        std::iter::once((&self.name, &self.link, &best.path))
            .chain(slaves)
            .filter(|(name, ..)| !name.contains('/'))
            .flat_map(|(name, link, target)| {
                let middle = format!("/etc/alternatives/{name}");
                [
                    Link { path: middle.clone(), target: target.clone() },
                    Link { path: link.clone(), target: middle },
                ]
            })
            .collect()
    }

    /// The group's file for the guest's database.
    pub fn to_text(&self) -> String {
        let mut text = format!("auto\n{}\n", self.link);
        for (name, link) in &self.slaves {
            let _ = write!(text, "{name}\n{link}\n");
        }
        text.push('\n');
        for choice in &self.choices {
            let _ = write!(text, "{}\n{}\n", choice.path, choice.priority);
            for slave in &choice.slaves {
                let _ = writeln!(text, "{slave}");
            }
        }
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AWK: &str = "manual\n/usr/bin/awk\nawk.1.gz\n/usr/share/man/man1/awk.1.gz\n\n\
        /usr/bin/gawk\n10\n/usr/share/man/man1/gawk.1.gz\n/usr/bin/mawk\n5\n\n\n";

    #[test]
    fn the_best_choice_that_is_there_wins() {
        let group = Group::parse("awk", AWK).unwrap();
        let both = group.clone().restricted_to(|_| true).unwrap().links();
        assert_eq!(both.len(), 4);
        assert_eq!(both[0].target, "/usr/bin/gawk");
        let one = group.clone().restricted_to(|path| path == "/usr/bin/mawk").unwrap();
        assert_eq!(
            one.links(),
            [
                Link { path: "/etc/alternatives/awk".into(), target: "/usr/bin/mawk".into() },
                Link { path: "/usr/bin/awk".into(), target: "/etc/alternatives/awk".into() },
            ]
        );
        assert!(one.to_text().starts_with("auto\n/usr/bin/awk\n"));
        assert_eq!(group.restricted_to(|_| false), None);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(text in "(auto|/a|5|x|\\n)*") {
            if let Some(group) = Group::parse("x", &text) {
                prop_assert_eq!(Group::parse("x", &group.to_text()), Some(group.clone()));
                group.links();
            }
        }
    }
}

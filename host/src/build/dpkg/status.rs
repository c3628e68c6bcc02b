//! Parses dpkg's status file (deb-control(5), dpkg-query(1)). Pure.

/// An installed package, as far as a copy needs to know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its architecture (`amd64`, `all` …).
    pub architecture: String,
    /// Must it be on every system?
    pub essential: bool,
    /// `required`, `important`, `standard`, `optional` …
    pub priority: String,
    /// Pre-Depends and Depends: each needs one of several names.
    pub depends: Vec<Vec<String>>,
    /// Names of packages that it also stands for.
    pub provides: Vec<String>,
    /// Configuration files with the MD5 sum they were shipped with.
    pub conffiles: Vec<Conffile>,
    /// Can it be co-installed with itself for another architecture? Decides
    /// the names of its files in the database.
    pub same: bool,
    /// Its paragraph of the file, for the guest's own database.
    pub paragraph: String,
}

/// A configuration file of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conffile {
    /// Absolute path.
    pub path: String,
    /// MD5 sum of the shipped file, in hexadecimal.
    pub md5: String,
}

/// Reads the whole status file; packages that are not (fully) installed are
/// left out. Paragraphs that make no sense are left out too.
pub fn parse(text: &str) -> Vec<Package> {
    text.split("\n\n").filter_map(package).collect()
}

fn package(paragraph: &str) -> Option<Package> {
    let fields = fields(paragraph);
    let field = |name: &str| {
        fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    // "wanted-state error-flag state"; dpkg(1). With pending triggers all of
    // the package's files are in place.
    let state = field("Status")?.split_whitespace().nth(2)?;
    if !matches!(state, "installed" | "triggers-pending" | "triggers-awaited") {
        return None;
    }
    let mut depends = relations(field("Pre-Depends").unwrap_or_default());
    depends.extend(relations(field("Depends").unwrap_or_default()));
    let provides = relations(field("Provides").unwrap_or_default()).into_iter().flatten();
    Some(Package {
        name: field("Package")?.to_owned(),
        architecture: field("Architecture").unwrap_or("all").to_owned(),
        essential: field("Essential") == Some("yes"),
        priority: field("Priority").unwrap_or("optional").to_owned(),
        depends,
        provides: provides.collect(),
        conffiles: conffiles(field("Conffiles").unwrap_or_default()),
        same: field("Multi-Arch") == Some("same"),
        paragraph: cleaned(&fields),
    })
}

/// A paragraph's fields in order, continuation lines included.
fn fields(paragraph: &str) -> Vec<(&str, String)> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    for line in paragraph.lines() {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((key, value)) = line.split_once(':') {
            fields.push((key, value.to_owned()));
        }
    }
    fields
}

/// The paragraph as it stands in the guest: nothing is pending there.
fn cleaned(fields: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (key, value) in fields {
        match *key {
            "Triggers-Pending" | "Triggers-Awaited" | "Config-Version" => {}
            "Status" => text.push_str("Status: install ok installed\n"),
            _ => {
                text.push_str(key);
                text.push(':');
                text.push_str(value);
                text.push('\n');
            }
        }
    }
    text
}

/// Reads "a (>= 1) | b:any, c" as names without versions and architectures:
/// the host's own database is consistent, so versions fit.
fn relations(text: &str) -> Vec<Vec<String>> {
    let name = |alternative: &str| {
        let name = alternative.split(['(', '[', '<']).next().unwrap_or_default().trim();
        name.split(':').next().unwrap_or_default().to_owned()
    };
    text.split(',')
        .map(|group| group.split('|').map(name).filter(|name| !name.is_empty()).collect())
        .filter(|group: &Vec<String>| !group.is_empty())
        .collect()
}

/// Reads lines of "PATH MD5 [obsolete|remove-on-upgrade]". Obsolete ones no
/// longer belong to the package.
fn conffiles(text: &str) -> Vec<Conffile> {
    let conffile = |line: &str| {
        let mut words = line.rsplitn(2, ' ');
        let md5 = words.next()?.to_owned();
        let path = words.next()?.trim().to_owned();
        let is_sum = md5.len() == 32 && md5.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_sum && path.starts_with('/')).then_some(Conffile { path, md5 })
    };
    text.lines().filter_map(conffile).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "\
Package: cron
Essential: no
Status: install ok triggers-pending
Priority: important
Architecture: amd64
Depends: libc6 (>= 2.34), init-d | base:any (<< 3) , libpam0g
Pre-Depends: dpkg
Provides: cron-daemon (= 3)
Triggers-Pending: x
Conffiles:
 /etc/default/cron d3bb8c0d5e4a4ee01f4a1b1a4a7b9c4e
 /etc/old d3bb8c0d5e4a4ee01f4a1b1a4a7b9c4e obsolete
Description: clock
 More text.

Package: gone
Status: deinstall ok config-files
";

    #[test]
    fn an_installed_package_is_read_and_a_removed_one_is_not() {
        let packages = parse(TEXT);
        assert_eq!(packages.len(), 1);
        let cron = &packages[0];
        assert_eq!(cron.name, "cron");
        assert_eq!(
            cron.depends,
            [vec!["dpkg"], vec!["libc6"], vec!["init-d", "base"], vec!["libpam0g"]]
        );
        assert_eq!(cron.provides, ["cron-daemon"]);
        assert_eq!(cron.conffiles.len(), 1);
        assert_eq!(cron.conffiles[0].path, "/etc/default/cron");
        assert!(cron.paragraph.contains("Status: install ok installed\n"));
        assert!(!cron.paragraph.contains("Triggers-Pending"));
        assert!(cron.paragraph.ends_with("Description: clock\n More text.\n"));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(text in "(Package|Status|Depends|Conffiles|[ :\\n,|()a-z])*") {
            parse(&text);
        }

        #[test]
        fn a_paragraph_is_a_fixed_point(name in "[a-z][a-z0-9+.-]{1,10}", depends in "[a-z]{1,5}") {
            let text = format!("Package: {name}\nStatus: install ok unpacked\n");
            prop_assert!(parse(&text).is_empty());
            let text = format!("Package: {name}\nStatus: hold ok installed\nDepends: {depends}\n");
            let once = parse(&text);
            let twice = parse(&once[0].paragraph);
            prop_assert_eq!(&once[0].paragraph, &twice[0].paragraph);
        }
    }
}

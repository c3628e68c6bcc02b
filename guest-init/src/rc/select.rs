//! Which links of the rc directories count when a runlevel is entered.
//!
//! Pure. The rules of Debian's `/etc/init.d/rc`:
//! - level S: its S links, with `start`;
//! - levels 0 and 6: the K links, then the S links, all with `stop`;
//! - any other level, coming from none (`N`, the boot): its S links, with
//!   `start`;
//! - coming from another level: first its K links, with `stop`, but only of
//!   what was started in the previous level or in S; then its S links, with
//!   `start`, but not of what the previous level has started already, unless
//!   a K link of this level has just stopped it.

/// A link like `S20cron`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// The order number, 20.
    pub number: u32,
    /// The script's name, `cron`.
    pub name: String,
    /// The link's own name.
    pub file: String,
}

/// The links of one rc directory, each list in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// `K…`.
    pub kill: Vec<Link>,
    /// `S…`.
    pub start: Vec<Link>,
}

impl Links {
    /// Sorts file names into links; other files (README, editors' backups)
    /// don't count.
    pub fn from_names<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut links = Self::default();
        for file in names {
            let (list, rest) = match (file.strip_prefix('S'), file.strip_prefix('K')) {
                (Some(rest), _) => (&mut links.start, rest),
                (_, Some(rest)) => (&mut links.kill, rest),
                _ => continue,
            };
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let Some((number, name)) = rest.split_at_checked(digits) else { continue };
            if let Ok(number) = number.parse::<u32>()
                && !name.is_empty()
                && !is_leftover(name)
            {
                list.push(Link { number, name: name.to_owned(), file: file.to_owned() });
            }
        }
        links.kill.sort();
        links.start.sort();
        links
    }
}

/// Is it a package manager's or an editor's copy?
fn is_leftover(name: &str) -> bool {
    name.ends_with('~')
        || name.contains(".dpkg-")
        || [".rpmsave", ".rpmorig", ".rpmnew", ".bak", ".swp", ".orig"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// What is to be run: links to stop and links to start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// First these, with `stop`.
    pub kill: Vec<Link>,
    /// Then these, with `start_argument`.
    pub start: Vec<Link>,
    /// `start`, in levels 0 and 6 `stop`.
    pub start_argument: &'static str,
}

/// Applies the rules of the module's head. `level` and `previous` are
/// runlevel characters, `previous` is `N` at boot; `before` holds the links
/// of the previous level, `boot` those of S.
pub fn select(level: char, previous: char, this: Links, before: &Links, boot: &Links) -> Selection {
    let has = |links: &[Link], name: &str| links.iter().any(|link| link.name == name);
    match (level, previous) {
        ('S', 'N') | (_, 'N') if !matches!(level, '0' | '6') => {
            Selection { kill: Vec::new(), start: this.start, start_argument: "start" }
        }
        ('S', _) => Selection { kill: this.kill, start: this.start, start_argument: "start" },
        ('0' | '6', _) => Selection { kill: this.kill, start: this.start, start_argument: "stop" },
        _ => {
            let start: Vec<Link> = this
                .start
                .into_iter()
                .filter(|link| !has(&before.start, &link.name) || has(&this.kill, &link.name))
                .collect();
            let kill = this
                .kill
                .into_iter()
                .filter(|link| has(&before.start, &link.name) || has(&boot.start, &link.name))
                .collect();
            Selection { kill, start, start_argument: "start" }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn links(names: &[&str]) -> Links {
        Links::from_names(names.iter().copied())
    }

    fn names(links: &[Link]) -> Vec<&str> {
        links.iter().map(|link| link.file.as_str()).collect()
    }

    #[test]
    fn only_links_with_a_number_and_a_name_count() {
        let found =
            links(&["S20cron", "README", "K01a", "S", "S12", "Sx", "S02b.dpkg-old", "S9c", "S3d~"]);
        assert_eq!(names(&found.start), ["S9c", "S20cron"]);
        assert_eq!(names(&found.kill), ["K01a"]);
    }

    #[test]
    fn a_boot_starts_everything_and_stops_nothing() {
        let picked = select('2', 'N', links(&["K01x", "S01a"]), &links(&[]), &links(&["S01x"]));
        assert_eq!((names(&picked.kill), names(&picked.start)), (vec![], vec!["S01a"]));
    }

    #[test]
    fn a_change_stops_what_ran_and_starts_what_is_new() {
        let before = links(&["S01a", "S01b", "S01c"]);
        let this = links(&["K01b", "K01never", "S02c", "S03new"]);
        let picked = select('3', '2', this, &before, &links(&[]));
        assert_eq!(names(&picked.kill), ["K01b"]);
        assert_eq!(names(&picked.start), ["S03new"]);
    }

    #[test]
    fn halt_and_reboot_stop_with_both_kinds_of_links() {
        for level in ['0', '6'] {
            let picked = select(level, 'N', links(&["K01a", "S90halt"]), &links(&[]), &links(&[]));
            assert_eq!(names(&picked.kill), ["K01a"]);
            assert_eq!(names(&picked.start), ["S90halt"]);
            assert_eq!(picked.start_argument, "stop");
        }
    }

    proptest! {
        #[test]
        fn any_names_are_sorted_by_number(names in prop::collection::vec("[SK]?[0-9]{0,3}\\PC{0,8}", 0..40)) {
            let found = Links::from_names(names.iter().map(String::as_str));
            prop_assert!(found.start.windows(2).all(|pair| pair[0].number <= pair[1].number));
        }
    }
}

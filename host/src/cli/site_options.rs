//! The options that every build has, out of the site's file: words of one line each.

use std::ffi::OsString;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;

use super::{Action, Cli, Method, old_method};

/// A line of `vserver build`, whose verb stands at `at`, with the site's options before
/// its own. Of the site's, those count for which the method has a use.
pub(super) fn add(words: &[OsString], at: usize, site: &[Vec<OsString>]) -> Vec<OsString> {
    let whole = |site: &[&Vec<OsString>]| {
        let mut line = words.to_vec();
        line.splice(at + 1..at + 1, site.iter().flat_map(|words| words.iter().cloned()));
        old_method::translate(line)
    };
    let all = whole(&site.iter().collect::<Vec<_>>());
    if site.is_empty() {
        return all;
    }
    let parsed = <Cli as clap::Parser>::try_parse_from(all.clone());
    let Ok(Action::Build(build)) = parsed.map(|cli| cli.action) else { return all };
    let counts = |words: &&Vec<OsString>| fits(words, build.method);
    whole(&site.iter().filter(counts).collect::<Vec<_>>())
}

/// Does this method have a use for an option?
fn fits(words: &[OsString], method: Method) -> bool {
    let command = Cli::command().ignore_errors(true);
    let Ok(matches) = command.try_get_matches_from(line(words)) else { return true };
    let Some(build) = matches.subcommand_matches("build") else { return true };
    let typed = |id: &&str| build.value_source(id) == Some(ValueSource::CommandLine);
    let mut given = build.ids().map(clap::Id::as_str).filter(typed);
    given.all(|option| method.has_use_for(option))
}

/// What is wrong with an option by itself.
pub fn mistake(words: &[OsString]) -> Option<String> {
    let error = Cli::command().try_get_matches_from(line(words)).err()?;
    if error.kind() == ErrorKind::MissingRequiredArgument {
        // It may stand in another line, or be typed.
        return None;
    }
    let option = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    let said = error.to_string();
    let said = said.lines().next().unwrap_or_default().trim_start_matches("error: ");
    Some(match (error.kind(), error.get(ContextKind::InvalidValue)) {
        (ErrorKind::DisplayHelp | ErrorKind::DisplayVersion, _) => format!("'{option}' is none"),
        (ErrorKind::InvalidValue, Some(ContextValue::String(value))) if value.is_empty() => {
            format!("'{option}' needs a value")
        }
        _ => said.to_owned(),
    })
}

/// A line of `vserver build` with these words alone.
fn line(words: &[OsString]) -> impl Iterator<Item = OsString> {
    ["vserver", "build", "x"].into_iter().map(OsString::from).chain(words.iter().cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(lines: &[&str]) -> Vec<Vec<OsString>> {
        lines.iter().map(|line| line.split(' ').map(OsString::from).collect()).collect()
    }

    #[test]
    fn options_that_mean_nothing_to_the_method_are_passed_over() {
        let site = site(&[
            "--method debootstrap",
            "--suite=trixie",
            "-s trixie",
            "--mirror http://m",
            "--include vim",
            "--ssh-key a.pub",
            "--from x",
            "-q",
        ]);
        let added = |line: &str| {
            let words: Vec<_> = line.split(' ').map(OsString::from).collect();
            let line = add(&words, 1, &site).join(" ".as_ref());
            line.into_string().unwrap()
        };
        assert_eq!(
            added("vserver build web"),
            "vserver build --method debootstrap --suite=trixie -s trixie --mirror http://m \
             --include vim --ssh-key a.pub -q web"
        );
        assert_eq!(
            added("vserver build web -m copy"),
            "vserver build --method debootstrap --include vim --ssh-key a.pub -q web -m copy"
        );
        assert_eq!(
            added("vserver build web -m clone --from web"),
            "vserver build --method debootstrap --from x -q web -m clone --from web"
        );
        // What is typed stays, to be refused.
        assert!(added("vserver build web -m copy --suite sid").ends_with(" -m copy --suite sid"));
    }

    #[test]
    fn a_mistake_is_told_of_its_option() {
        let of = |line: &str| mistake(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for line in ["--suite trixie", "--method template", "--force", "-mcopy", "-n other"] {
            assert_eq!(of(line), None, "{line}");
        }
        for (line, said) in [
            ("--suite", "'--suite' needs a value"),
            ("--frobnicate", "'--frobnicate'"),
            ("--method magic", "'magic'"),
            ("--force yes", "'yes'"),
            ("--help", "'--help' is none"),
        ] {
            let found = of(line).unwrap_or_default();
            assert!(found.contains(said), "{line}: {found}");
        }
    }
}

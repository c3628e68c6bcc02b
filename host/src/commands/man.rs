//! `vserver man`: writes the manual pages, from the same definitions that
//! parse the command line and the configuration.

use std::fs;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::cli::{self, ManArgs};
use crate::commands::Exit;
use crate::config::template::{self, EXPLANATIONS};
use crate::error::{Error, Result};
use crate::paths::Paths;

const PROGRAM: &str = "vserver";
const MANUAL: &str = "Virtual servers";
const SOURCE: &str = concat!("vserver ", env!("CARGO_PKG_VERSION"));
/// Of this version. Without one the words after it count as another (man(7), `.TH`).
const DATE: &str = "2026-11-27";

/// Files and variables, for vserver(8).
const FILES: [(&str, &str); 11] = [
    ("/etc/vservers/NAME.toml", "configuration of a guest, vserver.toml(5)"),
    ("/etc/vservers/NAME.sh", "actions on the host: pre-start, post-start, pre-stop, post-stop"),
    ("/etc/vservers/defaults.toml", "site-wide defaults for all guests"),
    ("/var/lib/vservers/NAME/", "root directory of a guest"),
    ("/var/lib/vserver/ids.toml", "contexts and id ranges that were given out"),
    ("/var/lib/vserver/usage/", "what guests have used, vserver-usage(8)"),
    ("/run/vserver/NAME/", "sockets and state of a running guest"),
    ("/var/log/vserver/", "logs of consoles and supervisors"),
    ("share/doc/vserver/", "docs/NAME.md, below the prefix: /usr/local, or /usr of a package"),
    ("$VSERVER_PREFIX", "environment variable: puts all of these below a directory"),
    ("$VSERVER_LOG", "environment variable: 'debug' makes supervisors log more"),
];

/// Writes vserver(8), a page for each verb and tool, and vserver.toml(5).
pub(super) fn run(args: &ManArgs, _paths: &Paths) -> Result<Exit> {
    let directory = &args.directory;
    fs::create_dir_all(directory).map_err(|error| Error::path("create", directory, error))?;
    for (file, text) in all()? {
        let path = directory.join(file);
        fs::write(&path, text).map_err(|error| Error::path("write", &path, error))?;
    }
    Ok(Exit::DONE)
}

/// Every page: the name of its file, and its text.
pub(super) fn all() -> Result<Vec<(String, String)>> {
    let mut whole = cli::command().disable_help_subcommand(true);
    whole.build();
    let mut all = vec![("vserver.toml.5".to_owned(), configuration())];
    pages(&mut all, &whole, PROGRAM)?;
    Ok(all)
}

/// Adds a command's page and those of the commands below it.
fn pages(all: &mut Vec<(String, String)>, command: &Command, name: &str) -> Result<()> {
    let file = format!("{name}.8");
    // A verb and the program of the same page (`vserver stat`, `vserver-stat`)
    // have one, the verb's.
    if all.iter().all(|(other, _)| *other != file) {
        all.push((file, page(command, name)?));
    }
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        let verb = inner.get_name();
        // Tools are programs of their own.
        let page = if is_tool(verb) { verb.to_owned() } else { format!("{name}-{verb}") };
        pages(all, inner, &page)?;
    }
    Ok(())
}

fn is_tool(name: &str) -> bool {
    cli::tools::programs().iter().any(|program| program.get_name() == name)
}

/// One page of section 8.
fn page(command: &Command, name: &str) -> Result<String> {
    let notes = command.get_after_help().map(ToString::to_string);
    let plain = command.clone().after_help("").subcommand_help_heading("VERBS");
    let man = Man::new(plain.display_name(name.to_owned()))
        .section("8")
        .date(DATE)
        .title(name.to_uppercase())
        .source(SOURCE)
        .manual(MANUAL);
    let mut text = Vec::new();
    let fail = |error| Error::os(format_args!("cannot write '{name}(8)'"), error);
    man.render_title(&mut text).map_err(fail)?;
    man.render_name_section(&mut text).map_err(fail)?;
    let mut synopsis = Roff::new();
    synopsis.control("SH", ["SYNOPSIS"]);
    for (index, line) in usage(command, name).into_iter().enumerate() {
        if index > 0 {
            synopsis.control("br", []);
        }
        synopsis.text(vec![roman(line)]);
    }
    text.extend_from_slice(synopsis.to_roff().as_bytes());
    man.render_description_section(&mut text).map_err(fail)?;
    man.render_options_section(&mut text).map_err(fail)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text).map_err(fail)?;
    }
    let mut rest = Roff::new();
    if let Some(notes) = notes {
        rest.control("SH", ["NOTES"]).control("nf", []);
        rest.text(vec![roman(notes)]).control("fi", []);
    }
    rest.control("SH", ["EXIT STATUS"]);
    rest.text(vec![roman(exit_status(command, name))]);
    if name == PROGRAM {
        files(&mut rest);
    }
    rest.control("SH", ["SEE ALSO"]);
    rest.text(vec![roman(see_also(command, name))]);
    Ok(tidy(&String::from_utf8_lossy(&text)) + &rest.render())
}

/// Without what formatters complain about: blanks at the ends of lines, and empty
/// lines, which are paragraphs where there may be none.
fn tidy(text: &str) -> String {
    let lines = text.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect::<String>().replace(".br\n\n.br\n", ".sp\n")
}

/// How it is called, with values and with what can be repeated, and by other names.
fn usage(command: &Command, name: &str) -> Vec<String> {
    let words = if is_tool(name) { name.to_owned() } else { name.replace('-', " ") };
    let shown = command.clone().render_usage().to_string();
    // A tool is a program, too.
    let shown = shown.replacen(&format!("vserver {words}"), &words, 1);
    let shown = shown.trim_start_matches("Usage: ").lines().map(str::trim);
    let mut lines: Vec<_> = shown.filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if command.get_name() == "suexec" {
        lines.push("vserver <NAME> suexec <USER> <CMD>...".to_owned());
    }
    let outer = words.rsplit_once(' ').map_or("vserver", |(outer, _)| outer).to_owned();
    let others = command.get_visible_aliases();
    lines.extend(others.map(|other| format!("{outer} {other} ... is the same")));
    lines
}

/// By what the command ends, where its notes don't say it.
fn exit_status(command: &Command, name: &str) -> &'static str {
    let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    // Not where one of them is only mentioned.
    let tells_all = ["Exit code: ", "Exit codes: ", "Exit codes are "];
    if tells_all.iter().any(|words| notes.contains(words)) {
        return "See NOTES.";
    }
    if is_tool(name) {
        return "0, or 1 if it failed.";
    }
    "0 done, 1 failed, 2 wrong use, 3 not running, 4 no permission, 5 no such guest. Of several \
     guests, the largest counts."
}

fn see_also(command: &Command, name: &str) -> String {
    let others = command
        .get_subcommands()
        .filter(|inner| name != PROGRAM && !inner.is_hide_set() && inner.get_name() != "help");
    let mut pages: Vec<_> = others.map(|inner| format!("{name}-{}(8)", inner.get_name())).collect();
    match name {
        PROGRAM => pages.push("namespaces(7), cgroups(7), capabilities(7)".to_owned()),
        "vps" => pages.push("ps(1)".to_owned()),
        "vpstree" => pages.push("pstree(1)".to_owned()),
        "vtop" => pages.push("top(1)".to_owned()),
        "vkill" => pages.push("kill(1), signal(7)".to_owned()),
        "reducecap" | "chcontext" => pages.push("capabilities(7)".to_owned()),
        _ => {}
    }
    if name != PROGRAM {
        pages.push("vserver(8)".to_owned());
    }
    pages.push("vserver.toml(5)".to_owned());
    pages.join(", ")
}

fn files(page: &mut Roff) {
    page.control("SH", ["FILES"]);
    for (file, text) in FILES {
        entry(page, vec![italic(file)], vec![roman(text)]);
    }
}

/// vserver.toml(5).
fn configuration() -> String {
    let mut page = Roff::new();
    page.control("TH", ["VSERVER.TOML", "5", DATE, SOURCE, MANUAL]);
    page.control("SH", ["NAME"]);
    page.text(vec![roman("vserver.toml - configuration of a vserver guest")]);
    page.control("SH", ["SYNOPSIS"]);
    page.text(vec![italic("/etc/vservers/NAME.toml")]).control("br", []);
    page.text(vec![italic("/etc/vservers/defaults.toml")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text(vec![roman(
        "Each guest has one file in TOML. Every key is optional but the context, and a key that \
         is not listed here is refused. defaults.toml has the same form and holds for all guests: \
         sections are merged key by key, everything else a guest says replaces the default. \
         A duration is a number of seconds or a text such as \"1m 30s\". 'vserver config check' \
         shows mistakes, 'vserver config show NAME --effective' what holds.",
    )]);
    let mut section = None;
    for explanation in &EXPLANATIONS {
        let (its_section, key) = match explanation.key.split_once('.') {
            Some((section, key)) => (Some(section), key),
            None => (None, explanation.key),
        };
        if section != its_section || explanation.key == EXPLANATIONS[0].key {
            section = its_section;
            let title = section.map_or("KEYS OUTSIDE SECTIONS".into(), |name| format!("[{name}]"));
            page.control("SH", [title.as_str()]);
        }
        let mut text = vec![roman(explanation.text)];
        match template::default_of(explanation.key) {
            Some(default) => text.push(roman(format!(" Default: {default}."))),
            None => text.push(roman(format!(" Example: {}.", explanation.example))),
        }
        entry(&mut page, vec![bold(key)], text);
    }
    page.control("SH", ["SEE ALSO"]);
    page.text(vec![roman("vserver(8)")]);
    page.render()
}

fn entry(page: &mut Roff, head: Vec<Inline>, body: Vec<Inline>) {
    page.control("TP", []).text(head).text(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_and_every_key_has_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let args = ManArgs { directory: directory.path().join("man") };
        run(&args, &Paths::new("/nonexistent")).unwrap();
        let page = |name: &str| fs::read_to_string(args.directory.join(name)).unwrap();
        for verb in cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let name = verb.get_name();
            let prefix = if is_tool(name) { "" } else { "vserver-" };
            assert!(page(&format!("{prefix}{name}.8")).contains("SYNOPSIS"));
        }
        let files: Vec<_> = all().unwrap().into_iter().map(|(file, _)| file).collect();
        let unique: std::collections::BTreeSet<_> = files.iter().collect();
        assert_eq!(unique.len(), files.len(), "two pages of one name are one");
        let title = format!(".TH VSERVER\\-START 8 {DATE} \"{SOURCE}\" \"{MANUAL}\"\n");
        let heads = page("vserver-start.8");
        assert!(heads.replace("VSERVER-START", "VSERVER\\-START").contains(&title), "{heads}");
        assert!(page("vserver.8").contains("Exit codes"));
        assert!(!page("vserver.8").contains("vserver\\-supervise"));
        assert!(page("vserver-config-set.8").contains("dry\\-run"));
    }

    /// By its entry, not by a word in another's.
    #[test]
    fn every_key_stands_in_its_section() {
        let page = configuration();
        for key in crate::config::schema::keys() {
            let (section, name) = match key.split_once('.') {
                Some((section, name)) => (format!("[{section}]"), name),
                None => ("\"KEYS OUTSIDE SECTIONS\"".to_owned(), key.as_str()),
            };
            let start = page.split(&format!(".SH {section}\n")).nth(1);
            let section = start.and_then(|rest| rest.split(".SH ").next()).unwrap_or_default();
            let entry = format!(".TP\n\\fB{}\\fR\n", name.replace('-', "\\-"));
            assert!(section.contains(&entry), "'{key}' has no entry in {section}");
        }
    }

    #[test]
    fn a_page_says_how_it_is_called_and_how_it_ends() {
        let pages = all().unwrap();
        let page = |name: &str| {
            let found = pages.iter().find(|(file, _)| file == name);
            found.map(|(_, text)| text.replace("\\-", "-")).unwrap_or_default()
        };
        for (file, wanted) in [
            ("vserver-exec.8", "vserver exec [OPTIONS] <NAME> <CMD>..."),
            ("vserver-start.8", "<NAME|--all|--enabled|--mark <MARK>>"),
            ("vserver-suexec.8", "vserver <NAME> suexec <USER> <CMD>..."),
            ("vserver-unify.8", "vserver hashify ... is the same"),
            ("vserver-config-set.8", "vserver config set [OPTIONS] <NAME> <KEY>"),
            ("vserver-config.8", "vserver-config-set(8), "),
            ("vkill.8", "vserver kill ... is the same"),
            ("vkill.8", "\nvkill [OPTIONS] [PID]..."),
        ] {
            let text = page(file);
            assert!(text.contains(wanted), "{file}: {wanted}\n{text}");
            assert!(text.contains(".SH \"EXIT STATUS\"") && text.contains("vserver(8)"), "{text}");
        }
        let ends = |file: &str| {
            let text = page(file);
            let end =
                text.split(".SH \"EXIT STATUS\"\n").nth(1).and_then(|rest| rest.lines().next());
            (end.unwrap_or_default().to_owned(), text)
        };
        // Its number isn't vserver's.
        let (end, text) = ends("vserver-enter.8");
        assert!(end == "See NOTES." && text.contains("Exit code: the shell"), "{text}");
        // That a guest runs already is not all that they may end with.
        for file in ["vserver-start.8", "vserver-stop.8", "vserver-unify.8"] {
            let (end, text) = ends(file);
            assert!(end.starts_with("0 done, 1 failed") && text.contains("xit code "), "{text}");
        }
        for (file, text) in &pages {
            assert!(text.contains("SEE ALSO"), "{file}");
        }
    }

    #[test]
    fn every_option_has_its_entry() {
        fn look(command: &Command, name: &str) {
            let text = page(command, name).unwrap();
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                let Some(long) = argument.get_long() else { continue };
                let option = format!("\\fB\\-\\-{}\\fR", long.replace('-', "\\-"));
                let mut entries = text.split("\n.TP\n").filter_map(|entry| entry.lines().next());
                assert!(entries.any(|head| head.contains(&option)), "{name}: --{long}\n{text}");
            }
            for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
                look(inner, &format!("{name}-{}", inner.get_name()));
            }
        }
        let mut whole = cli::command().disable_help_subcommand(true);
        whole.build();
        look(&whole, PROGRAM);
    }
}

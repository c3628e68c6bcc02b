//! Reads the rc directories and what the distribution knows about their
//! order. The only file of the runner that touches the guest.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::lsb::{Facilities, Header};
use super::order::{Source, order};
use super::select::{Link, Links, select};
use super::{Plan, Script, depend, lsb};
use crate::files;

/// Most links of one directory that are looked at.
const MAX_LINKS: usize = 512;

/// Longest file that is read whole: `.depend.*`, `insserv.conf`.
const MAX_DATA: u64 = 128 * 1024;

/// Bytes of a script in which its header has to stand.
const HEADER_WITHIN: u64 = 8 * 1024;

/// Debian's scripts that signal every process but those of their own session.
/// Here every script has a session of its own, so these run alone: a
/// distribution's runner, with one session for all, would spare the others.
const SIGNALS_ALL: [&str; 2] = ["sendsigs", "killprocs"];

const INIT_D: &str = "/etc/init.d";

/// What is to be run on entering `level`, coming from `previous` (runlevel
/// characters, `N` for none). A directory that can't be read is one that
/// isn't there.
pub fn plan(level: char, previous: char) -> Plan {
    if !has_directories() {
        let script = bsd_script(level).map(|path| (path.to_owned(), path.to_owned()));
        // Such scripts call rc.local themselves.
        let local = has_rc_local() && !has_bsd_scripts();
        let found = script.is_some();
        return Plan { found, local, ..Plan::sequence(script.into_iter(), "") };
    }
    let nothing = || Plan { local: has_rc_local(), ..Plan::default() };
    let Some(directory) = rc_directory(level) else { return nothing() };
    let Some(this) = links(&directory) else { return nothing() };
    let of = |level| rc_directory(level).and_then(|path| links(&path)).unwrap_or_default();
    let selection = select(level, previous, this, &of(previous), &of('S'));
    let mut plan = Plan { found: true, verbose: verbose(), ..nothing() };
    let insserv = insserv_is_valid();
    for (links, argument) in [(selection.kill, "stop"), (selection.start, selection.start_argument)]
    {
        let file = match (argument, level) {
            ("stop", _) => ".depend.stop",
            (_, 'S') => ".depend.boot",
            _ => ".depend.start",
        };
        let links: Vec<Link> =
            links.into_iter().filter(|link| is_executable(&directory, link)).collect();
        if !links.is_empty() {
            let source = source(&directory, &links, insserv.then_some(file));
            plan.stages.push(stage(&directory, links, &source, argument, &mut plan.notes));
        }
    }
    plan
}

fn stage(
    directory: &str,
    links: Vec<Link>,
    source: &Source,
    argument: &'static str,
    notes: &mut Vec<String>,
) -> Vec<Script> {
    let order = order(&links, source, argument == "stop");
    notes.extend(
        order
            .loops
            .iter()
            .map(|name| format!("rc scripts wait for each other: loop cut at '{name}'")),
    );
    let parts = links.into_iter().zip(order.after).zip(order.alone);
    parts
        .map(|((link, after), alone)| Script {
            path: script_path(directory, &link),
            alone: alone || SIGNALS_ALL.contains(&link.name.as_str()),
            name: link.name,
            argument: argument.to_owned(),
            after,
        })
        .collect()
}

/// `/etc/rcN.d`, or where old distributions have it.
fn rc_directory(level: char) -> Option<String> {
    if level == 'N' {
        return None;
    }
    [format!("/etc/rc{level}.d"), format!("/etc/rc.d/rc{level}.d")]
        .into_iter()
        .find(|path| Path::new(path).is_dir())
}

/// Are there rc directories?
pub fn has_directories() -> bool {
    ['S', '2'].into_iter().any(|level| rc_directory(level).is_some())
}

/// One script for each stage of a boot, as the BSDs, CRUX and Slackware have
/// them.
const BSD: [(&str, &str); 6] = [
    ("S", "/etc/rc"),
    ("S", "/etc/rc.d/rc.S"),
    ("2345", "/etc/rc.d/rc.M"),
    ("06", "/etc/rc.shutdown"),
    ("0", "/etc/rc.d/rc.0"),
    ("6", "/etc/rc.d/rc.6"),
];

/// The script of a runlevel, where there are no directories.
fn bsd_script(level: char) -> Option<&'static str> {
    let mut known = BSD.iter().filter(|(levels, _)| levels.contains(level));
    known.find(|(_, path)| is_program(path)).map(|(_, path)| *path)
}

/// Does a boot begin with such a script?
pub fn has_bsd_scripts() -> bool {
    bsd_script('S').is_some()
}

pub fn has_rc_local() -> bool {
    is_program("/etc/rc.local")
}

fn links(directory: &str) -> Option<Links> {
    let names: Vec<String> = fs::read_dir(directory)
        .ok()?
        .take(MAX_LINKS)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    Some(Links::from_names(names.iter().map(String::as_str)))
}

fn is_executable(directory: &str, link: &Link) -> bool {
    is_program(&format!("{directory}/{}", link.file))
}

fn is_program(path: &str) -> bool {
    fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Scripts are run by their own path where the link leads there, as
/// insserv's startpar does: some look at `$0`.
fn script_path(directory: &str, link: &Link) -> String {
    let own = format!("{INIT_D}/{}", link.name);
    let path = format!("{directory}/{}", link.file);
    match (fs::canonicalize(&path), fs::canonicalize(&own)) {
        (Ok(a), Ok(b)) if a == b => own,
        _ => path,
    }
}

/// Debian's rule for trusting insserv: all three files are there and not
/// empty, and the administrator has not asked for the order by number.
fn insserv_is_valid() -> bool {
    let filled = |name: &&str| {
        fs::metadata(format!("{INIT_D}/{name}")).is_ok_and(|data| data.is_file() && data.len() > 0)
    };
    [".depend.boot", ".depend.start", ".depend.stop"].iter().all(filled)
        && !Path::new("/etc/init.d/.legacy-bootordering").exists()
}

fn source(directory: &str, links: &[Link], insserv: Option<&str>) -> Source {
    let read = |path: &str| files::read_text(Path::new(path), MAX_DATA).ok();
    if let Some(depend) =
        insserv.and_then(|file| depend::parse(&read(&format!("{INIT_D}/{file}"))?))
    {
        return Source::Depend(depend);
    }
    if Path::new("/etc/init.d/.legacy-bootordering").exists() {
        return Source::Numbers;
    }
    let header = |link: &Link| -> Option<(String, Header)> {
        let path = format!("{directory}/{}", link.file);
        let text = files::read_text(Path::new(&path), HEADER_WITHIN).ok()?;
        Some((link.name.clone(), lsb::parse(&text)?))
    };
    let headers: BTreeMap<String, Header> = links.iter().filter_map(header).collect();
    if headers.is_empty() { Source::Numbers } else { Source::Headers(headers, facilities()) }
}

/// `/etc/insserv.conf` and the files of `/etc/insserv.conf.d`.
fn facilities() -> Facilities {
    let mut text = files::read_text(Path::new("/etc/insserv.conf"), MAX_DATA).unwrap_or_default();
    for entry in fs::read_dir("/etc/insserv.conf.d").into_iter().flatten().take(MAX_LINKS).flatten()
    {
        text.push('\n');
        text.push_str(&files::read_text(&entry.path(), HEADER_WITHIN).unwrap_or_default());
    }
    Facilities::parse(&text).unwrap_or_default()
}

/// `VERBOSE` of `/etc/default/rcS`, the one variable that Debian's rc takes
/// from there into its scripts' environment.
fn verbose() -> Option<String> {
    let text = files::read_text(Path::new("/etc/default/rcS"), HEADER_WITHIN).ok()?;
    let value = text.lines().rev().find_map(|line| line.trim().strip_prefix("VERBOSE="))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

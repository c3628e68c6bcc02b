//! Looks at the guest: whose init program it has, which boot files there are.
//!
//! Runs with the guest's own privileges in the guest's own root, so ordinary
//! paths are right here; what is read is bounded by [`crate::files`].

use std::fs;
use std::io;
use std::path::Path;

use shared::family::{Family, INITS, OVERLAY};
use shared::message::RcMode;

use crate::detect::{Facts, InitProgram, Rc};
use crate::files;
use crate::inittab::{self, Dialect};
use crate::machine::Table;
use crate::rc::{load, stock};

/// Longest text that is read as inittab or rc runner.
const MAX_TEXT: u64 = 64 * 1024;

/// How far into a program its marks are looked for; a static busybox is
/// 2 MB.
const MAX_PROGRAM: u64 = 8 * 1024 * 1024;

const INITTAB: &str = "/etc/inittab";

/// Gathers what [`crate::detect`] decides by.
pub fn facts() -> Facts {
    let inittab = read(INITTAB).map(|text| inittab::dialect_of(&text));
    let rc = if load::has_directories() {
        Some(Rc::Directories)
    } else if load::has_bsd_scripts() {
        Some(Rc::Scripts)
    } else {
        load::has_rc_local().then_some(Rc::Directories)
    };
    // What its files say comes before a program that may lie there for its libraries.
    let places = if inittab.is_some() { &INITS[..1] } else { &INITS[..] };
    let place = places.iter().find(|path| Path::new(path).exists()).unwrap_or(&INITS[0]);
    Facts { init: init_program(Path::new(place)), place, inittab, rc }
}

/// The init that a command is which works as PID 1 only: s6-overlay's.
pub fn overlay(command: &[String]) -> Option<InitProgram> {
    let program = command.first().filter(|program| *program == OVERLAY)?;
    let init = init_program(Path::new(program));
    (init.family() == Family::S6).then_some(init)
}

/// By the name of what it leads to, else by a text that only this program
/// holds.
fn init_program(path: &Path) -> InitProgram {
    let Ok(target) = fs::canonicalize(path) else { return InitProgram::None };
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let family = Family::of_program(&name).map_or_else(|| marked(&target), Ok);
    match family {
        Ok(family) => InitProgram::of(family, target.to_string_lossy().into_owned()),
        Err(_) => InitProgram::None,
    }
}

fn marked(program: &Path) -> io::Result<Family> {
    let marks = Family::MARKS.map(|(mark, _)| mark);
    let found = files::find_bytes(program, &marks, MAX_PROGRAM)?;
    let family = found.and_then(|number| Family::MARKS.get(number)).map(|(_, family)| *family);
    Ok(family.unwrap_or(Family::Other))
}

/// Reads the guest's inittab and what belongs to it: for sysvinit the files
/// of `/etc/inittab.d` too, for busybox its built-in one when there is none.
pub fn table(dialect: Dialect, rc: RcMode) -> Table {
    let inittab = match (read(INITTAB), dialect) {
        (Some(text), Dialect::Busybox) => inittab::parse(&text, dialect),
        (None, Dialect::Busybox) => inittab::built_in(),
        (text, Dialect::Sysv) => {
            inittab::parse(&(text.unwrap_or_default() + &inittab_d()), dialect)
        }
    };
    let missing = inittab
        .entries
        .iter()
        .filter_map(|entry| entry.terminal.clone())
        .filter(|name| !Path::new("/dev").join(name).exists())
        .collect();
    Table { inittab, missing, direct: rc == RcMode::Direct && has_stock_runner() }
}

/// The texts of `/etc/inittab.d/*.tab`, by name (sysvinit since 2.89).
fn inittab_d() -> String {
    let entries = fs::read_dir("/etc/inittab.d").into_iter().flatten().flatten().take(64);
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "tab"));
    paths.sort();
    let texts = paths.iter().filter_map(|path| files::read_text(path, MAX_TEXT).ok());
    texts.fold(String::new(), |all, text| all + "\n" + &text)
}

fn has_stock_runner() -> bool {
    read(stock::RC).is_some_and(|text| stock::is_stock_rc(&text))
        && read(stock::RC_S).is_some_and(|text| stock::is_stock_rcs(&text))
}

/// What sysvinit's SIGPWR is about: the first letter of its status file.
pub fn power_status() -> Option<char> {
    let text = ["/run/powerstatus", "/var/run/powerstatus", "/etc/powerstatus"]
        .iter()
        .find_map(|path| files::read_text(Path::new(path), 16).ok())?;
    text.chars().next()
}

fn read(path: &str) -> Option<String> {
    files::read_text(Path::new(path), MAX_TEXT).ok()
}

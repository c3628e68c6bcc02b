//! `vserver logs`: what a guest wrote to its console, from wherever that is
//! kept.

mod file;
mod journal;

use std::ops::ControlFlow;

use crate::cli::LogsArgs;
use crate::commands::{Exit, output};
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::journal::{Boot, Boots};
use crate::paths::Paths;

/// Prints the log, or one boot's part of it, and with `--follow` what comes
/// from now on. What could act on a terminal is made visible.
pub(super) fn run(args: &LogsArgs, paths: &Paths) -> Result<Exit> {
    let name = &args.name;
    // Its console has said what it said, whatever has become of the guest's
    // configuration.
    if let Err(error) = config::load(paths, name)
        && error.kind() == Kind::NoSuchGuest
    {
        return Err(error);
    }
    let boots = Boots::read(&paths.boots(name));
    if args.events {
        return match boots.back(0).is_some_and(|boot| boot.supervisor_in_journal) {
            true => journal::show(&journal::supervisor(name, &boots), args),
            false => file::show(&paths.supervisor_log(name), None, args),
        };
    }
    let (boot, next) = match args.boot {
        None => (None, None),
        Some(back) if back > 0 && args.follow => {
            return Err(Error::usage("a boot that is over can't be followed"));
        }
        Some(back) => {
            let boot = boots.back(back).ok_or_else(|| {
                let known = (0..back).take_while(|back| boots.back(*back).is_some()).count();
                let error =
                    Error::new(format!("no boot of guest '{name}' {} is known", before(back)));
                match known {
                    0 => error,
                    1 => error.hint("only the last one is: vserver logs -b"),
                    known => error.hint(format!("'-b' can be 0 to {}", known - 1)),
                }
            })?;
            (Some(boot), back.checked_sub(1).and_then(|next| boots.back(next)))
        }
    };
    if boot.or(boots.back(0)).is_some_and(|boot| boot.console_in_journal) {
        return journal::show(&journal::console(name, &boots, boot, args.follow), args);
    }
    let place = |boot: Option<&Boot>| boot.and_then(|boot| boot.file);
    if let Some(boot) = boot
        && boot.file.is_none()
    {
        let error = Error::new(format!("the console of that boot of guest '{name}' isn't kept"));
        return Err(error.hint("see 'console.log' and 'console.log_size' in its configuration"));
    }
    file::show(&paths.log(name), boot.map(|boot| (place(Some(boot)), place(next))), args)
}

fn before(back: usize) -> String {
    match back {
        0 => "that is noted".to_owned(),
        1 => "before this one".to_owned(),
        more => format!("{more} before this one"),
    }
}

/// Prints a piece of a log.
fn print(text: &[u8]) -> Result<ControlFlow<()>> {
    output::stream(&harmless(text))
}

/// A console's output as plain lines: carriage returns taken off, escape
/// sequences made visible, since they are the guest's and not the terminal's.
fn harmless(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\r' => {}
                // Also U+0080 to U+009F, which terminals obey as they obey ESC.
                c if c.is_control() && c != '\n' && c != '\t' => {
                    plain.extend(format!("\\x{:02x}", u32::from(c)).bytes());
                }
                c => plain.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        for byte in chunk.invalid() {
            plain.extend(format!("\\x{byte:02x}").bytes());
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_a_guest_are_shown() {
        assert_eq!(harmless(b"ok\x1b[2J\r\n"), b"ok\\x1b[2J\n");
        assert_eq!(harmless("\u{e4}\u{9b}2J".as_bytes()), "\u{e4}\\x9b2J".as_bytes());
        assert_eq!(harmless(b"\x9b2J"), b"\\x9b2J");
    }
}

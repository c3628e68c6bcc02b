//! What the processes around many guests cost: their proportional set sizes,
//! which count a page that several share in parts.

use std::path::Path;

use tests::{DEADLINE, eventually, process};

use crate::contender::Contender;

/// How many guests run at once.
pub const GUESTS: usize = 50;

/// Mean of one contender.
pub struct Memory {
    /// Its name.
    pub name: String,
    /// Names of the processes and KiB of each, a guest.
    pub parts: Vec<(String, f64)>,
}

/// Starts many guests of each contender, one contender after the other.
pub fn measure(contenders: &mut [Box<dyn Contender>], tree: &Path) -> Vec<Memory> {
    contenders.iter_mut().map(|contender| of(contender.as_mut(), tree)).collect()
}

fn of(contender: &mut dyn Contender, tree: &Path) -> Memory {
    let guests: Vec<_> = (0..GUESTS).map(|number| format!("m{number}")).collect();
    for guest in &guests {
        contender.prepare(guest, tree);
    }
    for guest in &guests {
        contender.start(guest);
        let mark = contender.root(guest).join("var/log/bench-runlevel");
        eventually(DEADLINE, "the guest has booted", || mark.exists().then_some(()));
    }
    let mut parts: Vec<(String, f64)> = Vec::new();
    for guest in &guests {
        for pid in contender.helpers(guest) {
            let name = process::read(pid).map(|process| process.comm).unwrap_or_default();
            let kib = process::pss(pid) as f64 / 1024.0 / GUESTS as f64;
            match parts.iter_mut().find(|(other, _)| *other == name) {
                Some((_, sum)) => *sum += kib,
                None => parts.push((name, kib)),
            }
        }
    }
    eprintln!("{}: {parts:?}", contender.name());
    for guest in &guests {
        contender.stop(guest);
    }
    Memory { name: contender.name().to_owned(), parts }
}

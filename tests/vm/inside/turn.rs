//! The machine's own paths, which systemd knows: one test at a time has them,
//! with what it wants to find there.

use std::process::Command;
use std::sync::{Mutex, MutexGuard};

use tests::{DEADLINE, command, host};

/// Is what `vserver install` brings below /usr/local?
static INSTALLED: Mutex<bool> = Mutex::new(false);

/// Held by one test.
pub struct Turn {
    _held: MutexGuard<'static, bool>,
}

/// With the program below /usr/local.
pub fn installed() -> Turn {
    take(true)
}

/// With nothing of it.
pub fn bare() -> Turn {
    take(false)
}

fn take(wanted: bool) -> Turn {
    let mut is_installed = INSTALLED.lock().unwrap_or_else(|failed| failed.into_inner());
    if *is_installed != wanted {
        let mut install = Command::new(host::program());
        install.args(["--quiet", "install", "--prefix", "/usr/local"]);
        if !wanted {
            install.arg("--remove");
        }
        command::run(&mut install, DEADLINE).ok();
        *is_installed = wanted;
    }
    Turn { _held: is_installed }
}

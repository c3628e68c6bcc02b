//! From a command of the state machine to a program that can be executed.

use std::ffi::CString;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::environment::Variables;
use crate::machine::{Command, Program};
use crate::sys;

/// Characters that make sysvinit give a line to the shell (init(8)).
const SHELL_CHARACTERS: &str = "~`!$^&*()=|\\{}[];\"'<>?";

const PROMPT: &[u8] = b"\r\nPlease press Enter to activate this console. ";

/// Starts a command, and tells how its execution went if it asks for that.
///
/// # Errors
/// That of fork(2). A program that can't be executed is a started one that
/// ends with [`sys::NOT_EXECUTED`].
pub fn spawn(command: &Command) -> nix::Result<(Pid, Option<nix::Result<()>>)> {
    let pid = match prepare(command) {
        _ if command.program == Program::Sync => sys::fork_child(write_buffers),
        Some(program) if command.until_executed => {
            return sys::spawn_executed(&program).map(|(pid, executed)| (pid, Some(executed)));
        }
        Some(program) => sys::spawn(&program),
        None => {
            let pid = sys::fork_child(|| sys::NOT_EXECUTED)?;
            return Ok((pid, command.until_executed.then_some(Err(Errno::EINVAL))));
        }
    };
    Ok((pid?, None))
}

/// Only the guest's own root is written: sync(2) would wait for every file
/// system of the host.
fn write_buffers() -> u8 {
    let root = std::fs::File::open("/");
    u8::from(root.map_or(true, |root| nix::unistd::syncfs(&root).is_err()))
}

fn prepare(command: &Command) -> Option<sys::Program> {
    let (path, argv) = match &command.program {
        Program::Line(line) => words(line),
        Program::Argv(argv) => (argv.first()?.clone(), argv.clone()),
        Program::Sync => return None,
    };
    let path = find(&path, &command.environment);
    let terminal = command.terminal.as_deref().unwrap_or("console");
    let pairs = command.environment.iter().map(|(name, value)| format!("{name}={value}"));
    Some(sys::Program {
        path: CString::new(path).ok()?,
        argv: argv.into_iter().map(|word| CString::new(word).ok()).collect::<Option<_>>()?,
        environment: pairs.filter_map(|pair| CString::new(pair).ok()).collect(),
        terminal: CString::new(format!("/dev/{terminal}")).ok()?,
        controlling: command.controlling,
        prompt: command.ask_first.then_some(PROMPT),
    })
}

/// The program and the arguments of an inittab line: by the shell only when
/// it has characters for it. A `-` in front makes a login shell (busybox).
fn words(line: &str) -> (String, Vec<String>) {
    let (login, line) = match line.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    if line.contains(|c| SHELL_CHARACTERS.contains(c)) {
        let shell = "/bin/sh".to_owned();
        return (shell.clone(), vec![shell, "-c".to_owned(), format!("exec {line}")]);
    }
    let mut argv: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let path = argv.first().cloned().unwrap_or_default();
    if let (true, Some(first)) = (login, argv.first_mut()) {
        *first = format!("-{}", path.rsplit('/').next().unwrap_or(&path));
    }
    (path, argv)
}

/// Where PATH leads for a name without a slash; the name when nowhere.
fn find(name: &str, environment: &Variables) -> String {
    if name.contains('/') {
        return name.to_owned();
    }
    let path = environment.iter().find(|(name, _)| name == "PATH");
    let directories = path.map_or("", |(_, value)| value.as_str()).split(':');
    directories
        .map(|directory| format!("{directory}/{name}"))
        .find(|file| {
            std::fs::metadata(Path::new(file))
                .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
        })
        .unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_for_the_shell_get_one() {
        let (path, argv) = words("/sbin/getty --noclear 38400 tty1");
        assert_eq!((path.as_str(), argv.len()), ("/sbin/getty", 4));
        let (path, argv) = words("/bin/a > /dev/null");
        assert_eq!((path.as_str(), argv[2].as_str()), ("/bin/sh", "exec /bin/a > /dev/null"));
    }

    #[test]
    fn a_minus_makes_a_login_shell() {
        let (path, argv) = words("-/bin/sh -i");
        assert_eq!(
            (path.as_str(), argv.as_slice()),
            ("/bin/sh", ["-sh".to_owned(), "-i".to_owned()].as_slice())
        );
    }
}

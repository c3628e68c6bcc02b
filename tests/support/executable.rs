//! Programs and scripts that a test puts in place and that are run at once.
//!
//! What somebody has open for writing can't be executed (`ETXTBSY`,
//! execve(2)). Tests are threads of one process: what one of them has just
//! written and closed is open for as long as a command that another began
//! meanwhile hasn't got to its execve(2), close-on-exec or not. So a command
//! of its own writes these files, and this process never has them open.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{DEADLINE, command};

/// Writes an executable file of this mode; one that is there is overwritten
/// in place, as by `fs::write`.
///
/// # Panics
/// When it can't be written.
#[track_caller]
pub fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>, mode: u32) {
    let path = path.as_ref();
    let mut shell = Command::new("sh");
    shell.args(["-c", "cat >\"$1\" && chmod \"$2\" \"$1\"", "sh"]).arg(path);
    shell.arg(format!("{mode:o}")).stdin(Stdio::piped());
    let mut shell = shell.spawn().expect("a shell can be started");
    let mut pipe = shell.stdin.take().expect("stdin is a pipe");
    let sent = pipe.write_all(content.as_ref());
    drop(pipe);
    let status = shell.wait().expect("a child can be waited for");
    assert!(sent.is_ok() && status.success(), "cannot write {}", path.display());
}

/// Copies an executable file with its mode, as `fs::copy` does.
///
/// # Panics
/// When it can't be copied.
#[track_caller]
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let mut copy = Command::new("cp");
    copy.arg("--preserve=mode").args([from.as_ref(), to.as_ref()]);
    command::run(&mut copy, DEADLINE).ok();
}

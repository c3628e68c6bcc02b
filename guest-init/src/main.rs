//! PID 1 of a vserver guest; as `keeper`, its parent on the host; as [`leader`], what
//! the host's machinectl(1) speaks to where PID 1 doesn't understand it.
//!
//! One static program in three roles, told apart by argument 0, so that they
//! share their pages. As PID 1 it is executed in namespaces that are set up
//! already and finds its orders at descriptor 3 ([`shared::message`]); it
//! boots the guest from the guest's own files ([`detect`]), reaps, and shuts
//! down. Deciding ([`machine`], and the parsers) is apart from doing
//! ([`event_loop`]).
//!
//! Exit statuses as PID 1, all of them ends that never happen in a guest that
//! is set up right: 1 wrongly started, 70 reboot(2) refused, 71 the guest's
//! own init can't be executed. The usual end is reboot(2).

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::print_stdout,
        clippy::print_stderr
    )
)]

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

mod console;
mod detect;
mod environment;
mod event_loop;
mod fifo;
mod files;
mod init;
mod initctl;
mod inittab;
mod keeper;
mod leader;
mod look;
mod machine;
mod rc;
mod reading;
mod records;
mod report;
mod signals;
mod spawn;
#[allow(unsafe_code)]
mod sys;
mod utmp;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let name = Path::new(&name).file_name().unwrap_or_default();
    if name == shared::keeper::KEEPER_NAME {
        let args: Vec<OsString> = args.collect();
        return keeper::main(&args);
    }
    if name == shared::leader::LEADER_NAME {
        return leader::main();
    }
    init::main()
}

//! What an attacker inside a guest tries: one attempt a run, named by the
//! first argument. Exits with 0 if the attempt reached what isn't the
//! guest's, 1 if it was refused, 2 if it couldn't be tried.
//!
//! Every attempt is harmless where it succeeds: it reads or changes only what
//! the test has made for it, or writes back what it has read.

mod bait;
mod bombs;
mod calls;
mod capture;
mod datagrams;
mod descend;
mod files;
mod frames;
mod ipc;
mod link;
mod macvlan;
mod outcome;
mod processes;
mod segment;
mod session;
mod swaps;
mod sys;

use std::io::{self, Write};
use std::process::ExitCode;

use outcome::{Attempt, Failure, untried};

fn main() -> ExitCode {
    // A guest's shell may be this program, whatever it is then called with.
    let mut words: Vec<String> = std::env::args().collect();
    if session::stands_in_for_a_shell(&words) {
        words = vec![words[0].clone(), "session".to_owned()];
    }
    let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
    let Some((name, arguments)) = words.split_first() else {
        eprintln!("usage: attacker ATTEMPT [ARGUMENT…]");
        return ExitCode::from(2);
    };
    let (word, text, code) = match attempt(name, arguments) {
        Ok(text) => ("escaped", text, 0),
        Err(Failure::Refused(text)) => ("refused", text, 1),
        Err(Failure::Untried(text)) => ("untried", text, 2),
    };
    // Whoever started this may have gone.
    let _ = writeln!(io::stdout(), "{word}: {text}");
    ExitCode::from(code)
}

fn attempt(name: &str, arguments: &[&str]) -> Attempt {
    match (name, arguments) {
        ("call", [call]) => calls::native(call),
        ("call32", [call]) => calls::compatible(call),
        ("callx32", [call]) => calls::x32(call),
        ("ring-socket", [family]) => calls::ring_socket(family),

        ("chroot-twice", [path]) => descend::chroot_twice(path),
        ("chroot-descriptor", [path]) => descend::chroot_descriptor(path),
        ("open-by-handle", [handle]) => descend::open_by_handle(handle),
        ("handle", [path]) => descend::handle(path),
        ("descriptors", [path]) => descend::descriptors(path),
        ("roots", [path]) => descend::roots(path),
        ("exists", [path]) => descend::exists(path),

        ("read", [path]) => files::read(path),
        ("write", [path, text]) => files::write(path, text),
        ("rewrite", [path]) => files::rewrite(path),
        ("uncover-rewrite", [cover, path]) => files::uncover_and_rewrite(cover, path),
        ("fresh", [kind, options, path]) => files::fresh(kind, options, path),
        ("node", [kind, major, minor, secret]) => files::node(kind, major, minor, secret),
        ("clock", []) => files::clock(),
        ("file-capability", [path]) => files::file_capability(path),

        ("signal", [pid]) => processes::signal(pid),
        ("ptrace", [pid]) => processes::ptrace(pid),
        ("memory", [pid]) => processes::memory(pid),
        ("environment", [pid, secret]) => processes::environment(pid, secret),
        ("root-of", [pid, path]) => processes::root_of(pid, path),
        ("pidfd", [pid]) => processes::pidfd(pid),
        ("limits-of", [pid]) => processes::limits_of(pid),
        ("scheduler-of", [pid]) => processes::scheduler_of(pid),

        ("bait", [tag]) => bait::lay(tag),
        ("sweep", [tag]) => bait::sweep(tag),
        ("shared-memory", [tag]) => ipc::shared_memory(tag),
        ("semaphores", [tag]) => ipc::semaphores(tag),
        ("message-queue", [tag]) => ipc::message_queue(tag),
        ("posix-queue", [tag]) => ipc::posix_queue(tag),
        ("posix-memory", [tag]) => ipc::posix_memory(tag),
        ("abstract-socket", [tag]) => ipc::abstract_socket(tag),
        ("key", [tag]) => ipc::key(tag),
        ("interface", [name]) => ipc::interface(name),
        ("packets", [interface]) => ipc::packets(interface),

        ("frame", [kind, own, foreign, target]) => frames::send(kind, own, foreign, target),
        ("datagram", [kind, source, router, target]) => {
            datagrams::send(kind, source, router, target)
        }
        ("capture", [interface, last]) => capture::all(interface, last),
        ("capture-passed", [interface, last]) => capture::passed(interface, last),
        ("macvlan-upon", [index]) => macvlan::upon(index),

        ("bequeath-link", []) => link::bequeath(),
        ("link", []) => link::heir(),

        ("inotify", []) => bombs::inotify(),
        ("terminals", [count]) => bombs::terminals(count),
        ("open-files", []) => bombs::open_files(),
        ("fork", [count]) => bombs::fork(count),

        ("session", []) => session::look(),
        ("type", [text]) => session::type_in(text),
        ("linger", [text]) => session::linger(text),
        ("ambush", [kind, path, secret]) => session::ambush(kind, path, secret),
        ("enter-naively", [pid]) => session::enter_naively(pid),
        ("whoami", []) => session::whoami(),
        ("swap", [one, other, seconds]) => swaps::swap(one, other, seconds),
        _ => untried(format!("there is no attempt '{name}' with {} arguments", arguments.len())),
    }
}

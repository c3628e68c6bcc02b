//! Command, supervisor and guest-init of two versions: after an upgrade guests run on
//! with what was started before it.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread;

use nix::poll::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind,
    listen, recv, send, socket_with,
};
use tests::{Host, Tree, process};

on! { Busybox: [a_supervisor_of_another_version_is_replaced] }
on! { Busybox, Bookworm: [a_guest_init_of_another_version_is_asked_by_signals] }

/// What every version says first (`host/src/control/wire.rs`): its number, here 999, and
/// how long the rest is.
const OTHER: [u8; 3] = [0xe7, 0x07, 0];

/// Answers whoever connects there as a supervisor of another version does, as long as this
/// one lives.
fn answer(socket: OwnedFd, supervisor: i32) {
    while process::is_alive(supervisor) {
        let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, 50_u8).expect("it can be polled") == 0 {
            continue;
        }
        let command = accept(&socket).expect("somebody connects");
        let _ = recv(&command, &mut [0; 512], RecvFlags::empty());
        let _ = send(&command, &OTHER, SendFlags::NOSIGNAL);
    }
}

fn listener(path: &Path) -> OwnedFd {
    fs::remove_file(path).expect("it is there");
    let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    let socket = socket_with(AddressFamily::UNIX, kind, flags, None).expect("a socket");
    bind(&socket, &SocketAddrUnix::new(path).expect("it is short")).expect("it is free");
    listen(&socket, 16).expect("it can listen");
    socket
}

fn a_supervisor_of_another_version_is_replaced(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let before = guest.status();
    let supervisor = before.supervisor_pid.expect("it has one");
    let socket = listener(&host.paths().run_dir().join("web/control"));
    let other = thread::spawn(move || answer(socket, supervisor));
    for command in ["status", "stop"] {
        guest
            .vserver(command, [""; 0])
            .code(1)
            .complains("is of another version than this command")
            .complains("vserver reexec web");
    }
    guest.vserver("reexec", [""; 0]).ok();
    other.join().expect("it is over");
    let after = guest.status();
    assert_eq!((after.init_pid, after.state.as_str()), (before.init_pid, "running"));
    assert_ne!(after.supervisor_pid, before.supervisor_pid);
    guest.stop();
}

fn a_guest_init_of_another_version_is_asked_by_signals(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let state = host.paths().run_dir().join("web/state.json");
    let age = || {
        let text = fs::read_to_string(&state).expect("it is there");
        let other = text.replace("\"protocol\":1", "\"protocol\":999");
        assert_ne!(other, text);
        fs::write(&state, other).expect("it can be written");
        guest.kill_supervisor();
    };
    guest.start();
    let init = guest.init_pid();
    age();
    assert_eq!((guest.init_pid(), guest.status().state.as_str()), (init, "running"));
    // A boot has its own guest-init.
    guest.vserver("reboot", [""; 0]).ok();
    assert_ne!(guest.init_pid(), init);
    guest.shell("true").ok();
    age();
    guest.vserver("stop", ["--no-kill"]).ok();
    guest.start().stop();
}

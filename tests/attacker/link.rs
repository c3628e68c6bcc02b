//! PID 1's end of the link to the supervisor, in the hands of somebody who means
//! harm: a root that may trace PID 1 has it leave the descriptor to its next
//! child, an entry of inittab.

use std::fs::{self, File};
use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::socket::{
    ControlMessage, MsgFlags, Shutdown, sendmsg, setsockopt, shutdown, sockopt::Linger,
};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use shared::family::Family;
use shared::link::encode;
use shared::message::{FromGuest, GuestState, LINK_FD, PROTOCOL, Power, Runlevel, Style};
use shared::outcome::Outcome;

use crate::outcome::{Attempt, Prepare, untried};
use crate::sys;

/// Where the guest's own init speaks to the supervisor.
const NOTIFY: &str = "/run/host/notify";

/// Has PID 1 leave its end of the link to its children.
pub fn bequeath() -> Attempt {
    const FCNTL: u64 = libc::SYS_fcntl as u64;
    let init = Pid::from_raw(1);
    let trace = || -> nix::Result<u64> {
        let stopped = || waitpid(init, Some(WaitPidFlag::__WALL)).map(drop);
        ptrace::seize(init, ptrace::Options::empty())?;
        ptrace::interrupt(init)?;
        stopped()?;
        // It sleeps in a system call: before that address is the instruction.
        let before = ptrace::getregs(init)?;
        let place = before.rip - 2;
        if ptrace::read(init, place as ptrace::AddressType)? & 0xffff != 0x050f {
            return Err(Errno::EAGAIN);
        }
        let call = libc::user_regs_struct {
            rip: place,
            // None that would have to be begun again.
            orig_rax: u64::MAX,
            rax: FCNTL,
            rdi: LINK_FD as u64,
            rsi: libc::F_SETFD as u64,
            rdx: 0,
            ..before
        };
        ptrace::setregs(init, call)?;
        ptrace::step(init, None)?;
        stopped()?;
        let result = ptrace::getregs(init)?.rax;
        ptrace::setregs(init, before)?;
        ptrace::detach(init, None)?;
        Ok(result)
    };
    match trace().map_err(io::Error::from).prepare("tracing PID 1")? {
        0 => Ok("the next child has it".to_owned()),
        result => untried(format!("fcntl(2) in PID 1: {}", result as i64)),
    }
}

/// Waits for a word in a file, and does what it says with what PID 1 has left
/// to it; another file says that it is at it, or why not.
pub fn heir() -> Attempt {
    let how = loop {
        match fs::read_to_string("/go") {
            Ok(how) if !how.is_empty() => break how,
            _ => thread::sleep(Duration::from_millis(50)),
        }
    };
    // One that was started before.
    let link = File::open(format!("/proc/self/fd/{LINK_FD}")).err();
    if link.is_none_or(|error| error.raw_os_error() != Some(libc::ENXIO)) {
        return untried("it isn't left to this one");
    }
    let end = attack(&how, sys::adopt(LINK_FD.into()));
    if let Err(failure) = &end {
        at_it(&format!("{failure:?}"))?;
    }
    end
}

fn at_it(text: &str) -> io::Result<()> {
    fs::write("/new", text)?;
    fs::rename("/new", "/at-it")
}

fn attack(how: &str, link: OwnedFd) -> Attempt {
    let link = link.as_fd();
    match how {
        "garbage" => {
            let mut bytes = vec![0; 8192];
            File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes))?;
            // All lengths, and all beginnings.
            repeat(|turn| send(link, &bytes[turn % 4096..][..1 + turn * 7 % 4096]))
        }
        "oversized" => {
            let bytes = vec![b'x'; 100_000];
            repeat(|_| send(link, &bytes))
        }
        "truncated" => {
            let whole = message(&FromGuest::ScriptStarted {
                id: 1,
                name: "x".repeat(300),
                argument: "start".to_owned(),
            });
            repeat(|turn| send(link, &whole[..1 + turn % (whole.len() - 1)]))
        }
        "flood" => {
            let note = message(&FromGuest::Note("x\u{1b}[2J\n".repeat(1500)));
            repeat(|_| send(link, &note))
        }
        "stages" => {
            let all: Vec<_> = stages().iter().map(message).collect();
            repeat(|turn| send(link, &all[turn % all.len()]))
        }
        "empty" => once(send(link, &[])),
        "close" => once(shutdown(link.as_raw_fd(), Shutdown::Both).map_err(io::Error::from)),
        "descriptors" => {
            let note = message(&FromGuest::Note("with a descriptor".to_owned()));
            once(send_with(link, &note, lingering()?))
        }
        "notify-descriptors" => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(NOTIFY)?;
            // More than is listened to at once: so this program has closed its
            // descriptor before the other end has taken it.
            socket.set_write_timeout(Some(Duration::from_millis(400)))?;
            while socket.send(b"STATUS=here\n").is_ok() {}
            socket.set_write_timeout(None)?;
            once(send_with(socket.as_fd(), b"STATUS=here\n", lingering()?))
        }
        "mute" => mute(),
        _ => untried(format!("there is no such use of the link: '{how}'")),
    }
}

fn message(message: &FromGuest) -> Vec<u8> {
    encode(message).unwrap_or_default()
}

/// What guest-init could say, in an order in which it never would.
fn stages() -> Vec<FromGuest> {
    let hello = |style| FromGuest::Hello { protocol: PROTOCOL, style, reason: "so".to_owned() };
    let outcome = Outcome::Exited(0);
    vec![
        FromGuest::State(GuestState::Killing(Power::Reboot)),
        hello(Style::Init),
        FromGuest::State(GuestState::HandedOver),
        FromGuest::State(GuestState::Booting(Runlevel::HALT)),
        FromGuest::OwnInit(Family::Runit),
        hello(Style::Idle),
        FromGuest::Hello { protocol: 999, style: Style::Rescue, reason: "x".repeat(8000) },
        FromGuest::State(GuestState::Notifies),
        FromGuest::ScriptEnded { id: 7, name: String::new(), outcome, millis: u32::MAX },
        FromGuest::State(GuestState::Running(Runlevel::SINGLE)),
        FromGuest::Requested(Power::Halt),
        FromGuest::ExecEnded { id: 9, outcome: Outcome::Killed(255) },
        FromGuest::OwnInit(Family::Systemd),
    ]
}

/// Traces PID 1 and stops it: it reads and answers nothing.
fn mute() -> Attempt {
    let init = Pid::from_raw(1);
    let stopped = ptrace::seize(init, ptrace::Options::empty());
    once(stopped.and_then(|()| ptrace::interrupt(init)).map_err(io::Error::from))
}

/// A connection that takes as long as it may to be closed: its peer reads
/// nothing, and it wants everything to be read first.
fn lingering() -> Result<OwnedFd, crate::outcome::Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").prepare("listening")?;
    let address = listener.local_addr().prepare("listening")?;
    let mut stream = TcpStream::connect(address).prepare("connecting")?;
    let (peer, _) = listener.accept().prepare("accepting")?;
    stream.set_nonblocking(true).prepare("filling it")?;
    while stream.write(&[0; 1 << 16]).is_ok() {}
    let long = libc::linger { l_onoff: 1, l_linger: 3600 };
    setsockopt(&stream, Linger, &long).map_err(io::Error::from).prepare("having it linger")?;
    // It stays open for as long as this program runs.
    std::mem::forget(peer);
    Ok(stream.into())
}

fn send(link: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let sent = sendmsg::<()>(link.as_raw_fd(), &[IoSlice::new(bytes)], &[], flags, None);
    sent.map(drop).map_err(io::Error::from)
}

/// Sends a descriptor along, and keeps none.
fn send_with(link: BorrowedFd<'_>, bytes: &[u8], fd: OwnedFd) -> io::Result<()> {
    let fds = [fd.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    let iov = [IoSlice::new(bytes)];
    let sent = sendmsg::<()>(link.as_raw_fd(), &iov, &rights, MsgFlags::MSG_NOSIGNAL, None);
    // Closing it here must not be the end of it.
    if sent.is_err() {
        std::mem::forget(fd);
    }
    sent.map(drop).map_err(io::Error::from)
}

/// Says that it is done, and stays.
fn once(done: io::Result<()>) -> Attempt {
    done?;
    at_it("at it")?;
    loop {
        thread::park();
    }
}

/// Does it as often as the supervisor's end takes it.
fn repeat(mut send: impl FnMut(usize) -> io::Result<()>) -> Attempt {
    at_it("at it")?;
    let mut turn = 0;
    loop {
        match send(turn) {
            Ok(()) => turn += 1,
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

//! From the program's start to the loop, or to the guest's own init.

use std::convert::Infallible;
use std::ffi::CString;
use std::process::ExitCode;

use nix::sys::reboot::set_cad_enabled;
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use shared::family::{Family, OVERLAY};
use shared::link::Link;
use shared::message::{
    BootMode, BootOrder, FromGuest, GuestState, LINK_FD, PROTOCOL, Style, ToGuest,
};

use crate::detect::Facts;
use crate::event_loop::EventLoop;
use crate::report::Reporter;
use crate::{console, detect, environment, look, sys};

/// Exit status when the guest's own init can't be executed.
const NO_INIT: u8 = 71;

/// Runs as PID 1. Returns only when it must not or can't.
pub fn main() -> ExitCode {
    match start() {
        Ok(never) => match never {},
        Err(refusal) => {
            let _ = nix::unistd::write(
                std::io::stderr(),
                format!("guest-init: {}\n", refusal.text).as_bytes(),
            );
            ExitCode::from(refusal.status)
        }
    }
}

/// Why guest-init doesn't go on.
struct Refusal {
    text: String,
    status: u8,
}

fn refuse(text: &str) -> Refusal {
    Refusal { text: text.to_owned(), status: 1 }
}

fn start() -> Result<Infallible, Refusal> {
    if nix::unistd::getpid().as_raw() != 1 {
        return Err(refuse("this is PID 1 of a vserver guest, started by 'vserver start' only"));
    }
    sys::give_up_terminal();
    // Before anything else: a signal to a PID 1 that neither blocks nor
    // handles it is lost (pid_namespaces(7)).
    let signals = SigSet::all()
        .thread_block()
        .and_then(|()| {
            SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        })
        .map_err(|errno| refuse(&format!("cannot take signals: {}", errno.desc())))?;
    // Executed by descriptor, the kernel has called us by a number.
    let _ = nix::sys::prctl::set_name(c"guest-init");
    sys::frugal_allocator();
    let (link, order) = receive_order()?;
    // A PID namespace's PID 1 gets no Ctrl-Alt-Del; refused without harm.
    let _ = set_cad_enabled(false);
    let mut facts = look::facts();
    let mut words = vec![facts.place.to_owned()];
    if let BootMode::Command(command) = &order.mode
        && let Some(init) = look::overlay(command)
    {
        (facts.init, facts.place) = (init, OVERLAY);
        words.clone_from(command);
    }
    let (style, reason) = choose(&order, &facts);
    let mut reporter = Reporter::new(link);
    if style == Style::Init {
        let family = facts.init.family();
        let notifies = family == Family::Systemd;
        reporter.send(FromGuest::Hello { protocol: PROTOCOL, style, reason });
        reporter.send(FromGuest::OwnInit(family));
        reporter.send(FromGuest::State(match notifies {
            true => GuestState::Notifies,
            false => GuestState::HandedOver,
        }));
        drop(signals);
        // The link is closed by the execution: so the supervisor knows of it.
        return hand_over(&words, &order, notifies);
    }
    EventLoop::new(signals, reporter, order, style, reason).run()
}

/// The link, and the order that lies in it.
fn receive_order() -> Result<(Link<FromGuest, ToGuest>, BootOrder), Refusal> {
    let socket = sys::take_descriptor(LINK_FD)
        .ok_or_else(|| refuse("there is no link to a supervisor at descriptor 3"))?;
    let link: Link<FromGuest, ToGuest> = Link::new(socket);
    match link.recv() {
        Ok(ToGuest::Boot(order)) if order.protocol == PROTOCOL => Ok((link, order)),
        Ok(ToGuest::Boot(order)) => Err(refuse(&format!(
            "the supervisor speaks version {} of the protocol, this is version {PROTOCOL}",
            order.protocol
        ))),
        _ => Err(refuse("there is no order to boot in the link at descriptor 3")),
    }
}

fn choose(order: &BootOrder, facts: &Facts) -> (Style, String) {
    match order.mode {
        BootMode::Boot => detect::detect(order.style, facts),
        BootMode::Rescue(_) => (Style::Rescue, "one command was asked for".to_owned()),
        BootMode::Command(_) if facts.place == OVERLAY && facts.init.family() == Family::S6 => {
            (Style::Init, "the configuration names s6-overlay's /init".to_owned())
        }
        BootMode::Command(_) => (Style::Command, "the configuration names one".to_owned()),
        BootMode::Idle => (Style::Idle, "only the context was asked for".to_owned()),
    }
}

/// Becomes the guest's own init, as the kernel would have started it.
fn hand_over(words: &[String], order: &BootOrder, notifies: bool) -> Result<Infallible, Refusal> {
    sys::reset_signals();
    let mut variables: environment::Variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        // Meant for this program's own allocator, if it is there.
        .filter(|(name, _)| name != "GLIBC_TUNABLES")
        // Other inits would leave it to every service of theirs.
        .filter(|(name, _)| notifies || name != "NOTIFY_SOCKET")
        .collect();
    for (name, value) in &order.environment {
        environment::set(&mut variables, name, value);
    }
    let pairs = variables.iter().map(|(name, value)| format!("{name}={value}"));
    let environment: Vec<CString> = pairs.filter_map(|pair| CString::new(pair).ok()).collect();
    let words: Vec<CString> =
        words.iter().filter_map(|word| CString::new(word.as_str()).ok()).collect();
    let init = words.first().cloned().unwrap_or_default();
    let errno = match nix::unistd::execve(&init, &words, &environment) {
        Ok(never) => match never {},
        Err(errno) => errno,
    };
    let text = format!("cannot execute '{}': {}", init.to_string_lossy(), errno.desc());
    console::say(&format!("guest-init: {text}"));
    Err(Refusal { text, status: NO_INIT })
}

//! `vserver top`: a live screen of contexts, and of the processes of one.

mod act;
mod look;
mod screen;
mod wake;

use std::env;
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::crossterm::event::KeyEvent;

use crate::cli::TopArgs;
use crate::commands::{Exit, output};
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::top::{Action, State};

use act::Stops;
use look::Looker;
use screen::Screen;
use wake::{Signals, Woken};

/// Shows the screen until the user has enough of it. Ends by the signal if it
/// is one that ends it, with the terminal as it was.
///
/// # Errors
/// When there is no terminal, or /proc can't be read.
pub(super) fn run(args: &TopArgs, paths: &Paths) -> Result<Exit> {
    let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    if dumb || !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Error::usage("'vserver top' fills the screen of a terminal, and this is none")
            .hint("'vserver stat' prints the table once, 'vserver stat --json' for programs"));
    }
    // What a stop would print is shown on the screen, or not at all.
    output::set_quiet(true);
    let no_signals = |error| Error::os("cannot catch signals", error);
    let signals = Signals::watch().map_err(no_signals)?;
    let stops = Stops::new(paths, signals.waker().map_err(no_signals)?);
    let looker = Looker::new(paths);
    let state = State::new(args.interval, looker.look(None)?);
    let mut screen = Screen::open()?;
    let mut top = Top { state, looker, signals, stops, held: None, due: Instant::now() };
    let end = top.until_end(&mut screen);
    drop(screen);
    match end? {
        Some(signal) => {
            // Whoever waits for this program sees what has ended it.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
            Ok(Exit::NO)
        }
        None => Ok(Exit::DONE),
    }
}

/// The screen and what acts on it.
struct Top {
    state: State,
    looker: Looker,
    signals: Signals,
    stops: Stops,
    /// The process that the user is asked about: a signal can't hit another.
    held: Option<OwnedFd>,
    /// When to look again.
    due: Instant,
}

impl Top {
    /// Returns the signal that ends it, if one does.
    fn until_end(&mut self, screen: &mut Screen) -> Result<Option<i32>> {
        self.due = self.next();
        loop {
            screen.draw(&self.state)?;
            let typed = self.wait()?;
            match self.signals.taken() {
                Woken::Ended(signal) => return Ok(Some(signal)),
                Woken::Suspended => screen.suspend()?,
                Woken::Continued => screen.again()?,
                Woken::Otherwise => {}
            }
            for (name, text) in self.stops.ended() {
                self.state.stopped(&name, text);
            }
            if typed {
                while let Some(key) = screen.key()? {
                    if self.press(key, screen)?.is_break() {
                        return Ok(None);
                    }
                }
            }
            if Instant::now() >= self.due {
                self.look()?;
            }
        }
    }

    fn press(&mut self, key: KeyEvent, screen: &mut Screen) -> Result<ControlFlow<()>> {
        match self.state.press(key) {
            Action::Nothing => {}
            Action::Quit => return Ok(ControlFlow::Break(())),
            Action::Suspend => screen.ask_suspend(),
            Action::Repaint => screen.again()?,
            Action::Look => self.look()?,
            Action::LetGo => self.held = None,
            Action::Hold(context, id) => match self.looker.hold(&context, id) {
                Ok(process) => self.held = Some(process),
                Err(error) => {
                    self.state.withdraw(format!("cannot get hold of {}: {error}", id.pid));
                }
            },
            Action::Send(signal) => {
                if let Some(process) = self.held.take() {
                    self.state.say(act::send(&process, signal));
                }
            }
            Action::Stop(name) => self.stops.begin(name),
        }
        Ok(ControlFlow::Continue(()))
    }

    fn look(&mut self) -> Result<()> {
        let reading = self.looker.look(self.state.opened())?;
        self.state.take(reading);
        if !self.state.holds() {
            self.held = None;
        }
        self.due = self.next();
        Ok(())
    }

    fn next(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.state.interval()).unwrap_or(now)
    }

    /// Waits until it is time, something was typed, or something else has
    /// happened. Was something typed?
    ///
    /// # Errors
    /// When the terminal has gone.
    fn wait(&self) -> Result<bool> {
        let left = self.due.saturating_duration_since(Instant::now());
        // Rounded up: it would be asked again and again in the last
        // millisecond.
        let left = left + Duration::from_millis(1);
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let stdin = io::stdin();
        let mut fds = [
            PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(Error::os("cannot wait for the terminal", error)),
        }
        let events = fds[0].revents().unwrap_or(PollFlags::empty());
        if events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL)
            && !self.signals.any()
        {
            return Err(Error::new("the terminal has gone"));
        }
        Ok(events.contains(PollFlags::POLLIN))
    }
}

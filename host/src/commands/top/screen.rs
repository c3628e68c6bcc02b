//! The terminal while `vserver top` has it: raw, on its alternate screen, and
//! as it was before in whatever way the program ends but by SIGKILL.

use std::io::{self, Stdout};
use std::panic;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use signal_hook::consts::SIGTSTP;

use crate::error::{Error, Result};
use crate::top::{self, State};

/// The terminal. Gives it back when it goes.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When it can't be made raw.
    pub(super) fn open() -> Result<Self> {
        // Panics abort: nothing is dropped then.
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            leave();
            before(info);
        }));
        if let Err(error) = enter() {
            leave();
            return Err(Error::os("cannot use the terminal", error));
        }
        match Terminal::new(CrosstermBackend::new(io::stdout())) {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                leave();
                Err(Error::os("cannot use the terminal", error))
            }
        }
    }

    /// Shows the state; of what was shown before only the differences are
    /// written.
    ///
    /// # Errors
    /// When the terminal can't be written to.
    pub(super) fn draw(&mut self, state: &State) -> Result<()> {
        let drawn = self.terminal.draw(|frame| top::draw(frame, state));
        drawn.map(drop).map_err(|error| Error::os("cannot draw on the terminal", error))
    }

    /// A key that was pressed, if there is one.
    ///
    /// # Errors
    /// When the terminal can't be read.
    pub(super) fn key(&mut self) -> Result<Option<KeyEvent>> {
        let cannot = |error| Error::os("cannot read from the terminal", error);
        while event::poll(Duration::ZERO).map_err(cannot)? {
            match event::read().map_err(cannot)? {
                Event::Key(key) if key.kind != KeyEventKind::Release => return Ok(Some(key)),
                // Other sizes are asked for at every drawing.
                _ => {}
            }
        }
        Ok(None)
    }

    /// Has this job stop, as Ctrl-Z does where the terminal isn't raw: all of
    /// it, such as a sudo that waits for this program.
    pub(super) fn ask_suspend(&self) {
        let _ = kill(Pid::from_raw(0), Signal::SIGTSTP);
    }

    /// Stops with the terminal as it was, and goes on when told to.
    ///
    /// # Errors
    /// When the terminal can't be taken again.
    pub(super) fn suspend(&mut self) -> Result<()> {
        leave();
        let _ = signal_hook::low_level::emulate_default_handler(SIGTSTP);
        self.again()
    }

    /// Takes the terminal anew, whatever others have made of it.
    ///
    /// # Errors
    /// As [`Screen::open`].
    pub(super) fn again(&mut self) -> Result<()> {
        // One that remembers nothing draws everything. Its own way to clear
        // would ask the terminal where the cursor is, and wait for the answer.
        let new = || {
            enter()?;
            execute!(io::stdout(), Clear(ClearType::All))?;
            Terminal::new(CrosstermBackend::new(io::stdout()))
        };
        self.terminal = new().map_err(|error| Error::os("cannot use the terminal", error))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, Hide)
}

/// A terminal that has gone needs nothing.
fn leave() {
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

//! The user's terminal, while it is a guest's.

use std::io;

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use super::streams::is_in_background;

/// Standard input's terminal without echo and editing, until it is dropped.
#[derive(Debug)]
pub struct RawTerminal {
    before: Option<Termios>,
}

impl RawTerminal {
    /// Makes it so; what is no terminal, or another job's, stays as it is.
    pub fn begin() -> Self {
        let before = tcgetattr(io::stdin()).ok().filter(|_| !is_in_background());
        if let Some(before) = &before {
            let mut raw = before.clone();
            cfmakeraw(&mut raw);
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &raw);
        }
        Self { before }
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Not when all is written, which may be held up.
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, before);
        }
    }
}

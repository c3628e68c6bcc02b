//! A guest that is to be started shuts down still: that is waited for, so that a
//! start right after a stop is no matter of luck, but not for ever. A shutdown that
//! was begun inside has no deadline.

use std::time::{Duration, Instant};

use shared::message::Style;
use shared::name::GuestName;

use crate::commands::output;
use crate::config::{GuestConfig, STOP_TIMEOUT, STOP_TIMEOUT_OF_SYSTEMD};
use crate::control::{Client, Event, Phase, Request};
use crate::error::{Error, Result};
use crate::tree::Check;

use super::unkillable;

/// After this time it is said what is waited for.
const SILENCE: Duration = Duration::from_secs(3);

/// Between two looks whether whoever waits is told to end.
const LOOK: Duration = Duration::from_millis(100);

/// What a shutdown takes beyond its own time: for what is left to be killed, and for
/// its supervisor to clean up.
const MARGIN: Duration = Duration::from_secs(15);

/// How long a shutdown is waited for.
#[derive(Debug)]
pub(super) struct Patience {
    began: Instant,
    configured: Option<Duration>,
    is_said: bool,
}

impl Patience {
    /// As long as a stop may take.
    pub fn new(config: &GuestConfig) -> Self {
        let configured = config.boot.stop_timeout;
        Self { began: Instant::now(), configured, is_said: false }
    }

    /// Waits until the guest is down, or comes up again, or its supervisor is
    /// another.
    ///
    /// # Errors
    /// When it takes too long, or can't be had; what `check` says.
    pub fn wait(&mut self, client: &Client, name: &GuestName, check: Check<'_>) -> Result<()> {
        client.refuse_own_script()?;
        client.send(&Request::Subscribe)?;
        let mut within = self.within(None);
        loop {
            let time = if self.is_said { within } else { within.min(SILENCE) };
            let until = self.began.checked_add(time);
            let is_over = || until.is_some_and(|until| until <= Instant::now());
            while !client.speaks_by(Some(Instant::now() + LOOK))? && !is_over() {
                check()?;
            }
            match client.next(until) {
                Err(error) if error.errno() == Some(libc::ETIMEDOUT) => {
                    if self.began.elapsed() >= within {
                        return Err(too_long(name));
                    }
                    self.is_said = true;
                    output::remark(format_args!("waiting for guest '{name}' to shut down"));
                }
                Err(error) => return Err(error),
                Ok(None) => return Ok(()),
                Ok(Some(Event::Phase(phase))) if is_going_down(phase) => {}
                Ok(Some(Event::Phase(_))) => return Ok(()),
                // The first is how it is by now.
                Ok(Some(Event::Status(status))) if !is_going_down(status.phase) => return Ok(()),
                Ok(Some(Event::Status(status))) => within = self.within(status.style),
                Ok(Some(Event::Unkillable(left))) => return Err(unkillable(name, &left)),
                Ok(Some(_)) => {}
            }
        }
    }

    fn within(&self, style: Option<Style>) -> Duration {
        let usual = match style {
            Some(Style::Init) => STOP_TIMEOUT_OF_SYSTEMD,
            _ => STOP_TIMEOUT,
        };
        self.configured.unwrap_or(usual).saturating_add(MARGIN)
    }
}

/// Is this the end of a boot that nothing follows as yet?
pub(super) fn is_going_down(phase: Phase) -> bool {
    matches!(phase, Phase::Stopping | Phase::Stopped)
}

fn too_long(name: &GuestName) -> Error {
    Error::new(format!("guest '{name}' still shuts down, and can't be started before it is down"))
        .hint(format!("end it first: vserver stop {name}"))
}

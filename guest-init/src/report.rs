//! Reports to the supervisor: a bounded queue before the link.
//!
//! A supervisor that doesn't read must neither block guest-init nor make it
//! grow: of a full queue the oldest script reports and notes go first, states
//! stay. Without a link guest-init goes on living.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};

use shared::link::{Link, RecvError, SendError};
use shared::message::{FromGuest, ToGuest};

/// Most messages that wait.
const MAX_QUEUE: usize = 128;

/// The queue alone.
#[derive(Debug, Default)]
pub struct Queue(VecDeque<FromGuest>);

impl Queue {
    /// Adds a message, at the cost of an older and lesser one if need be.
    pub fn push(&mut self, message: FromGuest) {
        if matches!(message, FromGuest::State(_)) {
            // Only the last state of several counts once nobody reads.
            if self.0.len() >= MAX_QUEUE {
                self.0.retain(|other| !matches!(other, FromGuest::State(_)));
            }
        }
        self.0.push_back(message);
        while self.0.len() > MAX_QUEUE {
            let lesser = |message: &FromGuest| {
                !matches!(message, FromGuest::State(_) | FromGuest::Requested(_))
            };
            let at = self.0.iter().position(lesser).unwrap_or(0);
            self.0.remove(at);
        }
    }
}

/// The link and what waits for it.
#[derive(Debug)]
pub struct Reporter {
    link: Option<Link<FromGuest, ToGuest>>,
    queue: Queue,
}

impl Reporter {
    /// Takes the link over.
    pub fn new(link: Link<FromGuest, ToGuest>) -> Self {
        Self { link: Some(link), queue: Queue::default() }
    }

    /// Sends a message now or later.
    pub fn send(&mut self, message: FromGuest) {
        if self.link.is_some() {
            self.queue.push(message);
            self.flush();
        }
    }

    /// Sends what waits, as far as the link takes it.
    pub fn flush(&mut self) {
        while let (Some(link), Some(message)) = (&self.link, self.queue.0.front()) {
            match link.send(message) {
                Ok(()) | Err(SendError::TooLong) => {
                    self.queue.0.pop_front();
                }
                Err(SendError::Full) => return,
                Err(SendError::Closed | SendError::Os(_)) => self.close(),
            }
        }
    }

    /// The next order, or that there was nonsense in its place; `None` when
    /// nothing waits.
    pub fn receive(&mut self) -> Option<Option<ToGuest>> {
        match self.link.as_ref()?.recv() {
            Ok(order) => Some(Some(order)),
            Err(RecvError::Nonsense) => Some(None),
            Err(RecvError::Empty) => None,
            Err(RecvError::Closed | RecvError::Descriptors | RecvError::Os(_)) => {
                self.close();
                None
            }
        }
    }

    /// The descriptor to wait on, and whether to wait for room too.
    pub fn as_fd(&self) -> Option<(BorrowedFd<'_>, bool)> {
        self.link.as_ref().map(|link| (link.as_fd(), !self.queue.0.is_empty()))
    }

    fn close(&mut self) {
        self.link = None;
        self.queue = Queue::default();
    }
}

#[cfg(test)]
mod tests {
    use shared::message::{GuestState, Power, Runlevel};

    use super::*;

    #[test]
    fn a_full_queue_keeps_the_newest_state() {
        let mut queue = Queue::default();
        queue.push(FromGuest::State(GuestState::Booting(Runlevel::MULTI)));
        for number in 0..1000 {
            queue.push(FromGuest::Note(number.to_string()));
        }
        queue.push(FromGuest::State(GuestState::Stopping(Power::Halt)));
        assert_eq!(queue.0.len(), MAX_QUEUE);
        let states = queue.0.iter().filter(|message| matches!(message, FromGuest::State(_)));
        assert_eq!(states.count(), 1);
        assert_eq!(queue.0.back(), Some(&FromGuest::State(GuestState::Stopping(Power::Halt))));
    }
}

//! Connections of commands to the control socket.
//!
//! A client that doesn't read loses what the guest says, and then is let go;
//! nobody is waited for.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::poll::{PollFd, PollFlags};
use shared::link::{RecvError, SendError};
use shared::name::GuestName;

use crate::control::{Event, Request, Unheard, Wire};
use crate::exhausted;
use crate::runtime;

/// More commands than ever talk to one guest at a time.
const MAX_CLIENTS: usize = 256;

/// Number of whoever has started this process.
const FIRST: u64 = 0;

/// All connections.
#[derive(Debug)]
pub struct Clients {
    name: GuestName,
    listener: OwnedFd,
    /// Gives its number to a connection for which none is left.
    spare: Option<File>,
    clients: Vec<Client>,
    next: u64,
    leased: bool,
    held: bool,
}

#[derive(Debug)]
struct Client {
    id: u64,
    link: Wire<Event, Request>,
    subscribed: bool,
    watches: bool,
    leases: bool,
    holds: bool,
}

impl Clients {
    /// Those of this guest; `first` is subscribed from the start.
    pub fn new(name: &GuestName, listener: OwnedFd, first: Option<OwnedFd>) -> Self {
        let mut clients = Self {
            name: name.clone(),
            listener,
            spare: None,
            clients: Vec::new(),
            next: FIRST,
            leased: false,
            held: false,
        };
        if let Some(first) = first {
            let id = clients.add(first);
            clients.subscribe(id);
        }
        clients
    }

    /// Takes new connections there from now on.
    pub fn listen_on(&mut self, listener: OwnedFd) {
        self.listener = listener;
    }

    /// Adds what is to be polled.
    pub fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        // More than that wait in its queue.
        let has_room = self.clients.len() < MAX_CLIENTS;
        fds.extend(has_room.then(|| PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)));
        fds.extend(self.clients.iter().map(|c| PollFd::new(c.link.as_fd(), PollFlags::POLLIN)));
    }

    /// Takes new connections, and all requests that are there.
    pub fn hear(&mut self) -> Vec<(u64, Request)> {
        if self.spare.is_none() {
            self.spare = File::open("/dev/null").ok();
        }
        while self.clients.len() < MAX_CLIENTS {
            match runtime::accept(self.listener.as_raw_fd()) {
                Ok(Some(socket)) => {
                    self.add(socket);
                }
                Ok(None) => break,
                Err(error) if self.refuse(&error) => {}
                Err(_) => break,
            }
        }
        let mut requests = Vec::new();
        self.clients.retain(|client| {
            loop {
                match client.link.recv() {
                    Ok(request) => requests.push((client.id, request)),
                    Err(Unheard::Link(RecvError::Empty)) => return true,
                    Err(Unheard::Version(_)) => {
                        client.link.refuse();
                        return false;
                    }
                    Err(Unheard::Link(_)) => return false,
                }
            }
        });
        requests
    }

    /// Tells a connection that can't be taken why; false if there is none. Left
    /// waiting it would wake this process up without end.
    fn refuse(&mut self, error: &io::Error) -> bool {
        drop(self.spare.take());
        let refused = runtime::accept(self.listener.as_raw_fd()).ok().flatten();
        let is_refused = refused.is_some();
        if let Some(socket) = refused {
            let name = &self.name;
            let text = format!("the supervisor of guest '{name}' can take no connection: {error}");
            let hint = error.raw_os_error().and_then(|errno| exhausted::of_files(name, errno));
            let link: Wire<Event, Request> = Wire::new(socket);
            let _ = link.send(&Event::Failed { text, hint });
        }
        self.spare = File::open("/dev/null").ok();
        is_refused
    }

    /// Is this client still there? One whose end hasn't been heard yet is.
    pub fn has(&self, id: u64) -> bool {
        self.clients.iter().any(|client| client.id == id)
    }

    /// Sends to one client.
    pub fn answer(&mut self, id: u64, event: &Event) {
        self.clients.retain(|client| client.id != id || client.link.send(event).is_ok());
    }

    /// Sends to all that have subscribed. What the guest says is lost on a
    /// client that doesn't keep up; without anything else it would be misled,
    /// and is let go.
    pub fn tell(&mut self, event: &Event) {
        let is_talk = matches!(
            event,
            Event::ScriptStarted { .. } | Event::ScriptEnded { .. } | Event::Note(_)
        );
        self.clients.retain(|client| {
            let sent = if client.subscribed { client.link.send(event) } else { Ok(()) };
            sent.is_ok() || (is_talk && sent == Err(SendError::Full))
        });
    }

    /// Sends to all that watch; one that doesn't keep up is let go, and asks
    /// again.
    pub fn tell_watchers(&mut self, status: &Event) {
        self.clients.retain(|client| !client.watches || client.link.send(status).is_ok());
    }

    /// Sends a client every change of how the guest is, from now on.
    pub fn watch_changes(&mut self, id: u64) {
        for client in self.clients.iter_mut().filter(|client| client.id == id) {
            client.watches = true;
        }
    }

    /// Sends a client all events from now on.
    pub fn subscribe(&mut self, id: u64) {
        for client in self.clients.iter_mut().filter(|client| client.id == id) {
            client.subscribed = true;
        }
    }

    /// Counts the connection of whoever has started this process as a session: that may
    /// end while the context is made, with its request or before it.
    pub fn lease_first(&mut self) {
        self.lease(FIRST);
    }

    /// Counts a client's connection as a session.
    pub fn lease(&mut self, id: u64) {
        for client in self.clients.iter_mut().filter(|client| client.id == id) {
            client.leases = true;
            self.leased = true;
        }
    }

    /// Were there sessions, and are there none now?
    pub fn last_lease_ended(&mut self) -> bool {
        if self.leased && !self.has_leases() {
            self.leased = false;
            return true;
        }
        false
    }

    /// Are there sessions?
    pub fn has_leases(&self) -> bool {
        self.clients.iter().any(|client| client.leases)
    }

    /// The guest stands still for this client's sake.
    pub fn hold(&mut self, id: u64) {
        for client in self.clients.iter_mut().filter(|client| client.id == id) {
            client.holds = true;
            self.held = true;
        }
    }

    /// Whether it stands still is somebody else's decision from now on.
    pub fn forget_holds(&mut self) {
        self.held = false;
        for client in &mut self.clients {
            client.holds = false;
        }
    }

    /// Has the guest stood still for some client, and for none now?
    pub fn last_hold_ended(&mut self) -> bool {
        if self.held && !self.clients.iter().any(|client| client.holds) {
            self.held = false;
            return true;
        }
        false
    }

    /// Closes all connections; what was sent can still be read.
    pub fn flush(&mut self) {
        self.clients.clear();
    }

    fn add(&mut self, socket: OwnedFd) -> u64 {
        let id = self.next;
        self.next += 1;
        let link = Wire::new(socket);
        self.clients.push(Client {
            id,
            link,
            subscribed: false,
            watches: false,
            leases: false,
            holds: false,
        });
        id
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::SockType;

    use super::*;

    #[test]
    fn what_is_only_for_whoever_asks_ends_with_them() {
        let directory = tempfile::tempdir().unwrap();
        let listener =
            runtime::listen(&directory.path().join("control"), SockType::SeqPacket).unwrap();
        let (ours, theirs) = runtime::pair().unwrap();
        let mut clients = Clients::new(&"web".parse().unwrap(), listener, Some(ours));
        clients.lease_first();
        let starter: Wire<Request, Event> = Wire::new(theirs);
        starter.send(&Request::Hold).unwrap();
        assert_eq!(clients.hear(), [(FIRST, Request::Hold)]);
        assert!(clients.has(FIRST) && !clients.last_lease_ended());
        // It has asked for a session, too, and nobody has heard that before its end.
        starter.send(&Request::Lease).unwrap();
        drop(starter);
        assert_eq!(clients.hear(), [(FIRST, Request::Lease)]);
        assert!(!clients.has(FIRST));
        assert!(clients.last_lease_ended());
        assert!(!clients.last_lease_ended(), "that is told once");
    }
}

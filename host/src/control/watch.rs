//! Watches guests: how each is now, and every change, from whatever
//! supervisor it has.
//!
//! Nothing is asked twice: a guest that starts is seen by the name of its
//! control socket (inotify(7)), and the supervisor there tells the rest.

use std::collections::BTreeMap;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::SockType;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use shared::name::GuestName;

use crate::config;
use crate::error::{Error, Kind, Result};
use crate::paths::Paths;
use crate::runtime::{self, RunDir};

use super::client::{heard, is_there};
use super::finder::Finder;
use super::{Client, Event, Phase, Request, Snapshot};

/// A guest whose supervisor has died is given to another one after this time:
/// systemd, where it is the guest's, is quicker.
const GRACE: Duration = Duration::from_secs(2);

/// A guest whose configuration has gone may have been deleted, or edited by a program
/// that puts another file there: after this time that is clear.
const DOUBT: Duration = Duration::from_secs(1);

/// After so long a guest that couldn't be listened to is tried again: a keeper that
/// stands still can only be killed, which nothing here sees.
const AGAIN: Duration = Duration::from_secs(5);

/// The same where many others are being looked for.
const CROWD: Duration = Duration::from_millis(100);

/// Room for inotify's events of one look.
const EVENTS: usize = 4096;

/// What has changed about a guest.
#[derive(Debug)]
pub enum Change {
    /// It has a supervisor, which says this.
    Told(Box<Snapshot>),
    /// It is down, and nothing of it is left. Said again when its configuration has gone
    /// since.
    Down,
    /// It can't be listened to, for this reason, said once. That is tried again and again.
    Unheard(Error),
}

/// The guests that are watched.
#[derive(Debug)]
pub struct Watcher {
    paths: Paths,
    inotify: OwnedFd,
    /// The directory of all run directories, watched.
    all: i32,
    /// That of all configurations, watched, if there is one.
    configurations: Option<i32>,
    /// Guests whose configuration has gone, and when that is told.
    doubted: BTreeMap<GuestName, Instant>,
    directories: BTreeMap<i32, GuestName>,
    guests: BTreeMap<GuestName, Contact>,
    /// Until when all changes of a guest were told ([`Snapshot::clock_ms`]).
    told: BTreeMap<GuestName, u64>,
    /// Why guests can't be listened to, as it was said.
    unheard: BTreeMap<GuestName, String>,
    finder: Finder,
    /// Also guests that nobody has named?
    any: bool,
}

/// The way to a guest.
#[derive(Debug)]
enum Contact {
    /// Not looked for yet.
    Unknown,
    Down,
    /// A supervisor, and whether it has said that the guest is down.
    Up(Client, bool),
    /// There was a supervisor. There will be another one until then, or it
    /// has to be started.
    Lost(Instant),
    /// The [`Finder`] looks for it.
    Sought,
}

impl Watcher {
    /// Watches these guests, and with `any` all others that run or are
    /// started. The first change of each guest is how it is now.
    ///
    /// # Errors
    /// When the run directory can't be made or watched.
    pub fn new(paths: &Paths, names: &[GuestName], any: bool) -> Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(|e| {
            Error::os("cannot watch guests", e)
                .hint("the host's limit: fs.inotify.max_user_instances")
        })?;
        let guests = names.iter().map(|name| (name.clone(), Contact::Unknown)).collect();
        let mut watcher = Self {
            paths: paths.clone(),
            inotify,
            all: -1,
            configurations: None,
            doubted: BTreeMap::new(),
            directories: BTreeMap::new(),
            guests,
            told: BTreeMap::new(),
            unheard: BTreeMap::new(),
            finder: Finder::new()?,
            any,
        };
        watcher.begin()?;
        Ok(watcher)
    }

    /// Waits for changes, at most until `deadline`, and no longer than
    /// `reader`, if given, can be written to; empty when one of these is over.
    ///
    /// # Errors
    /// When nothing can be waited for, or permission is missing.
    pub fn next(
        &mut self,
        deadline: Option<Instant>,
        reader: Option<BorrowedFd<'_>>,
    ) -> Result<Vec<(GuestName, Change)>> {
        loop {
            let mut changes = Vec::new();
            self.hear_kernel()?;
            self.hear_finder(&mut changes)?;
            self.hear_supervisors(&mut changes)?;
            self.tell_doubted(&mut changes);
            changes.retain(|(name, change)| self.is_news(name, change));
            if !changes.is_empty() {
                return Ok(changes);
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(changes);
            }
            let lost = self.guests.values().filter_map(|contact| match contact {
                Contact::Lost(until) => Some(*until),
                _ => None,
            });
            let doubted = self.doubted.values().copied();
            let until = lost.chain(doubted).chain(deadline).min();
            if self.sleep(until.map(|until| until.saturating_duration_since(now)), reader)? {
                return Ok(changes);
            }
        }
    }

    /// Is the reader gone?
    fn sleep(&self, time: Option<Duration>, reader: Option<BorrowedFd<'_>>) -> Result<bool> {
        let ours = [self.inotify.as_fd(), self.finder.as_fd()];
        let mut fds = ours.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).to_vec();
        // Errors and hang-ups are always told (poll(2)).
        fds.extend(reader.map(|reader| PollFd::new(reader, PollFlags::empty())));
        fds.extend(self.guests.values().filter_map(|contact| match contact {
            Contact::Up(client, _) => Some(PollFd::new(client.as_fd(), PollFlags::POLLIN)),
            _ => None,
        }));
        let time = time.map_or(PollTimeout::NONE, |time| {
            let time = time.saturating_add(Duration::from_millis(1));
            PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, time) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(Error::os("cannot wait for guests", error)),
        }
        let ended = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
        let answer = reader.and_then(|_| fds.get(ours.len())?.revents());
        Ok(answer.is_some_and(|answer| answer.intersects(ended)))
    }

    /// Watches the directory of all guests, and looks for each.
    fn begin(&mut self) -> Result<()> {
        let path = self.paths.run_dir();
        fs::create_dir_all(&path).map_err(|error| Error::path("create", &path, error))?;
        let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        self.all = inotify::add_watch(&self.inotify, &path, flags)
            .map_err(|error| Error::path("watch", &path, error))?;
        let flags = WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::ONLYDIR;
        let configurations = self.paths.config_dir();
        self.configurations = inotify::add_watch(&self.inotify, &configurations, flags).ok();
        if self.any {
            let entries = fs::read_dir(&path).map_err(|e| Error::path("read", &path, e))?;
            for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
                self.meet(&entry.file_name().to_string_lossy(), Contact::Unknown);
            }
        }
        for name in self.guests.keys().cloned().collect::<Vec<_>>() {
            self.enter(&name);
        }
        Ok(())
    }

    /// There is a run directory of this name.
    fn meet(&mut self, name: &str, contact: Contact) -> Option<GuestName> {
        let name: GuestName = name.parse().ok()?;
        if self.any {
            self.guests.entry(name.clone()).or_insert(contact);
        }
        self.guests.contains_key(&name).then_some(name)
    }

    /// Watches a guest's run directory, if there is one.
    fn enter(&mut self, name: &GuestName) {
        let path = self.paths.guest_run_dir(name);
        let flags = WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        if let Ok(watch) = inotify::add_watch(&self.inotify, &path, flags) {
            self.directories.insert(watch, name.clone());
        }
        // Its socket may be older than the watch.
        self.look_again(name);
    }

    /// A guest that had no supervisor may have one.
    fn look_again(&mut self, name: &GuestName) {
        if let Some(contact @ (Contact::Down | Contact::Lost(_))) = self.guests.get_mut(name)
            && let Ok(Some(client)) = reach(&RunDir::new(&self.paths, name), name)
        {
            *contact = greet(client, self.told.get(name));
        }
    }

    /// Names that have appeared.
    fn hear_kernel(&mut self) -> Result<()> {
        let (mut appeared, mut anew) = (Vec::new(), false);
        let mut buffer = [MaybeUninit::uninit(); EVENTS];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        while let Ok(event) = reader.next() {
            let ended = event.events().contains(ReadFlags::IGNORED);
            let name = event.file_name().map(|name| name.to_string_lossy().into_owned());
            // Too much at once, or somebody has removed the directory.
            anew |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            anew |= ended && (event.wd() == self.all || Some(event.wd()) == self.configurations);
            if ended {
                self.directories.remove(&event.wd());
            }
            appeared.extend(name.map(|name| (event.wd(), name)));
        }
        for (watch, name) in appeared {
            if watch == self.all {
                // One that is new is told about once it has something to say.
                if let Some(guest) = self.meet(&name, Contact::Down) {
                    self.enter(&guest);
                }
            } else if Some(watch) == self.configurations {
                // Nobody waits for one of those that nobody has named.
                let is_awaited = |guest: &GuestName| !self.any && self.guests.contains_key(guest);
                if let Some(guest) = config::guest_of_file(&name).filter(is_awaited) {
                    self.doubted.insert(guest, Instant::now() + DOUBT);
                }
            } else if let Some(guest) = self.directories.get(&watch).cloned() {
                self.look_again(&guest);
            }
        }
        if anew { self.begin() } else { Ok(()) }
    }

    /// Guests that are down and may have been deleted.
    fn tell_doubted(&mut self, changes: &mut Vec<(GuestName, Change)>) {
        let now = Instant::now();
        let due = self.doubted.extract_if(.., |_, at| *at <= now);
        for (name, _) in due {
            if matches!(self.guests.get(&name), Some(Contact::Down)) {
                changes.push((name, Change::Down));
            }
        }
    }

    /// Supervisors that were looked for.
    fn hear_finder(&mut self, changes: &mut Vec<(GuestName, Change)>) -> Result<()> {
        while let Some((name, found)) = self.finder.found() {
            let contact = match found {
                Ok(Some(client)) => greet(client, self.told.get(&name)),
                Ok(None) => {
                    changes.push((name.clone(), Change::Down));
                    Contact::Down
                }
                Err(error) => unheard(&name, error, changes)?,
            };
            self.guests.insert(name, contact);
        }
        Ok(())
    }

    /// Isn't it the complaint of before?
    fn is_news(&mut self, name: &GuestName, change: &Change) -> bool {
        match change {
            Change::Unheard(error) => {
                let text = error.to_string();
                self.unheard.insert(name.clone(), text.clone()) != Some(text)
            }
            Change::Told(_) | Change::Down => {
                self.unheard.remove(name);
                true
            }
        }
    }

    /// What supervisors say, and where there is none any more.
    fn hear_supervisors(&mut self, changes: &mut Vec<(GuestName, Change)>) -> Result<()> {
        let (paths, finder) = (&self.paths, &mut self.finder);
        for (name, contact) in &mut self.guests {
            loop {
                let told = self.told.get(name);
                match contact {
                    Contact::Down | Contact::Sought => break,
                    Contact::Unknown => {
                        *contact = seek(paths, finder, name, None, Some(&u64::MAX), changes)?;
                    }
                    Contact::Lost(until) => {
                        *contact = seek(paths, finder, name, Some(*until), told, changes)?;
                        if matches!(contact, Contact::Lost(_)) {
                            break;
                        }
                    }
                    Contact::Up(client, down) => match client.try_next() {
                        Ok(None) => break,
                        Ok(Some(Some(Event::Status(status)))) => {
                            *down = status.phase == Phase::Stopped;
                            self.told.insert(name.clone(), status.clock_ms);
                            changes.push((name.clone(), Change::Told(status)));
                            continue;
                        }
                        Ok(Some(Some(_))) => continue,
                        // The supervisor has gone, with or without its guest.
                        Ok(Some(None)) | Err(_) => {
                            if std::mem::take(down) {
                                changes.push((name.clone(), Change::Down));
                            }
                            *contact = seek(paths, finder, name, None, told, changes)?;
                        }
                    },
                }
                if matches!(contact, Contact::Down) {
                    changes.push((name.clone(), Change::Down));
                }
            }
        }
        Ok(())
    }
}

/// Looks for a guest's supervisor. One that has left its guest alone is
/// replaced after `until`.
fn seek(
    paths: &Paths,
    finder: &mut Finder,
    name: &GuestName,
    until: Option<Instant>,
    told: Option<&u64>,
    changes: &mut Vec<(GuestName, Change)>,
) -> Result<Contact> {
    let run = RunDir::new(paths, name);
    match reach(&run, name) {
        Ok(Some(client)) => return Ok(greet(client, told)),
        Ok(None) => {}
        // It stands still, or is busy: the others aren't to wait for it.
        Err(error) if error.errno() == Some(libc::EAGAIN) => {
            return Ok(Contact::Lost(Instant::now() + GRACE));
        }
        Err(error) => return unheard(name, error, changes),
    }
    match (is_there(paths, name), until) {
        (Err(error), _) => unheard(name, error, changes),
        (Ok(false), _) => Ok(Contact::Down),
        (Ok(true), None) => Ok(Contact::Lost(Instant::now() + GRACE)),
        (Ok(true), Some(until)) if Instant::now() < until => Ok(Contact::Lost(until)),
        (Ok(true), Some(_)) => match finder.start(paths, name) {
            Ok(true) => Ok(Contact::Sought),
            Ok(false) => Ok(Contact::Lost(Instant::now() + CROWD)),
            Err(error) => unheard(name, error, changes),
        },
    }
}

/// That is one guest's own matter, unless it is whoever asks that mayn't.
fn unheard(
    name: &GuestName,
    error: Error,
    changes: &mut Vec<(GuestName, Change)>,
) -> Result<Contact> {
    if error.kind() == Kind::Permission {
        return Err(error);
    }
    changes.push((name.clone(), Change::Unheard(error)));
    Ok(Contact::Lost(Instant::now() + AGAIN))
}

/// A connection to its supervisor, if there is one.
fn reach(run: &RunDir, name: &GuestName) -> Result<Option<Client>> {
    let path = run.control();
    let connected = runtime::connect_at_once(&path, SockType::SeqPacket);
    Ok(heard(&path, connected)?.map(|socket| Client::new(name, socket)))
}

/// Asks for what hasn't been told. A supervisor that doesn't answer is heard
/// to have gone.
fn greet(client: Client, told: Option<&u64>) -> Contact {
    let _ = client.send(&Request::Watch(told.copied().unwrap_or(0)));
    Contact::Up(client, false)
}

//! A leader beside the guest's PID 1, as its supervisor sees it.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::sys::socket::{Shutdown, shutdown};
use shared::leader::FromLeader;
use shared::link::{Link, RecvError};
use shared::name::GuestName;

use crate::runtime;
use crate::variables;

/// One that is there, or is being started. It ends with this.
#[derive(Debug)]
pub struct Leader {
    link: Link<(), FromLeader>,
    /// What starts it.
    starter: Child,
    is_born: bool,
    has_asked: bool,
}

impl Leader {
    /// Has one started beside this PID 1.
    ///
    /// # Errors
    /// Those of socketpair(2) and fork(2).
    pub fn start(name: &GuestName, init_pid: i32) -> io::Result<Self> {
        let (ours, theirs) = runtime::pair()?;
        let kept = variables::ALL.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        let starter = Command::new("/proc/self/exe")
            .arg0("vserver")
            .env_clear()
            .envs(kept)
            .args(["supervise", name.as_str(), "--lead", &init_pid.to_string()])
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { link: Link::new(ours), starter, is_born: false, has_asked: false })
    }

    /// Readable when it has something to say that is to be heard.
    pub fn watched(&self) -> Option<BorrowedFd<'_>> {
        (!self.has_asked).then(|| self.link.as_fd())
    }

    /// What it says: once that it is there, then once what it is asked for.
    ///
    /// # Errors
    /// As [`Link::recv`]; a message that says something else is nonsense.
    pub fn hear(&mut self) -> Result<FromLeader, RecvError> {
        let _ = self.starter.try_wait();
        if self.has_asked {
            return Err(RecvError::Empty);
        }
        let said = self.link.recv()?;
        match said {
            FromLeader::Born(_) if !self.is_born => self.is_born = true,
            FromLeader::Asked(_) if self.is_born => self.has_asked = true,
            FromLeader::Born(_) | FromLeader::Asked(_) => return Err(RecvError::Nonsense),
        }
        Ok(said)
    }
}

impl Drop for Leader {
    /// Descriptors that the guest has sent stay open until this process ends, where
    /// nothing waits: to drop the last reference to one can take as long as its sender
    /// likes ([`RecvError::Descriptors`]).
    fn drop(&mut self) {
        let _ = shutdown(self.link.as_fd().as_raw_fd(), Shutdown::Both);
        let end = loop {
            match self.link.recv() {
                Ok(_) | Err(RecvError::Nonsense) => {}
                Err(error) => break error,
            }
        };
        if end == RecvError::Descriptors {
            mem::forget(self.link.as_fd().try_clone_to_owned());
        }
        // One that is frozen with the guest ends as well.
        let _ = self.starter.kill();
        let _ = self.starter.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use nix::sys::socket::{setsockopt, sockopt::Linger};
    use shared::message::Power;

    use super::*;

    /// A connection that takes as long as its peer likes to be closed.
    fn lingering() -> (OwnedFd, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[0; 1 << 16]).is_ok() {}
        setsockopt(&stream, Linger, &libc::linger { l_onoff: 1, l_linger: 3600 }).unwrap();
        (stream.into(), peer)
    }

    #[test]
    fn descriptors_that_the_guest_has_sent_hold_nobody_up() {
        let (ours, theirs) = runtime::pair().unwrap();
        let starter = Command::new("true").spawn().unwrap();
        let leader = Leader { link: Link::new(ours), starter, is_born: true, has_asked: false };
        let guest: Link<FromLeader, ()> = Link::new(theirs);
        let (stream, peer) = lingering();
        let asked = FromLeader::Asked(Power::PowerOff);
        guest.send(&asked).unwrap();
        guest.send_with_fds(&asked, &[stream.as_fd()]).unwrap();
        drop(stream);
        let (tell, ended) = mpsc::channel();
        let dropping = thread::spawn(move || {
            drop(leader);
            tell.send(()).unwrap();
        });
        let is_free = ended.recv_timeout(Duration::from_secs(20)).is_ok();
        // It lingers for nobody now.
        drop(peer);
        dropping.join().unwrap();
        assert!(is_free);
    }

    #[test]
    fn it_is_born_once_and_asks_once() {
        let (ours, theirs) = runtime::pair().unwrap();
        let starter = Command::new("true").spawn().unwrap();
        let mut leader =
            Leader { link: Link::new(ours), starter, is_born: false, has_asked: false };
        let guest: Link<FromLeader, ()> = Link::new(theirs);
        let mut heard = |said: FromLeader| {
            guest.send(&said).unwrap();
            leader.hear()
        };
        let asked = FromLeader::Asked(Power::PowerOff);
        assert_eq!(heard(asked), Err(RecvError::Nonsense));
        assert_eq!(heard(FromLeader::Born(7)), Ok(FromLeader::Born(7)));
        assert_eq!(heard(FromLeader::Born(1)), Err(RecvError::Nonsense));
        assert_eq!(heard(asked), Ok(asked));
        // Whatever the guest says then.
        assert_eq!(heard(FromLeader::Asked(Power::Reboot)), Err(RecvError::Empty));
        assert!(leader.watched().is_none());
    }
}

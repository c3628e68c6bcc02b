//! System calls as programs mix them: files opened and read, paths looked for
//! and not found, bytes through a pipe and a socket, memory taken and given
//! back, questions about oneself.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::unistd;
use std::os::fd::AsFd;

const FILE: &str = "/etc/passwd";
const DIRECTORY: &str = "/etc/default";
const MISSING: &str = "/usr/local/lib/missing";

/// More than what malloc(3) has at hand: it asks the kernel.
const MUCH: usize = 256 << 10;

/// Open ends that are used over and over.
pub struct Ends {
    reader: io::PipeReader,
    writer: io::PipeWriter,
    one: UnixStream,
    other: UnixStream,
}

impl Ends {
    /// A pipe and a pair of sockets.
    pub fn new() -> Self {
        let (reader, writer) = io::pipe().expect("a pipe");
        let (one, other) = UnixStream::pair().expect("two sockets");
        Self { reader, writer, one, other }
    }

    /// Some thirty system calls.
    pub fn once(&self) {
        let mut buffer = [0; 512];
        let mut file = File::open(FILE).expect("the file is there");
        black_box(file.metadata().expect("it can be looked at"));
        while file.read(&mut buffer).expect("it can be read") > 0 {}
        drop(file);
        black_box(fs::metadata(DIRECTORY).expect("the directory is there"));
        assert!(fs::metadata(MISSING).is_err());
        black_box(fs::read_dir(DIRECTORY).expect("it can be read").count());

        (&self.writer).write_all(&buffer).expect("a pipe takes it");
        (&self.reader).read_exact(&mut buffer).expect("and gives it back");
        (&self.one).write_all(&buffer).expect("a socket takes it");
        let mut fds = [PollFd::new(self.other.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::NONE), Ok(1));
        (&self.other).read_exact(&mut buffer).expect("and the other gives it back");

        black_box(vec![1_u8; MUCH]);
        let mut mask = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), Some(&mut mask))
            .expect("can be blocked");
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&mask), None).expect("and unblocked");
        black_box((unistd::getppid(), unistd::geteuid(), unistd::getegid()));
        black_box(getrusage(UsageWho::RUSAGE_SELF).expect("an answer"));
    }
}

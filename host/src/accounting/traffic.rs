//! The traffic of a guest's boot, which programs of `bpf::traffic` count.

use std::io;
use std::os::fd::AsRawFd;

use crate::bpf::traffic::NUMBERS;
use crate::sys::bpf::Array;

/// What the map is called in the kernel.
const NAME: &str = "vserver_traffic";

/// Where it is counted; it is there as long as this, or a program that counts.
#[derive(Debug)]
pub struct Traffic(Array<NUMBERS>);

/// Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// That came in.
    pub received: u64,
    /// That went out.
    pub sent: u64,
    /// What came in by IPv6.
    pub received_ipv6: u64,
    /// What went out by IPv6.
    pub sent_ipv6: u64,
}

impl Traffic {
    /// Begins at 0.
    ///
    /// # Errors
    /// EPERM without CAP_BPF over the host.
    pub fn new() -> io::Result<Self> {
        Array::make(NAME).map(Self)
    }

    /// Finds what another supervisor has begun.
    ///
    /// # Errors
    /// ENOENT if nothing counts there any more.
    pub fn open(id: u32) -> io::Result<Self> {
        Array::open(id, NAME).map(Self)
    }

    /// By which it is found.
    ///
    /// # Errors
    /// Those of bpf(2).
    pub fn id(&self) -> io::Result<u32> {
        self.0.id()
    }

    /// For programs that are loaded.
    pub fn map(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// What has been counted.
    ///
    /// # Errors
    /// Those of bpf(2).
    pub fn read(&self) -> io::Result<Bytes> {
        let [received, sent, received_ipv6, sent_ipv6] = self.0.read()?;
        Ok(Bytes { received, sent, received_ipv6, sent_ipv6 })
    }
}

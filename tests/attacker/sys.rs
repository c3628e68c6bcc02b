//! System calls by number, in the three ways that a processor has for them:
//! the only unsafe code of the attacker.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::AtomicU8;

use io_uring::{IoUring, opcode};

/// An argument of a system call. Memory that is passed is static, and the
/// program lies below 4 GiB, so that 32-bit calls can name it as well.
#[derive(Clone, Copy, Debug)]
pub enum Arg<'a> {
    /// A number.
    N(i64),
    /// Text.
    Text(&'a CStr),
    /// Bytes that the kernel reads.
    Bytes(&'a [u8]),
    /// Numbers that the kernel reads.
    Words(&'a [u64]),
    /// The same, of 32 bits.
    Halves(&'a [u32]),
    /// Bytes that the kernel fills.
    Shared(&'a [AtomicU8]),
    /// 4 KiB of zeros, which the kernel may fill.
    Scratch,
}

/// What [`Arg::Scratch`] stands for.
static SCRATCH: [AtomicU8; 4096] = [const { AtomicU8::new(0) }; 4096];

impl Arg<'_> {
    fn value(self) -> i64 {
        match self {
            Self::N(number) => number,
            Self::Text(text) => text.as_ptr() as i64,
            Self::Bytes(bytes) => bytes.as_ptr() as i64,
            Self::Words(words) => words.as_ptr() as i64,
            Self::Halves(words) => words.as_ptr() as i64,
            Self::Shared(bytes) => bytes.as_ptr() as i64,
            Self::Scratch => SCRATCH.as_ptr() as i64,
        }
    }
}

fn values(arguments: &[Arg<'_>]) -> [i64; 6] {
    let mut values = [0; 6];
    for (value, argument) in values.iter_mut().zip(arguments) {
        *value = argument.value();
    }
    values
}

/// A system call of this program's own architecture.
pub fn call(number: i64, arguments: &[Arg<'_>]) -> io::Result<i64> {
    let [a, b, c, d, e, f] = values(arguments);
    // SAFETY: pointers lead to memory that lives during the call and is at
    // least as long as the call is told; no attempt asks for a call that takes
    // memory away from this program, and none starts a thread.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A system call as 32-bit programs make it, with five arguments at most.
pub fn call32(number: i64, arguments: &[Arg<'_>]) -> io::Result<i64> {
    let [a, b, c, d, e, _] = values(arguments);
    let mut result = number;
    // SAFETY: as above; the kernel keeps all registers but rax and r8 to r11
    // (entry_INT80_compat), and rbx, which can't be named here, is put back.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first}",
            "int 0x80",
            "xchg rbx, {first}",
            first = inout(reg) a => _,
            inout("rax") result,
            in("rcx") b,
            in("rdx") c,
            in("rsi") d,
            in("rdi") e,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    // Of the 32-bit result the upper half of the register says nothing.
    let result = i64::from(result as i32);
    if (-4095..0).contains(&result) {
        Err(io::Error::from_raw_os_error(-result as i32))
    } else {
        Ok(result)
    }
}

/// A stream socket, made by io_uring (IORING_OP_SOCKET, Linux 5.19).
pub fn ring_socket(family: i32) -> io::Result<i32> {
    let mut ring = IoUring::new(1)?;
    let order = opcode::Socket::new(family, libc::SOCK_STREAM, 0).build();
    // SAFETY: such an order names no memory.
    let pushed = unsafe { ring.submission().push(&order) };
    pushed.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let done = ring.completion().next().ok_or(io::ErrorKind::UnexpectedEof)?;
    match done.result() {
        error @ ..0 => Err(io::Error::from_raw_os_error(-error)),
        descriptor => Ok(descriptor),
    }
}

/// Forks; 0 in the child.
pub fn fork() -> io::Result<i32> {
    // SAFETY: this program has one thread.
    let pid = unsafe { libc::fork() };
    if pid == -1 { Err(io::Error::last_os_error()) } else { Ok(pid) }
}

/// Ends the process at once.
pub fn exit(code: i32) -> ! {
    // SAFETY: exit_group(2) has no condition.
    unsafe { libc::_exit(code) }
}

/// A descriptor that a system call has just made.
pub fn adopt(number: i64) -> OwnedFd {
    // SAFETY: the caller has it from the kernel this moment, and nobody else
    // knows of it.
    unsafe { OwnedFd::from_raw_fd(number as i32) }
}

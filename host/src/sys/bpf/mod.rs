//! bpf(2): loading programs and attaching them to cgroups and networks; and
//! the list of active security modules.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::check;

mod link;
mod map;

pub use link::{link, linked, trace_forks, tracing_forks};
pub use map::{Array, Key, Map};

/// Commands, from linux/bpf.h as all numbers here.
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const PROG_QUERY: libc::c_int = 16;

/// The cgroup and all below it obey this program and those that are attached
/// elsewhere on the way.
const ALLOW_MULTI: u32 = 2;

/// Most programs that a cgroup can have of one type (`BPF_CGROUP_MAX_PROGS`).
const MOST: usize = 64;

/// What the kernel wants to see of a licence before it lets a program use
/// all of its functions, and before it takes an LSM program.
const LICENCE: &std::ffi::CStr = c"Dual MIT/GPL";

/// Where a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Before a device node is opened or made.
    Device,
    /// In the security hook whose function has this BTF id.
    Security(u32),
    /// On the packets of an interface; before Linux 6.6 attached by rtnetlink(7).
    Link,
    /// On packets that sockets receive.
    Ingress,
    /// On packets that sockets send.
    Egress,
    /// When a socket of an internet family is made.
    SocketCreate,
    /// On the address that a call on a socket names, or tells.
    Address(Call),
    /// When something becomes of a TCP socket.
    SocketEvent,
    /// Which socket a connection, or a datagram, is for.
    Lookup,
    /// When a process or a thread has been made, of the whole host.
    Fork,
}

/// Calls on sockets of internet families, by `enum bpf_attach_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the kernel's own names")]
pub enum Call {
    Bind4 = 8,
    Bind6 = 9,
    Connect4 = 10,
    Connect6 = 11,
    Send4 = 14,
    Send6 = 15,
    Receive4 = 19,
    Receive6 = 20,
    PeerName4 = 29,
    PeerName6 = 30,
    SocketName4 = 31,
    SocketName6 = 32,
}

impl Hook {
    /// `BPF_PROG_TYPE_…`: `CGROUP_…`, `LSM`, `SCHED_CLS`, `SOCK_OPS`,
    /// `SK_LOOKUP`, `RAW_TRACEPOINT`.
    fn program_type(self) -> u32 {
        match self {
            Self::Ingress | Self::Egress => 8,
            Self::SocketCreate => 9,
            Self::Address(_) => 18,
            Self::Device => 15,
            Self::Security(_) => 29,
            Self::Link => 3,
            Self::SocketEvent => 13,
            Self::Lookup => 30,
            Self::Fork => 17,
        }
    }

    /// `BPF_CGROUP_…`, `BPF_LSM_CGROUP`, none, `BPF_SK_LOOKUP`.
    fn attach_type(self) -> u32 {
        match self {
            Self::Ingress => 0,
            Self::Egress => 1,
            Self::SocketCreate => 2,
            Self::Address(call) => call as u32,
            Self::Device => 6,
            Self::Security(_) => 43,
            Self::Link | Self::Fork => 0,
            Self::SocketEvent => 3,
            Self::Lookup => 36,
        }
    }
}

/// The part of `union bpf_attr` that loading takes, up to the last field that
/// is set: the kernel takes what follows as zero.
#[repr(C)]
#[derive(Default)]
struct Load {
    program_type: u32,
    count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
    btf: u32,
    function_record: u32,
    functions: u64,
    function_count: u32,
    line_record: u32,
    lines: u64,
    line_count: u32,
    attach_to: u32,
}

/// The part that attaching and detaching take.
#[repr(C)]
struct Attach {
    target: RawFd,
    program: RawFd,
    attach_type: u32,
    flags: u32,
}

/// The part that asking for what is attached takes.
#[repr(C)]
struct Query {
    target: RawFd,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
    program_flags: u64,
}

/// The part that opening a program or a map by its id takes.
#[repr(C)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
}

/// The part that asking about a program or a map takes.
#[repr(C)]
struct Ask {
    of: RawFd,
    size: u32,
    info: u64,
}

/// `struct bpf_prog_info` up to the name; what isn't asked for by an address
/// stays 0.
#[repr(C)]
#[derive(Default)]
struct Info {
    numbers: [u32; 6],
    addresses: [u64; 2],
    loaded_at: u64,
    owner: u32,
    maps: u32,
    map_ids: u64,
    name: [u8; 16],
}

/// Loads a program: the kernel verifies it.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN; EINVAL or EACCES for what the verifier
/// refuses, or a kernel without this type.
pub fn load(hook: Hook, name: &str, instructions: &[u64]) -> io::Result<OwnedFd> {
    let mut attributes = Load {
        program_type: hook.program_type(),
        count: u32::try_from(instructions.len())
            .map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        instructions: address(instructions.as_ptr()),
        licence: address(LICENCE.as_ptr()),
        attach_type: hook.attach_type(),
        attach_to: if let Hook::Security(function) = hook { function } else { 0 },
        name: padded(name),
        ..Load::default()
    };
    open(PROG_LOAD, &mut attributes)
}

/// Attaches a program to a cgroup, beside those that it has.
///
/// # Errors
/// EPERM if a cgroup above allows no programs below it; E2BIG if it has too
/// many.
pub fn attach(cgroup: BorrowedFd<'_>, hook: Hook, program: &OwnedFd) -> io::Result<()> {
    call(PROG_ATTACH, &mut attachment(cgroup, hook, program, ALLOW_MULTI)).map(drop)
}

/// Attaches a program to the packets that arrive at an interface, or depart
/// by it, in the calling process's network namespace (`tcx`). It goes with the
/// interface.
///
/// # Errors
/// EINVAL before Linux 6.6; ENODEV without the interface.
pub fn attach_to_interface(index: u32, departing: bool, program: &OwnedFd) -> io::Result<()> {
    /// `BPF_TCX_INGRESS` and `BPF_TCX_EGRESS`.
    const ARRIVING: u32 = 46;
    const DEPARTING: u32 = 47;
    let mut attributes = Attach {
        target: index.cast_signed(),
        program: program.as_raw_fd(),
        attach_type: if departing { DEPARTING } else { ARRIVING },
        flags: 0,
    };
    call(PROG_ATTACH, &mut attributes).map(drop)
}

/// Takes a program off a cgroup.
///
/// # Errors
/// ENOENT if it isn't attached there.
pub fn detach(cgroup: BorrowedFd<'_>, hook: Hook, program: &OwnedFd) -> io::Result<()> {
    call(PROG_DETACH, &mut attachment(cgroup, hook, program, 0)).map(drop)
}

/// The programs that are attached to this very cgroup, those first that were
/// attached first.
///
/// # Errors
/// EINVAL on a kernel without such programs.
pub fn attached(cgroup: BorrowedFd<'_>, hook: Hook) -> io::Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; MOST];
    // Wanted with security hooks, else not filled in.
    let mut flags = [0_u32; MOST];
    let mut query = Query {
        target: cgroup.as_raw_fd(),
        attach_type: hook.attach_type(),
        query_flags: 0,
        attach_flags: 0,
        ids: address(ids.as_mut_ptr()),
        count: MOST as u32,
        padding: 0,
        program_flags: address(flags.as_mut_ptr()),
    };
    call(PROG_QUERY, &mut query)?;
    let ids = ids.iter().take(query.count as usize);
    // One that has gone since then isn't attached any more.
    let found = ids.map(|id| by_id(PROG_GET_FD_BY_ID, *id));
    found
        .filter(|program| {
            !program.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ENOENT))
        })
        .collect()
}

/// The number of a program, as long as there is one.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN or CAP_BPF.
pub fn id(program: &OwnedFd) -> io::Result<u32> {
    let info: Info = info(program)?;
    Ok(info.numbers[1])
}

/// The name that a program was loaded under.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN or CAP_BPF.
pub fn name(program: &OwnedFd) -> io::Result<String> {
    let info: Info = info(program)?;
    let end = info.name.iter().position(|byte| *byte == 0).unwrap_or(info.name.len());
    Ok(String::from_utf8_lossy(&info.name[..end]).into_owned())
}

/// The ids of the maps that a program uses.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN or CAP_BPF.
pub fn maps(program: &OwnedFd) -> io::Result<Vec<u32>> {
    /// More than a program of ours has.
    const MOST: usize = 8;
    let mut ids = [0_u32; MOST];
    let mut wanted =
        Info { maps: MOST as u32, map_ids: address(ids.as_mut_ptr()), ..Info::default() };
    let mut ask = Ask {
        of: program.as_raw_fd(),
        size: size_of::<Info>() as u32,
        info: address(&raw mut wanted),
    };
    call(OBJ_GET_INFO_BY_FD, &mut ask)?;
    Ok(ids.into_iter().take(wanted.maps as usize).collect())
}

fn attachment(cgroup: BorrowedFd<'_>, hook: Hook, program: &OwnedFd, flags: u32) -> Attach {
    Attach {
        target: cgroup.as_raw_fd(),
        program: program.as_raw_fd(),
        attach_type: hook.attach_type(),
        flags,
    }
}

/// What the kernel tells about a program or a map. `T` is the beginning of its
/// structure, whose size the kernel keeps to.
fn info<T: Default>(of: &OwnedFd) -> io::Result<T> {
    let mut info = T::default();
    let mut ask =
        Ask { of: of.as_raw_fd(), size: size_of::<T>() as u32, info: address(&raw mut info) };
    call(OBJ_GET_INFO_BY_FD, &mut ask)?;
    Ok(info)
}

/// Opens a program or a map.
fn by_id(command: libc::c_int, id: u32) -> io::Result<OwnedFd> {
    open(command, &mut ById { id, next: 0, flags: 0 })
}

/// A name with at least one zero behind it.
fn padded(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes[..15].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    bytes
}

fn address<T>(pointer: *const T) -> u64 {
    pointer as u64
}

/// A command that answers with a descriptor, which is closed on exec.
fn open<T>(command: libc::c_int, attributes: &mut T) -> io::Result<OwnedFd> {
    let fd = call(command, attributes)? as RawFd;
    // SAFETY: the commands that load, make and get by an id, for which this is
    // called, return a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn call<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: T is one of the repr(C) structures above, without holes, whose
    // size is passed; the addresses in it are of memory that its maker keeps
    // borrowed through the call, with the lengths given beside them.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    check(result)
}

/// Number of lsm_list_modules(2), Linux 6.8; the libc crate has no name for
/// it yet.
const SYS_LSM_LIST_MODULES: libc::c_long = 461;

/// `LSM_ID_BPF` (linux/lsm.h).
pub const LSM_BPF: u64 = 109;

/// The numbers of the active security modules.
///
/// # Errors
/// ENOSYS before Linux 6.8.
pub fn security_modules() -> io::Result<Vec<u64>> {
    /// More than the kernel knows.
    const MOST: usize = 64;
    let mut ids = [0_u64; MOST];
    let mut size = size_of_val(&ids) as u32;
    // SAFETY: both point to local variables, and the size is that of the
    // array in bytes, as the kernel reads it.
    let result = unsafe { libc::syscall(SYS_LSM_LIST_MODULES, ids.as_mut_ptr(), &raw mut size, 0) };
    let count = usize::try_from(check(result)?).unwrap_or(0).min(MOST);
    Ok(ids[..count].to_vec())
}

/// Functions of the kernel's for programs that tests run without it.
#[cfg(test)]
pub mod emulated;

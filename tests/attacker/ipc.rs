//! What processes share without files: the bait's, by the same names.

use std::ffi::{CStr, CString};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::{fs, io};

use crate::outcome::{Attempt, Failure, Prepare, number, refused, untried};
use crate::sys::Arg::{Bytes, N, Text};
use crate::sys::{self};

/// The System V key for a tag.
pub fn key_of(tag: &str) -> i64 {
    let sum = tag.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31) ^ u32::from(byte));
    i64::from(sum & 0x7fff_ffff)
}

/// A text for the kernel.
pub fn text(text: &str) -> Result<CString, Failure> {
    CString::new(text).or_else(|_| untried("an argument holds a zero byte"))
}

/// System V shared memory.
pub fn shared_memory(tag: &str) -> Attempt {
    let id = sys::call(libc::SYS_shmget, &[N(key_of(tag)), N(0), N(0)])?;
    sys::call(libc::SYS_shmat, &[N(id), N(0), N(0)])?;
    Ok("attached".to_owned())
}

/// System V semaphores.
pub fn semaphores(tag: &str) -> Attempt {
    let id = sys::call(libc::SYS_semget, &[N(key_of(tag)), N(0), N(0)])?;
    Ok(format!("found semaphores {id}"))
}

/// A System V message queue.
pub fn message_queue(tag: &str) -> Attempt {
    let id = sys::call(libc::SYS_msgget, &[N(key_of(tag)), N(0)])?;
    Ok(format!("found queue {id}"))
}

/// A POSIX message queue.
pub fn posix_queue(tag: &str) -> Attempt {
    let name = text(tag)?;
    sys::call(libc::SYS_mq_open, &[Text(&name), N(libc::O_RDWR.into()), N(0), N(0)])?;
    Ok("opened the queue".to_owned())
}

/// POSIX shared memory.
pub fn posix_memory(tag: &str) -> Attempt {
    fs::read(format!("/dev/shm/{tag}"))?;
    Ok("read it".to_owned())
}

/// A socket in the abstract namespace (unix(7)).
pub fn abstract_socket(tag: &str) -> Attempt {
    let address = SocketAddr::from_abstract_name(tag).prepare("an abstract name")?;
    UnixStream::connect_addr(&address)?;
    Ok("connected".to_owned())
}

/// The keyring of the user of a process (keyrings(7)).
pub const USER_KEYRING: i64 = -4;

/// A key in the keyring of the user with this number, which is root's of the
/// host too where the guest has the host's ids.
pub fn key(tag: &str) -> Attempt {
    let key = find_key(&text(tag)?)?;
    Ok(format!("found key {key}"))
}

/// The number of a key in the keyring of the user (keyctl(2)).
pub fn find_key(name: &CStr) -> io::Result<i64> {
    const SEARCH: i64 = 10;
    let arguments = [N(SEARCH), N(USER_KEYRING), Text(c"user"), Text(name), N(0)];
    sys::call(libc::SYS_keyctl, &arguments)
}

/// A network interface of the host.
pub fn interface(name: &str) -> Attempt {
    let addresses = fs::read_to_string(format!("/sys/class/net/{name}/address"))?;
    let listed = fs::read_to_string("/proc/net/dev").prepare("reading /proc/net/dev")?;
    if !listed.contains(name) {
        return refused("it isn't among the interfaces");
    }
    Ok(format!("its address is {}", addresses.trim()))
}

/// A packet socket (packet(7)) bound to the interface of this number.
pub fn packets(interface: &str) -> Attempt {
    const ALL: u16 = 3;
    let interface = number(interface)? as i32;
    let socket = [libc::AF_PACKET, libc::SOCK_RAW, ALL.to_be().into()];
    let socket = sys::call(libc::SYS_socket, &socket.map(|value| N(value.into())))?;
    // struct sockaddr_ll
    let mut address = (libc::AF_PACKET as u16).to_ne_bytes().to_vec();
    address.extend(ALL.to_be_bytes());
    address.extend(interface.to_ne_bytes());
    address.resize(size_of::<libc::sockaddr_ll>(), 0);
    let size = N(address.len() as i64);
    sys::call(libc::SYS_bind, &[N(socket), Bytes(&address), size])?;
    Ok("hears what passes it".to_owned())
}

//! An interface upon one of the host's, by the number that the kernel gives a
//! link's other end in the guest's network namespace (rtnetlink(7)).

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::outcome::{Attempt, number, untried};
use crate::sys::Arg::{Bytes, N, Shared};
use crate::sys::{self};

/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_EXCL` and `NLM_F_CREATE`.
const FLAGS: u16 = 0x605;

/// Attributes of links (linux/if_link.h).
const NAME: u16 = 3;
const LINK: u16 = 5;
const LINK_INFO: u16 = 18;
const LINK_NETNSID: u16 = 37;
const INFO_KIND: u16 = 1;

/// Makes a macvlan interface upon the host's one of this number, where the
/// only link's other end is.
pub fn upon(index: &str) -> Attempt {
    static ANSWER: [AtomicU8; 64] = [const { AtomicU8::new(0) }; 64];
    let index = i32::try_from(number(index)?).or_else(|_| untried("no index"))?;
    let body = [
        vec![0; 16],
        attribute(NAME, b"upon\0"),
        attribute(LINK, &index.to_ne_bytes()),
        attribute(LINK_NETNSID, &0_i32.to_ne_bytes()),
        attribute(LINK_INFO, &attribute(INFO_KIND, b"macvlan")),
    ]
    .concat();
    // struct nlmsghdr
    let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
    message.extend(libc::RTM_NEWLINK.to_ne_bytes());
    message.extend(FLAGS.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    let socket = [libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE];
    let socket = sys::call(libc::SYS_socket, &socket.map(|value| N(value.into())))?;
    sys::call(libc::SYS_write, &[N(socket), Bytes(&message), N(message.len() as i64)])?;
    sys::call(libc::SYS_read, &[N(socket), Shared(&ANSWER), N(ANSWER.len() as i64)])?;
    // struct nlmsgerr behind the header: the error, 0 if it was done.
    let error = [16, 17, 18, 19].map(|at| ANSWER[at].load(Ordering::Relaxed));
    match i32::from_ne_bytes(error) {
        0 => Ok(format!("an interface upon number {index}")),
        error => Err(io::Error::from_raw_os_error(-error).into()),
    }
}

/// An attribute, filled up to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = 4 + value.len() as u16;
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

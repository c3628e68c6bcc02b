//! Messages of the kernel's and of other programs by netlink(7).

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, sendmsg, socket,
};

use crate::Said;

/// Waits until the kernel announces something with this name (uevents).
pub fn announced(name: &str) -> Said {
    let (protocol, flags) = (SockProtocol::NetlinkKObjectUEvent, SockFlag::SOCK_CLOEXEC);
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 1))?;
    println!("serving {name}");
    let mut text = [0; 4096];
    loop {
        let length = nix::unistd::read(&socket, &mut text)?;
        let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
        if text.contains(name) {
            return Ok(text.split('\0').next().unwrap_or_default().to_owned());
        }
    }
}

/// Waits for what another program sends to this port of NETLINK_USERSOCK
/// (netlink(7)); a port like "+1" is a group of them.
pub fn read_mail(port: &str) -> Said {
    let socket = mailbox()?;
    let number: u32 = port.parse().expect("a number");
    let own = if port.starts_with('+') { (0, number) } else { (number, 0) };
    bind(socket.as_raw_fd(), &NetlinkAddr::new(own.0, own.1))?;
    println!("serving {port}");
    let mut text = [0; 64];
    let length = nix::unistd::read(&socket, &mut text)?;
    Ok(String::from_utf8_lossy(text.get(..length).unwrap_or_default()).into_owned())
}

/// Sends it there.
pub fn mail(port: &str, text: &str) -> Said {
    let to = NetlinkAddr::new(port.parse().expect("a number"), 0);
    sendmsg(
        mailbox()?.as_raw_fd(),
        &[IoSlice::new(text.as_bytes())],
        &[],
        MsgFlags::empty(),
        Some(&to),
    )?;
    Ok("sent".to_owned())
}

fn mailbox() -> io::Result<OwnedFd> {
    let (protocol, flags) = (SockProtocol::NetlinkUserSock, SockFlag::SOCK_CLOEXEC);
    Ok(socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?)
}

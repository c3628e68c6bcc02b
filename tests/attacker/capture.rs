//! What is heard on an interface, of the frames that [`crate::frames`] makes.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::frames::{ALL, packet_socket};
use crate::outcome::{Attempt, Failure, Prepare, untried};
use crate::sys;

/// What every frame carries, before its kind.
pub const MARK: &str = "FRAME:";

/// The protocols of all frames (linux/if_ether.h): 802.2, IPv4, ARP, IPv6, MPLS,
/// PPPoE, LLDP. What has a VLAN tag is of the protocol behind that.
const PROTOCOLS: [u16; 7] = [4, 0x0800, 0x0806, 0x86dd, 0x8847, 0x8864, 0x88cc];

/// Prints the kind of each marked frame that arrives on an interface, and each
/// that asks or tells who has an address, until one of kind `last` arrives.
pub fn all(interface: &str, last: &str) -> Attempt {
    listen(interface, &[ALL], last)
}

/// The same of what the interface's filter has let pass: who asks for all
/// protocols hears a frame before it is judged, who asks for one hears it as
/// that protocol itself does (`__netif_receive_skb_core`, net/core/dev.c).
pub fn passed(interface: &str, last: &str) -> Attempt {
    listen(interface, &PROTOCOLS, last)
}

fn listen(interface: &str, protocols: &[u16], last: &str) -> Attempt {
    let open = |protocol: &u16| -> Result<File, Failure> {
        let socket = sys::adopt(packet_socket(interface, *protocol)?);
        let set = fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        set.map_err(io::Error::from).prepare("a socket that doesn't block")?;
        Ok(File::from(socket))
    };
    let mut sockets = protocols.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    writeln!(io::stdout(), "listening").prepare("writing")?;
    loop {
        let mut polled: Vec<_> =
            sockets.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
        poll(&mut polled, PollTimeout::NONE).map_err(io::Error::from).prepare("waiting")?;
        for number in 0..sockets.len() {
            if !tell(&mut sockets[number], last)? {
                continue;
            }
            // What came before it is in the others.
            for (other, socket) in sockets.iter_mut().enumerate() {
                if other != number {
                    tell(socket, last)?;
                }
            }
            return Ok("the last one".to_owned());
        }
    }
}

/// Tells what there is, up to the last one; was that among it?
fn tell(socket: &mut File, last: &str) -> Result<bool, Failure> {
    let mut out = io::stdout();
    let mut buffer = [0; 2048];
    loop {
        let frame = match socket.read(&mut buffer) {
            Ok(length) => buffer.get(..length).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return untried(format!("reading: {error}")),
        };
        let text = String::from_utf8_lossy(frame);
        if let Some((_, rest)) = text.split_once(MARK) {
            let kind = rest.split(':').next().unwrap_or_default();
            writeln!(out, "{kind}").prepare("writing")?;
            if kind == last {
                return Ok(true);
            }
        }
        let is_arp = frame.get(12..14) == Some(&[8, 6]);
        // Who speaks in it (RFC 826).
        if let (true, Some([a, b, c, d])) = (is_arp, frame.get(28..32)) {
            writeln!(out, "arp {a}.{b}.{c}.{d}").prepare("writing")?;
        }
    }
}

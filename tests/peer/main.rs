//! What programs do with sockets, step by step, in words that say what became
//! of it: the tests of addresses compare them.
//!
//! Steps are read from the arguments. One that fails tells the error and is
//! not the end; nothing waits for longer than a moment, but `serve`.

use std::fmt::Display;
use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use caps::{CapSet, Capability};
use nix::sys::prctl;
use nix::sys::socket::sockopt::Ipv6V6Only;
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn,
    SockaddrIn6, bind, listen, sendmsg, setsockopt, socket,
};
use nix::unistd::setuid;

/// Long enough for a packet that isn't dropped.
const MOMENT: Duration = Duration::from_millis(700);

fn main() {
    let mut words = std::env::args().skip(1);
    let mut sockets = Sockets::default();
    while let Some(step) = words.next() {
        let mut next = || words.next().unwrap_or_else(|| panic!("'{step}' wants more words"));
        let said = match step.as_str() {
            "tcp" => sockets.tcp(&next()),
            "only6" => sockets.only6(&next()),
            "udp" => sockets.udp(&next()),
            "connect" => sockets.connect(&next()),
            "send" => sockets.send(&next()),
            "send-as" => sockets.send_as(&next(), &next()),
            "ask" => ask(&next()),
            "fetch" => ask(&next()).map(|text| text.len().to_string()),
            "serve" => serve(&next(), &next()),
            "make" => make(&next()),
            "drop" => drop_capability(),
            "user" => become_user(),
            _ => panic!("there is no step '{step}'"),
        };
        // Whoever started this may have gone.
        let _ = match said {
            Ok(said) => writeln!(io::stdout(), "{step} {said}"),
            Err(error) => writeln!(io::stdout(), "{step}: {}", name_of(&error)),
        };
    }
}

/// The error by its number's name.
fn name_of(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{:?}", nix::errno::Errno::from_raw(number)),
        None if error.kind() == io::ErrorKind::TimedOut => "nothing".to_owned(),
        None => error.to_string(),
    }
}

/// Servers of this process.
#[derive(Default)]
struct Sockets {
    tcp: Option<TcpListener>,
    udp: Option<UdpSocket>,
}

type Said = io::Result<String>;

impl Sockets {
    /// Binds a TCP socket, and listens.
    fn tcp(&mut self, address: &str) -> Said {
        let listener = listener(parse(address))?;
        let own = listener.local_addr()?;
        self.tcp = Some(listener);
        Ok(own.to_string())
    }

    /// The same for a socket that speaks IPv6 alone.
    fn only6(&mut self, address: &str) -> Said {
        let socket = open(AddressFamily::Inet6, SockType::Stream)?;
        setsockopt(&socket, Ipv6V6Only, &true)?;
        let SocketAddr::V6(address) = parse(address) else { panic!("an IPv4 address") };
        bind(socket.as_raw_fd(), &SockaddrIn6::from(address))?;
        Ok(TcpListener::from(socket).local_addr()?.to_string())
    }

    /// Binds a UDP socket.
    fn udp(&mut self, address: &str) -> Said {
        let socket = UdpSocket::bind(parse(address))?;
        socket.set_read_timeout(Some(MOMENT))?;
        let own = socket.local_addr()?;
        self.udp = Some(socket);
        Ok(own.to_string())
    }

    /// Connects, and accepts if it is by this process's own listener.
    fn connect(&self, address: &str) -> Said {
        let stream = TcpStream::connect_timeout(&parse(address), MOMENT)?;
        let said = format!("from {} to {}", host(stream.local_addr()?), stream.peer_addr()?);
        let Some(listener) = &self.tcp else { return Ok(said) };
        listener.set_nonblocking(true)?;
        match listener.accept() {
            Ok((accepted, peer)) => {
                Ok(format!("{said}, accepted {} at {}", host(peer), accepted.local_addr()?))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(said),
            Err(error) => Err(error),
        }
    }

    /// Sends from an unbound socket, has this process's own one answer, and
    /// tells where each came from.
    fn send(&self, address: &str) -> Said {
        let to = parse(address);
        let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let client = UdpSocket::from(open(family, SockType::Datagram)?);
        client.set_read_timeout(Some(MOMENT))?;
        client.send_to(b"question", to)?;
        let Some(server) = &self.udp else { return Ok("sent".to_owned()) };
        let (_, from) = timed(server.recv_from(&mut [0; 16]))?;
        server.send_to(b"answer", from)?;
        let (_, back) = timed(client.recv_from(&mut [0; 16]))?;
        Ok(format!("from {}, answered from {back}", host(from)))
    }

    /// Sends with this source in a control message.
    fn send_as(&self, source: &str, address: &str) -> Said {
        let data = [IoSlice::new(b"forged")];
        let source: IpAddr = source.parse().expect("an address");
        let sent = match (source, parse(address)) {
            (IpAddr::V4(source), SocketAddr::V4(to)) => {
                let client = open(AddressFamily::Inet, SockType::Datagram)?;
                let octets = libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) };
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: octets,
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                let message = [ControlMessage::Ipv4PacketInfo(&info)];
                let to = SockaddrIn::from(to);
                sendmsg(client.as_raw_fd(), &data, &message, MsgFlags::empty(), Some(&to))
            }
            (IpAddr::V6(source), SocketAddr::V6(to)) => {
                let client = open(AddressFamily::Inet6, SockType::Datagram)?;
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: source.octets() },
                    ipi6_ifindex: 0,
                };
                let message = [ControlMessage::Ipv6PacketInfo(&info)];
                let to = SockaddrIn6::from(to);
                sendmsg(client.as_raw_fd(), &data, &message, MsgFlags::empty(), Some(&to))
            }
            _ => panic!("two families"),
        };
        sent?;
        let Some(server) = &self.udp else { return Ok("sent".to_owned()) };
        let (_, from) = timed(server.recv_from(&mut [0; 16]))?;
        Ok(format!("from {}", host(from)))
    }
}

/// Says what a server says.
fn ask(address: &str) -> Said {
    let mut stream = TcpStream::connect_timeout(&parse(address), MOMENT)?;
    stream.set_read_timeout(Some(MOMENT))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Tells everybody a word, and the address that they come from; instead of a
/// word like "*1000" so many bytes. At "-" it listens without binding.
fn serve(address: &str, word: &str) -> Said {
    let listener = match address {
        "-" => unbound()?,
        address => listener(parse(address))?,
    };
    println!("serving {}", listener.local_addr()?);
    loop {
        let (mut stream, peer) = listener.accept()?;
        // A client that has gone is none of its business.
        let _ = match word.strip_prefix('*') {
            Some(length) => stream.write_all(&vec![b'x'; length.parse().expect("a number")]),
            None => write!(stream, "{word} to {}", host(peer)),
        };
        let _ = stream.shutdown(Shutdown::Write);
    }
}

/// Makes a socket of this name.
fn make(name: &str) -> Said {
    let (family, kind, protocol) = match name {
        "raw" => (AddressFamily::Inet, SockType::Raw, Some(SockProtocol::Icmp)),
        "raw6" => (AddressFamily::Inet6, SockType::Raw, Some(SockProtocol::IcmpV6)),
        "packet" => (AddressFamily::Packet, SockType::Datagram, None),
        "sctp" => (AddressFamily::Inet, SockType::SeqPacket, None),
        "udp" => (AddressFamily::Inet, SockType::Datagram, Some(SockProtocol::Udp)),
        "ping" => (AddressFamily::Inet, SockType::Datagram, Some(SockProtocol::Icmp)),
        "unix" => (AddressFamily::Unix, SockType::Stream, None),
        "mptcp" => {
            return Ok(rustix::net::socket(
                rustix::net::AddressFamily::INET,
                rustix::net::SocketType::STREAM,
                Some(rustix::net::ipproto::MPTCP),
            )
            .map(|_| format!("{name} made"))?);
        }
        _ => panic!("there is no socket '{name}'"),
    };
    Ok(socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol).map(|_| format!("{name} made"))?)
}

/// Root still, without what it takes to bind ports below 1024.
fn drop_capability() -> Said {
    caps::drop(None, CapSet::Effective, Capability::CAP_NET_BIND_SERVICE)
        .expect("it can be dropped");
    Ok(String::new())
}

/// Another user, with just that.
fn become_user() -> Said {
    const USER: u32 = 1000;
    prctl::set_keepcaps(true)?;
    setuid(USER.into())?;
    caps::set(None, CapSet::Effective, &[Capability::CAP_NET_BIND_SERVICE].into())
        .expect("it has been kept");
    Ok(USER.to_string())
}

fn parse(address: &str) -> SocketAddr {
    address.parse().unwrap_or_else(|_| panic!("'{address}' is no address with a port"))
}

/// Without the port, which the kernel chooses.
fn host(address: SocketAddr) -> impl Display {
    address.ip()
}

fn timed<T>(result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    })
}

fn open(family: AddressFamily, kind: SockType) -> io::Result<OwnedFd> {
    Ok(socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?)
}

fn unbound() -> io::Result<TcpListener> {
    let socket = open(AddressFamily::Inet, SockType::Stream)?;
    listen(&socket, Backlog::new(8)?)?;
    Ok(socket.into())
}

/// Without SO_REUSEADDR, which the standard library sets.
fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(address) => {
            let socket = open(AddressFamily::Inet, SockType::Stream)?;
            bind(socket.as_raw_fd(), &SockaddrIn::from(address))?;
            socket
        }
        SocketAddr::V6(address) => {
            let socket = open(AddressFamily::Inet6, SockType::Stream)?;
            bind(socket.as_raw_fd(), &SockaddrIn6::from(address))?;
            socket
        }
    };
    listen(&socket, Backlog::new(8)?)?;
    Ok(socket.into())
}

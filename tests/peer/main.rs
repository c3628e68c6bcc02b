//! What programs do with sockets, step by step, in words that say what became
//! of it: the tests of addresses compare them.
//!
//! Steps are read from the arguments. One that fails tells the error and is
//! not the end; nothing waits for longer than a moment, but `serve`.

mod burn;
mod make;
mod netlink;
mod pings;
mod rate;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::time::Duration;

use caps::{CapSet, Capability};
use nix::sys::prctl;
use nix::sys::socket::sockopt::{Ipv6V6Only, ReuseAddr, ReusePort, SendTimeout};
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, MsgFlags, SockFlag, SockType, SockaddrIn, SockaddrIn6,
    bind, connect, listen, sendmsg, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::setuid;

/// Long enough for a packet that isn't dropped.
const MOMENT: Duration = Duration::from_secs(3);

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
            "hear" => hear(&next()),
            "tell" => tell(&next(), &next()),
            "echo" => echo(&next(), &next()),
            "call" => call(&next()),
            "reuse" => {
                sockets.reuse(&next(), &next(), |socket| setsockopt(socket, ReuseAddr, &true))
            }
            // With those of the same user only.
            "reuse-own" => {
                sockets.reuse(&next(), &next(), |socket| setsockopt(socket, ReusePort, &true))
            }
            "number" => sockets.number(&next()),
            "ping-so" => sockets.ping(&next()),
            "announced" => netlink::announced(&next()),
            "read-mail" => netlink::read_mail(&next()),
            "mail" => netlink::mail(&next(), &next()),
            "send-as" => sockets.send_as(&next(), &next()),
            "ask" => ask(&next()),
            "ask-from" => ask_from(&next(), &next()),
            "fetch" => ask(&next()).map(|text| text.len().to_string()),
            "serve" => serve(&next(), &next(), false),
            // Beside others at the address.
            "share" => serve(&next(), &next(), true),
            "on" => rate::stay_on(&next()),
            "burn" => burn::burn(&next()),
            "rate" => rate::rate(&next(), &next()),
            "make" => make::make(&next()),
            "ping" => pings::ping(&next(), &next()),
            "exhaust" => sockets.exhaust(&next()),
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

/// What [`tell`] says to an address and port, and to the group after a `+`, until one
/// text has come three times: so often, or nearly, all were told.
fn hear(place: &str) -> Said {
    let (address, group) = place.split_once('+').unwrap_or((place, ""));
    let socket = UdpSocket::bind(parse(address))?;
    if let Ok(group) = group.parse() {
        socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED)?;
    }
    socket.set_read_timeout(Some(MOMENT * 10))?;
    let mut heard = BTreeMap::new();
    loop {
        let mut text = [0; 64];
        let length = timed(socket.recv(&mut text))?;
        let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
        let times = heard.entry(text.into_owned()).or_insert(0);
        *times += 1;
        if *times == 3 {
            return Ok(heard.into_keys().collect::<Vec<_>>().join(" "));
        }
    }
}

/// Sends a text to an address, which may be that of many.
fn tell(address: &str, text: &str) -> Said {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_broadcast(true)?;
    socket.send_to(text.as_bytes(), parse(address))?;
    Ok("sent".to_owned())
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
    /// What holds ports, and does nothing with them.
    held: Vec<OwnedFd>,
}

type Said = io::Result<String>;

impl Sockets {
    /// Binds a TCP socket, and listens.
    fn tcp(&mut self, address: &str) -> Said {
        let listener = listener(parse(address), false)?;
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
        // The end of the handshake may be on its way to it still.
        let first = (0..20).find_map(|_| {
            let accepted = listener.accept();
            let is_none =
                matches!(&accepted, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
            if is_none {
                std::thread::sleep(Duration::from_millis(10));
            }
            (!is_none).then_some(accepted)
        });
        match first.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into())) {
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

    /// Takes as many ports as there are: binds TCP sockets to an address like
    /// "tcp:192.0.2.1", or sends from unbound ones to one like
    /// "udp:192.0.2.1". Tells how many.
    fn exhaust(&mut self, what: &str) -> Said {
        let (kind, address) = what.split_once(':').expect("a protocol and an address");
        let before = self.held.len();
        loop {
            let took = match kind {
                "tcp" => listener(parse(&format!("{address}:0")), false).map(OwnedFd::from),
                "udp" => open(AddressFamily::Inet, SockType::Datagram).and_then(|socket| {
                    let socket = UdpSocket::from(socket);
                    socket.send_to(b"x", parse(&format!("{address}:9")))?;
                    Ok(socket.into())
                }),
                _ => panic!("there is no protocol '{kind}'"),
            };
            match took {
                Ok(socket) => self.held.push(socket),
                Err(_) if self.held.len() > before => break,
                Err(error) => return Err(error),
            }
        }
        Ok(format!("{} ports", self.held.len() - before))
    }

    /// Sends to an address from unbound UDP sockets that share their ports, until
    /// the kernel has chosen this one, and keeps that.
    fn reuse(
        &mut self,
        port: &str,
        address: &str,
        share: impl Fn(&OwnedFd) -> nix::Result<()>,
    ) -> Said {
        for _ in 0..300 {
            let socket = open(AddressFamily::Inet, SockType::Datagram)?;
            share(&socket)?;
            let socket = UdpSocket::from(socket);
            socket.send_to(b"x", parse(&format!("{address}:9")))?;
            let own = socket.local_addr()?;
            if own.port().to_string() == port {
                self.held.push(socket.into());
                return Ok(own.to_string());
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// Holds this number of a socket for pings.
    fn number(&mut self, number: &str) -> Said {
        self.held.push(pings::numbered(number.parse().expect("a number"))?);
        Ok(number.to_owned())
    }

    /// Asks for an echo by that socket.
    fn ping(&mut self, address: &str) -> Said {
        pings::ask(self.held.pop().expect("a socket with a number"), address)
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

/// Says what a server says; one at "@NAME" has an abstract name.
fn ask(address: &str) -> Said {
    if let Some(name) = address.strip_prefix('@') {
        let mut text = String::new();
        UnixStream::connect_addr(&abstract_name(name)?)?.read_to_string(&mut text)?;
        return Ok(text);
    }
    let mut stream = TcpStream::connect_timeout(&parse(address), MOMENT)?;
    stream.set_read_timeout(Some(MOMENT))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// The same of a server of IPv4, from this address.
fn ask_from(source: &str, address: &str) -> Said {
    let (SocketAddr::V4(source), SocketAddr::V4(address)) =
        (parse(&format!("{source}:0")), parse(address))
    else {
        panic!("no IPv4 address")
    };
    let socket = open(AddressFamily::Inet, SockType::Stream)?;
    // It holds for connect(2), too (socket(7)).
    setsockopt(&socket, SendTimeout, &TimeVal::seconds(MOMENT.as_secs().cast_signed()))?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(source))?;
    connect(socket.as_raw_fd(), &SockaddrIn::from(address))?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(MOMENT))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Tells everybody a word, and the address that they come from; instead of a
/// word like "*1000" so many bytes, and of "@" how long it has been on
/// processors. At "-" it listens without binding, at
/// "@NAME" by an abstract name.
fn serve(address: &str, word: &str, shares: bool) -> Said {
    if let Some(name) = address.strip_prefix('@') {
        let listener = UnixListener::bind_addr(&abstract_name(name)?)?;
        println!("serving {address}");
        loop {
            let _ = listener.accept()?.0.write_all(word.as_bytes());
        }
    }
    let listener = match address {
        "-" => unbound()?,
        address => listener(parse(address), shares)?,
    };
    println!("serving {}", listener.local_addr()?);
    loop {
        let (mut stream, peer) = listener.accept()?;
        // A client that has gone is none of its business.
        let _ = match word.strip_prefix('*') {
            None if word == "@" => write!(stream, "{}", rate::on_processor()),
            Some(length) => stream.write_all(&vec![b'x'; length.parse().expect("a number")]),
            None => write!(stream, "{word} to {}", host(peer)),
        };
        let _ = stream.shutdown(Shutdown::Write);
    }
}

/// Answers datagrams, whoever sends them, with a word and the sender's address.
fn echo(address: &str, word: &str) -> Said {
    let SocketAddr::V4(address) = parse(address) else { panic!("no IPv4 address") };
    let socket = open(AddressFamily::Inet, SockType::Datagram)?;
    setsockopt(&socket, ReuseAddr, &true)?;
    setsockopt(&socket, ReusePort, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(address))?;
    let socket = UdpSocket::from(socket);
    println!("serving {}", socket.local_addr()?);
    loop {
        let (_, from) = socket.recv_from(&mut [0; 16])?;
        let _ = socket.send_to(format!("{word} to {}", host(from)).as_bytes(), from);
    }
}

/// What answers a datagram of a connected socket, and where that socket is.
fn call(address: &str) -> Said {
    let socket = UdpSocket::from(open(AddressFamily::Inet, SockType::Datagram)?);
    socket.connect(parse(address))?;
    socket.set_read_timeout(Some(MOMENT))?;
    socket.send(b"question")?;
    let mut text = [0; 64];
    let length = timed(socket.recv(&mut text))?;
    let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default()).into_owned();
    Ok(format!("{text} at {}", host(socket.local_addr()?)))
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

/// A name that is no file's (unix(7)).
fn abstract_name(name: &str) -> io::Result<UnixAddr> {
    UnixAddr::from_abstract_name(name)
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

/// Without SO_REUSEADDR, which the standard library sets; or with SO_REUSEPORT.
fn listener(address: SocketAddr, shares: bool) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(address) => {
            let socket = open(AddressFamily::Inet, SockType::Stream)?;
            setsockopt(&socket, ReusePort, &shares)?;
            bind(socket.as_raw_fd(), &SockaddrIn::from(address))?;
            socket
        }
        SocketAddr::V6(address) => {
            let socket = open(AddressFamily::Inet6, SockType::Stream)?;
            setsockopt(&socket, ReusePort, &shares)?;
            bind(socket.as_raw_fd(), &SockaddrIn6::from(address))?;
            socket
        }
    };
    listen(&socket, Backlog::new(8)?)?;
    Ok(socket.into())
}

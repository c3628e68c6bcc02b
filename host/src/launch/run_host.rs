//! `/run/host`: what a guest is told of what runs it, as files, and the socket on
//! which its own init says that it is up (systemd.io/CONTAINER_INTERFACE); and,
//! where its scripts look for that, which interfaces are configured.
//!
//! All of it lies on a file system of the guest's, and is its root's to change.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, sockopt};

use crate::plan::NOTIFY_SOCKET;

/// Where ifupdown of Debian keeps what it knows.
const NETWORK: &str = "/run/network";

/// What is configured, as ifupdown (Debian) keeps it for all interfaces and for
/// each, and that of busybox and Alpine. What is listed there they leave alone:
/// otherwise an `auto eth0` that asks for an address by DHCP lets a boot wait a
/// minute for nobody's answer, and scripts that may not set up what is up fail.
const CONFIGURED: [(&str, &str); 4] = [
    ("/run/network/ifstate", "lo=lo\neth0=eth0"),
    ("/run/network/ifstate.lo", "lo"),
    ("/run/network/ifstate.eth0", "eth0"),
    ("/run/ifstate", "lo=lo\neth0=eth0"),
];

/// The socket, which has no name yet. With every message comes who has sent it.
///
/// # Errors
/// Those of socket(2) and setsockopt(2).
pub fn socket() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    socket::setsockopt(&socket, sockopt::PassCred, &true)?;
    Ok(socket)
}

/// Makes the files, in a guest whose root is "/" and which hasn't run yet.
pub fn fill(uuid: Option<&str>, socket: &OwnedFd) -> io::Result<()> {
    directory("/run/host")?;
    file("/run/host/container-manager", "vserver")?;
    if let Some(uuid) = uuid {
        file("/run/host/container-uuid", uuid)?;
    }
    socket::bind(socket.as_raw_fd(), &UnixAddr::new(NOTIFY_SOCKET)?)?;
    // Only root is to write to it: to the others it would be no use.
    fs::set_permissions(NOTIFY_SOCKET, Permissions::from_mode(0o600))
}

/// Says that its interfaces are configured, as all are by the host.
pub fn tell_interfaces() -> io::Result<()> {
    let is_new = directory(NETWORK)?;
    // What the configuration has mounted there is somebody's.
    for (path, text) in CONFIGURED.iter().filter(|(path, _)| is_new || !path.starts_with(NETWORK)) {
        let file = File::options().write(true).create_new(true).mode(0o644).open(path);
        match file {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            file => writeln!(file?, "{text}")?,
        }
    }
    Ok(())
}

/// Makes a directory, and says whether it wasn't there.
fn directory(path: &str) -> io::Result<bool> {
    match DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        made => made.map(|()| true),
    }
}

fn file(path: &str, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o444).open(path)?;
    writeln!(file, "{text}")
}

//! Guests' links: made, addressed and taken away.
//!
//! The host's half of a start is [`Host`], the guest's half [`arrive`]; both
//! talk to the kernel alone (rtnetlink(7)), so that nothing depends on what is
//! installed. What a guest may send is decided by the filter on the link's end
//! on the host (`bpf::link`), which is there before the link is up and goes
//! with it.

mod announce;
mod host;
mod inside;
mod loopback;
mod mend;
mod netlink;
mod owner;
mod proxy;

pub use announce::announce;
pub use host::{Host, index, remove};
pub use inside::arrive;
pub use loopback::{add as add_loopback, remove as remove_loopback};
pub use mend::{Fault, look, mend, strange};
pub use owner::{refuse_foreign, refuse_missing};
pub use proxy::end as end_proxy;

use netlink::Way;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The host's address on every link, IPv4: the guest's gateway. It is of the
/// block that never leaves a link (RFC 3927), so it is nobody else's.
const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// The host's address on every link, IPv6.
const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// The guest's end, inside.
const INSIDE: &str = "eth0";

/// The host's address on every link, of the same family.
fn gateway(of: IpAddr) -> IpAddr {
    match of {
        IpAddr::V4(_) => GATEWAY_V4.into(),
        IpAddr::V6(_) => GATEWAY_V6.into(),
    }
}

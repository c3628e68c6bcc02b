//! `[network]`: how a guest is joined to networks, and by which addresses.

use serde::{Deserialize, Serialize};

use super::address::{Address, Machine};

/// `[network]`: how a guest is joined to networks, and by which addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// How it is joined; see [`Network::mode`] for what holds when not given.
    pub mode: Option<NetworkMode>,
    /// The addresses that are its own, and no others; the first one is its
    /// source for what names none.
    pub addresses: Vec<Address>,
    /// With `bridge`: the host's bridge that it is joined to.
    pub bridge: Option<String>,
    /// With `macvlan`: the host's interface on whose network it is.
    pub parent: Option<String>,
    /// With these two: who passes on what is for others, one of IPv4 and one
    /// of IPv6 at most.
    pub gateway: Vec<Machine>,
    /// With `routed`: an interface of the host, on whose network it answers
    /// for these addresses, so that machines there find them.
    pub proxy_arp: Option<String>,
    /// Name servers, which `/etc/resolv.conf` names then.
    pub dns: Vec<Machine>,
}

impl Network {
    /// How the guest is joined: as it is written, else not at all without
    /// addresses, and with them as the host's interface that is named says,
    /// or routed.
    pub fn mode(&self) -> NetworkMode {
        let usual = match () {
            () if self.addresses.is_empty() => NetworkMode::None,
            () if self.bridge.is_some() => NetworkMode::Bridge,
            () if self.parent.is_some() => NetworkMode::Macvlan,
            () => NetworkMode::Routed,
        };
        self.mode.unwrap_or(usual)
    }

    /// Is it still to be said how the guest is joined? Keys are set one by one.
    pub fn is_open(&self) -> bool {
        self.mode.is_none() && self.addresses.is_empty()
    }
}

/// How a guest is joined to networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// Its own stack, on a link of its own to the host, which routes its
    /// addresses there.
    Routed,
    /// The host's stack, held to its addresses there.
    Shared,
    /// Its own stack, on a port of one of the host's bridges.
    Bridge,
    /// Its own stack, on the network of one of the host's interfaces, beside
    /// the host.
    Macvlan,
    /// Its own stack, with nothing but a loopback interface.
    None,
}

impl NetworkMode {
    /// The word in configuration and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Routed => "routed",
            Self::Shared => "shared",
            Self::Bridge => "bridge",
            Self::Macvlan => "macvlan",
            Self::None => "none",
        }
    }
}

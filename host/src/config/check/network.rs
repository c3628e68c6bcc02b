//! Rules of `[network]`: what goes with which mode.

use std::net::IpAddr;

use caps::Capability;
use shared::capability::capability;

use crate::bpf::addresses::MOST;
use crate::config::problem::Problem;
use crate::config::{GuestConfig, Machine, Network, NetworkMode, UserMode};

/// More name servers aren't asked (`MAXNS`, resolv.conf(5)).
const MOST_SERVERS: usize = 3;

/// Which addresses and which other keys a mode takes.
pub(super) fn check(config: &GuestConfig, found: &mut Vec<Problem>) {
    let network = &config.network;
    addresses(network, found);
    over_the_hosts(config, found);
    interfaces(network, found);
    gateways(network, found);
    servers(&network.dns, found);
}

/// Can an interface have this name: 1 to 15 bytes, without blanks, '/' and ':'
/// (`dev_valid_name`, net/core/dev.c)?
fn is_interface(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
    (1..=15).contains(&name.len()) && name.bytes().all(plain) && name != "." && name != ".."
}

fn addresses(network: &Network, found: &mut Vec<Problem>) {
    const KEY: &str = "network.addresses";
    let (mode, addresses) = (network.mode(), &network.addresses);
    let name = mode.name();
    if mode == NetworkMode::None && !addresses.is_empty() {
        let text = "a guest with 'network.mode = \"none\"' has no addresses";
        found.push(Problem::new(KEY, text));
    }
    if mode != NetworkMode::None && addresses.is_empty() {
        let text = format!("'network.mode = \"{name}\"' needs 'network.addresses'");
        found.push(Problem::new("network.mode", text));
    }
    if mode == NetworkMode::Shared && addresses.len() > MOST {
        found.push(Problem::new(KEY, format!("at most {MOST} addresses can be shared")));
    }
    for (number, address) in addresses.iter().enumerate() {
        if addresses[..number].iter().any(|other| other.ip == address.ip) {
            found.push(Problem::new(KEY, format!("the address {} stands there twice", address.ip)));
        }
        if mode == NetworkMode::Routed && !address.is_single() {
            let text = format!(
                "with 'network.mode = \"{name}\"' an address stands alone: {}, not {address}",
                address.ip
            );
            found.push(Problem::new(KEY, text));
        }
    }
}

/// Without a user namespace these reach the host's whole network: where that is
/// the guest's, too, and by the other end of a link, whose network namespace the
/// kernel gives a number in the guest's (`IFLA_LINK_NETNSID`, rtnetlink(7)). By
/// that its root could make interfaces upon those of the host, past any filter.
fn over_the_hosts(config: &GuestConfig, found: &mut Vec<Problem>) {
    const SHARED: &[Capability] = &[Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];
    const LINKED: &[Capability] = &[Capability::CAP_NET_ADMIN];
    let security = &config.security;
    let mode = config.network.mode();
    let over_networks = match mode {
        NetworkMode::None => return,
        NetworkMode::Shared => SHARED,
        NetworkMode::Routed | NetworkMode::Bridge | NetworkMode::Macvlan => LINKED,
    };
    if security.users != UserMode::Host {
        return;
    }
    let reaching =
        |name: &&String| capability(name).is_some_and(|known| over_networks.contains(&known));
    if let Some(name) = security.capabilities.add.iter().find(reaching) {
        let text = format!(
            "with 'network.mode = \"{}\"' and 'security.users = \"host\"' the capability \
             '{name}' is one over the host's network",
            mode.name()
        );
        let hint = "with 'security.users = \"private\"' it is one over the guest's own";
        let hint = (mode != NetworkMode::Shared).then(|| hint.to_owned());
        found.push(Problem::new("security.capabilities", text).hint(hint));
    }
}

/// Each interface of the host's goes with one mode; two modes need theirs.
fn interfaces(network: &Network, found: &mut Vec<Problem>) {
    let mode = network.mode();
    for (key, value, its_mode, is_needed) in [
        ("network.proxy_arp", &network.proxy_arp, NetworkMode::Routed, false),
        ("network.bridge", &network.bridge, NetworkMode::Bridge, true),
        ("network.parent", &network.parent, NetworkMode::Macvlan, true),
    ] {
        let (name, its_name) = (mode.name(), its_mode.name());
        match value {
            None if is_needed && mode == its_mode => {
                let text = format!("'network.mode = \"{name}\"' needs '{key}'");
                let hint = format!("with '{key}' set, and addresses, this is the mode anyway");
                found.push(Problem::new("network.mode", text).hint(Some(hint)));
            }
            None => {}
            Some(_) if is_needed && network.is_open() => {}
            Some(_) if mode != its_mode => {
                let text =
                    format!("'{key}' goes with 'network.mode = \"{its_name}\"', not \"{name}\"");
                found.push(Problem::new(key, text));
            }
            Some(interface) if !is_interface(interface) => {
                let text = format!("'{}' is no name of an interface", interface.escape_debug());
                found.push(Problem::new(key, text));
            }
            Some(_) => {}
        }
    }
}

fn gateways(network: &Network, found: &mut Vec<Problem>) {
    const KEY: &str = "network.gateway";
    let mode = network.mode();
    if network.is_open() {
        return;
    }
    if !network.gateway.is_empty() && !matches!(mode, NetworkMode::Bridge | NetworkMode::Macvlan) {
        let text = format!(
            "'{KEY}' goes with 'network.mode = \"bridge\"' or \"macvlan\", not \"{}\"",
            mode.name()
        );
        found.push(Problem::new(KEY, text));
        return;
    }
    for (number, Machine(gateway)) in network.gateway.iter().enumerate() {
        let is_alike = |ip: IpAddr| ip.is_ipv4() == gateway.is_ipv4();
        let wrong = if network.gateway[..number].iter().any(|other| is_alike(other.0)) {
            "a family has one gateway"
        } else if gateway.is_loopback() {
            "a gateway isn't the guest itself"
        } else if network.addresses.iter().any(|own| own.ip == *gateway) {
            "it is one of the guest's own addresses"
        } else if !network.addresses.iter().any(|own| is_alike(own.ip)) {
            "the guest has no address of that family"
        } else {
            continue;
        };
        found.push(Problem::new(KEY, format!("{gateway} can't be the gateway: {wrong}")));
    }
}

fn servers(servers: &[Machine], found: &mut Vec<Problem>) {
    if servers.len() > MOST_SERVERS {
        let text = format!("programs ask the first {MOST_SERVERS} name servers and no others");
        found.push(Problem::new("network.dns", text));
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{NetworkMode, parse};

    /// A guest on a bridge, with these keys besides.
    fn bridged(keys: &str) -> String {
        let own = "addresses = [\"192.0.2.10/24\", \"2001:db8::10/64\"]";
        format!("[network]\nmode = \"bridge\"\nbridge = \"br0\"\n{own}\n{keys}\n")
    }

    #[test]
    fn a_bridge_and_a_parent_need_their_names() {
        for (text, key) in [
            ("mode = \"bridge\"\naddresses = [\"192.0.2.1/24\"]", "network.mode"),
            ("mode = \"macvlan\"\naddresses = [\"192.0.2.1/24\"]", "network.mode"),
            ("mode = \"bridge\"\nbridge = \"br0\"", "network.mode"),
            ("mode = \"bridge\"\nbridge = \"a/b\"\naddresses = [\"192.0.2.1\"]", "network.bridge"),
            ("mode = \"routed\"\nbridge = \"br0\"\naddresses = [\"192.0.2.1\"]", "network.bridge"),
            ("bridge = \"br0\"\nparent = \"eth0\"\naddresses = [\"192.0.2.1\"]", "network.parent"),
            ("gateway = [\"192.0.2.1\"]\naddresses = [\"192.0.2.2\"]", "network.gateway"),
            ("dns = [\"192.0.2.53/24\"]", "network.dns"),
            ("dns = [\"192.0.2.1\", \"192.0.2.2\", \"192.0.2.3\", \"192.0.2.4\"]", "network.dns"),
        ] {
            let found = parse::parse(&format!("[network]\n{text}\n")).expect_err(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].key.starts_with(key), "{text}: {found:?}");
        }
        assert!(parse::parse(&bridged("")).is_ok());
    }

    #[test]
    fn keys_can_be_set_one_by_one() {
        let mut text = "[network]\n".to_owned();
        for (line, mode) in [
            ("bridge = \"br0\"", NetworkMode::None),
            ("gateway = [\"192.0.2.1\"]", NetworkMode::None),
            ("addresses = [\"192.0.2.10/24\"]", NetworkMode::Bridge),
            ("mode = \"bridge\"", NetworkMode::Bridge),
        ] {
            text.push_str(line);
            text.push('\n');
            assert_eq!(parse::parse(&text).expect(&text).network.mode(), mode);
        }
    }

    #[test]
    fn a_gateway_is_another_machine_of_a_family_that_the_guest_has() {
        for (gateways, right) in [
            ("\"192.0.2.1\"", true),
            ("\"192.0.2.1\", \"fe80::1\"", true),
            ("\"198.51.100.1\"", true),
            ("\"192.0.2.1\", \"192.0.2.2\"", false),
            ("\"192.0.2.10\"", false),
            ("\"127.0.0.1\"", false),
            ("\"192.0.2.1/24\"", false),
        ] {
            let text = bridged(&format!("gateway = [{gateways}]"));
            assert_eq!(parse::parse(&text).is_ok(), right, "{text}");
        }
    }
}

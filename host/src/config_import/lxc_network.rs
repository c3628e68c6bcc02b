//! LXC's `lxc.net.N.*`: of several interfaces the first that vserver can have.
//! Pure.

use super::rule::{Rule, fine, missing, takes};
use super::values::{fine as is_fine, missing as none, one_more, ours};
use super::{Outcome, Setting, State, Theirs};

/// The part of LXC's table that is about networks.
pub(super) const NETWORK: [Rule; 8] = [
    takes(
        "lxc.net.*.type",
        "network.bridge, network.parent",
        "veth and macvlan with addresses; \
          one interface",
        kind,
    ),
    takes("lxc.net.*.link", "network.bridge, network.parent", "by the type", link),
    takes("lxc.net.*.ipv4.address", "network.addresses", "", address),
    takes("lxc.net.*.ipv6.address", "network.addresses", "", address),
    takes("lxc.net.*.ipv4.gateway", "network.gateway", "", gateway),
    takes("lxc.net.*.ipv6.gateway", "network.gateway", "", gateway),
    fine("lxc.net.*.flags", "a guest's interface is up"),
    missing(
        "lxc.net*",
        "the interface is called eth0, and its other properties are the host's \
            own",
    ),
];

/// Gives the interfaces of LXC 1.x and 2.0 the numbers that they have now: one
/// begins with each `lxc.network.type`.
pub(super) fn number(settings: &mut [Setting]) {
    let mut number = None;
    for setting in settings {
        let Some(rest) = setting.key.strip_prefix("lxc.network") else { continue };
        if rest == ".type" {
            number = Some(number.map_or(0, |number: usize| number + 1));
        }
        let rest = match rest {
            ".ipv4" => ".ipv4.address",
            ".ipv6" => ".ipv6.address",
            rest => rest,
        };
        setting.key = match number {
            Some(number) if rest.starts_with('.') => format!("lxc.net.{number}{rest}"),
            _ => format!("lxc.net{rest}"),
        };
    }
}

/// The number of a setting's interface.
fn interface(setting: &Setting) -> Option<&str> {
    setting.key.strip_prefix("lxc.net.")?.split('.').next()
}

fn of<'a>(theirs: Theirs<'a>, interface: &str, key: &str) -> Option<&'a str> {
    theirs.value(&format!("lxc.net.{interface}.{key}"))
}

/// Can it be the guest's: of a type that vserver has, with an interface of the
/// host's?
fn can_be(theirs: Theirs<'_>, interface: &str) -> bool {
    let kind = of(theirs, interface, "type");
    let link = of(theirs, interface, "link").unwrap_or_default();
    matches!(kind, Some("veth" | "macvlan")) && !link.is_empty()
}

/// The interface that the guest gets.
fn chosen(theirs: Theirs<'_>) -> Option<&str> {
    let mut all = theirs.all().filter(|setting| setting.state == State::Plain);
    all.find_map(|setting| interface(setting).filter(|number| can_be(theirs, number)))
}

fn has_addresses(theirs: Theirs<'_>, interface: &str) -> bool {
    ["ipv4.address", "ipv6.address"].iter().any(|key| of(theirs, interface, key).is_some())
}

fn kind(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    let own = interface(setting).unwrap_or_default();
    match &*setting.value {
        "" | "empty" => is_fine("without addresses a guest has a loopback interface alone"),
        "none" => none(
            "a guest has its own network stack, or with 'network.mode = \"shared\"' addresses on \
             the host's",
        ),
        "veth" | "macvlan" if chosen(theirs).is_some_and(|chosen| chosen != own) => {
            none("a guest has one interface: its addresses can be added to 'network.addresses'")
        }
        "veth" | "macvlan" if !has_addresses(theirs, own) => none(
            "it asked for its addresses when it ran (DHCP); a guest's are written down: 'vserver \
             config set NAME network.addresses ADDRESS/BITS', and 'network.gateway'",
        ),
        "veth" if can_be(theirs, own) => is_fine("see its link"),
        "veth" => is_fine("its addresses are routed to it"),
        "macvlan" => is_fine("see its link"),
        _ => none("a guest's interface is routed, on a bridge, or macvlan: docs/network.md"),
    }
}

fn link(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    let own = interface(setting).unwrap_or_default();
    if chosen(theirs) != Some(own) {
        return none("a guest has one interface: docs/network.md");
    }
    match of(theirs, own, "type") {
        Some("veth") => ours("network.bridge", &*setting.value),
        _ => ours("network.parent", &*setting.value),
    }
}

fn address(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    let own = interface(setting).unwrap_or_default();
    // Behind a blank stands the broadcast address.
    let text = setting.value.split_ascii_whitespace().next().unwrap_or_default();
    let bare = text.split('/').next().unwrap_or_default();
    match (chosen(theirs), of(theirs, own, "type")) {
        _ if text.is_empty() => is_fine("that is none"),
        (Some(chosen), _) if chosen == own => one_more("network.addresses", text),
        (None, Some("veth")) => one_more("network.addresses", bare),
        _ => none("a guest has one interface: add it to 'network.addresses' if it can be there"),
    }
}

fn gateway(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    let own = interface(setting).unwrap_or_default();
    match &*setting.value {
        "" => is_fine("that is none"),
        "auto" => none("it was the bridge's own address: set it as 'network.gateway'"),
        "dev" if chosen(theirs).is_none() => is_fine("what is routed goes by the host"),
        "dev" => none("a gateway is an address: set 'network.gateway'"),
        _ if chosen(theirs).is_none() => is_fine("what is routed goes by the host"),
        gateway if chosen(theirs) == Some(own) => one_more("network.gateway", gateway),
        _ => none("a guest has one interface: docs/network.md"),
    }
}

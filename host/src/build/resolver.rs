//! The name servers that a new guest gets: the host's, as far as a guest reaches them.
//! Pure.

use std::net::IpAddr;

/// The host's, and what systemd-resolved itself asks where it is the host's one server,
/// at 127.0.0.53 (systemd-resolved.service(8)).
pub(super) const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// What is to be said where a guest is left without.
pub(super) const NONE: &str = "the host's name servers are on its own loopback, which no guest \
                               reaches: name others with 'network.dns'";

/// The first of these texts (resolv.conf(5)) with a server that a guest reaches, without
/// those that it doesn't. If there is none: what else the first one says, and whether
/// that had servers.
pub(super) fn inherited(texts: &[String]) -> Result<String, (String, bool)> {
    let mut reaching = texts.iter().map(|text| reached(text));
    if let Some(text) = reaching.find(|text| servers(text).next().is_some()) {
        return Ok(text);
    }
    let first = texts.first().map(String::as_str).unwrap_or_default();
    Err((reached(first), servers(first).next().is_some()))
}

/// A guest's loopback is its own, in every mode.
fn reached(text: &str) -> String {
    let lines = text.split_inclusive('\n');
    lines.filter(|line| !server(line).is_some_and(|ip| ip.is_loopback())).collect()
}

fn servers(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines().filter_map(server)
}

fn server(line: &str) -> Option<IpAddr> {
    let mut words = line.split_whitespace();
    if words.next() != Some("nameserver") {
        return None;
    }
    // An address of IPv6 may have a zone.
    words.next()?.split('%').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Result<String, (String, bool)> {
        inherited(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_guest_asks_whom_the_host_asks() {
        let text = "# ours\nsearch example.org\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\n";
        assert_eq!(of(&[text, "nameserver 192.0.2.1\n"]), Ok(text.to_owned()));
        // What a guest doesn't reach would cost it a time-out each time.
        assert_eq!(
            of(&["nameserver ::1\nnameserver 192.0.2.53\n"]),
            Ok("nameserver 192.0.2.53\n".to_owned())
        );
    }

    #[test]
    fn whom_systemd_resolved_asks_is_asked() {
        let stub = "nameserver 127.0.0.53\noptions edns0\n";
        let behind = "nameserver 192.0.2.53\nsearch example.org\n";
        assert_eq!(of(&[stub, behind]), Ok(behind.to_owned()));
    }

    #[test]
    fn without_any_the_rest_stays() {
        let stub = "search example.org\nnameserver 127.0.0.1";
        assert_eq!(of(&[stub, ""]), Err(("search example.org\n".to_owned(), true)));
        assert_eq!(of(&["search x\n"]), Err(("search x\n".to_owned(), false)));
        assert_eq!(of(&[]), Err((String::new(), false)));
    }
}

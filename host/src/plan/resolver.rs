//! Which name servers a guest asks: the text of its `/etc/resolv.conf`
//! (resolv.conf(5)).

use std::fmt::Write;

use crate::config::Machine;

/// The file's text; `None` where none are given.
pub(super) fn plan(servers: &[Machine]) -> Option<String> {
    if servers.is_empty() {
        return None;
    }
    let mut text = "# From network.dns of this guest's configuration, at each start.\n".to_owned();
    for Machine(server) in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_a_line() {
        let servers = ["192.0.2.53", "2001:db8::53"];
        let servers = servers.map(|text| Machine::try_from(text.to_owned()).expect(text));
        let text = plan(&servers).expect("a text");
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, ["nameserver 192.0.2.53", "nameserver 2001:db8::53"]);
        assert_eq!(plan(&[]), None);
    }
}

//! Tables of the documentation that say what a user can expect, line by line:
//! each line has a test that reads it, by the name of the function that does.

use std::path::Path;
use std::{env, fs};

use tests::verbs;

/// A line of a table, by its first cell, and what tests it: file and function.
type Line = (&'static str, &'static [(&'static str, &'static str)]);

/// Each table: the page, the text that stands before it, and its lines.
const TABLES: [(&str, &str, &[Line]); 2] =
    [("network.md", "## shared", SHARED), ("network.md", "What is the host's, and seen", SEEN)];

/// What sockets do.
const SHARED: &[Line] = &[
    (
        "bind to an own address",
        &[
            ("guest/shared.rs", "guests_and_the_host_serve_on_one_port"),
            ("guest/shared.rs", "low_ports_are_for_who_has_the_capability"),
        ],
    ),
    (
        "bind to any address, TCP",
        &[
            ("guest/serving.rs", "one_socket_serves_all_addresses"),
            ("guest/serving.rs", "what_listens_at_the_very_address_comes_first"),
        ],
    ),
    (
        "bind to any address, UDP",
        &[
            ("guest/serving.rs", "one_socket_serves_all_addresses"),
            ("guest/chbind.rs", "datagrams_have_own_sources"),
        ],
    ),
    ("bind to another address", &[("guest/shared.rs", "only_own_addresses_can_be_used")]),
    ("source of a client", &[("guest/chbind.rs", "sources_are_on_the_destinations_network")]),
    (
        "`IP_PKTINFO` with another source",
        &[
            ("guest/chbind.rs", "datagrams_have_own_sources"),
            ("guest/shared.rs", "only_own_addresses_can_be_used"),
        ],
    ),
    ("127.0.0.1", &[("guest/chbind.rs", "the_loopback_address_is_private")]),
    ("connect to 127.0.0.1", &[("guest/chbind.rs", "the_loopback_address_is_private")]),
    ("::1", &[("guest/shared.rs", "a_loopback_address_of_ipv6_is_its_own")]),
    ("ping", &[("guest/seen.rs", "a_ping_has_the_source_that_the_hosts_routes_give")]),
    ("raw, packet, SCTP, MPTCP sockets", &[("guest/chbind_sockets.rs", "others_are_refused")]),
    ("broadcast, multicast", &[("guest/seen.rs", "what_is_for_many_is_not_received")]),
];

/// What is the host's, and seen or shared all the same.
const SEEN: &[Line] = &[
    (
        "`/proc/net`, `/sys/class/net`",
        &[
            ("guest/seen.rs", "tables_of_the_kernel_are_visible"),
            ("guest/shared.rs", "the_hosts_sys_is_read_only"),
        ],
    ),
    ("sock_diag (`ss`)", &[("guest/services.rs", "on_the_stack_of_the_host")]),
    (
        "rtnetlink (`ip`)",
        &[
            ("guest/seen.rs", "interfaces_and_routes_are_visible"),
            ("guest/shared.rs", "nothing_of_the_hosts_network_can_be_changed"),
        ],
    ),
    ("abstract UNIX sockets", &[("guest/seen.rs", "abstract_names_can_be_reached")]),
    (
        "what the kernel says of devices (uevents)",
        &[("guest/seen.rs", "what_the_kernel_says_of_devices_is_heard")],
    ),
    (
        "messages between programs by netlink(7) (`NETLINK_USERSOCK`)",
        &[("guest/seen.rs", "programs_write_to_each_other_by_netlink")],
    ),
    ("the tables of neighbours", &[("guest/seen.rs", "neighbours_are_in_one_table")]),
    (
        "connections that the host's firewall tracks (conntrack)",
        &[("guest/seen.rs", "tracked_connections_are_for_the_hosts_root")],
    ),
    (
        "services of the host's, and networks that it reaches",
        &[("guest/shared.rs", "guests_and_the_host_serve_on_one_port")],
    ),
    (
        "ports that the host binds on every address",
        &[("guest/seen.rs", "a_port_on_every_address_is_taken_for_all")],
    ),
    ("ports that a guest binds", &[("guest/seen.rs", "a_port_on_every_address_is_taken_for_all")]),
    (
        "ports that the kernel chooses",
        &[
            ("guest/seen.rs", "bound_ports_are_each_addresss_own"),
            ("guest/seen.rs", "ports_of_sockets_that_bind_nothing_are_shared"),
        ],
    ),
    ("numbers of pings", &[("guest/seen.rs", "numbers_of_pings_are_for_all")]),
];

/// A line that is new has no test yet, and one that has gone needs none.
#[test]
fn each_line_of_a_table_has_a_test() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(here.join(path)).expect(path);
    for (page, before, lines) in TABLES {
        let text = read(&format!("../docs/{page}"));
        let (_, table) = text.split_once(before).expect(before);
        let rows = table.lines().skip_while(|line| !line.starts_with("|---|")).skip(1);
        let rows = rows.take_while(|line| line.starts_with("| "));
        let first =
            rows.map(|row| row.split(" | ").next().unwrap_or_default().trim_matches('|').trim());
        let listed: Vec<_> = lines.iter().map(|(row, _)| *row).collect();
        assert_eq!(first.collect::<Vec<_>>(), listed, "{page}, {before}");
        for (row, tests) in lines {
            for (file, test) in *tests {
                let text = read(file);
                let is_there = [format!("fn {test}("), format!("fn {test}<")];
                assert!(is_there.iter().any(|head| text.contains(head)), "{row}: {file}, {test}");
            }
        }
    }
}

/// What the host's commands do stands in the tests, which run it.
#[test]
fn what_the_hosts_commands_do_is_what_is_tested() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/systemd.md");
    let text = fs::read_to_string(&path).expect("the page is there");
    let page = verbs::page();
    let begin = text.find("| | PID 1 is guest-init |").expect("the table is there");
    let length = text[begin..].find("\n\n").expect("the table ends") + 1;
    if env::var_os("VSERVER_TEST_GOLDEN").is_some_and(|word| word == "write") {
        let text = format!("{}{page}{}", &text[..begin], &text[begin + length..]);
        fs::write(&path, text).expect("a file of the source can be written");
    } else {
        let found = &text[begin..begin + length];
        assert!(found == page, "{path:?} is old; VSERVER_TEST_GOLDEN=write makes it anew");
    }
}

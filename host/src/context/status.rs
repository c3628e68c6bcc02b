//! The status file that programs which look for Linux-VServer find
//! (`s_context`, `VxID`, `ipv4root`).
//!
//! Pure.

use core::fmt::Write;
use core::net::Ipv4Addr;

/// Longest command name (prctl(2), `PR_SET_NAME`).
const LONGEST_NAME: usize = 15;

/// What the lines about addresses begin with.
const ADDRESSES: &str = "ipv4root";

/// The lines that Linux-VServer's kernel had about a context.
pub fn status_lines(number: u32) -> [String; 2] {
    [format!("s_context: {number}"), format!("VxID: {number}")]
}

/// Those about addresses: each with its network's mask as the bytes of a
/// packet, read as one number of this machine's.
pub fn address_lines(addresses: &[(Ipv4Addr, u8)], broadcast: Ipv4Addr) -> [String; 2] {
    let raw = |ip: Ipv4Addr| u32::from_ne_bytes(ip.octets());
    let mask = |bits: u8| u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
    let mut line = format!("{ADDRESSES}:");
    for (ip, bits) in addresses {
        // Writing to a string never fails.
        let _ = write!(line, " {:08x}/{:08x}", raw(*ip), mask(*bits).to_be());
    }
    if addresses.is_empty() {
        line.push_str(" 0");
    }
    [line, format!("{ADDRESSES}_bcast: {:08x}", raw(broadcast))]
}

/// The lines about addresses in the text of a status file.
pub fn addresses_in(status: &str) -> Vec<String> {
    status.lines().filter(|line| line.starts_with(ADDRESSES)).map(str::to_owned).collect()
}

/// The text of `/proc/PID/status` with these lines behind it in place of
/// those of their names, for a process that is about to execute `program`.
pub fn text(status: &str, program: &str, lines: &[String]) -> String {
    let base = program.rsplit('/').next().unwrap_or(program);
    let name: String = base.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    let names = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    let is_new = |line: &&str| !lines.iter().any(|new| names(new) == names(line));
    let old = status.lines().filter(is_new).map(|line| match line.strip_prefix("Name:") {
        Some(_) => format!("Name:\t{name}\n"),
        None => format!("{line}\n"),
    });
    old.chain(lines.iter().map(|line| format!("{line}\n"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_lines_are_those_of_the_old_kernel() {
        let shown = text("Name:\tvserver\nPid:\t2\n", "/bin/sh", &status_lines(100));
        assert_eq!(shown, "Name:\tsh\nPid:\t2\ns_context: 100\nVxID: 100\n");
        let lines = address_lines(&[(Ipv4Addr::new(192, 168, 0, 1), 24)], Ipv4Addr::BROADCAST);
        let both = text(&shown, "/bin/sh", &lines);
        assert_eq!(both, format!("{shown}ipv4root: 0100a8c0/00ffffff\nipv4root_bcast: ffffffff\n"));
        assert_eq!(addresses_in(&both), lines);
        let none = address_lines(&[], Ipv4Addr::BROADCAST);
        assert_eq!(none, ["ipv4root: 0", "ipv4root_bcast: ffffffff"]);
        assert!(
            text(&both, "sh", &none)
                .ends_with("VxID: 100\nipv4root: 0\nipv4root_bcast: ffffffff\n")
        );
    }

    proptest! {
        #[test]
        fn no_name_makes_a_line(program in "\\PC{0,40}|[\\n\\r/a]{0,10}", number: u32) {
            let shown = text("Name:\tx\nPid:\t1\n", &program, &status_lines(number));
            prop_assert_eq!(shown.lines().count(), 4);
        }
    }
}

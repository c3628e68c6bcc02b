//! Which commands are the init of a whole system, by their names: others boot one by
//! naming it, here it is booted unless there is a command. Pure.

/// Programs that work as PID 1 only.
const NAMES: [&str; 5] = ["init", "systemd", "runit-init", "openrc-init", "finit"];

/// Where distributions have them.
const DIRECTORIES: [&str; 10] = [
    "",
    "/",
    "/bin",
    "/sbin",
    "/usr/bin",
    "/usr/sbin",
    "/etc",
    "/lib/systemd",
    "/usr/lib/systemd",
    "/usr/lib/runit",
];

/// Is this program one?
pub fn is_init(program: &str) -> bool {
    let (directory, name) = program.rsplit_once('/').unwrap_or(("", program));
    NAMES.contains(&name) && DIRECTORIES.contains(&directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_init_is_told_by_its_name_and_place() {
        for init in ["/sbin/init", "init", "/init", "/usr/lib/systemd/systemd", "/sbin/runit-init"]
        {
            assert!(is_init(init), "{init}");
        }
        for other in ["/opt/app/init", "/bin/sh", "/usr/bin/s6-svscan", "", "/"] {
            assert!(!is_init(other), "{other}");
        }
    }
}

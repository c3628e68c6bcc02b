//! What to do when a guest's unit, or the whole host, has no more to give of what
//! the kernel counts. Pure.

use shared::name::GuestName;

use crate::cgroup;
use crate::error::Error;

/// The remedy, if this error of a fork(2) says so.
pub fn of_fork(name: &GuestName, errno: i32) -> Option<String> {
    let unit = cgroup::unit(name);
    match errno {
        libc::EAGAIN => Some(format!(
            "a limit on processes is reached: TasksMax= of the guest's unit or of its slice \
             (systemctl status {unit}), or one of the whole host (/proc/sys/kernel/pid_max, \
             threads-max)"
        )),
        libc::ENOMEM => Some(format!(
            "no memory is left: of what MemoryMax= gives the guest's unit or its slice (systemctl \
             status {unit}), or on the whole host"
        )),
        _ => of_files(name, errno),
    }
}

/// The remedy, if this error says that no descriptor is left.
pub fn of_files(name: &GuestName, errno: i32) -> Option<String> {
    match errno {
        libc::EMFILE => Some(format!(
            "a limit on open files is reached: LimitNOFILE= of {}, or 'ulimit -n' where the \
             guest is no unit",
            cgroup::unit(name)
        )),
        libc::ENFILE => {
            Some("the host has as many open files as it may (/proc/sys/fs/file-max)".to_owned())
        }
        _ => None,
    }
}

/// An error in one line, as systemd takes it, with the limit that it is about.
pub fn in_a_line(error: &Error) -> String {
    let hint = error.remedy().filter(|hint| hint.starts_with("a limit on "));
    match hint.and_then(|hint| hint.split(" (").next()) {
        Some(limit) => format!("{error}; {limit}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_named() {
        let name: GuestName = "web".parse().unwrap();
        let says =
            |errno, word: &str| of_fork(&name, errno).is_some_and(|text| text.contains(word));
        assert!(says(libc::EAGAIN, "TasksMax= of"));
        assert!(says(libc::EAGAIN, "status vserver@web.service"));
        assert!(says(libc::ENOMEM, "MemoryMax= gives"));
        assert!(says(libc::EMFILE, "LimitNOFILE= of vserver@web.service"));
        assert_eq!(of_fork(&name, libc::EPERM), None);
        assert_eq!(of_files(&name, libc::EAGAIN), None);
    }

    #[test]
    fn a_line_names_the_limit_and_no_more() {
        let name: GuestName = "web".parse().unwrap();
        let error = Error::new("cannot fork").hint(of_fork(&name, libc::EAGAIN).unwrap());
        let limit =
            "a limit on processes is reached: TasksMax= of the guest's unit or of its slice";
        assert_eq!(in_a_line(&error), format!("cannot fork; {limit}"));
        assert_eq!(in_a_line(&Error::new("no").hint("another (one)")), "no");
    }
}

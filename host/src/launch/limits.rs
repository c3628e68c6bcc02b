//! Resource limits: those of the host's PID 1, not of whoever typed `start`.

use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

/// All of getrlimit(2).
const ALL: [Resource; 16] = [
    Resource::Cpu,
    Resource::Fsize,
    Resource::Data,
    Resource::Stack,
    Resource::Core,
    Resource::Rss,
    Resource::Nproc,
    Resource::Nofile,
    Resource::Memlock,
    Resource::As,
    Resource::Locks,
    Resource::Sigpending,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Rtprio,
    Resource::Rttime,
];

/// Sets every limit of the calling process to what the kernel gave the
/// host's first process; where that is more than this process may have
/// (without CAP_SYS_RESOURCE), to as much as it may.
///
/// # Errors
/// Those of prlimit(2) and of reading `/proc/1/limits`.
pub fn set() -> io::Result<()> {
    let first = Pid::INIT;
    for resource in ALL {
        let own = getrlimit(resource);
        let wanted = read(first, resource)?;
        match prlimit(None, resource, wanted) {
            Ok(_) => {}
            Err(Errno::PERM) => {
                let maximum = at_most(wanted.maximum, own.maximum);
                let current = at_most(wanted.current, maximum);
                prlimit(None, resource, Rlimit { current, maximum })?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// `None` is infinity.
fn at_most(value: Option<u64>, limit: Option<u64>) -> Option<u64> {
    match (value, limit) {
        (Some(value), Some(limit)) => Some(value.min(limit)),
        (value, None) => value,
        (None, limit) => limit,
    }
}

fn read(pid: Pid, resource: Resource) -> io::Result<Rlimit> {
    let text = std::fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_nonzero()))?;
    parse(&text, resource).ok_or_else(|| io::Error::from_raw_os_error(libc::EBADMSG))
}

/// Reads one line of `/proc/PID/limits` (proc_pid_limits(5)).
fn parse(text: &str, resource: Resource) -> Option<Rlimit> {
    let title = title(resource)?;
    let line = text.lines().find_map(|line| line.strip_prefix(title))?;
    let mut values = line.split_whitespace().map(|word| word.parse::<u64>().ok());
    Some(Rlimit { current: values.next()?, maximum: values.next()? })
}

fn title(resource: Resource) -> Option<&'static str> {
    Some(match resource {
        Resource::Cpu => "Max cpu time",
        Resource::Fsize => "Max file size",
        Resource::Data => "Max data size",
        Resource::Stack => "Max stack size",
        Resource::Core => "Max core file size",
        Resource::Rss => "Max resident set",
        Resource::Nproc => "Max processes",
        Resource::Nofile => "Max open files",
        Resource::Memlock => "Max locked memory",
        Resource::As => "Max address space",
        Resource::Locks => "Max file locks",
        Resource::Sigpending => "Max pending signals",
        Resource::Msgqueue => "Max msgqueue size",
        Resource::Nice => "Max nice priority",
        Resource::Rtprio => "Max realtime priority",
        Resource::Rttime => "Max realtime timeout",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_prints_them() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max cpu time              unlimited            unlimited            seconds   \n\
                    Max open files            1024                 20000                files     \n";
        let files = parse(text, Resource::Nofile).unwrap();
        assert_eq!((files.current, files.maximum), (Some(1024), Some(20000)));
        let cpu = parse(text, Resource::Cpu).unwrap();
        assert_eq!((cpu.current, cpu.maximum), (None, None));
        assert!(parse(text, Resource::Core).is_none());
    }
}

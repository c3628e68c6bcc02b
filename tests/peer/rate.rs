//! How many connections there are in a second, and what each takes of processors.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::Linger;
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;

use crate::{Said, parse};

/// Stays on this processor.
pub fn stay_on(processor: &str) -> Said {
    let mut set = CpuSet::new();
    set.set(processor.parse().expect("a number"))?;
    sched_setaffinity(Pid::this(), &set)?;
    Ok(processor.to_owned())
}

/// How many connections, one after the other, a server takes in a second, in
/// so many milliseconds, and the microseconds that each costs on processors,
/// the server's included if it says "@": each is read to its end. It goes by a reset, as none
/// shall be left waiting (TIME_WAIT) where the next ones have to get by.
pub fn rate(address: &str, milliseconds: &str) -> Said {
    let address = parse(address);
    let time = Duration::from_millis(milliseconds.parse().expect("a number"));
    let (start, own, mut done) = (Instant::now(), on_processor(), 0_u32);
    let mut servers = Vec::new();
    while start.elapsed() < time {
        let mut stream = TcpStream::connect(address)?;
        let now = libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&stream, Linger, &now)?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        servers.push(text.parse::<i64>().unwrap_or_default());
        done += 1;
    }
    let theirs = servers.last().zip(servers.first()).map_or(0, |(last, first)| last - first);
    let cost = (on_processor() - own + theirs) as f64 / f64::from(done);
    Ok(format!("{:.1} {cost:.3}", f64::from(done) / start.elapsed().as_secs_f64()))
}

/// Microseconds that this process has been on processors.
pub fn on_processor() -> i64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("it can be asked");
    (usage.user_time() + usage.system_time()).num_microseconds()
}

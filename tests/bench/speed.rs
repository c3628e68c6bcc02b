//! How long a start and a stop take. The contenders take turns, so that a
//! machine that is slower for a while is slower for all.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tests::{DEADLINE, eventually};

use crate::contender::Contender;

const ROUNDS: usize = 15;
const GUEST: &str = "speed";

/// What was measured of one contender, in milliseconds, sorted.
pub struct Times {
    /// Its name.
    pub name: String,
    /// From the command to the first process that PID 1 starts.
    pub init: Vec<f64>,
    /// From the command to the last script of the default runlevel.
    pub runlevel: Vec<f64>,
    /// From the order to stop to the guest being down.
    pub stop: Vec<f64>,
}

/// Boots and stops a guest of each contender in turn.
pub fn measure(contenders: &mut [Box<dyn Contender>], tree: &Path) -> Vec<Times> {
    let new = |name: &str| Times {
        name: name.to_owned(),
        init: Vec::new(),
        runlevel: Vec::new(),
        stop: Vec::new(),
    };
    let mut all: Vec<_> = contenders.iter().map(|contender| new(contender.name())).collect();
    for contender in contenders.iter_mut() {
        contender.prepare(GUEST, tree);
    }
    for round in 0..=ROUNDS {
        for (contender, times) in contenders.iter_mut().zip(&mut all) {
            let [init, runlevel, stop] = once(contender.as_mut());
            // The first round warms the caches.
            if round > 0 {
                times.init.push(init);
                times.runlevel.push(runlevel);
                times.stop.push(stop);
            }
            eprintln!("{}: {init:.0} {runlevel:.0} {stop:.0} ms", contender.name());
        }
    }
    for times in &mut all {
        for series in [&mut times.init, &mut times.runlevel, &mut times.stop] {
            series.sort_by(f64::total_cmp);
        }
    }
    all
}

fn once(contender: &mut dyn Contender) -> [f64; 3] {
    let log = contender.root(GUEST).join("var/log");
    for mark in ["bench-pid1", "bench-runlevel"] {
        let _ = fs::remove_file(log.join(mark));
    }
    let start = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    contender.start(GUEST);
    let runlevel = eventually(DEADLINE, "the guest has booted", || mark(&log, "bench-runlevel"));
    let init = mark(&log, "bench-pid1").expect("written before the other");
    // What the boot has left running comes to rest, for all alike.
    std::thread::sleep(Duration::from_millis(300));
    let order = Instant::now();
    contender.stop(GUEST);
    let stop = order.elapsed();
    [milliseconds(init - start), milliseconds(runlevel - start), milliseconds(stop)]
}

fn mark(log: &Path, name: &str) -> Option<Duration> {
    let text = fs::read_to_string(log.join(name)).ok()?;
    text.trim().parse().ok().map(Duration::from_nanos)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

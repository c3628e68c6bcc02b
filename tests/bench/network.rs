//! What a guest's addresses cost: throughput by iperf3 and connections one
//! after the other, from a guest to the host and to another guest, each beside
//! the same without vserver. `shared` is compared with the host's own loopback
//! interface, `routed` and `bridge` with bare pairs of veth.
//!
//! Connections also with guests that have no system call filter: what that
//! costs isn't what addresses cost. And with cgroups of the host that have
//! programs which do nothing where those of `shared` are, or are as far down as
//! a guest's: what is lost there, no program on these hooks can save. The batches
//! that are compared follow each other, in each round another one first.

use std::process::Command;
use std::time::Duration;

use tests::{DEADLINE, Median, command, eventually};

use crate::wires::{End, Wires};

/// How often each is measured.
pub const ROUNDS: usize = 60;

/// Bytes of one batch of iperf3's.
const BYTES: &str = "200M";

/// Milliseconds of one batch of connections.
const TIME: &str = "60";

/// Within this time a batch is over, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const IPERF3: &str = "5201";
const CONNECTIONS: &str = "5202";

/// From where to which address.
struct Way<'a> {
    from: &'a End<'a>,
    to: &'a str,
}

/// A guest's way, that of one without the system call filter, and the one that
/// they are compared with. A cgroup's stands for a guest's.
struct Scene<'a> {
    what: &'static str,
    bare: Way<'a>,
    guest: Way<'a>,
    unfiltered: Option<Way<'a>>,
}

/// What was measured of one quantity.
pub struct Figures {
    /// Without vserver.
    pub bare: f64,
    /// To or from a guest.
    pub guest: f64,
    /// Guest to bare in the same round.
    pub ratio: Median,
    /// Bare to guest, by what the same takes on processors.
    pub cost: Median,
}

/// One line of the table.
pub struct Row {
    /// Mode and way.
    pub what: &'static str,
    /// Gigabits a second.
    pub throughput: Figures,
    /// Connections a second.
    pub connections: Figures,
    /// The same, of guests without the system call filter.
    pub unfiltered: Option<Figures>,
}

/// Measures all of it.
pub fn measure() -> Vec<Row> {
    let wires = Wires::new();
    let ends = wires.ends();
    let servers = ends.iter().flat_map(|end| end.serves.iter().map(move |address| (end, *address)));
    let _servers: Vec<Server> = servers
        .flat_map(|(end, address)| {
            [Server::iperf3(end, address), Server::connections(end, address)]
        })
        .collect();
    let end = |name| ends.iter().find(|end| end.name == name).expect("an end of the scene");
    let way = |from, to| Way { from: end(from), to };
    let scenes = [
        ("hooks alone, to host", ("host", "192.0.2.3"), ["hooks-a", ""], ["192.0.2.3"; 2]),
        ("hooks alone, both ends", ("host", "192.0.2.3"), ["hooks-a", ""], ["192.0.2.7"; 2]),
        ("levels alone, to host", ("host", "192.0.2.3"), ["levels-a", ""], ["192.0.2.3"; 2]),
        ("levels alone, both ends", ("host", "192.0.2.3"), ["levels-a", ""], ["192.0.2.9"; 2]),
        (
            "shared, guest to host",
            ("host", "192.0.2.3"),
            ["shared-a", "shared-c"],
            ["192.0.2.3"; 2],
        ),
        (
            "shared, guest to guest",
            ("host", "192.0.2.3"),
            ["shared-a", "shared-c"],
            ["192.0.2.2", "192.0.2.5"],
        ),
        (
            "routed, guest to host",
            ("bare-a", "203.0.113.1"),
            ["routed-a", "routed-c"],
            ["203.0.113.1"; 2],
        ),
        (
            "routed, guest to guest",
            ("bare-a", "192.0.2.111"),
            ["routed-a", "routed-c"],
            ["192.0.2.11", "192.0.2.13"],
        ),
        (
            "bridge, guest to host",
            ("port-a", "203.0.113.1"),
            ["bridge-a", "bridge-c"],
            ["203.0.113.1"; 2],
        ),
        (
            "bridge, guest to guest",
            ("port-a", "203.0.113.111"),
            ["bridge-a", "bridge-c"],
            ["203.0.113.11", "203.0.113.13"],
        ),
    ]
    .map(|(what, bare, guests, to)| Scene {
        what,
        bare: way(bare.0, bare.1),
        guest: way(guests[0], to[0]),
        unfiltered: (!guests[1].is_empty()).then(|| way(guests[1], to[1])),
    });
    for scene in &scenes {
        for way in [&scene.bare, &scene.guest].into_iter().chain(&scene.unfiltered) {
            eventually(DEADLINE, "servers", || try_throughput(way).and(try_connections(way)));
        }
    }
    let mut data: Vec<Vec<[Batch; 2]>> = scenes.iter().map(|_| Vec::new()).collect();
    let mut rates: Vec<Vec<[Batch; 3]>> = scenes.iter().map(|_| Vec::new()).collect();
    for round in 0..ROUNDS {
        for (scene, (data, rates)) in scenes.iter().zip(data.iter_mut().zip(&mut rates)) {
            let Scene { what, bare, guest, unfiltered } = scene;
            let unfiltered = unfiltered.as_ref().unwrap_or(guest);
            data.push(in_turn(what, [bare, guest], round, try_throughput));
            rates.push(in_turn(what, [bare, guest, unfiltered], round, try_connections));
        }
        eprintln!("network: round {} of {ROUNDS}", round + 1);
    }
    let row = |(scene, (data, rates)): (&Scene<'_>, (&Vec<_>, &Vec<_>))| Row {
        what: scene.what,
        throughput: figures(data, 1),
        connections: figures(rates, 1),
        unfiltered: scene.unfiltered.as_ref().map(|_| figures(rates, 2)),
    };
    scenes.iter().zip(data.iter().zip(&rates)).map(row).collect()
}

/// What one batch has shown.
#[derive(Clone, Copy)]
struct Batch {
    /// By the clock.
    speed: f64,
    /// What so much takes on processors.
    cost: f64,
}

/// The contender of this place beside the first one, the bare.
fn figures<const N: usize>(batches: &[[Batch; N]], place: usize) -> Figures {
    let median = |place: usize| Median::of(batches.iter().map(|batch| batch[place].speed)).value;
    let ratio = |of: fn(&Batch, &Batch) -> f64| {
        Median::of(batches.iter().map(|batch| of(&batch[0], &batch[place])))
    };
    Figures {
        bare: median(0),
        guest: median(place),
        ratio: ratio(|bare, guest| guest.speed / bare.speed),
        cost: ratio(|bare, guest| bare.cost / guest.cost),
    }
}

/// A batch of each, in this order, in each round another one first.
fn in_turn<const N: usize>(
    what: &str,
    ways: [&Way<'_>; N],
    round: usize,
    one: fn(&Way<'_>) -> Option<Batch>,
) -> [Batch; N] {
    let mut batches = [Batch { speed: 0.0, cost: 0.0 }; N];
    for place in (0..N).map(|place| (place + round) % N) {
        batches[place] = one(ways[place]).unwrap_or_else(|| panic!("{what}: a batch failed"));
    }
    batches
}

/// Client and server have a processor each: where the scheduler puts them
/// would else be most of what is seen.
fn try_throughput(way: &Way<'_>) -> Option<Batch> {
    let mut client = way.from.command("/usr/bin/iperf3");
    client.args(["--client", way.to, "--port", IPERF3, "--bytes", BYTES, "--json"]);
    let answer = command::run(client.args(["--affinity", "0,1"]), PATIENCE);
    let answer: serde_json::Value = serde_json::from_str(&answer.stdout).ok()?;
    let end = &answer["end"];
    let speed = end["sum_received"]["bits_per_second"].as_f64()? / 1e9;
    let busy = &end["cpu_utilization_percent"];
    let cost = (busy["host_total"].as_f64()? + busy["remote_total"].as_f64()?) / speed;
    Some(Batch { speed, cost })
}

/// Both on one processor: the client waits for the server anyway.
fn try_connections(way: &Way<'_>) -> Option<Batch> {
    let address = format!("{}:{CONNECTIONS}", way.to);
    let mut client = way.from.command(way.from.peer());
    let answer = command::run(client.args(["on", "1", "rate", &address, TIME]), PATIENCE);
    let line = answer.stdout.lines().find_map(|line| line.strip_prefix("rate "))?;
    let (speed, cost) = line.split_once(' ')?;
    Some(Batch { speed: speed.parse().ok()?, cost: cost.parse().ok()? })
}

/// A server that ends with this value.
struct Server(std::process::Child);

impl Server {
    fn iperf3(end: &End<'_>, address: &str) -> Self {
        let mut server = end.command("/usr/bin/iperf3");
        server.args(["--server", "--bind", address, "--port", IPERF3]);
        Self::of(server)
    }

    fn connections(end: &End<'_>, address: &str) -> Self {
        let mut server = end.command(end.peer());
        server.args(["on", "1", "serve", &format!("{address}:{CONNECTIONS}"), "@"]);
        Self::of(server)
    }

    fn of(mut command: Command) -> Self {
        let command =
            command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        Self(command.spawn().expect("a server can be started"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

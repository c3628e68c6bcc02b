//! `vserver metrics`: figures for Prometheus, of guests that run and of those
//! that did.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use tests::{DEADLINE, Host, Network, Tree, command, eventually};

on! { Busybox: [figures_go_on_when_the_guest_ends, a_collector_knows_counters_by_the_file] }

fn figures_go_on_when_the_guest_ends(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let metric = |name: &str| -> Option<f64> {
        let text = host.vserver(["metrics"]).ok().stdout;
        assert!(text.ends_with("# EOF\n"), "{text}");
        let start = format!("vserver_guest_{name}{{guest=\"web\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(start.as_str()))?;
        Some(line.parse().expect("a number"))
    };
    assert_eq!(metric("running"), Some(0.0));
    assert_eq!(metric("boots_total"), Some(0.0));
    web.start();
    assert_eq!(metric("running"), Some(1.0));
    // Scripts of its boot may still come and go.
    eventually(DEADLINE, "both count the same processes", || {
        let processes = metric("processes").expect("processes of a guest that runs");
        (Some(processes as u64) == web.status().processes).then_some(())
    });
    assert!(metric("resident_memory_bytes") > Some(0.0));
    let families = parsed(&host);
    for family in [
        "vserver_guest_cpu_seconds counter seconds 2",
        "vserver_guest_boots counter - 1",
        "vserver_guest_running gauge - 1",
        "vserver_guest_resident_memory_bytes gauge bytes 1",
    ] {
        assert!(families.lines().any(|line| line == family), "no {family}: {families}");
    }
    web.stop();
    let families = parsed(&host);
    assert!(!families.contains("resident_memory_bytes"), "{families}");
    assert_eq!(metric("running"), Some(0.0));
    assert_eq!(metric("boots_total"), Some(1.0));
    assert_eq!(metric("processes"), None);

    // A collector that isn't root reads the file, and never half of it.
    let file = host.prefix().join("vserver.prom");
    let path = file.to_str().expect("a path");
    for _ in 0..2 {
        host.vserver(["metrics", "--output", path]).ok().says("");
        let written = fs::read_to_string(&file).expect("the file is there");
        assert_eq!(samples(&written), samples(&host.vserver(["metrics"]).ok().stdout));
        let mode = fs::metadata(&file).expect("the file is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
    }
    let nowhere = host.prefix().join("nowhere");
    let within = nowhere.join("vserver.prom");
    let within = within.to_str().expect("a path");
    host.vserver(["metrics", "--output", within]).code(1).complains("nowhere");
    assert!(!nowhere.exists());
}

/// What the Prometheus project's own parser makes of it (python3-prometheus-client),
/// which is strict: the name of each family, its type, unit, and number of samples.
fn parsed(host: &Host) -> String {
    const PARSER: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(open(sys.argv[1], newline='').read()):
    print(family.name, family.type, family.unit or '-', len(family.samples))
";
    let file = host.prefix().join("metrics.txt");
    fs::write(&file, host.vserver(["metrics"]).ok().stdout).expect("it can be written");
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", PARSER]).arg(&file);
    let answer = command::run(&mut python, DEADLINE).ok().stdout;
    fs::remove_file(file).expect("it can be removed");
    answer
}

/// node_exporter's own, which reads another format than a scrape has.
fn a_collector_knows_counters_by_the_file(tree: Tree) {
    let host = Host::on(Network::new());
    host.guest("web").tree(tree).build();
    let directory = host.prefix().join("textfiles");
    fs::create_dir(&directory).expect("a directory can be made");
    let file = directory.join("vserver.prom");
    host.vserver(["metrics", "--output", file.to_str().expect("a path")]).ok();
    let path = "prometheus-node-exporter/usr/bin/prometheus-node-exporter";
    let mut exporter = host.network().command(tests::tree::unpacked(path));
    exporter.args(["--collector.disable-defaults", "--collector.textfile"]);
    exporter.arg(format!("--collector.textfile.directory={}", directory.display()));
    exporter.arg("--web.listen-address=127.0.0.1:9100").stderr(Stdio::null());
    // By that directory it is the host's, which ends what is left of its own.
    let mut exporter = exporter.current_dir(&directory).spawn().expect("it can be run");
    let scraped = eventually(DEADLINE, "it answers", || {
        let answer = host.network().run("curl", ["-s", "http://127.0.0.1:9100/metrics"]);
        (answer.code == 0).then_some(answer.stdout)
    });
    exporter.kill().expect("it is ours");
    exporter.wait().expect("it is ours");
    for line in [
        "# TYPE vserver_guest_boots_total counter",
        "vserver_guest_boots_total{guest=\"web\"} 0",
        "# TYPE vserver_guest_cpu_seconds_total counter",
        "# TYPE vserver_guest_running gauge",
        "node_textfile_scrape_error 0",
    ] {
        assert!(scraped.lines().any(|other| other == line), "no {line}: {scraped}");
    }
}

/// The figures, which may come in any order.
fn samples(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.sort_unstable();
    lines
}

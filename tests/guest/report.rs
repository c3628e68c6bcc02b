//! `vserver status`, `running`, `list`, `wait`: what scripts depend on.

use serde_json::Value;
use tests::{DEADLINE, Host, Tree, command};

on! { Busybox: [
    status_of_a_running_guest,
    status_of_a_stopped_guest,
    status_as_json_has_its_fields,
    list_as_json_has_its_fields,
    wait_ends_with_the_guest,
    delete_leaves_nothing_of_it,
] }

fn status_of_a_running_guest(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let status = guest.vserver("status", [""; 0]).ok();
    let context = guest.status().context;
    let mut lines = status.stdout.lines();
    let first = format!("Vserver 'web' is running at context '{context}'");
    assert_eq!(lines.next(), Some(first.as_str()), "{status}");
    let second = lines.next().unwrap_or_default();
    let count = second.strip_prefix("Number of processes: ").map(str::trim);
    assert!(count.is_some_and(|count| count.parse::<u32>().is_ok()), "{status}");
    assert!(lines.next().unwrap_or_default().starts_with("Uptime:               "), "{status}");
}

fn status_of_a_stopped_guest(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let status = guest.vserver("status", [""; 0]).code(3);
    assert_eq!(status.stdout.lines().next(), Some("Vserver 'web' is stopped"), "{status}");
    host.vserver(["status", "nobody"]).code(5).complains("there is no guest 'nobody'");
    host.vserver(["running", "nobody"]).code(5).complains("there is no guest 'nobody'");
}

fn status_as_json_has_its_fields(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let status = guest.vserver("status", ["--json"]).ok();
    let value: Value = serde_json::from_str(&status.stdout).expect("it is JSON");
    let fields = [
        "name",
        "context",
        "state",
        "style",
        "init_pid",
        "keeper_pid",
        "supervisor_pid",
        "uptime_seconds",
        "processes",
        "addresses",
    ];
    for field in fields {
        assert!(value.get(field).is_some_and(|value| !value.is_null()), "{field}\n{status}");
    }
    let comm = |field: &str| {
        let pid = value[field].as_i64().unwrap_or_default();
        std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
    };
    assert_eq!(comm("init_pid"), "guest-init\n");
    assert_eq!(comm("keeper_pid"), "vserver-keeper\n");
    assert_eq!(comm("supervisor_pid"), "vserver\n");
}

fn list_as_json_has_its_fields(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let _db = host.guest("db").tree(tree).build();
    web.start();
    let list = host.vserver(["list", "--json"]).ok();
    let value: Value = serde_json::from_str(&list.stdout).expect("it is JSON");
    let rows = value.as_array().expect("an array");
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).expect("a row a guest");
    assert_eq!(rows.len(), 2, "{list}");
    assert_eq!(row("web")["state"], "running");
    assert_eq!(row("db")["state"], "stopped");
    assert_ne!(row("web")["context"], row("db")["context"]);
}

fn wait_ends_with_the_guest(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let mut waiting = guest.command("wait", [""; 0]).spawn().expect("vserver runs");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(waiting.try_wait().expect("a child").is_none(), "it waits");
    guest.stop();
    let status = tests::eventually(DEADLINE, "wait ends", || waiting.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(0));
}

fn delete_leaves_nothing_of_it(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let mut delete = guest.command("delete", [""; 0]);
    assert_ne!(command::run(&mut delete, DEADLINE).code, 0, "not without being told --yes");
    guest.start();
    guest.stop();
    guest.vserver("delete", ["--yes"]).ok();
    assert!(!guest.root().exists());
    guest.vserver("status", [""; 0]).code(5);
    let left = host.paths().config_dir().join("web.toml");
    assert!(!left.exists(), "{left:?}");
}

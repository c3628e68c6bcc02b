//! What is written for which value, and what is refused where.

use proptest::prelude::*;

use super::*;

const ALL: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

fn host(enabled: &[&str]) -> Resources {
    let every = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Resources {
        memory: 1000 << 20,
        swap: 100 << 20,
        processors: (0..4).collect(),
        cgroup: Some("/sys/fs/cgroup".into()),
        controllers: every(&ALL),
        enabled: every(enabled),
        io_weights: vec!["io.weight"],
        most_files: 1 << 20,
        has_systemd: true,
        devices: [("/dev/vda".to_owned(), Ok("254:0".to_owned()))].into(),
        ..Resources::default()
    }
}

fn wanted(text: &str) -> Wanted {
    let config = crate::config::parse::parse(&format!("[limits]\n{text}\n"));
    config.unwrap_or_else(|problems| panic!("{text}: {problems:?}")).limits
}

fn written(text: &str, enabled: &[&str]) -> Vec<String> {
    let plan = plan(&wanted(text), &host(enabled)).unwrap();
    plan.settings.iter().map(|one| format!("{} {}", one.file, one.value)).collect()
}

#[test]
fn defaults_are_set_where_the_host_can_enforce_them() {
    let mebibytes = |number: u64| number << 20;
    let (memory, swap) = (mebibytes(800), mebibytes(50));
    let all = [
        format!("memory.max {memory}"),
        format!("memory.swap.max {swap}"),
        "pids.max 8000".to_owned(),
        "pids.max 7968".to_owned(),
    ];
    assert_eq!(written("", &ALL), all);
    assert_eq!(written("", &["pids"]), all[2..]);
    assert_eq!(written("", &[]), [""; 0]);
}

#[test]
fn every_limit_has_its_file() {
    for (text, line) in [
        ("memory = \"512M\"", "memory.max 536870912"),
        ("memory = \"max\"", "memory.max max"),
        ("memory_high = \"50%\"", "memory.high 524288000"),
        ("swap = 0", "memory.swap.max 0"),
        ("processes = 300", "pids.max 300"),
        ("processes = \"max\"", "pids.max max"),
        ("cpus = 1.5", "cpu.max 150000 100000"),
        ("cpus = 0.01", "cpu.max 1000 100000"),
        ("cpus = \"max\"", "cpu.max max 100000"),
        ("cpu_weight = 200", "cpu.weight 200"),
        ("cpuset = \"0,1,3\"", "cpuset.cpus 0-1,3"),
        ("nice = -5", "cpu.weight 305"),
        ("nice = 19", "cpu.weight 1"),
        ("io_weight = 50", "io.weight default 50"),
        (
            "io_max = [\"/dev/vda wbps=1M riops=9\"]",
            "io.max 254:0 rbps=max wbps=1048576 riops=9 wiops=max",
        ),
    ] {
        let lines = written(text, &ALL);
        assert!(lines.iter().any(|one| one == line), "{text}: {lines:?}");
    }
    let both = written("nice = 5\ncpu_weight = 10", &ALL);
    assert_eq!(both.iter().filter(|line| line.starts_with("cpu.weight")).count(), 1, "{both:?}");
}

#[test]
fn what_cannot_be_enforced_is_refused_with_the_remedy() {
    for (text, without, why, hint) in [
        ("memory = \"1G\"", "memory", "hasn't enabled", "MemoryAccounting=yes"),
        ("processes = 9", "pids", "hasn't enabled", "TasksAccounting=yes"),
        ("cpus = 1", "cpu", "hasn't enabled", "CPUWeight=100"),
        ("cpuset = \"0\"", "cpuset", "hasn't enabled", "AllowedCPUs=0-3"),
        ("io_max = [\"/dev/vda wbps=1\"]", "io", "hasn't enabled", "IOAccounting=yes"),
        ("io_max = [\"/dev/vdb wbps=1\"]", "", "'/dev/vdb' is unknown", "lsblk"),
        ("cpuset = \"0-9\"", "", "no processor 4", "online"),
        ("files = 2000000", "", "at most 1048576", "fs.nr_open"),
    ] {
        let enabled: Vec<&str> = ALL.into_iter().filter(|name| *name != without).collect();
        let error = plan(&wanted(text), &host(&enabled)).unwrap_err();
        let remedy = error.remedy().unwrap().to_owned();
        let error = error.to_string();
        assert!(error.contains(why) && remedy.contains(hint), "{text}: {error}; {remedy}");
        let lenient = plan(&wanted(&format!("{text}\nrequired = false")), &host(&enabled)).unwrap();
        assert_eq!(lenient.warnings.len(), 1, "{text}: {lenient:?}");
    }
    let mut plain = host(&[]);
    let command = "enable it: systemctl set-property system.slice CPUWeight=100 IOAccounting=yes";
    assert_eq!(remedy(&plain, Lack::NotEnabled, &["cpu", "io"]).1, command);
    plain.has_systemd = false;
    let command = "enable it: echo +cpu +io >/sys/fs/cgroup/cgroup.subtree_control";
    assert_eq!(remedy(&plain, Lack::NotEnabled, &["cpu", "io"]).1, command);
    plain.controllers.clear();
    plain.v1_controllers = vec!["memory".to_owned(), "blkio".to_owned()];
    for (name, lacks) in
        [("memory", Lack::OnVersion1), ("io", Lack::OnVersion1), ("pids", Lack::Unknown)]
    {
        assert_eq!(lack(&plain, name), Some(lacks), "{name}");
    }
    plain.io_weights.clear();
    assert!(plan(&wanted("io_weight = 5"), &plain).is_err());
}

/// A controller may be there without all of its files.
#[test]
fn what_the_kernel_lacks_is_refused_if_it_is_wanted() {
    let host = Resources { missing_files: ["memory.swap.max", "cpu.max"].into(), ..host(&ALL) };
    let plan = |text: &str| plan(&wanted(text), &host);
    assert_eq!(plan("").unwrap().value("swap"), None, "a default is left out");
    let error = plan("swap = 0\ncpus = 1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "limits.swap can't be enforced: this kernel has no 'memory.swap.max'; limits.cpus can't be \
         enforced: this kernel has no 'cpu.max'"
    );
    assert!(error.remedy().unwrap().contains("swapaccount=0"));
    let lenient = plan("swap = 0\nrequired = false").unwrap();
    assert_eq!((lenient.value("swap"), lenient.warnings.len()), (None, 1));
}

#[test]
fn a_nice_level_needs_no_controller() {
    let plan = plan(&wanted("nice = 7"), &host(&[])).unwrap();
    assert_eq!((plan.nice, plan.settings.len()), (Some(7), 0));
}

fn file(name: &str) -> Option<String> {
    let text = match name {
        "memory.current" => "1000\n",
        "memory.stat" => "anon 300\nfile 700\nactive_file 100\ninactive_file 400\nshmem 200\n",
        "pids.current" => "20\n",
        _ => return None,
    };
    Some(text.to_owned())
}

#[test]
fn limits_below_what_is_used_are_found() {
    let now = Use::read(file);
    assert_eq!(now, Use { memory: Some(500), swap: None, processes: Some(20) });
    let setting = |key, value: &str| Setting {
        key,
        controller: "memory",
        place: Place::Limited,
        file: "x",
        value: value.to_owned(),
        is_needed: true,
    };
    let below = |key, value| lowered(&[setting(key, value)], &now);
    assert_eq!(below("memory", "499"), [Lowered { key: "memory", limit: 499, used: 500 }]);
    for (key, value) in [("memory", "500"), ("memory", "max"), ("swap", "0"), ("cpus", "1 2")] {
        assert_eq!(below(key, value), [], "{key} = {value}");
    }
    assert_eq!(below("processes", "19").len(), 1);
}

#[test]
fn what_is_no_longer_limited_is_set_back() {
    let plan = plan(&wanted("cpus = 1"), &host(&ALL)).unwrap();
    let all = complete(&plan.settings, "254:0 rbps=max wbps=5 riops=max wiops=max\n");
    let line = |file: &str| {
        let found: Vec<_> = all.iter().filter(|one| one.file == file).collect();
        assert_eq!(found.len(), 1, "{file}: {all:?}");
        found[0].value.clone()
    };
    assert_eq!(line("cpu.max"), "100000 100000");
    assert_eq!(line("memory.high"), "max");
    assert_eq!(line("cpuset.cpus"), "");
    assert_eq!(line("io.max"), "254:0 rbps=max wbps=max riops=max wiops=max");
    assert_eq!(line("memory.max"), (800u64 << 20).to_string());
}

proptest! {
    /// Whatever is asked of whatever host, it is either set or named.
    #[test]
    fn nothing_is_dropped_in_silence(
        enabled in proptest::sample::subsequence(ALL.to_vec(), 0..=5),
        keys in proptest::sample::subsequence(vec![
            ("memory", "\"8M\""), ("memory_high", "\"8M\""), ("swap", "\"1M\""),
            ("processes", "5"), ("cpus", "1"), ("cpu_weight", "5"), ("cpuset", "\"0\""),
            ("io_weight", "5"), ("io_max", "[\"/dev/vda wbps=1\"]"),
        ], 0..=9),
    ) {
        let lines: Vec<String> = keys.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let text = lines.join("\n") + "\nrequired = false";
        let lenient = plan(&wanted(&text), &host(&enabled)).unwrap();
        for (key, _) in &keys {
            let warned = format!("limits.{key} ");
            let is_warned = lenient.warnings.iter().any(|warning| warning.starts_with(&warned));
            prop_assert_ne!(lenient.value(key).is_some(), is_warned, "{}", key);
        }
        let strict = plan(&wanted(&lines.join("\n")), &host(&enabled));
        prop_assert_eq!(strict.is_ok(), lenient.warnings.is_empty());
        for setting in &lenient.settings {
            prop_assert!(enabled.contains(&setting.controller));
        }
    }
}

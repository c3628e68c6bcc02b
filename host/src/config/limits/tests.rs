//! Values are read as people write them, and written so that they are read.

use proptest::prelude::*;

use super::*;
use crate::config::{GuestConfig, parse};

#[track_caller]
fn limits(text: &str) -> Limits {
    parse::parse(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}")).limits
}

#[test]
fn sizes_have_units() {
    for (text, bytes) in [
        ("\"512M\"", 512 << 20),
        ("\"1.5G\"", 1536 << 20),
        ("\"2GiB\"", 2 << 30),
        ("\"8192K\"", 8 << 20),
        ("16777216", 16 << 20),
        ("\"1T\"", 1 << 40),
    ] {
        assert_eq!(limits(&format!("limits.memory = {text}")).memory, Some(Amount::Bytes(bytes)));
    }
    assert_eq!(limits("limits.swap = 0").swap, Some(Amount::Bytes(0)));
    assert_eq!(limits("limits.swap = \"25%\"").swap, Some(Amount::Percent(25)));
    assert_eq!(limits("limits.memory = \"max\"").memory, Some(Amount::Max));
}

#[test]
fn processors_are_numbers_or_parts_of_one() {
    assert_eq!(limits("limits.cpus = 1.5").cpus, Some(Cpus::Thousandths(1500)));
    assert_eq!(limits("limits.cpus = 2").cpus, Some(Cpus::Thousandths(2000)));
    let set = limits("limits.cpuset = \"0-2, 5\"").cpuset.unwrap();
    assert_eq!(set.numbers().iter().copied().collect::<Vec<_>>(), [0, 1, 2, 5]);
    assert_eq!(set.to_string(), "0-2,5");
    assert_eq!(limits("limits.cpuset = 3").cpuset.unwrap().to_string(), "3");
}

#[test]
fn traffic_is_a_device_and_rates() {
    let all = limits("limits.io_max = [\"8:0 wiops=5 rbps=1M\", \"/dev/vda wbps=1.5G\"]").io_max;
    assert_eq!(all[0].rates, [("rbps", 1 << 20), ("wiops", 5)]);
    assert_eq!(all[1].to_string(), "/dev/vda wbps=1536M");
}

#[test]
fn wrong_values_are_refused() {
    for text in [
        "memory = \"512m\"",
        "memory = \"5iB\"",
        "memory = \"\"",
        "memory = \"-1\"",
        "memory = -1",
        "memory = \"0%\"",
        "memory = \"101%\"",
        "memory = \"1.2.3G\"",
        "memory = \"99999999999T\"",
        "memory = \"1M\"",
        "memory = true",
        "memory = \"1G\"\nmemory_high = \"2G\"",
        "processes = 0",
        "processes = 2",
        "processes = 4194305",
        "processes = 99999999999",
        "processes = \"many\"",
        "cpus = 0",
        "cpus = nan",
        "cpus = \"inf\"",
        "cpus = 0.001",
        "cpu_weight = 0",
        "cpu_weight = 10001",
        "cpuset = \"3-1\"",
        "cpuset = \"\"",
        "cpuset = \"0-99999\"",
        "nice = 20",
        "nice = -21",
        "nice = 1.5",
        "io_max = [\"sda rbps=1\"]",
        "io_max = [\"/dev/sda\"]",
        "io_max = [\"/dev/sda rbps=1 rbps=2\"]",
        "io_max = [\"/dev/sda rbps=0\"]",
        "io_max = [\"/dev/sda riops=1K\"]",
        "io_max = [\"/dev/sda rbps=1\", \"/dev/sda wbps=1\"]",
        "files = 5",
        "files = -1",
        "inodes = 99",
        "inodes = \"max\"",
        "required = 1",
    ] {
        let problems = parse::parse(&format!("[limits]\n{text}\n")).expect_err(text);
        assert!(
            problems[0].key.is_empty() || problems[0].key.starts_with("limits."),
            "{problems:?}"
        );
        let shown = problems[0].show("f", &format!("[limits]\n{text}\n"));
        assert!(shown.starts_with("f:2:") || shown.starts_with("f:3:"), "{shown}");
    }
}

/// What a guest says itself counts as it stands, and breaks rules as ever.
#[test]
fn a_default_of_memory_high_gives_way_to_a_guests_memory() {
    let of = |defaults: &str, text: &str| {
        let defaults = parse::Document::read(defaults);
        let config = parse::Document::read(text).config(&defaults);
        config.map(|config| config.limits.memory_high.map(|high| high.to_string()))
    };
    let high = |text: &str| Ok(Some(text.to_owned()));
    let defaults = "limits.memory_high = \"2G\"";
    assert_eq!(of(defaults, "limits.memory = \"1G\""), high("1G"));
    assert_eq!(of(defaults, "limits.memory = \"3G\""), high("2G"));
    assert_eq!(of(defaults, "limits.memory = \"50%\""), high("2G"));
    assert_eq!(of("limits.memory_high = \"60%\"", "limits.memory = \"50%\""), high("50%"));
    for own in [
        "limits.memory = \"1G\"\nlimits.memory_high = \"2G\"",
        "limits.memory_high = \"4G\"\nlimits.memory = \"3G\"",
    ] {
        assert!(of(defaults, own).is_err(), "{own}");
    }
    let both = "limits.memory = \"1G\"\nlimits.memory_high = \"1G\"";
    assert!(of(both, "limits.memory_high = \"2G\"").is_err());
}

#[test]
fn as_many_processes_as_a_boot_needs_and_linux_has() {
    let of = |text: &str| text.parse::<Count>();
    assert_eq!([of("3"), of("4194304")], [Ok(Count::Most(3)), Ok(Count::Most(4_194_304))]);
    assert!(of("2").is_err_and(|why| why.contains("too few") && why.contains("3 at least")));
    for more in ["4194305", "18446744073709551615"] {
        assert!(of(more).is_err_and(|why| why.contains("no more than 4194304")), "{more}");
    }
    assert!(of("99999999999999999999").is_err());
}

fn amounts() -> impl Strategy<Value = Amount> {
    prop_oneof![
        (LEAST_MEMORY..1 << 50).prop_map(Amount::Bytes),
        (1u64..1 << 20).prop_map(|mebibytes| Amount::Bytes((mebibytes + 4) << 20)),
        (1u8..=100).prop_map(Amount::Percent),
        Just(Amount::Max),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        memory in proptest::option::of(amounts()), swap in proptest::option::of(amounts()),
        cpus in 10u32..1_000_000, weight in 1u16..=10_000, nice in -20i8..20,
        processes in 3u32..=4_194_304, set in proptest::collection::btree_set(0u16..8192, 1..20),
        rates in (1u64..1 << 40, 1u64..1 << 40), files in 64u32.., inodes in 100u32..,
    ) {
        let set: Vec<String> = set.iter().map(u16::to_string).collect();
        let limits = Limits {
            memory, swap,
            processes: Some(Count::Most(processes)),
            cpus: Some(Cpus::Thousandths(cpus)),
            cpu_weight: weight.to_string().parse().ok(),
            cpuset: set.join(",").parse().ok(),
            nice: nice.to_string().parse().ok(),
            io_max: vec![IoMax {
                device: "/dev/sda".into(),
                rates: vec![("wbps", rates.0), ("riops", rates.1)],
            }],
            files: Some(files),
            inodes: Some(inodes),
            ..Limits::default()
        };
        let config = GuestConfig { limits, ..GuestConfig::default() };
        let text = toml::to_string(&config).unwrap();
        prop_assert_eq!(parse::parse(&text), Ok(config), "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,20}", near in "[0-9.,KMGTiB%max:/ =rwbpsio-]{0,20}") {
        for text in [text, near] {
            let _ = text.parse::<Amount>();
            let _ = text.parse::<Count>();
            let _ = text.parse::<Cpus>();
            let _ = text.parse::<Weight>();
            let _ = text.parse::<Nice>();
            let _ = text.parse::<CpuSet>();
            let _ = text.parse::<IoMax>();
        }
    }
}

//! Limits of util-vserver's.

use super::examples::becomes;
use super::tree;
use crate::config::parse;
use crate::config_import::{Format, Outcome, import};

/// Every limit that `vlimit` knew, as the hard one.
const VLIMITS: [&str; 19] = [
    "cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks",
    "msgqueue", "nsock", "openfd", "anon", "shmem", "semary", "nsems", "dentry",
];

#[test]
fn every_limit_of_util_vservers_is_known() {
    for name in VLIMITS {
        for suffix in ["", ".hard", ".soft", ".min"] {
            let name = format!("rlimits/{name}{suffix}");
            let import = import(Format::Directory, &tree(&[(&name, "100\n")]));
            let (_, outcome) = &import.settings[0];
            if let Outcome::Missing(why) | Outcome::Fine(why) = outcome {
                assert!(!why.contains("doesn't know") && !why.contains("no such file"), "{name}");
            }
        }
    }
}

#[test]
fn limits_have_factors_and_the_bases_of_c() {
    for (name, value, wanted) in [
        ("rlimits/nproc", "2K", "limits.processes = 2048"),
        ("rlimits/nproc", "2k", "limits.processes = 2000"),
        ("rlimits/nproc.hard", "0x64", "limits.processes = 100"),
        ("rlimits/nofile", "0200", "limits.files = 128"),
        ("ulimits/nofile.hard", "1M", "limits.files = 1048576"),
        // Pages, and so many times as many.
        ("rlimits/rss", "100K", "limits.memory = \"400M\""),
        ("rlimits/anon.hard", "65536", "limits.memory = \"256M\""),
        ("rlimits/anon.soft", "65536", "limits.memory_high = \"256M\""),
        ("rlimits/nproc", "5M", "limits.processes = \"max\""),
        ("rlimits/nproc", "inf", ""),
        ("schedule", "1\n4\n100\n10\n500\n0\n", "limits.cpus = 0.25"),
    ] {
        let import = import(Format::Directory, &tree(&[(name, value)]));
        assert_eq!(import.config, parse::parse(wanted).expect(wanted), "{name} {value}");
    }
    // Two limits of one kind: all memory's counts.
    becomes(
        Format::Directory,
        &tree(&[("rlimits/anon", "1000\n"), ("rlimits/rss", "65536\n")]),
        "limits.memory = \"256M\"",
        &[(1, "rlimits/anon")],
    );
    // But only where it is limited, by the one that counts.
    for (name, value) in
        [("rss", "inf"), ("rss", "-1"), ("rss.hard", "inf"), ("rss.min", "65536"), ("rss", "2X")]
    {
        let settings = [("rlimits/anon", "2000\n"), (&*format!("rlimits/{name}"), value)];
        let import = import(Format::Directory, &tree(&settings));
        let wanted = parse::parse("limits.memory = \"8000K\"").expect("it is ours");
        assert_eq!(import.config, wanted, "{name} {value}");
    }
    let soft = [("rlimits/anon", "2000\n"), ("rlimits/rss.soft", "1024\n")];
    let import = import(Format::Directory, &tree(&soft));
    let both = parse::parse("limits.memory = \"8000K\"\nlimits.memory_high = \"4M\"");
    assert_eq!(import.config, both.expect("it is ours"));
    becomes(Format::Directory, &tree(&[("rlimits/nproc", "2X\n")]), "", &[(1, "rlimits/nproc")]);
}

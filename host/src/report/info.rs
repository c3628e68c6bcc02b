//! What `vserver-info` tells, in util-vserver's form.

use std::fmt::Write;

/// The version of Linux-VServer's interface that the tools behave like.
pub const API: &str = "0x00020308";

/// Every tag, and what it gives.
pub const TAGS: [(&str, &str); 21] = [
    ("CONTEXT", "number of a guest that runs; with an ARG also of one that doesn't"),
    ("ID", "name of a context"),
    ("RUNNING", "1 if the guest runs"),
    ("VDIR", "root directory of a guest"),
    ("NAME", "name of a context"),
    ("CFGDIR", "configuration file of a guest"),
    ("APPDIR", "nothing: there are no such directories any more"),
    ("INITPID", "the host's pid of a context's PID 1"),
    ("INITPID_PID", "the same, of the context that a process is in"),
    ("XID", "context of a process"),
    ("NID", "context of a process"),
    ("TAG", "context of a process"),
    ("PXID", "context that a context was made from"),
    ("APIVER", "version of the interface that the tools behave like"),
    ("UTS", "names of a context's system; with an ARG one of them"),
    ("SYSINFO", "versions and directories"),
    ("FEATURE", "exit code: is there the feature ARG?"),
    ("CANONIFY", "the subject with nothing but letters and digits"),
    ("VERIFYCAP", "exit code: may this process make contexts?"),
    ("VERIFYPROC", "exit code: is /proc there, and not hidden?"),
    ("XIDTYPE", "main, watch, static or dynamic"),
];

/// What util-vserver's scripts ask for, and what there is.
pub const FEATURES: &[&str] =
    &["migrate", "namespace", "spaces", "init", "kill", "uts", "vwait", "capabilities"];

/// `-l`: a line a tag.
pub fn tags() -> String {
    let mut text = String::new();
    for (name, meaning) in TAGS {
        let _ = writeln!(text, "{name:<12} {meaning}");
    }
    text
}

/// A name without what scripts can't have in their variables' names.
pub fn canonical(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// All names, separated by spaces, or the one of this title.
pub fn uts(names: &[(&str, String)], wanted: Option<&str>) -> Option<String> {
    match wanted {
        Some(wanted) => {
            names.iter().find(|(title, _)| *title == wanted).map(|(_, name)| name.clone())
        }
        None => Some(names.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(" ")),
    }
}

/// `SYSINFO`: util-vserver's lines, which scripts search for `Use dietlibc`,
/// `Available APIs` and `syscall`. `facts` are values by title.
pub fn system(facts: &[(&str, String)]) -> String {
    let fact = |title: &str| {
        facts.iter().find(|(other, _)| *other == title).map_or("", |(_, value)| value.as_str())
    };
    let version = env!("CARGO_PKG_VERSION");
    let mut text = String::new();
    let mut lines = |title: &str, lines: &[(&str, &str)]| {
        let _ = writeln!(text, "{title}:");
        for (label, value) in lines {
            let _ = writeln!(text, "{:>27} {value}", format!("{label}:"));
        }
    };
    lines(
        "Versions",
        &[
            ("Kernel", fact("Kernel")),
            ("VS-API", API),
            ("VCI", "0x00000000"),
            ("util-vserver", &format!("{version}; vserver, on an unpatched kernel")),
        ],
    );
    lines(
        "\nFeatures",
        &[
            ("CC", "rustc"),
            ("Use dietlibc", "no"),
            ("Available APIs", "v13,net,v21,v22,v23,netv2"),
            ("syscall(2) invocation", "none"),
            ("vserver(2) syscall#", "none"),
        ],
    );
    lines(
        "\nPaths",
        &[
            ("prefix", fact("prefix")),
            ("cfg-Directory", fact("cfg")),
            ("pkgstate-Directory", fact("run")),
            ("vserver-Rootdir", fact("roots")),
        ],
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_scripts_find_their_lines() {
        let text = system(&[("Kernel", "6.18.0".into()), ("cfg", "/etc/vservers".into())]);
        assert!(text.starts_with("Versions:\n                    Kernel: 6.18.0\n"), "{text}");
        for line in [
            "                    VS-API: 0x00020308",
            "              Use dietlibc: no",
            "            Available APIs: v13,net,v21,v22,v23,netv2",
            "     syscall(2) invocation: none",
            "       vserver(2) syscall#: none",
            "             cfg-Directory: /etc/vservers",
        ] {
            assert!(text.lines().any(|other| other == line), "{line:?} is not in\n{text}");
        }
    }

    #[test]
    fn names_are_made_fit_for_variables() {
        assert_eq!(canonical("web-1.example"), "web1example");
        assert_eq!(canonical("-"), "");
    }

    #[test]
    fn names_of_a_system_come_in_order() {
        let names = [("context", "web".to_owned()), ("nodename", "w".to_owned())];
        assert_eq!(uts(&names, None).unwrap(), "web w");
        assert_eq!(uts(&names, Some("nodename")).unwrap(), "w");
        assert_eq!(uts(&names, Some("x")), None);
    }
}

//! Whose configuration a file or directory is. Pure.

use super::{Format, incus_yaml};

/// What lies in a directory tells whose it is, and which file in it is meant
/// (empty: the directory itself); the first that fits is it.
const DIRECTORIES: [(&str, Format, &str); 11] = [
    ("vdir", Format::Directory, ""),
    ("apps", Format::Directory, ""),
    ("interfaces", Format::Directory, ""),
    ("cflags", Format::Directory, ""),
    ("context", Format::Directory, ""),
    ("uts", Format::Directory, ""),
    ("ve.conf", Format::Openvz, "ve.conf"),
    ("backup.yaml", Format::Incus, "backup.yaml"),
    ("index.yaml", Format::Incus, "index.yaml"),
    ("backup/index.yaml", Format::Incus, "backup/index.yaml"),
    ("config", Format::Lxc, "config"),
];

/// Words at the start of a line that tell whose a file is.
const LINES: [(&str, Format); 14] = [
    ("lxc.", Format::Lxc),
    ("[Exec]", Format::Nspawn),
    ("[Files]", Format::Nspawn),
    ("[Network]", Format::Nspawn),
    ("IPROOT", Format::Legacy),
    ("S_HOSTNAME=", Format::Legacy),
    ("S_CONTEXT=", Format::Legacy),
    ("S_FLAGS=", Format::Legacy),
    ("S_CAPS=", Format::Legacy),
    ("VE_ROOT=", Format::Openvz),
    ("VE_PRIVATE=", Format::Openvz),
    ("OSTEMPLATE=", Format::Openvz),
    ("PHYSPAGES=", Format::Openvz),
    ("IP_ADDRESS=", Format::Openvz),
];

/// The format of a directory with these names in it, and the file in it that
/// is meant.
pub fn detect_directory(is_there: impl Fn(&str) -> bool) -> Option<(Format, &'static str)> {
    let found = DIRECTORIES.iter().find(|(name, _, _)| is_there(name));
    found.map(|(_, format, file)| (*format, *file))
}

/// The format of a file with this name and text.
pub fn detect(name: &str, text: &str) -> Option<Format> {
    if name.ends_with(".nspawn") {
        return Some(Format::Nspawn);
    }
    if text.trim_start().starts_with(['{', '[']) && text.contains("\"devices\"") {
        return Some(Format::Incus);
    }
    let is_instance = |line: &str| incus_yaml::LINES.contains(&line.trim());
    if name.ends_with(".yaml") && text.lines().any(is_instance) {
        return Some(Format::Incus);
    }
    let known = |line: &str| LINES.iter().find(|(start, _)| line.trim_start().starts_with(start));
    text.lines().find_map(known).map(|(_, format)| *format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_told() {
        for (name, text, format) in [
            ("web.nspawn", "", Some(Format::Nspawn)),
            ("x", "# c\n[Files]\nBind=/a\n", Some(Format::Nspawn)),
            ("config", "lxc.uts.name = web\n", Some(Format::Lxc)),
            ("web.conf", "# c\nIPROOT=\"1.2.3.4\"\n", Some(Format::Legacy)),
            ("101.conf", "ONBOOT=yes\nPHYSPAGES=\"0:256M\"\n", Some(Format::Openvz)),
            ("web.json", "[{\"devices\": {}}]", Some(Format::Incus)),
            ("backup.yaml", "container:\n  name: web\n", Some(Format::Incus)),
            ("index.yaml", "config:\n  instance:\n    name: web\n", Some(Format::Incus)),
            ("web.conf", "a = b\n", None),
        ] {
            assert_eq!(detect(name, text), format, "{name} {text}");
        }
        let of = |names: &[&str]| detect_directory(|name| names.contains(&name));
        assert_eq!(of(&["config", "rootfs"]), Some((Format::Lxc, "config")));
        assert_eq!(of(&["vdir", "context"]), Some((Format::Directory, "")));
        assert_eq!(of(&["ve.conf", "fs"]), Some((Format::Openvz, "ve.conf")));
        assert_eq!(of(&["backup.yaml", "rootfs"]), Some((Format::Incus, "backup.yaml")));
        assert_eq!(of(&["etc", "usr"]), None);
    }
}

//! The unit files that are installed. Pure.

use std::path::{Path, PathBuf};

/// The generator's name (systemd.generator(7)).
pub const GENERATOR: &str = "vserver-generator";

/// With `@BIN@` and `@VERSION@` in them.
const TEMPLATES: [(&str, &str); 5] = [
    ("vserver@.service", include_str!("../../units/vserver@.service")),
    ("vserver-adopt@.service", include_str!("../../units/vserver-adopt@.service")),
    ("vservers.target", include_str!("../../units/vservers.target")),
    ("vservers@.target", include_str!("../../units/vservers@.target")),
    ("vserver.slice", include_str!("../../units/vserver.slice")),
];

/// Each file's place below the prefix, and its text, for a program in this
/// directory.
pub fn texts(bin: &Path) -> Vec<(PathBuf, String)> {
    let text = |template: &str| {
        template
            .replace("@BIN@", &bin.display().to_string())
            .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
    };
    let directory = Path::new("lib/systemd/system");
    TEMPLATES.iter().map(|(name, template)| (directory.join(name), text(template))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guard is not the unit's main process, and there may be one under any version.
    #[test]
    fn guards_are_heard() {
        let texts = texts(Path::new("/usr/sbin"));
        let unit = texts.iter().find(|(path, _)| path.ends_with("vserver@.service"));
        let (_, text) = unit.unwrap();
        let access = text.lines().filter(|line| line.starts_with("NotifyAccess="));
        assert_eq!(access.collect::<Vec<_>>(), ["NotifyAccess=all"]);
        for version in [252, 257] {
            let others = crate::systemd::files(&[], Path::new("/"), version);
            assert!(!format!("{others:?}").contains("NotifyAccess"), "{others:?}");
        }
    }
}

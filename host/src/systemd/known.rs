//! What systemd has been told of guests: what the generator has written, when units
//! were read last.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::File;
use super::generator::USUAL_ROOT;

/// Where systemd has generators write (systemd.generator(7)).
pub(super) const GENERATED: &str = "/run/systemd/generator";

/// Would the generator write now what it has written last?
pub fn are_known(files: &[File]) -> bool {
    are_known_in(Path::new(GENERATED), files)
}

fn are_known_in(directory: &Path, files: &[File]) -> bool {
    let wanted = files.iter().map(|file| match file {
        File::Link { path, to } => (path.clone(), to.to_string_lossy().into_owned()),
        File::Text { path, text } => (path.clone(), text.clone()),
    });
    let counts = |(path, _): &(PathBuf, String)| !path.ends_with(USUAL_ROOT);
    let wanted: BTreeMap<_, _> = wanted.filter(counts).collect();
    wanted == written(directory).into_iter().filter(counts).collect()
}

/// What lies in directories of guests' units and targets, by its path.
fn written(directory: &Path) -> Vec<(PathBuf, String)> {
    let entries = |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten();
    let is_ours = |name: &str| name.starts_with("vserver@") || name.starts_with("vserver-adopt@");
    let mut found = Vec::new();
    for inner in entries(directory) {
        let name = inner.file_name().to_string_lossy().into_owned();
        if !is_ours(&name) && !name.starts_with("vservers") {
            continue;
        }
        for file in entries(&inner.path()) {
            let path = file.path();
            let link = fs::read_link(&path).map(|to| to.to_string_lossy().into_owned());
            let text = link.or_else(|_| fs::read_to_string(&path)).unwrap_or_default();
            found.push((Path::new(&inner.file_name()).join(file.file_name()), text));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_has_changed_is_not_known() {
        let place = tempfile::tempdir().unwrap();
        let text = |path: &str, text: &str| File::Text { path: path.into(), text: text.into() };
        let after = |other: &str| text("vserver@web.service.d/10-vserver.conf", other);
        let link = File::Link {
            path: "vservers.target.wants/vserver@web.service".into(),
            to: "/lib/systemd/system/vserver@.service".into(),
        };
        let known = |files: &[File]| are_known_in(place.path(), files);
        assert!(known(&[]) && !known(&[after("a")]) && !known(std::slice::from_ref(&link)));
        for directory in ["vserver@web.service.d", "vservers.target.wants", "ssh.service.d"] {
            fs::create_dir(place.path().join(directory)).unwrap();
        }
        fs::write(place.path().join("ssh.service.d/x.conf"), "").unwrap();
        fs::write(place.path().join("vserver@web.service.d/10-vserver.conf"), "a").unwrap();
        assert!(known(&[after("a")]) && !known(&[after("b")]));
        // One that there is no longer.
        assert!(!known(&[]));
        let File::Link { path, to } = &link else { unreachable!() };
        symlink(to, place.path().join(path)).unwrap();
        assert!(!known(&[after("a")]));
        // What needn't be.
        let root = text("vserver@db.service.d/10-root.conf", "[Unit]\n");
        assert!(known(&[root, link, after("a")]));
    }
}

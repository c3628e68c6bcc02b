//! `--method skeleton`, and what a copy gets besides its packages: the files
//! of `rootfs-skel`, which this program carries.

use crate::error::Result;
use crate::fsroot::RootDir;

use super::Work;

/// A file of `rootfs-skel`.
struct SkeletonFile {
    path: &'static str,
    mode: u32,
    text: &'static str,
}

const README: SkeletonFile = SkeletonFile {
    path: "etc/vserver/README",
    mode: 0o644,
    text: include_str!("../../../rootfs-skel/etc/vserver/README"),
};

const BOOT: SkeletonFile = SkeletonFile {
    path: "etc/init.d/vserver-boot",
    mode: 0o755,
    text: include_str!("../../../rootfs-skel/etc/init.d/vserver-boot"),
};

const DEMO: SkeletonFile = SkeletonFile {
    path: "etc/init.d/vserver-demo",
    mode: 0o755,
    text: include_str!("../../../rootfs-skel/etc/init.d/vserver-demo"),
};

const POWER: SkeletonFile = SkeletonFile {
    path: "usr/lib/vserver/power",
    mode: 0o755,
    text: include_str!("../../../rootfs-skel/usr/lib/vserver/power"),
};

/// Names under which [`POWER`] is called. A copy has them only where none of
/// its packages has. `init` is not among them: a guest that has `/sbin/init`
/// is booted by it.
const POWER_NAMES: [&str; 6] = ["halt", "poweroff", "reboot", "runlevel", "shutdown", "telinit"];

/// Directories of an empty guest (hier(7)).
const DIRECTORIES: [(&str, u32); 20] = [
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("lib", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("sbin", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr/bin", 0o755),
    ("usr/lib", 0o755),
    ("usr/sbin", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/tmp", 0o1777),
];

/// Fills the root with empty directories and a word to its administrator.
pub(super) fn fill(work: &mut Work<'_>) -> Result<String> {
    for (directory, mode) in DIRECTORIES {
        if let Some((parent, _)) = directory.rsplit_once('/') {
            work.root.create_dir_all(parent, 0o755)?;
        }
        work.root.create_dir_all(directory, mode)?;
    }
    lay(work.root, &README)?;
    work.remarks.push("it has no programs yet: put some into its root before you start it".into());
    Ok("empty directories".to_owned())
}

/// Adds to a copy what its packages lack for a boot by rc scripts and for its
/// root's `reboot`.
pub(super) fn lay_into_copy(root: &RootDir) -> Result<()> {
    lay(root, &README)?;
    if !root.exists("etc/init.d/bootmisc.sh") {
        lay(root, &BOOT)?;
    }
    lay(root, &DEMO)?;
    let is_missing = |name: &&str| !root.exists(format!("sbin/{name}"));
    let missing: Vec<&str> = POWER_NAMES.into_iter().filter(is_missing).collect();
    if !missing.is_empty() {
        lay(root, &POWER)?;
        root.create_dir_all("sbin", 0o755)?;
    }
    for name in missing {
        root.symlink("/usr/lib/vserver/power", format!("sbin/{name}"))?;
    }
    Ok(())
}

fn lay(root: &RootDir, file: &SkeletonFile) -> Result<()> {
    if let Some((parent, _)) = file.path.rsplit_once('/') {
        root.create_dir_all(parent, 0o755)?;
    }
    root.write(file.path, file.text.as_bytes(), file.mode)
}

//! Where guests' roots lie.

use super::{Finding, limited, missing, ok};
use crate::facts::HostFacts;

/// From which kernel on a file system can be mounted with mapped ids
/// (mount_setattr(2), "ID-mapped mounts").
const IDMAPPED: [(&str, (u32, u32)); 9] = [
    ("ext4", (5, 12)),
    ("xfs", (5, 12)),
    ("vfat", (5, 12)),
    ("btrfs", (5, 15)),
    ("f2fs", (5, 18)),
    ("erofs", (5, 19)),
    ("squashfs", (6, 2)),
    ("tmpfs", (6, 3)),
    ("ceph", (6, 7)),
];

pub(super) fn roots(host: &HostFacts) -> Finding {
    let (topic, roots) = ("guests' roots", host.roots.display());
    let Some(mount) = &host.roots_mount else {
        return limited(topic, format!("the mount of {roots} is unknown"), "look at findmnt(8)");
    };
    let set = |option: &&&str| mount.has(option);
    let grave: Vec<_> = ["ro", "noexec"].iter().filter(set).copied().collect();
    let light: Vec<_> = ["nosuid"].iter().filter(set).copied().collect();
    let remount = || format!("remount {} without it", mount.point.display());
    if !grave.is_empty() {
        missing(topic, format!("{roots} is mounted {}", grave.join(", ")), remount())
    } else if !light.is_empty() {
        limited(topic, format!("{roots} is mounted nosuid, sudo can't work inside"), remount())
    } else {
        ok(topic, format!("{} on {roots}", mount.kind))
    }
}

pub(super) fn idmapped(host: &HostFacts) -> Finding {
    let topic = "id mapping";
    let kind = host.roots_mount.as_ref().map_or("unknown", |mount| mount.kind.as_str());
    let since = IDMAPPED.iter().find(|(known, _)| *known == kind).map(|(_, since)| *since);
    let remedy = "keep guests on ext4, xfs or btrfs, or set security.users = \"identity\"";
    match since {
        Some((major, minor)) if host.is_kernel(major, minor) => {
            ok(topic, format!("{kind} maps ids since {major}.{minor} (by version, not tried)"))
        }
        Some((major, minor)) => {
            limited(topic, format!("{kind} maps ids only since {major}.{minor}"), remedy)
        }
        None => limited(topic, format!("{kind} isn't known to map ids"), remedy),
    }
}

pub(super) fn space(host: &HostFacts) -> Finding {
    let topic = "disk space";
    let Some(bytes) = host.free_bytes else {
        return limited(topic, "unknown", "look at df(1)");
    };
    let mebibytes = bytes / (1024 * 1024);
    let text = match mebibytes {
        0..10_240 => format!("{mebibytes} MiB free"),
        _ => format!("{} GiB free", mebibytes / 1024),
    };
    match mebibytes {
        0..1024 => limited(topic, text, "a distribution takes 200 MiB to 2 GiB"),
        _ => ok(topic, text),
    }
}

pub(super) fn quotas(host: &HostFacts) -> Finding {
    let topic = "disk quotas";
    if !host.counts_wrongly {
        return ok(topic, "nothing is known against them");
    }
    let roots = host.roots.display();
    limited(
        topic,
        format!(
            "the btrfs of {roots} says that its own are wrong, so limits.disk holds at other sizes"
        ),
        format!("count anew: btrfs quota rescan -w {roots}"),
    )
}

//! Why a guest's files can't be opened, and the remedy.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::{Place, is_of_host};
use crate::error::Error;

/// The remedy where the kernel makes no overlay.
pub const NO_OVERLAY: &str = "an overlay needs CONFIG_OVERLAY_FS, and a file system below it that \
                              can hold one: ext4, xfs, btrfs or tmpfs, and no overlay itself";

/// What of a guest's files couldn't be opened. The number travels as the step
/// of a start that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What is at the path of its root.
    Root = 0,
    /// What it lies over.
    Base = 1,
    /// Where it writes to instead.
    Scratch = 2,
    /// The loop device that shows its image.
    LoopDevice = 3,
    /// The rest of an image that has become longer.
    Growth = 4,
    /// The quotas of the file system in its image.
    Quotas = 5,
    /// Its files and what they lie over, together.
    Layers = 6,
}

impl Part {
    const ALL: [Self; 7] = [
        Self::Root,
        Self::Base,
        Self::Scratch,
        Self::LoopDevice,
        Self::Growth,
        Self::Quotas,
        Self::Layers,
    ];

    /// The part with this number.
    pub fn of_step(step: u16) -> Self {
        Self::ALL.into_iter().find(|part| *part as u16 == step).unwrap_or(Self::Root)
    }

    /// That it failed, for [`Result::map_err`].
    pub(super) fn failed(self) -> impl Fn(io::Error) -> Failed {
        move |cause| Failed { part: self, cause }
    }

    /// What was done: "opening X".
    pub fn describe(self, place: &Place) -> String {
        let root = place.root.display();
        match self {
            Self::Root => format!("opening its root directory '{root}'"),
            Self::Base => {
                let base = place.base().unwrap_or(&place.root);
                format!("opening '{}', which it lies over", base.display())
            }
            Self::Scratch => "opening the directory for what it writes".to_owned(),
            Self::LoopDevice => format!("showing its image '{root}' by a loop device"),
            Self::Growth => format!("letting the file system in '{root}' grow"),
            Self::Layers => {
                let base = place.base().unwrap_or(&place.root);
                format!("laying it over '{}'", base.display())
            }
            Self::Quotas => format!("mounting its image '{root}', which keeps quotas"),
        }
    }

    /// The remedy, where the error number tells the cause. The directory `usual` is there
    /// for guests' roots.
    pub fn hint(self, place: &Place, usual: &Path, errno: i32) -> Option<String> {
        let closed = |path: &Path| {
            let parent = path.parent().unwrap_or(path);
            // It may be a file system of its own.
            let remedy = match parent != usual && is_of_others(parent) {
                false => format!("close the directory above it: chmod 0700 '{}'", parent.display()),
                // Whoever closes one of the host's shuts out all its users.
                true => "move it into a directory that is closed to them (mkdir -m 0700 DIR), and \
                         name that place in the guest's configuration"
                    .to_owned(),
            };
            format!("every user of the host could run the guest's setuid programs there; {remedy}")
        };
        Some(match (self, errno) {
            (Self::Root, libc::EPERM) => closed(&place.root),
            (Self::Base, libc::EPERM) => closed(place.base().unwrap_or(&place.root)),
            (Self::Base, libc::ENOENT | libc::ENOTDIR) => {
                "storage.base names it, and no directory is there: without those files the guest \
                 can't be put together; get them back to that path"
                    .to_owned()
            }
            (Self::Root, libc::EBUSY) => {
                "the image is in use; 'losetup -j' tells by which loop device".to_owned()
            }
            (Self::Root, libc::EMEDIUMTYPE) => {
                "the image holds none of the file systems ext4, xfs and btrfs".to_owned()
            }
            (Self::Root, libc::EINVAL) => {
                "the kernel refuses the file system in the image, and 'dmesg' says why; one of a newer \
                 host may have what an older kernel doesn't know"
                    .to_owned()
            }
            (Self::Root, libc::ENODEV) => {
                "the kernel may lack the file system in the image: modprobe xfs, or btrfs"
                    .to_owned()
            }
            (Self::LoopDevice, libc::ENOENT | libc::ENXIO | libc::ENODEV) => {
                "the host has no loop devices: modprobe loop; in a container its manager has to \
                 give it /dev/loop-control and /dev/loop*"
                    .to_owned()
            }
            (Self::LoopDevice, libc::EPERM | libc::EACCES) => {
                "vserver needs CAP_SYS_ADMIN over the host, and if it is in a container itself, \
                 leave to use /dev/loop-control and /dev/loop*"
                    .to_owned()
            }
            (Self::LoopDevice, libc::EAGAIN) => {
                "others took each loop device that was free; try again".to_owned()
            }
            (Self::Growth, libc::EPERM) => {
                "the image has become longer, and to let its file system grow vserver needs \
                 CAP_SYS_RESOURCE, and of xfs CAP_SYS_ADMIN; or: resize2fs IMAGE, xfs_growfs MOUNT"
                    .to_owned()
            }
            (Self::Layers, libc::EINVAL | libc::ENODEV | libc::EROFS | libc::EOPNOTSUPP) => {
                NO_OVERLAY.to_owned()
            }
            (Self::Quotas, _) => format!(
                "'dmesg' says why; the kernel may have no quotas: of ext4 with CONFIG_QFMT_V2 (modprobe quota_v2), of \
                 xfs with CONFIG_XFS_QUOTA; or take them out of the image: tune2fs -O ^quota '{root}'; \
                 if it is xfs, mount it once: mount -o loop,nouuid '{root}' /mnt && umount /mnt",
                root = place.root.display()
            ),
            _ => return None,
        })
    }
}

/// Is it used for more than guests, as far as can be told: a directory of the host's
/// own, a mount point, a user's?
fn is_of_others(directory: &Path) -> bool {
    let about = |path: &Path| std::fs::metadata(path);
    let (Ok(real), Ok(own)) = (std::fs::canonicalize(directory), about(directory)) else {
        return is_of_host(directory);
    };
    let above = real.parent().and_then(|above| about(above).ok());
    is_of_host(&real) || own.uid() != 0 || above.is_none_or(|above| above.dev() != own.dev())
}

/// A guest's files can't be opened.
#[derive(Debug)]
pub struct Failed {
    /// What of them.
    pub part: Part,
    /// Why.
    pub cause: io::Error,
}

impl Failed {
    /// As a sentence.
    pub fn into_error(self, place: &Place) -> Error {
        // Whether all may look into a directory is asked before a start only.
        let usual = Path::new("");
        let hint = self.cause.raw_os_error().and_then(|no| self.part.hint(place, usual, no));
        let what = format!("cannot open '{}': {}", place.root.display(), self.part.describe(place));
        let error = match self.part {
            Part::Root => Error::path("open", &place.root, self.cause),
            _ => Error::os(what, self.cause),
        };
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Files;

    const USUAL: &str = "/var/lib/vservers";

    #[test]
    fn parts_are_told_by_their_numbers() {
        for part in Part::ALL {
            assert_eq!(Part::of_step(part as u16), part);
        }
        assert_eq!(Part::of_step(99), Part::Root);
    }

    #[test]
    fn no_directory_of_the_hosts_is_to_be_closed() {
        for root in ["/etc", "/guest", "/srv/web", "/home/web", "/usr/lib/web", "/proc/web"] {
            let hint =
                Part::Root.hint(&Place::directory(root), USUAL.as_ref(), libc::EPERM).unwrap();
            assert!(!hint.contains("chmod") && hint.contains("mkdir -m 0700"), "{root}: {hint}");
        }
    }

    /// A mount point, but the guests' own.
    #[test]
    fn the_usual_directory_is_to_be_closed_also_if_it_is_a_file_system() {
        for (usual, closes) in [("/proc", true), (USUAL, false)] {
            let place = Place::directory("/proc/web");
            let hint = Part::Root.hint(&place, usual.as_ref(), libc::EPERM).unwrap();
            assert_eq!(hint.contains("chmod 0700 '/proc'"), closes, "{hint}");
        }
    }

    #[test]
    fn the_remedy_is_about_what_has_failed() {
        let place =
            Place { root: "/v/web".into(), files: Files::Overlay { base: "/b/base".into() } };
        assert!(Part::Base.describe(&place).contains("'/b/base'"));
        let hint = |part: Part, errno| part.hint(&place, USUAL.as_ref(), errno).unwrap();
        assert!(hint(Part::Base, libc::EPERM).contains("chmod 0700 '/b'"));
        assert!(hint(Part::Root, libc::EPERM).contains("chmod 0700 '/v'"));
        assert!(hint(Part::LoopDevice, libc::ENOENT).contains("modprobe loop"));
        let shown = Part::Base.failed()(io::Error::from_raw_os_error(libc::ENOENT))
            .into_error(&place)
            .to_string();
        assert!(shown.contains("'/b/base'") && !shown.contains("vserver build"), "{shown}");
    }
}

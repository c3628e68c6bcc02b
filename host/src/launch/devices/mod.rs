//! The guest's devices: a filter on its cgroup, and its /dev.
//!
//! /dev is made here, by the host, with nodes of its own. Were they the
//! host's, mounted into the guest, a root with the host's ids could change
//! their modes for everybody, and one with ids of its own couldn't open
//! those that only root may.

mod kept;
mod running;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, Uid, chmodat, chownat, major, makedev, minor, mkdirat,
    mknodat,
};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};
use shared::stage::{Failure, Stage};

use crate::bpf::device::Kind;
use crate::cgroup::GuestCgroup;
use crate::config::DeviceRule;
use crate::facts;
use crate::plan::devices::{Given, NODES, rules};
use crate::plan::{Layer, Plan};
use crate::runtime::RunDir;
use crate::sys::mount::{self as attributes, Attributes, detached};

use super::at_step;

pub use kept::Kept;
pub use running::Running;

/// A guest's /dev.
pub struct Devices {
    /// A detached mount.
    pub tree: OwnedFd,
    /// Files in it on which nodes of this system's /dev have to be mounted:
    /// in a user namespace none can be made.
    pub borrowed: Vec<String>,
    /// The host's /sys as a detached mount, where the guest has that.
    pub sys: Option<OwnedFd>,
    /// Does a program judge the families of sockets?
    pub families_judged: bool,
}

/// A device node to be made.
struct Node<'a> {
    /// Below /dev.
    name: &'a str,
    kind: Kind,
    major: u32,
    minor: u32,
    mode: u32,
}

impl<'g> Node<'g> {
    fn of(given: &'g Given) -> Self {
        Self {
            name: &given.device.name,
            kind: given.kind(),
            major: given.major,
            minor: given.minor,
            mode: given.mode,
        }
    }
}

/// Filters the guest's devices and makes its /dev, a detached mount. In a
/// failure step 0 is all of it, a greater one the configured device of that
/// number, from 1 on.
///
/// In a guest that has a guest, neither a filter nor a node can be made; the
/// host's filter holds there as well.
pub fn prepare(
    plan: &Plan,
    run: &RunDir,
    cgroup: &GuestCgroup,
    boot: u32,
) -> Result<Devices, Failure> {
    let nested = plan.is_nested;
    let mut given = Vec::new();
    for (number, device) in (1u16..).zip(&plan.devices) {
        given.push(at_step(plan.fault, Stage::Devices, number, || look(device))?);
    }
    let own = NODES.iter().map(|&(name, major, minor)| Node {
        name,
        kind: Kind::Character,
        major,
        minor,
        mode: 0o666,
    });
    let nodes: Vec<Node<'_>> = own.chain(given.iter().map(Node::of)).collect();
    let mut families_judged = false;
    at_step(plan.fault, Stage::Devices, 0, || {
        let is_filtered = !plan.without.contains(&Layer::Devices) && !nested;
        if is_filtered {
            cgroup.filter_devices(&rules(&given))?;
            // Where the kernel can't, the system call filter is all there is.
            let directory = run.path().parent().unwrap_or(run.path());
            if let Some(hook) = facts::socket_hook(directory) {
                cgroup.filter_sockets(hook)?;
                families_judged = true;
            }
        }
        let owner = plan.ids.root();
        let tree = directory(owner, &nodes, nested)?;
        let file_system = rustix::fs::fstat(&tree)?.st_dev;
        let names = nodes.iter().filter(|_| nested).map(|node| node.name.to_owned());
        let sys = plan.network.is_shared().then(host_sys).transpose()?;
        let given = given.clone();
        let kept = Kept {
            boot,
            owner,
            file_system,
            is_filtered,
            is_nested: nested,
            given,
            removed: Vec::new(),
            is_under_way: false,
        };
        kept.write(run)?;
        Ok(Devices { tree, borrowed: names.collect(), sys, families_judged })
    })
}

/// A read-only copy of the mount on the host's /sys, without those below it.
fn host_sys() -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, "/sys", flags)?;
    let wanted = Attributes {
        set: attributes::RDONLY | attributes::NODEV | attributes::NOSUID | attributes::NOEXEC,
        propagation: libc::MS_PRIVATE,
        ..Attributes::default()
    };
    attributes::set_attributes(tree.as_fd(), false, &wanted)?;
    Ok(tree)
}

/// A device as the host has it.
///
/// # Errors
/// Those of stat(2); ENODEV if it is something else.
pub fn look(device: &DeviceRule) -> io::Result<Given> {
    let found = std::fs::metadata(Path::new("/dev").join(&device.name))?;
    let kind = found.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    Ok(Given {
        device: device.clone(),
        is_block: kind.is_block_device(),
        major: major(found.rdev()),
        minor: minor(found.rdev()),
        mode: found.mode() & 0o777,
        is_for_this_boot: false,
    })
}

/// A /dev that belongs to the guest's root, `owner` on the host. It has mode
/// 0755: in a sticky directory that all may write to, the kernel would refuse
/// opening nodes of another owner with O_CREAT (`fs.protected_regular`).
fn directory(owner: u32, nodes: &[Node<'_>], nested: bool) -> io::Result<OwnedFd> {
    let owner_text = owner.to_string();
    let options = [
        ("mode", "0755"),
        ("size", "1M"),
        ("nr_inodes", "4096"),
        ("uid", &*owner_text),
        ("gid", &*owner_text),
    ];
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let tree = detached("tmpfs", &options, attributes)?;
    for node in nodes {
        make(tree.as_fd(), node, owner, nested)?;
    }
    Ok(tree)
}

/// Makes a node, or an empty file to mount one on, and the directories that
/// it lies in.
fn make(tree: BorrowedFd<'_>, node: &Node<'_>, owner: u32, nested: bool) -> io::Result<()> {
    for (end, _) in node.name.match_indices('/') {
        finish(tree, &node.name[..end], 0o755, owner, |path, mode| mkdirat(tree, path, mode))?;
    }
    let kind = match node.kind {
        _ if nested => FileType::RegularFile,
        Kind::Block => FileType::BlockDevice,
        Kind::Character => FileType::CharacterDevice,
    };
    let device = if nested { 0 } else { makedev(node.major, node.minor) };
    finish(tree, node.name, node.mode, owner, |path, mode| mknodat(tree, path, kind, mode, device))
}

/// Makes what isn't there yet, and gives it its mode, from which mknod(2)
/// takes the umask off, and its owner.
fn finish(
    tree: BorrowedFd<'_>,
    path: &str,
    mode: u32,
    owner: u32,
    make: impl FnOnce(&str, Mode) -> Result<(), Errno>,
) -> io::Result<()> {
    let mode = Mode::from_raw_mode(mode);
    match make(path, mode) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    chmodat(tree, path, mode, AtFlags::empty())?;
    let (uid, gid) = (Uid::from_raw(owner), Gid::from_raw(owner));
    Ok(chownat(tree, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}

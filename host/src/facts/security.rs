//! The kernel's security modules: which give labels, and can sockets be
//! filtered by family, and by which hook?

use std::fs;
use std::io;
use std::path::Path;

use crate::bpf::addresses::Layout;
use crate::bpf::{btf, forks, socket};
use crate::store;
use crate::sys::bpf::{Hook, LSM_BPF, load, security_modules};

/// The kernel's description of its types.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// The modules that give labels to guests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Is AppArmor active?
    pub apparmor: bool,
    /// Does SELinux enforce its policy? `None` where it isn't active.
    pub selinux: Option<bool>,
}

impl Labels {
    /// Asks each module where it says so itself: the list of modules names
    /// SELinux also before it has a policy, and needs a mount.
    pub(super) fn read() -> Self {
        let on = |file| super::text(file).trim().to_owned();
        let selinux = on("/sys/fs/selinux/enforce");
        Self {
            apparmor: on("/sys/module/apparmor/parameters/enabled") == "Y",
            selinux: (!selinux.is_empty()).then(|| selinux == "1"),
        }
    }
}

/// The hook on which eBPF programs of a cgroup can refuse sockets by family,
/// as its BTF id. Where there is none, only the system call filter can refuse
/// them, which doesn't see the family everywhere.
///
/// It takes Linux 6.0, its types, and `bpf` among the active security modules
/// (kernel parameter `lsm=`): in a kernel where it isn't, such a program can
/// be attached, and is never run. And the kernel has to take the program,
/// which some that are locked down don't; so one is loaded, and dropped.
///
/// Searching the hook takes some milliseconds: it is remembered in
/// `directory`, if that exists, for as long as this kernel runs.
pub fn socket_hook(directory: &Path) -> Option<u32> {
    let release = super::text("/proc/sys/kernel/osrelease");
    let new = super::version(&release).is_some_and(|version| version >= (6, 0));
    if !new || !has_bpf_module() {
        return None;
    }
    let id = find_hook(directory).ok()?;
    load(Hook::Security(id), "vserver_socket", &socket::filter()).ok().map(|_| id)
}

/// Where this kernel keeps what tells a process from a thread; nothing if it
/// doesn't describe its types.
pub fn task_layout() -> Option<forks::Layout> {
    let btf = fs::read(BTF).ok()?;
    let bytes = |member| Some(btf::member(&btf, "task_struct", member)? / 8);
    Some(forks::Layout { pid: bytes("pid")?, tgid: bytes("tgid")? })
}

/// Where this kernel keeps what programs on addresses look up; nothing if it
/// doesn't describe its types.
pub fn kernel_layout() -> Option<Layout> {
    let btf = fs::read(BTF).ok()?;
    let bytes = |structure, member| {
        let bits = btf::member(&btf, structure, member)?;
        bits.is_multiple_of(8).then_some(bits / 8)
    };
    Some(Layout {
        credentials: bytes("task_struct", "cred")?,
        effective: bytes("cred", "cap_effective")?,
        user_namespace: bytes("cred", "user_ns")?,
        level: bytes("user_namespace", "level")?,
        ipv6_only: btf::member(&btf, "sock_common", "skc_ipv6only")?,
    })
}

fn has_bpf_module() -> bool {
    match security_modules() {
        Ok(modules) => modules.contains(&LSM_BPF),
        // Before Linux 6.8 only securityfs tells; where it isn't mounted, the
        // module is taken as missing.
        Err(_) => super::text("/sys/kernel/security/lsm").trim().split(',').any(|m| m == "bpf"),
    }
}

fn find_hook(directory: &Path) -> io::Result<u32> {
    let boot = &*crate::sys::host_boot()?;
    let cache = directory.join(".socket-hook");
    if let Some(id) = remembered(&super::text(&cache), boot) {
        return Ok(id);
    }
    let missing = || io::Error::from_raw_os_error(libc::EOPNOTSUPP);
    let id = btf::function(&fs::read(BTF)?, socket::HOOK).ok_or_else(missing)?;
    if directory.is_dir() {
        // It can be searched again.
        let _ = store::replace(&cache, &format!("{boot} {id}\n"), 0o600);
    }
    Ok(id)
}

/// Reads "BOOT ID" if it is of this boot.
fn remembered(text: &str, boot: &str) -> Option<u32> {
    let (of, id) = text.trim().split_once(' ')?;
    (of == boot).then(|| id.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_remembered_for_one_boot() {
        assert_eq!(remembered("a-b 17\n", "a-b"), Some(17));
        assert_eq!(remembered("a-c 17\n", "a-b"), None);
        assert_eq!(remembered("", "a-b"), None);
        assert_eq!(remembered("a-b x", "a-b"), None);
    }

    #[test]
    fn what_is_found_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let first = find_hook(directory.path()).unwrap();
        assert!(directory.path().join(".socket-hook").exists());
        assert_eq!(find_hook(directory.path()).unwrap(), first);
    }
}

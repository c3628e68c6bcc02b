//! The confinement of one boot: kept for its sessions, and carried out.

use std::fs;
use std::io;
use std::path::Path;

use crate::plan::{Confinement, Label, syscalls};
use crate::seccomp::{self, Program};
use crate::sys;

/// Keeps a boot's confinement in the run directory, whole or not at all.
///
/// # Errors
/// Those of open(2), write(2) and rename(2).
pub fn keep(confinement: &Confinement, file: &Path) -> io::Result<()> {
    let temporary = file.with_extension("new");
    let text = serde_json::to_vec(confinement)?;
    let written = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, file));
    written.inspect_err(|_| drop(fs::remove_file(&temporary)))
}

/// The confinement of the boot that runs.
///
/// # Errors
/// Those of open(2) and read(2); EBADMSG for a damaged file.
pub fn kept(file: &Path) -> io::Result<Confinement> {
    let text = fs::read(file)?;
    serde_json::from_slice(&text).map_err(|_| io::Error::from_raw_os_error(libc::EBADMSG))
}

/// The programs of the system call filter.
///
/// # Errors
/// EOPNOTSUPP if io_uring is wanted where nothing judges the sockets that it
/// makes. EINVAL if a rule can't be translated; a test sees to it that all
/// can.
pub fn programs(confinement: &Confinement) -> io::Result<Vec<Program>> {
    let Some(allowances) = &confinement.filter else { return Ok(Vec::new()) };
    if allowances.io_uring && !allowances.families_judged {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    let rules: Vec<_> = syscalls::refusals(allowances).map(|refusal| refusal.rule).collect();
    seccomp::compile(&rules).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Installs the filter. It has to be done while the caller has CAP_SYS_ADMIN
/// in its user namespace: without that the kernel asks for no_new_privs
/// (seccomp(2)), and `su` wouldn't work inside.
///
/// # Errors
/// Those of seccomp(2).
pub fn filter(programs: &[Program]) -> io::Result<()> {
    programs.iter().try_for_each(|program| sys::seccomp::install(program))
}

/// Asks the security module for a label on what this process executes next;
/// a child made before that inherits the wish. /proc must be the caller's.
///
/// # Errors
/// ENOENT if the host has no such module or profile; EINVAL for a label that
/// the policy doesn't know.
pub fn label(label: Option<&Label>) -> io::Result<()> {
    let Some(label) = label else { return Ok(()) };
    let (place, text) = wish(label, Path::new(APPARMOR).exists());
    fs::write(place, text)
}

/// Where a module of its own name stands since Linux 5.8; before, and with one
/// module, the plain file is its.
const APPARMOR: &str = "/proc/self/attr/apparmor/exec";
const PLAIN: &str = "/proc/self/attr/exec";

/// Which file is written for a label, and what (apparmor_setprocattr in the
/// kernel's security/apparmor/lsm.c; proc_pid_attr(5)).
fn wish(label: &Label, apparmor_has_a_place: bool) -> (&'static str, String) {
    match label {
        Label::AppArmor(profile) => {
            let place = if apparmor_has_a_place { APPARMOR } else { PLAIN };
            (place, format!("exec {profile}"))
        }
        Label::SeLinux(context) => (PLAIN, context.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_module_is_asked_in_its_own_file() {
        let label = Label::SeLinux("system_u:system_r:guest_t:s0:c1,c2".into());
        for apparmor in [true, false] {
            let text = "system_u:system_r:guest_t:s0:c1,c2".to_owned();
            assert_eq!(wish(&label, apparmor), ("/proc/self/attr/exec", text));
        }
        let profile = Label::AppArmor("guest".into());
        let text = "exec guest".to_owned();
        assert_eq!(wish(&profile, true), ("/proc/self/attr/apparmor/exec", text.clone()));
        assert_eq!(wish(&profile, false), ("/proc/self/attr/exec", text));
    }

    #[test]
    fn no_label_asks_nobody() {
        label(None).unwrap();
    }
}

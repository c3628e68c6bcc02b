//! A virtual machine: its files, its process, its end.
//!
//! Always by emulation (TCG): the stock kernel doesn't run under the nested
//! KVM of many test machines, and hangs there.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{DEADLINE, command, tree};

use crate::cases::Cases;
use crate::payload;
use crate::programs::{ALL, Program};

/// Then it is killed.
const LIMIT: Duration = Duration::from_secs(2400);

/// And so late in the long run.
const LONG_LIMIT: Duration = Duration::from_secs(4 * 3600);

/// The kernel's command line. Debian's own AppArmor profiles would take half
/// a minute to compile; `run` loads the one that the tests are about. What
/// holds against holes of real processors costs much here and means nothing.
/// Of two processors the second is only there for tests that need it (`run`): two
/// machines with two each are slower on a host that has two itself than with one.
/// A processor that the kernel itself has kept for two minutes is never given
/// back: the machine ends at once, and its console shows where each one was.
const KERNEL: &str = "console=ttyS0 quiet panic=-1 maxcpus=1 \
    sysctl.kernel.watchdog_thresh=60 softlockup_panic=1 \
    sysctl.kernel.softlockup_all_cpu_backtrace=1 \
    mitigations=off init_on_alloc=0 rcupdate.rcu_expedited=1 \
    systemd.unit=tests.target systemd.mask=apparmor.service systemd.mask=e2scrub_reap.service \
    systemd.mask=systemd-timesyncd.service systemd.mask=systemd-random-seed.service";

/// A kind of machine.
pub struct Kind {
    /// Its name, which its cases bear, too; none for the first.
    pub name: &'static str,
    /// Where its files are, below target.
    directory: &'static str,
    /// Its image: a tree of tests/trees.sh.
    tree: &'static str,
    /// What of its kernel's parameters is its own.
    parameters: &'static str,
    /// A processor as plain as its distribution runs on: emulated, the newest
    /// one's page tables of five levels and vector units make everything a
    /// third slower.
    processor: &'static str,
}

const APPARMOR: &str = "apparmor=1 security=apparmor";

/// Linux 6.1 and systemd 252.
pub const BOOKWORM: Kind =
    Kind { name: "", directory: "vm", tree: "vm", parameters: APPARMOR, processor: "qemu64" };

/// Linux 6.12 and systemd 257.
pub const TRIXIE: Kind = Kind {
    name: "trixie",
    directory: "vm_trixie",
    tree: "vm_trixie",
    parameters: APPARMOR,
    processor: "Nehalem",
};

/// The first one's image, with SELinux instead of AppArmor: `run` loads the
/// policy that the tests are about.
pub const SELINUX: Kind =
    Kind { name: "selinux", directory: "vm_selinux", parameters: "security=selinux", ..BOOKWORM };

/// A machine that has been started.
pub struct Machine {
    thread: JoinHandle<()>,
}

/// Where its files are: logs, which stay, and disks, which don't.
struct Files {
    directory: PathBuf,
    // Held while the files are in use.
    _lock: File,
}

/// The disks, and what they are made of.
const TRANSIENT: &[&str] = &["disk.img", "vmlinuz", "initrd", "payload.img", "payload"];

impl Machine {
    /// Boots one that runs the selected tests.
    ///
    /// # Panics
    /// When something that it needs is missing.
    pub fn boot(
        kind: &'static Kind,
        selected: &[(&Program, Vec<String>)],
        cases: Arc<Cases>,
    ) -> Self {
        let files = Files::unpack(kind);
        payload::make(kind, &files.path("payload.img"), &files.path("payload"), selected);
        // The thread that starts the process waits for it: the process is to
        // be killed when its parent ends, and that means the thread.
        let thread = thread::spawn(move || {
            let end = run(kind, &files, &cases);
            let console = fs::read(files.path("console.log")).unwrap_or_default();
            cases.finish(end, String::from_utf8_lossy(&console).replace('\r', ""));
        });
        Self { thread }
    }

    /// Waits until it is off and its disks are removed.
    pub fn wait(self) {
        self.thread.join().expect("the machine's thread doesn't panic");
    }
}

impl Files {
    fn unpack(kind: &Kind) -> Self {
        let directory =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(kind.directory);
        fs::create_dir_all(&directory).expect("a directory can be made in target");
        let lock = File::create(directory.join("lock")).expect("a file can be made in target");
        lock.lock().expect("a file can be locked");
        let files = Self { directory, _lock: lock };
        let mut unpack = Command::new("tar");
        unpack.arg("-xSf").arg(tree::archive(kind.tree)).arg("-C").arg(&files.directory);
        command::run(&mut unpack, DEADLINE).ok();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for name in TRANSIENT {
            let path = self.path(name);
            let _ = fs::remove_file(&path);
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// How a machine that has gone off by itself had it in mind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its tests have been run.
    Done,
    /// Those that are left want to see it come back (`run`).
    ComesBack,
}

/// Has it run its tests, over its own shutdown if they want that.
fn run(kind: &Kind, files: &Files, cases: &Cases) -> Result<(), String> {
    let new = |name| File::create(files.path(name)).map_err(|cause| cause.to_string());
    let mut log = new("results.log")?;
    // What every boot adds to.
    new("console.log")?;
    let mut end = boot(kind, files, cases, &mut log)?;
    if end == End::ComesBack {
        end = boot(kind, files, cases, &mut log)?;
    }
    (end == End::Done).then_some(()).ok_or_else(|| "it wanted to come back again".to_owned())
}

/// Starts it, reads what it says, and waits for its end.
fn boot(kind: &Kind, files: &Files, cases: &Cases, log: &mut File) -> Result<End, String> {
    let began = Instant::now();
    let mut child =
        start(kind, files).map_err(|cause| format!("qemu can't be started: {cause}"))?;
    let output = child.stdout.take().expect("stdout is a pipe");
    let (off, is_off) = mpsc::channel();
    let pid = Pid::from_raw(child.id().cast_signed());
    let guard = thread::spawn(move || {
        let late = is_off.recv_timeout(limit()) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            // Its pid can't have been given to another: nobody waits for it
            // before this thread has ended.
            let _ = kill(pid, Signal::SIGKILL);
        }
        late
    });
    let mut end = None;
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
        let _ = writeln!(log, "{:6.1} {line}", began.elapsed().as_secs_f64());
        if line.starts_with("machine: done") {
            end = Some(End::Done);
        } else if line.starts_with("machine: comes back") {
            end = Some(End::ComesBack);
        }
        cases.take(&line);
    }
    let _ = off.send(());
    let late = guard.join().unwrap_or(false);
    let status = child.wait().map_err(|cause| cause.to_string())?;
    judge(status, late, end)
}

fn start(kind: &Kind, files: &Files) -> std::io::Result<Child> {
    let drive = |name: &str, more: &str| {
        format!("file={},if=virtio,format=raw,cache=unsafe{more}", files.path(name).display())
    };
    // Of its own disks nothing is kept, so nothing has to reach the host's.
    let mut qemu = Command::new("setpriv");
    qemu.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"]);
    qemu.args(["-accel", "tcg,thread=multi", "-cpu", kind.processor, "-smp", "2", "-m", "2048"]);
    qemu.args(["-nodefaults", "-display", "none", "-monitor", "none", "-no-reboot"]);
    qemu.arg("-kernel").arg(files.path("vmlinuz")).arg("-initrd").arg(files.path("initrd"));
    qemu.args(["-append", &format!("{KERNEL} {}", kind.parameters)]);
    qemu.args(["-drive", &drive("disk.img", ""), "-drive", &drive("payload.img", ",readonly=on")]);
    let console = files.path("console.log");
    let console = format!("file,id=console,append=on,path={}", console.display());
    qemu.args(["-chardev", &console, "-serial", "chardev:console", "-serial", "stdio"]);
    qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
}

fn limit() -> Duration {
    if env::var_os(ALL).is_some() { LONG_LIMIT } else { LIMIT }
}

fn judge(status: ExitStatus, late: bool, end: Option<End>) -> Result<End, String> {
    match end {
        _ if late => Err(format!("it was killed after {} s", limit().as_secs())),
        _ if !status.success() => Err(format!("qemu has failed: {status}")),
        None => Err("it went off before its tests had ended".to_owned()),
        Some(end) => Ok(end),
    }
}

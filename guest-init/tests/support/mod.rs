//! A small guest for tests: the real guest-init as PID 1 of new PID and mount
//! namespaces, on the host's read-only programs with an `/etc` of its own.
//!
//! Needs root. Nothing outlives a [`Guest`]: its mounts are private to its
//! namespace, its processes die with their PID 1, its directory is removed.

use std::fs;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::Pid;
use shared::link::{Link, RecvError};
use shared::message::{
    BootMode, BootOrder, FromGuest, GuestState, PROTOCOL, RcMode, StopOrder, StyleChoice, ToGuest,
};

/// How long any single thing may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Sets up the root directory `$1` and becomes guest-init in it. `$2` is the
/// console's device, `$3` guest-init, `$4` the number of the link, `$5` a
/// command that executes the rest, or nothing.
const SETUP: &str = r#"
set -e
root=$1
mount -t tmpfs none "$root/root"
cd "$root/root"
mkdir -p bin sbin lib lib64 usr proc dev run tmp var/log etc
for d in bin lib lib64 usr; do
    mount --bind /$d $d
    mount -o remount,bind,ro $d
done
# The host's own init is none of the guest's.
for d in lib/systemd usr/lib/systemd; do
    if [ -d $d ]; then mount -t tmpfs none $d; fi
done
mount --bind "$root/etc" etc
mount --bind "$root/log" tmp
touch guest-init && mount --bind "$3" guest-init
mount -t proc none proc
mount -t tmpfs none dev
for n in null zero console; do touch dev/$n; done
mount --bind /dev/null dev/null
mount --bind /dev/zero dev/zero
mount --bind "$2" dev/console
ln -s /proc/self/fd dev/fd
if [ -e "$root/init" ]; then cp "$root/init" sbin/init; fi
eval "exec 3<&$4 $4<&-"
exec env -i container=vserver TERM=linux PATH=/usr/sbin:/usr/bin:/bin $5 chroot . /guest-init
"#;

/// A guest's files before it is started, and its orders.
pub struct Builder {
    directory: PathBuf,
    /// What guest-init will be told.
    pub order: BootOrder,
    /// Without CAP_SYS_BOOT?
    pub may_not_reboot: bool,
}

/// A running guest.
pub struct Guest {
    directory: PathBuf,
    unshare: Child,
    /// The supervisor's end.
    pub link: Option<Link<ToGuest, FromGuest>>,
    /// What has come so far.
    pub messages: Vec<FromGuest>,
    console: Arc<Mutex<Vec<u8>>>,
    /// How long a message may take.
    pub patience: Duration,
}

/// An order to boot with all defaults.
pub fn order(mode: BootMode) -> BootOrder {
    BootOrder {
        protocol: PROTOCOL,
        mode,
        style: StyleChoice::Auto,
        rc: RcMode::Written,
        runlevel: None,
        environment: vec![("FROM_ORDER".into(), "yes".into())],
        kill_grace_ms: 2_000,
    }
}

impl Builder {
    /// A guest with an empty `/etc`. `/tmp` inside is `log` outside.
    pub fn new(mode: BootMode) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test makes namespaces: run it as root");
        let id = format!("{:?}", std::thread::current().id());
        let id: String = id.chars().filter(char::is_ascii_digit).collect();
        let name = format!("guest-init-test-{}-{id}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        for part in ["root", "etc", "log"] {
            fs::create_dir_all(directory.join(part)).unwrap();
        }
        Self { directory, order: order(mode), may_not_reboot: false }
    }

    /// Writes a file below `/etc`.
    pub fn file(self, name: &str, text: &str) -> Self {
        let path = self.directory.join("etc").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// Writes an executable shell script below `/etc`.
    pub fn script(self, name: &str, body: &str) -> Self {
        let path = self.directory.join("etc").join(name);
        let this = self.file(name, &format!("#!/bin/sh\n{body}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        this
    }

    /// Puts this program in the place of `/sbin/init`.
    pub fn init(self, from: &str) -> Self {
        fs::copy(from, self.directory.join("init")).unwrap();
        self
    }

    /// Starts the guest.
    pub fn start(self) -> Guest {
        let (host, guest) = seqpacket_pair();
        let link = Link::new(host);
        link.send(&ToGuest::Boot(self.order)).unwrap();
        let pty = openpty(None, None).unwrap();
        let device = nix::unistd::ttyname(&pty.slave).unwrap();
        let console = Arc::new(Mutex::new(Vec::new()));
        drain(pty.master, pty.slave, Arc::clone(&console));
        fcntl(&guest, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let unshare = Command::new("unshare")
            .args(["--pid", "--mount", "--uts", "--fork", "--kill-child=KILL", "--"])
            .args(["bash", "-c", SETUP, "bash"])
            .arg(&self.directory)
            .arg(device)
            .arg(env!("CARGO_BIN_EXE_guest-init"))
            .arg(guest.as_raw_fd().to_string())
            .arg(if self.may_not_reboot { "setpriv --bounding-set=-sys_boot" } else { "" })
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        drop(guest);
        Guest {
            directory: self.directory,
            unshare,
            link: Some(link),
            messages: Vec::new(),
            console,
            patience: PATIENCE,
        }
    }
}

/// A connected pair, closed on exec.
pub fn seqpacket_pair() -> (OwnedFd, OwnedFd) {
    let flags = SockFlag::SOCK_CLOEXEC;
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap()
}

/// Reads a pty's master as long as this process lives; the slave is held so
/// that the console outlasts every hang-up.
fn drain(master: OwnedFd, slave: OwnedFd, into: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let _slave = slave;
        let mut master = fs::File::from(master);
        let mut buffer = [0; 4096];
        loop {
            match master.read(&mut buffer) {
                Ok(length) => into.lock().unwrap().extend(&buffer[..length]),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    });
}

/// Waits until `check` gives something.
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Guest {
    /// Takes what has come over the link.
    fn receive(&mut self) {
        while let Some(link) = &self.link {
            match link.recv() {
                Ok(message) => self.messages.push(message),
                Err(RecvError::Empty | RecvError::Closed) => return,
                Err(other) => panic!("nonsense from guest-init: {other:?}"),
            }
        }
    }

    /// Waits until a message fulfils `wanted`.
    pub fn await_message(&mut self, what: &str, wanted: impl Fn(&FromGuest) -> bool) -> FromGuest {
        let end = Instant::now() + self.patience;
        loop {
            self.receive();
            if let Some(message) = self.messages.iter().find(|message| wanted(message)) {
                return message.clone();
            }
            let ended = self.unshare.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < end,
                "{what}: not seen; ended: {ended:?}\n{:#?}\nconsole:\n{}",
                self.messages,
                self.console()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for a state.
    pub fn await_state(&mut self, state: GuestState) {
        self.await_message(&format!("{state:?}"), |m| *m == FromGuest::State(state));
    }

    /// Waits until the runlevel is reached.
    pub fn await_running(&mut self) {
        self.await_message("running", |m| matches!(m, FromGuest::State(GuestState::Running(_))));
    }

    /// Gives an order.
    pub fn order(&self, order: &ToGuest) {
        self.link.as_ref().unwrap().send(order).unwrap();
    }

    /// Orders a stop.
    pub fn stop(&self, power: shared::message::Power, deadline_ms: u32) {
        self.order(&ToGuest::Stop(StopOrder { power, deadline_ms }));
    }

    /// The signal by which PID 1 ends.
    pub fn await_end(&mut self) -> Option<Signal> {
        self.await_status().signal().and_then(|number| Signal::try_from(number).ok())
    }

    /// How PID 1 ends.
    pub fn await_status(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            self.receive();
            if let Some(status) = self.unshare.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "the guest doesn't end\n{:#?}", self.messages);
            std::thread::sleep(Duration::from_millis(5));
        };
        self.receive();
        status
    }

    /// Host pid of PID 1.
    pub fn init_pid(&self) -> Pid {
        let path = format!("/proc/{0}/task/{0}/children", self.unshare.id());
        let pid = eventually("PID 1", || {
            fs::read_to_string(&path).ok()?.split_whitespace().next()?.parse().ok()
        });
        Pid::from_raw(pid)
    }

    /// Sends a signal to PID 1, as one of the guest's own tools would.
    pub fn signal(&self, signal: Signal) {
        kill(self.init_pid(), signal).unwrap();
    }

    /// A path below the guest's root, seen from the host.
    pub fn path(&self, inside: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.init_pid())).join(inside.trim_start_matches('/'))
    }

    /// What a guest's script wrote to `/tmp/NAME`.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.directory.join("log").join(name)).unwrap_or_default()
    }

    /// What the console has shown.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&self.console.lock().unwrap()).into_owned()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // PID 1 is killed with unshare, and everything inside with PID 1.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

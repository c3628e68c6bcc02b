//! The administrator's script `/etc/vservers/NAME.sh`, run on the host.
//!
//! It is called as `NAME.sh ACTION NAME`, with the guest's particulars in
//! the environment, and has a minute. It is a file of the host's: nothing of
//! the guest is ever executed here. What it prints goes to the supervisor's log.
//! It may ask after its own guest, and open sessions in it: such requests are
//! answered meanwhile.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, geteuid, kill_process_group, pidfd_open, waitid,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::dying::BURIAL;
use super::{Supervisor, outlived};
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::report;
use crate::sys::{self, Cloned};
use crate::variables;
use crate::way;

/// Longest time that a script may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// So long a line is in the log.
const LINE: usize = 1000;

/// So many of its last lines say why it has failed.
const LAST: usize = 3;

/// What so many scripts have left running is still heard.
const HEARD: usize = 8;

/// When the script is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Before anything of a boot exists; a failure stops the start.
    PreStart,
    /// The guest has reached its runlevel.
    PostStart,
    /// Before the guest is told to shut down.
    PreStop,
    /// Nothing of the boot is left.
    PostStop,
}

impl Action {
    pub fn name(self) -> &'static str {
        match self {
            Self::PreStart => "pre-start",
            Self::PostStart => "post-start",
            Self::PreStop => "pre-stop",
            Self::PostStop => "post-stop",
        }
    }
}

/// What is at the place of a guest's script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A file that can't be executed.
    Idle,
    /// A script that others than root may change, and what ends that.
    Open(&'static str),
    Script,
}

fn look(path: &Path) -> Found {
    match fs::metadata(path) {
        Ok(file) if file.is_file() => {
            judge(file.mode(), file.uid(), file.gid(), geteuid().as_raw())
        }
        _ => Found::Nothing,
    }
}

/// What a file is to the user who would run it.
fn judge(mode: u32, uid: u32, gid: u32, runner: u32) -> Found {
    if mode & 0o111 == 0 {
        Found::Idle
    } else if uid != 0 && uid != runner {
        Found::Open("chown root")
    } else if mode & 0o002 != 0 || mode & 0o020 != 0 && gid != 0 {
        Found::Open("chmod go-w")
    } else {
        Found::Script
    }
}

/// What keeps a guest's script from being run, if it has one.
pub fn doubt_of_actions(path: &Path) -> Option<String> {
    let shown = path.display();
    match look(path) {
        Found::Nothing => None,
        Found::Script => {
            let doubt = way::follow(path).err()?;
            Some(doubt.into_error(&format!("'{shown}' isn't run"), path).to_string())
        }
        Found::Idle => Some(format!("'{shown}' isn't executable, and so not run")),
        Found::Open(remedy) => Some(format!(
            "'{shown}' isn't run, as others than root may change it: {remedy} '{shown}'"
        )),
    }
}

/// A script at work.
struct Running {
    child: Child,
    output: Output,
    what: String,
}

impl Running {
    /// The guest's script, if it has one that is executable.
    fn start(plan: &Plan, action: Action) -> Result<Option<Self>> {
        let script = &plan.actions;
        let what = format!("'{} {}' of guest '{}'", script.display(), action.name(), plan.name);
        match look(script) {
            Found::Nothing | Found::Idle => return Ok(None),
            Found::Open(remedy) => {
                let text = format!("cannot run {what}: others than root may change it");
                return Err(Error::new(text).hint(format!("{remedy} '{}'", script.display())));
            }
            // A file of root's that others have put there is none of its.
            Found::Script => {
                way::follow(script)
                    .map_err(|doubt| doubt.into_error(&format!("cannot run {what}"), script))?;
            }
        }
        let failed = |error: io::Error| Error::os(format_args!("cannot run {what}"), error);
        let (output, prints) = Output::new(action).map_err(failed)?;
        let complains = prints.try_clone().map_err(failed)?;
        let child = Command::new(script)
            .arg(action.name())
            .arg(plan.name.as_str())
            .env_remove(variables::ALLOCATOR.0)
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .env("VSERVER_NAME", plan.name.as_str())
            .env("VSERVER_ACTION", action.name())
            .env("VSERVER_CONTEXT", plan.context.to_string())
            .env("VSERVER_ROOT", &plan.place.root)
            .env("VSERVER_HOSTNAME", &plan.hostname)
            .stdin(Stdio::null())
            .stdout(prints)
            .stderr(complains)
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        Ok(Some(Self { child, output, what }))
    }
}

/// Kills a script with all that it has started in its process group. Has it ended?
fn kill(child: &mut Child) -> bool {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    let deadline = Instant::now() + BURIAL;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

/// What a script prints, and what it has left running.
#[derive(Debug)]
pub(super) struct Output {
    pipe: File,
    /// When this is closed, by the end of this process as well, [`stand_by`] reads on.
    _reader: OwnedFd,
    is_open: bool,
    action: &'static str,
    line: Vec<u8>,
    last: VecDeque<String>,
}

impl Output {
    /// One, and the end that is to be written to.
    fn new(action: Action) -> io::Result<(Self, OwnedFd)> {
        let (pipe, prints) = io::pipe()?;
        let pipe = File::from(OwnedFd::from(pipe));
        fcntl_setfl(&pipe, fcntl_getfl(&pipe)? | OFlags::NONBLOCK)?;
        let (_reader, action) = (stand_in(&pipe)?, action.name());
        let (line, last) = (Vec::new(), VecDeque::new());
        Ok((Self { pipe, _reader, is_open: true, action, line, last }, prints.into()))
    }

    /// Logs what is there, and says whether more may come.
    fn drain(&mut self) -> bool {
        let mut buffer = [0; 4096];
        // Whoever prints without end has no more than its turn.
        let mut turns = 0..32;
        while self.is_open && turns.next().is_some() {
            match (&self.pipe).read(&mut buffer) {
                Ok(0) => self.is_open = false,
                Ok(length) => {
                    for byte in buffer.iter().take(length) {
                        if *byte != b'\n' {
                            self.line.push(*byte);
                        }
                        if *byte == b'\n' || self.line.len() >= LINE {
                            self.end_line();
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.is_open = false,
            }
        }
        if !self.is_open {
            self.end_line();
        }
        self.is_open
    }

    fn end_line(&mut self) {
        let text = report::harmless_line(String::from_utf8_lossy(&self.line).trim_end());
        self.line.clear();
        if text.is_empty() {
            return;
        }
        tracing::info!("{}: {text}", self.action);
        if self.last.len() >= LAST {
            self.last.pop_front();
        }
        self.last.push_back(text);
    }

    /// Its last lines, as the end of an error.
    fn last_words(&mut self) -> String {
        self.end_line();
        self.last.iter().map(|line| format!(": {line}")).collect()
    }
}

/// Has a process that outlives this one read a pipe once nobody here does. Whoever writes
/// to one that nobody reads is killed: a script, half-way through what it does, with the
/// supervisor that has called it.
fn stand_in(pipe: &File) -> io::Result<OwnedFd> {
    let (watched, reader) = io::pipe()?;
    match sys::fork()? {
        Cloned::Child => {
            // Nobody here is to wait for it, and nobody takes it for the supervisor, whose
            // lock and sockets it has.
            if matches!(sys::fork(), Ok(Cloned::Child))
                && dup2_stdin(pipe).and(dup2_stdout(pipe)).and(dup2_stderr(pipe)).is_ok()
                && sys::close_all_but(&[pipe.as_fd(), watched.as_fd()]).is_ok()
            {
                stand_by(pipe, &watched);
            }
            sys::exit_now(0);
        }
        Cloned::Parent { pidfd, .. } => {
            waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)?;
            Ok(reader.into())
        }
    }
}

/// Reads the pipe from the moment on in which its reader is gone, until nobody writes.
fn stand_by(mut pipe: &File, reader: &impl AsFd) {
    // Both of which are told whatever is asked for (poll(2)).
    let ends = PollFlags::empty();
    let has_ended = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
    loop {
        let mut fds = [PollFd::new(pipe.as_fd(), ends), PollFd::new(reader.as_fd(), ends)];
        let _ = poll(&mut fds, PollTimeout::NONE);
        match &fds {
            [_, reader] if has_ended(reader) => break,
            // What is left in it is for the reader.
            [pipe, _] if has_ended(pipe) => return,
            _ => {}
        }
    }
    let mut buffer = [0; 4096];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let _ =
                    poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE);
            }
            Err(_) => return,
        }
    }
}

impl Supervisor {
    /// Runs the guest's script if it has one that is executable, and answers meanwhile
    /// what may come from it.
    ///
    /// # Errors
    /// When it can't be run, fails, or takes longer than a minute.
    pub(super) fn act(&mut self, action: Action) -> Result<()> {
        // Of one that has prepared a start nobody knows any more whether it has failed.
        let outwaited = self.outwait_script();
        if outwaited.as_deref() == Some(action.name()) && action != Action::PreStart {
            return Ok(());
        }
        let Some(mut running) = Running::start(&self.plan, action)? else { return Ok(()) };
        self.note_script(outlived::begun(action, &running.child));
        let what = running.what.clone();
        let ended = self.wait_beside(&mut running);
        self.note_script(None);
        running.output.drain();
        match ended.map_err(|error| Error::os(format_args!("cannot wait for {what}"), error))? {
            Some(status) => {
                let words = running.output.last_words();
                if running.output.is_open {
                    self.outputs.truncate(HEARD - 1);
                    self.outputs.insert(0, running.output);
                }
                match status.success() {
                    true => Ok(()),
                    false => Err(Error::new(format!("{what} failed: {status}{words}"))),
                }
            }
            None => {
                if !kill(&mut running.child) {
                    let child = pidfd_open(Pid::from_child(&running.child), PidfdFlags::empty());
                    child.into_iter().for_each(|child| self.dying.add(child));
                    return Err(Error::new(format!("{what} was killed and has not ended")));
                }
                running.output.drain();
                let (seconds, words) = (PATIENCE.as_secs(), running.output.last_words());
                Err(Error::new(format!("{what} took longer than {seconds} s{words}")))
            }
        }
    }

    /// `None` when it has to be killed.
    fn wait_beside(&mut self, running: &mut Running) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = 1_u8;
        loop {
            let is_open = running.output.drain();
            if let Some(status) = running.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            let mut fds = Vec::new();
            self.clients.watch(&mut fds);
            let pipe = running.output.pipe.as_fd();
            fds.extend(is_open.then(|| PollFd::new(pipe, PollFlags::POLLIN)));
            let _ = poll(&mut fds, PollTimeout::from(pause));
            self.hear_meanwhile();
            pause = (pause * 2).min(50);
        }
    }

    /// Logs what is printed by what scripts have left running.
    pub(super) fn hear_outputs(&mut self) {
        self.outputs.retain_mut(Output::drain);
    }

    /// Adds that to what is to be polled.
    pub(super) fn watch_outputs<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        let outputs = self.outputs.iter().map(|output| output.pipe.as_fd());
        fds.extend(outputs.map(|pipe| PollFd::new(pipe, PollFlags::POLLIN)));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_script_that_others_may_change_isnt_run_nor_one_that_isnt_executable() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.sh");
        assert_eq!((look(&path), doubt_of_actions(&path)), (Found::Nothing, None));
        fs::write(&path, "#!/bin/sh\n").unwrap();
        let with = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            look(&path)
        };
        assert_eq!((with(0o644), with(0o755)), (Found::Idle, Found::Script));
        with(0o757);
        assert!(doubt_of_actions(&path).unwrap().contains("chmod go-w"));
        // Nor one that others may put there.
        with(0o755);
        assert_eq!(doubt_of_actions(&path), None);
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
        let doubt = doubt_of_actions(&path).unwrap();
        assert!(doubt.contains("isn't run: others than root may change '"), "{doubt}");
    }

    #[test]
    fn whose_a_script_is_counts_as_well_as_who_may_write_to_it() {
        let (owned, written) = (Found::Open("chown root"), Found::Open("chmod go-w"));
        for (mode, [uid, gid, runner], found) in [
            (0o100_644, [1000, 1000, 0], Found::Idle),
            (0o100_755, [0, 0, 0], Found::Script),
            (0o100_755, [0, 1000, 0], Found::Script),
            (0o100_755, [1000, 0, 0], owned),
            (0o100_700, [1000, 0, 0], owned),
            (0o100_777, [1000, 1000, 0], owned),
            (0o100_757, [0, 0, 0], written),
            (0o100_775, [0, 1000, 0], written),
            (0o100_775, [0, 0, 0], Found::Script),
            // In a container, and for a user that tries it out.
            (0o100_755, [1000, 1000, 1000], Found::Script),
            (0o100_755, [0, 0, 1000], Found::Script),
        ] {
            assert_eq!(judge(mode, uid, gid, runner), found, "{mode:o} {uid} {gid} {runner}");
        }
    }

    #[test]
    fn what_a_script_has_started_is_killed_with_it() {
        let mut command = Command::new("/bin/sh");
        let script = command.args(["-c", "sleep 1000 & echo $!; wait"]).process_group(0);
        let mut child = script.stdout(Stdio::piped()).spawn().unwrap();
        let mut pid = String::new();
        let mut prints = io::BufReader::new(child.stdout.take().unwrap());
        io::BufRead::read_line(&mut prints, &mut pid).unwrap();
        assert!(kill(&mut child));
        let state = || fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        let deadline = Instant::now() + BURIAL;
        while state().is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(Instant::now() < deadline, "it sleeps on");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn the_last_lines_are_kept_and_say_nothing_to_a_terminal() {
        let (mut output, prints) = Output::new(Action::PreStart).unwrap();
        let mut prints = File::from(prints);
        prints.write_all(b"one\ntwo\n\nthree\nfo\x1b[31mur").unwrap();
        assert!(output.drain());
        assert_eq!(output.last_words(), ": two: three: fo\\x1b[31mur");
        prints.write_all(&[b'x'; 2 * LINE + 1]).unwrap();
        drop(prints);
        // What other tests have forked may have it for a moment.
        let deadline = Instant::now() + BURIAL;
        while output.drain() {
            assert!(Instant::now() < deadline, "somebody still has the other end");
            let pipe = output.pipe.as_fd();
            poll(&mut [PollFd::new(pipe, PollFlags::POLLIN)], PollTimeout::from(50_u8)).unwrap();
        }
        assert_eq!(output.last.iter().map(String::len).collect::<Vec<_>>(), [LINE, LINE, 1]);
    }

    #[test]
    fn whoever_prints_outlives_who_reads_it() {
        let (output, prints) = Output::new(Action::PostStart).unwrap();
        let mut prints = File::from(prints);
        prints.write_all(b"read here\n").unwrap();
        drop(output);
        // More than there is room for in a pipe.
        prints.write_all(&[b'x'; 1 << 20]).unwrap();
    }
}

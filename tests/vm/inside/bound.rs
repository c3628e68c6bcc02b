//! A service of the host's with an address of its own: `chbind` before the command of
//! its unit, and systemd steers it as it does any other.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tests::{DEADLINE, eventually, host, process};

use crate::units::{read, run, systemctl};

/// The program of tests/peer.
const PEER: &str = "/payload/peer";

const UNIT: &str = "/run/systemd/system/bound.service";

const CGROUP: &str = "/sys/fs/cgroup/system.slice/bound.service";

/// The service's, and another one of the host's.
const ADDRESSES: [&str; 2] = ["192.0.2.9", "192.0.2.8"];

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_service_has_its_address_and_is_steered_as_others_are() {
    let service = Service::start();
    let other = Other::start();
    let first = service.serves();
    assert_eq!(ask("192.0.2.8"), "ask other to 192.0.2.8\n");
    let listed = run("ss", &["-Hltn"]).ok();
    assert!(listed.stdout.contains(" 192.0.2.9:80 "), "{listed}");
    // What systemd holds it to holds below, too.
    assert_eq!(read(&format!("{CGROUP}/pids.max")), "20\n");
    let place = format!("{CGROUP}/{}", bindings().first().expect("it has one"));
    let processes = || read(&format!("{place}/cgroup.procs"));
    assert_eq!(processes(), format!("{first}\n"));

    // One that reads its units anew leaves it alone.
    systemctl(&["daemon-reload"]).ok();
    assert_eq!(service.serves(), first);
    assert_eq!(processes(), format!("{first}\n"));

    run("kill", &["-9", &first.to_string()]).ok();
    eventually(DEADLINE, "it is dead", || (!process::is_alive(first)).then_some(()));
    let second = service.serves();
    assert_ne!(second, first);
    assert_eq!(service.show("NRestarts"), "1");
    eventually(DEADLINE, "the first one's cgroup is gone", || {
        (bindings().len() == 1).then_some(())
    });

    systemctl(&["stop", "bound.service"]).ok();
    assert_eq!(service.show("ActiveState"), "inactive");
    assert_eq!(service.show("Result"), "success");
    assert!(!process::is_alive(second));
    eventually(DEADLINE, "no cgroup of it is left", || bindings().is_empty().then_some(()));
    assert_eq!(ask("192.0.2.9"), "ask: ECONNREFUSED\n");
    drop(other);
}

/// The unit, and both addresses; gone when it is dropped.
struct Service;

impl Service {
    fn start() -> Self {
        for address in ADDRESSES {
            run("ip", &["address", "add", &format!("{address}/32"), "dev", "lo"]).ok();
        }
        let program = host::program();
        // As a server does that is to come back at once (SO_REUSEPORT), whatever
        // connections it has had.
        let text = format!(
            "[Service]\n\
             Type=exec\n\
             ExecStart={} chbind --silent --ip 192.0.2.9 -- {PEER} share 0.0.0.0:80 host\n\
             Restart=always\n\
             TasksMax=20\n",
            program.display()
        );
        fs::write(UNIT, text).expect("it can be written");
        systemctl(&["daemon-reload"]).ok();
        systemctl(&["start", "bound.service"]).ok();
        Self
    }

    /// Waits until its main process is the server itself, and answers at its address; its
    /// pid.
    #[track_caller]
    fn serves(&self) -> i32 {
        eventually(DEADLINE, "it serves", || {
            // In this order: one that has been killed is its main process for a moment.
            let answers = ask("192.0.2.9") == "ask host to 192.0.2.9\n";
            let main = self.show("MainPID");
            let comm = fs::read_to_string(format!("/proc/{main}/comm")).ok()?;
            (answers && comm == "peer\n").then(|| main.parse().expect("it is a pid"))
        })
    }

    #[track_caller]
    fn show(&self, property: &str) -> String {
        systemctl(&["show", "-P", property, "bound.service"]).ok().trimmed().to_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", run("journalctl", &["-b", "-n", "60", "-u", "bound.service"]));
        }
        systemctl(&["stop", "bound.service"]);
        let _ = fs::remove_file(UNIT);
        systemctl(&["daemon-reload"]);
        for address in ADDRESSES {
            run("ip", &["address", "del", &format!("{address}/32"), "dev", "lo"]);
        }
    }
}

/// A server of the host's on the same port, without anything before it.
struct Other(Child);

impl Other {
    fn start() -> Self {
        let mut server = Command::new(PEER);
        server.args(["serve", "192.0.2.8:80", "other"]).stdout(Stdio::piped());
        let mut server = Self(server.spawn().expect("it can be run"));
        let mut line = String::new();
        let stdout = server.0.stdout.as_mut().expect("it is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("it can be read");
        assert_eq!(line, "serving 192.0.2.8:80\n");
        server
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What port 80 of an address says.
fn ask(address: &str) -> String {
    run(PEER, &["ask", &format!("{address}:80")]).ok().stdout
}

/// The cgroups of chbind below the unit's.
fn bindings() -> Vec<String> {
    let entries = fs::read_dir(CGROUP).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("chbind-")).collect()
}

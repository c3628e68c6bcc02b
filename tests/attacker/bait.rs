//! What the attempts are after: a process with a secret in its environment,
//! and one object of each kind of IPC. Runs on the host or in another guest
//! until its standard input ends.

use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::{fs, io};

use crate::ipc::{USER_KEYRING, find_key, key_of, text};
use crate::outcome::{Attempt, Prepare};
use crate::sys::Arg::{N, Text};
use crate::sys::{self};

const CREATE: i64 = (libc::IPC_CREAT | 0o666) as i64;

/// Lays everything out, says so, waits, and takes it away again.
pub fn lay(tag: &str) -> Attempt {
    let laid = lay_and_wait(tag);
    sweep(tag)?;
    laid
}

fn lay_and_wait(tag: &str) -> Attempt {
    let key = key_of(tag);
    sys::call(libc::SYS_shmget, &[N(key), N(4096), N(CREATE)]).prepare("shmget")?;
    sys::call(libc::SYS_semget, &[N(key), N(1), N(CREATE)]).prepare("semget")?;
    sys::call(libc::SYS_msgget, &[N(key), N(CREATE)]).prepare("msgget")?;
    let name = text(tag)?;
    let flags = (libc::O_CREAT | libc::O_RDWR) as i64;
    let opened = sys::call(libc::SYS_mq_open, &[Text(&name), N(flags), N(0o666), N(0)]);
    opened.prepare("mq_open")?;
    fs::write(memory_file(tag), "secret").prepare("making a file in /dev/shm")?;
    let address = SocketAddr::from_abstract_name(tag).prepare("an abstract name")?;
    let _listener = UnixListener::bind_addr(&address).prepare("binding an abstract socket")?;
    // Refused inside a guest; there is nothing to find then.
    let secret = [Text(c"user"), Text(&name), Text(c"secret"), N(6), N(USER_KEYRING)];
    let _ = sys::call(libc::SYS_add_key, &secret);

    println!("ready");
    io::stdout().flush().prepare("saying so")?;
    let _ = io::stdin().read(&mut [0]);
    Ok("the bait is taken away".to_owned())
}

/// Takes away what is left of a bait: most of it outlives the process, which
/// some attempts end.
pub fn sweep(tag: &str) -> Attempt {
    let key = key_of(tag);
    let name = text(tag)?;
    let remove = i64::from(libc::IPC_RMID);
    if let Ok(memory) = sys::call(libc::SYS_shmget, &[N(key), N(0), N(0)]) {
        sys::call(libc::SYS_shmctl, &[N(memory), N(remove), N(0)]).prepare("shmctl")?;
    }
    if let Ok(semaphores) = sys::call(libc::SYS_semget, &[N(key), N(0), N(0)]) {
        sys::call(libc::SYS_semctl, &[N(semaphores), N(0), N(remove), N(0)]).prepare("semctl")?;
    }
    if let Ok(queue) = sys::call(libc::SYS_msgget, &[N(key), N(0)]) {
        sys::call(libc::SYS_msgctl, &[N(queue), N(remove), N(0)]).prepare("msgctl")?;
    }
    // These are gone already, unless the process was killed.
    let _ = sys::call(libc::SYS_mq_unlink, &[Text(&name)]);
    let _ = fs::remove_file(memory_file(tag));
    if let Ok(key) = find_key(&name) {
        const UNLINK: i64 = 9;
        sys::call(libc::SYS_keyctl, &[N(UNLINK), N(key), N(USER_KEYRING)]).prepare("keyctl")?;
    }
    Ok("nothing is left of the bait".to_owned())
}

fn memory_file(tag: &str) -> String {
    format!("/dev/shm/{tag}")
}

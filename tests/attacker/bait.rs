//! What the attempts are after: a process with a secret in its environment,
//! and one object of each kind of IPC. Runs on the host or in another guest
//! until its standard input ends.

use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::{fs, io};

use crate::ipc::{key_of, text};
use crate::outcome::{Attempt, Prepare};
use crate::sys::Arg::{N, Text};
use crate::sys::{self};

const CREATE: i64 = (libc::IPC_CREAT | 0o666) as i64;

/// Lays everything out, says so, and waits.
pub fn lay(tag: &str) -> Attempt {
    let key = key_of(tag);
    let memory = sys::call(libc::SYS_shmget, &[N(key), N(4096), N(CREATE)]).prepare("shmget")?;
    let semaphores = sys::call(libc::SYS_semget, &[N(key), N(1), N(CREATE)]).prepare("semget")?;
    let queue = sys::call(libc::SYS_msgget, &[N(key), N(CREATE)]).prepare("msgget")?;
    let name = text(tag)?;
    let flags = (libc::O_CREAT | libc::O_RDWR) as i64;
    let opened = sys::call(libc::SYS_mq_open, &[Text(&name), N(flags), N(0o666), N(0)]);
    opened.prepare("mq_open")?;
    let file = format!("/dev/shm/{tag}");
    fs::write(&file, "secret").prepare("making a file in /dev/shm")?;
    let address = SocketAddr::from_abstract_name(tag).prepare("an abstract name")?;
    let listener = UnixListener::bind_addr(&address).prepare("binding an abstract socket")?;
    // Refused inside a guest; there is nothing to find then.
    let key =
        sys::call(libc::SYS_add_key, &[Text(c"user"), Text(&name), Text(c"secret"), N(6), N(-4)]);

    println!("ready");
    io::stdout().flush().prepare("saying so")?;
    let _ = io::stdin().read(&mut [0]);

    drop(listener);
    let _ = fs::remove_file(&file);
    let _ = sys::call(libc::SYS_mq_unlink, &[Text(&name)]);
    let remove = i64::from(libc::IPC_RMID);
    let _ = sys::call(libc::SYS_shmctl, &[N(memory), N(remove), N(0)]);
    let _ = sys::call(libc::SYS_semctl, &[N(semaphores), N(0), N(remove), N(0)]);
    let _ = sys::call(libc::SYS_msgctl, &[N(queue), N(remove), N(0)]);
    if let Ok(key) = key {
        // KEYCTL_UNLINK, from the keyring of the user.
        let _ = sys::call(libc::SYS_keyctl, &[N(9), N(key), N(-4)]);
    }
    Ok("the bait is taken away".to_owned())
}

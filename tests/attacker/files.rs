//! Files of the kernel, and device nodes.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::descend::workplace;
use crate::outcome::{Attempt, Failure, number, refused, untried};
use crate::sys::Arg::{N, Text};
use crate::sys::{self, Arg};

/// Reads the beginning of a file; of a directory, the name of an entry.
pub fn read(path: &str) -> Attempt {
    if Path::new(path).is_dir() {
        return match fs::read_dir(path)?.flatten().next() {
            Some(entry) => Ok(format!("{:?} is there", entry.path())),
            None => refused("the directory is empty"),
        };
    }
    let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut bytes = [0; 64];
    match file.read(&mut bytes) {
        Ok(0) => refused("the file is empty"),
        Ok(count) => Ok(format!("read {count} bytes")),
        // Opened, and nothing there just now: /proc/kmsg.
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Ok("opened".to_owned()),
        Err(error) => Err(error.into()),
    }
}

/// Writes a text that is harmless there.
pub fn write(path: &str, text: &str) -> Attempt {
    let mut file = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    match file.write(text.as_bytes()) {
        Ok(_) => Ok(format!("wrote {text:?} to {path}")),
        // The file took it and didn't like what it says.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            Ok(format!("{path} judged the text"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Writes what a file says already.
pub fn rewrite(path: &str) -> Attempt {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return untried(format!("reading {path}: {error}")),
    };
    // "always [madvise] never"
    let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    write(path, chosen.map_or(text.trim(), |(word, _)| word))
}

/// Takes a cover off, in all ways there are, then writes.
pub fn uncover_and_rewrite(cover: &str, path: &str) -> Attempt {
    let target = text(cover)?;
    let remount = i64::try_from(libc::MS_REMOUNT | libc::MS_BIND).unwrap_or(0);
    let none = N(0);
    let arguments = [none, Text(&target), none, N(remount), none];
    if let Err(writable) = sys::call(libc::SYS_mount, &arguments) {
        let arguments = [Text(&target), N(libc::MNT_DETACH.into())];
        if let Err(off) = sys::call(libc::SYS_umount2, &arguments) {
            return refused(format!("remount: {writable}; umount: {off}"));
        }
    }
    rewrite(path)
}

/// Mounts a file system of this kind anew and writes `path` in it. What is
/// written is nonsense or harmless: the way there is the attempt.
pub fn fresh(kind: &str, options: &str, path: &str) -> Attempt {
    let place = workplace()?;
    let target = text(&place.to_string_lossy())?;
    let (kind, options) = (text(kind)?, text(options)?);
    let arguments = [Text(c"none"), Text(&target), Text(&kind), N(0), Text(&options)];
    sys::call(libc::SYS_mount, &arguments)?;
    let file = place.join(path);
    let outcome = match path {
        "release_agent" | "register" => write(&file.to_string_lossy(), "/no/such/program"),
        _ => rewrite(&file.to_string_lossy()),
    };
    let _ = sys::call(libc::SYS_umount2, &[Text(&target), N(libc::MNT_DETACH.into())]);
    outcome
}

/// Makes a device node and opens it; finds the secret if there is one.
pub fn node(kind: &str, major: &str, minor: &str, secret: &str) -> Attempt {
    let mode = if kind == "b" { libc::S_IFBLK } else { libc::S_IFCHR } | 0o600;
    let number = libc::makedev(number(major)? as u32, number(minor)? as u32);
    let mut last = String::new();
    // /dev is where nodes work; the others have to be refused all the same.
    for directory in ["/dev", "/dev/shm", "/run", "/tmp"] {
        let path = format!("{directory}/attacker-{}", std::process::id());
        match open_node(&path, mode, number, secret) {
            Err(Failure::Refused(cause)) => last = format!("in {directory}: {cause}"),
            other => return other,
        }
    }
    refused(last)
}

fn open_node(path: &str, mode: u32, number: libc::dev_t, secret: &str) -> Attempt {
    let name = text(path)?;
    let arguments = [Text(&name), N(mode.into()), N(number as i64)];
    sys::call(libc::SYS_mknod, &arguments)?;
    let opened =
        File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let _ = fs::remove_file(path);
    let mut file = match opened {
        Ok(file) => file,
        // The driver was asked and has no such device.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ENODEV | libc::EBUSY)) =>
        {
            return Ok(format!("the driver answered: {error}"));
        }
        Err(error) => return Err(error.into()),
    };
    if secret.is_empty() {
        return Ok("opened the device".to_owned());
    }
    let mut bytes = vec![0; 4096];
    let length = file.read(&mut bytes)?;
    let found = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).contains(secret);
    if found { Ok("read the secret".to_owned()) } else { untried("the secret isn't there") }
}

/// Sets the clock to what it shows.
pub fn clock() -> Attempt {
    let mut now = [0; 2];
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let Ok(since) = since else { return untried("the clock is before 1970") };
    now[0] = since.as_secs();
    now[1] = since.subsec_nanos().into();
    sys::call(libc::SYS_clock_settime, &[N(libc::CLOCK_REALTIME.into()), Arg::Words(&now)])?;
    Ok("set the clock".to_owned())
}

/// Gives a file a capability (`struct vfs_cap_data`, revision 2).
pub fn file_capability(path: &str) -> Attempt {
    let name = text(path)?;
    let mut data = 0x0200_0001_u32.to_le_bytes().to_vec();
    // CAP_DAC_OVERRIDE, which no bounding set here lacks: without it the
    // kernel would refuse to execute the file at all.
    for word in [2, 0, 0, 0] {
        data.extend(u32::to_le_bytes(word));
    }
    let size = N(data.len() as i64);
    let arguments = [Text(&name), Text(c"security.capability"), Arg::Bytes(&data), size, N(0)];
    sys::call(libc::SYS_setxattr, &arguments)?;
    Ok("the file has a capability".to_owned())
}

fn text(text: &str) -> Result<CString, Failure> {
    CString::new(text).or_else(|_| untried("an argument holds a zero byte"))
}

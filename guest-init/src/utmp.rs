//! Records of utmp and wtmp as bytes, utmp(5).
//!
//! Pure. Layout of x86-64 glibc, 384 bytes, also used by 32-bit programs.

/// Size of a record in bytes.
pub const SIZE: usize = 384;

const LINE: (usize, usize) = (8, 32);
const ID: (usize, usize) = (40, 4);
const USER: (usize, usize) = (44, 32);
const HOST: (usize, usize) = (76, 256);
const SECONDS: usize = 340;

/// What a record is about (`ut_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// The runlevel has changed.
    RunLevel = 1,
    /// The guest was booted.
    BootTime = 2,
    /// A process that init has started.
    InitProcess = 5,
    /// Such a process has ended.
    DeadProcess = 8,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it is about.
    pub kind: Kind,
    /// Process id; for a runlevel `256 * previous + current`.
    pub pid: i32,
    /// Terminal, or `~`.
    pub line: &'a str,
    /// Identifier in inittab, or `~~`; 4 bytes count.
    pub id: &'a str,
    /// `reboot`, `runlevel`, or empty.
    pub user: &'a str,
    /// The kernel's release.
    pub host: &'a str,
    /// Seconds and microseconds since 1970.
    pub time: (i32, i32),
}

/// The `ut_pid` of a runlevel record: `runlevel(8)` takes it apart again.
pub fn runlevel_pid(previous: char, current: char) -> i32 {
    (previous as i32 & 0xff) * 256 + (current as i32 & 0xff)
}

/// The record as bytes.
pub fn encode(record: &Record<'_>) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    put(&mut bytes, 0, &(record.kind as u16).to_ne_bytes());
    put(&mut bytes, 4, &record.pid.to_ne_bytes());
    for (text, (at, room)) in
        [(record.line, LINE), (record.id, ID), (record.user, USER), (record.host, HOST)]
    {
        let text = text.as_bytes();
        put(&mut bytes, at, text.get(..text.len().min(room)).unwrap_or_default());
    }
    put(&mut bytes, SECONDS, &record.time.0.to_ne_bytes());
    put(&mut bytes, SECONDS + 4, &record.time.1.to_ne_bytes());
    bytes
}

fn put(bytes: &mut [u8; SIZE], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// Where in the bytes of a utmp file a record belongs, as `pututline(3)`
/// decides: over the one of the same kind (boot time and runlevel) or with
/// the same identifier (processes), else at the end.
pub fn place(file: &[u8], record: &Record<'_>) -> usize {
    let whole = file.len() / SIZE * SIZE;
    let found = file.chunks_exact(SIZE).position(|old| match record.kind {
        Kind::RunLevel | Kind::BootTime => kind_of(old) == record.kind as u16,
        Kind::InitProcess | Kind::DeadProcess => {
            (5..=8).contains(&kind_of(old)) && id_of(old) == padded_id(record.id)
        }
    });
    found.map_or(whole, |number| number * SIZE)
}

/// Is there a record of this kind with this pid, not older than `since`
/// (seconds since 1970)? An older one is of the boot before.
pub fn holds(file: &[u8], kind: Kind, pid: i32, since: i32) -> bool {
    file.chunks_exact(SIZE)
        .any(|old| kind_of(old) == kind as u16 && int(old, 4) == pid && int(old, SECONDS) >= since)
}

fn kind_of(record: &[u8]) -> u16 {
    record.get(..2).and_then(|two| two.try_into().ok()).map_or(0, u16::from_ne_bytes)
}

fn int(record: &[u8], at: usize) -> i32 {
    record.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, i32::from_ne_bytes)
}

fn id_of(record: &[u8]) -> [u8; 4] {
    record.get(ID.0..ID.0 + ID.1).and_then(|four| four.try_into().ok()).unwrap_or_default()
}

fn padded_id(id: &str) -> [u8; 4] {
    let mut padded = [0; 4];
    padded.iter_mut().zip(id.bytes()).for_each(|(to, from)| *to = from);
    padded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(time: i32) -> Record<'static> {
        Record {
            kind: Kind::BootTime,
            pid: 0,
            line: "~",
            id: "~~",
            user: "reboot",
            host: "6.1.0",
            time: (time, 5),
        }
    }

    #[test]
    fn the_layout_is_glibcs() {
        let bytes = encode(&boot(0x0102_0304));
        assert_eq!(bytes[..8], [2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&bytes[8..11], b"~\0\0");
        assert_eq!(&bytes[40..44], b"~~\0\0");
        assert_eq!(&bytes[44..51], b"reboot\0");
        assert_eq!(&bytes[76..82], b"6.1.0\0");
        assert_eq!(bytes[340..348], [4, 3, 2, 1, 5, 0, 0, 0]);
        assert!(bytes[348..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_runlevel_record_says_n_2() {
        let pid = runlevel_pid('N', '2');
        assert_eq!((pid / 256) as u8 as char, 'N');
        assert_eq!((pid % 256) as u8 as char, '2');
    }

    #[test]
    fn a_record_replaces_its_predecessor() {
        let getty =
            Record { kind: Kind::InitProcess, pid: 7, id: "1", line: "", user: "", ..boot(1) };
        let mut file = encode(&boot(1)).to_vec();
        assert_eq!(place(&file, &getty), SIZE);
        file.extend(encode(&getty));
        let dead = Record { kind: Kind::DeadProcess, ..getty.clone() };
        assert_eq!(place(&file, &dead), SIZE);
        assert_eq!(place(&file, &boot(2)), 0);
        file.push(0);
        assert_eq!(place(&file, &Record { id: "2", ..getty }), 2 * SIZE);
    }

    #[test]
    fn a_record_of_the_boot_before_does_not_count() {
        let file = encode(&boot(100));
        assert!(holds(&file, Kind::BootTime, 0, 100));
        assert!(!holds(&file, Kind::BootTime, 0, 101));
        assert!(!holds(&file, Kind::RunLevel, 0, 100));
    }

    #[test]
    fn long_texts_are_cut() {
        let long = "x".repeat(300);
        let bytes = encode(&Record { line: &long, host: &long, id: &long, ..boot(1) });
        assert_eq!(bytes[336..340], [0; 4]);
        assert_eq!(&bytes[332..336], [0; 4]);
    }
}
